"""search: layer and strength of the best steering delta whose mean coherence is at the floor.

Reads the vectors of one trait and arm, the calibration, the steered model, the judge and the
selection questions; writes every trial and every score to data/search/<trait>/<arm>/.

1. A coarse design over layers and strengths, answered as one batch.
2. Batches of settings that Optuna's sampler proposes, with coherence as its constraint.
3. A recount: the best settings are answered again with fresh samples, and the choice rests on
   those alone, since the best of many noisy scores is too good to be true.
"""

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from torch import Tensor

from traitsteer.experiment.answering import Bench, Questions, Setting
from traitsteer.experiment.bench import open_bench
from traitsteer.experiment.models import mean_residual_norm, read_vectors
from traitsteer.words import layout, scores
from traitsteer.words.config import Config
from traitsteer.words.errors import TraitsteerError
from traitsteer.words.protocol import protocol, protocol_hash
from traitsteer.words.records import ScoredAnswer
from traitsteer.words.seeds import seed_for
from traitsteer.world.files import digest, write_json, write_jsonl
from traitsteer.world.progress import progress, say
from traitsteer.world.studies import LayerStrengthStudy, Outcome, Point
from traitsteer.world.trait_folder import read_trait


def coarse_design(
    layers: int, coarse_layers: int, strength: tuple[float, float], coarse_strengths: int
) -> list[Point]:
    """A grid of evenly spaced layers (both ends included) and strengths (cell centres)."""
    count = min(coarse_layers, layers)
    chosen = [round(at * (layers - 1) / max(count - 1, 1)) for at in range(count)]
    low, high = strength
    step = (high - low) / coarse_strengths
    strengths = [round(low + step * (at + 0.5), 6) for at in range(coarse_strengths)]
    return [Point(layer, each) for layer in chosen for each in strengths]


def choose(
    confirmed: Sequence[dict[str, Any]], floor: float, margin: float = 0
) -> dict[str, Any] | None:
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


def run(config: Config, trait_name: str, arm: str) -> None:
    """Search every method of the arm.

    Raises:
        TraitsteerError: the vectors belong to another model, the calibration is stale, or the
            judge scored none of the unsteered answers.
    """
    trait = read_trait(Path(config.study.trait_folder) / trait_name)
    bench = open_bench(config, trait_name)
    norms = mean_residual_norm(bench.model)
    terms = protocol_hash(protocol(config, trait, bench.judge.digest, bench.model.digest))
    for method in config.arm(arm).methods:
        vectors = read_vectors(config, bench.model, trait_name, arm, method)
        name = digest([terms, bench.model.digest, vectors.tolist(), norms.tolist()])[:8]
        search = _Search(
            config=config,
            bench=bench,
            questions=Questions(trait_name, "selection", trait.selection),
            vectors=vectors,
            norms=norms,
            study=LayerStrengthStudy(
                f"{trait_name}-{arm}-{method}-{name}",
                bench.model.layers,
                config.search.strength,
                config.study.coherence_floor,
                seed_for(config.seed, "search") % 2**31,
            ),
        )
        found = search.run(f"search {trait_name} {arm} {method}")
        folder = layout.search(trait_name, arm)
        write_jsonl(folder / f"{method}.scores.jsonl", search.scores)
        write_json(
            folder / f"{method}.json",
            {
                "trait": trait_name,
                "arm": arm,
                "method": method,
                "protocol": terms,
                "floor": config.study.coherence_floor,
                "layers": bench.model.layers,
                "mean_residual_norm": [round(norm, 6) for norm in norms.tolist()],
                "study": search.study.name,
                **found,
            },
        )


