"""The terms that an exported vector was steered under, or would be."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from traitsteer.words import layout
from traitsteer.words.config import Config
from traitsteer.words.errors import TraitsteerError
from traitsteer.words.model_config import ModelConfig
from traitsteer.world.files import read_json
from traitsteer.world.judge.identity import judge_name
from traitsteer.world.trait_folder import read_definition


@dataclass(frozen=True)
class SteeredTerms:
    """What a vector's card says of the protocol."""

    model: ModelConfig
    digest: str | None
    """SHA-256 of the steered model; None where nothing was evaluated."""
    dtype: str
    tokens: str
    """Which tokens are steered: all, prompt or response."""
    floor: float
    judge_kind: str
    judge_name: str
    rubric: str | None


def steered_terms(config: Config, trait: str, evaluation: dict[str, Any] | None) -> SteeredTerms:
    """The terms that stand beside the evaluation; without one, those of params.yaml.

    Raises:
        TraitsteerError: the evaluation was made under other terms than those beside it, they are
            missing, or the judge has no name.
    """
    if evaluation is None:
        definition = Path(config.study.trait_folder) / trait / "definition.txt"
        return SteeredTerms(
            model=config.models.instruct,
            digest=None,
            dtype=config.models.dtype,
            tokens=config.answers.steered,
            floor=config.study.coherence_floor,
            judge_kind=config.judge.kind,
            judge_name=judge_name(config),
            rubric=read_definition(definition) if definition.exists() else None,
        )
    path = layout.evaluation_terms(trait, evaluation["arm"])
    found = read_json(path)
    if found["sha256"] != evaluation["protocol"]:
        raise TraitsteerError(
            f"The evaluation was made under the protocol {evaluation['protocol'][:12]}, and {path} "
            f"holds {found['sha256'][:12]}; run `dvc repro` to evaluate again."
        )
    terms = found["terms"]
    model = dict(terms["steered_model"])
    digest = str(model.pop("digest"))
    return SteeredTerms(
        model=ModelConfig(**model),
        digest=digest,
        dtype=terms["dtype"],
        tokens=terms["answers"]["steered"],
        floor=terms["coherence_floor"],
        judge_kind=terms["judge"]["kind"],
        judge_name=terms["judge"]["name"],
        rubric=terms["rubric"],
    )


def quantisation_of(terms: SteeredTerms) -> str | None:
    """int8 or int4 if the steered model, as it was looked up last, is loaded so."""
    if not layout.identity("instruct").exists():
        return None
    found = read_json(layout.identity("instruct"))
    known = terms.digest in (None, found["digest"]) and found["quantisation"] != "none"
    return str(found["quantisation"]) if known else None


def calibration_of(terms: SteeredTerms, layers: int) -> dict[str, Any] | None:
    """The mean residual norms, where they were measured on the steered model."""
    if not layout.CALIBRATION.exists():
        return None
    found: dict[str, Any] = read_json(layout.CALIBRATION)
    fits = len(found["mean_residual_norm"]) == layers and found["model"] == terms.model.name
    return found if fits and terms.digest in (None, found["digest"]) else None
