"""What the track stage leaves in an MLflow store, and that it leaves it once."""

import contextlib
import json
import os
import re
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
from pathlib import Path
from typing import Any

import pytest
import torch
from mlflow import MlflowClient
from mlflow.entities import Run

from traitsteer.stages import track
from traitsteer.words import layout
from traitsteer.words import runs as of_words
from traitsteer.words.config import Config, load
from traitsteer.words.errors import TraitsteerError
from traitsteer.words.records import Pair, Trait
from traitsteer.world import tensors
from traitsteer.world.dvc_lock import dvc_hashes, md5
from traitsteer.world.files import read_json, write_json, write_jsonl
from traitsteer.world.tracking import TrackingStore
from traitsteer.world.trait_folder import write_trait

LAYERS, QUESTIONS = 4, 3
PROTOCOL = "p" * 64


def write_study(config: Config, trials: int) -> None:
    """The files of a finished study, with small invented numbers."""
    for trait in config.study.traits:
        pair = (Pair("I was unkind and", "I was kind and"),)
        questions = tuple(f"What of {word}?" for word in ("rain", "snow", "wind"))
        written = Trait(trait, "Rubric.", ("unkind",), pair, pair, *[questions] * 3)
        write_trait(Path(config.study.trait_folder) / trait, written)
        for arm in config.study.arms:
            kept = {
                "positive_kept": 7 + len(arm),
                "negative_kept": 5,
                "positive": 30,
                "negative": 30,
            }
            write_json(layout.vet_counts(trait, config.text(arm)), kept)
            path = layout.activations(trait, arm) / "00000.safetensors"
            tensors.write(path, {"activations": torch.ones(2, LAYERS, 8)}, {"trait": trait})
            for method in config.arm(arm).methods:
                write_method(trait, arm, method, trials)
    ratios = [
        {"trait": t, "natural_percent": {"value": 90.0, "lower": 80.0, "upper": None, "n": 3}}
        for t in config.study.traits
    ]
    software = {"torch": "2.13.0", "transformers": "5.23.0"}
    write_json(layout.COMPARISON, {"comparisons": ratios, "software": software})
    cells = [(t, a) for t in config.study.traits for a in config.study.arms]
    effects = [{"vector": t, "arm": a, "ratio": {"value": 1.5}} for t, a in cells]
    write_json(layout.PERPLEXITY, effects)
    write_voice(config, "shown")


def write_voice(config: Config, verdict: str) -> None:
    """The voices of one trait, with what is known of its arms' trait scores."""
    heard = {arm: {"value": 60.0} for arm in config.study.arms}
    row = {"trait": "evil", "equality": {"verdict": verdict}, "measures": {"naturalness": heard}}
    write_json(layout.VOICE, [row])


