"""Scored answers of finished settings on disk, and what the judge failed to score among them.

A judge fails for a moment (`failed`: the endpoint was down); `refused` and `low mass` are what it
said. The text of a failed answer is kept and judged again; nothing is generated twice.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path

from traitsteer.experiment.judging import judge_all
from traitsteer.words.records import Answer, Judge, ScoredAnswer
from traitsteer.world.files import read_json, write_json


def read_answers(path: Path) -> list[ScoredAnswer]:
    """The answers of one setting, ordered by question and sample."""
    return [ScoredAnswer(**answer) for answer in read_json(path)]


def write_answers(path: Path, answers: Sequence[ScoredAnswer]) -> None:
    """Keep the answers of one setting."""
    write_json(path, [asdict(answer) for answer in answers])


def judge_again(
    judge: Judge, trait: str, questions: Sequence[str], kept: Mapping[Path, list[ScoredAnswer]]
) -> None:
    """Put what the judge failed to score to it once more; changes `kept` and the files.

    Raises:
        TraitsteerError: the judge cannot go on; what it scored until then is in its own cache.
    """
    failed = [
        (path, place)
        for path, answers in kept.items()
        for place, answer in enumerate(answers)
        if answer.state == "failed"
    ]
    if not failed:
        return
    asked = [kept[path][place] for path, place in failed]
    texts = [Answer(questions[answer.question], answer.text) for answer in asked]
    for number, judged in judge_all(judge, trait, texts):
        path, place = failed[number]
        kept[path][place] = replace(asked[number], **asdict(judged))
    for path in dict.fromkeys(path for path, _ in failed):
        write_answers(path, kept[path])
