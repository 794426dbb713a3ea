"""The home of transformers: one decoder with its tokenizer, from a hub id or a folder."""

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from torch import nn
from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer
from transformers.utils import logging as transformers_logging

from traitsteer.words.errors import TraitsteerError
from traitsteer.world.devices import usable_device
from traitsteer.world.files import digest, digest_of_files


@dataclass(frozen=True)
class LanguageModel:
    """A decoder in evaluation mode.

    `layer` l everywhere means the output of block l, which `transformers` calls
    `hidden_states[l + 1]` (before the final norm, for the last block).
    """

    name: str
    model: Any
    tokenizer: Any
    blocks: nn.ModuleList
    chat: bool
    """Whether prompts go through the tokenizer's chat template."""
    digest: str
    """SHA-256 of weights, configuration and tokenizer (of name and commit for a hub model)."""

    @property
    def layers(self) -> int:
        """Number of decoder blocks."""
        return len(self.blocks)

    @property
    def width(self) -> int:
        """Size of the residual stream."""
        return int(self.model.config.get_text_config().hidden_size)

    @property
    def device(self) -> torch.device:
        """Where the token embeddings lie, and so where inputs go."""
        return torch.device(self.model.get_input_embeddings().weight.device)

    @property
    def dtype(self) -> torch.dtype:
        """The dtype of the residual stream."""
        return self.model.get_input_embeddings().weight.dtype  # type: ignore[no-any-return]

    @property
    def end_ids(self) -> tuple[int, ...]:
        """Token ids that end a response; some models have several."""
        configured = self.model.generation_config.eos_token_id
        if configured is None:
            configured = self.tokenizer.eos_token_id
        if configured is None:
            return ()
        return tuple(configured) if isinstance(configured, list) else (int(configured),)

    @property
    def pad_id(self) -> int:
        """A token id to fill rows with; it is masked, so any id serves."""
        pad = self.tokenizer.pad_token_id
        return int(pad) if pad is not None else (self.end_ids or (0,))[0]

    def encode(self, prompt: str, system: str | None = None) -> tuple[int, ...]:
        """Token ids of a prompt, ready for a response to follow.

        A chat model gets its template with the generation prompt; any other gets the bare text
        with the special tokens that its tokenizer adds.

        Raises:
            TraitsteerError: the model has no chat template, or a base model gets a system prompt.
        """
        if not self.chat:
            if system is not None:
                raise TraitsteerError(
                    f"{self.name} has `chat: false` and cannot take a system prompt; elicit by "
                    "instruction from a chat model."
                )
            return tuple(self.tokenizer(prompt)["input_ids"])
        if self.tokenizer.chat_template is None:
            raise TraitsteerError(
                f"{self.name} has no chat template; set `chat: false` for it or name an instruct "
                "model."
            )
        messages = [{"role": "user", "content": prompt}]
        if system is not None:
            messages.insert(0, {"role": "system", "content": system})
        text = self.tokenizer.apply_chat_template(
            messages, tokenize=False, add_generation_prompt=True
        )
        # The template already holds the special tokens; adding them again would double BOS.
        return tuple(self.tokenizer(text, add_special_tokens=False)["input_ids"])

    def decode(self, ids: tuple[int, ...]) -> str:
        """Text of response ids, without special tokens."""
        return str(self.tokenizer.decode(list(ids), skip_special_tokens=True))


def load(
    name: str,
    *,
    revision: str | None = None,
    dtype: str = "float32",
    device: str = "auto",
    chat: bool = False,
    trust_remote_code: bool = False,
) -> LanguageModel:
    """Load a causal decoder from safetensors.

    Args:
        name: hub id or folder.
        dtype: float32, bfloat16 or float16.
        device: `auto` (the first GPU if there is one) or a torch device.
        chat: whether prompts go through the chat template.

    Raises:
        TraitsteerError: the model cannot be found or read, or its blocks cannot be found.
    """
    place = usable_device(device)
    if not sys.stderr.isatty():
        # A bar that redraws itself makes a plain log unreadable.
        transformers_logging.disable_progress_bar()
    try:
        tokenizer = AutoTokenizer.from_pretrained(
            name, revision=revision, trust_remote_code=trust_remote_code
        )
        model: Any = AutoModelForCausalLM.from_pretrained(
            name,
            revision=revision,
            dtype=getattr(torch, dtype),
            use_safetensors=True,
            trust_remote_code=trust_remote_code,
        )
        model.to(place).eval().requires_grad_(False)
    except (OSError, ValueError, RuntimeError, SafetensorError) as error:
        raise _cannot_load(name, error) from error
    return LanguageModel(
        name=name,
        model=model,
        tokenizer=tokenizer,
        blocks=find_blocks(model),
        chat=chat,
        digest=_digest(name, revision, model.config),
    )


def find(name: str, revision: str | None, trust_remote_code: bool) -> None:
    """Read the configuration of a model, which costs little and shows that it is there.

    Raises:
        TraitsteerError: there is no such model, or it may not be read.
    """
    try:
        AutoConfig.from_pretrained(name, revision=revision, trust_remote_code=trust_remote_code)
    except (OSError, ValueError) as error:
        raise _cannot_load(name, error) from error


def digest_of(name: str, revision: str | None, trust_remote_code: bool) -> str:
    """The digest that `load` would give this model, without loading its weights.

    Raises:
        TraitsteerError: there is no such model, or it may not be read.
    """
    try:
        config = AutoConfig.from_pretrained(
            name, revision=revision, trust_remote_code=trust_remote_code
        )
    except (OSError, ValueError) as error:
        raise _cannot_load(name, error) from error
    return _digest(name, revision, config)


def vocabulary(name: str, revision: str | None, trust_remote_code: bool) -> dict[str, int]:
    """Token ids of a model by token, special and added ones included.

    Raises:
        TraitsteerError: there is no such tokenizer, or it may not be read.
    """
    try:
        tokenizer = AutoTokenizer.from_pretrained(
            name, revision=revision, trust_remote_code=trust_remote_code
        )
    except (OSError, ValueError) as error:
        raise _cannot_load(name, error) from error
    return dict(tokenizer.get_vocab())


def find_blocks(model: Any) -> nn.ModuleList:  # noqa: ANN401 - architectures share no base class
    """Return the list of decoder blocks, first to last.

    Raises:
        TraitsteerError: no list of modules is as long as the configuration has layers.
    """
    count = model.config.get_text_config().num_hidden_layers
    lists = [m for m in model.modules() if isinstance(m, nn.ModuleList) and len(m) == count]
    # A mixture of experts may have as many experts as layers; blocks are of the outermost list.
    if not lists:
        raise TraitsteerError(
            f"{type(model).__name__} has no list of {count} decoder blocks; only decoders that "
            "keep their blocks in one ModuleList can be steered."
        )
    return lists[0]


def _digest(name: str, revision: str | None, config: Any) -> str:  # noqa: ANN401
    folder = Path(name)
    if folder.is_dir():
        return digest_of_files(
            p for p in folder.iterdir() if p.suffix in (".safetensors", ".json", ".jinja")
        )
    return digest([name, revision, getattr(config, "_commit_hash", None)])


def _cannot_load(name: str, error: Exception) -> TraitsteerError:
    said = " ".join(str(error).split())[:160].rstrip(". ")
    return TraitsteerError(
        f"The model {name!r} cannot be loaded ({said}); name a hub id that this machine may "
        "download or a folder written by save_pretrained."
    )
