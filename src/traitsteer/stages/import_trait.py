"""import: trait data in the formats of others becomes a trait folder of ours, without loss.

Reads folders and JSON files of `world/foreign/foreign_traits.py`; writes the files of one trait
folder, all or none, and prints what became of everything. What is missing is named with the option
that gives it. docs/exchange.md tells how questions are split, and why.
"""

import hashlib
from collections.abc import Sequence
from itertools import combinations
from pathlib import Path

from traitsteer.experiment.gathering import Choices, Gathered, gather, own_questions
from traitsteer.words.errors import TraitsteerError
from traitsteer.words.wording import plain
from traitsteer.world.foreign.foreign_traits import read_source
from traitsteer.world.json_lines import Text
from traitsteer.world.trait_folder import (
    FILES,
    PAIR_FILES,
    QUESTION_FILES,
    Content,
    read_file,
    write_files,
)

REMEDIES = {
    "definition": "give the judge's rubric with --definition FILE",
    "scenarios": "name a folder with contrast pairs of natural elicitation beside this source",
    "system_prompts": "name a source with system prompts beside this one",
    "extraction": "give questions with --extraction FILE, or a source with system prompts",
    "selection": "give questions with --selection FILE, or take some of the evaluation questions "
    "with --split N",
    "report": "give questions with --report FILE, or a source with evaluation questions",
}


def run(sources: Sequence[Path], choices: Choices) -> str:
    """Import sources into one trait folder; return what is to be told.

    Raises:
        TraitsteerError: a source cannot be read, two sources contradict each other, a question
            stands in two sets, something is missing and `partial` is not set, or a file that says
            something else is there and `force` is not set. Nothing has been written then.
    """
    found = [read_source(path, _evaluates(path, sources)) for path in sources]
    gathered = gather(found, choices)
    there = {name: path for name in FILES if (path := choices.into / f"{name}.txt").exists()}
    kept = {name: path for name, path in there.items() if name not in gathered.contents}
    missing = [name for name in REMEDIES if name not in gathered.contents and name not in kept]
    if missing and not choices.partial:
        lacks = "; ".join(f"no {name}: {REMEDIES[name]}" for name in missing)
        raise TraitsteerError(
            f"{choices.into} would be incomplete and was not written ({lacks}), or write the files "
            "that there are with --partial."
        )
    for name, path in kept.items():
        if name in QUESTION_FILES:
            gathered.questions[name] = own_questions(path)
    _check_disjoint(gathered.questions)
    same = {n for n, path in there.items() if n not in kept and _says(path, gathered.contents[n])}
    differing = [str(there[name]) for name in there if name not in kept and name not in same]
    if differing and not choices.force:
        raise TraitsteerError(
            f"{', '.join(differing)} would be overwritten with something else; remove "
            f"{'it' if len(differing) == 1 else 'them'}, choose another folder, or say --force."
        )
    new = {name: content for name, content in gathered.contents.items() if name not in same}
    write_files(choices.into, new, {name: _comment(gathered.sources[name]) for name in new})
    return _told(choices.into, gathered, kept, same, missing)


def _evaluates(path: Path, sources: Sequence[Path]) -> bool:
    """Whether a JSON file gives evaluation questions: its folder says so, else its place does."""
    folder = path.resolve().parent.name.lower()
    if "extract" in folder or "eval" in folder:
        return "extract" not in folder
    files = [source for source in sources if not source.is_dir()]
    return path in files[1:]


def _check_disjoint(questions: dict[str, tuple[Text, ...]]) -> None:
    for (one, its), (other, others) in combinations(questions.items(), 2):
        first = {plain(question.text): question.where for question in its}
        for question in others:
            if where := first.get(plain(question.text)):
                raise TraitsteerError(
                    f"{question.where} ({other}) is the question of {where} ({one}); the sets that "
                    "fit, choose and report share no question: remove it from one of them."
                )


def _says(path: Path, content: Content) -> bool:
    try:
        return read_file(path) == content
    except TraitsteerError:
        # A file that cannot be read says something else.
        return False


def _comment(sources: Sequence[Path]) -> str:
    if not sources:
        return ""
    lines = [
        f"{'/'.join(path.resolve().parts[-3:])}, SHA-256 "
        f"{hashlib.sha256(path.read_bytes()).hexdigest()}"
        for path in sources
    ]
    return "\n".join(["Imported; the source's licence applies:", *lines])


def _told(
    into: Path,
    gathered: Gathered,
    kept: dict[str, Path],
    same: set[str],
    missing: Sequence[str],
) -> str:
    lines = []
    for name in FILES:
        if name in kept:
            lines.append(f"{kept[name]}: kept as it was")
        elif name in gathered.contents:
            how = " (unchanged)" if name in same else ""
            lines.append(f"{into / name}.txt: {_counted(name, gathered.contents[name])}{how}")
    lines += [f"missing {name}: {REMEDIES[name]}" for name in missing]
    lines += [f"no place for {sentence}" for sentence in gathered.said]
    return "\n".join(
        [
            *lines,
            "The licence of the source applies to what was imported; keep it with the data.",
            f"Now `traitsteer lint {into}`.",
        ]
    )


def _counted(name: str, content: Content) -> str:
    if isinstance(content, str):
        return f"{len(content)} characters"
    if name == "names":
        return f"{', '.join(map(str, content))}; add other words that name the trait"
    what = "pairs" if name in PAIR_FILES else "questions"
    return f"{len(content)} {what}"
