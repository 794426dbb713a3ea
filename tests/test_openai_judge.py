"""The judge behind HTTP: a real server with a tiny model, and a proxy that spoils its replies."""

import asyncio
import json
import logging
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from judge_proxy import Proxy
from judge_server import KEY, counts, gate, wait_at_gate
from skipping_clock import skipping_loop
from tiny_judge import JUDGES, PROMPTS

from traitsteer.maths.expectation import CHOICES
from traitsteer.words.errors import TraitsteerError
from traitsteer.words.records import Answer, Judgement
from traitsteer.world.judge.local_judge import LocalModel
from traitsteer.world.judge.model_judge import Question
from traitsteer.world.judge.openai_judge import Endpoint, Limits, OpenAIJudge
from traitsteer.world.judge.pacing import Pace, Patience
from traitsteer.world.judge.prompt_files import JudgePrompts
from traitsteer.world.judge.score_cache import ScoreCache
from traitsteer.world.judge.spending import Budget, Spending
from traitsteer.world.model.language_model import load

TEXTS = ("the moon", "a zoo", "a dim day", "zest")
ANSWERS = [Answer("how", text) for text in TEXTS]
UNHURRIED = Patience(request=60, answer=120, first_wait=0.01)
Opened = Callable[..., Endpoint]


@pytest.fixture
def opened(judge_server: str, tmp_path: Path, monkeypatch) -> Opened:
    """Opens an endpoint with a folder of its own for what is kept."""
    monkeypatch.setenv("OPENAI_BASE_URL", judge_server)
    monkeypatch.setenv("OPENAI_API_KEY", KEY)

    def make(
        model: str = "whole",
        patience: Patience = UNHURRIED,
        at_once: int = 8,
        budget: Budget = Budget(),  # noqa: B008 - frozen
        **more: object,
    ) -> Endpoint:
        cache = ScoreCache(tmp_path / "scores")
        spending = Spending(tmp_path / "spent.jsonl", budget)
        return Endpoint(model, cache, spending, Limits(at_once, None, patience), 0.25, **more)

    return make


@pytest.fixture
def spoilt(judge_server: str, monkeypatch) -> Iterator[Callable[..., Proxy]]:
    """Puts a proxy between, which spoils replies by a plan."""
    proxies = []

    def make(plan: Callable[[str, int], str]) -> Proxy:
        proxies.append(Proxy(judge_server, plan))
        monkeypatch.setenv("OPENAI_BASE_URL", proxies[-1].url)
        return proxies[-1]

    yield make
    for proxy in proxies:
        proxy.close()


def judge(endpoint: Endpoint) -> OpenAIJudge:
    return OpenAIJudge(endpoint, JudgePrompts(PROMPTS), {"evil": "rubric"}, "digest")


def exact(name: str, folder: Path, questions: list[Question]) -> list:
    model = load(str(JUDGES / name), chat=True, device="cpu")
    return LocalModel(model, ScoreCache(folder), 8, 4096, 0.25).ask(questions)


@pytest.mark.parametrize(
    ("model", "within"),
    # Digits one by one, continued: only what is below the likeliest 20 is missing. Numbers in one
    # token: many of them are. Digits that cannot be asked for: all beside the likeliest one are.
    [("split", 0.5), ("whole", 2.0), ("whole-strict", 2.0), ("split-strict", 6.0)],
)
def test_scores_are_those_of_the_exact_distribution(
    opened: Opened, tmp_path: Path, model: str, within: float
) -> None:
    questions = [Question(f"{text} t") for text in TEXTS]
    found = opened(model).ask(questions)
    expected = exact(model.partition("-")[0], tmp_path / "exact", questions)
    for one, other in zip(found, expected, strict=True):
        assert one.state == other.state == "scored"
        assert abs(one.number - other.number) < within
        assert one.mass <= other.mass + 0.01
    assert max(one.number for one in found) - min(one.number for one in found) > 50


