"""The home of MLflow: records of runs into a store that people browse and compare.

A run with a key that the store already holds is not written again; one that was interrupted is
deleted and written anew. Whole runs go over in few calls: one batch of metrics, parameters and
tags a run, and one transfer of all its files.
"""

import json
import logging
import os
import shutil
import sqlite3
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

# Read when mlflow is imported.
os.environ["MLFLOW_DISABLE_TELEMETRY"] = "true"
os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "2")

from mlflow import MlflowClient
from mlflow.data.meta_dataset import MetaDataset
from mlflow.data.uri_dataset_source import UriDatasetSource  # type: ignore[attr-defined]
from mlflow.entities import DatasetInput, InputTag, Metric, Param, RunTag
from mlflow.exceptions import MlflowException
from mlflow.tracking.context.registry import resolve_tags
from sqlalchemy.engine import make_url
from sqlalchemy.exc import SQLAlchemyError

from traitsteer.words.errors import TraitsteerError

KEY = "traitsteer.key"
SQLITE = "sqlite:///"
# Most that one call of the store takes.
METRICS_AT_ONCE, ENTRIES_AT_ONCE = 1000, 100


@dataclass(frozen=True)
class Table:
    """Rows of JSON values under named columns; a missing value is None."""

    columns: tuple[str, ...]
    rows: list[list[Any]]


@dataclass(frozen=True)
class Series:
    """One metric over steps; None marks a step that has no value."""

    values: Sequence[float | None]


@dataclass(frozen=True)
class Source:
    """A data file that a run was made from, with the hash that DVC knows it by."""

    name: str
    path: Path
    digest: str


@dataclass(frozen=True)
class Run:
    """Everything that is said of one run. Metrics that are None are left out."""

    name: str
    params: Mapping[str, object] = field(default_factory=dict)
    metrics: Mapping[str, float | None | Series] = field(default_factory=dict)
    tags: Mapping[str, str] = field(default_factory=dict)
    note: str = ""
    """Markdown that the run's page opens with."""
    files: Mapping[str, Path] = field(default_factory=dict)
    """Path among the run's artifacts, and the file that is copied there."""
    tables: Mapping[str, Table] = field(default_factory=dict)
    sources: Sequence[Source] = ()
    children: Sequence["Run"] = ()


class TrackingStore:
    """One experiment of an MLflow store."""

    def __init__(self, uri: str, experiment: str) -> None:
        """Open the store and make the experiment if there is none.

        A SQLite store keeps its artifacts in a folder beside the database.

        Raises:
            TraitsteerError: the store cannot be reached or written.
        """
        _quiet()
        self._uri = uri
        artifacts = _prepare_sqlite(uri) if uri.startswith(SQLITE) else None
        with _refused(uri):
            self._client = MlflowClient(tracking_uri=uri)
            found = self._client.get_experiment_by_name(experiment)
            if found is not None and found.lifecycle_stage == "deleted":
                raise TraitsteerError(
                    f"The MLflow experiment {experiment!r} in {uri} was deleted; restore it, or "
                    "name another one in track.experiment."
                )
            if found is None:
                self._experiment = str(self._client.create_experiment(experiment, artifacts))
            else:
                self._experiment = str(found.experiment_id)
                _same_place(found.artifact_location, artifacts, experiment)
            # Git commit, user and program: the client alone does not add them.
            self._context = dict(resolve_tags())

    def holds(self, key: str) -> bool:
        """Whether a finished run with this key is in the store; unfinished ones are deleted."""
        with _refused(self._uri):
            runs = self._client.search_runs(
                [self._experiment], f"tags.`{KEY}` = '{key}'", max_results=100
            )
            for run in runs:
                if run.info.status != "FINISHED":
                    self._delete(run.info.run_id)
            return any(run.info.status == "FINISHED" for run in runs)

    def log(self, run: Run, key: str, advance: Callable[[int], None]) -> None:
        """Write a run and its children; `advance` is told of every run that is written.

        The parent is marked finished last, so that an interrupted one is known as such.
        """
        with _refused(self._uri):
            parent = self._write(run, {KEY: key})
            try:
                advance(1)
                for child in run.children:
                    self._finish(self._write(child, {"mlflow.parentRunId": parent}))
                    advance(1)
            except BaseException:
                self._client.set_terminated(parent, "FAILED")
                raise
            self._finish(parent)

    def _write(self, run: Run, extra: Mapping[str, str]) -> str:
        tags = {**self._context, **run.tags, **extra}
        if run.note:
            tags["mlflow.note.content"] = run.note
        if run.tables:
            # What `MlflowClient.log_table` leaves behind, for the table view of the interface.
            tags["mlflow.loggedArtifacts"] = json.dumps(
                [{"path": path, "type": "table"} for path in run.tables]
            )
        made = self._client.create_run(self._experiment, tags=tags, run_name=run.name)
        run_id = str(made.info.run_id)
        now = int(time.time() * 1000)
        metrics = [Metric(name, value, now, step) for name, value, step in _points(run.metrics)]
        params = [Param(name, str(value)) for name, value in run.params.items()]
        first = True
        while metrics or params or first:
            self._client.log_batch(
                run_id, metrics[:METRICS_AT_ONCE], params[:ENTRIES_AT_ONCE], synchronous=True
            )
            metrics, params = metrics[METRICS_AT_ONCE:], params[ENTRIES_AT_ONCE:]
            first = False
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
