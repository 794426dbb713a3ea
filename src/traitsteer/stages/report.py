"""report: one page that shows a whole study and opens without a network.

Reads the comparison, the evaluations, the searches, the vectors' figures, the responses with their
verdicts, and the trait folders; writes reports/index.html and reports/figures/*.png. Nothing is
computed here but sentences: every number was written by an earlier stage.
"""

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from traitsteer.words import layout
from traitsteer.words.config import Config
from traitsteer.words.findings import lead, parity, peak, tokens_of
from traitsteer.words.results import best_of_arm
from traitsteer.world import plots, search_plots
from traitsteer.world.files import read_json, read_jsonl, write_text
from traitsteer.world.page import render, svg
from traitsteer.world.plot_style import VARIABLES, arm_place, inline_svg, save_png, style
from traitsteer.world.trait_folder import read_trait

Record = dict[str, Any]

TEMPLATE = Path(__file__).with_name("report_page") / "page.html.j2"
PNG = ("forest", "cosine", "heatmap")
"""Figures that are written as PNG too, for `dvc plots` and README."""

HEATMAP_STEPS = 5
"""Strengths named under a heatmap; between each two of them lies one more cell."""

SHOWN_QUESTIONS = 6
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

    def trial(self, result: Record) -> Record | None:
        """The search's trial that became a result's setting."""
        search = self.search(result)
        best: Record | None = search and search["best"]
        trials: list[Record] = search["trials"] if search else []
        return next((t for t in trials if best and t["number"] == best["number"]), None)


def run(config: Config) -> None:
    """Write the page and its figures."""
    comparison = read_json(layout.COMPARISON)
    traits = [_read(config, name, comparison) for name in config.study.traits]
    with style():
        figures = _figures(config, traits, comparison)
    cross = [row for row in read_json(layout.CROSS) if row["at"] == "own"]
    page = render(
        TEMPLATE,
        {
            "config": config,
            "comparison": comparison,
            "variables": VARIABLES,
            "arms": {arm: arm_place(arm, config.study.arms) for arm in config.study.arms},
            "traits": traits,
            "figures": figures,
            "lead": lead(
                {files.name: files.best for files in traits},
                {files.name: files.comparison["natural_percent"] for files in traits},
                cross,
            ),
            "parity": parity,
            "peak": peak,
            "tokens": tokens_of([search for files in traits for search in files.searches]),
            "answers": {files.name: _answers(files) for files in traits},
            "shown": SHOWN_QUESTIONS,
            "counts": {
                (trait, arm): read_json(layout.vet_counts(trait, config.text(arm)))
                for trait in config.study.traits
                for arm in config.study.arms
            },
            "examples": {
                (trait, text): _examples(trait, text)
                for trait in config.study.traits
                for text in config.study.texts
            },
            "cross": {(row["arm"], row["vector"], row["scored"]): row for row in cross},
        },
    )
    write_text(layout.REPORT, page)


def _read(config: Config, name: str, comparison: Record) -> TraitFiles:
    trait = read_trait(Path(config.study.trait_folder) / name)
    cells = [(arm, method) for arm in config.study.arms for method in config.arm(arm).methods]
    results = [read_json(layout.evaluation(name, arm) / f"{method}.json") for arm, method in cells]
    nothing = {"trait": name} | dict.fromkeys(("natural_percent", "cosine_best", "cosine_by_layer"))
    return TraitFiles(
        name=name,
        definition=trait.definition.splitlines()[0],
        questions=trait.report,
        searches=[read_json(layout.search(name, arm) / f"{method}.json") for arm, method in cells],
        results=results,
        vectors=[read_json(layout.vectors(name, arm) / f"{method}.json") for arm, method in cells],
        best={arm: best_of_arm(r for r in results if r["arm"] == arm) for arm in config.study.arms},
        comparison=next((c for c in comparison["comparisons"] if c["trait"] == name), nothing),
    )


def _figures(config: Config, traits: Sequence[TraitFiles], comparison: Record) -> dict[str, object]:
    """Every figure as SVG by name."""
    arms, floor = config.study.arms, config.study.coherence_floor
    strength = config.search.strength
    results = [result for files in traits for result in files.results]
    best = [result for files in traits for result in files.best.values() if result is not None]
    figures = {
        "forest": plots.forest(results, best, arms),
        "cosine": plots.cosine(comparison["comparisons"]),
    }
    for files in traits:
        name, searches = files.name, files.searches
        cosine = files.comparison["cosine_by_layer"] or []
        figures[f"heatmap-{name}"] = search_plots.heatmap(searches, strength, HEATMAP_STEPS, arms)
        figures[f"curves-{name}"] = search_plots.curves(searches, floor, arms)
        figures[f"where-{name}"] = search_plots.where(searches, cosine, arms)
        figures[f"reliability-{name}"] = plots.reliability(files.vectors, arms)
    for name, figure in figures.items():
        if name.partition("-")[0] in PNG:
            save_png(figure, layout.FIGURES / f"{name}.png")
    return {name: svg(inline_svg(figure, name)) for name, figure in figures.items()}


def _answers(files: TraitFiles) -> list[Record]:
    """For every report question the first sample of the baseline and of each arm's best setting."""
    columns: list[tuple[str, dict[int, Record]]] = []
    for arm, best in files.best.items():
        shown = best or next(result for result in files.results if result["arm"] == arm)
        path = layout.evaluation(files.name, arm) / f"{shown['method']}.answers.jsonl"
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


def _examples(trait: str, arm: str) -> list[Record]:
    """Responses with their verdicts: of each polarity some kept and some dropped, evenly spaced."""
    verdicts = {row["id"]: row for row in read_jsonl(layout.verdicts(trait, arm))}
    responses = [row | verdicts[row["id"]] for row in read_jsonl(layout.responses(trait, arm))]

    shown = []
    for polarity, kept in itertools.product(("positive", "negative"), (True, False)):
        rows = [r for r in responses if r["polarity"] == polarity and r["kept"] is kept]
        shown += rows[:: max(len(rows) // EXAMPLES, 1)][:EXAMPLES]
    return shown
