"""Logistic probe: all layers, folds and penalties of an L2-penalised logistic regression at once.

Objective, for each layer:  sum_i log(1 + exp(-y_i (w.x_i + b))) + penalty / 2 * |w|^2,  y = +-1,
intercept unpenalised: scikit-learn's `LogisticRegression(C=1 / penalty)`, to its optimum.

Features: each layer is centred and divided by one number, the root mean square of its centred
entries, so that a feature has variance 1 on average, a penalty means the same at every depth, and
the scale of a layer plays no part. Features are not standardised one by one: the direction belongs
to the residual stream's own metric. What keeps the probe from shrinking to the mean difference is
the penalty: chosen for each layer by cross-validation grouped by pair, as the one with the least
mean held-out log loss. The returned weights are in raw activation units.

Steps: the penalised optimum lies in the span of the rows, so one Gram matrix a layer turns
activations `[n, d]` into span coordinates `[n, min(n, d)]` that every fold and penalty shares;
Newton's method in float64 with conjugate gradients then solves them all as columns of one batched
matrix product. No sign needs to be fixed: any optimum scores positive rows higher on the data that
fit it, since it improves on w = 0, where the descent direction is the mean difference.
"""

import logging
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
import pytorch_lightning as pl
import torch
from sklearn.model_selection import GroupKFold
from torch import Tensor
from torch.nn.functional import softplus
from torch.utils.data import DataLoader, TensorDataset

from traitsteer.words.errors import TraitsteerError
from traitsteer.words.shapes import Bool, Float, Int

_MOST_STEPS = 200
_MOST_PRODUCTS = 200
"""Conjugate gradient iterations of one Newton step."""
_INEXACT = 0.2
"""A Newton step is solved until its preconditioned residual has shrunk to this share."""
_TOLERANCE = 1e-9
"""Newton stops where its step would lower each objective by less than this share of it."""

_EXPECTED = (
    ".*configure_optimizers.*returned `None`",
    ".*does not have many workers",
    ".*smaller than the logging interval",
    r".*isinstance\(treespec, LeafSpec\)",
)
"""Beginnings of warnings that full-batch Newton steps cannot avoid."""


@dataclass(frozen=True)
class ProbeFit:
    """The probe of every layer at the penalty that cross-validation chose for it (all float64)."""

    weights: Float[Tensor, "layers d"]
    """In raw activation units: `h @ weights[l] + intercepts[l]` is the log odds of the trait."""
    intercepts: Float[Tensor, " layers"]
    penalties: Float[Tensor, " layers"]
    held_out_accuracy: Float[Tensor, " layers"]
    """At the chosen penalty, on the folds that chose it, hence slightly hopeful."""
    held_out_log_loss: Float[Tensor, "path layers"]
    """Mean over rows, for each penalty in the order given."""


