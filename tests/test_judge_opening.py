"""What is found out when an endpoint is opened, against a server that says what it is told to."""

import asyncio
import itertools
import json
import math
import socket
import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from traitsteer.words.errors import TraitsteerError
from traitsteer.world.judge import openai_judge
from traitsteer.world.judge.model_judge import Question
from traitsteer.world.judge.openai_client import Client
from traitsteer.world.judge.openai_judge import Endpoint
from traitsteer.world.judge.pacing import Patience
from traitsteer.world.judge.score_cache import ScoreCache
from traitsteer.world.judge.sending import Limits
from traitsteer.world.judge.spending import Budget, Spending

KEY = "sk-proj-0123456789abcdefghijkl"


def said(*tokens: str, model: str = "judge-1", places: bool = True) -> dict:
    """A completion whose tokens are certain."""
    sure = [{"token": token, "logprob": math.log(0.98)} for token in tokens]
    content = [each | {"top_logprobs": [each]} for each in sure] if places else []
    message = {"role": "assistant", "content": "".join(tokens)}
    choice = {"finish_reason": "stop", "message": message, "logprobs": {"content": content}}
    return {"model": model, "choices": [choice]}


class Server:
    """Answers every completion with `reply`, `status` and after `delay` seconds.

    Those in `before` come before it, each once.
    What is to go on from a beginning gets the next of `further`, pairs of status and reply.
    """

    def __init__(self) -> None:
        self.reply, self.status, self.delay, self.asked = said("60"), 200, 0.0, 0
        self.before: list[dict] = []
        self.further: Iterator[tuple[int, dict]] = iter(())
        server = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                server.asked += 1
                time.sleep(server.delay)
                status, reply = server.status, server.reply
                if server.before:
                    reply = server.before.pop(0)
                if body["messages"][-1]["role"] == "assistant":
                    status, reply = next(server.further)
                data = json.dumps(reply).encode()
                self.send_response(status)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(data)))
                self.end_headers()
                self.wfile.write(data)

            def log_message(self, *_args: object) -> None:
                """Keep the test's output clean."""

        self.http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.thread = threading.Thread(target=self.http.serve_forever, args=(0.01,))
        self.thread.start()


@pytest.fixture
def server(monkeypatch) -> Iterator[Server]:
    made = Server()
    monkeypatch.setenv("OPENAI_BASE_URL", f"http://127.0.0.1:{made.http.server_port}/v1")
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    yield made
    made.http.shutdown()
    made.thread.join()
    made.http.server_close()


@pytest.fixture
def opened(tmp_path: Path) -> Callable[..., Endpoint]:
    def make(
        patience: Patience = Patience(30, 30, 0.01),  # noqa: B008 - frozen
        anew: bool = False,
    ) -> Endpoint:
        spending = Spending(tmp_path / "spent.jsonl", Budget())
        limits = Limits(4, None, patience)
        cache = ScoreCache(tmp_path / "scores")
        return Endpoint("judge", cache, spending, limits, 0.25, anew=anew)

    return make


def test_a_judge_that_does_not_answer_with_a_number_is_refused(server: Server, opened) -> None:
    server.reply = said("<think>", "Let", " me")
    for _ in range(2):
        with pytest.raises(TraitsteerError, match=r"replied '<think>Let me'.* bare number"):
            opened()
    server.reply = said("60", places=False)
    with pytest.raises(TraitsteerError, match="gives no probabilities"):
        opened()
    server.reply = said("60")
    assert opened()._whole, "a judge that was mended is asked again"
    server.reply = said("<think>")
    opened()


def test_another_model_behind_the_same_name_ends_the_run(server: Server, opened) -> None:
    endpoint = opened()
    assert endpoint.ask([Question("one")])[0].state == "scored"
    server.reply = said("60", model="judge-2")
    for asked in (endpoint, opened()):
        with pytest.raises(TraitsteerError, match=r"was 'judge-1' .* is 'judge-2' now"):
            asked.ask([Question("two")])
    server.reply = said("60")
    assert opened().ask([Question("two")])[0].state == "scored", "the other reply was kept"
    for number, silent in enumerate(("", None)):
        server.reply = said("60") | {"model": silent}
        [heard] = opened().ask([Question(f"three {number}")])
        assert heard.state == "scored", "not every endpoint says"


