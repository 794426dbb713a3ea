"""What may not be concluded from numbers that the embedded models or their judge took part in."""

from collections.abc import Iterable
from pathlib import Path

from traitsteer.words.findings import listed

POCKET_LIMIT = (
    "Tiny networks trained on generated text, where base and instruct share one grammar and the "
    "judge learned it too: they show that the pipeline, the controls and the selection behave as "
    "they should, and are no evidence for or against any claim about a real model."
)
"""What is said beside every number of the embedded pair under its own judge."""


def not_embedded(folder: str, models: Iterable[str]) -> list[str]:
    """The names, each once, that lie outside the folder of the embedded pair, `pocket.folder`."""
    home = Path(folder).resolve()
    return [name for name in dict.fromkeys(models) if not Path(name).resolve().is_relative_to(home)]


def pocket_limit(folder: str, models: Iterable[str], judge_kind: str) -> str | None:
    """What is said beside numbers of these models under this judge; None where neither is embedded.

    Args:
        folder: that of the embedded pair, `pocket.folder`.
        models: names of the models that were read or steered.
        judge_kind: `judge.kind`.
    """
    names = list(dict.fromkeys(models))
    others = not_embedded(folder, names)
    judged = judge_kind == "pocket"
    if judged and not others:
        return POCKET_LIMIT
    said = []
    if embedded := [name for name in names if name not in others]:
        said.append(
            f"Tiny networks trained on generated text ({listed(embedded)}): whoever judges them, "
            "they show that the pipeline, the controls and the selection behave as they should, "
            "and are no evidence for or against any claim about a real model."
        )
    if judged:
        said.append(
            "The embedded judge knows the words of one small grammar alone: its scores of what "
            f"{listed(others)} wrote measure no trait, and are no evidence for or against any "
            "claim about a model."
        )
    return " ".join(said) or None
