"""What a model is before its weights are read: its configuration, its shapes, its tokenizer."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from huggingface_hub.errors import StrictDataclassError
from transformers import (
    MODEL_FOR_CAUSAL_LM_MAPPING,
    AutoConfig,
    AutoModelForCausalLM,
    AutoTokenizer,
    GenerationConfig,
)
from transformers.utils import GENERATION_CONFIG_NAME
from transformers.utils.hub import cached_file

from traitsteer.world.model.hub_files import known_to_lack, may_ask, on_hub
from traitsteer.world.model.model_names import cannot_load, pinned, unreached
from traitsteer.world.model.prompts import Prompts, Variables

_REFUSED = unreached(
    ImportError,
    ValueError,
    TypeError,
    LookupError,
    AttributeError,
    ArithmeticError,
    StrictDataclassError,
)
"""What `transformers` ends with where a file of a model is missing or holds what cannot be."""


@contextmanager
def one_sentence(name: str, *further: type[Exception]) -> Iterator[None]:
    """What `transformers` refuses within, with one of further errors where these are named, becomes
    a TraitsteerError that names the model.
    """
    try:
        yield
    except (*_REFUSED, *further) as error:
        raise cannot_load(name, error) from error


def skeleton(name: str, revision: str | None, trust_remote_code: bool, dtype: str) -> Any:  # noqa: ANN401
    """The model without its weights, on the meta device: shapes, dtypes and blocks alone.

    Raises:
        TraitsteerError: there is no such model, it may not be read, or it is no causal decoder.
    """
    config = read_configuration(name, revision, trust_remote_code)
    code = _revision_of_code(config, name, revision) if trust_remote_code else {}
    # RuntimeError: of code beside the model that computes with weights which are not there.
    with one_sentence(name, RuntimeError), torch.device("meta"):
        return AutoModelForCausalLM.from_config(
            config, dtype=getattr(torch, dtype), trust_remote_code=trust_remote_code, **code
        )


def _revision_of_code(config: Any, name: str, revision: str | None) -> dict[str, str]:  # noqa: ANN401
    """What `from_config` must be told where the model's class lies beside it on the hub: else it
    takes that of the main branch, whatever revision the configuration was read from.

    Raises:
        TraitsteerError: there is no such model, or it may not be read.
    """
    entry = (getattr(config, "auto_map", None) or {}).get(AutoModelForCausalLM.__name__)
    if entry is None or Path(name).is_dir():
        return {}
    repository, _, _ = entry.rpartition("--")
    known = MODEL_FOR_CAUSAL_LM_MAPPING.get(type(config), None)
    if repository not in ("", name) or (known and not _native(known)):
        # Code of another repository has revisions of its own; a class that this process has loaded
        # is taken as it is, and its constructor knows no revision.
        return {}
    commit = pinned(name, revision)
    return {} if commit is None else {"code_revision": commit}


def _native(known: Any) -> bool:  # noqa: ANN401 - a class, or several of one configuration
    first = known[0] if isinstance(known, tuple) else known
    return bool(first.__module__.startswith("transformers."))


def read_configuration(name: str, revision: str | None, trust_remote_code: bool) -> Any:  # noqa: ANN401
    """Read the configuration of a model, which costs little and shows that it is there.

    Raises:
        TraitsteerError: there is no such model, or it may not be read.
    """
    with one_sentence(name):
        return AutoConfig.from_pretrained(
            name, revision=revision, trust_remote_code=trust_remote_code
        )


def require_generation(name: str, revision: str | None) -> None:
    """Refuse a generation_config.json that cannot be read.

    `transformers` goes on without one, and so without the ids that end an answer.

    Raises:
        TraitsteerError: there is one, and it cannot be read, or the hub cannot be asked for it.
    """
    file = GENERATION_CONFIG_NAME
    with one_sentence(name):
        found = cached_file(
            name,
            file,
            revision=revision,
            _raise_exceptions_for_missing_entries=False,
            _raise_exceptions_for_connection_errors=False,
        )
        if found is not None:
            GenerationConfig.from_pretrained(Path(found).parent)
        elif (
            may_ask(name)
            and not known_to_lack(name, file, revision)
            and on_hub(name, file, revision)
        ):
            raise OSError(f"{file} could not be fetched")


def open_prompts(
    name: str, revision: str | None, trust_remote_code: bool, chat: bool, variables: Variables
) -> Prompts:
    """What turns prompts into token ids, without the model.

    Raises:
        TraitsteerError: there is no such tokenizer, or it may not be read.
    """
    return Prompts(name, open_tokenizer(name, revision, trust_remote_code), chat, variables)


def open_tokenizer(name: str, revision: str | None, trust_remote_code: bool) -> Any:  # noqa: ANN401
    """The tokenizer of a model.

    Raises:
        TraitsteerError: there is none, or it may not be read.
    """
    with one_sentence(name):
        return AutoTokenizer.from_pretrained(
            name, revision=revision, trust_remote_code=trust_remote_code
        )