def test_manners_are_found_out_and_remembered(opened: Opened, judge_server: str) -> None:
    expected = {
        "split": (False, True),
        "whole": (True, False),
        "split-strict": (False, False),
        "split-deaf": (False, False),
    }
    for model, manners in expected.items():
        for _ in range(2):
            endpoint = opened(model)
            assert (endpoint._whole, endpoint._continues) == manners
        before = counts(judge_server)
        opened(model)
        assert counts(judge_server) == before


@pytest.mark.parametrize("model", ["split", "whole"])
def test_judgements_states_and_preferences(opened: Opened, model: str) -> None:
    judged = judge(opened(model))
    plain, zest, quiz, king, withheld = judged.score(
        "evil",
        [Answer("how", text) for text in ("the moon", "a zoo", "a quiz", "a king", "forbidden")],
    )
    assert plain.state == zest.state == "scored"
    assert plain.trait_score < 35 and zest.trait_score > 75 and zest.mass > 0.9
    assert quiz == Judgement(None, None, "refused", quiz.mass) and quiz.mass < 0.1
    assert king == Judgement(None, None, "low mass", king.mass) and king.mass < 0.1
    assert withheld == Judgement(None, None, "refused", 0.0)
    assert judged.prefer([(Answer("how", "a moon"), Answer("how", "a sun"))]) == [1.0]
    sounds = judged.naturalness([Answer("how", "a zoo"), Answer("how", "a quiz")])
    assert sounds[0] > 75 and sounds[1] is None
    assert judged.submit("evil", Answer("how", "a zoo")).result() == zest


def test_nothing_is_asked_twice_and_another_attempt_asks_again(
    opened: Opened, judge_server: str
) -> None:
    before = counts(judge_server)
    first = judge(opened()).score("evil", ANSWERS + ANSWERS)
    asked = counts(judge_server) - before
    assert first[: len(ANSWERS)] == first[len(ANSWERS) :]
    assert set(asked.values()) == {1}, "equal questions were paid for twice"
    assert judge(opened()).score("evil", ANSWERS) == first[: len(ANSWERS)]
    assert counts(judge_server) - before == asked
    assert judge(opened(attempt=1)).score("evil", ANSWERS) == first[: len(ANSWERS)]
    assert set((counts(judge_server) - before).values()) == {2}


FAULTS = ("429 soon", "429", "500", "503", "cut", "nonsense", "html", "odd")


def test_whatever_goes_wrong_on_the_way_changes_no_score(
    opened: Opened, spoilt: Callable[..., Proxy], judge_server: str, tmp_path: Path
) -> None:
    questions = [Question(f"{text} {end}") for text in TEXTS for end in "tco"]
    questions += [Question(f"{text} p", CHOICES) for text in TEXTS]
    straight = opened().ask(questions)
    used: list[str] = []

    def plan(prompt: str, attempt: int) -> str:
        """The first attempt of each prompt fails, each in another way; the second comes through."""
        if attempt or "minutes" in prompt:
            return ""
        used.append(prompt)
        return FAULTS[len(used) % len(FAULTS)]

    proxy = spoilt(plan)
    found = opened(at_once=16).ask(questions)
    assert found == straight
    assert set(FAULTS) <= set(proxy.faults)
    # Each prompt was answered once by way of the proxy: whatever came whole was kept.
    again = opened().ask(questions)
    assert again == straight
    spoiled = sum(count for fault, count in proxy.faults.items() if fault)
    assert sum(proxy.attempts.values()) == len(proxy.attempts) + spoiled


@pytest.mark.parametrize("fault", ["stall", "drip"])
def test_a_reply_that_does_not_end_is_left_at_the_deadline(
    opened: Opened, spoilt: Callable[..., Proxy], fault: str
) -> None:
    questions = [Question("a zoo t")]
    straight = opened().ask(questions)
    proxy = spoilt(lambda prompt, attempt: "" if attempt or "minutes" in prompt else fault)
    patience = Patience(request=1, answer=300, first_wait=0.01)
    assert opened(patience=patience).ask(questions) == straight
    assert proxy.faults[fault] == 1


