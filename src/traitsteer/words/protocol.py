"""The protocol: everything that a trait's numbers depend on other than the vector."""

import hashlib
import json
from typing import Any

from traitsteer.words.config import Config
from traitsteer.words.records import Trait


def protocol(config: Config, trait: Trait, judge_digest: str, model_digest: str) -> dict[str, Any]:
    """Return the frozen terms under which vectors of one trait are scored, as JSON values."""
    return {
        "trait": trait.name,
        "rubric": trait.definition,
        "selection": list(trait.selection),
        "report": list(trait.report),
        "coherence_floor": config.study.coherence_floor,
        "judge": {"kind": config.judge.kind, "name": config.judge.name, "digest": judge_digest},
        "missing_at_most": config.judge.missing_at_most,
        "steered_model": config.models.instruct.model_dump(mode="json") | {"digest": model_digest},
        "dtype": config.models.dtype,
        "answers": config.answers.model_dump(mode="json"),
        "search": config.search.model_dump(mode="json"),
        "evaluate": config.evaluate.model_dump(mode="json"),
        "seed": config.seed,
    }


def protocol_hash(terms: object) -> str:
    """SHA-256 of a protocol in canonical JSON."""
    text = json.dumps(terms, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()
