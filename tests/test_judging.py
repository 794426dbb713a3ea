"""Judging beside generation and over interruptions; what identifies a judge; what it will cost."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from judge_server import KEY, counts, gate
from ruamel.yaml import YAML
from tiny_judge import PROMPTS

from traitsteer.experiment.calls import Calls, announce_study, of_study
from traitsteer.experiment.judging import Judging, judge_all
from traitsteer.words.config import Config, parse
from traitsteer.words.errors import TraitsteerError
from traitsteer.words.records import Answer
from traitsteer.world.judges import judge_terms, open_judge
from traitsteer.world.prompt_files import read_prompts
from traitsteer.world.trait_folder import read_trait, write_trait

JUDGES = Path(__file__).parent / "judges"
TEXTS = [f"{letter} {word}" for letter in "abcdefgh" for word in ("moon", "zoo")]
Configured = Callable[..., Config]


@pytest.fixture
def configured(repository: Path, tmp_path: Path, monkeypatch) -> Configured:
    """Parameters of a judge in an empty folder, with prompts that are short."""
    monkeypatch.chdir(tmp_path)
    Path("prompts").mkdir()
    for name, text in PROMPTS.items():
        Path(f"prompts/{name}.txt").write_text(text + "\n", encoding="utf-8")

    def make(**judge: object) -> Config:
        values: dict[str, Any] = YAML(typ="safe").load(
            (repository / "params.yaml").read_text(encoding="utf-8")
        )
        for name in values["study"]["traits"]:
            trait = read_trait(repository / "data/pocket/traits" / name)
            write_trait(Path("traits") / name, replace(trait, definition=f"rubric of {name}"))
        values["study"]["trait_folder"] = "traits"
        values["judge"] |= {"kind": "openai", "name": "whole", "requests_at_once": 4} | judge
        with Path("params.yaml").open("w", encoding="utf-8") as file:
            YAML().dump(values, file)
        return parse(values)

    return make


@pytest.fixture
def address(judge_server: str, monkeypatch) -> str:
    monkeypatch.setenv("OPENAI_BASE_URL", judge_server)
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    return judge_server


RUN = """
import sys
from pathlib import Path

from traitsteer.experiment.judging import judge_all
from traitsteer.words.records import Answer
from traitsteer.world.openai_judge import Endpoint, Limits, OpenAIJudge
from traitsteer.world.pacing import Patience
from traitsteer.world.prompt_files import read_prompts
from traitsteer.world.score_cache import ScoreCache
from traitsteer.world.spending import Budget, Spending

