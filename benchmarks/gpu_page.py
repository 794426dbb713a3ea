"""What the GPU command finds, and the page that shows it."""

from dataclasses import asdict, dataclass
from typing import Any


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
    profile: str = ""

    def packed(self) -> dict[str, Any]:
        """As JSON has it."""
        return asdict(self)


def page(found: Found) -> str:
    """The page in Markdown."""
    lines = [
        "# On a GPU",
        "",
        "Written by `python -m benchmarks gpu`: random bfloat16 weights in the shape of",
        f"Llama-3.1-8B, {found.device}, torch {found.torch}, transformers {found.transformers}.",
        "",
        "| | |",
        "|---|--:|",
        f"| matrices in bfloat16 | {found.flops / 1e12:.3g} TFLOP/s |",
        f"| memory | {found.bytes / 1e9:.4g} GB/s |",
        f"| reading all layers, {found.read_rows} sequences at once | {found.read_seconds:.2f} s |",
        f"| of the matrices' throughput | {found.read_share:.0%} |",
        f"| steered grid of {found.grid_rows} rows, ours | {found.grid_seconds:.2f} s |",
        f"| the same with a hook for each setting | {found.hook_seconds:.2f} s |",
        f"| ratio | {found.hook_seconds / found.grid_seconds:.1f} |",
        f"| tokens before the first that differs | {found.common:.0%} |",
        "",
        "Seconds are those of whole answers. The share of the bandwidth limit is that of their",
        "steps, captures included, and that of later steps of longer answers.",
        "",
        "| rows at once | seconds | of these the prompts | of the bandwidth limit | later "
        "| answers/s | peak GB |",
        "|--:|--:|--:|--:|--:|--:|--:|",
    ]
    for step in found.decoding:
        peak = "-" if step.peak is None else f"{step.peak / 2**30:.1f}"
        lines.append(
            f"| {step.rows} | {step.seconds:.2f} | {step.first:.2f} | {step.share:.0%} "
            f"| {step.steady:.0%} | {step.answers:.1f} | {peak} |"
        )
    if found.profile:
        lines += ["", "```", found.profile.rstrip(), "```"]
    return "\n".join([*lines, ""])
