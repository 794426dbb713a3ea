"""An MLflow store that several processes write to."""

import os
import shutil
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest
from mlflow import MlflowClient

from traitsteer.world.tracking import KEY, PROCESS, TrackingStore

WRITER = """
import sys
from traitsteer.words.runs import Run
from traitsteer.world.tracking import TrackingStore

def advance(done):
    print("written", flush=True)
    sys.stdin.readline()

TrackingStore(sys.argv[1], "e").log(Run("evil", children=[Run("trial")]), sys.argv[2], advance)
"""
HOST = socket.gethostname()


@pytest.fixture
def uri(tmp_path: Path, empty_store: Path) -> str:
    """A store without runs."""
    shutil.copyfile(empty_store, tmp_path / "mlflow.db")
    return f"sqlite:///{tmp_path}/mlflow.db"


def statuses(uri: str, experiment: str, key: str) -> list[str]:
    found = MlflowClient(uri).search_runs([experiment], f"tags.`{KEY}` = '{key}'")
    return [run.info.status for run in found]


def writing(uri: str, key: str, repository: Path) -> "subprocess.Popen[str]":
    """A process that has begun to log a run, and goes on when its input ends."""
    process = subprocess.Popen(
        [sys.executable, "-c", WRITER, uri, key],
        env=os.environ | {"PYTHONPATH": str(repository / "src")},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None and process.stdout.readline() == "written\n"
    return process


def test_what_a_living_process_writes_is_left_and_what_a_killed_one_left_is_deleted(
    uri: str, repository: Path
) -> None:
    store = TrackingStore(uri, "e")
    experiment = store._experiment
    killed = writing(uri, "killed", repository)
    killed.kill()
    killed.communicate()
    living = writing(uri, "living", repository)
    try:
        assert not store.holds("living")
        assert statuses(uri, experiment, "living") == ["RUNNING"]
        assert statuses(uri, experiment, "killed") == ["RUNNING"]
        assert not store.holds("killed")
        assert statuses(uri, experiment, "killed") == []
    finally:
        living.communicate()
    assert living.returncode == 0
    assert store.holds("living")
    assert statuses(uri, experiment, "living") == ["FINISHED"]
    assert len(MlflowClient(uri).search_runs([experiment])) == 2, "the run and its child"


@pytest.mark.parametrize(
    ("process", "hours", "failed", "left"),
    [
        ("another-host:1", 1, False, True),
        ("another-host:1", 25, False, False),
        ("another-host:1", 1, True, False),
        (None, 1, False, True),
        (None, 25, False, False),
        (f"{HOST}:{os.getppid()}", 1, False, True),
        (f"{HOST}:{os.getppid()}", 25, False, False),
        (f"{HOST}:{os.getpid()}", 1, False, False),
    ],
    # Each worker of a parallel run has a number of its own.
    ids=range(8),
)
def test_an_unfinished_run_is_deleted_when_nobody_can_be_writing_it(
    uri: str, process: str | None, hours: int, failed: bool, left: bool
) -> None:
    store, client = TrackingStore(uri, "e"), MlflowClient(uri)
    tags = {KEY: "k"} if process is None else {KEY: "k", PROCESS: process}
    begun = int((time.time() - hours * 3600) * 1000)
    run = client.create_run(store._experiment, begun, tags)
    if failed:
        client.set_terminated(run.info.run_id, "FAILED")
    assert not store.holds("k")
    assert bool(statuses(uri, store._experiment, "k")) == left
