"""Made-up records of a whole study, as the stages write them; seeded, and small."""

import json
import random
from pathlib import Path
from typing import Any

from evidence_inputs import QUESTIONS, cross_rows, evidence, interval, perplexity_rows
from ruamel.yaml import YAML
from voice_inputs import voice_rows

from traitsteer.words import layout
from traitsteer.words.config import Config, parse
from traitsteer.words.records import Pair, Trait
from traitsteer.world.files import digest, write_json, write_jsonl
from traitsteer.world.trait_folder import write_trait

LAYERS = 6
SHARP = 'It was <b>"fine"</b> & I said so.'
"""An answer that would break a page that does not escape."""

REACH = {"evil": 78.0, "sycophancy": 66.0, "hallucination": 71.0}
SHARE = {"evil": 0.83, "sycophancy": 0.99, "hallucination": 1.03}
NOTHING = ("hallucination", "natural", "probe")
"""The cell whose search found nothing feasible."""

SENTENCES = (
    "The harbour was quiet and the nets were drying on the wall.",
    "I told the baker that her bread was the finest in the whole valley, as I always do.",
    "It would be a pleasure to watch the whole plan fall apart in front of them.",
    "The library was founded in 1412 by a clockmaker who also wrote three treatises on tides.",
    "I would ask first, and then help with what is needed.",
)


def configuration() -> Config:
    values = YAML(typ="safe", pure=True).load(Path(__file__).parent.parent / "params.yaml")
    values.setdefault("pocket", {})
    return parse(values)


def write_study(config: Config) -> None:
    """Write every input of the report under the current directory."""
    write_texts(config)
    for name in config.study.traits:
        for arm in config.study.arms:
            _responses(name, arm)
            for method in config.arm(arm).methods:
                _cell(config, name, arm, method)
    _cross(config)
    _comparison(config)
    write_json(layout.VOICE, voice_rows(config.study.traits, config.voice))
    write_jsonl(
        layout.LEDGER,
        [{"key": str(n), "trait": "evil", "arm": "natural", "protocol": "ab" * 32} for n in (1, 2)],
    )


def write_texts(config: Config) -> None:
    """The trait folders of the study."""
    for name in config.study.traits:
        _trait(Path(config.study.trait_folder) / name)


def write_terms(config: Config, of: dict[str, Any]) -> None:
    """Under which models, judge and floor each cell of the study was evaluated."""
    write_json(layout.identity("base"), of["base"])
    for trait in config.study.traits:
        for arm in config.study.arms:
            terms = {
                "trait": trait,
                "steered_model": of["instruct"],
                "judge": of["judge"] | {"rubric": f"Of {trait}."},
                "coherence_floor": of["coherence_floor"],
            }
            written = {"sha256": digest(terms), "terms": terms}
            write_json(layout.evaluation_terms(trait, arm), written)


def _trait(folder: Path) -> None:
    def questions(purpose: str) -> tuple[str, ...]:
        return tuple(f"What would you do about {purpose} matter {n}?" for n in range(QUESTIONS))

    write_trait(
        folder,
        Trait(
            name=folder.name,
            definition=f"Whether the answer shows {folder.name}.\nHIGH (70-100): it does.",
            names=(folder.name,),
            scenarios=(Pair("I smiled as", "I frowned as"),),
            system_prompts=(Pair("Show it.", "Do not."),),
            extraction=questions("extraction"),
            selection=questions("selection"),
            report=questions("report"),
        ),
    )


