"""Logistic probe: scikit-learn's optimum, the right penalty, no files, no noise."""

import functools
import logging
import warnings
from pathlib import Path

import numpy as np
import pytest
import pytorch_lightning as pl
import torch
from pytorch_lightning.accelerators import CUDAAccelerator
from scipy.optimize import minimize_scalar
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import log_loss
from sklearn.model_selection import GroupKFold
from torch import Tensor
from torch.nn.functional import softplus

from traitsteer.maths.folds import fold_numbers
from traitsteer.maths.mean_difference import mean_difference
from traitsteer.maths.newton import best_length
from traitsteer.maths.probe import fit_probe
from traitsteer.words.errors import TraitsteerError


def rows(n: int, d: int, signal: float, seed: int = 0) -> tuple[Tensor, Tensor, Tensor]:
    """Three layers of very different scale and of unequal variance along their axes."""
    generator = torch.Generator().manual_seed(seed)
    positive = torch.arange(n) % 2 == 0
    spread = torch.arange(1, d + 1) ** -0.5
    noise = torch.randn(n, 3, d, generator=generator) * spread
    shift = signal * torch.randn(3, d, generator=generator)
    values = noise + torch.where(positive, 1.0, -1.0)[:, None, None] * shift + 2.0
    return values * torch.tensor([0.01, 1.0, 300.0])[:, None], positive, torch.arange(n) // 2


def scaled(activations: Tensor, layer: int) -> tuple[np.ndarray, float]:
    values = activations[:, layer].double().numpy()
    mean = values.mean(axis=0)
    scale = float(np.sqrt(((values - mean) ** 2).mean()))
    return (values - mean) / scale, scale


def objective(x: np.ndarray, y: np.ndarray, weight: np.ndarray, bias: float, c: float) -> float:
    loss = np.logaddexp(0, -np.where(y, 1, -1) * (x @ weight + bias)).sum()
    return float(c * loss + 0.5 * weight @ weight)


def reference(x: np.ndarray, y: np.ndarray, c: float) -> LogisticRegression:
    return LogisticRegression(C=c, tol=1e-10, max_iter=20000, solver="newton-cholesky").fit(x, y)


@pytest.mark.parametrize("c", [0.001, 0.1, 1.0, 100.0])
@pytest.mark.parametrize(
    ("n", "d", "signal"),
    [(60, 96, 0.3), (60, 96, 0.0), (200, 24, 0.02), (200, 24, 1.0)],
    ids=["separable", "separable noise", "not separable", "tall and separable"],
)
def test_optimum_is_that_of_scikit_learn(n: int, d: int, signal: float, c: float) -> None:
    activations, positive, pairs = rows(n, d, signal)
    fit = fit_probe(activations, positive, fold_numbers(positive, pairs, 3, seed=0), [1 / c])
    y = positive.numpy()
    for layer in range(3):
        x, scale = scaled(activations, layer)
        expected = reference(x, y, c)
        theirs = objective(x, y, expected.coef_[0], float(expected.intercept_[0]), c)
        raw = fit.weights[layer].numpy()
        # The probe gives no intercept: the best one for its weights is found here.
        by_bias = functools.partial(objective, x, y, raw * scale, c=c)
        assert minimize_scalar(by_bias, tol=1e-10).fun == pytest.approx(theirs, rel=1e-6)
        cosine = raw @ expected.coef_[0] / np.linalg.norm(raw) / np.linalg.norm(expected.coef_[0])
        assert cosine > 0.999
        assert fit.penalties[layer].item() == 1 / c


def steep(n: int, d: int, signal: float) -> tuple[Tensor, Tensor, Tensor]:
    """Two layers whose variance falls along their axes as 1/k, and a mean far from 0."""
    generator = torch.Generator().manual_seed(3)
    positive = torch.arange(n) % 2 == 0
    sign = torch.where(positive, 1.0, -1.0)[:, None, None]
    noise = torch.randn(n, 2, d, generator=generator) * torch.arange(1, d + 1) ** -0.5
    shift = signal * torch.randn(2, d, generator=generator) / d**0.5
    return noise + sign * shift + 5.0, positive, torch.arange(n) // 2