@dataclass
class _Search:
    config: Config
    bench: Bench
    questions: Questions
    vectors: Tensor
    norms: Tensor
    study: LayerStrengthStudy
    scores: list[dict[str, Any]] = field(default_factory=list)

    def run(self, title: str) -> dict[str, Any]:
        """Ask, answer and tell until the trials are used up; then recount the best."""
        sizes, many = self.config.search, len(self.questions.texts)
        total = many * (
            (sizes.trials + 1) * sizes.samples + (sizes.confirm + 1) * sizes.confirm_samples
        )
        with progress(title, total, "answer") as advance:
            baseline = self._baseline(0, sizes.samples, advance)
            trials: list[dict[str, Any]] = []
            coarse = coarse_design(
                len(self.norms), sizes.coarse_layers, sizes.strength, sizes.coarse_strengths
            )
            while len(trials) < sizes.trials:
                fixed = coarse if not trials else []
                points = self.study.ask(
                    len(fixed) or min(sizes.batch, sizes.trials - len(trials)), fixed
                )
                trials += self._trials(points, len(trials), baseline, advance)
                self.study.publish(Path(self.config.track.studies))
            confirmed, best = self._confirm(trials, advance)
        if best is None:
            say(f"{title}: nothing feasible at a coherence of {self.config.study.coherence_floor}")
        return {
            "baseline": baseline,
            "trials": trials,
            "confirmed": confirmed,
            "best": best
            and {
                k: v for k, v in best.items() if k not in ("feasible", "missing", "coherence_error")
            },
        }

    def _baseline(
        self, first_sample: int, samples: int, advance: Callable[[int], None]
    ) -> dict[str, float]:
        setting = Setting(0, self.vectors[0], 0.0, first_sample)
        [answers] = self.bench.answers(self.questions, [setting], samples, advance)
        self._record(None, "baseline", answers)
        found = {name: scores.mean(answers, name) for name in ("trait_score", "coherence")}
        present = {name: round(value, 6) for name, value in found.items() if value is not None}
        if len(present) < len(found):
            raise TraitsteerError(
                f"The judge scored none of {len(answers)} unsteered {self.questions.trait} "
                "answers, expected scores from 0 to 100; check the judge in params.yaml."
            )
        return present

    def _trials(
        self,
        points: Sequence[Point],
        first: int,
        baseline: dict[str, float],
        advance: Callable[[int], None],
    ) -> list[dict[str, Any]]:
        settings = [self._setting(point, 0) for point in points]
        answered = self.bench.answers(self.questions, settings, self.config.search.samples, advance)
        phase = "coarse" if first == 0 else "sampler"
        trials: list[dict[str, Any]] = []
        for number, (point, setting, answers) in enumerate(
            zip(points, settings, answered, strict=True), start=first
        ):
            self._record(number, "trial", answers)
            trials.append(
                {"number": number, "phase": phase} | self._scored(point, setting, answers, baseline)
            )
        self.study.tell(
            [
                Outcome(t["delta"], t["coherence"], t["trait_score"], t["coefficient"])
                for t in trials
            ]
        )
        return trials

    def _confirm(
        self,
        trials: Sequence[dict[str, Any]],
        advance: Callable[[int], None],
    ) -> tuple[list[dict[str, Any]], dict[str, Any] | None]:
        """Recount the best trials, a handful at a time, until one of them stands."""
        sizes, floor = self.config.search, self.config.study.coherence_floor
        candidates = sorted(
            (t for t in trials if t["feasible"]), key=lambda t: t["delta"], reverse=True
        )
        if not candidates:
            return [], None
        baseline = self._baseline(sizes.samples, sizes.confirm_samples, advance)
        confirmed: list[dict[str, Any]] = []
        best = None
        for start in range(0, len(candidates), sizes.confirm):
            chosen = candidates[start : start + sizes.confirm]
            points = [Point(t["layer"], t["strength"]) for t in chosen]
            settings = [self._setting(point, sizes.samples) for point in points]
            answered = self.bench.answers(self.questions, settings, sizes.confirm_samples, advance)
            for trial, point, setting, answers in zip(
                chosen, points, settings, answered, strict=True
            ):
                self._record(trial["number"], "confirm", answers)
                confirmed.append(
                    {"number": trial["number"]}
                    | self._scored(point, setting, answers, baseline)
                    | {"coherence_error": round(scores.standard_error(answers, "coherence"), 6)}
                )
            best = choose(confirmed, floor, sizes.margin)
            if best is not None:
                break
        return confirmed, best

    def _setting(self, point: Point, first_sample: int) -> Setting:
        coefficient = round(point.strength * float(self.norms[point.layer]), 6)
        return Setting(point.layer, self.vectors[point.layer], coefficient, first_sample)

    def _scored(
        self,
        point: Point,
        setting: Setting,
        answers: Sequence[ScoredAnswer],
        baseline: dict[str, float],
    ) -> dict[str, Any]:
        """Scores of one setting; one with too many missing scores has no delta."""
        trait_score = scores.mean(answers, "trait_score")
        coherence = scores.mean(answers, "coherence")
        lost = scores.missing(answers)
        delta = None
        if (
            scores.enough(answers, self.config.judge.missing_at_most)
            and trait_score is not None
            and coherence is not None
        ):
            delta = round(trait_score - baseline["trait_score"], 6)
        feasible = delta is not None and coherence is not None
        return {
            "layer": point.layer,
            "strength": point.strength,
            "coefficient": setting.coefficient,
            "trait_score": None if trait_score is None else round(trait_score, 6),
            "coherence": None if coherence is None else round(coherence, 6),
            "delta": delta,
            "feasible": feasible and (coherence or 0.0) >= self.config.study.coherence_floor,
            "missing": lost,
        }

    def _record(self, trial: int | None, phase: str, answers: Sequence[ScoredAnswer]) -> None:
        self.scores += [{"trial": trial, "phase": phase} | asdict(answer) for answer in answers]
