"""One decoder with its tokenizer, from a hub id or a folder, as everything else sees it."""

import logging
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import torch
from safetensors import SafetensorError
from torch import nn
from transformers import AutoModelForCausalLM
from transformers.utils import logging as transformers_logging

from traitsteer.words.errors import TraitsteerError
from traitsteer.words.records import Quantisation
from traitsteer.world.model import devices, reasoning
from traitsteer.world.model.blocks import find_blocks
from traitsteer.world.model.inference import told_by_the_host
from traitsteer.world.model.model_files import one_sentence, open_tokenizer, require_generation
from traitsteer.world.model.model_names import digest_of, pinned
from traitsteer.world.model.model_shape import context_of
from traitsteer.world.model.prompts import Prompts, Variables
from traitsteer.world.model.reasoning import Parts, Thinking
from traitsteer.world.model.software import versions


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
    variables: Variables = field(default_factory=dict)
    """Further variables of the chat template."""
    thinking: Thinking | None = None
    """The marks of a model that reasons before it answers."""
    tried: dict[str, bool] = field(default_factory=dict, repr=False, compare=False)
    """Which of the engine's ways that it tried on this model work (see `trial.py`)."""
    spare: list[torch.Tensor] = field(default_factory=list, repr=False, compare=False)
    """On a CPU, memory of the engine's last call for its next one (see `Slots`)."""

    @property
    def layers(self) -> int:
        """Number of decoder blocks."""
        return len(self.blocks)

    @property
    def width(self) -> int:
        """Size of the residual stream."""
        return int(self.model.config.get_text_config().hidden_size)

    @property
    def vocabulary(self) -> int:
        """How many token ids the model embeds, from 0 on; a tokenizer may know other numbers."""
        return int(self.model.get_input_embeddings().weight.shape[0])

    @property
    def device(self) -> torch.device:
        """Where the token embeddings lie, and so where inputs go."""
        return torch.device(self.model.get_input_embeddings().weight.device)

    @property
    def dtype(self) -> torch.dtype:
        """The dtype of the residual stream."""
        return self.model.get_input_embeddings().weight.dtype  # type: ignore[no-any-return]

    @property
    def quantised(self) -> bool:
        """Whether weights are kept in fewer bits than the residual stream, by us or on disk."""
        return bool(getattr(self.model, "is_quantized", False))

    @property
    def software(self) -> dict[str, str]:
        """Package and version of what computes it."""
        return versions(self.quantised)

    @property
    def context(self) -> int | None:
        """Most tokens of a prompt and its response together; None: the model has no limit."""
        return context_of(self.model.config)

    @cached_property
    def prompts(self) -> Prompts:
        """What turns prompts into token ids."""
        return Prompts(self.name, self.tokenizer, self.chat, self.variables)

    @property
    def implementation(self) -> str:
        """The class of the model, with the module that it is from: of remote code or not."""
        return f"{type(self.model).__module__}.{type(self.model).__qualname__}"

    @property
    def end_ids(self) -> tuple[int, ...]:
        """Token ids that end a response; some models have several.

        Those of the generation settings, else the tokenizer's, and of a chat model the token that
        its template puts after a turn, which some settings forget.

        Raises:
            TraitsteerError: the model is a chat model without a chat template.
        """
        configured = self.model.generation_config.eos_token_id
        if configured is None:
            configured = self.tokenizer.eos_token_id
        listed = configured if isinstance(configured, list) else [configured]
        listed = [*listed, *self.prompts.end_of_turn]
        return tuple(dict.fromkeys(int(i) for i in listed if i is not None))

    @property
    def pad_id(self) -> int:
        """A token id to fill rows with; raises as `end_ids`.

        It is masked, so any id serves that the model embeds: a pad token that was added to a
        tokenizer may lie beyond.
        """
        pad = self.tokenizer.pad_token_id
        known = pad is not None and pad < self.vocabulary
        return int(pad) if known else (self.end_ids or (0,))[0]

    def encode(
        self, prompt: str, system: str | None = None, plain: bool = False
    ) -> tuple[int, ...]:
        """Token ids of a prompt, ready for a response to follow: see `Prompts.encode`."""
        return self.prompts.encode(prompt, system, plain)

    def decode(self, ids: tuple[int, ...]) -> str:
        """Text of response ids, without special tokens."""
        return str(self.tokenizer.decode(list(ids), skip_special_tokens=True))

    def parts(self, prompt_ids: tuple[int, ...], ids: tuple[int, ...]) -> Parts:
        """The reasoning and the answer of a response; all is answer where no marks are named."""
        return reasoning.parts(self.tokenizer, self.thinking, prompt_ids, ids)