def optimum(x: np.ndarray, y: np.ndarray, penalty: float) -> float:
    """Least objective, by scikit-learn in the span of the rows."""
    left, size, _ = np.linalg.svd(x - x.mean(axis=0), full_matrices=False)
    found = reference(left * size, y, 1 / penalty)
    bias = float(found.intercept_[0])
    return objective(left * size, y, found.coef_[0], bias, 1 / penalty) * penalty


PENALTIES = [0.001, 0.1, 10.0, 1000.0]
SHAPES = pytest.mark.parametrize(
    ("n", "d", "signal"),
    [(100, 120, 1.0), (100, 120, 0.0), (120, 120, 0.1), (160, 40, 0.2), (60, 2000, 0.5)],
    ids=["wide", "wide noise", "square", "tall", "very wide"],
)


@SHAPES
def test_each_objective_is_optimal_in_raw_activations(n: int, d: int, signal: float) -> None:
    activations, positive, pairs = steep(n, d, signal)
    folds = fold_numbers(positive, pairs, 3, seed=0)
    y = positive.numpy()
    for penalty in PENALTIES:
        weights = fit_probe(activations, positive, folds, [penalty]).weights
        for layer in range(2):
            x, scale = scaled(activations, layer)
            raw = weights[layer].numpy() * scale
            by_bias = functools.partial(objective, x, y, raw, c=1 / penalty)
            least = minimize_scalar(by_bias, tol=1e-10).fun * penalty
            assert least == pytest.approx(optimum(x, y, penalty), rel=1e-6)


class Keep(pl.Callback):
    """The features and the coefficients of every problem, as a trainer sees them."""

    def on_train_batch_end(
        self, _: pl.Trainer, module: pl.LightningModule, outputs: object, batch: list, index: int
    ) -> None:
        self.features = batch[0].double().numpy()
        self.weight = module.weight.detach().double().numpy().copy()


@SHAPES
def test_each_fold_and_penalty_is_optimal(n: int, d: int, signal: float) -> None:
    activations, positive, pairs = steep(n, d, signal)
    fold_of = fold_numbers(positive, pairs, 3, seed=0)
    keep = Keep()
    quiet = {"logger": False, "enable_checkpointing": False, "enable_progress_bar": False}
    quiet |= {"enable_model_summary": False, "accelerator": "cpu"}
    trainer = pl.Trainer(max_epochs=100, callbacks=[keep], **quiet)
    fit_probe(activations, positive, fold_of, PENALTIES, trainer=trainer)
    weight = keep.weight.reshape(2, 4, len(PENALTIES), -1)
    for layer, fold, number in np.ndindex(2, 4, len(PENALTIES)):
        kept = (fold_of != fold).numpy()
        x, y, penalty = keep.features[layer, kept, :-1], positive.numpy()[kept], PENALTIES[number]
        *coefficients, bias = weight[layer, fold, number]
        found = objective(x, y, np.array(coefficients), bias, 1 / penalty) * penalty
        assert found == pytest.approx(optimum(x, y, penalty), rel=1e-6)


def test_an_outlying_axis_spoils_no_optimum() -> None:
    activations, positive, pairs = steep(60, 96, 0.5)
    activations[:, :, 0] *= 3000.0
    folds = fold_numbers(positive, pairs, 3, seed=0)
    weights = fit_probe(activations, positive, folds, [0.001]).weights
    for layer in range(2):
        x, scale = scaled(activations, layer)
        by_bias = functools.partial(
            objective, x, positive.numpy(), weights[layer].numpy() * scale, c=1000.0
        )
        least = minimize_scalar(by_bias, tol=1e-10).fun / 1000.0
        assert least == pytest.approx(optimum(x, positive.numpy(), 0.001), rel=1e-6)


def test_the_number_of_threads_changes_nothing() -> None:
    activations, positive, pairs = steep(80, 100, 0.5)
    folds = fold_numbers(positive, pairs, 3, seed=0)
    before = torch.get_num_threads()
    try:
        fits = []
        for threads in (1, 2, 3):
            torch.set_num_threads(threads)
            fits.append(fit_probe(activations, positive, folds, PENALTIES))
    finally:
        torch.set_num_threads(before)
    for fit in fits[1:]:
        assert torch.equal(fit.penalties, fits[0].penalties)
        torch.testing.assert_close(fit.weights, fits[0].weights, rtol=1e-3, atol=1e-6)


