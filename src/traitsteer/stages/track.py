"""track: everything into the MLflow store, one run for each trait and arm.

Reads the files of all stages and logs them to track.mlflow: the parent run holds the best setting
on the report questions, the vectors and every score; its children are the trials of its studies.
Writes reports/tracking.json, which says what was logged. The store is a view of the files: a run
whose files have not changed is not logged again, and older runs stay beside newer ones.
"""

import hashlib
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML

from traitsteer.words import layout
from traitsteer.words.config import Config
from traitsteer.words.findings import bounds, number, signed
from traitsteer.words.records import Trait
from traitsteer.words.results import best_of_arm
from traitsteer.world.files import digest, digest_of_files, read_json, read_jsonl, write_json
from traitsteer.world.progress import progress
from traitsteer.world.tracking import Run, Series, Source, Table, TrackingStore
from traitsteer.world.trait_folder import read_trait

FORMAT = 1
"""Part of every run's key: raised when the same files would be logged differently."""

LOCK = Path("dvc.lock")
SECTIONS = ("models", "judge", "elicit", "vet", "fit", "answers", "search", "evaluate")
SCORES = ("trait_score", "coherence")
# The interface groups a table by its first column and compares the second between runs.
COLUMNS = ("question", "text", *SCORES, "setting", "phase", "sample", "seed")
SERIES = {
    "accuracy": "held_out_accuracy",
    "raw_norm": "raw_norm",
    "split_half_cosine": "split_half_cosine",
}


@dataclass(frozen=True)
class Method:
    """What the stages left behind for one method of an arm."""

    name: str
    fitted: dict[str, Any]
    search: dict[str, Any]
    evaluation: dict[str, Any]
    scores: list[dict[str, Any]]
    answers: list[dict[str, Any]]


@dataclass(frozen=True)
class Arm:
    """What the stages left behind for one trait and arm."""

    trait: Trait
    name: str
    methods: tuple[Method, ...]
    natural_percent: float | None
    """Of the instruction arm's delta; None for other arms and where it could not be computed."""


def run(config: Config) -> None:
    """Log what the store does not yet hold.

    Raises:
        TraitsteerError: the store cannot be used, or a file of an earlier stage is missing;
            nothing is logged then.
    """
    arms = [_read(config, trait, arm) for trait in config.study.traits for arm in config.study.arms]
    keys = [_key(config, arm) for arm in arms]
    store = TrackingStore(_store(config.track.mlflow), config.track.experiment)
    new = [(arm, key) for arm, key in zip(arms, keys, strict=True) if not store.holds(key)]
    hashes = dvc_hashes(LOCK)
    runs = [(describe(config, arm, hashes), key) for arm, key in new]
    total = sum(1 + len(described.children) for described, _ in runs)
    with progress("track", total, "run") as advance:
        for described, key in runs:
            store.log(described, key, advance)
    write_json(
        layout.TRACKING,
        [
            {
                "trait": arm.trait.name,
                "arm": arm.name,
                "key": key,
                "trials": sum(len(method.search["trials"]) for method in arm.methods),
                "scores": sum(len(m.scores) + len(m.answers) for m in arm.methods),
            }
            for arm, key in zip(arms, keys, strict=True)
        ],
    )


def _store(uri: str) -> str:
    """A relative SQLite path starts at the repository that an experiment was queued from."""
    prefix, path = "sqlite:///", uri.removeprefix("sqlite:///")
    root = os.environ.get("DVC_ROOT")
    if root is None or not uri.startswith(prefix) or path.startswith("/"):
        return uri
    return f"{prefix}{Path(root) / path}"


def _read(config: Config, trait: str, arm: str) -> Arm:
    comparison = read_json(layout.COMPARISON)
    ratios = {row["trait"]: row["natural_percent"] for row in comparison["comparisons"]}
    ratio = ratios.get(trait) if arm == "natural" else None
    search, evaluation = layout.search(trait, arm), layout.evaluation(trait, arm)
    return Arm(
        trait=read_trait(Path(config.study.trait_folder) / trait),
        name=arm,
        methods=tuple(
            Method(
                name=method,
                fitted=read_json(layout.vectors(trait, arm) / f"{method}.json"),
                search=read_json(search / f"{method}.json"),
                evaluation=read_json(evaluation / f"{method}.json"),
                scores=read_jsonl(search / f"{method}.scores.jsonl"),
                answers=read_jsonl(evaluation / f"{method}.answers.jsonl"),
            )
            for method in config.arm(arm).methods
        ),
        natural_percent=None if ratio is None else ratio["value"],
    )


