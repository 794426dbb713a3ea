"""Opens the judge that params.yaml names."""

from pathlib import Path
from typing import cast

from traitsteer.words.config import Config
from traitsteer.words.protocol import Terms
from traitsteer.words.records import Judge
from traitsteer.world.pocket_judge import PocketJudge
from traitsteer.world.trait_folder import read_trait


def judge_terms(config: Config, trait: str) -> Terms:
    """What identifies the judge of one trait and its version."""
    judge = config.judge
    return {"kind": judge.kind, "name": judge.name, "digest": open_judge(config, trait).digest}


def open_judge(config: Config, trait: str) -> Judge:
    """Return the judge of one trait; raises TraitsteerError when it cannot be reached or read."""
    judge = config.judge
    if judge.kind == "pocket":
        return PocketJudge.from_folder(Path(judge.name))
    # Imported here, since the client takes a second that a pocket study need not wait for.
    from traitsteer.world.openai_judge import OpenAIJudge

    rubric = read_trait(Path(config.study.trait_folder) / trait).definition
    opened = OpenAIJudge(judge.name, {trait: rubric}, judge.requests_at_once, judge.minimum_mass)
    return cast(Judge, opened)
