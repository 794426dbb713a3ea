"""Pages of docs/ that hold text of a command between two lines."""

from pathlib import Path

from traitsteer.words.errors import TraitsteerError


def between_marks(page: str, path: Path, begin: str, end: str, text: str) -> str:
    """The page with this text between two lines of it.

    Raises:
        TraitsteerError: the page has no such lines.
    """
    before, found, rest = page.partition(begin)
    _, closed, after = rest.partition(end)
    if not found or not closed:
        raise TraitsteerError(
            f"{path} lacks the lines {begin} and {end}, between which text is written; put them in."
        )
    return f"{before}{begin}\n{text}\n{end}{after}"
