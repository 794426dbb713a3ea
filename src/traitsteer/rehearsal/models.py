"""Tiny random models of a family with a tokenizer trained on the spot, as save_pretrained writes.

Random weights know no language and show no trait. They are scaled up, so that text varies and
steering changes it, and the instruct model differs from the base model in every weight a little.
"""

import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import torch
from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers, processors, trainers
from transformers import (
    AutoConfig,
    AutoModelForCausalLM,
    GenerationConfig,
    PreTrainedTokenizerFast,
)
from transformers.utils import logging as transformers_logging

from traitsteer.rehearsal.families import FAMILIES, NAMES, Family
from traitsteer.words.errors import TraitsteerError
from traitsteer.world.model.random_model import scale_up

LAYERS = 4
WIDTH = 64
SHAPE = {
    "hidden_size": WIDTH,
    "intermediate_size": 96,
    "num_hidden_layers": LAYERS,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 1024,
}
VOCABULARY = 700
SCALE = 6.0
"""Of the usual initial weights; at 1 every next token is nearly as likely as every other."""
TUNED = 0.3
"""Share of the instruct model's weights that is its own."""


def family_of(name: str) -> Family:
    """Return the family that a model's name tells.

    Raises:
        TraitsteerError: the name holds none of the known ones.
    """
    for part, family in NAMES:
        if part in name.lower():
            return FAMILIES[family]
    raise TraitsteerError(
        f"The name {name!r} tells no architecture that can be rehearsed; it may hold "
        f"{', '.join(part for part, _ in NAMES)}."
    )


def build_pair(
    base: Path, instruct: Path, families: tuple[Family, Family], texts: Iterable[str], seed: int
) -> None:
    """Write a base and an instruct model; both have one tokenizer where they are of one family."""
    if not sys.stderr.isatty():
        # A bar that redraws itself makes a plain log unreadable.
        transformers_logging.disable_progress_bar()
    lines = list(texts)
    for number, (folder, family) in enumerate(((base, families[0]), (instruct, families[1]))):
        words = _tokenizer(family, lines, chat=number == 1)
        model = _model(family, words, seed)
        if number == 1:
            _tune(model, seed + 1)
        model.generation_config = GenerationConfig(
            bos_token_id=words.bos_token_id,
            eos_token_id=_ids(words, family.eos, *([family.turn_end] if number == 1 else [])),
            pad_token_id=words.pad_token_id,
        )
        model.save_pretrained(folder)
        words.save_pretrained(folder)


def _tokenizer(family: Family, texts: list[str], *, chat: bool) -> PreTrainedTokenizerFast:
    """Byte-level BPE with the special tokens of the family, trained on the texts."""
    special = [t for t in (family.bos, family.eos, family.turn_end, *family.marks) if t]
    inner = Tokenizer(models.BPE())
    inner.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    inner.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=VOCABULARY,
        special_tokens=[AddedToken(token, special=True) for token in special],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    inner.train_from_iterator(texts, trainer)
    if family.bos:
        inner.post_processor = processors.TemplateProcessing(
            single=f"{family.bos} $A",
            pair=f"{family.bos} $A $B",
            special_tokens=[(family.bos, inner.token_to_id(family.bos))],
        )
    made = PreTrainedTokenizerFast(
        tokenizer_object=inner,
        bos_token=family.bos,
        eos_token=family.turn_end if chat else family.eos,
        pad_token=family.eos,
    )
    if chat:
        made.chat_template = family.template
    return made


def _model(family: Family, words: PreTrainedTokenizerFast, seed: int) -> Any:  # noqa: ANN401
    torch.manual_seed(seed)
    config = AutoConfig.for_model(
        family.kind,
        **(SHAPE | dict(family.shape)),
        vocab_size=len(words),
        bos_token_id=words.bos_token_id,
        eos_token_id=words.eos_token_id,
        pad_token_id=words.pad_token_id,
    )
    model: Any = AutoModelForCausalLM.from_config(config)
    scale_up(model, SCALE)
    return model


def _tune(model: Any, seed: int) -> None:  # noqa: ANN401
    """Mix every matrix with a random one of its own size."""
    torch.manual_seed(seed)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.dim() > 1:
                own = torch.randn_like(parameter) * parameter.std()
                parameter.mul_((1 - TUNED**2) ** 0.5).add_(TUNED * own)


def _ids(words: PreTrainedTokenizerFast, *tokens: str) -> list[int]:
    return [words.vocab[token] for token in tokens]
