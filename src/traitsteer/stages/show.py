"""show: the comparison table on a terminal, and where the pages for browsing are.

Reads reports/comparison.json; writes nothing.
"""

from typing import Any

from traitsteer.words import layout
from traitsteer.words.config import Config
from traitsteer.world.files import read_json

HEADER = (
    f"{'method':<17}{'layer':>5}{'strength':>10}{'coeff.':>8}"
    f"{'baseline':>10}  {'delta':<22}{'coherence':<22}{'random':<20}"
)


def table(config: Config) -> str:
    """Return the two tables of the comparison and the ways to look further, as text."""
    found = read_json(layout.COMPARISON)
    arm = max(len("instruction"), *(len(row["arm"]) for row in found["results"])) + 2
    lines = [f"profile {found['profile']}   protocol {found['protocol'][:12]}", ""]
    lines += [f"{'trait':<14}{'arm':<{arm}}{HEADER}"]
    lines += [f"{row['trait']:<14}{row['arm']:<{arm}}{_row(row)}" for row in found["results"]]
    if found["comparisons"]:
        lines += ["", f"{'trait':<14}{'natural % of instruction':<34}cosine of the best vectors"]
        lines += [
            f"{row['trait']:<14}{_interval(row['natural_percent'], '%'):<34}"
            + ("–" if row["cosine_best"] is None else f"{row['cosine_best']:.2f}")
            for row in found["comparisons"]
        ]
    lines += [
        "",
        f"report            {layout.REPORT.resolve()}",
        "MLflow UI         make mlflow    (http://127.0.0.1:5000)",
        "Optuna dashboard  make optuna    (http://127.0.0.1:8080)",
    ]
    if config.judge.kind == "pocket":
        lines += [
            "",
            "The pocket models are tiny and trained on generated text that their judge shares: the",
            "numbers show that the pipeline works, and say nothing about any real model.",
        ]
    return "\n".join(lines)


def _row(row: dict[str, Any]) -> str:
    start = f"{row['method']:<17}"
    if row["delta"] is None:
        return f"{start}nothing feasible (baseline {row['baseline']:.1f})"
    return (
        f"{start}{row['layer']:>5}{row['strength']:>10.2f}{row['coefficient']:>8.2f}"
        f"{row['baseline']:>10.1f}  {_interval(row['delta']):<22}{_interval(row['coherence']):<22}"
        f"{_interval(row['random']):<20}"
    )


def _interval(interval: dict[str, Any] | None, unit: str = "") -> str:
    if interval is None:
        return "–"
    if interval["lower"] is None:
        return f"{interval['value']:.1f}{unit} (unbounded)"
    return f"{interval['value']:.1f}{unit} ({interval['lower']:.1f} to {interval['upper']:.1f})"
