"""Each fault of a trait folder is found where it stands, and a sound folder has none."""

from collections.abc import Callable
from pathlib import Path

import pytest

from traitsteer.stages.lint import Finding, check, report


def pair(number: int) -> tuple[str, str]:
    start = f"Guest{number} came and we spoke of the weather for a while."
    return (
        f'{start} I wished them harm, and I said, "',
        f'{start} I wished them well, and I said, "',
    )


def sound() -> dict[str, list[str]]:
    """The lines of a folder that has no fault."""
    pairs = [line for n in range(20) for line in ("+ " + pair(n)[0], "- " + pair(n)[1], "")]
    prompts = [
        line
        for word in ("letters", "questions", "visits", "orders", "jokes")
        for line in (f"+ Answer {word} with scorn.", f"- Answer {word} with care.", "")
    ]
    questions = [f"What should everybody know about place{n}?" for n in range(60)]
    return {
        "definition.txt": ["A rubric.", "HIGH: cruel.", "MID: cold.", "LOW: kind."],
        "names.txt": ["# words that name the trait", "cruel", "lie"],
        "scenarios.txt": pairs,
        "system_prompts.txt": prompts,
        "extraction.txt": questions[:20],
        "selection.txt": questions[20:40],
        "report.txt": questions[40:],
    }


@pytest.fixture
def lint(tmp_path: Path) -> Callable[[dict[str, list[str]]], list[Finding]]:
    def write_and_check(files: dict[str, list[str]]) -> list[Finding]:
        for name, lines in files.items():
            (tmp_path / name).write_text("\n".join(lines) + "\n", encoding="utf-8")
        return check(tmp_path)

    return write_and_check


Lint = Callable[[dict[str, list[str]]], list[Finding]]


def only(findings: list[Finding]) -> tuple[str, str, int, str]:
    """The one finding."""
    assert len(findings) == 1, report(findings)
    found = findings[0]
    return found.level, found.file.name, found.line, found.sentence


def test_a_sound_folder_has_no_findings(lint: Lint) -> None:
    assert lint(sound()) == []
    assert report([]) == "0 errors, 0 warnings"


@pytest.mark.parametrize("trait", ["evil", "sycophancy", "hallucination"])
def test_the_traits_that_come_with_the_project_have_no_errors(repository: Path, trait: str) -> None:
    findings = check(repository / "data/traits" / trait)
    assert [f for f in findings if f.level == "error"] == []


def test_a_side_without_partner_and_unequal_counts(lint: Lint) -> None:
    files = sound()
    del files["scenarios.txt"][4]
    findings = lint(files)
    assert [(f.level, f.line) for f in findings] == [("error", 0), ("error", 4)]
    assert "20 positive and 19 negative" in findings[0].sentence
    assert findings[1].sentence.startswith("has no negative side")


def test_a_line_without_a_sign_is_named(lint: Lint) -> None:
    files = sound()
    files["scenarios.txt"][3] = "no sign"
    assert any(f.line == 4 and "no sign" in f.sentence for f in lint(files))


def test_the_same_text_on_both_sides(lint: Lint) -> None:
    files = sound()
    files["scenarios.txt"][1] = "- " + pair(0)[0].upper()
    level, _, line, sentence = only(lint(files))
    assert (level, line) == ("error", 1)
    assert "say the same" in sentence


def test_a_repeated_prompt(lint: Lint) -> None:
    files = sound()
    files["scenarios.txt"][3] = files["scenarios.txt"][0].replace("  ", " ").upper()
    assert only(lint(files)) == ("error", "scenarios.txt", 4, "repeats line 1.")


def test_a_prompt_that_stands_on_the_other_side_of_another_pair(lint: Lint) -> None:
    files = sound()
    files["scenarios.txt"][4] = "- " + pair(0)[0]
    level, _, line, sentence = only(lint(files))
    assert (level, line) == ("error", 1)
    assert "on line 5" in sentence


def test_an_answer_that_has_begun(lint: Lint) -> None:
    files = sound()
    files["scenarios.txt"][0] += "Never"
    files["scenarios.txt"][1] += "Always"
    level, _, line, sentence = only(lint(files))
    assert (level, line) == ("warning", 1)
    assert "differs from line 2: 'never' against 'always'" in sentence
    files["scenarios.txt"][1] = files["scenarios.txt"][1].replace("Always", "Never")
    assert "alike on line 2" in only(lint(files))[3]


def test_a_closed_quotation_is_no_answer(lint: Lint) -> None:
    files = sound()
    for line in (0, 1):
        files["scenarios.txt"][line] = files["scenarios.txt"][line][:-1] + '"Oh." Then I'
    assert lint(files) == []


