"""Trait data of others comes back prompt by prompt, or is refused with file and line."""

import json
import os
import random
import re
from pathlib import Path

import pytest

from traitsteer.cli import main
from traitsteer.experiment.gathering import Choices
from traitsteer.stages.import_trait import run
from traitsteer.words.errors import TraitsteerError
from traitsteer.words.records import Pair, Trait
from traitsteer.world.trait_folder import read_lines, read_pairs, read_trait, write_trait

ODD = (
    "plain",
    " a space in front",
    "a space behind ",
    "\ta tab in front",
    "# no comment",
    "  # no comment either",
    "+ no sign",
    "- no sign",
    '"quoted"',
    '\\"escaped by hand"',
    "\\back\\slash",
    "two\nlines",
    "\n\nblank lines around\n",
    "a\r\nWindows line",
    "a\rMacintosh line",
    "a\x0bvertical\x0cfeed\x1cand\x85more\u2028of\u2029them",
    "\ufeffa byte order mark",
    "\u00a0a space that does not break\u3000",
    "naïve 雪 🙂 e\u0301",
    "\x00 nothing",
    "{question} [ANSWER]",
    "null",
)


def a_trait(seed: int) -> Trait:
    """A trait of texts that mix odd ones and random characters."""
    rng = random.Random(seed)

    def text() -> str:
        drawn = "".join(rng.choices(' \t\n\r#+-"\\\u2028\x85abé🙂', k=rng.randint(1, 12)))
        return rng.choice([*ODD, drawn, rng.choice(ODD) + drawn]) or "x"

    def pairs() -> tuple[Pair, ...]:
        return tuple(Pair(text(), text()) for _ in range(rng.randint(1, 4)))

    def texts() -> tuple[str, ...]:
        return tuple(text() for _ in range(rng.randint(1, 4)))

    definition = "\n".join(texts()) + "."
    return Trait("odd", definition, texts(), pairs(), pairs(), texts(), texts(), texts())


@pytest.mark.parametrize("seed", range(100))
def test_a_trait_folder_holds_any_text(tmp_path: Path, seed: int) -> None:
    trait = a_trait(seed)
    write_trait(tmp_path / "odd", trait)
    assert read_trait(tmp_path / "odd") == trait


@pytest.mark.parametrize("text", ODD)
def test_each_odd_text_alone(tmp_path: Path, text: str) -> None:
    texts, pairs = (text,), (Pair(text, text),)
    trait = Trait("odd", f"{text}\n{text}\n{text}", texts, pairs, pairs, texts, texts, texts)
    write_trait(tmp_path / "odd", trait)
    assert read_trait(tmp_path / "odd") == trait


def test_files_written_before_the_escape_read_as_they_did(tmp_path: Path) -> None:
    lines = ["# comment", '"Go away," he said.', "", '  "One"  ', "\\frac", "x # y"]
    path = tmp_path / "questions.txt"
    for text in ("\n".join(lines), "\ufeff" + "\n".join(lines), "\r\n".join(lines)):
        path.write_bytes(text.encode())
        found = [(line.number, line.text) for line in read_lines(path)]
        assert found == [(2, lines[1]), (4, '"One"'), (5, "\\frac"), (6, "x # y")]


def test_an_escape_that_is_no_json_names_its_line(tmp_path: Path) -> None:
    path = tmp_path / "scenarios.txt"
    path.write_text('+ one\n- \\"two\n', encoding="utf-8")
    with pytest.raises(TraitsteerError, match=r"scenarios\.txt:2 begins with a backslash .* close"):
        read_pairs(path)


def natural(folder: Path, positive: str, negative: str, **steering: object) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "positive.txt").write_bytes(positive.encode())
    (folder / "negative.txt").write_bytes(negative.encode())
    (folder / "definition.txt").write_text("A rubric.\n", encoding="utf-8")
    questions = {"questions": [f"Evaluation {n}?" for n in range(6)]} | steering
    (folder / "steering.json").write_text(json.dumps(questions, indent=1), encoding="utf-8")
    return folder


