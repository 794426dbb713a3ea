"""What the stages left behind for one trait, gathered for the page."""

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from traitsteer.experiment.results import read_result
from traitsteer.words import layout
from traitsteer.words.config import Config
from traitsteer.words.results import best_of_arm
from traitsteer.world.files import read_json, read_jsonl
from traitsteer.world.trait_folder import trait_of

Record = dict[str, Any]

EXAMPLES = 2
"""Kept responses shown of each polarity, and as many dropped ones."""


@dataclass(frozen=True)
class TraitFiles:
    """All records of one trait, in the order of params.yaml's arms and methods."""

    name: str
    definition: str
    questions: tuple[str, ...]
    searches: list[Record]
    results: list[Record]
    vectors: list[Record]
    best: dict[str, Record | None]
    """For each arm the result that stands for it, chosen on the selection questions."""
    comparison: Record

    def search(self, result: Record | None) -> Record | None:
        """The search that a result's setting came from."""
        cell = result and (result["arm"], result["method"])
        return next((s for s in self.searches if (s["arm"], s["method"]) == cell), None)

    def accuracy(self, result: Record | None) -> list[float]:
        """Held-out accuracy by layer of the vectors that a result's setting came from."""
        cell = result and (result["arm"], result["method"])
        found = (v["held_out_accuracy"] for v in self.vectors if (v["arm"], v["method"]) == cell)
        return next(found, [])


def read_files(config: Config, name: str, comparison: Record) -> TraitFiles:
    """Read the records of one trait.

    Raises:
        TraitsteerError: a file of an earlier stage is missing.
    """
    trait = trait_of(config, name)
    cells = [(arm, method) for arm in config.study.arms for method in config.arm(arm).methods]
    results = [read_result(name, arm, method) for arm, method in cells]
    nothing = {"trait": name} | dict.fromkeys(
        ("natural_percent", "difference", "cosine_best", "cosine_by_layer")
    )
    return TraitFiles(
        name=name,
        definition=trait.definition.splitlines()[0],
        questions=trait.report,
        searches=[read_json(layout.search_record(name, arm, method)) for arm, method in cells],
        results=results,
        vectors=[read_json(layout.fit_measures(name, arm, method)) for arm, method in cells],
        best={arm: best_of_arm(r for r in results if r["arm"] == arm) for arm in config.study.arms},
        comparison=next((c for c in comparison["comparisons"] if c["trait"] == name), nothing),
    )


def side_by_side(files: TraitFiles) -> list[Record]:
    """For every report question the first sample of the baseline and of each arm's best setting."""
    columns: list[tuple[str, dict[int, Record]]] = []
    for arm, best in files.best.items():
        shown = best or next(result for result in files.results if result["arm"] == arm)
        path = layout.evaluation_answers(files.name, arm, shown["method"])
        rows = sorted(read_jsonl(path), key=lambda row: -int(row["sample"]))
        if not columns:
            columns.append(("", _of_setting(rows, "baseline")))
        columns.append((arm, _of_setting(rows, "steered") if best else {}))
    return [
        {"question": text, "cells": [(arm, answers.get(place)) for arm, answers in columns]}
        for place, text in enumerate(files.questions)
    ]


def _of_setting(rows: Sequence[Record], setting: str) -> dict[int, Record]:
    return {row["question"]: row for row in rows if row["setting"] == setting}


def examples(trait: str, text: str) -> list[Record]:
    """Responses with their verdicts: of each polarity some kept and some dropped, evenly spaced."""
    verdicts = {row["id"]: row for row in read_jsonl(layout.verdicts(trait, text))}
    responses = [row | verdicts[row["id"]] for row in read_jsonl(layout.responses(trait, text))]

    shown = []
    for polarity, kept in itertools.product(("positive", "negative"), (True, False)):
        rows = [r for r in responses if r["polarity"] == polarity and r["kept"] is kept]
        shown += rows[:: max(len(rows) // EXAMPLES, 1)][:EXAMPLES]
    return shown
