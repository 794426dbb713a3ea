"""The home of MLflow: records of runs into a store that people browse and compare.

A run with a key that the store already holds is not written again; one that was interrupted is
deleted and written anew. One that another process is writing is left alone, and written here too:
that process may yet be killed. Whole runs go over in few calls: one batch of metrics, parameters
and tags a run, and one transfer of all its files.
"""

import json
import logging
import os
import shutil
import socket
import sqlite3
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

# Read when mlflow is imported.
os.environ["MLFLOW_DISABLE_TELEMETRY"] = "true"
os.environ.setdefault("MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT", "true")
os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "2")

from mlflow import MlflowClient
from mlflow.data.meta_dataset import MetaDataset
from mlflow.data.sources import LocalArtifactDatasetSource  # type: ignore[attr-defined]
from mlflow.entities import Dataset, DatasetInput, InputTag, Metric, Param
from mlflow.entities import Run as StoredRun
from mlflow.exceptions import MlflowException
from mlflow.tracking.context.registry import resolve_tags
from sqlalchemy.exc import SQLAlchemyError

from traitsteer.words.errors import TraitsteerError
from traitsteer.words.runs import Run, Series, Source
from traitsteer.world import sqlite_store

KEY = "traitsteer.key"
PROCESS = "traitsteer.process"
"""Host and number of the process that writes a run."""
DAY = 24 * 60 * 60 * 1000
"""Milliseconds; a run is written in minutes."""
# The interface opens the experiment as training runs rather than as conversations.
EXPERIMENT = {"mlflow.experimentKind": "custom_model_development"}


class TrackingStore:
    """One experiment of an MLflow store."""

    def __init__(self, uri: str, experiment: str) -> None:
        """Open the store and make the experiment if there is none.

        A SQLite store keeps its artifacts in a folder beside the database.

        Raises:
            TraitsteerError: the store cannot be reached or written.
        """
        _quiet()
        artifacts = None
        if uri.startswith(sqlite_store.SQLITE):
            with _refused(uri):
                uri, artifacts = sqlite_store.prepare(uri)
        self._uri = uri
        # Children carry the time at which logging began and their parents a later one: people see
        # the newest first, and hundreds of trials would hide the runs that they belong to.
        self._began = _milliseconds()
        with _refused(uri):
            self._client = MlflowClient(tracking_uri=uri)
            found = self._client.get_experiment_by_name(experiment)
            if found is not None and found.lifecycle_stage == "deleted":
                raise TraitsteerError(
                    f"The MLflow experiment {experiment!r} in {uri} was deleted; restore it, or "
                    "name another one in track.experiment."
                )
            if found is None:
                self._experiment = str(
                    self._client.create_experiment(experiment, artifacts, tags=EXPERIMENT)
                )
            else:
                self._experiment = str(found.experiment_id)
                _same_place(found.artifact_location, artifacts, experiment)
            # Git commit, user and program: the client alone does not add them.
            self._context = dict(resolve_tags())

    def holds(self, key: str) -> bool:
        """Whether a finished run with this key is in the store; interrupted ones are deleted."""
        with _refused(self._uri):
            runs = self._client.search_runs(
                [self._experiment], f"tags.`{KEY}` = '{key}'", max_results=100
            )
            for run in runs:
                if run.info.status != "FINISHED" and not _under_way(run):
                    self._delete(run.info.run_id)
            return any(run.info.status == "FINISHED" for run in runs)

    def log(self, run: Run, key: str, advance: Callable[[int], None]) -> None:
        """Write a run and its children; `advance` is told of every run that is written.

        The parent is marked finished last, so that an interrupted one is known as such.
        """
        with _refused(self._uri):
            process = f"{socket.gethostname()}:{os.getpid()}"
            parent = self._write(run, {KEY: key, PROCESS: process}, _milliseconds())
            try:
                advance(1)
                for child in run.children:
                    tags = {"mlflow.parentRunId": parent}
                    self._finish(self._write(child, tags, self._began))
                    advance(1)
            except BaseException:
                self._client.set_terminated(parent, "FAILED")
                raise
            self._finish(parent)

    def _write(self, run: Run, extra: Mapping[str, str], start: int) -> str:
        tags = {**self._context, **run.tags, **extra}
        if run.note:
            tags["mlflow.note.content"] = run.note
        if run.tables:
            # What `MlflowClient.log_table` leaves behind, for the table view of the interface.
            tags["mlflow.loggedArtifacts"] = json.dumps(
                [{"path": path, "type": "table"} for path in run.tables]
            )
        made = self._client.create_run(self._experiment, start, tags, run.name)
        run_id = str(made.info.run_id)
        metrics = [Metric(name, value, start, step) for name, value, step in _points(run.metrics)]
        params = [Param(name, str(value)) for name, value in run.params.items()]
        self._client.log_batch(run_id, metrics, params, synchronous=True)
        if run.sources:
            self._client.log_inputs(run_id, [_input(source) for source in run.sources])
        if run.files or run.tables:
            with tempfile.TemporaryDirectory() as folder:
                _lay_out(Path(folder), run)
                self._client.log_artifacts(run_id, folder)
        return run_id

    def _finish(self, run_id: str) -> None:
        self._client.set_terminated(run_id, "FINISHED")

    def _delete(self, run_id: str) -> None:
        children = self._client.search_runs(
            [self._experiment], f"tags.`mlflow.parentRunId` = '{run_id}'", max_results=10_000
        )
        for child in children:
            self._client.delete_run(child.info.run_id)
        self._client.delete_run(run_id)