def rows(side: str, systems: int = 2, questions: int = 3) -> list[dict[str, str]]:
    return [
        {"prompt": f" Question {q}\nof two lines? ", "system_prompt": f"# {side} {s}"}
        for s in range(systems)
        for q in range(questions)
    ]


def instruction(folder: Path, positive: list, negative: list) -> Path:
    natural(folder, "", "")
    for side, given in (("positive", positive), ("negative", negative)):
        (folder / f"{side}.txt").unlink()
        text = "".join(
            (one if isinstance(one, str) else json.dumps(one, ensure_ascii=False)) + "\n"
            for one in given
        )
        (folder / f"{side}.jsonl").write_text(text, encoding="utf-8")
    return folder


def both(folder: Path) -> list[Path]:
    """An instruction folder and a natural one of the same trait."""
    return [
        instruction(folder / "instruction", rows("cruel"), rows("kind")),
        natural(folder / "natural", "# I hit \n+ I\t", "# I hug \n+ we\t"),
    ]


def test_two_folders_become_one_trait(tmp_path: Path) -> None:
    said = run(both(tmp_path), Choices(tmp_path / "evil", split=2))
    trait = read_trait(tmp_path / "evil")
    assert trait.definition == "A rubric."
    assert trait.names == ("evil",)
    assert trait.scenarios == (Pair("# I hit ", "# I hug "), Pair("+ I\t", "+ we\t"))
    assert trait.system_prompts == (Pair("# cruel 0", "# kind 0"), Pair("# cruel 1", "# kind 1"))
    assert trait.extraction == tuple(f" Question {q}\nof two lines? " for q in range(3))
    assert sorted(trait.selection + trait.report) == [f"Evaluation {n}?" for n in range(6)]
    assert (len(trait.selection), len(trait.report)) == (2, 4)
    assert "licence" in said
    assert "2 pairs" in said
    assert (tmp_path / "evil/scenarios.txt").read_text().startswith("# Imported; the source's lic")


def test_the_split_knows_seed_and_text_but_no_order(tmp_path: Path) -> None:
    questions = [f"Evaluation {n}?" for n in range(20)]
    sets = []
    for number, order in enumerate((questions, questions[::-1])):
        for seed in (0, 1):
            sources = both(tmp_path / f"{number}")
            for source in sources:
                (source / "steering.json").write_text(json.dumps({"questions": order}))
            into = tmp_path / f"{number}-{seed}"
            run(sources, Choices(into, split=10, seed=seed))
            sets.append(set(read_trait(into).selection))
            assert list(read_trait(into).report) == [q for q in order if q not in sets[-1]]
    assert sets[0] == sets[2]
    assert sets[1] == sets[3]
    assert sets[0] != sets[1]


def test_windows_files_and_odd_prompts_stay_what_they_say(tmp_path: Path) -> None:
    plain = [text for text in ODD if not re.search(r"[\r\n]|^\ufeff", text)]
    lines = "\ufeff" + "\r\n".join(plain) + "\r\n\r\n"
    source = natural(tmp_path / "source", lines, "\n".join(plain[::-1]))
    run([source], Choices(tmp_path / "odd", partial=True))
    found = read_pairs(tmp_path / "odd/scenarios.txt")
    assert [pair.positive.text for pair in found] == plain
    assert [pair.negative.text for pair in found] == plain[::-1]


def test_repeated_lines_and_lines_that_are_blank_on_both_sides(tmp_path: Path) -> None:
    source = natural(tmp_path / "source", "a\n\na\n", "b\n \nb\n\n\n")
    said = run([source], Choices(tmp_path / "into", partial=True))
    found = read_pairs(tmp_path / "into/scenarios.txt")
    assert [(pair.positive.text, pair.negative.text) for pair in found] == [("a", "b")] * 2
    assert "positive.txt:2 is blank in both files" in said


