"""evaluate: the chosen settings again, on the report questions, with fresh samples.

Reads the searches of one trait and arm, the vectors, the steered model and the judge; writes the
scores to data/evaluation/<trait>/<arm>/. Beside each setting stand the unsteered baseline and
random vectors of the same norm at the same layer, answered in the same batch.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from traitsteer.experiment.answering import Bench, Questions, Setting
from traitsteer.experiment.bench import open_bench
from traitsteer.experiment.models import read_vectors
from traitsteer.experiment.protocols import frozen_protocol
from traitsteer.maths.statistics import (
    mean_interval,
    paired_difference_interval,
    random_directions,
)
from traitsteer.words import layout, scores
from traitsteer.words.config import Config
from traitsteer.words.errors import TraitsteerError
from traitsteer.words.records import ScoredAnswer
from traitsteer.words.seeds import seed_for
from traitsteer.world.files import read_json, write_json, write_jsonl
from traitsteer.world.progress import progress, say
from traitsteer.world.trait_folder import read_trait


def run(config: Config, trait_name: str, arm: str) -> None:
    """Evaluate the best setting of every method of the arm."""
    trait = read_trait(Path(config.study.trait_folder) / trait_name)
    terms = frozen_protocol(config, trait)
    bench = open_bench(config, trait_name)
    questions = Questions(trait_name, "report", trait.report)
    folder = layout.evaluation(trait_name, arm)
    # The terms stay with the results that were made under them.
    write_json(folder / "protocol.json", read_json(layout.protocol(trait_name)))
    for method in config.arm(arm).methods:
        found = read_json(layout.search(trait_name, arm) / f"{method}.json")
        if found["protocol"] != terms:
            raise TraitsteerError(
                f"The search of {trait_name} {arm} {method} was made under protocol "
                f"{found['protocol'][:12]}, expected {terms[:12]}; run `dvc repro` to search again."
            )
        head = {"trait": trait_name, "arm": arm, "method": method, "protocol": terms}
        settings = _settings(config, bench, found)
        title = f"evaluate {trait_name} {arm} {method}"
        total = len(settings) * len(questions.texts) * config.evaluate.samples
        with progress(title, total, "answer") as advance:
            answers = dict(
                zip(
                    settings,
                    bench.answers(
                        questions, list(settings.values()), config.evaluate.samples, advance
                    ),
                    strict=True,
                )
            )
        for name, rows in answers.items():
            if not scores.enough(rows, config.judge.missing_at_most):
                raise TraitsteerError(
                    f"{title}: {scores.missing(rows)} of {len(rows)} {name} answers lack a score, "
                    "more than judge.missing_at_most allows; check the judge and run again."
                )
        result = summary(found, answers, config.evaluate.confidence)
        write_jsonl(
            folder / f"{method}.answers.jsonl",
            [{"setting": n} | asdict(answer) for n, rows in answers.items() for answer in rows],
        )
        write_json(folder / f"{method}.json", head | result)
        say(f"{title}: delta {result['delta']}, coherence {result['coherence']}")


def _settings(config: Config, bench: Bench, found: dict[str, Any]) -> dict[str, Setting]:
    """Baseline, steered and random settings by name; the baseline alone if nothing is feasible."""
    vectors = read_vectors(config, bench.model, found["trait"], found["arm"], found["method"])
    settings = {"baseline": Setting(0, vectors[0], 0.0)}
    best = found["best"]
    if best is None:
        return settings
    layer, coefficient = best["layer"], best["coefficient"]
    settings["steered"] = Setting(layer, vectors[layer], coefficient)
    count = config.evaluate.random_vectors
    for number, vector in enumerate(
        random_directions(count, bench.model.width, _null_seed(config, found))
    ):
        settings[f"random-{number}"] = Setting(layer, vector, coefficient)
    return settings


def _null_seed(config: Config, found: dict[str, Any]) -> int:
    return seed_for(config.seed, "random", found["trait"], found["arm"], found["method"]) % 2**31


def summary(
    found: dict[str, Any], answers: Mapping[str, Sequence[ScoredAnswer]], confidence: float
) -> dict[str, Any]:
    """Intervals over questions of baseline, trait score, delta, coherence and the random vectors.

    The random vectors are averaged within a question, so that n counts questions throughout.
    """
    trait = {name: scores.by_question(rows, "trait_score") for name, rows in answers.items()}
    coherent = {name: scores.by_question(rows, "coherence") for name, rows in answers.items()}
    lost = sum(scores.missing(rows) for rows in answers.values())
    result: dict[str, Any] = {
        "status": "feasible" if found["best"] else "nothing feasible",
        "baseline": mean_interval(trait["baseline"], confidence).rounded(),
        "baseline_coherence": mean_interval(coherent["baseline"], confidence).rounded(),
        "missing": lost,
    }
    names = ("layer", "strength", "coefficient", "selection_delta")
    measured = ("trait_score", "delta", "coherence", "random", "random_each")
    best = found["best"]
    if best is None:
        return result | dict.fromkeys(names + measured)
    randoms = [name for name in answers if name.startswith("random-")]
    pooled = {
        question: [value for name in randoms for value in trait[name][question]]
        for question in trait["baseline"]
    }
    return result | {
        "layer": best["layer"],
        "strength": best["strength"],
        "coefficient": best["coefficient"],
        "selection_delta": best["delta"],
        "trait_score": mean_interval(trait["steered"], confidence).rounded(),
        "delta": paired_difference_interval(
            trait["steered"], trait["baseline"], confidence
        ).rounded(),
        "coherence": mean_interval(coherent["steered"], confidence).rounded(),
        "random": paired_difference_interval(pooled, trait["baseline"], confidence).rounded(),
        "random_each": [
            {
                "delta": round(paired_difference_interval(trait[name], trait["baseline"]).value, 4),
                "coherence": round(mean_interval(coherent[name]).value, 4),
            }
            for name in randoms
        ],
    }
