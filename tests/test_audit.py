"""The audit: planted judges get the card that they deserve, and files of traps are checked."""

import json
import random
import shutil
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

from traitsteer.cli import main
from traitsteer.experiment.audit import SPACE, ask, ask_once, beside, by_trap, retest, states
from traitsteer.pocket.traps import write_trap_files
from traitsteer.rehearsal import judge_server
from traitsteer.stages import audit_judge
from traitsteer.words.config import load, parse
from traitsteer.words.errors import TraitsteerError
from traitsteer.words.records import Answer, Judgement
from traitsteer.words.traps import Bounds, Trap
from traitsteer.world.pocket_judge import PocketJudge
from traitsteer.world.trap_file import read_traps, write_traps

TRAITS = ("evil", "sycophancy", "hallucination")


@dataclass
class Planted:
    """A judge that knows what is right, and errs as it is told to."""

    traps: Sequence[Trap]
    wrong: frozenset[str] = frozenset()
    noise: float = 0.0
    refuses: frozenset[str] = frozenset()
    reads_space: bool = False
    digest = "planted"

    def __post_init__(self) -> None:
        self.random = random.Random(0)
        self.known = {trap.answer: trap for trap in self.traps}

    def score(self, trait: str, answers: Sequence[Answer]) -> list[Judgement]:
        return [self._score(answer) for answer in answers]

    def _score(self, answer: Answer) -> Judgement:
        spaced = answer not in self.known
        if spaced:
            answer = Answer(answer.question, answer.text.removesuffix(SPACE))
        trap = self.known[answer]
        if trap.name in self.refuses:
            return Judgement(None, None, "refused")
        scores = [self._near(bounds, trap.name) for bounds in (trap.trait, trap.coherence)]
        return Judgement(*(score + 3 * (spaced and self.reads_space) for score in scores))

    def _near(self, bounds: Bounds | None, name: str) -> float:
        right = 50.0 if bounds is None else (bounds.lower + bounds.upper) / 2
        found = 100 - right if name in self.wrong else right
        return found + self.random.gauss(0, self.noise)

    def naturalness(self, answers: Sequence[Answer]) -> list[float | None]:
        return [None] * len(answers)

    def prefer(self, pairs: Sequence[tuple[Answer, Answer]]) -> list[float | None]:
        return [None] * len(pairs)


@pytest.fixture(scope="module")
def traps(repository: Path) -> tuple[Trap, ...]:
    return read_traps(repository / "data/traps/sycophancy.yaml")


def asked(judge: Planted, repeats: int = 1) -> list:
    return ask([judge] * (1 + repeats), "sycophancy", judge.traps, lambda _done: None)


def test_a_judge_that_errs_on_one_trap_is_wrong_there_and_nowhere_else(
    traps: tuple[Trap, ...],
) -> None:
    rows = by_trap(asked(Planted(traps, wrong=frozenset({"quotation"}))), 0.95)
    shares = {row["trap"]: row["right"]["value"] for row in rows}
    assert shares.pop("quotation") == 0
    assert shares.pop("all") == pytest.approx(1 - 3 / len(traps), abs=1e-4)
    assert set(shares.values()) == {1}
    assert rows[-1]["items"] == rows[-1]["right"]["n"] == len(traps)


def test_what_a_judge_refuses_is_missing_and_not_right(traps: tuple[Trap, ...]) -> None:
    items = asked(Planted(traps, refuses=frozenset({"loop"})), repeats=2)
    row = next(row for row in by_trap(items, 0.95) if row["trap"] == "loop")
    assert (row["items"], row["missing"], row["right"]["value"]) == (3, 3, 0)
    assert row["trait_right"] is None
    assert states(items) == {
        "scored": 4 * (len(traps) - 3),
        "refused": 4 * 3,
        "low mass": 0,
        "failed": 0,
    }
    assert retest(items)["trait_score"]["standard_deviation"] == 0


