"""The search of one vector: settings in batches until nothing promises more, then a recount."""

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field
from statistics import NormalDist
from typing import Any

from torch import Tensor

from traitsteer.experiment.answering import Questions, Setting
from traitsteer.experiment.calls import most_answers
from traitsteer.experiment.rungs import Advance, Answering, Asked, Rungs
from traitsteer.maths.cliffs import Point, Seen, coarse_design, toward_the_cliffs
from traitsteer.words import scores
from traitsteer.words.config import Config
from traitsteer.words.errors import TraitsteerError
from traitsteer.words.records import ScoredAnswer
from traitsteer.world.studies import LayerStrengthStudy, Outcome

LEAST_CHANCE = 0.05
"""A setting less likely than this to be feasible is not recounted."""

COLLAPSED = 0.5
"""Part of the floor; with less coherence than that the trait score may have gone too."""

Trial = dict[str, Any]


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
            TraitsteerError: the judge scored none of the unsteered answers.
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
            Seen(
                point,
                self._delta(asked.answers),
                self._chance(self.trials[number]),
                scores.standard_error(asked.answers, "trait_score"),
                (self.trials[number]["coherence"] or 0.0)
                < COLLAPSED * self.config.study.coherence_floor,
            )
            for point, (number, asked) in self._asked.items()
        ]
        points = toward_the_cliffs(seen, sizes.strength, sizes.step)
        return ("cliff" if points else "sampler"), points

    def _try(self, phase: str, points: Sequence[Point], advance: Advance) -> None:
        """Answer one batch; the unsteered answers ride in the first.

        A setting that was tried before is told to the study again, and not answered again.
        """
        new = {p: Asked(self._setting(p, 0)) for p in points if p not in self._asked}
        first = [] if self.trials else [self._unsteered]
        self.rungs.climb([*first, *new.values()], self.config.search.samples, advance)
        if first:
            self.baseline = self._mean_scores(self._unsteered.answers)
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
            trial = head | self._scored(point, asked, self.baseline)
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
            delta = self._delta([a for a in asked.answers if a.question in numbers])
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
        confirmed: list[Trial] = []
        best, baseline = None, {}
        while best is None and len(confirmed) < len(candidates):
            chosen = candidates[len(confirmed) : len(confirmed) + sizes.confirm]
            points = [Point(trial["layer"], trial["strength"]) for trial in chosen]
            asked = [Asked(self._setting(point, sizes.samples)) for point in points]
            first = [] if confirmed else [Asked(Setting(0, self.vectors[0], 0.0, sizes.samples))]
            self.rungs.in_full([*first, *asked], sizes.confirm_samples, advance)
            for unsteered in first:
                baseline = self._mean_scores(unsteered.answers)
                self._record(None, "baseline", unsteered.answers)
            for trial, point, each in zip(chosen, points, asked, strict=True):
                self._record(trial["number"], "confirm", each.answers)
                head = {"number": trial["number"]}
                confirmed.append(head | self._scored(point, each, baseline))
            best = choose(confirmed, floor, sizes.margin)
        return confirmed, best

    def _candidates(self) -> list[Trial]:
        """Complete trials that may be feasible, those with the largest expected delta first.

        Near the cliff a coherence of one answer to each question lies a little over the floor or
        under it by chance: the delta is weighed by the probability that the true one is above.
        """
        able = [t for t in self.trials if t["delta"] is not None and "repeats" not in t]
        able = [t for t in able if self._chance(t) >= LEAST_CHANCE]
        return sorted(able, key=self._expected, reverse=True)

    def _chance(self, trial: Trial) -> float:
        """Probability that the true mean coherence of a trial is at the floor."""
        if trial["delta"] is None:
            return 0.0
        over, error = (
            trial["coherence"] - self.config.study.coherence_floor,
            trial["coherence_error"],
        )
        return NormalDist().cdf(over / error) if error else float(over >= 0)

    def _expected(self, trial: Trial) -> float:
        delta: float = trial["delta"]
        return delta * self._chance(trial) if delta > 0 else delta

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
            [answer for answer in self._unsteered.answers if answer.question in numbers],
            "trait_score",
        )
        return None if steered is None or unsteered is None else steered - unsteered

    def _scored(self, point: Point, asked: Asked, baseline: dict[str, float]) -> Trial:
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
        return {
            "status": status,
            "answers": len(answers),
            "layer": point.layer,
            "strength": point.strength,
            "coefficient": asked.setting.coefficient,
            "trait_score": None if trait_score is None else round(trait_score, 6),
            "coherence": None if coherence is None else round(coherence, 6),
            "coherence_error": round(scores.standard_error(answers, "coherence"), 6),
            "delta": delta,
            "feasible": delta is not None and high,
            "missing": scores.missing(answers),
        }

    def _record(self, trial: int | None, phase: str, answers: Sequence[ScoredAnswer]) -> None:
        self.scores += [{"trial": trial, "phase": phase} | asdict(answer) for answer in answers]