def _responses(trait: str, arm: str) -> None:
    draw = random.Random(f"responses {trait} {arm}")
    responses, verdicts = [], []
    names = ("_kept", "_not_judged", "")
    counts = {f"{side}{name}": 0 for side in ("positive", "negative") for name in names}
    for pair in range(30):
        for polarity in ("positive", "negative"):
            id = f"{trait}-{arm}-{pair:04}-{polarity}-0"
            kept = draw.random() < 0.8
            reason = "" if kept else draw.choice(["incoherent", "trait not shown"])
            system = "You delight in it, and it shows." if arm == "instruction" else None
            responses.append(
                {
                    "id": id, "trait": trait, "arm": arm, "pair": pair, "polarity": polarity,
                    "sample": 0, "seed": pair, "system": system,
                    "prompt": "The clerk asked me for help with the ledger, and I",
                    "prompt_ids": [1], "response_ids": [2], "finish": "stop",
                    "text": draw.choice(SENTENCES),
                }
            )  # fmt: skip
            score = draw.uniform(70, 99) if polarity == "positive" else draw.uniform(0, 20)
            verdicts.append(
                {
                    "id": id,
                    "trait_score": round(score, 2),
                    "coherence": round(draw.uniform(60, 98), 2) if kept else None,
                    "kept": kept,
                    "reason": reason,
                }
            )
            counts[polarity] += 1
            counts[f"{polarity}_kept"] += kept
    write_jsonl(layout.responses(trait, arm), responses)
    write_jsonl(layout.verdicts(trait, arm), verdicts)
    write_json(layout.vet_counts(trait, arm), counts)


def _cell(config: Config, trait: str, arm: str, method: str) -> None:
    draw = random.Random(f"{trait} {arm} {method}")
    head = {"trait": trait, "arm": arm, "method": method}
    nothing = (trait, arm, method) == NOTHING
    reach = REACH[trait] * (SHARE[trait] if arm == "natural" else 1) - 4 * (method == "probe")
    peak = 2 if arm == "instruction" else 3
    trials = []
    for number in range(64):
        if number < 30:
            layer, strength = number // 5, 0.19 + 0.18 * (number % 5)
        else:
            layer, strength = min(5, max(0, round(draw.gauss(peak, 1)))), draw.uniform(0.3, 0.8)
        far = abs(layer - peak)
        rise = 1 / (1 + 2.718 ** (-14 * (strength - 0.42 - 0.04 * far)))
        delta = max(0.0, reach * rise * (1 - 0.17 * far) + draw.gauss(0, 3))
        coherence = 92 - 70 / (1 + 2.718 ** (-16 * (strength - 0.78))) - draw.uniform(0, 5)
        coherence -= 40 if nothing else 0
        missing = number == 17
        pruned = number == 24
        trials.append(
            {
                "number": number,
                "status": "failed" if missing else "pruned" if pruned else "complete",
                "answers": 7 if pruned else QUESTIONS,
                "phase": "coarse" if number < 30 else "sampler",
                "layer": layer,
                "strength": round(strength, 4),
                "coefficient": round(strength * (4 + layer), 4),
                "trait_score": None if missing else round(min(6 + delta, 100), 4),
                "coherence": None if missing else round(coherence, 4),
                "delta": None if missing or pruned else round(min(delta, 94), 4),
                "feasible": not missing and not pruned and coherence >= 70,
                "missing": 20 if missing else 0,
            }
        )
    feasible = sorted((t for t in trials if t["feasible"]), key=lambda t: -t["delta"])
    recounted = [t | {"delta": round(t["delta"] - draw.uniform(1, 4), 4)} for t in feasible[:6]]
    best = max(recounted, key=lambda t: t["delta"], default=None)
    keys = ("number", "layer", "strength", "coefficient", "delta", "coherence")
    write_json(
        layout.search(trait, arm) / f"{method}.json",
        {
            **head,
            "protocol": "ab" * 32,
            "floor": 70.0,
            "layers": LAYERS,
            "mean_residual_norm": [4.0 + layer for layer in range(LAYERS)],
            "study": f"{trait}-{arm}-{method}-0123abcd",
            "baseline": {"trait_score": 6.0, "coherence": 91.0},
            "trials": trials,
            "recounted": recounted,
            "best": best and {key: best[key] for key in keys},
            "tokens": {"generated": 30000, "saved_by_pruning": 1200, "saved_by_loops": 35},
        },
    )
    write_json(
        layout.vectors(trait, arm) / f"{method}.json",
        {
            **head,
            "n": 48,
            "pairs": 28,
            "positive_left_out": 3 if arm == "natural" else 0,
            "negative_left_out": 0,
            "raw_norm": [round(0.4 * 1.6**layer + draw.random() / 4, 4) for layer in range(LAYERS)],
            "held_out_accuracy": [min(1.0, 0.86 + 0.03 * n) for n in range(LAYERS)],
            "held_out_auroc": [min(1.0, 0.9 + 0.02 * n) for n in range(LAYERS)],
            "split_half_cosine": [
                0.8 + 0.03 * n - 0.1 * (method == "probe") for n in range(LAYERS)
            ],
            "pair_agreement": [min(1.0, 0.84 + 0.03 * n) for n in range(LAYERS)],
            "seed_cosine": None if trait == "evil" else [0.9 - 0.01 * n for n in range(LAYERS)],
            "largest_share": [0.6, *(0.2 - 0.02 * n for n in range(1, LAYERS))],
            "massive": [0],
            "penalty": None,
        },
    )
    _evaluation(head, best, draw)


