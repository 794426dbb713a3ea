"""What is kept and counted on the way to an endpoint, where it turns requests away or breaks."""

import asyncio
import json
from pathlib import Path

import pytest
from skipping_clock import skipping_loop

from traitsteer.maths.expectation import Place
from traitsteer.words.errors import TraitsteerError
from traitsteer.world.judge.openai_client import Trouble
from traitsteer.world.judge.pacing import Patience
from traitsteer.world.judge.replies import Reply
from traitsteer.world.judge.score_cache import ScoreCache
from traitsteer.world.judge.sending import GaveUp, Left, Limits, Sender
from traitsteer.world.judge.spending import Budget, Spending

REPLY = Reply((Place("85", {"85": 1.0}),), "85", True, False, 30)
PATIENCE = Patience(request=60, answer=300)
A_MINUTE = 80


class Limited:
    """Answers so many requests a minute at once, and turns all others away."""

    host, address, model = "host", "host/v1", "m"

    def __init__(self, says: float | None) -> None:
        self.says, self.answered, self.turned_away, self.free = says, 0, 0, 0.0

    async def send(self, prompt: str, begun: str, seconds: float) -> Reply | Trouble:
        now = asyncio.get_running_loop().time()
        await asyncio.sleep(0.2)
        if now < self.free:
            self.turned_away += 1
            return Trouble("status 429", self.says, too_many=True)
        self.free = max(self.free, now) + 60 / A_MINUTE
        self.answered += 1
        return REPLY


def sender(folder: Path, client: Limited, monkeypatch, budget: Budget) -> Sender:
    monkeypatch.setenv("OPENAI_API_KEY", "key")
    spending = Spending(folder / "spent.jsonl", budget)
    limits = Limits(10, None, PATIENCE)
    made = Sender("m", ScoreCache(folder / "scores"), spending, limits, 0)
    made.client = client
    return made


@pytest.mark.parametrize("says", [None, 1.0])
def test_a_rate_limit_turns_no_question_into_a_missing_one_and_costs_no_budget(
    tmp_path: Path, monkeypatch, says: float | None
) -> None:
    """More questions than the limit allows in the time that one question is waited for."""
    client, questions = Limited(says), 600
    sending = sender(tmp_path, client, monkeypatch, Budget(calls=questions))

    async def ask() -> list[Reply]:
        asked = (sending.reply(str(n), "", Left(PATIENCE.answer)) for n in range(questions))
        return await asyncio.gather(*asked)

    loop = skipping_loop()
    try:
        assert loop.run_until_complete(ask()) == [REPLY] * questions
        allowed = questions * 60 / A_MINUTE
        assert allowed > PATIENCE.answer and loop.time() < 1.4 * allowed
    finally:
        loop.close()
    assert client.answered == questions and 0 < client.turned_away < questions / 4
    lines = map(json.loads, (tmp_path / "spent.jsonl").read_text().splitlines())
    assert sum(line["calls"] for line in lines) == questions


@pytest.mark.parametrize(("says", "within"), [(None, 400.0), (1.0, 400.0), (86400.0, 10.0)])
def test_an_endpoint_that_turns_everything_away_ends_the_run(
    tmp_path: Path, monkeypatch, says: float | None, within: float
) -> None:
    client = Limited(says)
    client.free = float("inf")
    sending = sender(tmp_path, client, monkeypatch, Budget())

    async def ask() -> list[Reply | BaseException]:
        asked = (sending.reply(str(n), "", Left(PATIENCE.answer)) for n in range(40))
        return await asyncio.gather(*asked, return_exceptions=True)

    loop = skipping_loop()
    try:
        ended = loop.run_until_complete(ask())
        assert loop.time() < within
    finally:
        loop.close()
    assert {type(each) for each in ended} <= {GaveUp, TraitsteerError}
    assert any("set judge.requests_per_minute" in str(each) for each in ended)


def test_what_was_kept_is_read_as_it_was_and_what_is_broken_is_asked_again(
    tmp_path: Path, capsys
) -> None:
    cache = ScoreCache(tmp_path)
    half = {"text": "\ud83d", "chances": {"\ud83d": 0.5, "é": 0.25}}
    cache.put({"prompt": "one"}, half)
    assert cache.get({"prompt": "one"}) == half
    assert cache.get({"prompt": "two"}) is None
    [file] = tmp_path.rglob("*.json")
    for broken in (b"", file.read_bytes()[:9]):
        file.write_bytes(broken)
        assert cache.get({"prompt": "one"}) is None
        assert f"{file} cannot be read" in capsys.readouterr().err
    cache.put({"prompt": "one"}, half)
    assert cache.get({"prompt": "one"}) == half


def test_a_count_that_was_deleted_begins_anew_whenever_it_was(tmp_path: Path) -> None:
    path = tmp_path / "spent.jsonl"
    spending = Spending(path, Budget(calls=30))
    for _ in range(20):
        spending.begin(1000)
    path.unlink()
    # A request that was in flight ends before the next one is sent.
    spending.correct(1000, 7)
    for _ in range(30):
        spending.begin(1000)
    with pytest.raises(TraitsteerError, match="cost 30 calls so far"):
        spending.begin(1000)
