"""What is found out when an endpoint is opened, against a server that says what it is told to."""

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
from traitsteer.world import openai_judge
from traitsteer.world.model_judge import Question
from traitsteer.world.openai_judge import Endpoint
from traitsteer.world.pacing import Patience
from traitsteer.world.score_cache import ScoreCache
from traitsteer.world.sending import Limits
from traitsteer.world.spending import Budget, Spending

KEY = "sk-proj-0123456789abcdefghijkl"


def said(*tokens: str, model: str = "judge-1", places: bool = True) -> dict:
    """A completion whose tokens are certain."""
    sure = [{"token": token, "logprob": math.log(0.98)} for token in tokens]
    content = [each | {"top_logprobs": [each]} for each in sure] if places else []
    message = {"role": "assistant", "content": "".join(tokens)}
    choice = {"finish_reason": "stop", "message": message, "logprobs": {"content": content}}
    return {"model": model, "choices": [choice]}


class Server:
    """Answers every completion with `reply`, `status` and after `delay` seconds."""

    def __init__(self) -> None:
        self.reply, self.status, self.delay, self.asked = said("60"), 200, 0.0, 0
        server = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                self.rfile.read(int(self.headers["Content-Length"]))
                server.asked += 1
                time.sleep(server.delay)
                data = json.dumps(server.reply).encode()
                self.send_response(server.status)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(data)))
                self.end_headers()
                self.wfile.write(data)

            def log_message(self, *_args: object) -> None:
                """Keep the test's output clean."""

        self.http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.thread = threading.Thread(target=self.http.serve_forever)
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
    def make(patience: Patience = Patience(30, 30, 0.01)) -> Endpoint:  # noqa: B008 - frozen
        spending = Spending(tmp_path / "spent.jsonl", Budget())
        limits = Limits(4, None, patience)
        return Endpoint("judge", ScoreCache(tmp_path / "scores"), spending, limits, 0.25)

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
    server.reply = said("60", model="")
    assert opened().ask([Question("three")])[0].state == "scored", "not every endpoint says"


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


@pytest.mark.parametrize("status", [401, 403])
def test_no_part_of_a_key_is_shown(server: Server, opened, status: int) -> None:
    server.status = status
    server.reply = {"error": {"message": f"Incorrect API key: {KEY[:8]}****{KEY[-4:]}"}}
    with pytest.raises(TraitsteerError, match=rf"status {status}; check OPENAI_API_KEY") as caught:
        opened()
    assert KEY[:8] not in str(caught.value) and KEY[-4:] not in str(caught.value)
