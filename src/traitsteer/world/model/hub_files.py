"""Single files of a hub model: where they lie on this machine, and whether the hub has them."""

from pathlib import Path

from huggingface_hub import (
    _CACHED_NO_EXIST,
    constants,
    get_hf_file_metadata,
    hf_hub_url,
    is_offline_mode,
    try_to_load_from_cache,
)
from huggingface_hub.errors import (
    EntryNotFoundError,
    HfHubHTTPError,
    RepositoryNotFoundError,
    RevisionNotFoundError,
)
from transformers.utils.hub import cached_file

from traitsteer.words.errors import TraitsteerError
from traitsteer.world.model.model_names import unreached


def on_this_machine(name: str, file: str, revision: str | None) -> Path | None:
    """Where a file of the model lies on this machine, if it does."""
    found = cached_file(
        name,
        file,
        revision=revision,
        local_files_only=True,
        _raise_exceptions_for_missing_entries=False,
        _raise_exceptions_for_connection_errors=False,
    )
    return None if found is None else Path(found)


def may_ask(name: str) -> bool:
    """Whether the model is one of the hub, and the hub may be asked."""
    return not (Path(name).is_dir() or is_offline_mode())


def known_to_lack(name: str, file: str, revision: str | None) -> bool:
    """Whether the hub said before that the model has no such file."""
    return try_to_load_from_cache(name, file, revision=revision) is _CACHED_NO_EXIST


def on_hub(name: str, file: str, revision: str | None) -> bool:
    """Whether the hub has a file of the model.

    `has_file` of `transformers` says that it has not where the hub could not be asked, too.

    Raises:
        TraitsteerError: the hub cannot be asked.
        HfHubHTTPError: it has no such model or revision, or does not show it.
    """
    try:
        get_hf_file_metadata(hf_hub_url(name, file, revision=revision))
    except EntryNotFoundError:
        return False
    except (RepositoryNotFoundError, RevisionNotFoundError):
        raise
    except unreached() as error:
        if isinstance(error, HfHubHTTPError) and error.response.status_code == 404:
            # Not every mirror says which of its parts an address lacks.
            return False
        said = " ".join(str(error).split())[:160].rstrip(". ")
        raise TraitsteerError(
            f"{constants.ENDPOINT} cannot be asked whether it has {file} of {name} ({said}); try "
            "again once it answers, or download the model into a folder and name that."
        ) from error
    return True