def write_method(trait: str, arm: str, method: str, trials: int, strength: float = 0.5) -> None:
    """What fit, search and evaluate leave for one method."""
    head = {"trait": trait, "arm": arm, "method": method}
    vectors = layout.vectors(trait, arm) / f"{method}.safetensors"
    tensors.write(vectors, {"vectors": torch.eye(LAYERS, 8)}, head)
    by_layer = [0.5, 0.6, 0.9, 0.7]
    fitted = dict.fromkeys(
        (
            "raw_norm",
            "held_out_accuracy",
            "held_out_auroc",
            "split_half_cosine",
            "seed_cosine",
            "pair_agreement",
            "largest_share",
        ),
        by_layer,
    )
    write_json(vectors.with_suffix(".json"), head | fitted)
    setting = {"layer": 2, "strength": strength, "coefficient": 3.0, "delta": 40.0}
    tried = [
        {"number": n, "phase": "coarse", "trait_score": 50.0, "coherence": 80.0, "feasible": True}
        | {"status": "complete", "answers": QUESTIONS}
        | setting
        for n in range(trials)
    ]
    # A trial whose scores are missing.
    tried[-1] |= {
        "status": "failed",
        "trait_score": None,
        "coherence": None,
        "delta": None,
        "feasible": False,
    }
    study = {"study": f"{trait}-{arm}-{method}", "trials": tried, "recounted": tried[:1]}
    study["tokens"] = {"generated": 900, "saved_by_pruning": 60, "saved_by_loops": 5}
    folder = layout.search(trait, arm)
    write_json(folder / f"{method}.json", head | study)
    answers = [
        {"question": q, "sample": 0, "seed": 7, "text": f"It is “so” {q}", "coherence": 80.0}
        for q in range(QUESTIONS)
    ]
    scored = [{"trait_score": 50.0 if a["question"] else None} | a for a in answers]
    write_jsonl(
        folder / f"{method}.scores.jsonl",
        [{"trial": None, "phase": "baseline"} | a for a in scored]
        + [{"trial": n, "phase": "trial"} | a for n in range(trials) for a in scored],
    )
    evaluated: dict[str, Any] = {"status": "feasible", "protocol": PROTOCOL, "layer": 2}
    evaluated |= {"strength": strength, "coefficient": 3.0, "selection_delta": 80 * strength}
    for name, value in {
        "baseline": 10.0,
        "trait_score": 51.0,
        "delta": 41.0,
        "coherence": 79.0,
        "random": 1.0,
    }.items():
        evaluated[name] = {"value": value, "lower": value - 5, "upper": value + 5, "n": 3}
    interval = evaluated["random"]
    evaluated |= {"p_value": 0.0002, "first_delta": 90 * strength, "shrinkage": interval}
    evaluated |= {"at_floor": {"delta": interval}, "at_baseline_minus_5": None, "both": interval}
    evaluated["nulls"] = {
        kind: {"pooled": interval, "p_value": 0.05}
        for kind in ("random", "shuffled", "orthogonal", "negated")
    }
    evaluated |= {"prompted": {"delta": interval}, "missing": 4}
    folder = layout.evaluation(trait, arm)
    write_json(folder / "protocol.json", {"sha256": PROTOCOL, "terms": {}})
    write_json(folder / f"{method}.json", head | evaluated)
    write_jsonl(folder / f"{method}.answers.jsonl", [{"setting": "steered"} | a for a in scored])


@pytest.fixture
def store(config: Config, empty_store: Path) -> None:
    """The store that `config` names, already there."""
    Path("mlruns").mkdir()
    shutil.copyfile(empty_store, "mlruns/mlflow.db")


@pytest.fixture
def config(tmp_path: Path, repository: Path, monkeypatch: pytest.MonkeyPatch) -> Config:
    """A study of one trait and both arms, in an empty folder."""
    monkeypatch.chdir(tmp_path)
    for name in ("DVC_ROOT", "DVC_EXP_NAME"):
        monkeypatch.delenv(name, raising=False)
    found = load(repository / "profiles/pocket.yaml")
    study = found.study.model_copy(update={"traits": ("evil",), "trait_folder": "traits"})
    track_ = found.track.model_copy(update={"mlflow": "sqlite:///mlruns/mlflow.db"})
    return found.model_copy(update={"study": study, "track": track_})


def runs(config: Config, uri: str | None = None) -> tuple[MlflowClient, dict[str, list[Run]]]:
    """Every run of the experiment by its name."""
    # MLflow keeps stores by their address, and every test has a folder of its own.
    client = MlflowClient(uri or f"sqlite:///{Path('mlruns/mlflow.db').resolve()}")
    experiment = client.get_experiment_by_name(config.track.experiment)
    assert experiment is not None
    found: dict[str, list[Run]] = {}
    for run in client.search_runs([experiment.experiment_id], max_results=1000):
        found.setdefault(run.info.run_name, []).append(run)
    return client, found


def table(client: MlflowClient, run: Run, name: str, folder: Path) -> list[dict[str, Any]]:
    """Rows of a table among a run's artifacts."""
    path = client.download_artifacts(run.info.run_id, name, str(folder))
    held = json.loads(Path(path).read_text(encoding="utf-8"))
    return [dict(zip(held["columns"], row, strict=True)) for row in held["data"]]


