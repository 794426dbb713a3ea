"""What a judge model is asked: text files that a user may replace, with fields to be filled in."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from traitsteer.words.errors import TraitsteerError
from traitsteer.world.files import read_text

Prompt = Literal["trait", "coherence", "on_topic", "naturalness", "preference"]
FIELDS: Mapping[Prompt, tuple[str, ...]] = {
    "trait": ("rubric", "question", "text"),
    "coherence": ("question", "text"),
    "on_topic": ("question", "text"),
    "naturalness": ("question", "text"),
    "preference": ("question", "first", "second"),
}
"""The fields of each prompt, `{text}` and so on; each of them must occur."""


@dataclass(frozen=True)
class JudgePrompts:
    """The five prompts of a judge model by name, as they stand in their files."""

    texts: Mapping[Prompt, str]

    def fill(self, name: Prompt, **fields: str) -> str:
        """The prompt with its fields filled in; braces in what is filled in are left alone."""
        return re.sub(
            r"\{(" + "|".join(FIELDS[name]) + r")\}", lambda m: fields[m[1]], self.texts[name]
        )


def read_prompts(folder: Path) -> JudgePrompts:
    """Read `<name>.txt` of every prompt.

    Raises:
        TraitsteerError: a file is missing, or lacks one of its fields.
    """
    texts: dict[Prompt, str] = {}
    for name, fields in FIELDS.items():
        path = folder / f"{name}.txt"
        if not path.exists():
            raise TraitsteerError(
                f"The prompt {path} is not there; judge.prompts names a folder with "
                f"{', '.join(f'{each}.txt' for each in FIELDS)}."
            )
        texts[name] = read_text(path).removeprefix("\ufeff").strip()
        for field in fields:
            if f"{{{field}}}" not in texts[name]:
                raise TraitsteerError(
                    f"{path} has no {{{field}}}; write it where the {field} is to stand."
                )
    return JudgePrompts(texts)