def test_who_checks_asks_even_an_endpoint_that_is_known(server: Server, opened) -> None:
    opened()
    server.status, server.reply = 401, {"error": {"message": "no"}}
    opened()
    with pytest.raises(TraitsteerError, match="check OPENAI_API_KEY"):
        opened(anew=True)
    server.status, server.reply = 200, said("60", model="judge-2")
    with pytest.raises(TraitsteerError, match=r"was 'judge-1' .* is 'judge-2' now"):
        opened(anew=True)


def test_an_endpoint_that_fails_when_it_is_to_go_on_is_used_without(
    server: Server, opened, monkeypatch, capsys
) -> None:
    # The first wait is longer than all that is left.
    monkeypatch.setattr(openai_judge, "_OPENING_S", 10.0)
    impatient = Patience(10, 30, 60.0)
    server.reply = said("8", "5")
    server.further = itertools.repeat((500, {"error": {"message": "the last is no user"}}))
    endpoint = opened(impatient)
    assert not endpoint._continues
    assert "fails when it is to continue a reply (status 500)" in capsys.readouterr().err
    [heard] = endpoint.ask([Question("one")])
    assert heard.number == pytest.approx(85)
    server.further = itertools.repeat((200, said("5")))
    monkeypatch.setattr(openai_judge, "_OPENING_S", 30.0)
    assert not opened()._continues, "stages of one study read replies in two ways"
    assert opened(anew=True)._continues and opened()._continues


def test_a_reply_that_says_nothing_more_is_not_asked_for_for_ever(server: Server, opened) -> None:
    server.reply = said("8", "5")
    server.further = iter([(200, said("5"))])
    endpoint = opened()
    assert endpoint._continues
    # 7 beside the 8 may go on, and is asked how.
    likely, beside = ({"token": t, "logprob": math.log(p)} for t, p in (("8", 0.6), ("7", 0.35)))
    server.reply["choices"][0]["logprobs"]["content"][0] = likely | {
        "top_logprobs": [likely, beside]
    }
    silent = said()
    silent["choices"][0] |= {"finish_reason": "length", "logprobs": None}
    server.further = itertools.repeat((200, silent))
    [heard] = endpoint.begin([Question("one")], list).result(timeout=60)
    assert heard.number == pytest.approx(85)
    assert heard.mass == pytest.approx(0.6, abs=0.02)


def broken(finish: str | None, **more: object) -> dict:
    """A reply that holds a number and its probabilities, and ends in this way."""
    reply = said("60")
    reply["choices"][0] |= {"finish_reason": finish} | more
    return reply


@pytest.mark.parametrize(
    "reply",
    [
        said("60") | {"error": {"message": "overloaded", "code": 502}},
        {"error": {"message": "overloaded", "code": 502}},
        broken("stop", error={"message": "the provider has gone", "code": 502}),
        *map(broken, ("error", "abort", "aborted", "cancelled", "insufficient_system_resource")),
        broken(None),
        broken("error", message={"role": "assistant", "content": ""}, logprobs=None),
    ],
)
def test_a_reply_that_says_it_failed_is_asked_for_again(
    server: Server, opened, reply: dict
) -> None:
    server.before = [reply]
    endpoint = opened()
    assert server.asked == 2
    server.before, server.reply = [reply, reply], said("85")
    [heard] = endpoint.ask([Question("one")])
    assert heard.number == pytest.approx(85) and server.asked == 5
    server.before = [reply]
    assert opened().ask([Question("one")]) == [heard]
    assert server.asked == 5, "what was kept is the reply that came whole"


def test_an_empty_reply_is_missing_and_asked_for_anew_by_the_next_run(
    server: Server, opened
) -> None:
    endpoint = opened()
    empty = said(places=False)
    for finish in ("stop", "length"):
        empty["choices"][0]["finish_reason"] = finish
        server.before = [empty]
        [heard] = endpoint.ask([Question(finish)])
        assert (heard.state, heard.number) == ("failed", None)
        [heard] = opened().ask([Question(finish)])
        assert heard.number == pytest.approx(60)
    asked = server.asked
    opened().ask([Question("stop"), Question("length")])
    assert server.asked == asked