texts = sys.argv[1].split(",")
spending = Spending(Path(".cache/spent.jsonl"), Budget())
limits = Limits(4, None, Patience(60, 300))
endpoint = Endpoint("whole", ScoreCache(Path(".cache/scores")), spending, limits, 0.25)
judge = OpenAIJudge(endpoint, read_prompts(Path("prompts")), {"evil": "rubric of evil"}, "")
found = dict(judge_all(judge, "evil", [Answer("how", text) for text in texts]))
print([found[number].trait_score for number in range(len(texts))])
"""


def test_a_run_that_is_killed_repeats_no_paid_call(
    configured: Configured, address: str, repository: Path
) -> None:
    config = configured()
    before = counts(address)
    open_judge(config, "evil")
    kept = len(list(Path(".cache/scores").rglob("*.json")))
    gate(address, 11)
    command = [sys.executable, "-c", RUN, ",".join(TEXTS)]
    environment = os.environ | {"PYTHONPATH": str(repository / "src")}
    try:
        with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE) as first:
            while len(list(Path(".cache/scores").rglob("[0-9a-f]*.json"))) < kept + 11:
                assert first.poll() is None
                time.sleep(0.02)
            first.send_signal(signal.SIGKILL)
        paid = counts(address) - before
        assert sum(paid.values()) == 1 + 11
    finally:
        gate(address, None)
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    asked = counts(address) - before
    assert all(asked[name] == 1 for name in paid), "a paid call was repeated"
    # Those that were in flight when the run was killed never came back to it.
    assert sum(asked.values()) <= len(asked) + config.judge.requests_at_once
    straight = open_judge(config, "evil").score("evil", [Answer("how", text) for text in TEXTS])
    assert done.stdout == f"{[each.trait_score for each in straight]}\n"
    assert counts(address) - before == asked
    assert KEY not in done.stdout + done.stderr
    assert not [path for path in Path.cwd().rglob("*.json*") if KEY in path.read_text()]


def test_leaving_drops_what_was_not_sent_and_keeps_what_was(
    configured: Configured, address: str
) -> None:
    judge = open_judge(configured(), "evil")
    before = counts(address)
    gate(address, 0)
    try:
        with pytest.raises(KeyboardInterrupt), Judging(judge, "evil") as judging:
            for number, text in enumerate(TEXTS):
                judging.add(number, Answer("how", text))
            gate(address, None)
            raise KeyboardInterrupt
    finally:
        gate(address, None)
    asked = counts(address) - before
    assert sum(asked.values()) < 3 * len(TEXTS)
    assert len(judge.score("evil", [Answer("how", text) for text in TEXTS])) == len(TEXTS)
    assert all((counts(address) - before)[name] == 1 for name in asked)


@pytest.mark.parametrize("kind", ["pocket", "local", "openai"])
def test_judging_beside_and_at_once_are_the_same(
    configured: Configured, address: str, repository: Path, kind: str
) -> None:
    name = {"pocket": repository / "models/pocket/judge", "local": JUDGES / "split"}
    judge = open_judge(configured(kind=kind, name=str(name.get(kind, "split"))), "evil")
    answers = [Answer("how", text) for text in (*TEXTS[:3], "a quiz") * 20]
    found = dict(judge_all(judge, "evil", answers))
    assert [found[number] for number in range(len(answers))] == judge.score("evil", answers)


def test_what_identifies_a_judge_costs_no_call_and_holds_no_key(
    configured: Configured, address: str, monkeypatch
) -> None:
    monkeypatch.setenv("OPENAI_BASE_URL", "https://user:secret@judge.example:8443/v1?key=secret")
    before = counts(address)
    terms = judge_terms(configured(), "evil")
    assert terms["host"] == "judge.example"
    assert "secret" not in str(terms) and KEY not in str(terms)
    assert counts(address) == before
    others = [
        configured(name="split"),
        configured(minimum_mass=0.5),
        configured(kind="local", name=str(JUDGES / "split")),
        configured(kind="local", name=str(JUDGES / "whole")),
    ]
    assert len({str(judge_terms(other, "evil")) for other in others} | {str(terms)}) == 5
    assert judge_terms(configured(requests_at_once=9, deadline_s=7), "evil") == terms
    assert judge_terms(configured(), "sycophancy")["rubric"] != terms["rubric"]
    Path("prompts/coherence.txt").write_text("How well? {question} {text}")
    assert judge_terms(configured(), "evil")["prompts"] != terms["prompts"]
    monkeypatch.setenv("OPENAI_MODEL", "whole")
    assert judge_terms(configured(name=None), "evil")["name"] == "whole"


def test_the_digest_is_that_of_the_terms(configured: Configured, address: str) -> None:
    from traitsteer.world.files import digest

    for config in (configured(), configured(kind="local", name=str(JUDGES / "split"))):
        assert open_judge(config, "evil").digest == digest(judge_terms(config, "evil"))


def test_prompts_need_their_fields_and_leave_braces_alone(repository: Path, tmp_path: Path) -> None:
    prompts = read_prompts(repository / "prompts")
    filled = prompts.fill("trait", rubric="R {text}", question="{rubric}", text="T {x}")
    assert "R {text}" in filled and "\n{rubric}\n" in filled and "T {x}" in filled
    with pytest.raises(TraitsteerError, match=r"trait.txt is not there"):
        read_prompts(tmp_path)
    for name, text in PROMPTS.items():
        (tmp_path / f"{name}.txt").write_text(text.replace("{question}", "?"))
    with pytest.raises(TraitsteerError, match=r"trait.txt has no \{question\}"):
        read_prompts(tmp_path)


def test_the_calls_of_a_study_are_told_beforehand(
    configured: Configured, repository: Path, capsys
) -> None:
    found = of_study(configured(prompts=str(repository / "prompts")))
    # Three questions an answer, three traits: 100 instruction pairs and 60 scenarios, both sides.
    traits = 3
    responses = (5 * 19 + 60) * 2 * 2
    assert set(found) >= {"vet", "search", "evaluate", "cross"}
    assert found["vet"].calls > 3 * traits * responses * 0.5
    whole = sum(found.values(), Calls())
    assert whole.tokens > 100 * whole.calls
    announce_study(configured())
    assert "the whole study takes about" in capsys.readouterr().err
    announce_study(configured(kind="pocket"))
    assert capsys.readouterr().err == ""


def test_a_judge_without_a_name_is_refused(configured: Configured, monkeypatch) -> None:
    monkeypatch.delenv("OPENAI_MODEL", raising=False)
    with pytest.raises(TraitsteerError, match="OPENAI_MODEL is not set"):
        judge_terms(configured(name=None), "evil")
    with pytest.raises(TraitsteerError, match="judge: name is null"):
        configured(kind="local", name=None)