def check_natural_run(client: MlflowClient, found: dict[str, list[Run]], folder: Path) -> None:
    """Everything that a person looks for in the run of the natural arm."""
    [natural] = found["evil · natural"]
    data = natural.data
    assert natural.info.status == "FINISHED"
    assert data.metrics["delta"] == 41.0
    assert data.metrics["delta_lower"] == 36.0
    assert data.metrics["coherence"] == 79.0
    assert data.metrics["null_random_delta"] == 1.0
    assert data.metrics["delta_p_value"] == 0.0002
    assert data.metrics["delta_at_floor"] == 1.0
    assert "delta_at_baseline_minus_5" not in data.metrics, "what was not crossed is left out"
    assert data.metrics["perplexity_ratio"] == 1.5
    assert data.metrics["natural_percent"] == 90.0
    assert data.metrics["held_out_accuracy"] == 0.9
    assert data.metrics["positive_kept"] == 7 + len("natural")
    assert data.metrics["negative_kept"] == 5
    for method in ("mean_difference", "probe"):
        assert data.metrics[f"method_delta_{method}"] == 41.0
        assert data.metrics[f"method_delta_lower_{method}"] == 36.0
        assert data.metrics[f"method_delta_upper_{method}"] == 46.0
    assert data.params["position"] == "response[:10]"
    assert data.params["methods"] == "mean_difference, probe"
    assert data.params["search.trials"] == "48"
    assert data.params["voice.samples"] == "4" and "cross.neutral" in data.params
    page = (Path(__file__).parent.parent / "docs/browsing.md").read_text(encoding="utf-8")
    named = set(re.findall(r"`([^`]+)`", "".join(re.findall(r"^\| (`.*?) \|", page, re.M))))
    families = tuple(name.removesuffix("...") for name in named if name.endswith("..."))
    shown = {name for name in data.metrics if not name.startswith(families)}
    named = {name for name in named if not name.startswith(families)}
    assert named ^ shown <= {"delta_at_baseline_minus_5"}, "docs name others"
    assert data.metrics["search_tokens_generated"] == 1800
    assert data.metrics["search_tokens_saved_by_pruning"] == 120
    assert data.tags["protocol"] == PROTOCOL
    assert data.tags["voice.equality"] == "shown"
    assert data.tags["model.base"] == "models/pocket/base"
    assert data.tags["software.torch"] == "2.13.0"
    series = client.get_metric_history(natural.info.run_id, "per_layer_accuracy_probe")
    assert [(point.step, point.value) for point in series] == [
        (0, 0.5),
        (1, 0.6),
        (2, 0.9),
        (3, 0.7),
    ]
    [trial] = found["probe 000"]
    assert trial.data.tags["mlflow.parentRunId"] == natural.info.run_id
    # The newest stands first in the list: there the trials must not hide their parent.
    assert trial.info.start_time <= natural.info.start_time
    assert trial.data.params["phase"] == "coarse"
    assert trial.data.params["layer"] == "2"
    assert trial.data.metrics["delta"] == 40.0
    [failed] = found["probe 002"]
    assert failed.data.metrics == {"feasible": 0.0}
    vectors = client.download_artifacts(
        natural.info.run_id, "vectors/probe.safetensors", str(folder)
    )
    here = layout.vectors("evil", "natural") / "probe.safetensors"
    assert Path(vectors).read_bytes() == here.read_bytes()
    rows = table(client, natural, "search_scores_probe.json", folder)
    assert len(rows) == QUESTIONS * 4
    assert rows[0]["trait_score"] is None
    assert rows[0]["setting"] == "baseline"
    assert rows[1] == {
        "setting": "baseline",
        "phase": "baseline",
        "question": "What of snow?",
        "sample": 0,
        "seed": 7,
        "text": "It is “so” 1",
        "trait_score": 50.0,
        "coherence": 80.0,
    }
    assert len(table(client, natural, "report_scores_probe.json", folder)) == QUESTIONS


