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
from lightning_fabric.plugins.environments.lightning import LightningEnvironment
from torch import Tensor
from torch.nn.functional import softplus
from torch.utils.data import DataLoader, TensorDataset

from traitsteer.maths.newton import TOLERANCE, best_length, newton_step
from traitsteer.maths.span import Span
from traitsteer.words.errors import TraitsteerError
from traitsteer.words.shapes import Bool, Float, Int

_MOST_STEPS = 200

_EXPECTED = (
    ".*configure_optimizers.*returned `None`",
    ".*does not have many workers",
    "GPU available but not used",
    ".*smaller than the logging interval",
    r".*isinstance\(treespec, LeafSpec\)",
)
"""Beginnings of remarks on one full batch, and on activations that lie on the host by choice."""


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
    intercept, pays no penalty. Where it `logs`, which a fit to little data feels, it logs how many
    problems of how many layers are open, and the mean objective of those.
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
        logs: bool = True,
    ) -> None:
        super().__init__()
        self.logs = logs
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
        step, change, solved = newton_step(features, wrong * margin.sigmoid(), gradient, penalty)
        price = [(penalty * one * step).sum(dim=2) for one in (weight, step)]
        length = best_length(rows, margin, sign * change, price)
        objective = (rows * softplus(-margin)).sum(dim=2)
        objective += 0.5 * (penalty * weight.square()).sum(dim=2)
        done = solved & (-(gradient * step).sum(dim=2) <= TOLERANCE * objective)
        self.weight[:, self.open] = weight + length[:, :, None] * step
        # A problem is a row of every layer: it leaves once it is done in all of them.
        self.open = self.open[~done.all(dim=0)]
        self.converged = len(self.open) == 0
        self.trainer.should_stop = self.converged
        if self.logs:
            still_open = (~done).sum().float()
            self.log_dict({"open": still_open, "objective": objective.mean()}, prog_bar=True)


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
    positive = positive.to(features.device)
    # Fold `folds` holds no row, hence leaves none out: the fit on all of the data.
    fold_of, folds = fold_of.cpu(), int(fold_of.max()) + 1
    kept = fold_of[None, :] != torch.arange(folds + 1)[:, None]
    probe = LogisticProbe(
        len(layers),
        features.shape[2],
        kept.repeat_interleave(len(path), dim=0),
        path.repeat(folds + 1),
        logs=trainer is not None,
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
            # One process, whichever cluster it runs on: SLURM's tasks are not counted.
            plugins=[LightningEnvironment()],
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
    """Without Lightning's banner of devices and the remarks that do not apply here."""
    banner = logging.getLogger("pytorch_lightning")
    level = banner.level
    banner.setLevel(logging.WARNING)
    try:
        with warnings.catch_warnings():
            for message in _EXPECTED:
                warnings.filterwarnings("ignore", message=message)
            yield
    finally:
        banner.setLevel(level)
