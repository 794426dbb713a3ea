"""export: a fitted vector with its card, for transformers, llama.cpp and other tools.

Reads the fit of one trait and arm and, where there is one, its evaluation; writes a folder with
`vector.safetensors`, `vector.gguf` or `vector.json` and a README.md. Vectors have norm 1 in every
format, and the coefficient stands in the card and beside the tensors; docs/exchange.md says why.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from traitsteer.experiment.results import finished_results
from traitsteer.experiment.steered_terms import calibration_of, quantisation_of, steered_terms
from traitsteer.words import layout
from traitsteer.words.config import Config
from traitsteer.words.errors import TraitsteerError
from traitsteer.words.model_config import ModelConfig
from traitsteer.words.pocket_limit import pocket_limit
from traitsteer.words.records import VectorFormat
from traitsteer.words.results import best_of_arm
from traitsteer.words.vector_card import VectorCard
from traitsteer.world import tensors
from traitsteer.world.files import write_text
from traitsteer.world.foreign.control_vectors import (
    ControlVector,
    write_plain_json,
    write_safetensors,
)
from traitsteer.world.foreign.gguf_vectors import direction_name, write_gguf
from traitsteer.world.model.model_shape import shape_of


@dataclass(frozen=True)
class Wanted:
    """What is to be exported, and how."""

    to: Path
    method: str | None = None
    """None: the arm's best by the selection questions, or its only one."""
    layer: int | None = None
    """None: the evaluated layer, or all where nothing was evaluated."""
    all_layers: bool = False
    formats: tuple[VectorFormat, ...] = ("safetensors",)
    scaled: bool = False
    """Whether GGUF holds the vector times the coefficient."""
    model_hint: str | None = None
    """GGUF's name of the architecture; None: from the steered model's configuration."""
    force: bool = False


def run(config: Config, trait: str, arm: str, wanted: Wanted) -> str:
    """Write the folder; return what is to be told.

    Raises:
        TraitsteerError: nothing was fitted, the method or layer is not there, a file would be
            overwritten, or the format cannot hold what is wanted. Nothing has been written then.
    """
    results = {found["method"]: found for found in finished_results(config, trait, arm)}
    method = wanted.method or _method(config, arm, results)
    path = layout.fitted_vectors(trait, arm, method)
    fit = tensors.read(path, {"trait": trait, "arm": arm, "method": method})
    vectors, raw_norm = fit.tensors["vectors"], fit.tensors["raw_norm"]
    record = results.get(method)
    evaluation = record if record and record["status"] == "feasible" else None
    layers = _chosen_layers(wanted, len(vectors), evaluation)
    if evaluation is not None:
        _check_steered(trait, arm, method, evaluation, vectors)
    said, gguf_layers = _checked(wanted, layers, evaluation)
    terms = steered_terms(config, trait, record)
    hint = wanted.model_hint
    if "gguf" in wanted.formats and hint is None:
        hint = _hint(terms.model, config.models.trust_remote_code, vectors)
    calibration = calibration_of(terms, len(vectors))
    files = {kind: f"vector.{kind}" for kind in wanted.formats}
    _require_free(wanted, [*files.values(), "README.md"])
    source = config.source(arm)
    _require_source(path, fit.provenance["source"], source.name)
    card = VectorCard(
        trait=trait,
        arm=arm,
        method=method,
        definition=terms.rubric,
        position=fit.provenance["position"],
        source=source,
        source_digest=fit.provenance.get("source_digest"),
        steered=terms.model,
        steered_digest=terms.digest or (calibration["digest"] if calibration else None),
        dtype=terms.dtype,
        quantisation=quantisation_of(terms),
        layers=layers,
        width=vectors.shape[1],
        tokens=terms.tokens,
        floor=terms.floor,
        judge=f"{terms.judge_kind} `{terms.judge_name}`",
        residual_norms=tuple(calibration["mean_residual_norm"]) if calibration else None,
        evaluation=evaluation,
        searched=record["protocol"] if record and not evaluation else None,
        files=tuple(files.values()),
        scaled=wanted.scaled,
        pocket=pocket_limit(
            config.pocket.folder, (source.name, terms.model.name), terms.judge_kind
        ),
    )
    facts = _facts(card, fit.provenance)
    whole = _rows(vectors, raw_norm, layers, facts)
    for kind, name in files.items():
        if kind == "safetensors":
            write_safetensors(wanted.to / name, whole)
        elif kind == "json":
            write_plain_json(wanted.to / name, whole)
        else:
            assert hint is not None
            scale = evaluation["coefficient"] if wanted.scaled and evaluation else 1.0
            scaled = {"scaled_by": str(scale)} if wanted.scaled else {}
            part = _rows(vectors, raw_norm, gguf_layers, facts | scaled)
            write_gguf(wanted.to / name, part, hint, scale)
    write_text(wanted.to / "README.md", card.text())
    told = [f"{wanted.to / name}" for name in (*files.values(), "README.md")]
    return "\n".join([*told, *said])


