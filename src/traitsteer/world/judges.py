"""Opens the judge that params.yaml names."""

from pathlib import Path

from traitsteer.words.config import JudgeConfig
from traitsteer.words.records import Judge
from traitsteer.world.pocket_judge import PocketJudge


def open_judge(judge: JudgeConfig) -> Judge:
    """Return the judge; raises TraitsteerError when it cannot be reached or read."""
    return PocketJudge.from_folder(Path(judge.name))