def _key(config: Config, arm: Arm) -> str:
    """SHA-256 of all that the run is made of, other than the commit and DVC's hashes."""
    trait = arm.trait.name
    files = [
        file
        for method in arm.methods
        for folder, ending in (
            (layout.vectors(trait, arm.name), "safetensors"),
            (layout.vectors(trait, arm.name), "json"),
            (layout.search(trait, arm.name), "json"),
            (layout.search(trait, arm.name), "scores.jsonl"),
            (layout.evaluation(trait, arm.name), "json"),
            (layout.evaluation(trait, arm.name), "answers.jsonl"),
        )
        for file in [folder / f"{method.name}.{ending}"]
    ]
    return digest(
        {
            "format": FORMAT,
            "files": digest_of_files([*files, layout.activations(trait, arm.name)]),
            "params": _params(config, arm),
            "questions": [arm.trait.selection, arm.trait.report],
            "natural_percent": arm.natural_percent,
        }
    )


def describe(config: Config, arm: Arm, hashes: dict[str, str]) -> Run:
    """Return the run of one trait and arm, with one child for each trial and each recount."""
    trait, name = arm.trait.name, arm.name
    best = best_of_arm(method.evaluation for method in arm.methods)
    activations = layout.activations(trait, name)
    tags = {
        "protocol": arm.methods[0].evaluation["protocol"],
        "profile": config.profile,
        "trait": trait,
        "arm": name,
        "status": "nothing feasible" if best is None else "feasible",
        "model.base": config.models.base.name,
        "model.instruct": config.models.instruct.name,
        **{f"study.{method.name}": method.search["study"] for method in arm.methods},
        **_hashes_of(trait, name, hashes),
    }
    if experiment := os.environ.get("DVC_EXP_NAME"):
        tags["dvc.experiment"] = experiment
    return Run(
        name=f"{trait} · {name}",
        params=_params(config, arm)
        | {f"best_{name}": best[name] for name in ("method", "coefficient") if best},
        metrics=_headline(arm, best) | _by_layer(arm),
        tags=tags,
        note=_note(arm),
        files={
            f"vectors/{method.name}.{ending}": layout.vectors(trait, name)
            / f"{method.name}.{ending}"
            for method in arm.methods
            for ending in ("safetensors", "json")
        },
        tables={
            f"{part}_{method.name}.json": table
            for method in arm.methods
            for part, table in _tables(arm, method)
        },
        sources=[
            Source(f"activations {trait} {name}", activations, _md5(activations)),
        ],
        children=[child for method in arm.methods for child in _children(trait, name, method)],
    )


def _params(config: Config, arm: Arm) -> dict[str, object]:
    sections = {name: getattr(config, name).model_dump(mode="json") for name in SECTIONS}
    return {
        "trait": arm.trait.name,
        "arm": arm.name,
        "profile": config.profile,
        "seed": config.seed,
        "coherence_floor": config.study.coherence_floor,
        **dict(_flat(config.arm(arm.name).model_dump(mode="json"), "")),
        **dict(_flat(sections, "")),
    }


def _flat(values: dict[str, Any], prefix: str) -> Iterator[tuple[str, object]]:
    for key, value in values.items():
        if isinstance(value, dict):
            yield from _flat(value, f"{prefix}{key}.")
        else:
            whole = ", ".join(map(str, value)) if isinstance(value, list) else value
            yield f"{prefix}{key}", whole