def test_asking_again_finds_planted_noise_and_none_where_there_is_none(
    traps: tuple[Trap, ...],
) -> None:
    noisy = retest(asked(Planted(traps, noise=4.0), repeats=9))
    assert noisy["asked_again"] == 9
    for score in ("trait_score", "coherence"):
        assert noisy[score]["standard_deviation"] == pytest.approx(4, rel=0.1)
        assert noisy[score]["greatest_standard_deviation"] > 5
    steady = retest(asked(Planted(traps, reads_space=True)))
    for score in ("trait_score", "coherence"):
        assert steady[score]["standard_deviation"] == 0
        assert steady[score]["moved_by_white_space"] == 3


def test_a_second_judge_that_says_the_contrary_disagrees(traps: tuple[Trap, ...]) -> None:
    items = asked(Planted(traps))
    contrary = Planted(traps, wrong=frozenset(trap.name for trap in traps))
    for judge, sign in ((Planted(traps), 1), (contrary, -1)):
        others = ask_once(judge, "sycophancy", traps, lambda _done: None)
        found = beside(items, others, 0, 0.95)
        for score in ("trait_score", "coherence"):
            assert found[score]["spearman"]["value"] == pytest.approx(sign, abs=1e-3)
            assert found[score]["weighted_kappa"]["value"] * sign > 0


@pytest.mark.parametrize("folder", ["data/traps", "data/pocket/traps"])
def test_committed_traps_are_whole(repository: Path, folder: str) -> None:
    """Enough of each trap over the traits, no answer twice, and both ends of both scores."""
    found = {trait: read_traps(repository / folder / f"{trait}.yaml") for trait in TRAITS}
    every = [trap for rows in found.values() for trap in rows]
    counts = Counter(trap.name for trap in every)
    assert min(counts.values()) >= 6
    assert len(counts) >= 15
    for rows in found.values():
        answers = [trap.answer for trap in rows if trap.name not in ("empty", "one word")]
        assert len(set(answers)) == len(answers)
        for score in ("trait", "coherence"):
            bounds = [getattr(trap, score) for trap in rows if getattr(trap, score)]
            assert (
                {b.lower >= 70 for b in bounds} == {b.upper <= 60 for b in bounds} == {True, False}
            )


def test_pocket_traps_are_what_the_grammar_gives(repository: Path, tmp_path: Path) -> None:
    write_trap_files(tmp_path, 0)
    for trait in TRAITS:
        kept = repository / "data/pocket/traps" / f"{trait}.yaml"
        assert kept.read_bytes() == (tmp_path / f"{trait}.yaml").read_bytes()


def test_traps_come_back_as_they_were_written(traps: tuple[Trap, ...], tmp_path: Path) -> None:
    write_traps(tmp_path / "again.yaml", traps, "Again.")
    assert read_traps(tmp_path / "again.yaml") == traps


GROUP = {
    "trap": "one",
    "why": "Because.",
    "trait": [0, 30],
    "coherence": None,
    "items": [{"question": "What?", "answer": "That."}],
}


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"why": ...}, "trap 1 holds trap, trait, coherence, items, expected"),
        ({"extra": 1}, "expected coherence, items, trait, trap, why"),
        ({"trait": [30, 0]}, "trait is [30, 0], expected [least, greatest]"),
        ({"trait": [0, 130]}, "trait is [0, 130]"),
        ({"trait": [True, 30]}, "trait is [True, 30]"),
        ({"trait": None}, "expects nothing"),
        ({"trap": "all"}, "trap 1 is named 'all', which stands for"),
        ({"items": []}, "has no items"),
        ({"items": [{"question": "What?", "answer": 5}]}, "item 1 holds something other than text"),
        ({"items": [{"question": "What?"}]}, "item 1 holds question, expected answer, question"),
    ],
)
def test_a_wrong_file_of_traps_is_one_sentence(
    changes: dict, sentence: str, tmp_path: Path
) -> None:
    group = {name: value for name, value in (GROUP | changes).items() if value is not ...}
    path = tmp_path / "evil.yaml"
    with path.open("w", encoding="utf-8") as file:
        YAML().dump([group], file)
    with pytest.raises(TraitsteerError) as caught:
        read_traps(path)
    assert sentence in str(caught.value)
    assert "\n" not in str(caught.value)


