"""What contenders are asked and what they answer, as plain records that travel as JSON lines."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import Tensor

Answers = list[list[int]]
"""New token ids of each (setting, prompt), settings outermost, without the id that ended it."""


@dataclass(frozen=True)
class Reading:
    """Mean over the response tokens of sequences of equal length, for the first `layers` blocks."""

    ids: list[list[int]]
    prompt: int
    """Tokens of each sequence that are prompt."""
    layers: int
    rows: int
    """Sequences of one forward pass."""

    def batches(self) -> list[Tensor]:
        """Token ids [rows, tokens], int64, of one forward pass each."""
        return list(torch.tensor(self.ids).split(self.rows))

    def pool(self, hidden: Tensor) -> Tensor:
        """Mean over the response of a block's output [rows, tokens, width], as [rows, width]."""
        return hidden[:, self.prompt :].float().mean(dim=1)


@dataclass(frozen=True)
class Steering:
    """Greedy answers of every prompt under every setting, the vector added at all positions."""

    prompts: list[list[int]]
    vectors: list[list[float]]
    """One of norm 1 for each layer."""
    settings: list[tuple[int, float]]
    """Layer and coefficient (L2 length of what is added to the output of that block)."""
    new_tokens: int
    ends: list[int]
    """Ids that end an answer; with none, all answers have `new_tokens` tokens."""
    rows: int
    """Most rows in one forward pass, for those that put several settings into one."""

    def added(self) -> Tensor:
        """What each setting adds, [settings, width], float32."""
        vectors = torch.tensor(self.vectors)
        return torch.stack([strength * vectors[layer] for layer, strength in self.settings])

    def padded(self, pad: int) -> tuple[Tensor, Tensor]:
        """Left-padded prompts and their mask, int64 [prompts, longest]."""
        longest = max(map(len, self.prompts))
        ids = torch.full((len(self.prompts), longest), pad)
        mask = torch.zeros_like(ids)
        for row, prompt in enumerate(self.prompts):
            ids[row, longest - len(prompt) :] = torch.tensor(prompt)
            mask[row, longest - len(prompt) :] = 1
        return ids, mask

    def cut(self, tokens: Tensor) -> Answers:
        """Answers of new tokens [rows, steps], each up to its end."""
        return [cut(row, self.ends, self.new_tokens) for row in tokens.tolist()]


@dataclass(frozen=True)
class Probing:
    """Logistic regressions of every layer, fold and penalty on made-up activations."""

    n: int
    layers: int
    width: int
    folds: int
    penalties: list[float]
    seed: int
    fitted_layers: list[int]
    """The layers that are fitted; the time of the others is taken to be the same."""
    fitted_penalties: list[int]
    """Places in `penalties` that are fitted, likewise."""
    solver: str = "lbfgs"
    """scikit-learn's name, where the contender has several."""

    def share(self) -> float:
        """The part of all fits that is fitted."""
        fitted = len(self.fitted_layers) * (self.folds * len(self.fitted_penalties) + 1)
        return fitted / (self.layers * (self.folds * len(self.penalties) + 1))


@dataclass(frozen=True)
class Forwarding:
    """Bare forward passes over this many sequences: no steering, no cache."""

    sequences: int
    tokens: int
    """Of each sequence."""
    rows: int
    """Sequences of one forward pass."""


Task = Reading | Steering | Probing | Forwarding
_KINDS: dict[str, type[Task]] = {
    "read": Reading,
    "steer": Steering,
    "probe": Probing,
    "forward": Forwarding,
}


def cut(tokens: Sequence[int], ends: Sequence[int], most: int) -> list[int]:
    """The tokens up to the first that ends an answer, and no more than `most`."""
    kept: list[int] = []
    for token in tokens[:most]:
        if token in ends:
            break
        kept.append(token)
    return kept


def kind(task: Task) -> str:
    """The name of the method that does a task."""
    return next(name for name, made in _KINDS.items() if isinstance(task, made))


def packed(task: Task) -> dict[str, Any]:
    """A task as JSON has it."""
    return {"kind": kind(task), **asdict(task)}


def unpacked(fields: dict[str, Any]) -> Task:
    """The task that `packed` wrote."""
    return _KINDS[fields["kind"]](**{k: v for k, v in fields.items() if k != "kind"})