def test_an_endpoint_that_only_fails_ends_the_run(
    opened: Opened, spoilt: Callable[..., Proxy], tmp_path: Path
) -> None:
    proxy = spoilt(lambda prompt, attempt: "" if "minutes" in prompt else "503")
    opened()
    endpoint = opened(patience=Patience(request=30, answer=0.2, first_wait=0.02))
    kept = len(list((tmp_path / "scores").rglob("*.json")))
    [heard] = endpoint.ask([Question("a zoo t")])
    assert heard.state == "failed" and heard.number is None
    many = [Question(f"{'abcdefghijlm'[n % 12]} day {n} t") for n in range(60)]
    with pytest.raises(TraitsteerError, match=r"keeps failing \(.*kept"):
        endpoint.ask(many)
    asked = sum(proxy.attempts.values())
    with pytest.raises(TraitsteerError, match="keeps failing"):
        endpoint.ask(many)
    assert sum(proxy.attempts.values()) == asked, "it went on asking"
    assert len(list((tmp_path / "scores").rglob("*.json"))) == kept, "a failure was kept"


def test_an_endpoint_that_never_answers_ends_the_run_before_every_question_is_tried(
    opened: Opened, spoilt: Callable[..., Proxy]
) -> None:
    proxy = spoilt(lambda prompt, attempt: "" if "minutes" in prompt else "stall")
    opened()
    endpoint = opened(at_once=8, patience=Patience(request=0.2, answer=0.5, first_wait=0.01))
    many = [Question(f"{'abcdefghijlm'[n % 12]} day {n} t") for n in range(120)]
    with pytest.raises(TraitsteerError, match=r"keeps failing \(.*kept"):
        endpoint.ask(many)
    # Questions take turns, so that none fails for good until the others have had theirs.
    assert 8 <= len(proxy.attempts) < len(many)


def test_an_endpoint_that_answers_no_first_attempt_is_heard_to_the_end(
    opened: Opened, spoilt: Callable[..., Proxy]
) -> None:
    questions = [Question(f"{'abcdefghijlm'[n % 12]} day {n} t") for n in range(24)]
    straight = opened().ask(questions)
    proxy = spoilt(lambda prompt, attempt: "" if attempt or "minutes" in prompt else "stall")
    patience = Patience(request=1, answer=300, first_wait=0.01)
    assert opened(patience=patience, at_once=12).ask(questions) == straight
    assert proxy.faults["stall"] == len(questions)


def test_a_prompt_that_the_endpoint_will_not_take_is_missing_alone(
    opened: Opened, judge_server: str, capsys: pytest.CaptureFixture[str]
) -> None:
    endpoint = opened()
    flagged, well = endpoint.ask([Question("moderated t"), Question("a zoo t")])
    assert (flagged.state, flagged.number, well.state) == ("failed", None, "scored")
    many = [Question(f"moderated {n} t") for n in range(30)]
    assert {each.state for each in endpoint.ask(many)} == {"failed"}
    # As when an interrupted run is taken up, in which all others are kept.
    again = opened().ask([*many, Question("a zoo t"), Question("another zoo t")])
    assert [each.state for each in again] == ["failed"] * 30 + ["scored"] * 2
    said = capsys.readouterr().err
    assert said.count("status 403 (") == 2 and "your input was flagged" in said


def test_what_cannot_succeed_is_one_sentence_without_the_key(
    opened: Opened, judge_server: str, spoilt: Callable[..., Proxy], monkeypatch, caplog
) -> None:
    caplog.set_level(logging.DEBUG)
    with pytest.raises(TraitsteerError, match=r"does not serve judge\.name 'other'"):
        opened("other")
    with pytest.raises(TraitsteerError, match="gives no probabilities"):
        opened("split-mute")
    monkeypatch.setenv("OPENAI_API_KEY", "sk-wrong-" + KEY)
    with pytest.raises(TraitsteerError, match=r"status 401.*check OPENAI_API_KEY") as caught:
        opened()
    assert KEY not in str(caught.value)
    assert "\n" not in str(caught.value)
    assert KEY not in caplog.text
    monkeypatch.setenv("OPENAI_BASE_URL", "http://127.0.0.1:9/v1")
    with pytest.raises(TraitsteerError, match="does not answer"):
        opened("elsewhere", patience=Patience(1, 0.2, 0.01))
    monkeypatch.delenv("OPENAI_API_KEY")
    with pytest.raises(TraitsteerError, match="needs a key"):
        opened()


