"""Trait data in the two formats of others, read without loss, with errors that name file and line.

A folder of a trait:

    positive.txt, negative.txt      one prompt a line; line i of both is a pair
    positive.jsonl, negative.jsonl  or `{"prompt", "system_prompt"}` a line: every system prompt
                                    with every question
    definition.txt                  the judge's rubric
    steering.json                   `{"questions": [...]}`: evaluation questions, and more

A file of the code of the persona vectors paper (Chen et al. 2025, arXiv:2507.21509), once for
extraction and once for evaluation:

    {"instruction": [{"pos", "neg"}, ...], "questions": [...], "eval_prompt": "..."}

Prompts stay as they are, spaces included; only a byte order mark and the line ends of text files,
of either kind, are no part of them. What has no place in our format is listed, never dropped.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from traitsteer.words.errors import TraitsteerError
from traitsteer.words.records import Pair
from traitsteer.world.json_lines import Located, Text, other_keys, parse, read_foreign_text

READ = {f"{side}.{kind}" for side in ("positive", "negative") for kind in ("txt", "jsonl")}
READ |= {"definition.txt", "steering.json"}

# The evaluation prompt of the paper's code: an opening, the rubric, then question and answer.
_FRAME = re.compile(
    r"\A\s*(You are evaluating[^.]*?:\s*\*\*[^*]+\*\*\.?\s*)?(?P<rubric>.+?)\s*\n\s*Prompt:\s*\n"
    r"\[QUESTION START\]",
    re.DOTALL,
)


@dataclass(frozen=True)
class TraitSource:
    """What one source holds; None where it says nothing."""

    path: Path
    definition: Text | None = None
    scenarios: tuple[Pair, ...] | None = None
    system_prompts: tuple[Pair, ...] | None = None
    extraction: tuple[Text, ...] | None = None
    evaluation: tuple[Text, ...] | None = None
    files: Mapping[str, tuple[Path, ...]] = field(default_factory=dict)
    """The files that each of the above came from."""
    homeless: tuple[str, ...] = ()
    """What our format has no place for, a sentence each."""


def read_source(path: Path, evaluates: bool = False) -> TraitSource:
    """Read a folder of a trait, or one JSON file of the persona vectors code.

    Args:
        evaluates: whether the questions of a JSON file are for evaluation, not for extraction.

    Raises:
        TraitsteerError: a file is missing or cannot be read, or its two sides do not fit.
    """
    if path.is_dir():
        return _read_folder(path)
    if path.suffix == ".json":
        return _read_persona(path, evaluates)
    raise TraitsteerError(
        f"{path} is neither a folder nor a .json file; give a folder with positive and negative "
        "prompts or a JSON file with instruction, questions and eval_prompt."
    )


def read_questions(path: Path) -> tuple[Text, ...]:
    """Read questions from a .json file: a list, or an object whose `questions` are one.

    Raises:
        TraitsteerError: the file is missing or is no JSON, or holds no such list.
    """
    found = parse(path, read_foreign_text(path))
    if isinstance(found.value, list):
        return found.texts()
    found.require("questions")
    return found.texts("questions")


def _read_folder(folder: Path) -> TraitSource:
    sides = [_side(folder, name) for name in ("positive", "negative")]
    if sides[0].suffix != sides[1].suffix:
        raise TraitsteerError(
            f"{folder} holds {sides[0].name} and {sides[1].name}; both sides have the same format."
        )
    files: dict[str, tuple[Path, ...]] = {}
    homeless = [
        f"{path} is no file of this format and was not read"
        for path in sorted(folder.iterdir())
        if path.name not in READ
    ]
    rows, blank = _paired(*sides)
    homeless += blank
    scenarios = system_prompts = extraction = None
    if sides[0].suffix == ".txt":
        scenarios = tuple(Pair(one.text, other.text) for one, other in rows)
        files["scenarios"] = tuple(sides)
    else:
        parsed = [(_row(one), _row(other)) for one, other in rows]
        homeless += other_keys((row for pair in parsed for row in pair), _ROW_KEYS)
        if any(row.value.get("system_prompt") is not None for pair in parsed for row in pair):
            system_prompts, extraction = _grid(parsed)
            files |= dict.fromkeys(("system_prompts", "extraction"), tuple(sides))
        else:
            scenarios = tuple(Pair(one.value["prompt"], two.value["prompt"]) for one, two in parsed)
            files["scenarios"] = tuple(sides)
    definition = evaluation = None
    if (path := folder / "definition.txt").exists():
        text = read_foreign_text(path).replace("\r\n", "\n").replace("\r", "\n").strip()
        if not text:
            raise TraitsteerError(f"{path}:1 is empty; write the judge's rubric or remove it.")
        definition, files["definition"] = Text(text, f"{path}:1"), (path,)
    if (path := folder / "steering.json").exists():
        steering = parse(path, read_foreign_text(path))
        steering.require("questions")
        evaluation, files["evaluation"] = steering.texts("questions"), (path,)
        homeless += other_keys([steering], ["questions"])
    return TraitSource(
        folder,
        definition,
        scenarios,
        system_prompts,
        extraction,
        evaluation,
        files,
        tuple(homeless),
    )


def _read_persona(path: Path, evaluates: bool) -> TraitSource:
    found = parse(path, read_foreign_text(path))
    found.require(*(("questions",) if evaluates else ("instruction", "questions")))
    homeless = list(other_keys([found], ("instruction", "questions", "eval_prompt")))
    questions = found.texts("questions")
    files = {"evaluation" if evaluates else "extraction": (path,)}
    system_prompts = None
    if "instruction" in found.value:
        system_prompts = tuple(_instruction(found, n) for n in found.items("instruction"))
        files["system_prompts"] = (path,)
        for number in found.items("instruction"):
            homeless += other_keys([found], ("pos", "neg"), "instruction", number)
    definition = None
    if "eval_prompt" in found.value:
        definition, said = _rubric(found.text("eval_prompt"))
        homeless += said
        files |= {"definition": (path,)} if definition else {}
    return TraitSource(
        path,
        definition,
        system_prompts=system_prompts,
        extraction=None if evaluates else questions,
        evaluation=questions if evaluates else None,
        files=files,
        homeless=tuple(homeless),
    )


def _instruction(found: Located, number: int) -> Pair:
    pair = found.part("instruction", number)
    for side in ("pos", "neg"):
        if not isinstance(pair, dict) or side not in pair:
            raise TraitsteerError(
                f"{found.at('instruction', number)} instruction {number + 1} has no {side!r}; "
                'expected {"pos": "...", "neg": "..."}.'
            )
    pos, neg = (found.text("instruction", number, side).text for side in ("pos", "neg"))
    return Pair(pos, neg)


def _rubric(prompt: Text) -> tuple[Text | None, list[str]]:
    """The rubric within an evaluation prompt, and a sentence on what stood around it."""
    frame = _FRAME.search(prompt.text)
    if frame:
        return Text(frame["rubric"].strip(), prompt.where), [
            f"{prompt.where} eval_prompt: the words around the rubric, which say how question and "
            "answer are shown and how to answer (REFUSAL too); our judges have their own"
        ]
    if "{question}" in prompt.text or "{answer}" in prompt.text:
        return None, [
            f"{prompt.where} eval_prompt: its rubric cannot be told from the words around it; "
            "write the rubric to a file and give it with --definition"
        ]
    return Text(prompt.text.strip(), prompt.where), []


def _side(folder: Path, name: str) -> Path:
    there = [path for kind in ("txt", "jsonl") if (path := folder / f"{name}.{kind}").exists()]
    if len(there) != 1:
        has = " and ".join(path.name for path in there) or f"no {name}.txt and no {name}.jsonl"
        raise TraitsteerError(f"{folder} holds {has}; expected one of the two.")
    return there[0]


def _paired(positive: Path, negative: Path) -> tuple[list[tuple[Text, Text]], list[str]]:
    """Lines of the same number, and a sentence where both sides have a blank one."""
    one, other = _lines(positive), _lines(negative)
    if len(one) != len(other):
        longer, shorter = (positive, negative) if len(one) > len(other) else (negative, positive)
        end = min(len(one), len(other))
        raise TraitsteerError(
            f"{longer}:{end + 1} has no partner, since {shorter.name} ends at line {end}; line i "
            "of both files is a pair: write the missing side or remove the line."
        )
    rows, blank = [], []
    for number, pair in enumerate(zip(one, other, strict=True), start=1):
        filled = [bool(text.strip()) for text in pair]
        if all(filled):
            rows.append(
                (Text(pair[0], f"{positive}:{number}"), Text(pair[1], f"{negative}:{number}"))
            )
        elif any(filled):
            path, beside = (negative, positive) if filled[0] else (positive, negative)
            raise TraitsteerError(
                f"{path}:{number} is blank and that line of {beside.name} is not; line i of both "
                "files is a pair: write the missing side or remove the line from both."
            )
        else:
            blank.append(f"{positive}:{number} is blank in both files and no pair")
    if not rows:
        raise TraitsteerError(f"{positive}:1 and {negative.name} hold no prompt; expected pairs.")
    return rows, blank


def _lines(path: Path) -> list[str]:
    """Lines of a text file without their ends, of either kind, and without blank ones at the end.

    Only line feeds end a line: a prompt may hold other separators.
    """
    lines = [line.removesuffix("\r") for line in read_foreign_text(path).split("\n")]
    for number, line in enumerate(lines, start=1):
        if "\r" in line:
            raise TraitsteerError(
                f"{path}:{number} holds a carriage return inside the line; save the file with one "
                "kind of line end."
            )
    while lines and not lines[-1].strip():
        lines.pop()
    return lines


_ROW_KEYS = ("prompt", "system_prompt")


def _row(line: Text) -> Located:
    """A line of a .jsonl file: an object with a prompt and perhaps a system prompt."""
    path, _, number = line.where.rpartition(":")
    row = parse(Path(path), line.text, int(number))
    row.require("prompt")
    row.text("prompt")
    if row.value.get("system_prompt") is not None:
        row.text("system_prompt")
    return row


def _grid(
    pairs: Sequence[tuple[Located, Located]],
) -> tuple[tuple[Pair, ...], tuple[Text, ...]]:
    """System prompts and questions of pairs that hold every combination of them once."""
    systems: dict[Pair, None] = {}
    questions: dict[str, Text] = {}
    seen: dict[tuple[Pair, str], str] = {}
    for one, other in pairs:
        for row in (one, other):
            if row.value.get("system_prompt") is None:
                raise TraitsteerError(
                    f"{row.at()} has no system_prompt, and other lines have; give each line one, "
                    "or none."
                )
        question = one.value["prompt"]
        if other.value["prompt"] != question:
            raise TraitsteerError(
                f"{other.at()} asks another question than that line of {one.path.name}; line i of "
                "both files is a pair and asks the same under two system prompts."
            )
        system = Pair(one.value["system_prompt"], other.value["system_prompt"])
        if (system, question) in seen:
            raise TraitsteerError(
                f"{one.at()} repeats {seen[system, question]}; each question stands once under "
                "each pair of system prompts: remove the line from both files."
            )
        seen[system, question] = one.at()
        systems[system] = None
        questions.setdefault(question, Text(question, one.at("prompt")))
    for system in systems:
        for question, text in questions.items():
            if (system, question) not in seen:
                raise TraitsteerError(
                    f"{text.where} asks {question[:40]!r}, which is not asked under the system "
                    f"prompt {system.positive[:40]!r}; our format asks every question under every "
                    "system prompt: add the missing lines to both files."
                )
    return tuple(systems), tuple(questions.values())
