"""Plain files: written to a temporary name and renamed, read with errors that name the line."""

import hashlib
import json
import os
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from traitsteer.words.errors import TraitsteerError


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Yield a temporary name beside `path`; rename it to `path` when the block succeeds."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    os.close(handle)
    temporary = Path(name)
    try:
        yield temporary
        # mkstemp makes files that only their owner reads.
        temporary.chmod(0o644)
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def write_text(path: Path, text: str) -> None:
    """Write UTF-8 text atomically."""
    with replacing(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def write_json(path: Path, value: object) -> None:
    """Write JSON atomically; NaN is refused, since no reader agrees on it."""
    write_text(path, json.dumps(value, indent=1, ensure_ascii=False, allow_nan=False) + "\n")


def write_jsonl(path: Path, rows: Iterable[dict[str, Any]]) -> None:
    """Write one JSON object a line, atomically."""
    lines = [json.dumps(row, ensure_ascii=False, allow_nan=False) + "\n" for row in rows]
    write_text(path, "".join(lines))


def read_text(path: Path) -> str:
    """Read UTF-8 text.

    Raises:
        TraitsteerError: the file is not there or is no UTF-8.
    """
    try:
        return path.read_text(encoding="utf-8")
    except FileNotFoundError as error:
        raise TraitsteerError(
            f"{path} is not there; run `dvc repro` to make it, or check the path."
        ) from error
    except UnicodeDecodeError as error:
        raise TraitsteerError(f"{path} is no UTF-8 text ({error.reason}); save it as UTF-8.") from (
            error
        )


def read_json(path: Path) -> Any:  # noqa: ANN401 - JSON holds any value
    """Read one JSON value.

    Raises:
        TraitsteerError: the file is missing or truncated.
    """
    try:
        return json.loads(read_text(path))
    except json.JSONDecodeError as error:
        raise TraitsteerError(
            f"{path}:{error.lineno} is no JSON ({error.msg}); delete it and run `dvc repro` again."
        ) from error


def read_jsonl(path: Path) -> list[dict[str, Any]]:
    """Read one JSON object a line.

    Raises:
        TraitsteerError: the file is missing, or a line is no JSON object.
    """
    rows = []
    # Not splitlines: generated text may hold separators that JSON leaves as they are.
    for number, line in enumerate(read_text(path).removesuffix("\n").split("\n"), start=1):
        if not line:
            continue
        try:
            row = json.loads(line)
        except json.JSONDecodeError as error:
            raise TraitsteerError(
                f"{path}:{number} is no JSON ({error.msg}); the file is truncated: delete it and "
                "run `dvc repro` again."
            ) from error
        if not isinstance(row, dict):
            raise TraitsteerError(f"{path}:{number} is {type(row).__name__}, expected an object.")
        rows.append(row)
    return rows


def digest(value: object) -> str:
    """SHA-256 of a JSON value in canonical form."""
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()


def digest_of_files(paths: Iterable[Path]) -> str:
    """SHA-256 over the names and contents of files, in the order of their names."""
    whole = hashlib.sha256()
    for path in sorted(paths):
        whole.update(path.name.encode() + b"\0")
        with path.open("rb") as file:
            whole.update(hashlib.file_digest(file, "sha256").digest())
    return whole.hexdigest()
