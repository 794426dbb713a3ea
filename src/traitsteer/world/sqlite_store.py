"""The SQLite file below a tracking store: where it lies, that it can be written, how it syncs.

Importing this file makes every SQLite database of the process that SQLAlchemy opens wait less for
the disk.
"""

import sqlite3
from contextlib import closing
from pathlib import Path

from sqlalchemy import event
from sqlalchemy.engine import Engine, make_url

from traitsteer.words.errors import TraitsteerError

SQLITE = "sqlite:///"


def prepare(uri: str) -> tuple[str, str]:
    """Make the database's folder and see that it can be written.

    Returns the address with an absolute path, since MLflow keeps stores by their address, and the
    place of the artifacts.

    Raises:
        TraitsteerError: the address names no file.
        OSError, sqlite3.Error: the folder or the database cannot be written.
    """
    name = make_url(uri).database
    if not name:
        raise TraitsteerError(
            f"The MLflow store {uri} names no file, expected sqlite:/// and a path; correct "
            "track.mlflow in params.yaml."
        )
    path = Path(name).resolve()
    path.parent.mkdir(parents=True, exist_ok=True)
    # MLflow itself would try for minutes before it gave up.
    with closing(sqlite3.connect(path, timeout=10)) as database:
        # Readers and the writer do not block each other: the interface may be open meanwhile.
        database.execute("PRAGMA journal_mode = WAL")
        database.execute("BEGIN IMMEDIATE")
        database.execute("SELECT count(*) FROM sqlite_master")
        database.rollback()
    return f"{SQLITE}{path}", (path.parent / "artifacts").as_uri()


@event.listens_for(Engine, "connect")
def _sync_less(connection: object, _record: object) -> None:
    """Wait for the disk at checkpoints only; with write-ahead logging nothing is torn by that.

    MLflow commits five times a run, and each wait takes as long as the rest of the run.
    """
    if isinstance(connection, sqlite3.Connection):
        connection.execute("PRAGMA synchronous = NORMAL")
