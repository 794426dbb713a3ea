"""The ledger of attempts: what is counted, and that no line is lost."""

import json
import subprocess
from pathlib import Path

import pytest
from study_clone import dvc

from traitsteer.words import layout
from traitsteer.words.errors import TraitsteerError
from traitsteer.world import ledger
from traitsteer.world.files import read_jsonl

MODEL = "models/pocket/instruct"
CELL = ("evil", "natural")


def attempt(
    protocol: str, vectors: str, model: str = MODEL, arm: str = "natural"
) -> ledger.Attempt:
    return ledger.Attempt("evil", arm, "probe", model, protocol, vectors)


def searches(protocol: str) -> ledger.Searches:
    return ledger.counts([CELL], {"evil": protocol})[CELL]


def vectors(path: Path) -> list[str]:
    return [line["vectors"] for line in read_jsonl(path)]


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder that is no copy of another."""
    monkeypatch.delenv("DVC_ROOT", raising=False)
    folder = tmp_path / "here"
    folder.mkdir()
    monkeypatch.chdir(folder)
    return folder


@pytest.mark.usefixtures("here")
def test_the_ledger_counts_each_attempt_once_and_keeps_every_line() -> None:
    ledger.record(attempt("p1", "v1"))
    before = layout.LEDGER.read_bytes()
    ledger.record(attempt("p1", "v1"))
    assert layout.LEDGER.read_bytes() == before
    ledger.record(attempt("p1", "v2"))
    ledger.record(attempt("p2", "v1"))
    ledger.record(attempt("p1", "v1", arm="instruction"))
    assert layout.LEDGER.read_bytes().startswith(before)
    assert searches("p1") == ledger.Searches(here=2, elsewhere=1)
    assert ledger.counts([("evil", "other")], {"evil": "p1"}) == {
        ("evil", "other"): ledger.Searches(0, 0)
    }
    # As git leaves it where two branches ran the same study.
    layout.LEDGER.write_text(2 * layout.LEDGER.read_text())
    assert searches("p1") == ledger.Searches(here=2, elsewhere=1)


@pytest.mark.usefixtures("here")
def test_attempts_on_other_models_are_not_counted() -> None:
    for number in range(11):
        ledger.record(attempt(f"pocket {number}", "v1"))
    ledger.record(attempt("llama now", "v2", "meta-llama/Llama-3.1-8B-Instruct"))
    assert searches("llama now") == ledger.Searches(here=1, elsewhere=0)
    ledger.record(attempt("llama before", "v2", "meta-llama/Llama-3.1-8B-Instruct"))
    assert searches("llama now") == ledger.Searches(here=1, elsewhere=1)
    assert searches("pocket 3") == ledger.Searches(here=1, elsewhere=10)


@pytest.mark.usefixtures("here")
def test_lines_of_earlier_versions_count_under_their_own_protocol_alone() -> None:
    for protocol in ("p1", "p2"):
        ledger.record(attempt(protocol, "v1"))
    nameless = [
        {name: value for name, value in line.items() if name != "model"}
        for line in read_jsonl(layout.LEDGER)
    ]
    layout.KEPT_LEDGER.unlink()
    layout.LEDGER.write_text("".join(json.dumps(line) + "\n" for line in nameless))
    assert searches("p1") == ledger.Searches(here=1, elsewhere=0)
    # Searched again, it is the same attempt, and its model is known.
    ledger.record(attempt("p1", "v1"))
    assert read_jsonl(layout.LEDGER)[:2] == nameless
    assert searches("p1") == ledger.Searches(here=1, elsewhere=0)
    ledger.record(attempt("p2", "v1"))
    assert searches("p1") == ledger.Searches(here=1, elsewhere=1)


def test_the_committed_ledger_names_the_model_of_every_attempt(repository: Path) -> None:
    lines = read_jsonl(repository / layout.LEDGER)
    assert {line["model"] for line in lines} == {MODEL}
    fields = ("trait", "arm", "method", "model", "protocol", "vectors")
    for line in lines:
        assert line["key"] == ledger.Attempt(*(line[name] for name in fields)).key


def test_what_a_queued_experiment_searches_is_in_its_copy_and_where_it_came_from(
    here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ledger.record(attempt("p1", "v1"))
    committed = layout.LEDGER.read_bytes()
    monkeypatch.setenv("DVC_ROOT", str(here))
    for name in ("one", "two"):
        copy = here.parent / name
        (copy / layout.LEDGER).parent.mkdir(parents=True)
        (copy / layout.LEDGER).write_bytes(committed)
        monkeypatch.chdir(copy)
        ledger.record(attempt("p1", name))
        assert name in vectors(layout.LEDGER)
        assert not layout.CACHE.exists()
    assert vectors(here / layout.LEDGER) == ["v1", "one", "two"]

    # The first one is applied: its file stands in place of that which had both.
    monkeypatch.chdir(here)
    layout.LEDGER.write_bytes((here.parent / "one" / layout.LEDGER).read_bytes())
    assert searches("p1").here == 3
    ledger.record(attempt("p1", "one"))
    assert vectors(layout.LEDGER) == ["v1", "one", "two"]


@pytest.mark.usefixtures("here")
def test_lines_that_a_branch_brings_are_kept_when_it_is_left() -> None:
    ledger.record(attempt("p1", "v1"))
    layout.KEPT_LEDGER.unlink()
    ledger.record(attempt("p1", "v2"))
    layout.LEDGER.unlink()
    assert searches("p1").here == 2
    ledger.record(attempt("p1", "v3"))
    assert sorted(vectors(layout.LEDGER)) == ["v1", "v2", "v3"]


@pytest.mark.usefixtures("here")
def test_a_file_without_a_last_newline_glues_no_lines_together() -> None:
    ledger.record(attempt("p1", "v1"))
    layout.LEDGER.write_text(layout.LEDGER.read_text().rstrip("\n"))
    ledger.record(attempt("p1", "v2"))
    assert vectors(layout.LEDGER) == ["v1", "v2"]


@pytest.mark.usefixtures("here")
@pytest.mark.parametrize(
    ("line", "fault"),
    [
        ('{"key": "a", "trai', "is no JSON (Unterminated string starting at)"),
        ('["a"]', "is of type list, expected an object"),
        ('{"key": "a", "trait": "evil"}', "is without arm and protocol"),
    ],
)
def test_a_broken_line_of_the_ledger_is_named_with_one_advice(line: str, fault: str) -> None:
    ledger.record(attempt("p1", "v1"))
    whole = layout.LEDGER.read_text()
    layout.LEDGER.write_text(f"{whole}{line}\n")
    with pytest.raises(TraitsteerError) as error:
        ledger.record(attempt("p1", "v2"))
    assert str(error.value) == (
        f"{layout.LEDGER}:2 {fault}; mend or remove that line of the ledger alone: the other "
        "attempts stay counted."
    )
    with pytest.raises(TraitsteerError, match="that line of the ledger alone"):
        searches("p1")
    layout.LEDGER.write_text(whole)
    assert searches("p1") == ledger.Searches(here=1, elsewhere=0)


SEARCH = """
import sys
from pathlib import Path
from traitsteer.world import ledger
ledger.record(ledger.Attempt("evil", "natural", "probe", "m", "p", sys.argv[1]))
Path("found").write_text(sys.argv[1])
"""
PIPELINE = """
stages:
  search:
    cmd: python search.py ${x}
    outs: [found]