def test_cross_validation_is_that_of_a_scikit_learn_loop() -> None:
    activations, positive, pairs = rows(80, 40, 0.1)
    penalties, seed = [0.1, 1.0, 10.0, 100.0], 2**40 + 5
    fit = fit_probe(activations, positive, fold_numbers(positive, pairs, 4, seed), penalties)
    random = np.random.RandomState(np.random.MT19937(seed))
    folds = list(
        GroupKFold(4, shuffle=True, random_state=random).split(pairs, groups=pairs.numpy())
    )
    y = positive.numpy()
    for layer in range(3):
        x, _ = scaled(activations, layer)
        losses = []
        for penalty in penalties:
            scores = np.zeros(80)
            for train, held_out in folds:
                scores[held_out] = reference(x[train], y[train], 1 / penalty).decision_function(
                    x[held_out]
                )
            losses.append(np.logaddexp(0, -np.where(y, 1, -1) * scores).mean())
        assert fit.held_out_log_loss[:, layer].tolist() == pytest.approx(losses, rel=1e-4)
        assert fit.penalties[layer].item() == penalties[int(np.argmin(losses))]


def test_probe_is_not_the_mean_difference_where_noise_is_correlated() -> None:
    generator = torch.Generator().manual_seed(0)
    positive, pairs = torch.arange(400) % 2 == 0, torch.arange(400) // 2
    sign = torch.where(positive, 1.0, -1.0)
    noise = torch.randn(400, 1, 16, generator=generator)
    loud = 6 * torch.randn(400, generator=generator)
    activations = noise.clone()
    activations[:, 0, 0] += loud + sign  # the same loud noise on two axes, the trait on one
    activations[:, 0, 1] += loud
    fit = fit_probe(
        activations,
        positive,
        fold_numbers(positive, pairs, 5, seed=0),
        [0.01, 1.0, 100.0, 1e4, 1e6],
    )
    mean = mean_difference(activations, positive)
    assert torch.cosine_similarity(fit.weights, mean).item() < 0.9
    shrunk = fit_probe(activations, positive, fold_numbers(positive, pairs, 5, seed=0), [1e9])
    assert torch.cosine_similarity(shrunk.weights, mean).item() > 0.9999
    assert fit.held_out_log_loss.min() < 0.8 * shrunk.held_out_log_loss.min()


def test_weights_score_positive_rows_higher() -> None:
    activations, positive, pairs = rows(60, 96, 0.0)
    for labels in (positive, ~positive):
        fit = fit_probe(activations, labels, fold_numbers(labels, pairs, 3, seed=0), [1.0])
        odds = torch.einsum("nld,ld->nl", activations.double(), fit.weights)
        middle = (odds[labels].mean(dim=0) + odds[~labels].mean(dim=0)) / 2
        assert (odds[labels].mean(dim=0) > middle).all()
        assert ((odds > middle) == labels[:, None]).double().mean() > 0.95


