"""cross: every trait's score under every trait's vector, on the report questions of the scored one.

Reads the evaluations and the vectors; writes data/cross.json. Each arm sends the
vector of its best method, chosen on the selection questions.
"""

from pathlib import Path
from typing import Any

import torch

from traitsteer.experiment.answering import Questions, Setting
from traitsteer.experiment.bench import open_bench
from traitsteer.experiment.models import open_model, read_vectors
from traitsteer.maths.statistics import mean_interval, paired_difference_interval
from traitsteer.words import layout, scores
from traitsteer.words.config import Config
from traitsteer.words.results import best_of_arm
from traitsteer.world.files import read_json, write_json
from traitsteer.world.progress import progress
from traitsteer.world.trait_folder import read_trait


def run(config: Config) -> None:
    """Steer with each trait's best vector and score every trait."""
    model = open_model(config, config.models.instruct)
    settings: dict[tuple[str, str, str], Setting] = {}
    for trait in config.study.traits:
        for arm in config.study.arms:
            folder = layout.evaluation(trait, arm)
            best = best_of_arm(
                [read_json(folder / f"{method}.json") for method in config.arm(arm).methods]
            )
            if best is None:
                continue
            vectors = read_vectors(config, model, trait, arm, best["method"])
            layer = best["layer"]
            settings[trait, arm, best["method"]] = Setting(
                layer, vectors[layer], best["coefficient"]
            )
    width = len(settings) + 1
    rows: list[dict[str, Any]] = []
    samples = config.evaluate.samples
    with progress("cross", width * len(config.study.traits), "setting") as advance:
        for scored in config.study.traits:
            report = read_trait(Path(config.study.trait_folder) / scored).report
            unsteered = Setting(0, torch.zeros(model.width), 0.0)
            bench = open_bench(config, scored, model)
            baseline, *steered = bench.answers(
                Questions(scored, "report", report), [unsteered, *settings.values()], samples
            )
            advance(width)
            before = scores.by_question(baseline, "trait_score")
            for (vector, arm, method), answers in zip(settings, steered, strict=True):
                after = scores.by_question(answers, "trait_score")
                confidence = config.evaluate.confidence
                rows.append(
                    {
                        "vector": vector,
                        "arm": arm,
                        "method": method,
                        "scored": scored,
                        "baseline": round(mean_interval(before).value, 4),
                        "trait_score": round(mean_interval(after).value, 4),
                        "delta": paired_difference_interval(after, before, confidence).rounded(),
                        "coherence": round(
                            mean_interval(scores.by_question(answers, "coherence")).value, 4
                        ),
                    }
                )
    write_json(layout.CROSS, rows)