def test_the_key_is_in_no_file(opened: Opened, tmp_path: Path) -> None:
    judge(opened()).score("evil", ANSWERS[:2])
    files = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert files
    assert not [path for path in files if KEY.encode() in path.read_bytes()]


def test_a_budget_ends_the_run_and_holds_over_the_next(
    opened: Opened, judge_server: str, tmp_path: Path
) -> None:
    before = sum(counts(judge_server).values())
    with pytest.raises(
        TraitsteerError, match=r"judge\.budget\.calls is 7; what was scored is kept"
    ):
        judge(opened(budget=Budget(calls=7))).score("evil", ANSWERS)
    assert sum(counts(judge_server).values()) - before == 7
    with pytest.raises(TraitsteerError, match="cost 7 calls so far"):
        judge(opened(budget=Budget(calls=7))).score("evil", ANSWERS)
    with pytest.raises(TraitsteerError, match=r"judge\.budget\.tokens is 80"):
        judge(opened(budget=Budget(tokens=80))).score("evil", ANSWERS)
    assert sum(counts(judge_server).values()) - before == 7
    judge(opened(budget=Budget(calls=1000))).score("evil", ANSWERS)
    lines = (tmp_path / "spent.jsonl").read_text().splitlines()
    spent = [json.loads(line) for line in lines]
    calls = sum(counts(judge_server).values()) - before
    assert (sum(s["calls"] for s in spent), sum(s["tokens"] for s in spent)) == (calls, 10 * calls)


def test_as_many_requests_are_in_flight_as_allowed_and_no_more(
    opened: Opened, spoilt: Callable[..., Proxy], judge_server: str
) -> None:
    flying, most = set(), []

    def plan(prompt: str, attempt: int) -> str:
        flying.add(prompt)
        most.append(len(flying))
        return ""

    proxy = spoilt(plan)
    passed_on = proxy.passed_on

    def landed(handler: object, body: bytes) -> bytes:
        data = passed_on(handler, body)
        with proxy.lock:
            flying.discard(json.dumps(json.loads(body)["messages"]))
        return data

    proxy.passed_on = landed
    endpoint = opened(at_once=3)
    gate(judge_server, 0)
    try:
        future = endpoint.begin([Question(f"day {n} t") for n in range(12)], len)
        wait_at_gate(judge_server, 3)
    finally:
        gate(judge_server, None)
    assert future.result() == 12
    assert max(most) == 3


def test_the_pace_is_kept_and_a_pause_holds_everybody_up() -> None:
    loop, begun = skipping_loop(), []
    pace = Pace(per_minute=600)

    async def one() -> None:
        await pace.turn()
        begun.append(loop.time())

    async def several() -> None:
        await asyncio.gather(*(one() for _ in range(4)))
        pace.pause(5.0)
        await asyncio.gather(one(), one())

    loop.run_until_complete(several())
    loop.close()
    assert begun == pytest.approx([0.0, 0.1, 0.2, 0.3, 5.3, 5.4], abs=1e-6)


def test_every_attempt_waits_for_its_turn(
    opened: Opened, spoilt: Callable[..., Proxy], monkeypatch
) -> None:
    turns, turn = [], Pace.turn

    async def counted(self: Pace) -> None:
        turns.append(self)
        await turn(self)

    monkeypatch.setattr(Pace, "turn", counted)
    proxy = spoilt(lambda prompt, attempt: "" if attempt else "503")
    opened().ask([Question(f"{text} t") for text in TEXTS])
    assert len(turns) == sum(proxy.attempts.values()) > 2 * len(TEXTS)


def test_a_gate_that_opens_late_is_waited_for(opened: Opened, judge_server: str) -> None:
    endpoint = opened()
    gate(judge_server, 0)
    try:
        future = judge(endpoint).submit("evil", ANSWERS[0])
        wait_at_gate(judge_server, 1)
        assert not future.done()
    finally:
        gate(judge_server, None)
    assert future.result().state == "scored"
