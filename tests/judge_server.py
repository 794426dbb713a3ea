"""A server on loopback that speaks the OpenAI protocol and serves the tiny judges with logprobs.

    python tests/judge_server.py <folder of models> <file that the port is written to>

The models `split` and `whole` continue a reply that the last message begins and show the end token,
as vLLM does. With `-strict` behind its name a model refuses to continue and hides the end token, as
OpenAI's API does; with `-mute` it gives no logprobs; with `-deaf` it takes a reply that is begun
for a turn that is over. GET /counts tells how often each prompt was served; POST /gate {"open": n}
lets n more completions through and has all others wait; GET /waiting tells how many do.
"""

import collections
import contextlib
import hashlib
import json
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

KEY = "sk-test-0123456789abcdef"


class State:
    """The models, what was served, and the gate."""

    def __init__(self, folder: Path) -> None:
        self.models = {
            path.name: (
                AutoTokenizer.from_pretrained(path),
                AutoModelForCausalLM.from_pretrained(path, dtype=torch.float32).eval(),
            )
            for path in sorted(folder.iterdir())
        }
        self.counts: collections.Counter[str] = collections.Counter()
        self.computing = threading.Lock()
        self.gate = threading.Condition()
        self.free: int | None = None
        self.waiting = 0

    def enter(self) -> None:
        """Wait at the gate."""
        with self.gate:
            self.waiting += 1
            self.gate.wait_for(lambda: self.free is None or self.free > 0)
            self.waiting -= 1
            if self.free is not None:
                self.free -= 1

    @torch.inference_mode()
    def complete(self, asked: dict) -> dict:
        """Greedy tokens with the probabilities beside them."""
        name, _, manner = asked["model"].partition("-")
        words, model = self.models[name]
        messages = asked["messages"]
        begun = asked.get("continue_final_message") and manner != "deaf"
        text = words.apply_chat_template(
            messages[:-1] if begun else messages, tokenize=False, add_generation_prompt=True
        )
        ids = words(text + (messages[-1]["content"] if begun else ""), add_special_tokens=False)
        ids, places, finish = ids["input_ids"], [], "length"
        while len(places) < asked["max_tokens"]:
            chances = model(torch.tensor([ids])).logits[0, -1].log_softmax(-1)
            token = int(chances.argmax())
            ended = token == words.eos_token_id
            if not (ended and manner == "strict"):
                tops = chances.topk(min(asked["top_logprobs"], 20)).indices.tolist()
                places.append(
                    one(words, token, chances)
                    | {"top_logprobs": [one(words, top, chances) for top in tops]}
                )
            if ended:
                finish = "stop"
                break
            ids.append(token)
        said = "".join(place["token"] for place in places).removesuffix("<eos>")
        return {
            "id": "x",
            "object": "chat.completion",
            "created": 0,
            "model": asked["model"],
            "choices": [
                {
                    "index": 0,
                    "finish_reason": finish,
                    "message": {"role": "assistant", "content": said, "refusal": None},
                    "logprobs": None if manner == "mute" else {"content": places, "refusal": None},
                }
            ],
            "usage": {"prompt_tokens": 7, "completion_tokens": 3, "total_tokens": 10},
        }


def one(words, token: int, chances: torch.Tensor) -> dict:
    return {"token": words.decode([token]), "logprob": float(chances[token]), "bytes": None}


class Endpoint(BaseHTTPRequestHandler):
    """The protocol."""

    protocol_version = "HTTP/1.1"
    state: State

    def do_GET(self) -> None:
        waits = self.path == "/waiting"
        self.send(200, {"waiting": self.state.waiting} if waits else dict(self.state.counts))

    def do_POST(self) -> None:
        asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        if self.path == "/gate":
            with self.state.gate:
                self.state.free = asked["open"]
                self.state.gate.notify_all()
            return self.send(200, {})
        given = self.headers["Authorization"]
        if given != f"Bearer {KEY}":
            # Some servers repeat what they were given.
            return self.fail(401, f"no such key: {given.removeprefix('Bearer ')}")
        name, _, manner = asked["model"].partition("-")
        if name not in self.state.models:
            return self.fail(404, f"the model {name} does not exist")
        if manner == "strict" and "continue_final_message" in asked:
            return self.fail(400, "unknown parameter")
        if "forbidden" in asked["messages"][0]["content"]:
            return self.fail(400, "withheld", "content_filter")
        if "moderated" in asked["messages"][0]["content"]:
            return self.fail(403, "your input was flagged")
        self.state.enter()
        with self.state.computing:
            made = self.state.complete(asked)
            self.state.counts[served(asked)] += 1
        self.send(200, made)

    def fail(self, status: int, message: str, code: str | None = None) -> None:
        self.send(status, {"error": {"message": message, "code": code}})

    def send(self, status: int, body: dict) -> None:
        data = json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *_args: object) -> None:
        """Keep the test's output clean."""


class Server(ThreadingHTTPServer):
    """Takes many connections at one time; beyond the usual 5 some are refused or wait a second."""

    request_queue_size = 64
    daemon_threads = True


@contextlib.contextmanager
def serving(folder: Path) -> Iterator[str]:
    """Start the server as a process and end it; its address."""
    port = folder / "port"
    command = [sys.executable, __file__, str(Path(__file__).parent / "judges"), str(port)]
    with subprocess.Popen(command, stdin=subprocess.PIPE) as process:
        try:
            while not port.exists():
                assert process.poll() is None, "the server ended before it began"
                time.sleep(0.05)
            yield f"http://127.0.0.1:{port.read_text()}/v1"
        finally:
            process.kill()


def counts(address: str) -> collections.Counter[str]:
    """How often each prompt was served."""
    with urllib.request.urlopen(address.removesuffix("/v1") + "/counts") as reply:
        return collections.Counter(json.load(reply))


def wait_at_gate(address: str, requests: int) -> None:
    """Return when so many requests wait at the gate, or more."""
    until = time.monotonic() + 60
    while (found := _waiting(address)) < requests:
        assert time.monotonic() < until, f"{found} requests wait at the gate, expected {requests}"
        time.sleep(0.02)


def _waiting(address: str) -> int:
    with urllib.request.urlopen(address.removesuffix("/v1") + "/waiting") as reply:
        return json.load(reply)["waiting"]


def gate(address: str, open: int | None) -> None:
    """Let so many more completions through; None: all."""
    body = json.dumps({"open": open}).encode()
    url = address.removesuffix("/v1") + "/gate"
    urllib.request.urlopen(urllib.request.Request(url, body)).close()


def served(asked: dict) -> str:
    """The name that a request is counted under."""
    text = json.dumps([asked["model"], asked["messages"]])
    return hashlib.sha256(text.encode()).hexdigest()


def main(folder: Path, port: Path) -> None:
    torch.set_num_threads(1)
    Endpoint.state = State(folder)
    server = Server(("127.0.0.1", 0), Endpoint)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    part = port.with_suffix(".part")
    part.write_text(str(server.server_port))
    part.rename(port)
    # If the test dies without ending this process, its end of the pipe closes.
    sys.stdin.read()


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
