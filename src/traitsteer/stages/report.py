"""report: one page that shows a whole study and opens without a network.

Reads the comparison, the ledger, the evaluations, the searches, the vectors' figures, side effects,
voices, the factorial study if there is one of these models and this judge, the responses with their
verdicts and the trait folders; writes reports/index.html and reports/figures/*.png. Nothing is
computed here but sentences: every number was written by an earlier stage.
"""

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

from traitsteer.experiment.studied import studied
from traitsteer.experiment.study_files import TraitFiles, examples, read_files, side_by_side
from traitsteer.words import layout
from traitsteer.words.config import Config
from traitsteer.words.evidence_findings import (
    arms_differ,
    attempts,
    beats_nulls,
    cells_told,
    factor_sentences,
    luck,
    unequal_terms,
)
from traitsteer.words.factor_findings import NOT_RUN, falsifiers, of_another
from traitsteer.words.findings import (
    lead,
    nothing_feasible,
    of_instruction,
    peak,
    tokens_of,
    verdict_among_traits,
)
from traitsteer.words.pocket_limit import pocket_limit
from traitsteer.words.results import BELOW_BASELINE, EQUAL_COHERENCE, tried
from traitsteer.words.voice_findings import voice_lead, voice_sentences, what_would_make_it_false
from traitsteer.world import ledger
from traitsteer.world.figures import evidence_plots, factor_plots, plots, search_plots, voice_plots
from traitsteer.world.figures.plot_style import VARIABLES, arm_place, inline_svg, save_png, style
from traitsteer.world.files import read_json, write_text
from traitsteer.world.page import render, svg

Record = dict[str, Any]

TEMPLATE = Path(__file__).with_name("report_page") / "page.html.j2"
PNG = ("forest", "cosine", "heatmap", "nulls", "frontiers", "shrinkage", "perplexity", "voice")
"""Figures that are written as PNG too, for `dvc plots` and README."""

HEATMAP_STEPS = 5
"""Strengths named under a heatmap; between each two of them lies one more cell."""

SHOWN_QUESTIONS = 6


def run(config: Config) -> None:
    """Write the page and its figures.

    Raises:
        TraitsteerError: a file of an earlier stage is missing.
    """
    comparison = read_json(layout.COMPARISON)
    traits = [read_files(config, name, comparison) for name in config.study.traits]
    cross, effects = read_json(layout.CROSS), read_json(layout.PERPLEXITY)
    voice = read_json(layout.VOICE)
    factorial, no_factorial = _factorial(config)
    with style():
        figures = _figures(config, traits, comparison, cross)
        figures |= {
            "perplexity": evidence_plots.perplexity(effects, config.study.arms),
            "voice": voice_plots.voice(voice),
        }
        if factorial is not None:
            figures |= {
                "parts": factor_plots.parts(factorial),
                "vectors": factor_plots.cosines(factorial),
            }
        drawn = _drawn(figures)
    own = [row for row in cross if row["at"] == "own"]
    page = render(
        TEMPLATE,
        {
            "config": config,
            "comparison": comparison,
            "variables": VARIABLES,
            "arms": {arm: arm_place(arm, config.study.arms) for arm in config.study.arms},
            "traits": traits,
            "figures": drawn,
            "lead": _lead(
                config, traits, comparison, own, voice, factor_sentences(factorial, no_factorial)
            ),
            "limit": pocket_limit(
                config.pocket.folder,
                (config.models.base.name, config.models.instruct.name),
                config.judge.kind,
            ),
            "told": {
                row["trait"]: cells_told(row, comparison["budgets"])
                for row in comparison["comparisons"]
            },
            "verdict": partial(verdict_among_traits, confidence=config.evaluate.confidence),
            "of_instruction": of_instruction,
            "nothing_feasible": nothing_feasible,
            "tried": tried,
            "peak": peak,
            "below_baseline": BELOW_BASELINE,
            "equal_coherence": EQUAL_COHERENCE,
            "unequal": unequal_terms(comparison["budgets"]),
            "attempts": _attempts(config, comparison),
            "tokens": tokens_of([search for files in traits for search in files.searches]),
            "answers": {files.name: side_by_side(files) for files in traits},
            "shown": SHOWN_QUESTIONS,
            "voice": [
                (row["trait"], voice_sentences(row, config.evaluate.confidence)) for row in voice
            ],
            "voice_false": what_would_make_it_false(voice),
            "factorial": factorial,
            "no_factorial": no_factorial,
            "factor_falsifiers": factorial and falsifiers(factorial),
            "counts": {
                (trait, arm): read_json(layout.vet_counts(trait, config.text(arm)))
                for trait in config.study.traits
                for arm in config.study.arms
            },
            "examples": {
                (trait, text): examples(trait, text)
                for trait in config.study.traits
                for text in config.study.texts
            },
            "cross": {(row["arm"], row["vector"], row["scored"]): row for row in own},
            "effects": effects,
        },
    )
    write_text(layout.REPORT, page)