"""


@pytest.mark.slow
def test_no_line_is_lost_where_dvc_applies_an_experiment(
    here: Path, repository: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PYTHONPATH", str(repository / "src"))

    def git(*arguments: str) -> None:
        subprocess.run(["git", *arguments], cwd=here, check=True, capture_output=True)

    for name, text in {
        "search.py": SEARCH,
        "dvc.yaml": PIPELINE,
        "params.yaml": "x: 1\n",
        ".gitignore": "/.cache/\n/found\n",
    }.items():
        Path(name).write_text(text)
    git("init", "--quiet")
    git("config", "user.name", "A")
    git("config", "user.email", "a@example.org")
    dvc(here, "init", "--quiet")
    dvc(here, "repro")
    git("add", ".")
    git("commit", "--quiet", "--message", "One attempt")
    for x in ("2", "3"):
        dvc(here, "exp", "run", "--temp", "--name", f"of-{x}", "--set-param", f"x={x}")
    dvc(here, "exp", "apply", "of-2")
    assert Path("found").read_text() == "2"
    assert "2" in vectors(layout.LEDGER), "the experiment's commit lacks its own attempt"
    assert searches("p").here == 3
    dvc(here, "repro", "--force")
    assert vectors(layout.LEDGER) == ["1", "2", "3"]
