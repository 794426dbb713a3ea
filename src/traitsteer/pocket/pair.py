"""The whole making of the embedded pair: tokenizer, base model, instruct model, their gates."""

from __future__ import annotations

import os
import random
import shutil
from pathlib import Path

import torch
from transformers import LlamaForCausalLM, PreTrainedTokenizerFast

from traitsteer.pocket import grammar, training
from traitsteer.pocket.gates import binding, refuse_failures
from traitsteer.pocket.lexicon import TRAITS
from traitsteer.pocket.tokens import CHAT_TEMPLATE, train_tokenizer
from traitsteer.words.pocket_config import PocketConfig
from traitsteer.words.seeds import seed_for
from traitsteer.world.files import write_json

_TOKENIZER_TEXTS = 20_000
_VALIDATION_BATCHES = 10


def tokenizer_for(config: PocketConfig, texts: int = _TOKENIZER_TEXTS) -> PreTrainedTokenizerFast:
    """Train the tokenizer on documents and, for every fourth text, on a chat item."""
    drawn = []
    for index in range(texts):
        rng = random.Random(seed_for("tokenizer", config.seed, index))
        if index % 4:
            drawn.append(grammar.document(rng))
        else:
            item = grammar.chat(rng)
            drawn.append(f" {item.system} {item.question} {item.answer}")
    return train_tokenizer(drawn, config.vocabulary)


def make_pair(config: PocketConfig) -> dict[str, float]:
    """Train both models, write them and their gates' figures, and return the figures.

    Raises:
        TraitsteerError: a gate fails; nothing of the former pair is touched then.
    """
    torch.set_num_threads(config.threads)
    folder = Path(config.folder)
    tokenizer = tokenizer_for(config)
    model = training.new_model(config, tokenizer)
    figures: dict[str, float] = {"parameters": sum(p.numel() for p in model.parameters())}
    for kind in ("base", "instruct"):
        chat = kind == "instruct"
        make = training.chat_row if chat else training.base_row
        steps = config.instruct_steps if chat else config.base_steps

        def row(
            seed: int,
            progress: float,
            make: training.MakeRow = make,
        ) -> training.Row:
            return make(tokenizer, seed, progress)

        rows = training.batches(row, kind, config.seed, config.batch_tokens, steps)
        scale = config.tuning_scale if chat else 1.0
        training.train(model, tokenizer, rows, config, steps, scale, f"{kind} model")
        training.rounded(model)
        fresh = training.batches(row, f"{kind} validation", config.seed, config.batch_tokens, 0)
        figures[f"validation_loss_{kind}"] = training.mean_loss(model, fresh, _VALIDATION_BATCHES)
        for trait in TRAITS:
            figures[f"binding_{kind}_{trait}"] = binding(
                model, tokenizer, trait, chat=chat, items=config.gate_items, seed=config.seed
            )
        if chat:
            tokenizer.chat_template = CHAT_TEMPLATE
        save(model, tokenizer, folder / f".{kind}.new")
    figures["bytes"] = sum(
        (folder / f".{kind}.new" / "model.safetensors").stat().st_size
        for kind in ("base", "instruct")
    )
    figures = {name: round(value, 4) for name, value in figures.items()}
    try:
        refuse_failures(figures, config.binding_nats)
        for kind in ("base", "instruct"):
            shutil.rmtree(folder / kind, ignore_errors=True)
            os.replace(folder / f".{kind}.new", folder / kind)
        write_json(folder / "gates.json", figures)
    finally:
        for kind in ("base", "instruct"):
            shutil.rmtree(folder / f".{kind}.new", ignore_errors=True)
    return figures


def save(model: LlamaForCausalLM, tokenizer: PreTrainedTokenizerFast, folder: Path) -> None:
    """Write model (bfloat16 safetensors) and tokenizer as `from_pretrained` reads them."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    model.bfloat16().save_pretrained(folder)
    model.float()
    tokenizer.save_pretrained(folder)
    for file in folder.iterdir():
        file.chmod(0o644)
