"""What the GPU command finds, and the page that shows it beside what was found before."""

import re
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from typing import Any

_SHOWN = 10
_DECODING = (
    "| rows at once | seconds | of these the prompts | of the bandwidth limit | later "
    "| answers/s | peak GiB |",
    "|--:|--:|--:|--:|--:|--:|--:|",
)
_PRODUCTS = re.compile("nvjet|gemm|gemv|splitK")
_ATTENTION = re.compile("fmha|flash")


@dataclass
class Decoding:
    """Steered generation of as many rows at once."""

    rows: int
    seconds: float
    """Of all tokens."""
    first: float
    """Of the first token: the prompts."""
    share: float
    """Least time that the bytes of the decoding steps take, over the time that they took: with
    the captures of the steps."""
    steady: float
    """The same of the tokens of longer answers that come after those."""
    answers: float
    """A second."""
    peak: int | None
    """Bytes allocated on the device, weights included."""


@dataclass
class Kernel:
    """One kind of kernel in a profile."""

    name: str
    calls: int
    seconds: float


@dataclass
class Found:
    """Everything that was measured."""

    device: str
    torch: str
    transformers: str
    flops: float
    bytes: float
    read_rows: int
    read_seconds: float
    read_share: float
    decoding: list[Decoding]
    grid_rows: int
    grid_seconds: float
    hook_seconds: float
    common: float
    pass_tokens: int
    """Most prompt tokens of one pass."""
    profiles: dict[str, list[Kernel]] = field(default_factory=dict)
    """Of each piece of work, its kernels."""

    def packed(self) -> dict[str, Any]:
        """As JSON has it."""
        return asdict(self)

    @staticmethod
    def unpacked(fields: dict[str, Any]) -> "Found":
        """What `packed` gave."""
        decoding = [Decoding(**each) for each in fields["decoding"]]
        profiles = {
            work: [Kernel(**each) for each in kernels]
            for work, kernels in fields["profiles"].items()
        }
        return Found(**{**fields, "decoding": decoding, "profiles": profiles})


def kinds(kernels: Iterable[Kernel]) -> list[Kernel]:
    """Kernels by what they are for, the longest first: names tell shapes that nobody compares."""
    summed: dict[str, Kernel] = defaultdict(lambda: Kernel("", 0, 0.0))
    for each in kernels:
        name = re.sub(r"<.*|\(anonymous namespace\)::|at::native::|^void ", "", each.name)
        if _PRODUCTS.search(name):
            name = "matrix products"
        elif _ATTENTION.search(name):
            name = "attention"
        summed[name].name = name
        summed[name].calls += each.calls
        summed[name].seconds += each.seconds
    return sorted(summed.values(), key=lambda kind: -kind.seconds)


def page(found: Found, before: Found | None = None) -> str:
    """The page in Markdown; `before` is shown beside it."""
    each = [found] if before is None else [found, before]
    lines = [
        "# On a GPU",
        "",
        "Written by `python -m benchmarks gpu`: random bfloat16 weights in the shape of",
        f"Llama-3.1-8B, {found.device}, torch {found.torch}, transformers {found.transformers}.",
        "",
    ]
    if before is not None:
        lines += ["*Before* is an earlier version of the engine on such a machine.", ""]
    rows = {
        "matrices in bfloat16": [f"{one.flops / 1e12:.3g} TFLOP/s" for one in each],
        "memory": [f"{one.bytes / 1e9:.4g} GB/s" for one in each],
        "reading all layers": [f"{one.read_seconds:.2f} s" for one in each],
        "sequences at once": [str(one.read_rows) for one in each],
        "of the matrices' throughput": [f"{one.read_share:.0%}" for one in each],
        f"steered grid of {found.grid_rows} rows, ours": [
            f"{one.grid_seconds:.2f} s" for one in each
        ],
        "the same with a hook for each setting, run once": [
            f"{one.hook_seconds:.2f} s" for one in each
        ],
        "hooks over ours": [f"{one.hook_seconds / one.grid_seconds:.1f}" for one in each],
        "most prompt tokens of one pass of ours": [f"{one.pass_tokens:,}" for one in each],
        "tokens of both before their first that differs": [f"{one.common:.0%}" for one in each],
    }
    heads = ["now", "before"][: len(each)]
    lines += [f"| | {' | '.join(heads)} |", f"|---|{'--:|' * len(each)}"]
    lines += [f"| {name} | {' | '.join(values)} |" for name, values in rows.items()]
    lines += [
        "",
        "Random weights are often undecided between two tokens: rounding parts answers soon.",
        "",
        "## Steered decoding",
        "",
        "Seconds are those of whole answers. The share of the bandwidth limit is that of their",
        "steps, captures included, and that of later steps of longer answers. The more rows, the",
        "more of a step is arithmetic, which that limit leaves out.",
        "",
        *_decoded(found),
    ]
    if before is not None:
        lines += ["", "Before:", "", *_decoded(before)]
    for work in found.profiles:
        for title, one in zip(("", " before"), each, strict=False):
            if work in one.profiles:
                lines += ["", f"## Where the time goes: {work}{title}", "", *_profiled(one, work)]
    return "\n".join([*lines, ""])


def _decoded(found: Found) -> list[str]:
    lines = list(_DECODING)
    for step in found.decoding:
        peak = "-" if step.peak is None else f"{step.peak / 2**30:.1f}"
        lines.append(
            f"| {step.rows} | {step.seconds:.2f} | {step.first:.2f} | {step.share:.0%} "
            f"| {step.steady:.0%} | {step.answers:.1f} | {peak} |"
        )
    return lines


def _profiled(found: Found, work: str) -> list[str]:
    listed = kinds(found.profiles[work])
    whole = sum(kind.seconds for kind in listed)
    lines = ["| kernels | calls | ms | share |", "|---|--:|--:|--:|"]
    for kind in listed[:_SHOWN]:
        lines.append(
            f"| {kind.name} | {kind.calls} | {kind.seconds * 1e3:.1f} "
            f"| {kind.seconds / max(whole, 1e-12):.0%} |"
        )
    return lines