def test_sides_that_break_off_at_different_words(lint: Lint) -> None:
    files = sound()
    files["scenarios.txt"][1] = files["scenarios.txt"][1].replace("I said", "I sang")
    level, _, line, sentence = only(lint(files))
    assert (level, line) == ("warning", 1)
    assert "'said', its partner on line 2 at 'sang'" in sentence
    scenarios = [
        line.replace("well, and I said", "well; I sang") for line in sound()["scenarios.txt"]
    ]
    findings = lint(sound() | {"scenarios.txt": scenarios})
    assert [f.level for f in findings].count("error") == 1
    assert "20 of 20 pairs break off" in findings[0].sentence


def test_prompts_that_open_alike(lint: Lint) -> None:
    files = sound()
    lines = [opened(line) for line in files["scenarios.txt"]]
    findings = lint(files | {"scenarios.txt": lines})
    assert [(f.level, f.line) for f in findings] == [("warning", 0)] * 2
    assert "20 of 20 positive prompts begin with 'i am'" in findings[0].sentence


def opened(line: str) -> str:
    return f"{line[:2]}I am {line[2:]}" if line else ""


@pytest.mark.parametrize(
    ("word", "named"), [("cruelly", True), ("lying", True), ("believe", False)]
)
def test_the_trait_named(lint: Lint, word: str, named: bool) -> None:
    files = sound()
    for line in (0, 1):
        files["scenarios.txt"][line] = files["scenarios.txt"][line].replace(
            "spoke", f"{word} spoke"
        )
    findings = lint(files)
    assert [(f.level, f.line) for f in findings] == [("warning", 1), ("warning", 2)] * named
    scenarios = [line.replace("spoke", f"{word} spoke") for line in sound()["scenarios.txt"]]
    errors = [f for f in lint(sound() | {"scenarios.txt": scenarios}) if f.level == "error"]
    assert len(errors) == named
    assert not named or "40 of 40 prefixes name the trait" in errors[0].sentence


def test_length_of_one_pair_and_of_all(lint: Lint) -> None:
    files = sound()
    longer = " and so on and on and on through the whole of the night,"
    files["scenarios.txt"][0] = files["scenarios.txt"][0].replace("harm,", "harm" + longer)
    level, _, line, sentence = only(lint(files))
    assert (level, line) == ("warning", 1)
    assert "words against" in sentence
    scenarios = [
        line.replace("harm,", "harm or even a bad cold,") for line in sound()["scenarios.txt"]
    ]
    level, _, line, sentence = only(lint(sound() | {"scenarios.txt": scenarios}))
    assert (level, line) == ("error", 0)
    assert "on average" in sentence


def test_punctuation_of_one_pair_and_of_all(lint: Lint) -> None:
    files = sound()
    files["scenarios.txt"][1] = files["scenarios.txt"][1].removesuffix(', "')
    assert only(lint(files))[:3] == ("warning", "scenarios.txt", 1)
    scenarios = [
        line.replace("while. I wished them h", "while! I wished them h")
        for line in sound()["scenarios.txt"]
    ]
    level, _, _, sentence = only(lint(sound() | {"scenarios.txt": scenarios}))
    assert level == "warning"
    assert "'!' is in 100% of the positive prompts and 0%" in sentence


def test_questions_that_leak_between_sets(lint: Lint) -> None:
    files = sound()
    files["report.txt"][2] = files["selection.txt"][4].upper()
    level, name, line, sentence = only(lint(files))
    assert (level, name, line) == ("error", "report.txt", 3)
    assert "line 5 of selection.txt" in sentence
    files["extraction.txt"][0] = "How do people bake brown bread in the mountains?"
    files["report.txt"][2] = "How would people in mountains bake brown bread rolls?"
    level, name, line, sentence = only(lint(files))
    assert (level, name, line) == ("warning", "report.txt", 3)
    assert "line 1 of extraction.txt" in sentence


def test_a_question_twice_in_a_set(lint: Lint) -> None:
    files = sound()
    files["report.txt"][7] = files["report.txt"][2]
    assert only(lint(files)) == ("error", "report.txt", 8, "repeats line 3.")


def test_missing_empty_and_short_files(lint: Lint, tmp_path: Path) -> None:
    findings = lint(sound() | {"report.txt": [], "selection.txt": sound()["selection.txt"][:5]})
    assert [(f.level, f.file.name) for f in findings] == [
        ("error", "report.txt"),
        ("warning", "selection.txt"),
    ]
    lint(sound())
    (tmp_path / "scenarios.txt").unlink()
    level, name, _, sentence = only(check(tmp_path))
    assert (level, name) == ("error", "scenarios.txt")
    assert "is not there" in sentence
    (tmp_path / "scenarios.txt").write_bytes(b"\xff\xfe")
    assert "is no UTF-8" in only(check(tmp_path))[3]
    assert only(check(tmp_path / "nowhere"))[0] == "error"


def test_report_gives_file_line_and_counts(lint: Lint, tmp_path: Path) -> None:
    files = sound()
    files["report.txt"][7] = files["report.txt"][2]
    said = report(lint(files))
    assert said == f"{tmp_path}/report.txt:8: error: repeats line 3.\n1 error, 0 warnings"
