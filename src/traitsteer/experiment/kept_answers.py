"""Scored answers of finished settings on disk, and what the judge has yet to score among them.

A judge fails for a moment (`failed`: the endpoint was down); `refused` and `low mass` are what it
said. The text of a failed answer is kept and judged again, and so are texts that another judge
scored; nothing is generated twice.
"""

from collections.abc import Callable, Mapping, Sequence
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


def path_of(folder: Path, answers: str, judge: str) -> Path:
    """Where answers that are known by one digest lie with their scores by a judge of another."""
    return folder / f"{answers}-{judge[:16]}.json"


def of_another_judge(path: Path) -> list[ScoredAnswer] | None:
    """The same answers, where another judge has scored them, without their scores; else None."""
    answers, _, _ = path.stem.partition("-")
    for other in sorted(path.parent.glob(f"{answers}-*.json")):
        return [
            each
            if each.state == "no answer"
            else replace(each, trait_score=None, coherence=None, state="failed", mass=None)
            for each in read_answers(other)
        ]
    return None


def failed_in(kept: Mapping[Path, Sequence[ScoredAnswer]]) -> list[tuple[Path, int]]:
    """Path and place of each answer that has yet to be scored."""
    return [
        (path, place)
        for path, answers in kept.items()
        for place, answer in enumerate(answers)
        if answer.state == "failed"
    ]


def judge_again(
    judge: Judge,
    trait: str,
    questions: Sequence[str],
    kept: Mapping[Path, list[ScoredAnswer]],
    progress: Callable[[int], None],
) -> None:
    """Put what has yet to be scored to the judge; changes `kept` and the files.

    Raises:
        TraitsteerError: the judge cannot go on; what it scored until then is in its own cache.
    """
    failed = failed_in(kept)
    asked = [kept[path][place] for path, place in failed]
    texts = [Answer(questions[answer.question], answer.text) for answer in asked]
    for number, judged in judge_all(judge, trait, texts):
        path, place = failed[number]
        kept[path][place] = replace(asked[number], **asdict(judged))
        progress(1)
    changed = {path for path, _ in failed}
    for path, answers in kept.items():
        if path in changed or not path.exists():
            write_answers(path, answers)
