"""scikit-learn: a loop over layers, folds and penalties at the objective of maths/probe.py.

Of its solvers, lbfgs is the default and newton-cg the fastest at this accuracy; the others take an
objective of another form or are slower by far where there are more features than rows.
"""

import math
import warnings

import numpy as np
import torch
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import log_loss
from sklearn.model_selection import GroupKFold
from torch import Tensor

from benchmarks.activations import labelled
from benchmarks.tasks import Probing

TOLERANCE = {"newton-cg": 1e-7, "lbfgs": 1e-9}
"""Loosest powers of ten at which every penalty ends within 1e-6 of its optimum."""


class Contender:
    """It needs no model."""

    def __init__(self, folder: str) -> None:
        warnings.simplefilter("error", ConvergenceWarning)

    def probe(self, task: Probing) -> dict[str, Tensor]:
        """Fit every fold and penalty, then all rows at the penalty of least held-out loss."""
        rows, positive, pairs = labelled(task)
        y = positive.numpy()
        random = np.random.RandomState(np.random.MT19937(task.seed))
        splitter = GroupKFold(task.folds, shuffle=True, random_state=random)
        splits = list(splitter.split(np.arange(task.n), groups=pairs.numpy()))
        losses = torch.full((task.layers, len(task.penalties)), math.nan, dtype=torch.float64)
        weights = torch.zeros(task.layers, task.width, dtype=torch.float64)
        chosen = torch.zeros(task.layers, dtype=torch.float64)
        for layer in task.fitted_layers:
            x = rows[:, layer].double().numpy()
            x = x - x.mean(axis=0)
            scale = np.sqrt(np.square(x).mean())
            x = x / scale
            for place in task.fitted_penalties:
                total = 0.0
                for train, held_out in splits:
                    fit = _fitted(x[train], y[train], task.penalties[place], task.solver)
                    chance = fit.predict_proba(x[held_out])
                    total += log_loss(y[held_out], chance, normalize=False)
                losses[layer, place] = total / task.n
            best = min(task.fitted_penalties, key=lambda place: float(losses[layer, place]))
            fit = _fitted(x, y, task.penalties[best], task.solver)
            weights[layer] = torch.from_numpy(fit.coef_[0] / scale)
            chosen[layer] = task.penalties[best]
        return {
            "weights": weights,
            "penalties": chosen,
            "held_out_log_loss": losses,
        }


def _fitted(x: np.ndarray, y: np.ndarray, penalty: float, solver: str) -> LogisticRegression:
    model = LogisticRegression(
        C=1 / penalty, solver=solver, tol=TOLERANCE[solver], max_iter=100_000
    )
    return model.fit(x, y)
