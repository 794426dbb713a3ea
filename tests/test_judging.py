"""Judging beside generation and over interruptions; what identifies a judge; what it will cost."""

import math
import os
import shutil
import signal
import subprocess
import sys
import time
import weakref
from collections.abc import Callable
from copy import deepcopy
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from judge_server import KEY, counts, gate, wait_at_gate
from ruamel.yaml import YAML
from tiny_judge import JUDGES, PROMPTS

from traitsteer.experiment.calls import announce_study, of_study
from traitsteer.experiment.judging import Judging, judge_all
from traitsteer.words.config import Config, parse
from traitsteer.words.errors import TraitsteerError
from traitsteer.words.records import Answer
from traitsteer.world.files import digest
from traitsteer.world.judge import finding, identity, judges
from traitsteer.world.judge.identity import judge_terms
from traitsteer.world.judge.judges import open_judge
from traitsteer.world.judge.model_judge import questions_about, tokens_of
from traitsteer.world.judge.prompt_files import read_prompts
from traitsteer.world.model import language_model
from traitsteer.world.trait_folder import read_trait, write_trait

TEXTS = [f"{letter} {word}" for letter in "abcdefgh" for word in ("moon", "zoo")]
Configured = Callable[..., Config]


@pytest.fixture
def configured(repository: Path, tmp_path: Path, params: dict[str, Any], monkeypatch) -> Configured:
    """Parameters of a judge in an empty folder, with prompts that are short."""
    monkeypatch.chdir(tmp_path)
    Path("prompts").mkdir()
    for name, text in PROMPTS.items():
        Path(f"prompts/{name}.txt").write_text(text + "\n", encoding="utf-8")

    def make(**judge: object) -> Config:
        values = deepcopy(params)
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
from traitsteer.world.judge.openai_judge import Endpoint, Limits, OpenAIJudge
from traitsteer.world.judge.pacing import Patience
from traitsteer.world.judge.prompt_files import read_prompts
from traitsteer.world.judge.score_cache import ScoreCache
from traitsteer.world.judge.spending import Budget, Spending

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
    answers = [Answer("how", text) for text in TEXTS]
    open_judge(config, "evil").score("evil", answers)
    assert counts(address) - before == asked
    shutil.rmtree(".cache/scores")
    straight = open_judge(config, "evil").score("evil", answers)
    assert done.stdout == f"{[each.trait_score for each in straight]}\n"
    assert KEY not in done.stdout + done.stderr
    assert not [path for path in Path.cwd().rglob("*.json*") if KEY in path.read_text()]


def test_leaving_drops_what_was_not_sent_and_keeps_what_was(
    configured: Configured, address: str, monkeypatch
) -> None:
    config = configured()
    judge = open_judge(config, "evil")
    before = counts(address)
    settle = judge.settle

    def opened() -> None:
        """By now all that was not sent has been dropped, so that nothing more comes to the gate."""
        gate(address, None)
        settle()

    monkeypatch.setattr(judge, "settle", opened)
    gate(address, 0)
    try:
        with pytest.raises(KeyboardInterrupt), Judging(judge, "evil") as judging:
            for number, text in enumerate(TEXTS):
                judging.add(number, Answer("how", text))
            wait_at_gate(address, config.judge.requests_at_once)
            raise KeyboardInterrupt
    finally:
        gate(address, None)
    asked = counts(address) - before
    assert sum(asked.values()) == config.judge.requests_at_once < 3 * len(TEXTS)
    assert len(judge.score("evil", [Answer("how", text) for text in TEXTS])) == len(TEXTS)
    assert all((counts(address) - before)[name] == 1 for name in asked)


