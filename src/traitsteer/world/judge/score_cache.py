"""What a judge model said, kept on disk under the hash of all that it depends on.

A reply is written as soon as it is there, so that a run that is killed asks for nothing twice. One
that failed is not kept. Two runs may use one folder at the same time: a file is renamed into place,
and both would write the same name.
"""

import json
from pathlib import Path
from typing import Any

from traitsteer.words.errors import TraitsteerError
from traitsteer.world.files import digest, read_json, write_text
from traitsteer.world.progress import say


class ScoreCache:
    """JSON values in a folder, by the JSON value that they depend on."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def get(self, key: object) -> Any:  # noqa: ANN401 - JSON holds any value
        """The value that was kept under this key; None when there is none, or it cannot be read."""
        path = self._path(key)
        if not path.exists():
            return None
        try:
            return read_json(path)
        except TraitsteerError:
            # As after a power failure, which may cut many files: each is made anew.
            say(f"judge: {path} cannot be read; it is asked for again")
            return None

    def put(self, key: object, value: object) -> None:
        """Keep a value; it must be no None."""
        # In ASCII: a reply may hold half a character, which has no UTF-8.
        write_text(self._path(key), json.dumps(value, allow_nan=False) + "\n")

    def _path(self, key: object) -> Path:
        name = digest(key)
        return self.folder / name[:2] / f"{name}.json"