def test_the_command_audits_the_pocket_judge(
    repository: Path,
    tmp_path: Path,
    params: dict[str, Any],
    empty_store: Path,
    monkeypatch,
    capsys,
) -> None:
    params["judge"]["name"] = str(repository / "models/pocket/judge")
    params["study"]["traits"] = ["evil", "hallucination"]
    for trait in ("evil", "sycophancy"):
        source = repository / "data/pocket/traps" / f"{trait}.yaml"
        (tmp_path / "traps").mkdir(exist_ok=True)
        shutil.copy(source, tmp_path / "traps")
    params["audit"] = {"traps": "traps", "repeats": 1}
    with (tmp_path / "params.yaml").open("w", encoding="utf-8") as file:
        YAML().dump(params, file)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("DVC_ROOT", str(tmp_path / "original"))
    (tmp_path / "original/mlruns").mkdir(parents=True)
    shutil.copyfile(empty_store, tmp_path / "original/mlruns/mlflow.db")

    assert main(["audit-judge", "--against", "params.yaml"]) == 0
    printed = capsys.readouterr()
    assert "no traps for hallucination" in printed.err
    assert "# Audit of the judge" in printed.out
    found = json.loads(Path("reports/judge_audit.json").read_text())
    rows = {row["trap"]: row["right"]["value"] for row in found["by_trap"]}
    assert rows["negation"] == 1
    assert rows["shown in good English"] >= 0.8
    assert found["against"]["agreement"]["coherence"]["spearman"]["value"] == 1
    assert {item["trait"] for item in found["items"]} == {"evil"}

    # The same real text, which this judge cannot read, as a control.
    command = ["audit-judge", "--traps", str(repository / "data/traps"), "--at-least", "0.9"]
    assert main(command) == 1
    assert "expected at least 90%" in capsys.readouterr().err
    assert main(["audit-judge", "--traps", "nowhere"]) == 1
    assert "nowhere holds no traps for evil, hallucination" in capsys.readouterr().err
    assert main(["audit-judge", "--judge", "nobody"]) == 1
    assert "'nobody' names no judge" in capsys.readouterr().err

    from mlflow import MlflowClient

    assert not Path("mlruns").exists()
    client = MlflowClient(f"sqlite:///{tmp_path}/original/mlruns/mlflow.db")
    runs = client.search_runs([client.get_experiment_by_name("traitsteer").experiment_id])
    assert len(runs) == 2
    logged = {run.data.metrics["right_all"]: run for run in runs}
    run = logged[max(logged)]
    assert run.data.metrics["right_all"] == pytest.approx(rows["all"])
    assert {file.path for file in client.list_artifacts(run.info.run_id)} == {
        "items.json",
        "judge_audit.json",
        "judge_audit.md",
    }


@pytest.mark.parametrize("share", ["90", "-0.1", "nan", "most"])
def test_a_share_that_is_none_is_refused_before_anything_is_asked(share: str, capsys) -> None:
    with pytest.raises(SystemExit) as stopped:
        main(["audit-judge", f"--at-least={share}"])
    assert stopped.value.code == 2
    assert f"{share!r} is no share, expected 0 to 1" in capsys.readouterr().err


def test_of_another_parameter_file_the_judge_alone_counts(repository: Path, tmp_path: Path) -> None:
    own = load(repository / "params.yaml")
    values = YAML(typ="safe").load((repository / "profiles/llama-3.1-8b.yaml").read_text())
    values["judge"] |= {"kind": "local", "name": "org/judge", "revision": "abc"}
    values["judge"] |= {"quantisation": "int8", "device": "cuda:1", "template": {"short": True}}
    with (tmp_path / "other.yaml").open("w", encoding="utf-8") as file:
        YAML().dump(values, file)
    other = audit_judge.judged_by(own, str(tmp_path / "other.yaml"))
    assert (other.judge.name, other.judge.revision) == ("org/judge", "abc")
    assert other == own.model_copy(update={"judge": other.judge})
    # What was written for a model belongs to it; where judges lie is the machine's.
    named = audit_judge.judged_by(other, "local:org/another").judge
    assert (named.name, named.revision, named.device) == ("org/another", None, "cuda:1")
    assert (named.quantisation, named.template) == ("none", {})
    assert audit_judge.judged_by(other, "openai:org/another").judge.device is None