def _headline(arm: Arm, best: dict[str, Any] | None) -> dict[str, float | Series | None]:
    """What is seen first when runs are compared: the best method on the report questions."""
    found: dict[str, float | Series | None] = {"natural_percent": arm.natural_percent}
    if best is None:
        return found | {"baseline": arm.methods[0].evaluation["baseline"]["value"]}
    fitted = next(m.fitted for m in arm.methods if m.name == best["method"])
    return found | {
        "delta": best["delta"]["value"],
        "delta_lower": best["delta"]["lower"],
        "delta_upper": best["delta"]["upper"],
        "coherence": best["coherence"]["value"],
        "baseline": best["baseline"]["value"],
        "trait_score": best["trait_score"]["value"],
        "random_delta": best["random"]["value"],
        "layer": best["layer"],
        "strength": best["strength"],
        "held_out_accuracy": fitted["held_out_accuracy"][best["layer"]],
    }


def _by_layer(arm: Arm) -> dict[str, float | Series | None]:
    """Reliability over layers, the step being the layer.

    The interface sorts by name; the prefix keeps these below the headline.
    """
    return {
        f"per_layer_{short}_{method.name}": Series(method.fitted[long])
        for method in arm.methods
        for short, long in SERIES.items()
    }


def _note(arm: Arm) -> str:
    """The run's description: one line a method."""
    lines = [
        "| method | delta | interval | coherence | layer | strength | random |",
        "|---|---|---|---|---|---|---|",
    ]
    for method in arm.methods:
        found = method.evaluation
        if found["status"] != "feasible":
            lines.append(f"| {method.name} | nothing feasible | | | | | |")
            continue
        cells = (
            method.name,
            signed(found["delta"]["value"]),
            bounds(found["delta"]),
            number(found["coherence"]["value"]),
            str(found["layer"]),
            number(found["strength"], 2),
            signed(found["random"]["value"]),
        )
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def _tables(arm: Arm, method: Method) -> Iterator[tuple[str, Table]]:
    """Every score of every question: of the report, and of the search."""
    reported = [_row(arm.trait.report, row | {"phase": "report"}) for row in method.answers]
    searched = [
        _row(arm.trait.selection, row | {"setting": _setting(row["trial"])})
        for row in method.scores
    ]
    yield "report_scores", Table(COLUMNS, reported)
    yield "search_scores", Table(COLUMNS, searched)


def _row(questions: tuple[str, ...], row: dict[str, Any]) -> list[Any]:
    return [questions[row["question"]], *(row[name] for name in COLUMNS[1:])]


def _setting(trial: int | None) -> str:
    return "baseline" if trial is None else f"trial {trial}"


def _children(trait: str, arm: str, method: Method) -> Iterator[Run]:
    trials = [(trial["phase"], trial) for trial in method.search["trials"]]
    recounts = [("confirm", trial) for trial in method.search["confirmed"]]
    for phase, trial in trials + recounts:
        params = {name: trial[name] for name in ("layer", "strength", "coefficient")}
        yield Run(
            name=f"{method.name} {trial['number']:03d}{' confirm' * (phase == 'confirm')}",
            params=params | {"trait": trait, "arm": arm, "method": method.name, "phase": phase},
            metrics={name: trial[name] for name in (*SCORES, "delta", "feasible")},
        )


def dvc_hashes(lock: Path) -> dict[str, str]:
    """Hash of every output that dvc.lock names, by path; empty before the first `dvc repro`."""
    if not lock.exists():
        return {}
    stages = YAML(typ="safe", pure=True).load(lock).get("stages", {})
    return {
        out["path"]: out["md5"]
        for stage in stages.values()
        for out in stage.get("outs", [])
        if "md5" in out
    }


def _hashes_of(trait: str, arm: str, hashes: dict[str, str]) -> dict[str, str]:
    outs = {
        "responses": layout.responses(trait, arm),
        "verdicts": layout.verdicts(trait, arm),
        "activations": layout.activations(trait, arm),
        "vectors": layout.vectors(trait, arm),
        "search": layout.search(trait, arm),
        "evaluation": layout.evaluation(trait, arm),
        "calibration": layout.CALIBRATION,
    }
    return {
        f"dvc.{name}": hashes[path.as_posix()]
        for name, path in outs.items()
        if path.as_posix() in hashes
    }


def _md5(path: Path) -> str:
    """The hash that DVC knows a file by."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "md5").hexdigest()
