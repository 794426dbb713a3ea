"""Tensors of a study on disk, as safetensors with the provenance to refuse a mismatch."""

import json
import os
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from errno import EEXIST, ENOTEMPTY
from itertools import count
from pathlib import Path
from tempfile import TemporaryDirectory
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
    """Put the shards of one whole into a folder of their own, in place of what it held.

    The folder is filled under another name and renamed, so that it is there whole or as it was,
    whoever else places the same. The shards are linked and stay where they were finished, which
    takes no room: a stage that runs again reads none anew. Where no link can be made they are
    copied, and leave once the folder stands, so that none is kept twice.

    Raises:
        TraitsteerError: a shard is gone, as where links cannot be made and another process placed
            it.
    """
    folder.parent.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory(dir=folder.parent, prefix=f".{folder.name}.") as name:
        whole = Path(name, "whole")
        whole.mkdir()
        copied = [
            path
            for number, path in enumerate(finished)
            if not _linked(path, whole / f"{number:05d}.safetensors")
        ]
        for turn in count():
            with suppress(FileNotFoundError):
                folder.rename(Path(name, f"before-{turn}"))
            try:
                whole.rename(folder)
                break
            except OSError as error:
                # Another process has placed its own between the two.
                if error.errno not in (ENOTEMPTY, EEXIST):
                    raise
    for path in copied:
        path.unlink(missing_ok=True)


def _linked(path: Path, target: Path) -> bool:
    """Give a file a second name; False where it had to be copied."""
    try:
        os.link(path, target)
    except FileNotFoundError as error:
        raise TraitsteerError(
            f"{path} is gone, though it was finished before; if another process ran the same "
            "stage, it has placed it: run the stage again."
        ) from error
    except OSError:
        # Some file systems have no links, and none reaches into another.
        shutil.copyfile(path, target)
        return False
    return True


def is_whole(path: Path) -> bool:
    """Whether this file is there and was not cut short."""
    try:
        with _opened(path):
            return True
    except TraitsteerError:
        return False


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
    """What a file says that it was made from; nothing where that has another form than ours."""
    try:
        found = json.loads((file.metadata() or {}).get("provenance", "{}"))
    except (ValueError, RecursionError):
        return {}
    ours = isinstance(found, dict) and all(isinstance(value, str) for value in found.values())
    return found if ours else {}


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