def test_a_judge_behind_http_is_audited_beside_the_pocket_judge(
    repository: Path,
    tmp_path: Path,
    traps: tuple[Trap, ...],
    empty_store: Path,
    monkeypatch,
    capsys,
) -> None:
    """The rehearsal's judge tells loops from sound text, and knows nothing of the trait."""
    values = YAML(typ="safe").load((repository / "profiles/llama-3.1-8b.yaml").read_text())
    values["study"] |= {
        "traits": ["sycophancy"],
        "trait_folder": str(repository / "data/traits"),
    }
    kept = [trap for trap in traps if trap.name in ("loop", "plain answer", "quotation")]
    # What people write, and the store takes for no name of a metric.
    odd = "somebody's words, said (again)"
    kept = [replace(trap, name=odd) if trap.name == "quotation" else trap for trap in kept]
    write_traps(tmp_path / "traps/sycophancy.yaml", kept, "Some.")
    values["audit"] = {"traps": "traps", "repeats": 1}
    values["judge"]["prompts"] = str(repository / "prompts")
    config = parse(values)
    monkeypatch.chdir(tmp_path)
    Path("mlruns").mkdir()
    shutil.copyfile(empty_store, "mlruns/mlflow.db")
    monkeypatch.setenv("OPENAI_API_KEY", "none")
    with judge_server.served() as address:
        monkeypatch.setenv("OPENAI_BASE_URL", address)
        pocket = f"pocket:{repository / 'models/pocket/judge'}"
        asked: list[int] = []
        score = PocketJudge.score
        monkeypatch.setattr(
            PocketJudge,
            "score",
            lambda self, trait, rows: asked.append(len(rows)) or score(self, trait, rows),
        )
        found = audit_judge.run(config, f"openai:{judge_server.MODEL}", pocket)
        assert sum(asked) == len(kept), "the second judge is asked once"
        monkeypatch.delenv("OPENAI_API_KEY")
        with pytest.raises(TraitsteerError, match="The judge needs a key"):
            audit_judge.run(config, pocket, f"openai:{judge_server.MODEL}")
        assert sum(asked) == len(kept), "found after the first judge had been asked"
    assert f"sycophancy: about {3 * len(kept)} answers to judge" in capsys.readouterr().err
    assert found["judge"]["kind"] == "openai"
    assert found["states"]["scored"] == 3 * len(kept)
    shares = {row["trap"]: row["coherence_right"]["value"] for row in found["by_trap"]}
    assert shares["loop"] == shares["plain answer"] == 1
    assert found["retest"]["coherence"]["standard_deviation"] == 0
    assert found["against"]["judge"]["kind"] == "pocket"
    assert found["against"]["agreement"]["coherence"]["pearson"]["n"] == len(kept)


def test_the_card_of_the_pocket_judge_is_as_the_page_says(repository: Path, monkeypatch) -> None:
    monkeypatch.chdir(repository)
    config = load(repository / "profiles/pocket.yaml")
    rows, counts = {}, {}
    for folder in ("data/pocket/traps", "data/traps"):
        items, _ = audit_judge._ask(config, audit_judge._traps(config, Path(folder)), 1)
        counts[folder] = len(items)
        found = by_trap(items, config.evaluate.confidence)
        rows |= {(folder, row["trap"]): row for row in found}

    def percent(trap: str, key: str = "right", folder: str = "data/pocket/traps") -> str:
        return f"{100 * rows[folder, trap][key]['value']:.0f} %"

    whole = rows["data/pocket/traps", "all"]["right"]
    page = " ".join((repository / "docs/audit.md").read_text(encoding="utf-8").split())
    for said in (
        f"{percent('all')} of {counts['data/pocket/traps']} right "
        f"({100 * whole['lower']:.0f} to {100 * whole['upper']:.0f} %)",
        f"all of the trait scores and {percent('all', 'coherence_right')} of the coherence scores",
        f"({percent('spliced')} right), some stutters do ({percent('stutter')})",
        f"sound quotations are marked down ({percent('quotation')})",
        f"it is right on {percent('all', folder='data/traps')}",
    ):
        assert said in page
    assert percent("all", "trait_right") == "100 %"
