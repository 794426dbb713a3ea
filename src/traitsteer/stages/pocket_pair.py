"""pocket-pair: train the embedded base and instruct models, and hold them against their gates."""

from __future__ import annotations

from traitsteer.words.pocket_config import PocketConfig


def run(config: PocketConfig) -> None:
    """Write base/, instruct/ and gates.json under the pocket folder.

    Raises:
        TraitsteerError: a gate fails; the former pair stays as it is.
    """
    from traitsteer.pocket.pair import make_pair

    figures = make_pair(config)
    for name, value in figures.items():
        print(f"{name:36} {value:g}")
