"""fit: one vector for each method and layer, and how reliable it is before anything is steered.

Reads the activations of one trait and arm; writes models/vectors/<trait>/<arm>/.
"""

import functools
from dataclasses import dataclass

from torch import Tensor

from traitsteer.maths.direction import Direction, held_out, split_half_cosine
from traitsteer.maths.folds import fold_numbers
from traitsteer.maths.methods import raw_vectors
from traitsteer.maths.positions import Position
from traitsteer.words import layout
from traitsteer.words.config import Config
from traitsteer.words.records import Method
from traitsteer.words.seeds import seed_for
from traitsteer.world import tensors
from traitsteer.world.devices import usable_device
from traitsteer.world.files import write_json
from traitsteer.world.progress import progress


@dataclass(frozen=True)
class Data:
    """Activations [n, layers, d] with polarity [n] and pair [n]."""

    activations: Tensor
    positive: Tensor
    pairs: Tensor


def run(config: Config, trait: str, arm: str) -> None:
    """Fit every method of the arm.

    Raises:
        TraitsteerError: the activations are corrupt or incomplete, or were cached for another trait
            or arm.
    """
    expected = {
        "trait": trait,
        "arm": arm,
        "text": config.text(arm),
        "source": config.source(arm).name,
        "position": str(Position.parse(config.arm(arm).position)),
    }
    found = tensors.read_shards(layout.activations(trait, arm), expected)
    device = usable_device(config.models.device)
    data = Data(
        found.tensors["activations"].to(device),
        found.tensors["positive"].bool().to(device),
        found.tensors["pair"].to(device),
    )
    seed = seed_for(config.seed, "fit", trait, arm) % 2**31
    methods = config.arm(arm).methods
    with progress(f"fit {trait} {arm}", len(methods), "method") as advance:
        for method in methods:
            _fit(config, data, method, seed, trait, arm, found.provenance)
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
    fitted = functools.partial(
        raw_vectors,
        method=method,
        penalties=config.fit.penalties,
        folds=config.fit.folds,
        seed=seed,
    )
    raw, probe = fitted(data.activations, data.positive, data.pairs)
    direction = Direction.from_raw(raw)
    parts = (lambda *rows: fitted(*rows)[0], data.activations, data.positive, data.pairs)
    fold_of = fold_numbers(data.positive, data.pairs, config.fit.folds, seed)
    held = held_out(*parts, fold_of)
    measures = {
        "held_out_accuracy": held.accuracy,
        "held_out_auroc": held.auroc,
        "split_half_cosine": split_half_cosine(*parts, seed=seed, splits=config.fit.halves),
    }
    folder = layout.vectors(trait, arm)
    tensors.write(
        folder / f"{method}.safetensors",
        {"vectors": direction.vectors.cpu(), "raw_norm": direction.raw_norm.float().cpu()},
        {**provenance, "method": method},
    )
    write_json(
        folder / f"{method}.json",
        {
            "trait": trait,
            "arm": arm,
            "method": method,
            "n": len(data.positive),
            "pairs": len(data.pairs.unique()),
            "raw_norm": _rounded(direction.raw_norm),
            **{name: _rounded(values) for name, values in measures.items()},
            "penalty": None if probe is None else probe.penalties.tolist(),
            "held_out_log_loss": probe and [_rounded(each) for each in probe.held_out_log_loss],
        },
    )


def _rounded(values: Tensor) -> list[float]:
    return [round(value, 6) for value in values.tolist()]