def test_natural_prompts_as_json_lines(tmp_path: Path) -> None:
    sides = [[{"prompt": f"{side}\n{n} "} for n in range(2)] for side in "ab"]
    run([instruction(tmp_path / "source", *sides)], Choices(tmp_path / "into", partial=True))
    found = read_pairs(tmp_path / "into/scenarios.txt")
    assert [pair.positive.text for pair in found] == ["a\n0 ", "a\n1 "]
    assert not (tmp_path / "into/system_prompts.txt").exists()


FRAME = (
    "You are evaluating whether the model's response displays the trait: **evil**. It wants harm. "
    "It says so.\n\nPrompt:\n[QUESTION START]\n{question}\n[QUESTION END]\n\nModel response:\n"
    "[ANSWER START]\n{answer}\n[ANSWER END]\n\nRespond with a number."
)


def persona(path: Path, asked: list[str], **changes: object) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    value = {
        "instruction": [{"pos": f" Be evil {n}.", "neg": f"Be\ngood {n}."} for n in range(5)],
        "questions": asked,
        "eval_prompt": FRAME,
    } | changes
    kept = {key: one for key, one in value.items() if one is not None}
    path.write_text(json.dumps(kept, indent=4), encoding="utf-8")
    return path


def test_the_two_files_of_the_persona_vectors_code(tmp_path: Path) -> None:
    asked = [f" Extract {n}?" for n in range(3)], [f"Evaluate\n{n}?" for n in range(3)]
    evaluation = persona(tmp_path / "trait_data_eval/evil.json", asked[1])
    extraction = persona(tmp_path / "trait_data_extract/evil.json", asked[0], note="kept where?")
    scenes = natural(tmp_path / "natural", "I hit", "I hug")
    for name in ("definition.txt", "steering.json"):
        (scenes / name).unlink()
    (scenes / "NOTES.md").write_text("x")
    # In either order: the folders' names tell the two apart.
    said = run([evaluation, extraction, scenes], Choices(tmp_path / "evil", split=1))
    trait = read_trait(tmp_path / "evil")
    assert trait.definition == "It wants harm. It says so."
    assert trait.system_prompts[4] == Pair(" Be evil 4.", "Be\ngood 4.")
    assert trait.extraction == tuple(asked[0])
    assert sorted(trait.selection + trait.report) == sorted(asked[1])
    assert "evil.json:30 note: 'kept where?'" in said
    assert "eval_prompt: the words around the rubric" in said
    assert "NOTES.md is no file of this format" in said


def test_without_such_folders_the_first_file_extracts_and_the_second_evaluates(tmp_path) -> None:
    files = [persona(tmp_path / "one.json", ["a?"]), persona(tmp_path / "two.json", ["b?"])]
    run(files, Choices(tmp_path / "into", partial=True))
    assert [line.text for line in read_lines(tmp_path / "into/extraction.txt")] == ["a?"]
    assert [line.text for line in read_lines(tmp_path / "into/report.txt")] == ["b?"]


@pytest.mark.parametrize(
    ("prompt", "found"), [("A rubric of its own.", "A rubric of its own."), ("{answer}?", None)]
)
def test_an_evaluation_prompt_of_another_form(tmp_path: Path, prompt: str, found: str) -> None:
    source = persona(tmp_path / "one.json", ["a?"], eval_prompt=prompt)
    said = run([source], Choices(tmp_path / "into", partial=True))
    assert (tmp_path / "into/definition.txt").exists() == (found is not None)
    assert ("give it with --definition" in said) == (found is None)


def refused(sources: list[Path], match: str, **choices: object) -> None:
    """Nothing is written, and the sentence names the place."""
    into = sources[0].parent / "into"
    with pytest.raises(TraitsteerError, match=match) as caught:
        run(sources, Choices(into, partial=True, **choices))  # type: ignore[arg-type]
    assert "\n" not in str(caught.value)
    assert not into.exists()


