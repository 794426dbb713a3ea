"""Control vectors as they travel: one for each of some layers, in safetensors or JSON.

Layers are ours, 0-based block outputs, vectors have norm 1, and the length that each had in its
file stands beside it. GGUF, which llama.cpp reads, is `gguf_vectors`.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import torch
from torch import Tensor

from traitsteer.words.errors import TraitsteerError
from traitsteer.words.shapes import Float
from traitsteer.world import tensors
from traitsteer.world.files import write_text
from traitsteer.world.json_lines import parse, read_foreign_text

UNIT = 1e-6
"""A length that is this near to 1 is 1: the numbers of the file stay what they are."""


@dataclass(frozen=True, eq=False)
class ControlVector:
    """Unit vectors of some layers, and what is known of them."""

    layers: tuple[int, ...]
    vectors: Float[Tensor, "n width"]
    """float32, norm 1."""
    raw_norm: Float[Tensor, " n"]
    """The length that each had before (float64)."""
    facts: dict[str, str] = field(default_factory=dict)

    @staticmethod
    def from_raw(
        path: Path, layers: Sequence[int], raw: Float[Tensor, "n width"], facts: dict[str, str]
    ) -> "ControlVector":
        """Normalise what a file holds, and put it in the order of the layers.

        Raises:
            TraitsteerError: a layer is no number from 0 on or stands twice, or its vector has no
                length.
        """
        whole = all(type(layer) is int and layer >= 0 for layer in layers)
        if not (whole and 0 < len(set(layers)) == len(layers) == len(raw)):
            raise TraitsteerError(
                f"{path} gives {len(raw)} vectors for the layers {list(layers)}; expected one for "
                "each of several different layers from 0 on."
            )
        order = sorted(range(len(layers)), key=lambda row: layers[row])
        rows, ordered = raw[order].double(), tuple(layers[row] for row in order)
        norm = rows.norm(dim=1)
        for layer, length in zip(ordered, norm.tolist(), strict=True):
            if not 0 < length < float("inf"):
                raise TraitsteerError(
                    f"{path} holds a vector of length {length} for layer {layer}; expected a "
                    "direction, so leave that layer out of the file or mend it."
                )
        unit = (norm - 1).abs() < UNIT
        vectors = torch.where(unit[:, None], rows, rows / norm[:, None]).float()
        return ControlVector(ordered, vectors, torch.where(unit, 1.0, norm), facts)


def write_safetensors(path: Path, vector: ControlVector) -> None:
    """Write `vectors` [n, width] float32, `layers` [n] int64 and `raw_norm` [n] float32."""
    held = {
        "vectors": vector.vectors.float(),
        "layers": torch.tensor(vector.layers),
        "raw_norm": vector.raw_norm.float(),
    }
    tensors.write(path, held, vector.facts)


def write_plain_json(path: Path, vector: ControlVector) -> None:
    """Write the same as JSON: `facts`, `layers`, `raw_norm`, and a list of numbers a vector."""
    value = {
        "facts": vector.facts,
        "layers": list(vector.layers),
        "raw_norm": vector.raw_norm.tolist(),
        "vectors": vector.vectors.float().tolist(),
    }
    # On one line: a number a line would be a hundred thousand lines.
    write_text(path, json.dumps(value, ensure_ascii=False, allow_nan=False) + "\n")


def read_plain_json(path: Path) -> ControlVector:
    """Read what `write_plain_json` wrote.

    Raises:
        TraitsteerError: the file is missing or is no such JSON.
    """
    found = parse(path, read_foreign_text(path))
    found.require("layers", "vectors")
    value = found.value
    try:
        layers = list(value["layers"])
        raw = torch.tensor(value["vectors"], dtype=torch.float32)
        given = torch.tensor(value.get("raw_norm", [1.0] * len(layers)), dtype=torch.float64)
        facts = {str(key): str(fact) for key, fact in value.get("facts", {}).items()}
    except (TypeError, ValueError, AttributeError) as error:
        raise TraitsteerError(
            f"{path} is no control vector ({error}); expected layers, a list of whole numbers, and "
            "vectors, a list of numbers for each of them."
        ) from error
    return _with_norm(path, layers, raw, given, facts)


def read_safetensors(path: Path, layer: int | None, blocks: int | None) -> ControlVector:
    """Read vectors of ours, or one foreign tensor `[width]`, `[layers, width]` or one row more.

    Args:
        layer: where a single vector belongs, when the file does not say.
        blocks: how many blocks the model has, which tells apart a row for each block from a row
            for each hidden state, whose first is the embeddings (a row then belongs to the block
            before it). Without it only files of ours may hold a matrix without `layers`.

    Raises:
        TraitsteerError: the file cannot be read, or does not say which layers its vectors are of.
    """
    if not path.is_file():
        raise TraitsteerError(f"{path} is not there; check the path.")
    try:
        found = tensors.read(path, {})
    except TraitsteerError as error:
        raise TraitsteerError(f"{path} is no whole safetensors file; get it again.") from error
    facts = found.provenance
    raw_norm = found.tensors.get("raw_norm")
    held = {n: t for n, t in found.tensors.items() if n not in ("layers", "raw_norm")}
    name, tensor = next(iter(held.items()), ("", torch.empty(0)))
    if len(held) != 1 or tensor.dim() not in (1, 2) or not tensor.is_floating_point():
        shapes = ", ".join(f"{n} {tuple(t.shape)}" for n, t in found.tensors.items())
        raise TraitsteerError(
            f"{path} holds {shapes or 'nothing'}; expected one tensor of numbers, [width] or "
            "[layers, width]."
        )
    if layer is not None and tensor.dim() == 2 and len(tensor) == 1 and len(found.tensors) == 1:
        tensor = tensor[0]
    if tensor.dim() == 1:
        said = int(facts["layer"]) if facts.get("layer", "").isdecimal() else layer
        if said is None or layer not in (None, said):
            what = "does not say its layer" if said is None else f"says that its layer is {said}"
            raise TraitsteerError(f"{path} {what}; give that layer with --layer.")
        return ControlVector.from_raw(path, [said], tensor[None].float(), facts)
    if "layers" in found.tensors:
        layers = found.tensors["layers"].flatten().tolist()
    elif blocks is not None and len(tensor) == blocks + 1:
        # Row 0 is the embeddings, which no block puts out.
        tensor, layers = tensor[1:], list(range(blocks))
        raw_norm = None if raw_norm is None else raw_norm.flatten()[1:]
    elif "method" in facts or len(tensor) == blocks:
        layers = list(range(len(tensor)))
    else:
        raise TraitsteerError(
            f"{path} holds {name} {tuple(tensor.shape)} and does not say which layers its rows are "
            "of; name a model with as many blocks, or one fewer, with --model."
        )
    if raw_norm is None:
        return ControlVector.from_raw(path, layers, tensor.float(), facts)
    return _with_norm(path, layers, tensor.float(), raw_norm.double(), facts)


def _with_norm(
    path: Path, layers: Sequence[int], raw: Tensor, raw_norm: Tensor, facts: dict[str, str]
) -> ControlVector:
    """Vectors of norm 1 whose former length the file tells."""
    if raw.dim() != 2 or raw_norm.shape != raw.shape[:1]:
        raise TraitsteerError(
            f"{path} holds vectors of shape {tuple(raw.shape)} and {raw_norm.numel()} lengths; "
            "expected one length for each vector."
        )
    made = ControlVector.from_raw(path, layers, raw, facts)
    order = sorted(range(len(layers)), key=lambda row: layers[row])
    for layer, length in zip(made.layers, raw_norm[order].tolist(), strict=True):
        if not 0 < length < float("inf"):
            raise TraitsteerError(
                f"{path} says that the vector of layer {layer} had the length {length}; expected a "
                "positive number, so mend it or leave raw_norm out."
            )
    return ControlVector(made.layers, made.vectors, raw_norm[order] * made.raw_norm, facts)
