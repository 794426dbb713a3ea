"""The frozen terms of a study: computed from what is there, and held against what was written."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from traitsteer.experiment.identity import digest_of
from traitsteer.experiment.results import read_results
from traitsteer.words import layout
from traitsteer.words.config import Config
from traitsteer.words.errors import TraitsteerError
from traitsteer.words.protocol import (
    FrozenTerms,
    extraction_terms,
    protocol_terms,
    refuse_difference,
)
from traitsteer.words.records import Trait
from traitsteer.world.files import digest
from traitsteer.world.judge.identity import judge_terms
from traitsteer.world.terms_file import read_terms
from traitsteer.world.trait_folder import read_lines, trait_of


def extraction_of(config: Config, trait: Trait) -> FrozenTerms:
    """The terms under which responses of this trait are elicited and vetted."""
    models = {"base": config.models.base, "instruct": config.models.instruct}
    digests = {name: digest_of(config, which) for name, which in models.items()}
    return extraction_terms(config, trait, judge_terms(config, trait.name), digests)


def protocol_of(config: Config, trait: Trait) -> FrozenTerms:
    """The terms under which vectors of this trait are scored; no model is loaded for them."""
    return protocol_terms(
        config,
        trait,
        judge_terms(config, trait.name),
        digest_of(config, config.models.instruct),
        [line.text for line in read_lines(Path(config.calibrate.questions))],
    )


def frozen_extraction(config: Config, trait: Trait) -> str:
    """SHA-256 of the written extraction terms.

    Raises:
        TraitsteerError: they were not written, or are not those of params.yaml.
    """
    return _frozen(layout.extraction_protocol(trait.name), extraction_of(config, trait))


def frozen_protocol(config: Config, trait: Trait) -> str:
    """SHA-256 of the written protocol; raises TraitsteerError as `frozen_extraction` does."""
    return _frozen(layout.protocol(trait.name), protocol_of(config, trait))


def refuse_other_terms(config: Config) -> None:
    """Refuse to go on under other terms than those that the traits of the study were scored under.

    Raises:
        TraitsteerError: as `frozen_extraction`, for any of them, or one was evaluated under others.
    """
    for name in config.study.traits:
        terms = frozen_protocol(config, trait_of(config, name))
        for arm in config.study.arms:
            for result in read_results(config, name, arm):
                refuse_other_protocol("evaluation", result, terms)


def refuse_other_protocol(what: str, found: Mapping[str, Any], terms: str) -> None:
    """Refuse the search or evaluation of a method that was made under other terms than these.

    Raises:
        TraitsteerError: it was.
    """
    if found["protocol"] != terms:
        raise TraitsteerError(
            f"The {what} of {found['trait']} {found['arm']} {found['method']} was made under "
            f"protocol {found['protocol'][:12]}, expected {terms[:12]}; run `dvc repro` to make it "
            "again."
        )


def _frozen(path: Path, now: FrozenTerms) -> str:
    refuse_difference(read_terms(path), now, (str(path), "params.yaml"))
    return digest(now)
