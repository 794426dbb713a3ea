"""The search of one vector: settings in batches, questions in rungs, and a recount of the best.

A setting is answered a rung of questions at a time. One whose mean coherence is far below the
floor on the questions answered so far is given up, and its remaining answers are never generated.
That takes nothing from what is reported: a setting that was given up is infeasible and can't be
chosen, and what is chosen was answered in full, twice.
"""

import itertools
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, field
from statistics import NormalDist
from typing import Any, Protocol

from torch import Tensor

from traitsteer.experiment.answering import Questions, Setting
from traitsteer.maths.cliffs import Point, Seen, coarse_design, toward_the_cliffs
from traitsteer.maths.statistics import mean_interval
from traitsteer.words import scores
from traitsteer.words.config import Config
from traitsteer.words.errors import TraitsteerError
from traitsteer.words.records import ScoredAnswer
from traitsteer.words.seeds import seed_for
from traitsteer.world.studies import LayerStrengthStudy, Outcome

LEAST_CHANCE = 0.05
Trial = dict[str, Any]
Advance = Callable[[int], None]


class Answering(Protocol):
    """What answers and judges; `Bench` does."""

    def answers(
        self,
        questions: Questions,
        settings: Sequence[Setting],
        samples: int,
        progress: Advance,
        only: Sequence[int] | None,
    ) -> list[list[ScoredAnswer]]:
        """For each setting, its answers to the questions numbered in `only`."""
        ...


def choose(confirmed: Sequence[Trial], floor: float, margin: float = 0) -> Trial | None:
    """The largest confirmed delta whose coherence is safely at the floor; None if there is none.

    A coherence of exactly the floor falls below it on other questions half of the time, so it must
    lie `margin` standard errors (over questions) above.
    """
    able = [
        c
        for c in confirmed
        if c["delta"] is not None and c["coherence"] - margin * c["coherence_error"] >= floor
    ]
    return max(able, key=lambda c: c["delta"], default=None)


def rungs(texts: Sequence[str], ends: Sequence[int], seed: int) -> list[list[int]]:
    """The numbers of the questions of each rung; together every question once.

    Args:
        ends: how many questions are answered when a setting is looked at; may be empty.
        seed: which questions come first depends on it and on their texts, on nothing else.
    """
    order = sorted(range(len(texts)), key=lambda q: seed_for(seed, "rung", texts[q]))
    cuts = [0, *(end for end in ends if end < len(texts)), len(texts)]
    return [sorted(order[a:b]) for a, b in itertools.pairwise(cuts)]


@dataclass
class Tokens:
    """What the search generated, and what it did not have to."""

    generated: int = 0
    saved_by_pruning: float = 0.0
    """An estimate: answers not asked for, times the mean tokens of the setting's own answers."""
    saved_by_loops: int = 0
    """What answers that were cut because they repeated themselves lacked of the greatest length."""


@dataclass
class _Asked:
    """A setting with the answers it got so far."""

    setting: Setting
    answers: list[ScoredAnswer] = field(default_factory=list)
    given_up: bool = False
    rungs: dict[int, float] = field(default_factory=dict)


