"""import: trait data in the formats of others becomes a trait folder of ours, without loss.

Reads folders and JSON files of `world/foreign_traits.py`; writes the files of one trait folder, all
or none, and prints what became of everything. What is missing is named with the option that gives
it. docs/exchange.md tells how questions are split, and why.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import combinations
from pathlib import Path

from traitsteer.words.errors import TraitsteerError
from traitsteer.words.seeds import seed_for
from traitsteer.words.wording import plain
from traitsteer.world.foreign_traits import Found, read_questions, read_source
from traitsteer.world.json_lines import Text
from traitsteer.world.trait_folder import (
    FILES,
    PAIR_FILES,
    QUESTION_FILES,
    Content,
    read_definition,
    read_file,
    read_lines,
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


@dataclass(frozen=True)
class Choices:
    """What the user decides beside naming the sources."""

    into: Path
    definition: Path | None = None
    names: tuple[str, ...] = ()
    extraction: Path | None = None
    selection: Path | None = None
    report: Path | None = None
    split: int | None = None
    """How many evaluation questions become selection questions."""
    seed: int = 0
    partial: bool = False
    """Whether to write an incomplete folder."""
    force: bool = False
    """Whether to write over files that say something else."""


@dataclass
class _Gathered:
    """The contents of files by name, where each came from, and what is to be said."""

    contents: dict[str, Content] = field(default_factory=dict)
    sources: dict[str, tuple[Path, ...]] = field(default_factory=dict)
    questions: dict[str, tuple[Text, ...]] = field(default_factory=dict)
    said: list[str] = field(default_factory=list)

    def add(self, name: str, content: Content, files: Sequence[Path]) -> None:
        self.contents[name], self.sources[name] = content, tuple(files)

    def ask(self, name: str, questions: tuple[Text, ...], files: Sequence[Path]) -> None:
        self.questions[name] = questions
        self.add(name, tuple(question.text for question in questions), files)


def run(sources: Sequence[Path], choices: Choices) -> str:
    """Import sources into one trait folder; return what is to be told.

    Raises:
        TraitsteerError: a source cannot be read, two sources contradict each other, a question
            stands in two sets, something is missing and `partial` is not set, or a file that says
            something else is there and `force` is not set. Nothing has been written then.
    """
    found = [read_source(path, _evaluates(path, sources)) for path in sources]
    gathered = _gather(found, choices)
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
            gathered.questions[name] = _own_questions(path)
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


def _gather(found: Sequence[Found], choices: Choices) -> _Gathered:
    gathered = _Gathered()
    for one in found:
        gathered.said += one.homeless
    if choices.definition is not None:
        text = read_definition(choices.definition)
        if not text:
            raise TraitsteerError(f"{choices.definition} is empty; write the judge's rubric.")
        gathered.add("definition", text, [choices.definition])
        gathered.said += [
            f"{one.definition.where} definition: {choices.definition} is used instead"
            for one in found
            if one.definition and one.definition.text != text
        ]
    else:
        holder = _only(found, "definition", "choose with --definition FILE")
        if holder and holder.definition:
            gathered.add("definition", holder.definition.text, holder.files["definition"])
    for name in PAIR_FILES:
        holder = _only(found, name, "import them into folders of their own")
        if holder:
            gathered.add(name, getattr(holder, name), holder.files[name])
    _gather_questions(found, choices, gathered)
    if choices.names or not (choices.into / "names.txt").exists():
        gathered.add("names", choices.names or (choices.into.resolve().name,), [])
    return gathered


def _gather_questions(found: Sequence[Found], choices: Choices, gathered: _Gathered) -> None:
    for name in QUESTION_FILES:
        if path := getattr(choices, name):
            gathered.ask(name, _given(path), [path])
    given = None if choices.extraction else _only(found, "extraction", "choose with --extraction")
    if given and given.extraction:
        gathered.ask("extraction", given.extraction, given.files["extraction"])
    if choices.report and choices.split is None:
        used = [_plainly(questions) for questions in gathered.questions.values()]
        gathered.said += [
            f"{one.evaluation[0].where} evaluation questions: --report gives others"
            for one in found
            if one.evaluation and _plainly(one.evaluation) not in used
        ]
        return
    one = _only(found, "evaluation", "choose with --report FILE")
    if choices.split is not None:
        if not one or not one.evaluation or choices.selection or choices.report:
            raise TraitsteerError(
                "--split divides the evaluation questions of a source; it needs a source that has "
                "some, and neither --selection nor --report."
            )
        selection, report = _split(one.evaluation, choices.split, choices.seed)
        gathered.ask("selection", selection, one.files["evaluation"])
        gathered.ask("report", report, one.files["evaluation"])
    elif one and one.evaluation:
        gathered.ask("report", one.evaluation, one.files["evaluation"])


def _only(found: Sequence[Found], name: str, remedy: str) -> Found | None:
    """The first source that holds this, where all that hold it say the same."""
    holders = [one for one in found if getattr(one, name) is not None]
    for other in holders[1:]:
        if _plainly(getattr(other, name)) != _plainly(getattr(holders[0], name)):
            raise TraitsteerError(
                f"{holders[0].files[name][0]} and {other.files[name][0]} differ in what they give "
                f"as {name.replace('_', ' ')}; {remedy}."
            )
    return holders[0] if holders else None


def _plainly(value: object) -> object:
    """A value without where it stands."""
    if isinstance(value, Text):
        return value.text
    return tuple(map(_plainly, value)) if isinstance(value, tuple) else value


def _split(
    questions: Sequence[Text], count: int, seed: int
) -> tuple[tuple[Text, ...], tuple[Text, ...]]:
    """Choose `count` questions by a hash of seed and text, so that their order plays no part."""
    if not 0 < count < len(questions):
        raise TraitsteerError(
            f"--split {count} cannot divide {len(questions)} evaluation questions; expected 1 to "
            f"{len(questions) - 1}."
        )
    ranked = sorted(questions, key=lambda question: seed_for("split", seed, question.text))
    chosen = {id(question) for question in ranked[:count]}
    return (
        tuple(question for question in questions if id(question) in chosen),
        tuple(question for question in questions if id(question) not in chosen),
    )


def _given(path: Path) -> tuple[Text, ...]:
    questions = read_questions(path) if path.suffix == ".json" else _own_questions(path)
    if not questions:
        raise TraitsteerError(f"{path} holds no question; expected one a line.")
    return questions


def _own_questions(path: Path) -> tuple[Text, ...]:
    return tuple(Text(line.text, f"{path}:{line.number}") for line in read_lines(path))


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
    gathered: _Gathered,
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