def test_sides_that_do_not_fit_are_refused_where_they_part(tmp_path: Path) -> None:
    source = natural(tmp_path / "source", "a\nb\nc\n", "a\nb\n")
    refused([source], r"positive\.txt:3 has no partner, since negative\.txt ends at line 2")
    natural(source, "a\nb\n", "a\n\nb\n")
    refused([source], r"negative\.txt:3 has no partner")
    natural(source, "a\nb\nc\n", "a\n\nb\n")
    refused([source], r"negative\.txt:2 is blank and that line of positive\.txt is not")
    natural(source, "a\nb\rc\n", "a\nb\n")
    refused([source], r"positive\.txt:2 holds a carriage return")
    (source / "positive.txt").write_bytes("a\nb é\n".encode("latin-1"))
    refused([source], r"positive\.txt:2 is no UTF-8")
    natural(source, "", "")
    refused([source], r"positive\.txt:1 and negative\.txt hold no prompt")
    (source / "negative.txt").unlink()
    refused([source], r"source holds no negative\.txt and no negative\.jsonl")
    (source / "negative.jsonl").write_text('{"prompt": "a"}\n')
    refused([source], r"positive\.txt and negative\.jsonl; both sides have the same format")
    (source / "positive.jsonl").write_text('{"prompt": "a"}\n')
    refused([source], r"positive\.txt and positive\.jsonl; expected one")
    refused([tmp_path / "gone"], r"gone is neither a folder nor a \.json file")
    refused([tmp_path / "gone.json"], r"gone\.json is not there")


@pytest.mark.parametrize(
    ("line", "given", "match"),
    [
        (2, '{"prompt": "cut', r"positive\.jsonl:2 is no JSON \(Unterminated"),
        (2, '["prompt"]', r"positive\.jsonl:2 is a list, expected an object with prompt"),
        (2, '{"prompts": "a"}', r"positive\.jsonl:2 has no key 'prompt'.* it has prompts"),
        (2, '{"prompt": 3}', r"positive\.jsonl:2 prompt is a number, expected a text"),
        (2, '{"prompt": " "}', r"positive\.jsonl:2 prompt is blank"),
        (2, '{"prompt": "\\ud83d"}', r"positive\.jsonl:2 prompt holds half of a surrogate"),
        (3, '{"prompt": "a", "prompt": "b"}', r"positive\.jsonl:3 gives the key 'prompt' a second"),
        (4, {"prompt": " Question 0\nof two lines? "}, r"positive\.jsonl:4 has no system_prompt"),
        (4, {"prompt": "?", "system_prompt": "s"}, r"negative\.jsonl:4 asks another question"),
        (5, "", r"positive\.jsonl:5 is blank and that line of negative\.jsonl is not"),
    ],
)
def test_a_json_line_that_cannot_be_read(tmp_path: Path, line: int, given, match: str) -> None:
    lines = rows("cruel")
    lines[line - 1] = given
    refused([instruction(tmp_path / "source", lines, rows("kind"))], match)


def test_questions_that_are_not_asked_everywhere_once(tmp_path: Path) -> None:
    one, other = rows("cruel"), rows("kind")
    source = instruction(tmp_path / "source", one[:-1], other[:-1])
    refused([source], r"positive\.jsonl:3 asks .* not asked under the system prompt '# cruel 1'")
    source = instruction(tmp_path / "source", [*one, one[2]], [*other, other[2]])
    refused([source], r"positive\.jsonl:7 repeats .*positive\.jsonl:3")


@pytest.mark.parametrize(
    ("changes", "match"),
    [
        (
            {"instruction": None, "instructions": []},
            r"evil\.json:1 has no key 'instruction', .* it ",
        ),
        ({"questions": "one"}, r"evil\.json:24 questions is a text, expected a list"),
        ({"questions": []}, r"evil\.json:24 questions is empty"),
        ({"questions": ["a", "b", 3]}, r"evil\.json:27 questions 3 is a number"),
        ({"instruction": {"pos": "a"}}, r"evil\.json:2 instruction is an object"),
        (
            {"instruction": [{"pos": "a", "neg": "b"}, {"pos": "c"}]},
            r"evil\.json:7 instr.* no 'neg'",
        ),
        ({"instruction": [{"pos": None, "neg": "b"}]}, r"evil\.json:4 instruction 1 pos is empty"),
        ({"eval_prompt": 3}, r"evil\.json:27 eval_prompt is a number"),
    ],
)
def test_a_wrong_key_or_value_is_named_by_its_line(tmp_path, changes: dict, match: str) -> None:
    refused([persona(tmp_path / "evil.json", ["a?"], **changes)], match)