def test_a_beginning_that_was_all_there_is_is_kept(server: Server, opened) -> None:
    server.reply = said("8", "5")
    server.further = iter([(200, said("5")), (200, said(places=False))])
    likely, beside = ({"token": t, "logprob": math.log(p)} for t, p in (("8", 0.6), ("7", 0.35)))
    endpoint = opened()
    server.reply["choices"][0]["logprobs"]["content"][0] = likely | {
        "top_logprobs": [likely, beside]
    }
    [heard] = endpoint.ask([Question("one")])
    assert heard.number == pytest.approx((0.6 * 0.98 * 85 + 0.35 * 7) / (0.6 * 0.98 + 0.35))
    asked = server.asked
    assert opened().ask([Question("one")]) == [heard] and server.asked == asked


def test_one_reply_without_probabilities_is_asked_for_again(server: Server, opened) -> None:
    bare = said("60", places=False)
    # The one was opened by this run, the other by an earlier one.
    for number, endpoint in enumerate((opened(), opened())):
        server.before = [bare]
        [heard] = endpoint.ask([Question(f"{number}")])
        assert heard.state == "scored"
    server.reply = bare
    impatient = opened(Patience(30, 0.2, 0.05))
    [heard] = impatient.ask([Question("three")])
    assert (heard.state, heard.number) == ("failed", None)
    with pytest.raises(TraitsteerError, match=r"keeps failing \(a reply without probabilities\)"):
        impatient.ask([Question(f"{number} t") for number in range(16)])
    with pytest.raises(TraitsteerError, match="gives no probabilities"):
        opened(anew=True)


def test_an_empty_address_is_the_usual_one(server: Server, monkeypatch) -> None:
    monkeypatch.setenv("OPENAI_BASE_URL", "")
    client = Client("judge", 30)
    assert client.address == "api.openai.com:None/v1/"
    asyncio.run(client.close())
    monkeypatch.setenv("OPENAI_BASE_URL", "no address")
    with pytest.raises(TraitsteerError, match="OPENAI_BASE_URL is no address"):
        Client("judge", 30)


def test_a_model_may_be_loaded_by_the_first_request(server: Server, opened, monkeypatch) -> None:
    monkeypatch.setattr(openai_judge, "_OPENING_S", 0.2)
    server.delay = 1.0
    assert opened()._whole


def test_an_endpoint_that_is_not_there_is_given_up_soon(
    server: Server, opened, monkeypatch
) -> None:
    monkeypatch.setattr(openai_judge, "_OPENING_S", 0.3)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        monkeypatch.setenv("OPENAI_BASE_URL", f"http://127.0.0.1:{free.getsockname()[1]}/v1")
        began = time.monotonic()
        with pytest.raises(TraitsteerError, match="does not answer"):
            opened(Patience(300, 300, 0.01))
    assert time.monotonic() - began < 60


@pytest.mark.parametrize("status", [400, 401, 403])
def test_no_part_of_a_key_is_shown(server: Server, opened, status: int) -> None:
    server.status = status
    server.reply = {"error": {"message": f"Incorrect API key: {KEY[:8]}****{KEY[-4:]}"}}
    with pytest.raises(TraitsteerError, match=rf"status {status}; check OPENAI_API_KEY") as caught:
        opened()
    assert KEY[:8] not in str(caught.value) and KEY[-4:] not in str(caught.value)


@pytest.mark.parametrize("key", [f"{KEY}\r", f" {KEY}", f"“{KEY}”"])
def test_a_key_that_cannot_be_sent_is_one_sentence(
    server: Server, opened, key: str, monkeypatch
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", key)
    with pytest.raises(TraitsteerError, match="OPENAI_API_KEY holds white space or") as caught:
        opened()
    assert KEY not in str(caught.value) and server.asked == 0


def test_an_endpoint_that_comes_to_refuse_every_prompt_ends_the_run(server: Server, opened) -> None:
    endpoint = opened()
    server.status, server.reply = 403, {"error": {"message": "no longer served to you"}}
    with pytest.raises(TraitsteerError, match=r"status 403 \(.*no longer served to you"):
        endpoint.ask([Question(f"{number} t") for number in range(4)])
    asked = server.asked
    with pytest.raises(TraitsteerError, match="status 403"):
        endpoint.ask([Question("another")])
    assert server.asked == asked
