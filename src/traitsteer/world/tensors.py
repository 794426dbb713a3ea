"""The home of safetensors: tensors on disk, with the provenance to refuse a mismatch."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

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
    if not path.is_file():
        raise TraitsteerError(f"{path} is not there; run `dvc repro` to make it.")
    try:
        with safe_open(path, framework="pt") as file:
            provenance = json.loads((file.metadata() or {}).get("provenance", "{}"))
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except (SafetensorError, OSError, ValueError) as error:
        raise TraitsteerError(
            f"{path} is no whole safetensors file ({error}); delete it and run `dvc repro` again."
        ) from error
    for key, value in expected.items():
        if provenance.get(key) != value:
            raise TraitsteerError(
                f"{path} was made with {key} {_short(provenance.get(key))}, expected "
                f"{_short(value)}; run `dvc repro` to make it again."
            )
    return TensorFile(tensors, provenance)


def _short(value: str | None) -> str:
    if value is None:
        return "unknown"
    return value if len(value) < 40 else value[:12]