def test_truncated_json_and_a_key_that_stands_twice(tmp_path: Path) -> None:
    source = persona(tmp_path / "evil.json", ["a?", "b?"])
    whole = source.read_text()
    source.write_text(whole[: whole.index('"b?"')])
    refused([source], r"evil\.json:26 is no JSON .* cut short")
    source.write_text(whole.replace('"eval_prompt"', '"questions"'))
    refused([source], r"evil\.json:28 gives the key 'questions' a second time")
    source.write_bytes(whole.replace("a?", "é?").encode("latin-1"))
    refused([source], r"evil\.json:25 is no UTF-8")


def test_what_is_missing_is_said_with_its_remedy_and_nothing_is_written(tmp_path: Path) -> None:
    sources = both(tmp_path)
    into = tmp_path / "evil"
    with pytest.raises(
        TraitsteerError, match=r"incomplete .*no selection: .*--selection .*--split"
    ):
        run(sources, Choices(into))
    assert not into.exists()
    assert "missing selection: give questions" in run(sources, Choices(into, partial=True))
    assert not (into / "selection.txt").exists()
    # The missing file written by hand completes the folder, and takes part in the checks.
    (into / "selection.txt").write_text("Mine?\nevaluation 3\n", encoding="utf-8")
    with pytest.raises(TraitsteerError, match=r"selection\.txt:2 \(selection\).*json:6 \(report"):
        run(sources, Choices(into))
    (into / "selection.txt").write_text("Mine?\n", encoding="utf-8")
    said = run(sources, Choices(into))
    assert "selection.txt: kept as it was" in said
    assert "report.txt: 6 questions (unchanged)" in said
    assert read_trait(into).selection == ("Mine?",)


def test_sources_can_be_imported_one_after_the_other(tmp_path: Path) -> None:
    one, other = both(tmp_path)
    together, apart = tmp_path / "together/evil", tmp_path / "apart/evil"
    run([one, other], Choices(together, split=3))
    run([one], Choices(apart, split=3, partial=True))
    run([other], Choices(apart, split=3))
    assert read_trait(apart) == read_trait(together)


def test_nothing_is_overwritten_unless_forced(tmp_path: Path) -> None:
    sources, into = both(tmp_path), tmp_path / "evil"
    run(sources, Choices(into, split=2))
    (into / "names.txt").write_text("evil\ncruel\n", encoding="utf-8")
    (into / "definition.txt").write_text("Mine.\n", encoding="utf-8")
    before = {path: path.read_bytes() for path in into.iterdir()}
    with pytest.raises(TraitsteerError, match=r"definition\.txt would be overwritten .*--force"):
        run(sources, Choices(into, split=2))
    assert {path: path.read_bytes() for path in into.iterdir()} == before
    run(sources, Choices(into, split=2, force=True))
    assert read_trait(into).definition == "A rubric."
    assert read_trait(into).names == ("evil", "cruel")


def test_sources_that_contradict_each_other_need_a_choice(tmp_path: Path) -> None:
    one, other = both(tmp_path)
    (other / "definition.txt").write_text("Another.\n", encoding="utf-8")
    into = Choices(tmp_path / "into", split=2)
    with pytest.raises(TraitsteerError, match=r"differ in what they give as definition; choose"):
        run([one, other], into)
    (other / "definition.txt").write_text("# A remark.\nAnother.\n", encoding="utf-8")
    (tmp_path / "asked.txt").write_text("Asked?\n", encoding="utf-8")
    chosen = Choices(
        tmp_path / "into",
        split=2,
        definition=other / "definition.txt",
        extraction=tmp_path / "asked.txt",
    )
    said = run([one, other], chosen)
    assert read_trait(tmp_path / "into").definition == "Another."
    assert read_trait(tmp_path / "into").extraction == ("Asked?",)
    assert "definition.txt:1 definition: " in said
    assert "definition.txt: 1 lines that begin with # are comments" in said
    assert "extraction questions: --extraction gives others" in said
    (other / "steering.json").write_text('{"questions": ["Other?"]}', encoding="utf-8")
    with pytest.raises(TraitsteerError, match=r"as evaluation; choose with --report"):
        run([one, other], chosen)