def _under_way(run: StoredRun) -> bool:
    """Whether another process may be writing a run; one on another host is given a day.

    Who marks a run as failed has given it up.
    """
    if run.info.status != "RUNNING" or run.info.start_time < _milliseconds() - DAY:
        return False
    host, _, number = run.data.tags.get(PROCESS, "").rpartition(":")
    if host != socket.gethostname():
        return True
    # This process writes nothing yet: its number was that of another, as in a new container.
    return int(number) != os.getpid() and _lives(int(number))


def _lives(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        # Of another user.
        return True
    return True


def _milliseconds() -> int:
    return int(time.time() * 1000)


def _points(
    metrics: Mapping[str, float | Series | None],
) -> Iterator[tuple[str, float, int]]:
    """Name, value and step of every number that is there."""
    for name, found in metrics.items():
        values = found.values if isinstance(found, Series) else [found]
        for step, value in enumerate(values):
            if value is not None:
                yield name, float(value), step


def _input(source: Source) -> DatasetInput:
    # `profile` is declared abstract above MetaDataset and yet not needed by it.
    data = MetaDataset(  # type: ignore[abstract]
        LocalArtifactDatasetSource(str(source.path)), name=source.name, digest=source.digest
    )
    fields = data.to_dict()
    return DatasetInput(
        Dataset(
            name=fields["name"],
            digest=fields["digest"],
            source_type=fields["source_type"],
            source=fields["source"],
            schema=fields.get("schema"),
        ),
        tags=[InputTag("mlflow.data.context", "fit")],
    )


def _lay_out(folder: Path, run: Run) -> None:
    """Copy files and write tables as they will lie among the run's artifacts.

    Raises:
        TraitsteerError: a file cannot be copied, which is no fault of the store.
    """
    for name, path in run.files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        try:
            # copyfile leaves the read-only mode of linked outputs behind.
            shutil.copyfile(path, folder / name)
        except OSError as error:
            raise TraitsteerError(
                f"{path} cannot be copied into the MLflow run {run.name!r} ({error.strerror}); run "
                "`dvc repro` to make it, and see that there is room for temporary files."
            ) from error
    for name, table in run.tables.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        text = json.dumps(
            {"columns": table.columns, "data": table.rows}, ensure_ascii=False, allow_nan=False
        )
        (folder / name).write_text(text, encoding="utf-8")


def _same_place(found: str, expected: str | None, experiment: str) -> None:
    """A store that was moved would still write its files to where it came from."""
    if expected is not None and found.startswith("file:") and found != expected:
        raise TraitsteerError(
            f"The MLflow experiment {experiment!r} keeps its files in {found}, expected "
            f"{expected}; move the store back, or name a new one in track.experiment."
        )


@contextmanager
def _refused(uri: str) -> Iterator[None]:
    """Turn what the store says into one sentence."""
    try:
        yield
    except (MlflowException, SQLAlchemyError, sqlite3.Error, OSError) as error:
        lines = str(error).strip().splitlines() or [type(error).__name__]
        raise TraitsteerError(
            f"The MLflow store {uri} cannot be used ({lines[0][:200].rstrip('.')}); start its "
            "server, or correct track.mlflow in params.yaml."
        ) from error


def _quiet() -> None:
    """Creating a store tells of every migration; only its warnings are of use to people."""
    for name in ("alembic", "mlflow.store.db.utils"):
        logging.getLogger(name).setLevel(logging.WARNING)