class LogisticProbe(pl.LightningModule):
    """Logistic regressions of all layers; a training step is one Newton step of all of them.

    A problem is the rows that it is fitted on and its penalty; its coefficients are a column of
    `weight [layers, features, problems]`. Train it on one full batch, the pair (features
    `[layers, n, features]`, positive `[n]`); the last feature is 1, and its coefficient, the
    intercept, pays no penalty. It logs the number of open problems and their mean objective.
    """

    rows: Tensor
    penalty: Tensor

    def __init__(
        self,
        layers: int,
        features: int,
        rows: Bool[Tensor, "problems n"],
        penalties: Float[Tensor, " problems"],
    ) -> None:
        super().__init__()
        self.automatic_optimization = False
        self.converged = False
        start = torch.zeros(layers, features, len(rows), dtype=torch.float64)
        self.weight = torch.nn.Parameter(start)
        self.register_buffer("rows", rows.T.double(), persistent=False)
        pays = torch.ones(features, 1, dtype=torch.float64)
        pays[-1] = 0.0
        self.register_buffer("penalty", pays * penalties.double().cpu(), persistent=False)

    def forward(self, features: Float[Tensor, "layers n f"]) -> Float[Tensor, "layers n problems"]:
        """Log odds of the trait."""
        return features @ self.weight

    def configure_optimizers(self) -> None:
        """None: the step below is the optimiser."""

    @torch.no_grad()
    def training_step(self, batch: Sequence[Tensor], batch_idx: int) -> None:
        """One damped Newton step of every problem; ends training once none would still gain."""
        features, positive = batch
        truth = positive.double()[:, None]
        sign = 2.0 * truth - 1.0

        def objective(logits: Tensor, weight: Tensor) -> Tensor:
            loss = (self.rows * softplus(-sign * logits)).sum(dim=1)
            return loss + 0.5 * (self.penalty * weight.square()).sum(dim=1)

        logits = self(features)
        before = objective(logits, self.weight)
        chance = logits.sigmoid()
        gradient = features.mT @ (self.rows * (chance - truth)) + self.penalty * self.weight
        step, change, solved = self._newton(features, self.rows * chance * (1 - chance), gradient)
        gain = -(gradient * step).sum(dim=1)
        done = solved & (gain <= _TOLERANCE * before)
        # Halve each problem's step until it keeps a fraction of the gain that its slope promises.
        length = torch.ones_like(before)
        while True:
            moved = length[:, None]
            after = objective(logits + moved * change, self.weight + moved * step)
            short = (after > before - 1e-4 * length * gain) & ~done
            if not short.any() or length.min() < 1e-12:
                break
            length = torch.where(short, length / 2, length)
        self.weight.add_(length[:, None] * step)
        self.converged = bool(done.all())
        self.trainer.should_stop = self.converged
        still_open = (~done).sum().float()
        self.log_dict({"open": still_open, "objective": before.mean()}, prog_bar=True)

    def _newton(
        self, features: Tensor, curvature: Tensor, gradient: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Solve Hessian @ step = -gradient by conjugate gradients; also features @ step.

        The Hessian's diagonal is the preconditioner: span coordinates are the principal axes of
        the rows, so it is close to the Hessian itself. The last value says which are solved.
        """
        diagonal = features.mT.square() @ curvature + self.penalty
        diagonal = diagonal.clamp_min(torch.finfo(diagonal.dtype).tiny)
        step, change = torch.zeros_like(gradient), torch.zeros_like(curvature)
        residual = -gradient
        search = residual / diagonal
        size = (residual * search).sum(dim=1, keepdim=True)
        enough = _INEXACT**2 * size
        for _ in range(_MOST_PRODUCTS):
            ahead = features @ search
            bend = features.mT @ (curvature * ahead) + self.penalty * search
            slope = (search * bend).sum(dim=1, keepdim=True)
            stride = torch.where(slope > 0, size / slope, 0.0)
            step += stride * search
            change += stride * ahead
            residual = residual - stride * bend
            scaled = residual / diagonal
            last, size = size, (residual * scaled).sum(dim=1, keepdim=True)
            if (size <= enough).all():
                break
            search = scaled + torch.where(last > 0, size / last, 0.0) * search
        return step, change, (size <= enough)[:, 0]


def fit_probe(
    activations: Float[Tensor, "n layers d"],
    positive: Bool[Tensor, " n"],
    pairs: Int[Tensor, " n"],
    penalties: Sequence[float],
    folds: int,
    seed: int,
    trainer: pl.Trainer | None = None,
) -> ProbeFit:
    """Fit the probe of every layer on the device that holds the activations (CPU or CUDA).

    `penalties` are strengths: a larger one shrinks more, and scikit-learn's C is 1 / penalty.
    Both sides of a pair lie in one fold; `seed` alone decides which. A `trainer` of your own may
    log, checkpoint and show progress; it needs one epoch for each Newton step (at most 200).

    Raises TraitsteerError when a polarity is missing from a fold's training rows, a layer does not
    vary or is not finite, a penalty is not positive, or the solver does not converge.
    """
    fold_of = _folds(positive, pairs, folds, seed)
    path = torch.tensor(penalties, dtype=torch.float64)
    if len(path) == 0 or not bool(((path > 0) & path.isfinite()).all()):
        raise TraitsteerError(f"probe: penalties are {list(penalties)}; expected numbers above 0")
    layers = range(activations.shape[1])
    features = torch.stack([_span(_centred(activations, layer)[0]) for layer in layers])
    # Fold `folds` holds no row, hence leaves none out: the fit on all of the data.
    kept = fold_of[None, :] != torch.arange(folds + 1)[:, None]
    probe = LogisticProbe(
        len(layers),
        features.shape[2],
        kept.repeat_interleave(len(path), dim=0),
        path.repeat(folds + 1),
    )
    _train(probe, features, positive, trainer or _quiet_trainer(activations.device))

    probe.to(activations.device)
    with torch.no_grad():
        logits = probe(features).reshape(*features.shape[:2], folds + 1, len(path))
    rows = torch.arange(len(positive), device=logits.device)
    held_out = logits[:, rows, fold_of.to(logits.device)]  # [layers, n, path]
    truth = positive[:, None]
    log_loss = softplus(torch.where(truth, -held_out, held_out)).mean(dim=1)
    accuracy = ((held_out > 0) == truth).double().mean(dim=1)
    best = log_loss.argmin(dim=1)
    final = probe.weight.detach().reshape(len(layers), -1, folds + 1, len(path))[:, :, -1]
    weights, intercepts = [], []
    for layer, chosen in enumerate(best.tolist()):
        weight, intercept = _unspan(activations, layer, features[layer], final[layer, :, chosen])
        weights.append(weight)
        intercepts.append(intercept)
    index = torch.arange(len(layers), device=best.device)
    return ProbeFit(
        torch.stack(weights),
        torch.stack(intercepts),
        path.to(best.device)[best],
        accuracy[index, best],
        log_loss.T,
    )


def _folds(positive: Tensor, pairs: Tensor, folds: int, seed: int) -> Tensor:
    """Number of the fold that leaves each row out, on the CPU."""
    found = len(torch.unique(pairs))
    if not 2 <= folds <= found:
        raise TraitsteerError(f"probe: {folds} folds of {found} pairs; expected 2 to {found} folds")
    random = np.random.RandomState(np.random.MT19937(seed))
    splitter = GroupKFold(folds, shuffle=True, random_state=random)
    fold_of = torch.zeros(len(pairs), dtype=torch.int64)
    splits = splitter.split(np.arange(len(pairs)), groups=pairs.cpu().numpy())
    for fold, (train, held_out) in enumerate(splits):
        fold_of[torch.from_numpy(held_out)] = fold
        shown = positive.cpu()[torch.from_numpy(train)]
        if shown.all() or not shown.any():
            raise TraitsteerError(
                f"probe: the training rows of fold {fold} hold one polarity only; "
                "expected both, so give more pairs or use other folds"
            )
    return fold_of


def _centred(activations: Tensor, layer: int) -> tuple[Tensor, Tensor, Tensor]:
    """Rows of a layer as the probe sees them, the mean and the scale that were taken off."""
    rows = activations[:, layer].double()
    mean = rows.mean(dim=0)
    rows = rows - mean
    scale = rows.square().mean().sqrt()
    if not bool(scale.isfinite()) or float(scale) <= 1e-12 * float(mean.abs().max()):
        raise TraitsteerError(
            f"probe: layer {layer} varies by {float(scale)} between rows; expected finite "
            "activations that differ, so check how they were read"
        )
    return rows / scale, mean, scale


def _span(rows: Tensor) -> Tensor:
    """Coordinates of rows `[n, d]` along their principal axes, `[n, min(n, d)]`, and a last 1.

    Exact up to axes that carry less than rounding error, whose coordinates are 0.
    """
    n, d = rows.shape
    power, axes = torch.linalg.eigh(rows @ rows.T if n <= d else rows.T @ rows)
    carried = power > power[-1] * max(n, d) * torch.finfo(power.dtype).eps
    power = torch.where(carried, power, 0.0)
    coordinates = axes * power.sqrt() if n <= d else (rows @ axes) * carried
    return torch.cat([coordinates, coordinates.new_ones(n, 1)], dim=1)


def _unspan(
    activations: Tensor, layer: int, features: Tensor, weight: Tensor
) -> tuple[Tensor, Tensor]:
    """Weights `[d]` and intercept in raw activation units of weights in span coordinates."""
    rows, mean, scale = _centred(activations, layer)
    coordinates = features[:, :-1]
    power = coordinates.square().sum(dim=0)
    along = torch.where(power > 0, weight[:-1] / power, 0.0)
    raw = rows.T @ (coordinates @ along) / scale
    return raw, weight[-1] - raw @ mean


def _quiet_trainer(device: torch.device) -> pl.Trainer:
    """A trainer on one device that writes no file and prints nothing."""
    if device.type not in ("cpu", "cuda"):
        raise TraitsteerError(
            f"probe: activations lie on {device}, which has no float64; move them to cpu or cuda"
        )
    with _quiet():
        return pl.Trainer(
            accelerator="gpu" if device.type == "cuda" else "cpu",
            devices=[device.index or 0] if device.type == "cuda" else 1,
            max_epochs=_MOST_STEPS,
            logger=False,
            enable_checkpointing=False,
            enable_progress_bar=False,
            enable_model_summary=False,
        )


def _train(probe: LogisticProbe, features: Tensor, positive: Tensor, trainer: pl.Trainer) -> None:
    with _quiet():
        # Without a batch size, the loader hands out its one item as the batch.
        whole = TensorDataset(features[None], positive[None])
        trainer.fit(probe, DataLoader(whole, batch_size=None))
    if not probe.converged:
        raise TraitsteerError(
            f"probe: not converged after {trainer.current_epoch} Newton steps; "
            "expected fewer, so raise the smallest penalty or the trainer's max_epochs"
        )


@contextmanager
def _quiet() -> Iterator[None]:
    """Without Lightning's device banner and the remarks that do not apply to one batch."""
    banner = logging.getLogger("pytorch_lightning.utilities.rank_zero")
    level = banner.level
    banner.setLevel(logging.WARNING)
    try:
        with warnings.catch_warnings():
            for message in _EXPECTED:
                warnings.filterwarnings("ignore", message=message)
            yield
    finally:
        banner.setLevel(level)
