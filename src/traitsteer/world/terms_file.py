"""The file of a protocol, as it was written; what its terms would be now is not asked here."""

from pathlib import Path

from traitsteer.words.errors import TraitsteerError
from traitsteer.words.protocol import FrozenTerms
from traitsteer.world.files import digest, read_json


def read_terms(path: Path) -> FrozenTerms:
    """The terms of a protocol file.

    Raises:
        TraitsteerError: the file is missing or no protocol, or its hash is not that of its terms.
    """
    found = read_json(path)
    if not isinstance(found, dict) or not {"terms", "sha256"} <= found.keys():
        raise TraitsteerError(
            f"{path} is no protocol, expected an object with terms and sha256; run `dvc repro` to "
            "write it again."
        )
    terms: FrozenTerms = found["terms"]
    if digest(terms) != found["sha256"]:
        raise TraitsteerError(
            f"{path} was changed after it was written: its terms have SHA-256 "
            f"{digest(terms)[:12]}, it says {str(found['sha256'])[:12]}; run `dvc repro` to "
            "write it again."
        )
    return terms
