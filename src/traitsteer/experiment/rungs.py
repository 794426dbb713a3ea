"""Answers in rungs: a setting far below the floor on the first questions is asked no further.

That takes nothing from what is reported. A setting that was given up is infeasible and can't be
chosen; whatever else a study scores is answered in full.
"""

import itertools
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Protocol

from traitsteer.experiment.answering import Questions, Setting
from traitsteer.maths.statistics import student_interval
from traitsteer.words import scores
from traitsteer.words.config import Config
from traitsteer.words.records import ScoredAnswer
from traitsteer.words.seeds import seed_for
from traitsteer.world.progress import Advance


class Answering(Protocol):
    """What answers and judges; `Bench` does."""

    def answers(
        self,
        questions: Questions,
        settings: Sequence[Setting],
        samples: int,
        progress: Advance,
        only: Sequence[int] | None,
        cut_loops: bool,
    ) -> list[list[ScoredAnswer]]:
        """For each setting, its answers to the questions numbered in `only`; to all if None.

        With `cut_loops` an answer that repeats itself ends there.
        """
        ...


@dataclass
class Tokens:
    """What a search generated, and what it did not have to."""

    generated: int = 0
    saved_by_pruning: float = 0.0
    """An estimate: answers not asked for, times the mean tokens of the setting's own answers."""
    saved_by_loops: int = 0
    """What answers that were cut because they repeated themselves lacked of the greatest length."""


@dataclass
class Asked:
    """A setting with its answers, ordered by question and sample."""

    setting: Setting
    answers: list[ScoredAnswer] = field(default_factory=list)
    given_up: bool = False


def rungs_of(texts: Sequence[str], ends: Sequence[int], seed: int) -> list[list[int]]:
    """The numbers of the questions of each rung; together every question once.

    Args:
        ends: how many questions are answered when a setting is looked at; may be empty.
        seed: which questions come first depends on it and on their texts, on nothing else.
    """
    order = sorted(range(len(texts)), key=lambda q: seed_for(seed, "rung", texts[q]))
    cuts = [0, *(end for end in ends if end < len(texts)), len(texts)]
    return [sorted(order[a:b]) for a, b in itertools.pairwise(cuts)]


class Rungs:
    """Asks a bench, and counts the tokens."""

    def __init__(self, config: Config, bench: Answering, questions: Questions) -> None:
        self.questions = questions
        self.tokens = Tokens()
        self._config = config
        self._bench = bench
        self.numbers = rungs_of(questions.texts, config.search.rungs, config.seed)
        """Numbers of the questions of each rung."""

    def climb(self, asked: Sequence[Asked], samples: int, advance: Advance) -> None:
        """Answer rung after rung; a steered setting may be given up before the last.

        Answers that repeat themselves are cut, the unsteered ones by the same rule.
        """
        alive = list(asked)
        for place, numbers in enumerate(self.numbers):
            self._ask(alive, samples, advance, numbers, cut_loops=True)
            left = samples * sum(map(len, self.numbers[place + 1 :]))
            for each in alive if left else ():
                if each.setting.coefficient != 0 and self._hopeless(each.answers):
                    each.given_up = True
                    tokens = sum(answer.tokens for answer in each.answers)
                    self.tokens.saved_by_pruning += left * tokens / len(each.answers)
            alive = [each for each in alive if not each.given_up]
            if not alive:
                return

    def in_full(self, asked: Sequence[Asked], samples: int, advance: Advance) -> None:
        """Answer every question, to its end."""
        self._ask(asked, samples, advance, None, cut_loops=False)

    def _hopeless(self, answers: Sequence[ScoredAnswer]) -> bool:
        """Whether even the upper limit of the mean coherence over questions is below the floor."""
        coherence = scores.by_question(answers, "coherence")
        if all(value is None for values in coherence.values() for value in values):
            return False
        upper = student_interval(coherence, self._config.search.prune_confidence).upper
        return upper is not None and upper < self._config.study.coherence_floor

    def _ask(
        self,
        asked: Sequence[Asked],
        samples: int,
        advance: Advance,
        numbers: Sequence[int] | None,
        cut_loops: bool,
    ) -> None:
        settings = [each.setting for each in asked]
        found = self._bench.answers(
            self.questions, settings, samples, advance, only=numbers, cut_loops=cut_loops
        )
        longest = self._config.answers.max_new_tokens
        for each, answers in zip(asked, found, strict=True):
            each.answers = sorted([*each.answers, *answers], key=lambda a: (a.question, a.sample))
            for answer in answers:
                self.tokens.generated += answer.tokens
                self.tokens.saved_by_loops += (answer.finish == "loop") * (longest - answer.tokens)
