"""What may be said of a set of results: which of an arm's methods stands for it, and where arms
are compared.
"""

from collections.abc import Iterable, Mapping
from typing import Any

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