def test_a_study_is_logged_whole_and_once(config: Config, tmp_path: Path, repository: Path) -> None:
    write_study(config, trials=3)
    activations = layout.activations("evil", "natural")
    lock = {"path": activations.as_posix(), "hash": "md5", "md5": "abc"}
    Path("dvc.lock").write_text(json.dumps({"stages": {"cache@evil-natural": {"outs": [lock]}}}))
    track.run(config)
    client, found = runs(config)
    # Two parents; three trials and a recount for each of three methods.
    assert sum(map(len, found.values())) == 2 + 3 * 4
    check_natural_run(client, found, tmp_path)
    [natural] = found["evil · natural"]
    assert natural.data.tags["dvc.activations"] == "abc"
    [dataset] = [held.dataset for held in natural.inputs.dataset_inputs]
    assert dataset.digest == md5(activations)
    locked = dvc_hashes(repository / "dvc.lock")
    assert md5(repository / "models/pocket/base") == locked["models/pocket/base"]
    [instruction] = found["evil · instruction"]
    assert "natural_percent" not in instruction.data.metrics
    written = layout.TRACKING.read_bytes()
    assert [(row["trials"], row["scores"]) for row in json.loads(written)] == [(3, 15), (6, 30)]
    assert list(Path("mlruns/artifacts").iterdir())

    patience = {"request_s": 5.0, "requests_at_once": 3, "deadline_s": 7.0}
    judge = config.judge.model_copy(update=patience)
    for same in (config, config.model_copy(update={"judge": judge})):
        track.run(same)
        assert sum(map(len, runs(config)[1].values())) == 2 + 3 * 4
        assert layout.TRACKING.read_bytes() == written

    write_method("evil", "natural", "probe", trials=3, strength=0.6)
    fitted = layout.vectors("evil", "natural") / "probe.json"
    fitted.write_text(json.dumps(json.loads(fitted.read_text()) | {"pair_agreement": None}))
    track.run(config)
    _, found = runs(config)
    assert len(found["evil · natural"]) == 2
    assert len(found["evil · instruction"]) == 1
    assert {run.data.metrics["strength"] for run in found["evil · natural"]} == {0.5, 0.6}