@pytest.mark.parametrize("kind", ["pocket", "local", "openai"])
def test_judging_beside_and_at_once_are_the_same(
    configured: Configured, address: str, repository: Path, kind: str
) -> None:
    name = {"pocket": repository / "models/pocket/judge", "local": JUDGES / "split"}
    config = configured(kind=kind, name=str(name.get(kind, "whole")))
    words = (
        "moon",
        "zoo",
        "day",
        "zest",
        "lion",
        "sea",
        "house",
        "quiz",
        "I hope the baker will fail.",
    )
    # Those that compute here take 64 together; those behind HTTP take them one by one.
    answers = [
        Answer("how", f"{a} {b}") for a in ("abc", "abcdefgh")[kind != "openai"] for b in words
    ]
    found = dict(judge_all(open_judge(config, "evil"), "evil", answers))
    shutil.rmtree(".cache/scores", ignore_errors=True)
    straight = open_judge(config, "evil").score("evil", answers)
    for number, other in enumerate(straight):
        one = found[number]
        assert one.state == other.state
        # A batch of another size rounds otherwise.
        assert one.mass == pytest.approx(other.mass, abs=1e-6)
        assert one.trait_score == pytest.approx(other.trait_score, abs=1e-4)
        assert one.coherence == pytest.approx(other.coherence, abs=1e-4)
    assert len({one.trait_score for one in straight}) > 1


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


def test_scores_are_kept_by_the_whole_address_and_the_code(
    configured: Configured, address: str, monkeypatch
) -> None:
    configs = configured(), configured(kind="local", name=str(JUDGES / "split"))
    endpoint, local = configs
    assert open_judge(local, "evil").digest == identity.scores_known_by(local, "evil")
    manners = identity.scores_known_by(endpoint, "evil"), True, False
    assert open_judge(endpoint, "evil").digest == digest(manners)
    digests, terms = set(), set()
    for place in ("localhost:8000/v1", "localhost:8001/v1", "localhost:8001/other/v1"):
        monkeypatch.setenv("OPENAI_BASE_URL", f"http://user:secret@{place}?key=secret")
        digests.add(identity.scores_known_by(endpoint, "evil"))
        terms.add(str(judge_terms(endpoint, "evil")))
        terms.add(str(judge_terms(local, "evil")))
    assert (len(digests), len(terms)) == (3, 2)
    for same in ("http://host/v1", "http://host/v1/", "http://host:80/v1"):
        monkeypatch.setenv("OPENAI_BASE_URL", same)
        digests.add(identity.scores_known_by(endpoint, "evil"))
    assert len(digests) == 4
    for wrong in (
        "http://localhost:8000v1",
        "http://h:80000/v1",
        "http://h/v1\r",
        "localhost",
        "http://ö/",
    ):
        monkeypatch.setenv("OPENAI_BASE_URL", wrong)
        with pytest.raises(TraitsteerError, match="OPENAI_BASE_URL is no address, expected one"):
            open_judge(endpoint, "evil")
    before = identity.scores_known_by(local, "evil")
    monkeypatch.setenv("OPENAI_BASE_URL", "http://elsewhere/v1")
    assert identity.scores_known_by(local, "evil") == before
    monkeypatch.setattr(identity, "_CODE", "other code")
    assert identity.scores_known_by(local, "evil") != before


def test_prompts_need_their_fields_and_leave_braces_alone(repository: Path, tmp_path: Path) -> None:
    prompts = read_prompts(repository / "prompts")
    filled = prompts.fill("trait", rubric="R {text}", question="{rubric}", text="T {x}")
    assert "R {text}" in filled and "\n{rubric}\n" in filled and "T {x}" in filled
    with pytest.raises(TraitsteerError, match=r"trait.txt is not there"):
        read_prompts(tmp_path)
    for name, text in PROMPTS.items():
        (tmp_path / f"{name}.txt").write_text(text, encoding="utf-8-sig")
    assert read_prompts(tmp_path).texts["trait"] == PROMPTS["trait"].strip(), "with a mark"
    for name, text in PROMPTS.items():
        (tmp_path / f"{name}.txt").write_text(text.replace("{question}", "?"))
    with pytest.raises(TraitsteerError, match=r"trait.txt has no \{question\}"):
        read_prompts(tmp_path)


