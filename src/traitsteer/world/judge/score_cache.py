"""What a judge model said, kept on disk under the hash of all that it depends on.

A reply is written as soon as it is there, so that a run that is killed asks for nothing twice. One
that failed is not kept. Two runs may use one folder at the same time: a file is renamed into place,
and both would write the same name.
"""

from pathlib import Path
from typing import Any

from traitsteer.world.files import digest, read_json, write_json


class ScoreCache:
    """JSON values in a folder, by the JSON value that they depend on."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def get(self, key: object) -> Any:  # noqa: ANN401 - JSON holds any value
        """The value that was kept under this key; None when there is none.

        Raises:
            TraitsteerError: the file is truncated.
        """
        path = self._path(key)
        return read_json(path) if path.exists() else None

    def put(self, key: object, value: object) -> None:
        """Keep a value; it must be no None."""
        write_json(self._path(key), value)

    def _path(self, key: object) -> Path:
        name = digest(key)
        return self.folder / name[:2] / f"{name}.json"