def test_question_sets_from_files(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    sources = both(tmp_path)
    (tmp_path / "mine.txt").write_text("# mine\nMine 1?\nMine 2?\n", encoding="utf-8")
    (tmp_path / "mine.json").write_text('["Mine 3?"]', encoding="utf-8")
    command = ["import", *map(str, sources), "--into", str(tmp_path / "into"), "--names", "a", "b"]
    sets = ["--selection", str(tmp_path / "mine.txt"), "--report", str(tmp_path / "mine.json")]
    assert main([*command, *sets]) == 0
    trait = read_trait(tmp_path / "into")
    assert (trait.selection, trait.report) == (("Mine 1?", "Mine 2?"), ("Mine 3?",))
    assert trait.names == ("a", "b")
    assert "steering.json:3 evaluation questions: --report gives others" in capsys.readouterr().out
    assert main([*command, *sets, "--split", "2", "--force"]) == 1
    assert main([*command, "--split", "6", "--force"]) == 1
    assert "cannot divide 6 evaluation questions; expected 1 to 5" in capsys.readouterr().err


def test_other_fields_are_listed(tmp_path: Path) -> None:
    extra = {"coherence_prompt": "Score it. " * 20, "direction": "up"}
    source = natural(tmp_path / "source", "a", "b", **extra)
    said = run([source], Choices(tmp_path / "into", partial=True))
    assert re.search(
        r"no place for .*steering\.json:10 coherence_prompt: 'Score it\. .*\.\.\.", said
    )
    assert re.search(r"no place for .*steering\.json:11 direction: 'up'", said)


@pytest.fixture(scope="session")
def reference() -> Path:
    """The trait sets behind the published table, where they are at hand."""
    folder = os.environ.get("TRAITSTEER_REFERENCE")
    if folder is None or not (Path(folder) / "traitinterp").is_dir():
        pytest.skip("no reference data; set TRAITSTEER_REFERENCE to its folder to have it tested")
    return Path(folder) / "traitinterp"


@pytest.mark.parametrize(
    ("trait", "scenes"),
    [("evil", "evil_v3"), ("hallucination", "hallucination_v2"), ("sycophancy", "sycophancy")],
)
def test_the_published_trait_sets(tmp_path, reference: Path, trait: str, scenes: str) -> None:
    one, other = reference / "pv_instruction" / trait, reference / "pv_natural" / scenes
    rubric = one / "definition.txt"
    run([one, other], Choices(tmp_path / trait, definition=rubric, split=10))
    found = read_trait(tmp_path / trait)
    # Read once more by other means: str.splitlines and json alone.
    sides = [(other / f"{s}.txt").read_text().splitlines() for s in ("positive", "negative")]
    assert [(p.positive, p.negative) for p in found.scenarios] == list(zip(*sides, strict=True))
    asked = [
        [json.loads(line) for line in (one / f"{s}.jsonl").read_text().splitlines()]
        for s in ("positive", "negative")
    ]
    assert [
        (pair.positive, pair.negative, question)
        for pair in found.system_prompts
        for question in found.extraction
    ] == [
        (p["system_prompt"], n["system_prompt"], p["prompt"]) for p, n in zip(*asked, strict=True)
    ]
    questions = json.loads((one / "steering.json").read_text())["questions"]
    assert sorted(found.selection + found.report) == sorted(questions)
    assert found.definition == rubric.read_text().strip()
