"""Answers from a stored surface in place of a model, and the cost of asking for them."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from benchmarks.search.grid import Surface
from traitsteer.experiment.answering import Questions, Setting
from traitsteer.words.records import ScoredAnswer


@dataclass
class Replay:
    """Answers with what the grid holds at the nearest strength, and counts what was asked for.

    The layers' norms are taken to be 1, so that a coefficient is a strength. `surface` holds what
    may be seen alone.
    """

    surface: Surface
    seed: int
    asked: int = 0
    """Answers asked for so far."""

    def texts(self) -> tuple[str, ...]:
        """Stand-ins for the questions; with them differ the rungs that are drawn by text."""
        return tuple(f"{self.seed}: {number}" for number in range(len(self.surface.baseline)))

    def answers(
        self,
        questions: Questions,
        settings: Sequence[Setting],
        samples: int,
        progress: Callable[[int], None] = lambda done: None,
        only: Sequence[int] | None = None,
        cut_loops: bool = False,
    ) -> list[list[ScoredAnswer]]:
        """The stored answers, in the order that a bench gives them; they were stored uncut."""
        numbers = range(len(questions.texts)) if only is None else only
        found = [self._setting(setting, numbers, samples) for setting in settings]
        self.asked += sum(map(len, found))
        return found

    def _setting(
        self, setting: Setting, numbers: Sequence[int], samples: int
    ) -> list[ScoredAnswer]:
        surface, floor = self.surface, setting.coefficient
        if floor == 0:
            trait, coherence, tokens = surface.baseline, surface.baseline_coherence, None
        else:
            nearest = int(np.abs(surface.strengths - floor).argmin())
            place = (setting.layer, nearest)
            trait, coherence = surface.trait[place], surface.coherence[place]
            tokens = surface.tokens[place]
        answers = []
        for question in numbers:
            for sample in range(setting.first_sample, setting.first_sample + samples):
                at = (question, sample)
                answers.append(
                    ScoredAnswer(
                        question,
                        sample,
                        0,
                        "",
                        _present(trait[at]),
                        _present(coherence[at]),
                        0 if tokens is None else int(tokens[at]),
                        "stop",
                    )
                )
        return answers


def _present(value: float) -> float | None:
    return None if np.isnan(value) else float(value)
