"""The judge behind HTTP, against a real server on loopback that speaks the protocol."""

import json
import math
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from traitsteer.words.errors import TraitsteerError
from traitsteer.words.records import Answer
from traitsteer.world.openai_judge import OpenAIJudge, expected_score


class Endpoint(BaseHTTPRequestHandler):
    """Scores a text by its number of words; fails once for each prompt that says `flaky`."""

    failed: set[str] = set()  # noqa: RUF012

    def do_GET(self) -> None:
        model = {"id": "counter", "object": "model", "created": 0, "owned_by": "test"}
        self._send(200, {"object": "list", "data": [model]})

    def do_POST(self) -> None:
        asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        prompt = asked["messages"][0]["content"]
        if "flaky" in prompt and prompt not in self.failed:
            self.failed.add(prompt)
            return self._send(500, {"error": {"message": "try again"}})
        if "refused" in prompt:
            return self._send(400, {"error": {"message": "logprobs are not supported"}})
        text = prompt.split("Text to score:\n")[1].split("\n\n")[0]
        words = len(text.split())
        if "vague" in text:
            tops = [("no", 0.9), (str(words), 0.1)]
        else:
            tops = [(str(words), 0.5), (str(words + 2), 0.25), (" the", 0.25)]
        tokens = [{"token": t, "logprob": math.log(p), "bytes": None} for t, p in tops]
        content = [tokens[0] | {"top_logprobs": tokens}]
        choice = {
            "index": 0,
            "finish_reason": "length",
            "message": {"role": "assistant", "content": tops[0][0]},
            "logprobs": {"content": content, "refusal": None},
        }
        self._send(
            200,
            {
                "id": "x",
                "object": "chat.completion",
                "created": 0,
                "model": "counter",
                "choices": [choice],
            },
        )

    def _send(self, status: int, body: dict) -> None:
        data = json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *_args: object) -> None:
        """Keep the test's output clean."""


@pytest.fixture
def endpoint(monkeypatch) -> Iterator[None]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), Endpoint)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    monkeypatch.setenv("OPENAI_BASE_URL", f"http://127.0.0.1:{server.server_port}/v1")
    monkeypatch.setenv("OPENAI_API_KEY", "not-a-key")
    try:
        yield
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def test_scores_are_expectations_in_the_order_of_the_answers(endpoint: None) -> None:
    judge = OpenAIJudge("counter", {"evil": "Count."}, requests_at_once=4, minimum_mass=0.25)
    texts = ["one two three", "a flaky text of six words", "vague", "one"]
    judged = judge.score("evil", [Answer("What?", text) for text in texts])
    expected = [3 + 2 / 3, 6 + 2 / 3, None, 1 + 2 / 3]
    assert [j.trait_score for j in judged] == pytest.approx(expected)
    assert [j.coherence for j in judged] == pytest.approx(expected)


def test_a_refusal_that_no_retry_changes_stops_the_run(endpoint: None) -> None:
    judge = OpenAIJudge("counter", {"evil": "Count."}, 1, 0.25)
    with pytest.raises(TraitsteerError, match="refuses the request with status 400"):
        judge.score("evil", [Answer("What?", "refused")])


def test_the_digest_follows_the_rubric(endpoint: None) -> None:
    first, second = (
        OpenAIJudge("counter", {"evil": rubric}, 1, 0.25).digest for rubric in ("Count.", "Weigh.")
    )
    assert first != second


def test_what_cannot_work_is_one_sentence_before_any_work(endpoint: None, monkeypatch) -> None:
    with pytest.raises(TraitsteerError, match=r"does not serve judge\.name 'other'"):
        OpenAIJudge("other", {}, 1, 0.25)
    with pytest.raises(TraitsteerError, match="no rubric for 'evil'"):
        OpenAIJudge("counter", {"kind": "x"}, 1, 0.25).score("evil", [])
    monkeypatch.setenv("OPENAI_BASE_URL", "http://127.0.0.1:9/v1")
    with pytest.raises(TraitsteerError, match="does not answer"):
        OpenAIJudge("counter", {}, 1, 0.25)
    monkeypatch.delenv("OPENAI_API_KEY")
    with pytest.raises(TraitsteerError, match="needs a key"):
        OpenAIJudge("counter", {}, 1, 0.25)


def test_expected_score_needs_enough_probability_on_numbers() -> None:
    assert expected_score({"80": math.log(0.6), " 40": math.log(0.2)}, 0.25) == pytest.approx(70)
    assert expected_score({"80": math.log(0.2), "good": math.log(0.8)}, 0.25) is None
    assert expected_score({"101": 0.0, "-5": 0.0, "٣": 0.0}, 0.25) is None
