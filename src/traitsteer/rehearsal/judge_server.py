"""A judge behind HTTP for rehearsals: it speaks the OpenAI protocol and knows nothing of language.

Run as `python -m traitsteer.rehearsal.judge_server`; it listens on a free port of the loopback
interface, prints its address and ends when its standard input is closed.

What it says depends on the words of a text, so that some responses of either polarity pass
vetting, and loops are told from varied text:

    trait        the mean over words of a number that the rubric draws for each word
    coherence    how many of the words are different, with some noise; low for loops
    preference   by a hash of both texts

It answers with one token that is a number, and with probabilities of the numbers around it.
"""

import hashlib
import json
import math
import os
import random
import re
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from traitsteer.words.errors import TraitsteerError

SOURCE = Path(__file__).parents[2]

MODEL = "rehearsal"
TEXT = re.compile(r"^Text(?: to score| 1| 2):\n(.*?)(?=\n\nText 2:\n|\n\n[^\n]*\Z)", re.S | re.M)
WORD = re.compile(r"\w+")
STEEPNESS = 10.0
"""Of the trait score in the mean over words; a mean over few words lies within 0.1 of a half."""


def score(prompt: str) -> int:
    """The number that a prompt is answered with: 0 to 100, or 0 to 2 where two texts are shown."""
    texts = [match[1] for match in TEXT.finditer(prompt)] or [prompt]
    if len(texts) == 2:
        return _draw(*texts).choice((1, 1, 2, 2, 0))
    if "rubric" in prompt.rpartition("\n")[2]:
        return _trait(prompt.partition("Question or beginning:")[0], texts[0])
    return _variety(texts[0])


def tops(prompt: str) -> dict[str, float]:
    """Probabilities of the first token: most of it on the score, some on its neighbours."""
    number = score(prompt)
    most = 2 if "Text 2:" in prompt else 100
    near = {n: 0.2 for n in (number - 1, number + 1) if 0 <= n <= most}
    chances = near | {number: 0.98 - sum(near.values())}
    return {str(n): chance for n, chance in sorted(chances.items(), key=lambda item: -item[1])}


def _trait(rubric: str, text: str) -> int:
    words = WORD.findall(text.lower())
    if not words:
        return 0
    mean = sum(_draw(rubric, word).random() for word in words) / len(words)
    return round(100 / (1 + math.exp(-STEEPNESS * (mean - 0.5))))


def _variety(text: str) -> int:
    words = text.split()
    if not words:
        return 0
    share = len(set(words)) / len(words)
    return round(max(0.0, min(100.0, 150 * share - 35) - _draw(text).uniform(0, 10)))


def _draw(*texts: str) -> random.Random:
    return random.Random(hashlib.sha256("\0".join(texts).encode()).digest())


class Handler(BaseHTTPRequestHandler):
    """Serves the list of models and chat completions."""

    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        model = {"id": MODEL, "object": "model", "created": 0, "owned_by": "traitsteer"}
        self._send({"object": "list", "data": [model]})

    def do_POST(self) -> None:
        asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        tokens = [
            {"token": token, "logprob": math.log(chance), "bytes": None}
            for token, chance in tops(asked["messages"][0]["content"]).items()
        ]
        choice = {
            "index": 0,
            "finish_reason": "stop",
            "message": {"role": "assistant", "content": tokens[0]["token"], "refusal": None},
            "logprobs": {"content": [tokens[0] | {"top_logprobs": tokens}], "refusal": None},
        }
        head = {"id": "x", "object": "chat.completion", "created": 0, "model": MODEL}
        self._send(head | {"choices": [choice]})

    def _send(self, body: object) -> None:
        data = json.dumps(body).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, format: str, *args: object) -> None:
        """Requests are no news."""


@contextmanager
def served() -> Iterator[str]:
    """Start the server as a process of its own and yield its address; it ends with the context.

    Raises:
        TraitsteerError: it did not start.
    """
    process = subprocess.Popen(
        [sys.executable, "-m", "traitsteer.rehearsal.judge_server"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env=os.environ | {"PYTHONPATH": str(SOURCE)},
        text=True,
    )
    assert process.stdin is not None and process.stdout is not None
    try:
        address = process.stdout.readline().strip()
        if not address:
            raise TraitsteerError("The rehearsal's judge did not start; see what it printed above.")
        yield address
    finally:
        process.stdin.close()
        process.stdout.close()
        process.wait(timeout=30)


def main() -> None:
    """Serve until standard input ends."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, daemon=True).start()
    print(f"http://127.0.0.1:{server.server_port}/v1", flush=True)
    sys.stdin.read()


if __name__ == "__main__":
    main()