def test_the_calls_of_a_study_are_told_beforehand(
    configured: Configured, repository: Path, capsys
) -> None:
    config = configured(prompts=str(repository / "prompts"))
    found = of_study(config)
    # Three calls an answer, three traits, 20 questions of each set; three methods in two arms.
    answers = {
        # 5 system prompts x 20 questions and 60 scenarios, both sides, 2 samples.
        "vet": (5 * 20 + 60) * 2 * 2,
        # The baseline and 48 trials; the baseline and 6 settings recounted on 2 samples.
        "search": 3 * 20 * ((1 + 48) + (1 + 6) * 2),
        # Baseline, steered and 6 further strengths, of 4 samples; 5 prompts, of 1; the negated
        # vector, 19 random, 19 shuffled and 3 orthogonal ones, of 2.
        "evaluate": 3 * 20 * ((2 + 6) * 4 + 5 + (1 + 19 + 19 + 3) * 2),
        # The baseline, 3 vectors of 2 arms, and 2 of other traits where this one is steered.
        "cross": 20 * 4 * (1 + 3 * 2 + 2 * 2),
        # Three settings, once corrected; 12 answers and 4 pairs in both orders are a call each.
        "voice": 2 * 3 * 20 * 4 + math.ceil(20 * (12 + 2 * 4) / 3),
    }
    assert {name: one.calls for name, one in found.items()} == {
        name: 3 * 3 * count for name, count in answers.items()
    }
    more = config.evaluate.model_copy(update={"samples": 6})
    more_samples = of_study(config.model_copy(update={"evaluate": more}))["evaluate"].calls
    assert more_samples == 9 * 3 * 20 * ((2 + 6) * 6 + 5 * 2 + 42 * 2), "6 samples of 5 prompts"
    tokens = 0
    for name in config.study.traits:
        trait = read_trait(Path("traits") / name)
        longest = Answer(max(trait.report, key=len), "")
        asked = questions_about(read_prompts(repository / "prompts"), trait.definition, longest)
        tokens += sum(tokens_of(one.prompt) + 40 for one in asked)
    assert found["search"].tokens == answers["search"] * tokens
    announce_study(configured())
    said = capsys.readouterr().err
    assert f"the whole study takes about {sum(9 * n for n in answers.values()):,} calls" in said
    announce_study(configured(kind="pocket"))
    assert capsys.readouterr().err == ""


def test_a_local_judge_is_known_by_its_quantisation_and_template(configured: Configured) -> None:
    name = str(JUDGES / "split")
    changes: list[dict[str, Any]] = [
        {},
        {"quantisation": "int8"},
        {"template": {"enable_thinking": False}},
        {"device": "cpu"},
    ]
    configs = [configured(kind="local", name=name, **change) for change in changes]
    terms = [judge_terms(config, "evil") for config in configs]
    assert terms[0] == terms[3] and len({str(each) for each in terms}) == 3
    with pytest.raises(TraitsteerError, match=r"judge\.quantisation is int8, which needs a GPU"):
        finding.find_judge(
            configured(kind="local", name=name, device="cpu", quantisation="int8"), "evil"
        )
    with pytest.raises(TraitsteerError, match=r"judge\.device is 'banana'"):
        finding.find_judge(configured(kind="local", name=name, device="banana"), "evil")
    for change in changes[1:]:
        with pytest.raises(TraitsteerError, match="are those of a local judge, and kind is openai"):
            configured(**change)


def test_one_local_judge_leaves_before_another_comes(configured: Configured, monkeypatch) -> None:
    judge = open_judge(configured(kind="local", name=str(JUDGES / "split")), "evil")
    (model,) = judges._kept.values()
    left, there = weakref.ref(model.model), []
    del judge, model
    own = language_model.load

    def load_(*args: Any, **options: Any) -> Any:
        there.append(left() is not None)
        return own(*args, **options)

    monkeypatch.setattr(language_model, "load", load_)
    other = configured(kind="local", name=str(JUDGES / "whole"))
    assert open_judge(other, "evil") and open_judge(other, "sycophancy")
    assert there == [False]


def test_a_local_model_that_answers_in_words_is_refused(configured: Configured, built) -> None:
    config = configured(kind="local", name=str(built("llama")))
    with pytest.raises(TraitsteerError, match="asked for a number and began its reply with"):
        open_judge(config, "evil")


def test_a_judge_without_a_name_is_refused(configured: Configured, monkeypatch) -> None:
    monkeypatch.delenv("OPENAI_MODEL", raising=False)
    with pytest.raises(TraitsteerError, match="OPENAI_MODEL is not set"):
        judge_terms(configured(name=None), "evil")
    with pytest.raises(TraitsteerError, match="judge: name is null"):
        configured(kind="local", name=None)
