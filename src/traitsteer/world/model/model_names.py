"""What the name of a model stands for now: the files of a folder or a commit of the hub.

Nothing here loads a model, and a folder is known without `transformers`, whose import takes seconds
that stages without a model need not wait for.
"""

import re
from functools import lru_cache
from pathlib import Path

from traitsteer.words import layout
from traitsteer.words.errors import TraitsteerError
from traitsteer.words.records import Quantisation
from traitsteer.world.files import digest, digest_of_files, read_json, write_json
from traitsteer.world.repository import in_repository

_IN_DIGEST = (".safetensors", ".json", ".jinja", ".model", ".txt", ".py")
"""Files of a model's folder: weights, configuration, tokenizer, template, code if it has any."""
_SLOW = 2**30
"""Bytes of a folder from which on its digest is kept: a gigabyte takes a second to read."""

_File = tuple[str, int, int]
"""Path, bytes and time of change in ns."""


def digest_of(
    name: str,
    revision: str | None,
    quantisation: Quantisation = "none",
    blocks: str | None = None,
) -> str:
    """The digest that `load` would give this model, without loading its weights.

    Raises:
        TraitsteerError: there is no such model, or it may not be read.
    """
    folder = Path(name)
    if folder.is_dir():
        if not (folder / "config.json").is_file():
            raise cannot_load(name, FileNotFoundError("the folder holds no config.json"))
        files = sorted(path for path in folder.resolve().iterdir() if path.suffix in _IN_DIGEST)
        found = [(path, path.stat()) for path in files]
        made_of = _digest_of(tuple((str(path), s.st_size, s.st_mtime_ns) for path, s in found))
    else:
        made_of = digest([name, pinned(name, revision)])
    altered = quantisation != "none" or blocks is not None
    return digest([made_of, quantisation, blocks]) if altered else made_of


@lru_cache(maxsize=8)
def _digest_of(files: tuple[_File, ...]) -> str:
    """Of files of this size and time; that of large ones is read once and kept on disk."""
    paths = [Path(path) for path, _, _ in files]
    if sum(size for _, size, _ in files) < _SLOW:
        return digest_of_files(paths)
    kept = in_repository(layout.CACHE) / "digests" / f"{digest(files)}.json"
    if not kept.exists():
        write_json(kept, digest_of_files(paths))
    return str(read_json(kept))


def pinned(name: str, revision: str | None) -> str | None:
    """The commit that a revision of a hub model stands for now; of a folder what was asked for.

    All files are then read from this commit, and a branch that moves gives another digest.

    Raises:
        TraitsteerError: there is no such model, or it may not be read.
    """
    if Path(name).is_dir():
        return revision
    from transformers.utils.hub import cached_file

    try:
        found = cached_file(name, "config.json", revision=revision)
    except unreached(ImportError, ValueError) as error:
        raise cannot_load(name, error) from error
    commit = re.search(r"snapshots[/\\]([0-9a-f]{40})[/\\]", str(found))
    if commit is None:
        raise TraitsteerError(
            f"The commit of the model {name!r} cannot be told from {found}; download it into a "
            "folder and name that."
        )
    return commit[1]


def unreached(*further: type[Exception]) -> tuple[type[Exception], ...]:
    """What asking a hub may end in, and further errors: OSError, and what the HTTP library of
    `huggingface_hub` raises, which is httpx or httpx2 by its version.
    """
    from huggingface_hub.errors import HfHubHTTPError

    return (*(each for each in HfHubHTTPError.__bases__ if issubclass(each, Exception)), *further)


def cannot_load(name: str, error: Exception) -> TraitsteerError:
    """The sentence for a model that `transformers` refuses."""
    said = " ".join(str(error).split())[:160].rstrip(". ")
    remedy = "name a hub id that this machine may download or a folder written by save_pretrained"
    if isinstance(error, ImportError):
        # Weights quantised on disk, remote code and some tokenizers need libraries of their own.
        remedy = "install what it asks for, or choose another model"
    return TraitsteerError(f"The model {name!r} cannot be loaded ({said}); {remedy}.")