def test_nothing_is_written_or_said(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.chdir(tmp_path)
    caplog.set_level(logging.INFO)
    activations, positive, pairs = rows(40, 16, 0.3)
    fit_probe(activations, positive, fold_numbers(positive, pairs, 3, seed=0), [1.0])
    assert list(tmp_path.iterdir()) == []
    assert capfd.readouterr() == ("", "")
    assert caplog.records == []


def test_the_tasks_of_a_cluster_are_not_taken_for_processes(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """As `sbatch --ntasks=8` sets them, which asks for cores."""
    job = {"NTASKS": "8", "JOB_NAME": "study", "JOB_ID": "1", "PROCID": "0", "LOCALID": "0"}
    for name, value in job.items():
        monkeypatch.setenv(f"SLURM_{name}", value)
    activations, positive, pairs = rows(40, 16, 0.3)
    fitted = fit_probe(activations, positive, fold_numbers(positive, pairs, 3, seed=0), [1.0])
    assert fitted.weights.isfinite().all()


def test_a_gpu_that_is_left_alone_is_not_remarked_on(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(CUDAAccelerator, "is_available", lambda: True)
    activations, positive, pairs = rows(40, 16, 0.3)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        fit_probe(activations, positive, fold_numbers(positive, pairs, 3, seed=0), [1.0])


def test_a_trainer_of_your_own_sees_every_step() -> None:
    class Watch(pl.Callback):
        def __init__(self) -> None:
            self.open: list[float] = []

        def on_train_epoch_end(self, trainer: pl.Trainer, _: pl.LightningModule) -> None:
            self.open.append(float(trainer.callback_metrics["open"]))

    watch = Watch()
    settings = {
        "accelerator": "cpu",
        "logger": False,
        "enable_checkpointing": False,
        "enable_progress_bar": False,
        "enable_model_summary": False,
        "callbacks": [watch],
    }
    trainer = pl.Trainer(max_epochs=100, **settings)
    activations, positive, pairs = rows(40, 16, 0.3)
    data = activations, positive, fold_numbers(positive, pairs, 3, seed=0)
    watched = fit_probe(*data, [0.1, 10.0], trainer=trainer)
    assert watch.open[0] > 0 == watch.open[-1]
    assert torch.equal(watched.weights, fit_probe(*data, [0.1, 10.0]).weights)
    with pytest.raises(TraitsteerError, match="not converged after 1 "):
        fit_probe(*data, [0.1], trainer=pl.Trainer(max_epochs=1, **settings))


def test_impossible_input_is_one_sentence() -> None:
    activations, positive, pairs = rows(12, 8, 0.3)
    fold_of = fold_numbers(positive, pairs, 3, seed=0)
    with pytest.raises(TraitsteerError, match="penalties are"):
        fit_probe(activations, positive, fold_of, [1.0, 0.0])
    same = activations.clone()
    same[:, 1] = 0.3
    with pytest.raises(TraitsteerError, match="layer 1 varies by"):
        fit_probe(same, positive, fold_of, [1.0])
    activations[0, 2, 0] = float("inf")
    with pytest.raises(TraitsteerError, match="layer 2 varies by"):
        fit_probe(activations, positive, fold_of, [1.0])


@pytest.mark.parametrize("scale", [1.0, 1e3, 1e7])
def test_a_step_that_is_many_times_too_long_is_cut_to_one_that_gains(scale: float) -> None:
    """Where curvature has all but vanished, Newton's step leads far away; its length must not."""
    generator = torch.Generator().manual_seed(0)
    n, problems = 60, 5
    rows = torch.ones(problems, n)
    margin = 3 * torch.randn(1, problems, n, generator=generator)
    downhill = (-margin).sigmoid() * torch.rand(1, problems, n, generator=generator)
    change = scale * (downhill + 0.1 * torch.randn(1, problems, n, generator=generator))
    price = [torch.zeros(1, problems), torch.full((1, problems), 1e-3 * scale**2)]

    def objective(length: torch.Tensor) -> torch.Tensor:
        loss = softplus(-(margin + length[:, :, None] * change)).sum(dim=2)
        return loss + length * price[0] + length.square() * price[1] / 2

    length = best_length(rows, margin, change, price)
    assert bool((length > 0).all())
    assert bool((objective(length) < objective(torch.zeros_like(length))).all())


def test_rows_that_contradict_each_other_are_solved_as_exactly() -> None:
    """Twins of opposite labels make an objective flat in directions in which logits still move."""
    draw = np.random.default_rng(22)
    rows = draw.normal(size=(5, 150)).astype(np.float32)
    rows = np.concatenate([rows, rows])
    positive = draw.random(10) < 0.5
    positive[:4] = [True, False, True, False]
    fold_of = np.zeros(10, dtype=int)
    for polarity in (True, False):
        own = np.flatnonzero(positive == polarity)
        fold_of[own] = np.arange(len(own)) % 2
    found = fit_probe(
        torch.from_numpy(rows)[:, None],
        torch.from_numpy(positive),
        torch.from_numpy(fold_of),
        [1e-3],
    ).held_out_log_loss
    centred = rows.astype(np.float64) - rows.mean(axis=0)
    centred /= np.sqrt(np.square(centred).mean())
    total = 0.0
    for fold in (0, 1):
        train, held = fold_of != fold, fold_of == fold
        by_sklearn = LogisticRegression(C=1e3, tol=1e-12, max_iter=100_000, solver="newton-cg")
        chance = by_sklearn.fit(centred[train], positive[train]).predict_proba(centred[held])
        total += log_loss(positive[held], chance, labels=[False, True], normalize=False)
    assert float(found) == pytest.approx(total / 10, rel=0.01)