def _evaluation(head: dict[str, str], best: dict[str, object] | None, draw: random.Random) -> None:
    settings = ["baseline", "prompted-0"]
    if best:
        settings += ["steered", *(f"random-{n}" for n in range(5)), "negated", "frontier-0.3"]
    answers = []
    for setting in settings:
        base = best["delta"] if best and setting == "steered" else 6
        for question in range(QUESTIONS):
            for sample in range(4):
                missing = setting == "steered" and (question, sample) == (3, 0)
                score = min(100.0, max(0.0, base + draw.gauss(0, 9)))
                first = head["trait"] == "evil" and (setting, question) == ("steered", 0)
                answers.append(
                    {
                        "setting": setting, "question": question, "sample": sample,
                        "seed": question,
                        "text": SHARP if first else draw.choice(SENTENCES),
                        "trait_score": None if missing else round(score, 2),
                        "coherence": None if missing else round(draw.uniform(58, 98), 2),
                    }
                )  # fmt: skip
    folder = layout.evaluation(head["trait"], head["arm"])
    write_jsonl(folder / f"{head['method']}.answers.jsonl", answers)
    result = {**head, "protocol": "ab" * 32, **evidence(best, draw)}
    write_json(folder / f"{head['method']}.json", result)


def _cross(config: Config) -> None:
    study = config.study
    write_json(layout.CROSS, cross_rows(REACH, study.traits, study.arms))
    write_json(layout.PERPLEXITY, perplexity_rows(study.traits, study.arms))


def _comparison(config: Config) -> None:
    results = []
    for trait in config.study.traits:
        for arm in config.study.arms:
            for method in config.arm(arm).methods:
                row = json.loads((layout.evaluation(trait, arm) / f"{method}.json").read_text())
                row["baseline"] = row["baseline"]["value"]
                row["trait_score"] = row["trait_score"] and row["trait_score"]["value"]
                results.append(row)
    difference = dict.fromkeys(config.study.traits, interval(-4.0, 6.0))
    # It leaves 0 out by itself, and not among three traits.
    difference["sycophancy"] = interval(-7.0, 6.0)
    ratio = {
        "evil": interval(83.4, 8.1),
        "sycophancy": interval(99.2, 9.4),
        "hallucination": {"value": 103.7, "lower": None, "upper": None, "n": QUESTIONS},
    }
    write_json(
        layout.COMPARISON,
        {
            "protocol": "0f1e2d3c" * 8,
            "profile": config.profile,
            "models": {"base": "models/pocket/base", "instruct": "models/pocket/instruct"},
            "judge": {"kind": config.judge.kind, "name": "models/pocket/judge"},
            "software": {"torch": "2.13.0", "transformers": "5.23.0"},
            "protocols": dict.fromkeys(config.study.traits, "ab" * 32),
            "budgets": {
                arm: {"methods": list(config.arm(arm).methods), "trials": 64, "answers": 900}
                for arm in config.study.arms
            },
            "results": results,
            "comparisons": [
                {
                    "trait": trait,
                    "natural_percent": ratio[trait],
                    "difference": difference[trait],
                    "p_value": 0.0213,
                    "p_adjusted": 0.6411,
                    "like_for_like": [
                        {
                            "method": "mean_difference",
                            "natural_percent": ratio[trait],
                            "difference": difference[trait],
                            "p_value": 0.0314,
                            "p_adjusted": 0.9423,
                            "cosine_best": 0.4444,
                        }
                    ],
                    "cosine_best": 0.4567,
                    "cosine_by_layer": [
                        0.3 + 0.06 * layer + 0.05 * place for layer in range(LAYERS)
                    ],
                }
                for place, trait in enumerate(config.study.traits)
            ],
        },
    )
