"""What a model is before its weights are read: its files, its commit, its shapes, its tokenizer."""

import re
from functools import lru_cache
from pathlib import Path
from typing import Any

import torch
from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer
from transformers.utils.hub import cached_file

from traitsteer.words.errors import TraitsteerError
from traitsteer.words.records import Quantisation
from traitsteer.world.files import digest, digest_of_files
from traitsteer.world.prompts import Prompts, Variables

_IN_DIGEST = (".safetensors", ".json", ".jinja", ".model", ".txt", ".py")
"""Files of a model's folder: weights, configuration, tokenizer, template, code if it has any."""


def skeleton(name: str, revision: str | None, trust_remote_code: bool, dtype: str) -> Any:  # noqa: ANN401
    """The model without its weights, on the meta device: shapes, dtypes and blocks alone.

    Raises:
        TraitsteerError: there is no such model, it may not be read, or it is no causal decoder.
    """
    config = find(name, revision, trust_remote_code)
    try:
        with torch.device("meta"):
            return AutoModelForCausalLM.from_config(
                config, dtype=getattr(torch, dtype), trust_remote_code=trust_remote_code
            )
    except (ImportError, OSError, ValueError) as error:
        raise cannot_load(name, error) from error


def find(name: str, revision: str | None, trust_remote_code: bool) -> Any:  # noqa: ANN401
    """Read the configuration of a model, which costs little and shows that it is there.

    Raises:
        TraitsteerError: there is no such model, or it may not be read.
    """
    try:
        return AutoConfig.from_pretrained(
            name, revision=revision, trust_remote_code=trust_remote_code
        )
    except (ImportError, OSError, ValueError) as error:
        raise cannot_load(name, error) from error


def open_prompts(
    name: str, revision: str | None, trust_remote_code: bool, chat: bool, variables: Variables
) -> Prompts:
    """What turns prompts into token ids, without the model.

    Raises:
        TraitsteerError: there is no such tokenizer, or it may not be read.
    """
    return Prompts(name, open_tokenizer(name, revision, trust_remote_code), chat, variables)


def digest_of(
    name: str,
    revision: str | None,
    trust_remote_code: bool,
    quantisation: Quantisation = "none",
    blocks: str | None = None,
) -> str:
    """The digest that `load` would give this model, without loading its weights.

    Raises:
        TraitsteerError: there is no such model, or it may not be read.
    """
    find(name, revision, trust_remote_code)
    folder = Path(name)
    if folder.is_dir():
        files = sorted(path for path in folder.iterdir() if path.suffix in _IN_DIGEST)
        found = [(path, path.stat()) for path in files]
        made_of = _digest_of(tuple((path, s.st_size, s.st_mtime_ns) for path, s in found))
    else:
        made_of = digest([name, pinned(name, revision)])
    altered = quantisation != "none" or blocks is not None
    return digest([made_of, quantisation, blocks]) if altered else made_of


@lru_cache(maxsize=8)
def _digest_of(files: tuple[tuple[Path, int, int], ...]) -> str:
    """Of files of this size and time: to read the weights takes a minute, and is done once."""
    return digest_of_files(path for path, _, _ in files)


def pinned(name: str, revision: str | None) -> str | None:
    """The commit that a revision of a hub model stands for now; of a folder what was asked for.

    All files are then read from this commit, and a branch that moves gives another digest.

    Raises:
        TraitsteerError: there is no such model, or it may not be read.
    """
    if Path(name).is_dir():
        return revision
    try:
        found = cached_file(name, "config.json", revision=revision)
    except (ImportError, OSError, ValueError) as error:
        raise cannot_load(name, error) from error
    commit = re.search(r"snapshots[/\\]([0-9a-f]{40})[/\\]", str(found))
    if commit is None:
        raise TraitsteerError(
            f"The commit of the model {name!r} cannot be told from {found}; download it into a "
            "folder and name that."
        )
    return commit[1]


def open_tokenizer(name: str, revision: str | None, trust_remote_code: bool) -> Any:  # noqa: ANN401
    """The tokenizer of a model.

    Raises:
        TraitsteerError: there is none, or it may not be read.
    """
    try:
        return AutoTokenizer.from_pretrained(
            name, revision=revision, trust_remote_code=trust_remote_code
        )
    except (ImportError, OSError, ValueError) as error:
        raise cannot_load(name, error) from error


def cannot_load(name: str, error: Exception) -> TraitsteerError:
    """The sentence for a model that `transformers` refuses."""
    said = " ".join(str(error).split())[:160].rstrip(". ")
    remedy = "name a hub id that this machine may download or a folder written by save_pretrained"
    if isinstance(error, ImportError):
        # Weights quantised on disk, remote code and some tokenizers need libraries of their own.
        remedy = "install what it asks for, or choose another model"
    return TraitsteerError(f"The model {name!r} cannot be loaded ({said}); {remedy}.")
