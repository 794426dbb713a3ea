"""Where the ledger, the MLflow store, the Optuna journal and finished work lie: what outlives an
experiment.

A queued experiment runs in a copy of the repository, which is removed when it ends; DVC_ROOT then
names the repository that it was queued from.
"""

import os
from pathlib import Path

_SQLITE = "sqlite:///"


def in_repository(path: Path) -> Path:
    """The path itself, or in a queued experiment that of the repository it was queued from."""
    return Path(os.environ.get("DVC_ROOT", "."), path)


def store_in_repository(uri: str) -> str:
    """The address of a store, whose relative SQLite path is taken as `in_repository` takes it."""
    if not uri.startswith(_SQLITE):
        return uri
    return f"{_SQLITE}{in_repository(Path(uri.removeprefix(_SQLITE)))}"
