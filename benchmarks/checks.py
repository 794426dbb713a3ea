"""Whether a contender's result is that of the plain reference: a fast wrong answer is no answer."""

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import softplus

from benchmarks.activations import labelled
from benchmarks.tasks import Answers, Probing, Steering, cut

CLOSE = 1e-4
"""Largest difference of pooled activations over the largest activation of the layer."""
NEAR_TIE = 1e-3
"""Gap of two logits within which rounding may decide; logits vary by more than 1 between tokens."""
EXCESS = 1e-6
"""Largest share by which an objective may lie above its optimum."""


@dataclass(frozen=True)
class Verdict:
    """Whether a result is right, and what was found."""

    right: bool
    found: str


@dataclass(frozen=True)
class Reference:
    """Plain greedy answers that did not end, with what nearly came instead of each token."""

    answers: Answers
    runners_up: Answers
    gaps: list[list[float]]
    """Logit of the token over that of the runner-up."""


def same_activations(found: Tensor, expected: Tensor) -> Verdict:
    """Compare pooled activations [n, layers, width], layer by layer."""
    expected = expected[:, : found.shape[1]]
    if found.shape != expected.shape:
        return Verdict(False, f"shape {tuple(found.shape)} instead of {tuple(expected.shape)}")
    scale = expected.abs().amax(dim=(0, 2))
    worst = float(((found - expected).abs().amax(dim=(0, 2)) / scale).max())
    # Written so that a NaN is no pass.
    return Verdict(worst <= CLOSE, f"largest relative difference {worst:.0e}")


def same_answers(found: Answers, task: Steering, reference: Reference) -> Verdict:
    """Compare token for token; rows may part only where plain logits nearly tie."""
    if len(found) != len(reference.answers):
        return Verdict(False, f"{len(found)} answers instead of {len(reference.answers)}")
    ties = wrong = 0
    for row, answer in enumerate(found):
        whole = reference.answers[row]
        expected = cut(whole, task.ends, task.new_tokens)
        if answer == expected:
            continue
        step = next(
            (at for at, (a, b) in enumerate(zip(answer, expected, strict=False)) if a != b),
            min(len(answer), len(expected)),
        )
        second = reference.runners_up[row][step]
        came_instead = answer[step] == second if step < len(answer) else second in task.ends
        if came_instead and reference.gaps[row][step] < NEAR_TIE:
            ties += 1
        else:
            wrong += 1
    if wrong:
        return Verdict(False, f"{wrong} of {len(found)} answers differ")
    if ties:
        return Verdict(True, f"same tokens, but for {ties} of {len(found)} answers at a near tie")
    return Verdict(True, "same tokens")


def optimal(found: dict[str, Tensor], task: Probing) -> Verdict:
    """Bound how far the final fits lie above the optimum of the objective in maths/probe.py.

    With the intercept at its best, the objective is strongly convex with constant penalty, hence it
    lies above its optimum by no more than |gradient|^2 / (2 penalty).
    """
    rows, positive, _ = labelled(task)
    sign = torch.where(positive, 1.0, -1.0).double()
    worst = 0.0
    for layer in task.fitted_layers:
        centred = rows[:, layer].double()
        centred = centred - centred.mean(dim=0)
        scale = centred.square().mean().sqrt()
        features, penalty = centred / scale, float(found["penalties"][layer])
        weight = found["weights"][layer] * scale
        margins = features @ weight
        best = _best_intercept(margins, sign)
        chance = (sign * (margins + best)).neg().sigmoid()
        gradient = features.T @ (-sign * chance) + penalty * weight
        total = softplus(-sign * (margins + best)).sum() + 0.5 * penalty * weight.square().sum()
        above = gradient.square().sum() / (2 * penalty)
        worst = max(worst, float(above / total))
    return Verdict(worst <= EXCESS, f"objective within {worst:.0e} of its optimum")


def _best_intercept(margins: Tensor, sign: Tensor) -> Tensor:
    """Newton's method in one dimension."""
    b = margins.new_zeros(())
    for _ in range(30):
        chance = (sign * (margins + b)).neg().sigmoid()
        b = b + (sign * chance).sum() / (chance * (1 - chance)).sum()
    return b


def same_losses(found: Tensor, expected: Tensor) -> Verdict:
    """Compare held-out log losses [layers, path], leaving out what was not fitted (NaN)."""
    fitted = ~expected.isnan() & ~found.isnan()
    worst = float(((found - expected).abs() / expected)[fitted].max())
    return Verdict(worst <= 1e-3, f"held-out losses within {worst:.0e}")