def _require_free(wanted: Wanted, names: Sequence[str]) -> None:
    """Refuse to overwrite a file unless that was asked for."""
    for name in names:
        if (wanted.to / name).exists() and not wanted.force:
            raise TraitsteerError(
                f"{wanted.to / name} is there; choose another folder, or say --force."
            )


def _require_source(path: Path, fitted_on: str, source: str) -> None:
    """Refuse vectors of another model than the one that params.yaml names."""
    if source != fitted_on:
        raise TraitsteerError(
            f"{path} was fitted on {fitted_on}, and the arm's source is {source}; take the "
            "params.yaml of that study."
        )


def _method(config: Config, arm: str, results: dict[str, dict[str, Any]]) -> str:
    methods = config.arm(arm).methods
    if len(methods) == 1:
        return methods[0]
    best = best_of_arm(results.values()) if len(results) == len(methods) else None
    if best is None:
        raise TraitsteerError(
            f"The arm {arm!r} has the methods {', '.join(methods)}, and no evaluation chooses one; "
            "name it with --method."
        )
    return str(best["method"])


def _chosen_layers(
    wanted: Wanted, count: int, evaluation: dict[str, Any] | None
) -> tuple[int, ...]:
    if wanted.all_layers and wanted.layer is not None:
        raise TraitsteerError("--all-layers and --layer exclude each other; give one of them.")
    if wanted.layer is not None:
        if not 0 <= wanted.layer < count:
            raise TraitsteerError(
                f"There is no layer {wanted.layer}; vectors were fitted at 0 to {count - 1}."
            )
        return (wanted.layer,)
    if evaluation is None or wanted.all_layers:
        return tuple(range(count))
    return (int(evaluation["layer"]),)


def _check_steered(
    trait: str, arm: str, method: str, evaluation: dict[str, Any], vectors: Tensor
) -> None:
    """The evaluation steered with the vector that is exported, where it kept the vector."""
    path = layout.chosen_vector(trait, arm, method)
    if not path.exists():
        return
    steered = tensors.read(path, {"trait": trait, "arm": arm, "method": method}).tensors["vector"]
    if not torch.equal(steered.float(), vectors[evaluation["layer"]].float()):
        raise TraitsteerError(
            f"{path} holds another vector than the fit of layer {evaluation['layer']}, which has "
            "changed since; run `dvc repro` to evaluate it again."
        )


def _checked(
    wanted: Wanted, layers: tuple[int, ...], evaluation: dict[str, Any] | None
) -> tuple[list[str], tuple[int, ...]]:
    """What is to be said of a GGUF file, and its layers."""
    if wanted.scaled and (
        "gguf" not in wanted.formats or evaluation is None or layers != (evaluation["layer"],)
    ):
        raise TraitsteerError(
            "--scaled multiplies the vector of a GGUF file by its coefficient; it needs --format "
            "gguf and the one layer that was evaluated."
        )
    if "gguf" not in wanted.formats:
        return [], layers
    if len(layers) > 1 and layers[0] == 0:
        return ["layer 0 is not in the GGUF file, since llama.cpp does not steer it"], layers[1:]
    for layer in layers:
        direction_name(layer)
    return [], layers


def _hint(model: ModelConfig, trust_remote_code: bool, vectors: Tensor) -> str:
    shape = shape_of(model.name, model.revision, trust_remote_code)
    if tuple(vectors.shape) != (shape.layers, shape.width):
        raise TraitsteerError(
            f"The vectors have the shape {tuple(vectors.shape)}, expected "
            f"{(shape.layers, shape.width)} for {model.name}; take the params.yaml of their study."
        )
    return shape.kind


def _facts(card: VectorCard, provenance: dict[str, str]) -> dict[str, str]:
    """What stands beside the tensors, so that a file without its card says what it is."""
    facts = {key: value for key, value in provenance.items() if key not in ("shards", "responses")}
    facts |= {"steered": card.steered.name, "position": card.position}
    if card.steered_digest:
        facts["steered_digest"] = card.steered_digest
    if card.measured and card.evaluation is not None:
        for key in ("layer", "coefficient", "strength", "protocol"):
            facts[key] = str(card.evaluation[key])
    return facts


def _rows(
    vectors: Tensor, raw_norm: Tensor, layers: tuple[int, ...], facts: dict[str, str]
) -> ControlVector:
    rows = list(layers)
    return ControlVector(layers, vectors[rows].float(), raw_norm[rows].double(), facts)
