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
Newton's method with conjugate gradients then solves them all as rows of one batched matrix
product, and a problem leaves once it is solved. No sign needs to be fixed: any optimum scores
positive rows higher on the data that fit it, since it improves on w = 0, where the descent
direction is the mean difference.
"""

import logging
import warnings
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial

import pytorch_lightning as pl
import torch
from torch import Tensor
from torch.nn.functional import softplus
from torch.utils.data import DataLoader, TensorDataset

from traitsteer.maths.span import Span
from traitsteer.words.errors import TraitsteerError
from traitsteer.words.shapes import Bool, Float, Int

_MOST_STEPS = 200
_MOST_PRODUCTS = 200
"""Conjugate gradient iterations of one Newton step."""
_INEXACT = 0.2
"""A Newton step is solved until its preconditioned residual has shrunk to this share."""
_WORTH_DROPPING = 0.8
"""Rows leave conjugate gradients once no more than this share of them is unsolved."""
_LONGEST = 4.0
"""Most of a Newton step that is taken."""
_LENGTHS = 4
"""Lengths tried for each Newton step, and more while one would raise its objective."""
_MOST_LENGTHS = 40
_TOLERANCE = 1e-6
"""Newton stops after a step that promises less than this share of each objective."""

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
    """In raw activation units: `h @ weights[l]`, up to a constant, is the log odds of the trait."""
    penalties: Float[Tensor, " layers"]
    held_out_log_loss: Float[Tensor, "path layers"]
    """Mean over rows, for each penalty in the order given; the least of it chose the penalty."""


class LogisticProbe(pl.LightningModule):
    """Logistic regressions of all layers; a training step is one Newton step of all of them.

    A problem is the rows that it is fitted on and its penalty; its coefficients are a row of
    `weight [layers, problems, features]`. Train it on one full batch, the pair (features
    `[layers, n, features]`, positive `[n]`); the last feature is 1, and its coefficient, the
    intercept, pays no penalty. It logs how many problems of how many layers are open, and the mean
    objective of those.
    """

    rows: Tensor
    penalty: Tensor
    open: Tensor
    """Numbers of the problems that are not yet solved in every layer."""

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
        self.weight = torch.nn.Parameter(torch.zeros(layers, len(rows), features))
        self.register_buffer("rows", rows.float(), persistent=False)
        self.register_buffer("open", torch.arange(len(rows)), persistent=False)
        pays = torch.ones(features)
        pays[-1] = 0.0
        self.register_buffer("penalty", penalties.float().cpu()[:, None] * pays, persistent=False)

    def forward(self, features: Float[Tensor, "layers n f"]) -> Float[Tensor, "layers problems n"]:
        """Log odds of the trait."""
        return self.weight @ features.mT

    def configure_optimizers(self) -> None:
        """None: the step below is the optimiser."""

    @torch.no_grad()
    def training_step(self, batch: Sequence[Tensor], batch_idx: int) -> None:
        """One Newton step of every open problem; ends training once none would still gain."""
        features, positive = batch
        sign = 2.0 * positive.to(features.dtype) - 1.0
        rows, penalty = self.rows[self.open], self.penalty[self.open]
        weight = self.weight[:, self.open]

        margin = sign * (weight @ features.mT)
        wrong = rows * (-margin).sigmoid()
        gradient = penalty * weight - (sign * wrong) @ features
        step, change, solved = _newton(features, wrong * margin.sigmoid(), gradient, penalty)
        price = [(penalty * one * step).sum(dim=2) for one in (weight, step)]
        length = _length(rows, margin, sign * change, price)
        objective = (rows * softplus(-margin)).sum(dim=2)
        objective += 0.5 * (penalty * weight.square()).sum(dim=2)
        done = solved & (-(gradient * step).sum(dim=2) <= _TOLERANCE * objective)
        self.weight[:, self.open] = weight + length[:, :, None] * step
        # A problem is a row of every layer: it leaves once it is done in all of them.
        self.open = self.open[~done.all(dim=0)]
        self.converged = len(self.open) == 0
        self.trainer.should_stop = self.converged
        still_open = (~done).sum().float()
        self.log_dict({"open": still_open, "objective": objective.mean()}, prog_bar=True)


def _newton(
    features: Tensor, curvature: Tensor, gradient: Tensor, penalty: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """Solve Hessian @ step = -gradient by conjugate gradients.

    Also gives the change of the logits, `step @ features.mT`, and says which steps are solved.
    The features are the principal axes of the rows, so their Gram matrix is diagonal: times the
    mean curvature, and with the penalty, it is the preconditioner. A row of the batch leaves once
    it is solved in every layer.
    """
    power = features.square().sum(dim=1, keepdim=True)
    diagonal = curvature.mean(dim=2, keepdim=True) * power + penalty
    tiny = torch.finfo(diagonal.dtype).tiny
    diagonal = diagonal.clamp_min(tiny)
    # Of length 1, so that no square leaves the range of float32.
    size = gradient.norm(dim=2, keepdim=True).clamp_min(tiny)
    residual = -gradient / size
    step, change = torch.zeros_like(residual), torch.zeros_like(curvature)
    solved = torch.zeros_like(size[:, :, 0], dtype=torch.bool)
    search = residual / diagonal
    norm = (residual * search).sum(dim=2, keepdim=True)
    enough = _INEXACT**2 * norm
    open_ = torch.arange(len(penalty), device=penalty.device)
    for _ in range(_MOST_PRODUCTS):
        image = search @ features.mT
        bend = (curvature * image) @ features + penalty * search
        slope = (search * bend).sum(dim=2, keepdim=True)
        # A solved problem stands still while others go on: past its optimum, rounding would grow.
        going = (slope > 0) & ~solved[:, open_, None]
        stride = torch.where(going, norm / slope, 0.0)
        step[:, open_] += stride * search
        change[:, open_] += stride * image
        residual = residual - stride * bend
        scaled = residual / diagonal
        last, norm = norm, (residual * scaled).sum(dim=2, keepdim=True)
        solved[:, open_] |= (norm <= enough)[:, :, 0]
        kept = ~solved[:, open_].all(dim=0)
        if not kept.any():
            break
        search = scaled + torch.where(last > 0, norm / last, 0.0) * search
        if kept.double().mean() < _WORTH_DROPPING:
            open_, penalty = open_[kept], penalty[kept]
            residual, search, diagonal = residual[:, kept], search[:, kept], diagonal[:, kept]
            norm, enough, curvature = norm[:, kept], enough[:, kept], curvature[:, kept]
    return step * size, change * size, solved


def _length(rows: Tensor, margin: Tensor, change: Tensor, price: Sequence[Tensor]) -> Tensor:
    """How far along its step each problem's objective is least, from 0 to `_LONGEST`.

    Newton's method on the slope, which rises with the length, in an interval that holds its root.
    `price` is the slope of the penalty at 0 and its growth with the length. Where the data are
    separable and the penalty is small, steps of more than 1 save half of the steps, and now and
    then a step is many times too long.
    """
    bound = (rows * softplus(-margin)).sum(dim=2) * (1 + _TOLERANCE)
    least, most = torch.zeros_like(price[0]), torch.full_like(price[0], _LONGEST)
    length = torch.ones_like(price[0])
    for tried in range(_MOST_LENGTHS):
        chance = (-margin - length[:, :, None] * change).sigmoid()
        pull = rows * chance * change
        slope = price[0] + length * price[1] - pull.sum(dim=2)
        if tried >= _LENGTHS:
            loss = (rows * softplus(-margin - length[:, :, None] * change)).sum(dim=2)
            rise = length * price[0] + length.square() * price[1] / 2
            if not bool((loss + rise > bound).any()):
                break
        growth = price[1] + (pull * (1 - chance) * change).sum(dim=2)
        least, most = torch.where(slope < 0, length, least), torch.where(slope < 0, most, length)
        length = torch.where(growth > 0, length - slope / growth, length)
        length = torch.where((length > least) & (length < most), length, (least + most) / 2)
    return length


def fit_probe(
    activations: Float[Tensor, "n layers d"],
    positive: Bool[Tensor, " n"],
    fold_of: Int[Tensor, " n"],
    penalties: Sequence[float],
    trainer: pl.Trainer | None = None,
) -> ProbeFit:
    """Fit the probe of every layer on the device that holds the activations (CPU or CUDA).

    `penalties` are strengths: a larger one shrinks more, and scikit-learn's C is 1 / penalty.
    `fold_of` numbers the fold that leaves each row out, from 0. A `trainer` of your own may log,
    checkpoint and show progress; it needs one epoch for each Newton step (at most 200).

    Raises TraitsteerError when a layer does not vary or is not finite, a penalty is not positive,
    or the solver does not converge.
    """
    path = torch.tensor(penalties, dtype=torch.float64)
    if len(path) == 0 or not bool(((path > 0) & path.isfinite()).all()):
        raise TraitsteerError(f"probe: penalties are {list(penalties)}; expected numbers above 0")
    layers = range(activations.shape[1])
    # One layer a thread: the eigenvectors of one keep no second core busy. On a GPU they do, and
    # torch's solvers there must not be set up by several threads at once.
    at_once = torch.get_num_threads() if activations.device.type == "cpu" else 1
    with ThreadPoolExecutor(at_once) as threads:
        spans = list(threads.map(partial(Span.of, activations), layers))
    features = torch.stack([span.features for span in spans])
    # Fold `folds` holds no row, hence leaves none out: the fit on all of the data.
    fold_of, folds = fold_of.cpu(), int(fold_of.max()) + 1
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
        logits = probe(features).double().unflatten(1, (folds + 1, len(path)))
    rows = torch.arange(len(positive))
    held_out = logits[:, fold_of, :, rows]  # [n, layers, path]
    log_loss = softplus(torch.where(positive[:, None, None], -held_out, held_out)).mean(dim=0)
    best = log_loss.argmin(dim=1)
    final = probe.weight.detach().double().unflatten(1, (folds + 1, len(path)))[:, -1]
    weights = [
        spans[layer].raw(activations[:, layer], final[layer, chosen])
        for layer, chosen in enumerate(best.tolist())
    ]
    return ProbeFit(torch.stack(weights), path.to(best.device)[best], log_loss.T)


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
