"""show: the comparison table on a terminal, and where the pages for browsing are.

Reads reports/comparison.json; writes nothing.
"""

import textwrap
from typing import Any

from traitsteer.words import layout
from traitsteer.words.config import Config
from traitsteer.words.findings import (
    MISSING,
    estimate,
    listed,
    number,
    signed,
    verdict_among_traits,
)
from traitsteer.words.pocket_limit import pocket_limit
from traitsteer.world.files import read_json

HEADER = (
    f"{'method':<17}{'layer':>5}{'strength':>10}{'coeff.':>8}"
    f"{'baseline':>10}  {'delta':<22}{'coherence':<22}{'random':<20}"
)
DIFFERENCE = 62
"""Least width of the column of differences."""


def table(config: Config) -> str:
    """Return the two tables of the comparison and the ways to look further, as text."""
    found = read_json(layout.COMPARISON)
    arm = max(len("instruction"), *(len(row["arm"]) for row in found["results"])) + 2
    trait = max(12, *(len(row["trait"]) for row in found["results"])) + 2
    protocols = ", ".join(f"{sha[:12]} ({name})" for name, sha in found["protocols"].items())
    lines = [f"profile {found['profile']}   protocols {protocols}", *_of_others(config, found), ""]
    lines += [f"{'trait':<{trait}}{'arm':<{arm}}{HEADER}"]
    lines += [f"{row['trait']:<{trait}}{row['arm']:<{arm}}{_row(row)}" for row in found["results"]]
    confidence = config.evaluate.confidence
    if found["comparisons"]:
        rows = [_compared(row, confidence) for row in found["comparisons"]]
        wide = max(DIFFERENCE, *(len(difference) + 2 for _, _, difference, _ in rows))
        head = ("trait", "natural % of instruction", "natural − instruction")
        lines.append("")
        lines += [
            f"{name:<{trait}}{percent:<28}{difference:<{wide}}{cosine}"
            for name, percent, difference, cosine in [(*head, "cosine of the best vectors"), *rows]
        ]
    lines += [
        "",
        f"report            {layout.REPORT.resolve()}",
        "MLflow UI         make mlflow    (http://127.0.0.1:5000)",
        "Optuna dashboard  make optuna    (http://127.0.0.1:8080)",
    ]
    made_of = found["models"].values()
    if limit := pocket_limit(config.pocket.folder, made_of, found["judge"]["kind"]):
        lines += ["", *textwrap.wrap(limit, 90)]
    return "\n".join(lines)


def _of_others(config: Config, found: dict[str, Any]) -> list[str]:
    """What is to be known where the comparison is of other models or of another judge than those of
    params.yaml.
    """
    models = [getattr(config.models, which).name for which in found["models"]]
    made_by = [*found["models"].values(), _judge(found["judge"]["kind"])]
    named = [*models, _judge(config.judge.kind)]
    if made_by == named:
        return []
    told = (
        f"This is a comparison of {listed(made_by)}, and params.yaml names {listed(named)}: run "
        "`make repro` for theirs."
    )
    return ["", *textwrap.wrap(told, 90)]


def _judge(kind: str) -> str:
    return f"a judge of kind {kind}"


def _row(row: dict[str, Any]) -> str:
    start = f"{row['method']:<17}"
    if row["delta"] is None:
        return f"{start}nothing feasible (baseline {row['baseline']:.1f})"
    return (
        f"{start}{row['layer']:>5}{row['strength']:>10.2f}{row['coefficient']:>8.2f}"
        f"{row['baseline']:>10.1f}  {estimate(row['delta']):<22}{estimate(row['coherence']):<22}"
        f"{estimate(row['random']):<20}"
    )


def _compared(row: dict[str, Any], confidence: float) -> tuple[str, str, str, str]:
    """The cells of a trait: whether the arms differ is read from the difference, since a percent
    may have no bounds.
    """
    difference = MISSING
    if row["difference"] is not None:
        told = estimate(row["difference"], form=signed)
        difference = f"{told}, {verdict_among_traits(row, confidence)}"
    percent = estimate(row["natural_percent"], " %")
    return row["trait"], percent, difference, number(row["cosine_best"], 2)
