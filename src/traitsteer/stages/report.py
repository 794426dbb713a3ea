"""report: one page that shows a whole study and opens without a network.

Reads the comparison, the evaluations, the searches, the vectors' figures, the responses with their
verdicts, and the trait folders; writes reports/index.html and reports/figures/*.png. Nothing is
computed here but sentences: every number was written by an earlier stage.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure

from traitsteer.words import layout
from traitsteer.words.config import Config
from traitsteer.words.results import best_of_arm
from traitsteer.world import plots, search_plots
from traitsteer.world.files import read_json, read_jsonl, write_text
from traitsteer.world.page import render, svg
from traitsteer.world.plot_style import VARIABLES, arm_place, inline_svg, save_png, style
from traitsteer.world.trait_folder import read_trait

Record = dict[str, Any]

TEMPLATE = Path(__file__).with_name("report.html.j2")
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

    def search(self, result: Record) -> Record:
        """The search that a result's setting came from."""
        return next(
            s for s in self.searches if (s["arm"], s["method"]) == (result["arm"], result["method"])
        )


def run(config: Config) -> None:
    """Write the page and its figures."""
    comparison = read_json(layout.COMPARISON)
    traits = [_read(config, name, comparison) for name in config.study.traits]
    with style():
        figures = _figures(config, traits, comparison)
    cross = read_json(layout.CROSS)
    page = render(
        TEMPLATE,
        {
            "config": config,
            "comparison": comparison,
            "variables": VARIABLES,
            "arms": {arm: arm_place(arm, config.study.arms) for arm in config.study.arms},
            "traits": traits,
            "figures": figures,
            "lead": lead(traits, cross),
            "peaks": {files.name: list(_peaks(files)) for files in traits},
            "answers": {files.name: _answers(files) for files in traits},
            "shown": SHOWN_QUESTIONS,
            "counts": {
                (trait, arm): read_json(layout.vet_counts(trait, arm))
                for trait in config.study.traits
                for arm in config.study.arms
            },
            "examples": {
                (trait, arm): _examples(trait, arm)
                for trait in config.study.traits
                for arm in config.study.arms
            },
            "cross": {(row["arm"], row["vector"], row["scored"]): row for row in cross},
            "chosen_trial": {
                (r["trait"], r["arm"], r["method"]): _chosen_trial(files.search(r))
                for files in traits
                for r in files.results
            },
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
    """Every figure as SVG by name; those that DVC and README show are written as PNG too."""
    arms, floor = config.study.arms, config.study.coherence_floor
    drawn: dict[str, object] = {}

    def draw(name: str, figure: Figure, title: str, png: bool = False) -> None:
        drawn[name] = svg(inline_svg(figure, name, title))
        if png:
            save_png(figure, layout.FIGURES / f"{name}.png")

    results = [result for files in traits for result in files.results]
    best = [result for files in traits for result in files.best.values() if result is not None]
    draw("forest", plots.forest(results, best, arms), "Delta of every result", png=True)
    draw("cosine", plots.cosine(comparison["comparisons"]), "Cosine by layer", png=True)
    strength, steps = config.search.strength, config.search.coarse_strengths
    for files in traits:
        name, searches = files.name, files.searches
        cosine = files.comparison["cosine_by_layer"] or []
        heat = search_plots.heatmap(searches, strength, steps, arms)
        draw(f"curves-{name}", search_plots.curves(searches, floor, arms), f"Scores, {name}")
        draw(f"heatmap-{name}", heat, f"Delta by layer and strength, {name}", png=True)
        draw(f"where-{name}", search_plots.where(searches, cosine, arms), f"Best layer, {name}")
        draw(f"reliability-{name}", plots.reliability(files.vectors, arms), f"Vectors, {name}")
    return drawn


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

    def some(fits: Callable[[Record], bool]) -> list[Record]:
        rows = [row for row in responses if fits(row)]
        return rows[:: max(len(rows) // EXAMPLES, 1)][:EXAMPLES]

    return [
        row
        for polarity in ("positive", "negative")
        for kept in (True, False)
        for row in some(lambda r, p=polarity, k=kept: r["polarity"] == p and r["kept"] is k)  # type: ignore[misc]
    ]


def _chosen_trial(search: Record) -> Record | None:
    best = search["best"]
    return best and next(t for t in search["trials"] if t["number"] == best["number"])
