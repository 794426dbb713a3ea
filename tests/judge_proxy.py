"""A proxy on loopback that spoils replies on their way, by a plan."""

import collections
import http.client
import json
import threading
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler
from urllib.parse import urlsplit

from judge_server import Server

Fault = str
"""`429 soon` with Retry-After, `429`, `500`, `503`, `stall`, `drip`, `cut`, `nonsense`, `html`,
`odd`: JSON of another shape; empty: passed on."""


class Quiet(Server):
    """A server that has nothing to say of clients that have gone."""

    def handle_error(self, *_args: object) -> None:
        """Leave it."""


class Proxy:
    """Forwards POSTs to a server; `plan` names the fault of the n-th attempt of a prompt."""

    def __init__(self, target: str, plan: Callable[[str, int], Fault]) -> None:
        self.plan, self.target = plan, urlsplit(target)
        self.attempts: collections.Counter[str] = collections.Counter()
        self.faults: collections.Counter[str] = collections.Counter()
        self.lock = threading.Lock()
        self.over = threading.Event()
        proxy = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                prompt = json.dumps(json.loads(body)["messages"])
                with proxy.lock:
                    fault = proxy.plan(prompt, proxy.attempts[prompt])
                    proxy.attempts[prompt] += 1
                    proxy.faults[fault] += 1
                proxy.spoil(self, fault, body)

            def log_message(self, *_args: object) -> None:
                """Keep the test's output clean."""

        self.server = Quiet(("127.0.0.1", 0), Handler)
        self.thread = threading.Thread(target=self.server.serve_forever, args=(0.01,))
        self.thread.start()
        self.url = f"http://127.0.0.1:{self.server.server_port}/v1"

    def close(self) -> None:
        self.over.set()
        self.server.shutdown()
        self.thread.join()
        self.server.server_close()

    def spoil(self, handler: BaseHTTPRequestHandler, fault: Fault, body: bytes) -> None:
        if fault.startswith(("429", "50")):
            status, _, soon = fault.partition(" ")
            headers = {"Retry-After": "0.05"} if soon else {}
            return answer(handler, int(status), b'{"error": {"message": "later"}}', headers)
        if fault == "stall":
            # Until the client has gone: its deadline ends the request, nothing else does.
            self.over.wait()
            handler.close_connection = True
            return None
        if fault == "nonsense":
            return answer(handler, 200, b'{"choices": [{"message": {"con')
        if fault == "html":
            return answer(handler, 200, b"<html>busy</html>", kind="text/html")
        if fault == "odd":
            return answer(handler, 200, b'{"choices": [{"message": "85"}], "object": 7}')
        data = self.passed_on(handler, body)
        if fault == "cut":
            head(handler, 200, len(data))
            handler.wfile.write(data[: len(data) // 2])
            handler.close_connection = True
            return None
        if fault == "drip":
            # A byte at a time for ever, as servers do that keep a connection alive.
            head(handler, 200, len(data) * 1000)
            while not self.over.wait(0.05):
                try:
                    handler.wfile.write(b" ")
                except OSError:
                    break
            handler.close_connection = True
            return None
        return answer(handler, 200, data)

    def passed_on(self, handler: BaseHTTPRequestHandler, body: bytes) -> bytes:
        connection = http.client.HTTPConnection(self.target.hostname, self.target.port)
        headers = {n: handler.headers[n] for n in ("Authorization", "Content-Type")}
        connection.request("POST", handler.path, body, headers)
        try:
            return connection.getresponse().read()
        finally:
            connection.close()


def head(handler, status: int, length: int, headers=None, kind: str = "application/json") -> None:
    handler.send_response(status)
    handler.send_header("Content-Type", kind)
    handler.send_header("Content-Length", str(length))
    for name, value in (headers or {}).items():
        handler.send_header(name, value)
    handler.end_headers()


def answer(handler, status: int, data: bytes, headers=None, kind: str = "application/json") -> None:
    head(handler, status, len(data), headers, kind)
    handler.wfile.write(data)
