"""A model hub on loopback: the answers of huggingface.co for folders of this machine.

It serves `<org>/<model>/resolve/<revision>/<file>` and the little of its API that loading asks.
"""

import contextlib
import json
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from traitsteer.world.files import digest_of_files


@dataclass
class Hub:
    """Models by name, each a folder at a commit; `sent` holds what was downloaded."""

    models: dict[str, Path]
    commit: str = "a" * 40
    earlier: dict[str, dict[str, Path]] = field(default_factory=dict)
    """Models at commits before this one."""
    status: int = 200
    """Any other is all that is answered."""
    withheld: str = ""
    """A file that it fails to give."""
    address: str = ""

    def at(self, revision: str) -> tuple[str, dict[str, Path]] | None:
        """The commit that a revision stands for, and its models."""
        now = {"main": self.models, self.commit: self.models}
        found = (self.earlier | now).get(revision)
        return found and (self.commit if revision == "main" else revision, found)

    sent: list[str] = field(default_factory=list)


NOT_RETRIED = 451
"""A status after which `huggingface_hub` does not ask again and again."""


@contextlib.contextmanager
def serving(models: dict[str, Path]) -> Iterator[Hub]:
    """The hub, up while the block runs."""
    hub = Hub(models)

    class Handler(BaseHTTPRequestHandler):
        def do_HEAD(self) -> None:
            self.give(body=False)

        def do_GET(self) -> None:
            self.give(body=True)

        def give(self, body: bool) -> None:
            if hub.status != 200:
                return self.answer(hub.status, b"", "", "")
            path = self.path.split("?")[0].strip("/")
            model, asked, rest = path.removeprefix("api/models/").partition("/resolve/")
            revision, _, name = rest.partition("/")
            if path.startswith("api/models/"):
                # No further templates; the commit of the branch.
                known = "/tree/" not in path
                said = json.dumps({"id": model, "sha": hub.commit} if known else {}).encode()
                self.answer(200 if known else 404, said if body else b"", "EntryNotFound", "")
            elif not asked or model not in hub.models:
                self.answer(404, b"", "RepoNotFound", "")
            elif not (found := hub.at(revision)):
                self.answer(404, b"", "RevisionNotFound", "")
            elif name == hub.withheld:
                self.answer(NOT_RETRIED, b"", "", "")
            elif not (file := found[1][model] / name).is_file():
                self.answer(404, b"", "EntryNotFound", "")
            else:
                if body:
                    hub.sent.append(f"{model}/{name}")
                tag = digest_of_files([file])
                self.answer(200, file.read_bytes(), "", tag, body, found[0])

        def answer(
            self,
            status: int,
            said: bytes,
            error: str,
            tag: str,
            body: bool = True,
            commit: str | None = None,
        ) -> None:
            self.send_response(status)
            if error:
                self.send_header("X-Error-Code", error)
            if tag:
                self.send_header("ETag", f'"{tag}"')
            self.send_header("X-Repo-Commit", commit or hub.commit)
            self.send_header("Content-Length", str(len(said)))
            self.end_headers()
            if body:
                self.wfile.write(said)

        def log_message(self, *_: object) -> None:
            """Print nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    hub.address = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield hub
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
