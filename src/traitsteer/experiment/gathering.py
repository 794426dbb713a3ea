"""One trait from several sources: whose definition, prompts and questions are taken."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from traitsteer.words.errors import TraitsteerError
from traitsteer.words.seeds import seed_for
from traitsteer.world.files import read_text
from traitsteer.world.foreign.foreign_traits import TraitSource, read_questions
from traitsteer.world.json_lines import Text
from traitsteer.world.trait_folder import (
    PAIR_FILES,
    QUESTION_FILES,
    Content,
    read_definition,
    read_lines,
)


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
class Gathered:
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


def gather(found: Sequence[TraitSource], choices: Choices) -> Gathered:
    """What the sources and the user's files give together.

    Raises:
        TraitsteerError: two sources contradict each other, a file of the user's cannot be read, or
            the evaluation questions cannot be divided as asked.
    """
    gathered = Gathered()
    for one in found:
        gathered.said += one.homeless
    if choices.definition is not None:
        text = read_definition(choices.definition)
        if not text:
            raise TraitsteerError(f"{choices.definition} is empty; write the judge's rubric.")
        gathered.add("definition", text, [choices.definition])
        lines = read_text(choices.definition).splitlines()
        if comments := sum(line.startswith("#") for line in lines):
            gathered.said.append(
                f"{choices.definition}: {comments} lines that begin with # are comments, not "
                "part of the definition"
            )
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


def _gather_questions(found: Sequence[TraitSource], choices: Choices, gathered: Gathered) -> None:
    for name in QUESTION_FILES:
        if path := getattr(choices, name):
            gathered.ask(name, _given(path), [path])
    if choices.extraction:
        own = _plainly(gathered.questions["extraction"])
        gathered.said += [
            f"{one.extraction[0].where} extraction questions: --extraction gives others"
            for one in found
            if one.extraction and _plainly(one.extraction) != own
        ]
    elif (given := _only(found, "extraction", "choose with --extraction")) and given.extraction:
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


def _only(found: Sequence[TraitSource], name: str, remedy: str) -> TraitSource | None:
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
    questions = read_questions(path) if path.suffix == ".json" else own_questions(path)
    if not questions:
        raise TraitsteerError(f"{path} holds no question; expected one a line.")
    return questions


def own_questions(path: Path) -> tuple[Text, ...]:
    """The questions of a file of ours, each with where it stands."""
    return tuple(Text(line.text, f"{path}:{line.number}") for line in read_lines(path))