@pytest.mark.usefixtures("store")
def test_an_interrupted_run_is_deleted_and_logged_again(
    config: Config, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_study(config, trials=3)
    write = TrackingStore._write

    def killed(store: TrackingStore, run: Any, *more: Any) -> str:
        if run.name == "probe 001":
            raise KeyboardInterrupt
        return write(store, run, *more)

    with monkeypatch.context() as patch:
        patch.setattr(TrackingStore, "_write", killed)
        with pytest.raises(KeyboardInterrupt):
            track.run(config)
    assert not layout.TRACKING.exists()
    _, found = runs(config)
    assert found["evil · natural"][0].info.status == "FAILED"
    finished = found["evil · instruction"][0].info.run_id

    track.run(config)
    _, found = runs(config)
    assert sum(map(len, found.values())) == 2 + 3 * 4
    assert found["evil · natural"][0].info.status == "FINISHED"
    assert found["evil · instruction"][0].info.run_id == finished


@pytest.mark.usefixtures("store")
def test_naturalness_is_logged_at_equal_trait_score_alone(config: Config) -> None:
    write_study(config, trials=1)
    for verdict, logged in (("shown", 60.0), ("near", 60.0), ("not reached", None)):
        write_voice(config, verdict)
        track.run(config)
        [run] = [
            run
            for run in runs(config)[1]["evil · natural"]
            if run.data.tags["voice.equality"] == verdict
        ]
        assert run.data.metrics.get("naturalness") == logged, verdict
    row = dict.fromkeys(("equality", "measures")) | {"trait": "evil", "status": "trait not raised"}
    write_json(layout.VOICE, [row])
    track.run(config)
    newest = runs(config)[1]["evil · natural"][0]
    assert "voice.equality" not in newest.data.tags and "naturalness" not in newest.data.metrics


@pytest.mark.usefixtures("store")
def test_nothing_feasible_has_a_baseline_and_no_delta(config: Config) -> None:
    write_study(config, trials=1)
    path = layout.evaluation("evil", "instruction") / "mean_difference.json"
    nothing = dict.fromkeys(("layer", "strength", "delta", "coherence", "random"))
    write_json(path, read_json(path) | {"status": "nothing feasible"} | nothing)
    track.run(config)
    [run] = runs(config)[1]["evil · instruction"]
    assert run.data.tags["status"] == "nothing feasible"
    assert run.data.metrics["baseline"] == 10.0
    assert not [name for name in run.data.metrics if "delta" in name]


@pytest.mark.parametrize(
    "uri",
    ["sqlite:///a_file/mlflow.db", "sqlite:///no_database", "http://127.0.0.1:9", "nonsense://x"],
)
def test_a_store_that_cannot_be_used_gets_one_sentence(
    config: Config, uri: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    write_study(config, trials=1)
    for name in ("a_file", "no_database"):
        Path(name).write_text("This is not a database, whatever its name says." * 9)
    changed = config.track.model_copy(update={"mlflow": uri})
    with pytest.raises(TraitsteerError, match=r"^The MLflow store .*track\.mlflow") as caught:
        track.run(config.model_copy(update={"track": changed}))
    assert "\n" not in str(caught.value)
    assert not layout.TRACKING.exists()


@pytest.mark.usefixtures("store")
def test_a_missing_file_is_no_fault_of_the_store(config: Config) -> None:
    store = TrackingStore(config.track.mlflow, config.track.experiment)
    run = of_words.Run("evil", files={"vectors.json": Path("gone.json")})
    with pytest.raises(TraitsteerError, match=r"^gone\.json cannot be copied .*dvc repro"):
        store.log(run, "key", lambda _done: None)
    assert not store.holds("key")


@pytest.mark.usefixtures("store")
def test_a_store_that_was_moved_is_refused(config: Config) -> None:
    write_study(config, trials=1)
    track.run(config)
    Path("mlruns").rename("elsewhere")
    moved = config.track.model_copy(update={"mlflow": "sqlite:///elsewhere/mlflow.db"})
    with pytest.raises(TraitsteerError, match="move the store back"):
        track.run(config.model_copy(update={"track": moved}))


def test_a_queued_experiment_logs_to_the_repository_it_came_from(
    config: Config, tmp_path: Path, empty_store: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_study(config, trials=1)
    monkeypatch.setenv("DVC_ROOT", str(tmp_path / "original"))
    monkeypatch.setenv("DVC_EXP_NAME", "brave-otter")
    (tmp_path / "original/mlruns").mkdir(parents=True)
    shutil.copyfile(empty_store, tmp_path / "original/mlruns/mlflow.db")
    track.run(config)
    assert not Path("mlruns").exists()
    _, found = runs(config, f"sqlite:///{tmp_path}/original/mlruns/mlflow.db")
    assert found["evil · natural"][0].data.tags["dvc.experiment"] == "brave-otter"


@pytest.mark.slow
@pytest.mark.usefixtures("store")
def test_a_server_shows_the_runs(config: Config, tmp_path: Path) -> None:
    write_study(config, trials=3)
    track.run(config)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    quiet = {"MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false", "MLFLOW_DISABLE_TELEMETRY": "true"}
    with Path("server.log").open("w") as log:
        server = subprocess.Popen(
            f"{sys.executable} -m mlflow server --workers 1 --host 127.0.0.1 --port {port} "
            f"--backend-store-uri {config.track.mlflow}".split(),
            env=os.environ | quiet,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
    address = f"http://127.0.0.1:{port}"
    try:
        wait_for(f"{address}/health", server)
        client, found = runs(config, address)
        check_natural_run(client, found, tmp_path)
    finally:
        # A server that has ended by itself leaves no group to end.
        with contextlib.suppress(ProcessLookupError):
            os.killpg(server.pid, 15)
        server.wait(timeout=30)


def wait_for(address: str, server: "subprocess.Popen[bytes]") -> None:
    """Return when a server answers."""
    until = time.monotonic() + 90
    while time.monotonic() < until:
        assert server.poll() is None, Path("server.log").read_text()
        try:
            with urllib.request.urlopen(address, timeout=2):
                return
        except OSError:
            time.sleep(0.3)
    raise AssertionError(Path("server.log").read_text())
