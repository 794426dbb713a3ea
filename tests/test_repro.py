"""The main job as a newcomer runs it: a fresh clone, `dvc repro`, and what it promises."""

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path
from typing import Any

import pytest
from study_clone import cloned, dvc, environment, files
from tiny import build

from traitsteer.words import layout
from traitsteer.words.results import best_of_arm

pytestmark = pytest.mark.slow

SEARCH = "search@evil-instruction"


@pytest.fixture(scope="module")
def clone(tmp_path_factory: pytest.TempPathFactory, repository: Path) -> Path:
    """A clone in which the whole study has run once."""
    folder = cloned(repository, tmp_path_factory.mktemp("fresh") / "clone")
    ran = dvc(folder, "repro").stdout
    assert "Running stage 'search@evil-natural'" in ran
    assert "Running stage 'pocket_pair'" not in ran, "the committed pair is not up to date"
    return folder


def best_results(clone: Path) -> list[dict[str, Any]]:
    """The result that stands for each trait and arm."""
    found = []
    for trait in ("evil", "sycophancy", "hallucination"):
        for arm, methods in (
            ("instruction", ("mean_difference",)),
            ("natural", ("mean_difference", "probe")),
        ):
            folder = clone / "data/evaluation" / trait / arm
            best = best_of_arm(json.loads((folder / f"{m}.json").read_text()) for m in methods)
            assert best is not None
            found.append(best)
    return found


def test_every_trait_and_arm_is_steered_and_no_null_does_as_much(clone: Path) -> None:
    found = json.loads((clone / "reports/comparison.json").read_text())
    for best in best_results(clone):
        assert best["delta"]["value"] >= 40, best
        assert best["delta"]["lower"] >= 25, best
        assert best["coherence"]["value"] >= 70, best
        assert best["p_value"] <= 0.01, best
        assert best["prompted"]["delta"]["value"] >= 70, best
        for kind, most in (("random", 10), ("orthogonal", 10), ("negated", 10), ("shuffled", 40)):
            assert best["nulls"][kind]["pooled"]["value"] <= most, best
            assert best["nulls"][kind]["difference"]["lower"] > 0, best
        assert best["frontier"][0]["delta"]["value"] < best["delta"]["value"], best
        assert best["at_baseline_minus_5"]["delta"]["value"] > 5, best
    assert [c["trait"] for c in found["comparisons"]] == ["evil", "sycophancy", "hallucination"]
    assert all(len(c["cosine_by_layer"]) == 6 for c in found["comparisons"])


def test_evil_and_sycophancy_do_not_leak_into_each_other(clone: Path) -> None:
    rows = json.loads((clone / "data/cross.json").read_text())
    leaks = [
        r["delta"]["value"]
        for r in rows
        if {r["vector"], r["scored"]} == {"evil", "sycophancy"} and r["vector"] != r["scored"]
    ]
    assert len(leaks) == 2 * 4, "at the vector's own setting, and in the other's place"
    assert max(leaks) <= 20


def test_steering_makes_neutral_text_less_likely_and_leaves_it_readable(clone: Path) -> None:
    rows = json.loads((clone / "data/perplexity.json").read_text())
    assert len(rows) == 6
    for row in rows:
        assert 1 < row["ratio"]["lower"] < row["ratio"]["upper"] < 10, row


def test_the_example_of_the_engine_runs(clone: Path) -> None:
    page = (clone / "docs/engine.md").read_text()
    block = page.split("leaves behind:\n\n")[1].split("\nHow fast")[0]
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(block)],
        cwd=clone,
        env=environment() | {"PYTHONPATH": "src"},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    *answers, shape = done.stdout.splitlines()
    assert len(set(answers)) == 12
    assert shape == "torch.Size([12, 6, 128])"


def test_a_second_run_does_nothing(clone: Path) -> None:
    ran = dvc(clone, "repro").stdout
    assert ran.count("Running stage") == ran.count("Running stage 'identify'") == 1


