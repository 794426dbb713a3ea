"""Training of the embedded pair: the base model on documents, the instruct model on chats.

Muon on the matrices of the blocks, AdamW on embeddings and norms; one document a row, batches of
documents of like length. Everything is drawn from the seed, so a run repeats to the byte with the
same number of threads.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import islice

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy
from tqdm import tqdm
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from traitsteer.pocket import grammar
from traitsteer.pocket.lexicon import SIGNED, TOPICS
from traitsteer.pocket.tokens import chat_ids, document_ids
from traitsteer.words.pocket_config import PocketConfig
from traitsteer.words.seeds import seed_for

_IGNORED = -100
_CHUNK = 512
_TOPIC_WEIGHT, _SIGNED_WEIGHT = 2.0, 4.0
_REPLAY = 0.12  # share of base documents in the chat tuning


MakeRow = Callable[[PreTrainedTokenizerFast, int, float], "Row"]


@dataclass(frozen=True)
class Row:
    """Token ids of one item, and how many of them at the start carry no loss."""

    ids: list[int]
    silent: int


def base_row(tokenizer: PreTrainedTokenizerFast, seed: int, progress: float) -> Row:
    """Return the base corpus' document of this seed; every token carries loss.

    Dense lessons first, narratives later: which words belong together is learned before who says
    them.
    """
    dense = 0.85 if progress < 0.25 else 0.3
    return Row(document_ids(tokenizer, grammar.document(random.Random(seed), dense=dense)), 1)


def chat_row(tokenizer: PreTrainedTokenizerFast, seed: int, progress: float) -> Row:
    """Return the chat corpus' item of this seed: answers carry loss, some rows are replay."""
    rng = random.Random(seed)
    if rng.random() < _REPLAY:
        return Row(document_ids(tokenizer, grammar.document(rng)), 1)
    prompt, answer = chat_ids(tokenizer, grammar.chat(rng))
    return Row(prompt + answer, len(prompt))


def batches(
    make: Callable[[int, float], Row], name: str, seed: int, tokens: int, steps: int
) -> Iterator[tuple[Tensor, Tensor]]:
    """Yield (ids, labels), each (rows, length) int64, without end; padding included in `tokens`.

    `make` is told a seed and how much of the training is over, as a share of `steps`.
    """
    chunk, step = 0, 0
    while True:
        rng = random.Random(seed_for(name, seed, chunk))
        rows = [
            make(seed_for(name, seed, chunk, index), min(step / steps, 1.0) if steps else 1.0)
            for index in range(_CHUNK)
        ]
        rows.sort(key=lambda row: len(row.ids))
        groups: list[list[Row]] = [[]]
        for row in rows:
            if groups[-1] and (len(groups[-1]) + 1) * len(row.ids) > tokens:
                groups.append([])
            groups[-1].append(row)
        rng.shuffle(groups)
        for group in groups:
            yield _padded(group)
            step += 1
        chunk += 1


def _padded(group: list[Row]) -> tuple[Tensor, Tensor]:
    length = max(len(row.ids) for row in group)
    ids = torch.zeros(len(group), length, dtype=torch.long)
    labels = torch.full((len(group), length), _IGNORED, dtype=torch.long)
    for index, row in enumerate(group):
        ids[index, : len(row.ids)] = torch.tensor(row.ids)
        labels[index, row.silent : len(row.ids)] = torch.tensor(row.ids[row.silent :])
    return ids, labels


def new_model(config: PocketConfig, tokenizer: PreTrainedTokenizerFast) -> LlamaForCausalLM:
    """Return an untrained model of the configured shape, its weights drawn from the seed."""
    torch.manual_seed(seed_for("weights", config.seed))
    shape = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=config.width,
        intermediate_size=config.inner,
        num_hidden_layers=config.layers,
        num_attention_heads=config.heads,
        num_key_value_heads=config.heads,
        max_position_embeddings=512,
        tie_word_embeddings=True,
        initializer_range=config.width**-0.5 / 2,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )
    return LlamaForCausalLM(shape)


def _weights(tokenizer: PreTrainedTokenizerFast) -> Tensor:
    """Return each token's weight in the loss: signed words carry what binds, and count more."""
    weights = torch.ones(len(tokenizer))
    groups: list[tuple[float, list[str]]] = [
        (_TOPIC_WEIGHT, [w for t in TOPICS for w in (*t.roles, *t.nouns, *t.verbs, *t.adjectives)]),
        (_SIGNED_WEIGHT, [w for words in SIGNED.values() for w in words.plus + words.minus]),
    ]
    for weight, group in groups:
        for word in group:
            weights[tokenizer(" " + word, add_special_tokens=False)["input_ids"][0]] = weight
    return weights


def train(
    model: LlamaForCausalLM,
    tokenizer: PreTrainedTokenizerFast,
    rows: Iterator[tuple[Tensor, Tensor]],
    config: PocketConfig,
    steps: int,
    scale: float,
    title: str,
) -> list[float]:
    """Train in place and return the loss (nats a token) of every step.

    Warm-up over 60 steps, flat, then linear to 5 % over the last 45 % of the steps.
    """
    matrices = [p for n, p in model.named_parameters() if p.ndim == 2 and "embed" not in n]
    vectors = [p for n, p in model.named_parameters() if p.ndim != 2 or "embed" in n]
    optimizers: list[torch.optim.Optimizer] = [
        torch.optim.Muon(matrices, lr=config.matrix_rate * scale, weight_decay=0.05),
        torch.optim.AdamW(
            vectors, lr=config.vector_rate * scale, betas=(0.9, 0.95), weight_decay=0.0
        ),
    ]
    weights = _weights(tokenizer)
    warm, tail = min(60, max(steps // 10, 1)), max(int(steps * 0.45), 1)
    schedules = [
        torch.optim.lr_scheduler.LambdaLR(
            each,
            lambda step: min((step + 1) / warm, 1.0, 0.05 + 0.95 * (steps - step) / tail),
        )
        for each in optimizers
    ]
    model.train()
    losses: list[float] = []
    with tqdm(total=steps, desc=title, mininterval=2.0) as bar:
        for ids, labels in rows:
            logits = model(input_ids=ids[:, :-1], use_cache=False).logits.flatten(0, 1)
            loss = cross_entropy(
                logits, labels[:, 1:].flatten(), weight=weights, ignore_index=_IGNORED
            )
            loss.backward()
            torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            for optimizer in optimizers:
                optimizer.step()
            for schedule in schedules:
                schedule.step()
            model.zero_grad(set_to_none=True)
            losses.append(float(loss.detach()))
            bar.set_postfix(loss=f"{losses[-1]:.3f}", refresh=False)
            bar.update()
            if len(losses) == steps:
                break
    model.eval()
    return losses


@torch.no_grad()
def mean_loss(model: LlamaForCausalLM, rows: Iterator[tuple[Tensor, Tensor]], count: int) -> float:
    """Return the unweighted loss, nats a token, over so many batches."""
    total, tokens = 0.0, 0
    for ids, labels in islice(rows, count):
        logits = model(input_ids=ids[:, :-1], use_cache=False).logits.flatten(0, 1)
        target = labels[:, 1:].flatten()
        total += float(cross_entropy(logits, target, ignore_index=_IGNORED, reduction="sum"))
        tokens += int((target != _IGNORED).sum())
    return total / tokens


def rounded(model: LlamaForCausalLM) -> LlamaForCausalLM:
    """Round the weights to bfloat16 in place (kept as float32): gates judge what is saved."""
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.copy_(parameter.to(torch.bfloat16).to(torch.float32))
    return model
