"""import-vector: a vector of another tool or study, as unit vectors with their layers.

Reads safetensors, JSON or GGUF; writes a safetensors file with `vectors` [n, width] of norm 1,
`layers` [n], `raw_norm` [n] and what the file said of itself. docs/exchange.md tells the forms.
"""

import hashlib
from dataclasses import replace
from pathlib import Path

from traitsteer.words.errors import TraitsteerError
from traitsteer.world.foreign.control_vectors import (
    ControlVector,
    read_plain_json,
    read_safetensors,
    write_safetensors,
)
from traitsteer.world.foreign.gguf_vectors import read_gguf
from traitsteer.world.model.model_shape import ModelShape, shape_of

PICKLES = (".pt", ".pth", ".bin", ".pkl")


def run(
    path: Path, to: Path, model: str | None = None, layer: int | None = None, force: bool = False
) -> str:
    """Read one file and write it as ours; return what is to be told.

    Args:
        model: hub id or folder of the model that the vectors must fit; None: unchecked.
        layer: where a single vector belongs, when the file does not say.

    Raises:
        TraitsteerError: the file cannot be read, is of other layers or does not fit the model, or
            another would be overwritten.
    """
    shape = shape_of(model, None, False) if model else None
    vector = _read(path, layer, shape)
    if layer is not None and vector.layers != (layer,):
        raise TraitsteerError(
            f"{path} says by itself that its vectors are of layers "
            f"{', '.join(map(str, vector.layers))}, and --layer is {layer}; leave it out."
        )
    if model and shape:
        _check(path, vector, model, shape)
    if to.suffix != ".safetensors":
        raise TraitsteerError(f"{to} does not end in .safetensors, expected such a file.")
    if to.exists() and not force:
        raise TraitsteerError(f"{to} is there; choose another name, or say --force.")
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    facts = vector.facts | {"imported_from": path.name, "imported_sha256": digest}
    write_safetensors(to, replace(vector, facts=facts))
    lines = [f"{to}: {len(vector.layers)} layers of width {vector.vectors.shape[1]}"]
    lines += [
        f"layer {at}: length {length:.6g}"
        for at, length in zip(vector.layers, vector.raw_norm.tolist(), strict=True)
    ]
    lines += [f"{key}: {fact}" for key, fact in sorted(vector.facts.items())]
    if model is None:
        lines.append("not checked against a model; name one with --model")
    return "\n".join([*lines, "The licence of the source applies to what was imported."])


def _read(path: Path, layer: int | None, shape: ModelShape | None) -> ControlVector:
    if path.suffix == ".gguf":
        return read_gguf(path)
    if path.suffix == ".json":
        return read_plain_json(path)
    if path.suffix == ".safetensors":
        return read_safetensors(path, layer, shape.layers if shape else None)
    if path.suffix in PICKLES:
        raise TraitsteerError(
            f"{path} is a pickle, which can run code when it is opened and is never read here; "
            "convert it as docs/exchange.md shows."
        )
    raise TraitsteerError(f"{path} is no .safetensors, .gguf or .json file; expected one of them.")


def _check(path: Path, vector: ControlVector, model: str, shape: ModelShape) -> None:
    width, last = vector.vectors.shape[1], vector.layers[-1]
    if width != shape.width or last >= shape.layers:
        raise TraitsteerError(
            f"{path} holds vectors of width {width} for layers up to {last}, and {model} has width "
            f"{shape.width} and layers 0 to {shape.layers - 1}; name the model that they are for."
        )
