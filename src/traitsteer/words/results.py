"""What may be said of a set of results: which of an arm's methods stands for it, and its limit."""

from collections.abc import Iterable, Mapping
from typing import Any

POCKET_LIMIT = (
    "Tiny networks trained on generated text, where base and instruct share one grammar and the "
    "judge learned it too: they show that the pipeline, the controls and the selection behave as "
    "they should, and are no evidence for or against any claim about a real model."
)
"""What is said beside every number of the pocket judge."""

NULL_KINDS = ("random", "shuffled", "orthogonal", "negated")
"""Families of null vectors, by the names of their settings."""

BELOW_BASELINE = 5
"""Points of coherence that an arm may cost where arms are compared near the unsteered model."""

AT_FLOOR, AT_BASELINE = "at_floor", f"at_baseline_minus_{BELOW_BASELINE}"
EQUAL_COHERENCE = (AT_FLOOR, AT_BASELINE)
"""Fields of an evaluation: the delta read off its frontier at one coherence."""


def tried(search: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The trials of a search without those of a setting that was proposed, not answered, again."""
    return [trial for trial in search["trials"] if "repeats" not in trial]


def best_of_arm(results: Iterable[dict[str, Any]]) -> dict[str, Any] | None:
    """The feasible result with the largest delta on the selection questions.

    The report questions take no part in the choice, so that they stay unbiased. None when no
    method of the arm found a feasible setting.
    """
    feasible = [result for result in results if result["status"] == "feasible"]
    return max(feasible, key=lambda result: result["selection_delta"], default=None)