def test_a_model_that_was_trained_again_in_its_folder_is_another(
    repository: Path, tmp_path: Path
) -> None:
    folder, own = cloned(repository, tmp_path / "own"), tmp_path / "instruct"
    params = folder / "params.yaml"
    params.write_text(params.read_text().replace("models/pocket/instruct", str(own)))

    def trained(seed: int) -> str:
        build(own, "llama", seed=seed)
        return dvc(folder, "repro", "calibrate").stdout

    assert "Running stage 'calibrate'" in trained(1)
    measured = (folder / layout.CALIBRATION).read_bytes()
    assert "Running stage 'calibrate'" not in trained(1)
    assert "Running stage 'calibrate'" in trained(2)
    assert (folder / layout.CALIBRATION).read_bytes() != measured


def judged(folder: Path) -> list[Path]:
    """Kept answers that wait for no judge: those are not written again."""
    answers = (folder / ".cache/answers").glob("*.json")
    return [path for path in answers if '"failed"' not in path.read_text()]


def test_the_same_files_come_out_again_without_any_cache_and_after_a_kill(clone: Path) -> None:
    """Both methods are fitted; the arm of one method is searched, killed and resumed."""
    parts = ("models/vectors/evil", "data/search/evil", "data/evaluation/evil")
    before = files(clone, *parts)
    shutil.rmtree(clone / ".cache")
    again = ["repro", "--force", "--no-run-cache", "--single-item"]
    dvc(clone, *again, "fit@evil-natural")
    command = ["dvc", *again, SEARCH]
    running = subprocess.Popen(
        command,
        cwd=clone,
        env=environment(),
        start_new_session=True,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        while running.poll() is None and len(judged(clone)) < 2:
            time.sleep(0.05)
        assert running.poll() is None, "the search ended before it could be killed"
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(running.pid, signal.SIGKILL)
        running.wait()
    finished = {path: path.stat().st_mtime_ns for path in judged(clone)}
    dvc(clone, "repro", "--no-run-cache", "--single-item", SEARCH)
    assert {path: path.stat().st_mtime_ns for path in finished} == finished, "answered again"
    dvc(clone, *again, "evaluate@evil-instruction")
    assert files(clone, *parts) == before


def test_changes_rerun_what_they_touch_and_nothing_else(clone: Path) -> None:
    params = clone / "params.yaml"
    text = params.read_text()
    try:
        params.write_text(text.replace(" trials: 48", " trials: 46"))
        touched = dvc(clone, "repro", "--dry").stdout
        for stage in ("elicit", "vet", "cache", "fit", "calibrate"):
            assert f"Running stage '{stage}" not in touched
        assert "Running stage 'search@evil-natural'" in touched
    finally:
        params.write_text(text)
    scenarios = clone / "data/pocket/traits/evil/scenarios.txt"
    text = scenarios.read_text()
    try:
        scenarios.write_text("# changed\n" + text)
        touched = dvc(clone, "repro", "--dry").stdout
        assert "Running stage 'elicit@evil-natural'" in touched
        for trait in ("sycophancy", "hallucination"):
            for stage in ("elicit", "vet", "cache", "fit", "search", "evaluate"):
                assert f"'{stage}@{trait}" not in "".join(
                    line for line in touched.splitlines(keepends=True) if "Running" in line
                )
    finally:
        scenarios.write_text(text)
    module = clone / "src/traitsteer/engine/generation.py"
    text = module.read_text()
    try:
        module.write_text(text + "# changed\n")
        dvc(clone, "repro", "code")
        touched = dvc(clone, "repro", "--dry").stdout
        for stage in ("calibrate", "elicit@evil-natural", "search@evil-natural", "voice"):
            assert f"Running stage '{stage}'" in touched
        for stage in ("pocket_pair", "pocket_judge", "protocol"):
            assert f"Running stage '{stage}" not in touched
    finally:
        module.write_text(text)
        dvc(clone, "repro", "code")
