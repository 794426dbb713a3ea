"""Writes what was found: the page in docs, the chart beside it, the numbers as JSON."""

import json
from pathlib import Path

from benchmarks.chart import draw
from benchmarks.results import Limit, Results, Row, Series, Table
from traitsteer.world.files import write_text

HEAD = """# Benchmarks

Written by `make bench`, or part by part by `python -m benchmarks --only ...`, which makes the
peers' environments from the pins in `benchmarks/peers/`, measures everybody side by side and checks
every result against plain transformers. Each contender has a process of its own, with threads that
wait for each other as those of `traitsteer` do; they take turns, and the median of the rounds
counts. Batch size or solver is the one that each did best with in the warm-up. Seconds, hence less
is better; *ratio* is to ours. *plain transformers* reads `output_hidden_states`, and generates with
a hook for one setting at a time; *hand-written* is what a careful user writes in an afternoon:
settings as rows of one batch, an early stop in reading. What `python -m benchmarks gpu` found on a
GPU: [benchmarks_gpu.md](benchmarks_gpu.md).

"""


def markdown(results: Results) -> str:
    """The page."""
    machine = [f"- {name}: {value}" for name, value in results.machine.items()]
    versions = ", ".join(f"{name} {value}" for name, value in sorted(results.versions.items()))
    parts = [HEAD, "\n".join(machine), f"\n- {versions}\n"]
    if results.tables:
        parts.append("\n![Time over ours, for each work and contender](benchmarks.png)\n")
    parts += [table(found) for found in results.tables]
    if results.growth:
        parts.append(
            "\n## Growth\n\nOurs alone, each size in a fresh process that did the smallest size "
            "before. Memory is the peak above what was resident, without the result itself.\n"
        )
        parts += [_series(series) for series in results.growth]
    return "".join(parts)


def table(found: Table) -> str:
    """One work as a section of the page."""
    rounds = f"{found.repeats} rounds" if found.repeats > 1 else "One round"
    lines = [f"\n## {found.title}\n", f"{found.about} {rounds}.", ""]
    lines += ["| contender | seconds | ratio | result | |", "|---|--:|--:|---|---|"]
    lines += [_row(row) for row in found.rows]
    if found.limit is not None:
        lines += ["", _limit(found.limit)]
    return "\n".join(lines) + "\n"


def _row(row: Row) -> str:
    seconds = "-" if row.median is None else _short(row.median)
    ratio = "-" if row.ratio is None else f"{row.ratio:.2f}"
    result = row.found if row.right is not False else f"**wrong**: {row.found}"
    beside = "; ".join(part for part in (row.choice, row.remark) if part).replace("|", "\\|")
    name = f"{row.title} {row.version}".strip()
    return f"| {name} | {seconds} | {ratio} | {result} | {beside} |"


def _limit(limit: Limit) -> str:
    share = "" if limit.share is None else f"; ours reaches {limit.share:.0%} of that speed"
    if limit.bare is not None:
        share += f", the bare forward passes {limit.bare:.0%} in what they run"
    return f"Limit of this machine: {_short(limit.seconds)} s for {limit.what}{share}."


def _series(series: Series) -> str:
    lines = [f"\n{series.title}: seconds grow with exponent {series.exponent:.2f}.\n"]
    lines += ["| | " + " | ".join(f"{size:,}" for size in series.sizes) + " |"]
    lines += ["|---|" + "--:|" * len(series.sizes)]
    lines += ["| seconds | " + " | ".join(map(_short, series.seconds)) + " |"]
    peaks = ["-" if peak is None else f"{peak / 2**20:.0f}" for peak in series.peaks]
    lines += ["| peak MiB | " + " | ".join(peaks) + " |"]
    return "\n".join(lines) + "\n"


def _short(seconds: float) -> str:
    return f"{seconds:.2f}" if seconds >= 0.1 else f"{seconds:.4f}"


def write(results: Results, docs: Path, numbers: Path) -> None:
    """Write the page, the chart and the JSON."""
    write_text(docs / "benchmarks.md", markdown(results))
    write_text(numbers, json.dumps(results.packed(), indent=1) + "\n")
    draw(results.tables, docs / "benchmarks.png")