def _factorial(config: Config) -> tuple[Record | None, str]:
    """The factorial study, if there is one of what this study is of; else None, and why."""
    if not layout.FACTORIAL.exists():
        return None, NOT_RUN
    found: Record = read_json(layout.FACTORIAL)
    another = of_another(found, studied(config))
    return (found, "") if another is None else (None, another)


def _lead(
    config: Config,
    traits: Sequence[TraitFiles],
    comparison: Record,
    own: Sequence[Record],
    voice: Sequence[Record],
    factors: Sequence[str],
) -> list[tuple[str, list[str]]]:
    """Questions, and the sentences that answer them; the first stands alone under the title.

    A question that the study's arms do not pose is left out.
    """
    bests = {files.name: files.best for files in traits}
    first, *more = lead(bests, own, config.study.coherence_floor)
    answered: list[tuple[str, Sequence[str | None]]] = [
        ("", [first]),
        ("What did steering do?", more),
        ("Does each vector beat its nulls?", [beats_nulls(bests)]),
        (
            "Is natural different from instruction?",
            arms_differ(
                comparison["comparisons"], comparison["budgets"], config.evaluate.confidence
            ),
        ),
        ("How much of the apparent best was luck?", [luck(bests)]),
        ("Which factor explains the difference?", factors),
        ("Do the arms sound different?", [voice_lead(voice, config.evaluate.confidence)]),
    ]
    said = [(question, [s for s in sentences if s is not None]) for question, sentences in answered]
    return [(question, sentences) for question, sentences in said if sentences]


def _attempts(config: Config, comparison: Record) -> dict[tuple[str, str], str]:
    cells = [(trait, arm) for trait in config.study.traits for arm in config.study.arms]
    found = ledger.counts(cells, comparison["protocols"])
    return {cell: attempts(count.here, count.elsewhere) for cell, count in found.items()}


def _figures(
    config: Config, traits: Sequence[TraitFiles], comparison: Record, cross: Sequence[Record]
) -> dict[str, Any]:
    """The figures of arms and traits, by name."""
    arms, floor = config.study.arms, config.study.coherence_floor
    strength = config.search.strength
    results = [result for files in traits for result in files.results]
    best = [result for files in traits for result in files.best.values() if result is not None]
    # A trait without one still has its panel, which says so.
    missing = [r for r in results if r["trait"] not in {one["trait"] for one in best}]
    shown = sorted([*best, *missing], key=lambda one: config.study.traits.index(one["trait"]))
    figures = {
        "forest": plots.forest(results, best, arms),
        "cosine": plots.cosine(comparison["comparisons"]),
        "nulls": evidence_plots.nulls(shown, cross, arms),
        "frontiers": evidence_plots.frontiers(shown, floor, arms),
        "shrinkage": evidence_plots.shrinkage(results, arms),
    }
    for files in traits:
        name, searches = files.name, files.searches
        cosine = files.comparison["cosine_by_layer"] or []
        figures[f"heatmap-{name}"] = search_plots.heatmap(searches, strength, HEATMAP_STEPS, arms)
        figures[f"curves-{name}"] = search_plots.curves(searches, floor, arms)
        figures[f"where-{name}"] = search_plots.where(searches, cosine, arms)
        figures[f"reliability-{name}"] = plots.reliability(files.vectors, arms)
    return figures


def _drawn(figures: dict[str, Any]) -> dict[str, object]:
    """Every figure as SVG, and some as files."""
    drawn: dict[str, object] = {
        name: svg(inline_svg(figure, name)) for name, figure in figures.items()
    }
    for name, figure in figures.items():
        if name.partition("-")[0] in PNG:
            save_png(figure, layout.FIGURES / f"{name}.png")
    return drawn
