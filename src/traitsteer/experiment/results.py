"""The evaluations that a study left behind, by trait, arm and method."""

from collections.abc import Iterable
from typing import Any

from traitsteer.words import layout
from traitsteer.words.config import Config
from traitsteer.words.errors import TraitsteerError
from traitsteer.world.files import read_json

Result = dict[str, Any]


def read_result(trait: str, arm: str, method: str) -> Result:
    """The evaluation of one method; raises TraitsteerError where there is none."""
    found: Result = read_json(layout.evaluation_record(trait, arm, method))
    return found


def read_results(config: Config, trait: str, arm: str) -> list[Result]:
    """The evaluations of all of the arm's methods, in their order.

    Raises:
        TraitsteerError: one is missing or cannot be read.
    """
    return [read_result(trait, arm, method) for method in config.arm(arm).methods]


def finished_results(config: Config, trait: str, arm: str) -> list[Result]:
    """As `read_results`, but of an unfinished study: those that are there."""
    return [
        read_result(trait, arm, method)
        for method in config.arm(arm).methods
        if layout.evaluation_record(trait, arm, method).exists()
    ]


def one_protocol(trait: str, results: Iterable[Result]) -> str:
    """SHA-256 of the protocol of all results of a trait.

    Raises:
        TraitsteerError: they come from several.
    """
    first, *others = {str(found["protocol"]) for found in results}
    if others:
        raise TraitsteerError(
            f"The results of {trait} come from {1 + len(others)} protocols, expected one; run "
            "`dvc repro` so that all of them are made under the same terms."
        )
    return first
