"""Tensors of a study on disk, as safetensors with the provenance to refuse a mismatch."""

import json
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, empty

from traitsteer.words.errors import TraitsteerError
from traitsteer.world.files import replacing


@dataclass(frozen=True)
class TensorFile:
    """Named tensors and the text that says what they were made from."""

    tensors: dict[str, Tensor]
    provenance: dict[str, str]


def write(path: Path, tensors: Mapping[str, Tensor], provenance: Mapping[str, str]) -> None:
    """Write a safetensors file atomically."""
    with replacing(path) as temporary:
        # One entry: safetensors writes several in an order that differs from run to run.
        entry = {"provenance": json.dumps(dict(provenance), sort_keys=True)}
        save_file({k: t.contiguous() for k, t in tensors.items()}, temporary, entry)


def read(path: Path, expected: Mapping[str, str]) -> TensorFile:
    """Read a safetensors file made from what `expected` says.

    Args:
        expected: provenance entries that must agree, such as the digest of a model.

    Raises:
        TraitsteerError: the file is missing, corrupt, or was made from something else.
    """
    with _opened(path) as file:
        provenance = _provenance(file)
        tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    _check(path, provenance, expected)
    return TensorFile(tensors, provenance)


def place_shards(finished: Sequence[Path], folder: Path) -> None:
    """Move the shards of one whole into a folder of their own, in place of what it held."""
    if folder.exists():
        shutil.rmtree(folder)
    folder.mkdir(parents=True)
    for number, path in enumerate(finished):
        shutil.move(path, folder / f"{number:05d}.safetensors")


def read_shards(folder: Path, expected: Mapping[str, str]) -> TensorFile:
    """Read a folder of shards as one, joined along the first axis of each tensor.

    All shards name the same provenance, with their number as `shard` and the number of all as
    `shards`. Never more than one shard is held beside the whole.

    Raises:
        TraitsteerError: a shard is missing, corrupt, or was made from something else.
    """
    paths = sorted(folder.glob("*.safetensors"))
    if not paths:
        raise TraitsteerError(f"{folder} holds no activations; run `dvc repro` to make them.")
    whole = {**expected, "shards": str(len(paths))}
    sizes: dict[str, list[int]] = {}
    kinds: dict[str, Tensor] = {}
    for number, path in enumerate(paths):
        with _opened(path) as file:
            provenance = _provenance(file)
            _check(path, provenance, {**whole, "shard": str(number)})
            for name in file.keys():  # noqa: SIM118
                part = file.get_slice(name)
                sizes.setdefault(name, []).append(part.get_shape()[0])
                kinds.setdefault(name, part[:0])
        # Every later shard must have been made from what the first was made from.
        whole = {key: value for key, value in provenance.items() if key != "shard"}
    tensors = {
        name: empty(sum(sizes[name]), *kind.shape[1:], dtype=kind.dtype)
        for name, kind in kinds.items()
    }
    for number, path in enumerate(paths):
        with _opened(path) as file:
            for name, tensor in tensors.items():
                start = sum(sizes[name][:number])
                tensor[start : start + sizes[name][number]] = file.get_tensor(name)
    return TensorFile(tensors, whole)


@contextmanager
def _opened(path: Path) -> Iterator[Any]:
    if not path.is_file():
        raise TraitsteerError(f"{path} is not there; run `dvc repro` to make it.")
    try:
        with safe_open(path, framework="pt") as file:
            yield file
    except (SafetensorError, OSError, ValueError) as error:
        raise TraitsteerError(
            f"{path} is no whole safetensors file ({error}); delete it and run `dvc repro` again."
        ) from error


def _provenance(file: Any) -> dict[str, str]:  # noqa: ANN401 - safetensors has no types
    return json.loads((file.metadata() or {}).get("provenance", "{}"))  # type: ignore[no-any-return]


def _check(path: Path, provenance: Mapping[str, str], expected: Mapping[str, str]) -> None:
    for key, value in expected.items():
        if provenance.get(key) != value:
            raise TraitsteerError(
                f"{path} was made with {key} {_short(provenance.get(key))}, expected "
                f"{_short(value)}; run `dvc repro` to make it again."
            )


def _short(value: str | None) -> str:
    if value is None:
        return "unknown"
    return value if len(value) < 40 else value[:12]