@dataclass
class Search:
    """Asks, answers and tells until nothing promises more; then recounts the best."""

    config: Config
    bench: Answering
    questions: Questions
    vectors: Tensor
    """[layers, width]."""
    norms: Tensor
    """Mean residual norm, [layers]."""
    study: LayerStrengthStudy
    trials: list[Trial] = field(default_factory=list)
    scores: list[dict[str, Any]] = field(default_factory=list)
    tokens: Tokens = field(default_factory=Tokens)
    baseline: dict[str, float] = field(default_factory=dict)
    """Mean scores of the unsteered answers."""

    def __post_init__(self) -> None:
        self._seen: list[Seen] = []
        self._unsteered = _Asked(Setting(0, self.vectors[0], 0.0))
        sizes = self.config.search
        self._rungs = rungs(self.questions.texts, sizes.rungs, self.config.seed)

    def most_answers(self) -> int:
        """What the search asks for if nothing is given up and one recount suffices."""
        sizes = self.config.search
        recounted = (1 + sizes.confirm) * sizes.confirm_samples
        return len(self.questions.texts) * ((1 + sizes.trials) * sizes.samples + recounted)

    def batches(self, advance: Advance) -> Iterator[list[Trial]]:
        """Yield all trials so far after each batch; it ends when nothing is left to ask.

        Raises:
            TraitsteerError: the judge scored none of the unsteered answers.
        """
        sizes = self.config.search
        proposed = 0
        while len(self.trials) < sizes.trials:
            left = sizes.trials - len(self.trials)
            phase, points = self.planned()
            if not points:
                phase, count = "sampler", min(sizes.batch, sizes.sampler_trials - proposed, left)
                if count <= 0:
                    return
                proposed += count
                points = self.study.ask(count)
            else:
                points = self.study.ask(points[:left])
            self._try(phase, points, advance)
            yield self.trials

    def planned(self) -> tuple[str, list[Point]]:
        """The phase of the search and the settings to try next; none: the sampler's turn."""
        sizes = self.config.search
        if not self.trials:
            return "coarse", coarse_design(
                len(self.norms),
                sizes.coarse_layers,
                sizes.strength,
                sizes.coarse_strengths,
                sizes.step,
            )
        return "cliff", toward_the_cliffs(self._seen, sizes.strength, sizes.step, sizes.gain)

    def _try(self, phase: str, points: Sequence[Point], advance: Advance) -> None:
        """Answer one batch; the unsteered answers ride in the first."""
        samples = self.config.search.samples
        asked = [_Asked(self._setting(point, 0)) for point in points]
        first = [] if self.trials else [self._unsteered]
        self._answer([*first, *asked], samples, advance)
        if first:
            self.baseline = self._mean_scores(self._unsteered.answers)
            self._record(None, "baseline", self._unsteered.answers)
        outcomes = []
        for number, (point, each) in enumerate(
            zip(points, asked, strict=True), start=len(self.trials)
        ):
            self._record(number, "trial", each.answers)
            trial = self._scored(point, each, self.baseline, number=number, phase=phase)
            self.trials.append(trial)
            so_far = self._delta(each.answers)
            shown = so_far if each.given_up else trial["delta"]
            self._seen.append(Seen(point, shown, trial["feasible"]))
            outcomes.append(
                Outcome(
                    shown,
                    trial["coherence"],
                    trial["trait_score"],
                    each.setting.coefficient,
                    each.given_up,
                    each.rungs,
                )
            )
        self.study.tell(outcomes)

    def _answer(self, asked: Sequence[_Asked], samples: int, advance: Advance) -> None:
        """Answer rung after rung; only a steered setting is given up on the way."""
        alive = list(asked)
        for place, numbers in enumerate(self._rungs):
            if not alive:
                return
            self._ask(alive, numbers, samples, advance)
            if place + 1 == len(self._rungs):
                return
            left = sum(map(len, self._rungs[place + 1 :])) * samples
            for each in alive:
                if each is not self._unsteered:
                    self._look(each, left)
            alive = [each for each in alive if not each.given_up]

    def _look(self, asked: _Asked, left: int) -> None:
        """Give a setting up when even the upper limit of its mean coherence is below the floor."""
        delta = self._delta(asked.answers)
        if delta is not None:
            asked.rungs[len({answer.question for answer in asked.answers})] = round(delta, 6)
        if all(answer.coherence is None for answer in asked.answers):
            return
        confidence = self.config.search.prune_confidence
        upper = mean_interval(scores.by_question(asked.answers, "coherence"), confidence).upper
        if upper is None or upper >= self.config.study.coherence_floor:
            return
        asked.given_up = True
        tokens = sum(answer.tokens for answer in asked.answers) / len(asked.answers)
        self.tokens.saved_by_pruning += left * tokens

    def _ask(
        self, asked: Sequence[_Asked], numbers: Sequence[int] | None, samples: int, advance: Advance
    ) -> None:
        settings = [each.setting for each in asked]
        found = self.bench.answers(self.questions, settings, samples, advance, only=numbers)
        longest = self.config.answers.max_new_tokens
        for each, answers in zip(asked, found, strict=True):
            each.answers = sorted([*each.answers, *answers], key=lambda a: (a.question, a.sample))
            for answer in answers:
                self.tokens.generated += answer.tokens
                self.tokens.saved_by_loops += (answer.finish == "loop") * (longest - answer.tokens)

    def recount(self, advance: Advance) -> tuple[list[Trial], Trial | None]:
        """Answer the best trials again, a handful at a time, until one of them stands.

        Every question is answered afresh, so that the recounted scores of a setting do not depend
        on what was given up, nor on which scores it was picked by.

        Returns:
            All recounted settings, and the one to be used; none if nothing stood.
        """
        sizes, floor = self.config.search, self.config.study.coherence_floor
        candidates = self._candidates()
        confirmed: list[Trial] = []
        baseline: dict[str, float] = {}
        for start in range(0, len(candidates), sizes.confirm):
            chosen = candidates[start : start + sizes.confirm]
            points = [Point(t["layer"], t["strength"]) for t in chosen]
            asked = [_Asked(self._setting(point, sizes.samples)) for point in points]
            first = [_Asked(Setting(0, self.vectors[0], 0.0, sizes.samples))] if not start else []
            self._ask([*first, *asked], None, sizes.confirm_samples, advance)
            if first:
                baseline = self._mean_scores(first[0].answers)
                self._record(None, "baseline", first[0].answers)
            for trial, point, each in zip(chosen, points, asked, strict=True):
                self._record(trial["number"], "confirm", each.answers)
                number = trial["number"]
                confirmed.append(self._scored(point, each, baseline, number=number))
            best = choose(confirmed, floor, sizes.margin)
            if best is not None:
                return confirmed, best
        return confirmed, None

    def _candidates(self) -> list[Trial]:
        """Complete trials that may be feasible, those with the largest expected delta first.

        Near the cliff a coherence of one answer to each question lies a little over the floor or
        under it by chance: the delta is weighed by the probability that the true one is above.
        """
        able = [t for t in self.trials if t["delta"] is not None]
        able = [t for t in able if self._chance(t) > LEAST_CHANCE]
        return sorted(able, key=self._expected, reverse=True)

    def _expected(self, trial: Trial) -> float:
        delta: float = trial["delta"]
        return delta * self._chance(trial) if delta > 0 else delta

    def _chance(self, trial: Trial) -> float:
        over, error = (
            trial["coherence"] - self.config.study.coherence_floor,
            trial["coherence_error"],
        )
        return NormalDist().cdf(over / error) if error else float(over >= 0)

    def _setting(self, point: Point, first_sample: int) -> Setting:
        coefficient = round(point.strength * float(self.norms[point.layer]), 6)
        return Setting(point.layer, self.vectors[point.layer], coefficient, first_sample)

    def _mean_scores(self, answers: Sequence[ScoredAnswer]) -> dict[str, float]:
        found = {name: scores.mean(answers, name) for name in ("trait_score", "coherence")}
        present = {name: round(value, 6) for name, value in found.items() if value is not None}
        if len(present) < len(found):
            raise TraitsteerError(
                f"The judge scored none of {len(answers)} unsteered {self.questions.trait} "
                "answers, expected scores from 0 to 100; check the judge in params.yaml."
            )
        return present

    def _delta(self, answers: Sequence[ScoredAnswer]) -> float | None:
        """Rise over the unsteered answers to the same questions; None without scores."""
        numbers = {answer.question for answer in answers}
        steered = scores.mean(answers, "trait_score")
        unsteered = scores.mean(
            [a for a in self._unsteered.answers if a.question in numbers], "trait_score"
        )
        return None if steered is None or unsteered is None else steered - unsteered

    def _scored(
        self, point: Point, asked: _Asked, baseline: dict[str, float], **head: object
    ) -> Trial:
        """Scores of one setting; one given up, or with too many missing scores, has no delta."""
        answers = asked.answers
        trait_score = scores.mean(answers, "trait_score")
        coherence = scores.mean(answers, "coherence")
        delta = None
        if (
            not asked.given_up
            and scores.enough(answers, self.config.judge.missing_at_most)
            and trait_score is not None
            and coherence is not None
        ):
            delta = round(trait_score - baseline["trait_score"], 6)
        status = "pruned" if asked.given_up else "failed" if delta is None else "complete"
        high = coherence is not None and coherence >= self.config.study.coherence_floor
        return head | {
            "status": status,
            "answers": len(answers),
            "layer": point.layer,
            "strength": point.strength,
            "coefficient": asked.setting.coefficient,
            "trait_score": None if trait_score is None else round(trait_score, 6),
            "coherence": None if coherence is None else round(coherence, 6),
            "delta": delta,
            "coherence_error": round(scores.standard_error(answers, "coherence"), 6),
            "feasible": delta is not None and high,
            "missing": scores.missing(answers),
        }

    def _record(self, trial: int | None, phase: str, answers: Sequence[ScoredAnswer]) -> None:
        self.scores += [{"trial": trial, "phase": phase} | asdict(answer) for answer in answers]
