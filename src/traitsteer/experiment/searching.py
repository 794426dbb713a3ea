"""The search of one vector: settings in batches until nothing promises more, then a recount."""

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from torch import Tensor

from traitsteer.experiment.answering import Questions, Setting
from traitsteer.experiment.calls import most_answers
from traitsteer.experiment.rungs import Answering, Asked, Rungs
from traitsteer.experiment.trials import Trial, chance, choose, collapsed, rise, rise_error, scored
from traitsteer.maths.cliffs import Point, Seen, coarse_design, toward_the_cliffs
from traitsteer.words import scores
from traitsteer.words.config import Config
from traitsteer.words.records import ScoredAnswer
from traitsteer.world.progress import Advance
from traitsteer.world.studies import LayerStrengthStudy, Outcome

LEAST_CHANCE = 0.05
"""A setting less likely than this to be feasible is not recounted."""


@dataclass
class Search:
    """Asks, answers and tells in batches; then recounts the best."""

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
    """Every scored answer with its trial and phase."""
    baseline: dict[str, float] = field(default_factory=dict)
    """Mean scores of the unsteered answers."""

    def __post_init__(self) -> None:
        self.rungs = Rungs(self.config, self.bench, self.questions)
        self._asked: dict[Point, tuple[int, Asked]] = {}
        self._unsteered = Asked(Setting(0, self.vectors[0], 0.0))

    def most_answers(self) -> int:
        """What the search asks for if nothing is given up and one recount suffices."""
        return most_answers(self.config.search, len(self.questions.texts))

    def batches(self, advance: Advance) -> Iterator[list[Trial]]:
        """Yield all trials so far after each batch; it ends when nothing is left to ask.

        Raises:
            TraitsteerError: too many of the unsteered answers lack a score.
        """
        sizes = self.config.search
        proposed = 0
        while left := sizes.trials - len(self.trials):
            phase, points = self.planned()
            if points:
                points = self.study.ask(points[:left])
            else:
                count = min(sizes.batch, sizes.sampler_trials - proposed, left)
                if count == 0:
                    return
                proposed += count
                points = self.study.ask(count)
            self._try(phase, points, advance)
            yield self.trials

    def planned(self) -> tuple[str, list[Point]]:
        """The phase of the search and the settings to try next; with none the sampler proposes."""
        sizes = self.config.search
        if not self.trials:
            return "coarse", coarse_design(
                len(self.norms),
                sizes.coarse_layers,
                sizes.strength,
                sizes.coarse_strengths,
                sizes.step,
            )
        seen = [
            self._seen(point, self.trials[number], asked.answers)
            for point, (number, asked) in self._asked.items()
        ]
        points = toward_the_cliffs(seen, sizes.strength, sizes.step)
        return ("cliff" if points else "sampler"), points

    def _seen(self, point: Point, trial: Trial, answers: Sequence[ScoredAnswer]) -> Seen:
        """A failed trial promises nothing, since it cannot be chosen."""
        return Seen(
            point,
            None if trial["status"] == "failed" else rise(answers, self._unsteered.answers),
            self._chance(trial),
            rise_error(answers, self._unsteered.answers) or 0.0,
            collapsed(trial, self.config.study.coherence_floor),
        )

    def _try(self, phase: str, points: Sequence[Point], advance: Advance) -> None:
        """Answer one batch; the unsteered answers ride in the first.

        A setting that was tried before is told to the study again, and not answered again.
        """
        new = {p: Asked(self._setting(p, 0)) for p in points if p not in self._asked}
        first = [] if self.trials else [self._unsteered]
        self.rungs.climb([*first, *new.values()], self.config.search.samples, advance)
        if first:
            self._refuse_missing(self._unsteered)
            self.baseline = _mean_scores(self._unsteered.answers)
            self._record(None, "baseline", self._unsteered.answers)
        outcomes = []
        for number, point in enumerate(points, start=len(self.trials)):
            head: Trial = {"number": number, "phase": phase}
            if point in self._asked:
                head["repeats"], asked = self._asked[point]
            else:
                asked = new[point]
                self._asked[point] = number, asked
                self._record(number, "trial", asked.answers)
            trial = head | self._scored(point, asked, self._unsteered)
            self.trials.append(trial)
            outcomes.append(self._outcome(trial, asked))
        self.study.tell(outcomes)

    def _outcome(self, trial: Trial, asked: Asked) -> Outcome:
        """What the study is told; a setting that was given up has the delta that it had by then."""
        rungs: dict[int, float] = {}
        answered = {answer.question for answer in asked.answers}
        numbers: set[int] = set()
        for rung in self.rungs.numbers[:-1]:
            numbers |= set(rung)
            first = [answer for answer in asked.answers if answer.question in numbers]
            delta = rise(first, self._unsteered.answers)
            if numbers <= answered and delta is not None:
                rungs[len(numbers)] = round(delta, 6)
        return Outcome(
            trial["delta"],
            trial["coherence"],
            trial["trait_score"],
            trial["coefficient"],
            asked.given_up,
            rungs,
        )

    def recount(self, advance: Advance) -> tuple[list[Trial], Trial | None]:
        """Answer the best trials again, a handful at a time, until one of them stands.

        Every question is answered afresh, so that the recounted scores of a setting do not depend
        on what was given up, nor on the scores that it was picked by.

        Returns:
            All recounted settings, and the one to be used; None if nothing stood.
        """
        sizes, floor = self.config.search, self.config.study.coherence_floor
        candidates = self._candidates()
        recounted: list[Trial] = []
        best = None
        unsteered = Asked(Setting(0, self.vectors[0], 0.0, sizes.samples))
        while best is None and len(recounted) < len(candidates):
            chosen = candidates[len(recounted) : len(recounted) + sizes.recount]
            points = [Point(trial["layer"], trial["strength"]) for trial in chosen]
            asked = [Asked(self._setting(point, sizes.samples)) for point in points]
            first = [] if recounted else [unsteered]
            self.rungs.in_full([*first, *asked], sizes.recount_samples, advance)
            if first:
                self._refuse_missing(unsteered)
                self._record(None, "baseline", unsteered.answers)
            for trial, point, each in zip(chosen, points, asked, strict=True):
                self._record(trial["number"], "recount", each.answers)
                head = {"number": trial["number"]}
                recounted.append(head | self._scored(point, each, unsteered))
            best = choose(recounted, floor, sizes.margin)
        return recounted, best

    def _candidates(self) -> list[Trial]:
        """Complete trials that may be feasible, those with the largest expected delta first.

        Near the cliff a coherence of one answer to each question lies a little over the floor or
        under it by chance: the delta is weighed by the probability that the true one is above.
        """
        able = [t for t in self.trials if t["delta"] is not None and "repeats" not in t]
        able = [t for t in able if self._chance(t) >= LEAST_CHANCE]
        return sorted(able, key=self._expected, reverse=True)

    def _chance(self, trial: Trial) -> float:
        return chance(trial, self.config.study.coherence_floor)

    def _expected(self, trial: Trial) -> float:
        delta: float = trial["delta"]
        return delta * self._chance(trial) if delta > 0 else delta

    def _setting(self, point: Point, first_sample: int) -> Setting:
        coefficient = round(point.strength * float(self.norms[point.layer]), 6)
        return Setting(point.layer, self.vectors[point.layer], coefficient, first_sample)

    def _refuse_missing(self, unsteered: Asked) -> None:
        what = f"search {self.questions.trait}, unsteered"
        scores.refuse_missing(unsteered.answers, self.config.judge.missing_at_most, what)

    def _scored(self, point: Point, asked: Asked, unsteered: Asked) -> Trial:
        floor, allowed = self.config.study.coherence_floor, self.config.judge.missing_at_most
        return scored(point, asked, unsteered.answers, floor, allowed)

    def _record(self, trial: int | None, phase: str, answers: Sequence[ScoredAnswer]) -> None:
        self.scores += [{"trial": trial, "phase": phase} | asdict(answer) for answer in answers]


def _mean_scores(answers: Sequence[ScoredAnswer]) -> dict[str, float]:
    found = {name: scores.mean(answers, name) for name in ("trait_score", "coherence")}
    return {name: round(value, 6) for name, value in found.items() if value is not None}
