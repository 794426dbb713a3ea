"""fit: one vector for each method and layer, and how reliable it is before anything is steered.

Reads the activations of one trait and arm; writes models/vectors/<trait>/<arm>/.
"""

import functools
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from traitsteer.experiment.fitting import fit_seed, provenance_of
from traitsteer.maths.direction import (
    Direction,
    held_out,
    largest_share,
    seed_cosine,
    split_half_cosine,
)
from traitsteer.maths.folds import fold_numbers
from traitsteer.maths.methods import raw_vectors
from traitsteer.words import layout
from traitsteer.words.config import Config, FitConfig
from traitsteer.words.errors import TraitsteerError
from traitsteer.words.records import LEFT_OUT, Method
from traitsteer.world import tensors
from traitsteer.world.files import write_json
from traitsteer.world.model.devices import usable_device
from traitsteer.world.model.inference import told_by_the_host
from traitsteer.world.progress import progress, say

if TYPE_CHECKING:
    from traitsteer.maths.probe import ProbeFit


@dataclass(frozen=True)
class Data:
    """The responses of one trait and arm, read and labelled."""

    activations: Tensor
    """[n, layers, width], float32."""
    positive: Tensor
    """[n], bool."""
    pairs: Tensor
    """[n], int64; so are groups (pairs that share a prompt) and samples."""
    groups: Tensor
    samples: Tensor


@dataclass(frozen=True)
class Fitted:
    """What one method made of them."""

    direction: Direction
    probe: "ProbeFit | None"
    measures: dict[str, Tensor | None]
    """How reliable the vectors are, by name [layers]; None where the rows cannot tell."""


def run(config: Config, trait: str, arm: str) -> None:
    """Fit every method of the arm.

    Raises:
        TraitsteerError: the activations are corrupt, incomplete or not finite, were cached for
            another trait or arm, or do not fit into the memory of the GPU with what is fitted.
    """
    folder = layout.activations(trait, arm)
    found = tensors.read_shards(folder, provenance_of(config, trait, arm))
    for layer, values in enumerate(found.tensors["activations"].unbind(dim=1)):
        if not bool(values.isfinite().all()):
            raise TraitsteerError(
                f"{folder} holds activations at layer {layer} that are not finite; set "
                "models.dtype to bfloat16 or float32 and run "
                f"`traitsteer cache {trait} {arm}` again."
            )
    device = usable_device(config.models.device)
    try:
        with told_by_the_host():
            _fit_all(config, _on(device, found), trait, arm, found.provenance)
    except torch.OutOfMemoryError as error:
        activations = found.tensors["activations"]
        n, layers, width = activations.shape
        other = "" if device.type == "cpu" else ", or set models.device to cpu"
        raise TraitsteerError(
            f"fit {trait} {arm}: the activations of {n} responses at {layers} layers of width "
            f"{width} ({activations.nbytes / 1e9:.1f} GB) and what is fitted to them do not fit "
            f"into the memory of {device}; end what else uses it{other}."
        ) from error


def _on(device: torch.device, found: tensors.TensorFile) -> Data:
    return Data(
        found.tensors["activations"].to(device),
        found.tensors["positive"].bool().to(device),
        found.tensors["pair"].to(device),
        found.tensors["group"].to(device),
        found.tensors["sample"].to(device),
    )


def _fit_all(config: Config, data: Data, trait: str, arm: str, provenance: dict[str, str]) -> None:
    seed = fit_seed(config, trait, arm)
    methods = config.arm(arm).methods
    with progress(f"fit {trait} {arm}", len(methods), "method") as advance:
        for method in methods:
            _fit(config, data, method, seed, trait, arm, provenance)
            advance(1)


def _fit(
    config: Config,
    data: Data,
    method: Method,
    seed: int,
    trait: str,
    arm: str,
    provenance: dict[str, str],
) -> None:
    """Fit one method; write its vectors and how reliable they are."""
    found = _fitted(config.fit, data, method, seed)
    direction, probe = found.direction, found.probe
    tensors.write(
        layout.fitted_vectors(trait, arm, method),
        {"vectors": direction.vectors.cpu(), "raw_norm": direction.raw_norm.float().cpu()},
        {**provenance, "method": method},
    )
    share = largest_share(direction.vectors)
    massive = (share >= config.fit.massive_share).nonzero().flatten().tolist()
    write_json(
        layout.fit_measures(trait, arm, method),
        {
            "trait": trait,
            "arm": arm,
            "method": method,
            "n": len(data.positive),
            "pairs": len(data.pairs.unique()),
            **{name: int(provenance.get(name, 0)) for name in LEFT_OUT},
            "raw_norm": _rounded(direction.raw_norm),
            **{
                name: None if values is None else _rounded(values)
                for name, values in found.measures.items()
            },
            "largest_share": _rounded(share),
            "massive": massive,
            "penalty": None if probe is None else probe.penalties.tolist(),
            "held_out_log_loss": probe and [_rounded(each) for each in probe.held_out_log_loss],
        },
    )
    if massive:
        least = f"{100 * config.fit.massive_share:.0f} %"
        say(
            f"fit {trait} {arm} {method}: 3 dimensions carry {least} or more of the squared norm "
            f"at layers {', '.join(map(str, massive))}; such vectors may tell of position "
            "or punctuation rather than of the trait."
        )


def _fitted(fit: FitConfig, data: Data, method: Method, seed: int) -> Fitted:
    """Vectors fitted to all rows, and measures of those fitted to some and held against others."""
    by = functools.partial(
        raw_vectors, method=method, penalties=fit.penalties, folds=fit.folds, seed=seed
    )
    raw, probe = by(data.activations, data.positive, data.groups)
    parts = (lambda *rows: by(*rows)[0], data.activations, data.positive, data.groups)
    fold_of = fold_numbers(data.positive, data.groups, fit.folds, seed)
    held = held_out(*parts, fold_of, data.pairs)
    measures = {
        "held_out_accuracy": held.accuracy,
        "held_out_auroc": held.auroc,
        "split_half_cosine": split_half_cosine(*parts, seed=seed, splits=fit.halves),
        "pair_agreement": held.pair_agreement,
        "seed_cosine": seed_cosine(*parts, samples=data.samples, least=fit.folds),
    }
    return Fitted(Direction.from_raw(raw), probe, measures)


def _rounded(values: Tensor) -> list[float]:
    return [round(value, 6) for value in values.tolist()]