def load(
    name: str,
    *,
    revision: str | None = None,
    dtype: str = "float32",
    device: str = "auto",
    chat: bool = False,
    trust_remote_code: bool = False,
    quantisation: Quantisation = "none",
    blocks: str | None = None,
    variables: Variables | None = None,
    thinking: Thinking | None = None,
    section: str = "models",
) -> LanguageModel:
    """Load a causal decoder from safetensors.

    Args:
        name: hub id or folder.
        dtype: float32, bfloat16 or float16.
        device: `auto` (the first GPU if there is one), a torch device, or a spread over all GPUs
            (`devices.SPREAD`).
        chat: whether prompts go through the chat template.
        quantisation: of the weights of linear layers.
        blocks: dotted path of the decoder blocks; None: they are looked for.
        variables: further variables of the chat template.
        thinking: the marks of a model that reasons before it answers.
        section: of params.yaml that names the device, for the messages.

    Raises:
        TraitsteerError: the model cannot be found or read, does not fit on its devices, or its
            blocks cannot be found.
    """
    place = devices.usable_device(device, section)
    devices.check_quantisation(quantisation, place, section)
    revision = pinned(name, revision)
    if not sys.stderr.isatty():
        # A bar that redraws itself makes a plain log unreadable.
        transformers_logging.disable_progress_bar()
    precision = getattr(torch, dtype)
    options: dict[str, Any] = {}
    if device in devices.SPREAD or quantisation != "none":
        options["device_map"] = devices.placed(device, place)
    if quantisation != "none":
        options["quantization_config"] = devices.quantised(quantisation, precision)
    tokenizer = open_tokenizer(name, revision, trust_remote_code)
    require_generation(name, revision)
    with one_sentence(name, RuntimeError, SafetensorError), _room(name, place):
        found: Any = AutoModelForCausalLM.from_pretrained(
            name,
            output_loading_info=True,
            revision=revision,
            dtype=precision,
            use_safetensors=True,
            trust_remote_code=trust_remote_code,
            **options,
        )
        model, loaded = found
        if not options:
            model.to(place)
        _prepare(model)
    _require_whole(name, model, sorted(loaded["missing_keys"]), place)
    return LanguageModel(
        name=name,
        model=model,
        tokenizer=tokenizer,
        blocks=find_blocks(model, blocks),
        chat=chat,
        digest=digest_of(name, revision, quantisation, blocks),
        variables=variables or {},
        thinking=thinking,
    )


@contextmanager
def _room(name: str, place: torch.device) -> Iterator[None]:
    """Too little memory within becomes a TraitsteerError that names the model."""
    try:
        with told_by_the_host():
            yield
    except torch.OutOfMemoryError as error:
        raise TraitsteerError(
            f"{name} does not fit into the free memory of {place}; choose a smaller dtype, a "
            "quantisation or a smaller model, or end what else uses this device."
        ) from error


def _prepare(model: Any) -> None:  # noqa: ANN401
    """Nothing is trained, and attention is that which the architecture asks for."""
    model.eval().requires_grad_(False)
    if getattr(model, "is_loaded_in_8bit", False):
        # At each layer of each pass it tells that inputs are rounded to 16 bits.
        logging.getLogger("bitsandbytes.autograd").setLevel(logging.ERROR)
    if getattr(model.config.get_text_config(), "attn_logit_softcapping", None) is not None:
        # torch's kernel knows no cap, and transformers 5.17 chooses it all the same.
        model.set_attn_implementation("eager")


def _require_whole(name: str, model: Any, missing: list[str], place: torch.device) -> None:  # noqa: ANN401
    """Refuse a model without some of its weights, or with some beside its GPUs."""
    if missing:
        # transformers draws them at random, anew at each start.
        raise TraitsteerError(
            f"{name} lacks {len(missing)} of its weights, {missing[0]} among them; expected all "
            "that its configuration names: fetch the model again, or save it whole."
        )
    elsewhere = {str(part) for part in getattr(model, "hf_device_map", {}).values()}
    if elsewhere & {"cpu", "disk"} and place.type == "cuda":
        raise TraitsteerError(
            f"{name} does not fit on the GPUs, so that parts of it would lie on the "
            f"{' and '.join(sorted(elsewhere & {'cpu', 'disk'}))}; choose a smaller dtype, a "
            "quantisation or a smaller model."
        )
