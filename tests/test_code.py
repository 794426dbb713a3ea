"""What each stage runs: its imports, direct or not, wherever they stand, and their digests."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from ruamel.yaml import YAML

from traitsteer.stages import code
from traitsteer.words import layout
from traitsteer.words.config import load
from traitsteer.world import dvc_lock
from traitsteer.world.modules import SOURCE, modules_of

STAGES = SOURCE / "traitsteer/stages"


def loaded(stage: str) -> set[str]:
    """Our modules in memory after the stage is imported, as Python itself finds them."""
    script = (
        f"import sys, traitsteer.stages.{stage}\n"
        "print(*[n for n, m in sys.modules.items() if n.startswith('traitsteer.')"
        " and not hasattr(m, '__path__')])"
    )
    environment = os.environ | {"PYTHONPATH": str(SOURCE)}
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, env=environment, check=True
    )
    return set(done.stdout.split())


def test_every_module_that_python_loads_is_found_but_for_plain_records() -> None:
    missing = loaded("search") - set(modules_of(STAGES / "search.py"))
    assert missing and all(name.startswith("traitsteer.words.") for name in missing)
    assert "traitsteer.words.records" in missing and "traitsteer.words.seeds" not in missing


def test_imports_within_functions_count_and_packages_do_not() -> None:
    found = modules_of(STAGES / "pocket_judge.py")
    assert "traitsteer.pocket.judge_training" in found
    assert "traitsteer.pocket.judge_training" not in loaded("pocket_judge")
    assert next(iter(found)) == "traitsteer.stages.pocket_judge"
    assert all(path.is_file() and path.name != "__init__.py" for path in found.values())


@pytest.mark.parametrize("stage", ["pocket_pair", "pocket_judge"])
def test_what_is_committed_was_trained_by_this_code(
    copy: Path, repository: Path, monkeypatch, stage: str
) -> None:
    """A change to any of these modules would train the pair again in every clone."""
    lock = YAML(typ="safe").load((repository / "dvc.lock").read_text(encoding="utf-8"))
    monkeypatch.chdir(copy)
    code.run(load())
    path = layout.code(stage)
    locked = {dep["path"]: dep["md5"] for dep in lock["stages"][stage]["deps"]}
    assert locked[path.as_posix()] == dvc_lock.md5(path)


@pytest.fixture
def copy(repository: Path, tmp_path: Path) -> Path:
    shutil.copytree(repository / "src/traitsteer", tmp_path / "src/traitsteer")
    shutil.copy(repository / "params.yaml", tmp_path)
    return tmp_path


def digests(copy: Path) -> dict[str, str]:
    """What the command writes in a copy of the repository, which runs the copy's own code."""
    subprocess.run(
        [sys.executable, "-m", "traitsteer", "code"],
        cwd=copy,
        env=os.environ | {"PYTHONPATH": str(copy / "src")},
        check=True,
    )
    return {path.stem: path.read_text() for path in (copy / "data/code").iterdir()}


def test_a_changed_module_changes_the_stages_that_run_it_alone(copy: Path) -> None:
    before = digests(copy)
    assert set(before) == {path.stem for path in STAGES.glob("[!_]*.py")}
    with (copy / "src/traitsteer/maths/probe.py").open("a") as file:
        file.write("# changed\n")
    after = digests(copy)
    changed = {name for name in before if before[name] != after[name]}
    assert changed == {name for name in before if "  traitsteer.maths.probe\n" in before[name]}
    assert "fit" in changed and not changed & {"elicit", "vet", "cache", "report"}
