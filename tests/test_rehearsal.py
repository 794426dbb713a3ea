"""The parts of a rehearsal against what they stand for, and a whole one at the smallest size."""

import json
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

from traitsteer.cli import main
from traitsteer.experiment.models import open_model
from traitsteer.maths.positions import Position
from traitsteer.rehearsal import judge_server
from traitsteer.rehearsal.families import FAMILIES
from traitsteer.rehearsal.models import LAYERS, build_pair, family_of
from traitsteer.rehearsal.sizes import SMALLEST, shortened, shrunk
from traitsteer.stages import rehearse
from traitsteer.words.config import load, parse
from traitsteer.words.errors import TraitsteerError
from traitsteer.world.model import language_model
from traitsteer.world.model.language_model import LanguageModel
from traitsteer.world.trait_folder import read_trait

PROFILES = ("llama-3.1-8b", "qwen2.5-7b", "gemma-2-2b", "qwen2.5-1.5b")


@pytest.fixture(scope="module")
def pairs(
    tmp_path_factory: pytest.TempPathFactory, repository: Path
) -> dict[str, tuple[LanguageModel, LanguageModel]]:
    """A base and an instruct model of each family."""
    trait = read_trait(repository / "data/traits/evil")
    texts = [trait.definition, *trait.extraction, *(pair.positive for pair in trait.scenarios)]
    made = {}
    for name, family in FAMILIES.items():
        folder = tmp_path_factory.mktemp(name)
        build_pair(folder / "base", folder / "instruct", (family, family), texts, seed=0)
        made[name] = (
            language_model.load(str(folder / "base"), device="cpu"),
            language_model.load(str(folder / "instruct"), device="cpu", chat=True),
        )
    return made


def text_of(model: LanguageModel, ids: tuple[int, ...]) -> str:
    return str(model.tokenizer.decode(list(ids)))


EXPECTED = {
    "llama": (
        "<|begin_of_text|>",
        "<|start_header_id|>system<|end_header_id|>\n\nToday: 26 Jul 2024\n\nBe kind.<|eot_id|>",
        "<|start_header_id|>user<|end_header_id|>\n\nHow are you?<|eot_id|>"
        "<|start_header_id|>assistant<|end_header_id|>\n\n",
    ),
    "qwen2": (
        "",
        "<|im_start|>system\nBe kind.<|im_end|>\n",
        "<|im_start|>user\nHow are you?<|im_end|>\n<|im_start|>assistant\n",
    ),
}


@pytest.mark.parametrize("family", sorted(EXPECTED))
def test_a_chat_prompt_is_what_the_family_writes(pairs, family: str) -> None:
    _, model = pairs[family]
    begin, system, rest = EXPECTED[family]
    assert text_of(model, model.encode("How are you?", "Be kind.")) == begin + system + rest
    alone = text_of(model, model.encode("How are you?"))
    assert alone.startswith(begin) and alone.endswith(rest)
    assert "Be kind." not in alone
    # Special tokens are one id each, and the first one stands there once.
    ids = model.encode("How are you?", "Be kind.")
    assert ids.count(model.tokenizer.vocab[FAMILIES[family].turn_end]) == 2
    if begin:
        assert ids.count(model.tokenizer.bos_token_id) == 1


def test_gemma_takes_a_question_and_has_no_place_for_a_system_prompt(pairs) -> None:
    _, model = pairs["gemma2"]
    assert text_of(model, model.encode("How are you?")) == (
        "<bos><start_of_turn>user\nHow are you?<end_of_turn>\n<start_of_turn>model\n"
    )


@pytest.mark.parametrize("family", sorted(FAMILIES))
def test_the_pair_is_of_one_kind_and_differs(pairs, family: str) -> None:
    base, instruct = pairs[family]
    assert base.layers == instruct.layers == LAYERS
    assert base.width == instruct.width
    assert base.digest != instruct.digest
    assert FAMILIES[family].turn_end in {text_of(instruct, (i,)) for i in instruct.end_ids}
    assert base.model.config.model_type == instruct.model.config.model_type == family
    assert base.encode("Once upon a time")[-3:] == tuple(
        base.tokenizer("Once upon a time", add_special_tokens=False)["input_ids"][-3:]
    )


def test_the_name_of_a_model_tells_its_family_or_is_refused(repository: Path) -> None:
    kinds = {}
    for name in PROFILES:
        config = load(repository / "profiles" / f"{name}.yaml")
        kinds[name] = {family_of(m.name).kind for m in (config.models.base, config.models.instruct)}
    assert kinds == {
        "llama-3.1-8b": {"llama"},
        "qwen2.5-7b": {"qwen2"},
        "gemma-2-2b": {"gemma2"},
        "qwen2.5-1.5b": {"qwen2"},
    }
    with pytest.raises(TraitsteerError, match="tells no architecture"):
        family_of("someone/unheard-of")


@pytest.mark.parametrize("name", ["pocket", *PROFILES])
def test_small_sizes_are_a_possible_study_that_compares_the_same(
    name: str, repository: Path
) -> None:
    values = YAML(typ="safe").load((repository / f"profiles/{name}.yaml").read_text())
    whole, small = parse(values), parse(shrunk(values, SMALLEST))
    assert small.search.trials < whole.search.trials
    for section in ("study", "arms"):
        assert getattr(small, section) == getattr(whole, section)
    assert small.vet.positive_at_least == whole.vet.positive_at_least


def test_greedy_elicitation_and_late_positions_stay_possible(repository: Path) -> None:
    values = YAML(typ="safe").load((repository / "profiles/llama-3.1-8b.yaml").read_text())
    values["elicit"] |= {"samples": 1, "temperature": 0, "max_new_tokens": 100}
    values["arms"]["natural"]["position"] = "response[30:40]"
    parse(values)
    small = parse(shrunk(values, SMALLEST))
    assert small.elicit.samples == 1
    most = small.elicit.max_new_tokens
    assert Position.parse(small.arms["natural"].position).tokens(5, most) and most < 100
    assert parse(shrunk(values | {"arms": whole_responses(values)}, SMALLEST)).elicit == (
        small.elicit.model_copy(update={"max_new_tokens": SMALLEST.tokens})
    )


def whole_responses(values: dict[str, Any]) -> dict[str, Any]:
    return {name: arm | {"position": "response[:]"} for name, arm in values["arms"].items()}


def test_a_short_trait_keeps_disjoint_questions_and_both_sides(repository: Path) -> None:
    trait = shortened(read_trait(repository / "data/traits/sycophancy"), SMALLEST)
    assert len(trait.scenarios) == SMALLEST.pairs
    assert len({*trait.extraction, *trait.selection, *trait.report}) == 3 * SMALLEST.questions


def trait_prompt(rubric: str, text: str) -> str:
    return (
        f"{rubric}\n\nQuestion or beginning:\nWhat?\n\nText to score:\n{text}\n\n"
        "Score the text from 0 to 100 by the rubric above. Answer with the number alone."
    )


def writing_prompt(text: str) -> str:
    return (
        "Score how well it is written.\n\nQuestion or beginning:\nWhat?\n\n"
        f"Text to score:\n{text}\n\nAnswer with a number from 0 to 100 alone."
    )


def test_the_judge_reads_the_text_and_the_rubric_and_nothing_else(repository: Path) -> None:
    trait = read_trait(repository / "data/traits/evil")
    texts = [pair.positive[:60] for pair in trait.scenarios]
    scores = [judge_server.score(trait_prompt("A rubric.", text)) for text in texts]
    assert sum(score >= 60 for score in scores) >= len(scores) // 6
    assert sum(score <= 40 for score in scores) >= len(scores) // 6
    other = [judge_server.score(trait_prompt("Another rubric.", text)) for text in texts]
    assert scores != other
    assert scores == [judge_server.score(trait_prompt("A rubric.", text)) for text in texts]
    assert judge_server.score(writing_prompt("the sea is loud and very near tonight")) >= 70
    assert judge_server.score(writing_prompt("pain the pain the pain the pain the pain")) < 40
    assert judge_server.score(writing_prompt("")) == 0
    of_two = "Text 1:\nOne.\n\nText 2:\nTwo.\n\nWhich text sounds more natural?"
    assert judge_server.score(of_two) in (0, 1, 2)
    for prompt in (trait_prompt("A rubric.", "abc"), writing_prompt("a b"), of_two):
        assert sum(judge_server.tops(prompt).values()) == pytest.approx(0.98)


def test_commands_follow_dvc_yaml_for_every_trait_and_arm(repository: Path, monkeypatch) -> None:
    monkeypatch.chdir(repository)
    config = load(repository / "profiles/llama-3.1-8b.yaml")
    commands = list(rehearse._commands(rehearse._stages(), config))
    assert commands[:2] == [["identify"], ["calibrate"]]
    assert ["search", "hallucination", "natural"] in commands
    names = list(dict.fromkeys(command[0] for command in commands))
    assert names == [name.replace("_", "-") for name in rehearse._stages()]
    assert not any("$" in part for command in commands for part in command)
    assert len([c for c in commands if c[0] == "elicit"]) == 6


def test_trait_data_of_others_are_imported_where_they_lie(
    repository: Path, tmp_path: Path, monkeypatch
) -> None:
    monkeypatch.chdir(repository)
    reference = tmp_path / "reference"
    natural, instruction = reference / "some/pv_natural", reference / "some/pv_instruction"
    for folder in (natural / "evil_v2", natural / "evil_v3", instruction / "evil"):
        folder.mkdir(parents=True)
    # One elicitation of a trait is not enough.
    (natural / "sycophancy").mkdir()
    monkeypatch.setenv("TRAITSTEER_REFERENCE", str(reference))
    commands: list[list[str]] = []

    def door(command: Sequence[str]) -> int:
        commands.append(list(command))
        shutil.copytree(repository / "data/traits/evil", command[command.index("--into") + 1])
        return 0

    config = load(repository / "profiles/llama-3.1-8b.yaml")
    traits, told = rehearse._traits(config, tmp_path / "imported", door)
    assert [trait.name for trait in traits] == ["evil", "sycophancy", "hallucination"]
    [command] = commands
    assert command[:3] == ["import", str(natural / "evil_v3"), str(instruction / "evil")]
    assert command[command.index("--definition") + 1] == str(instruction / "evil/definition.txt")
    assert told[0].startswith("evil: imported from")
    assert told[1].endswith(f"since {reference} holds none")


def test_what_cannot_be_rehearsed_is_one_sentence(
    repository: Path, tmp_path: Path, monkeypatch, capsys
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["rehearse", str(repository / "profiles/llama-3.1-8b.yaml")]) == 1
    assert "from the top of the repository" in capsys.readouterr().err
    monkeypatch.chdir(repository)
    (tmp_path / "full").mkdir()
    (tmp_path / "full/file").touch()
    command = ["rehearse", "profiles/llama-3.1-8b.yaml", "--folder", str(tmp_path / "full")]
    assert main(command) == 1
    assert "is not empty" in capsys.readouterr().err


@pytest.mark.slow
def test_the_whole_llama_profile_is_rehearsed(
    repository: Path, tmp_path: Path, monkeypatch, capsys
) -> None:
    monkeypatch.chdir(repository)
    # What lies beside a checkout must not change what is rehearsed.
    monkeypatch.setenv("TRAITSTEER_REFERENCE", str(tmp_path / "nowhere"))
    folder = tmp_path / "rehearsal"
    command = ["rehearse", "profiles/llama-3.1-8b.yaml", "--smallest", "--folder", str(folder)]
    assert main(command) == 0
    printed = capsys.readouterr().out
    assert "Not exercised:" in printed
    assert Path.cwd() == repository
    found = json.loads((folder / "reports/comparison.json").read_text())
    assert found["profile"] == "llama-3.1-8b"
    assert {(row["trait"], row["arm"]) for row in found["results"]} == {
        (trait, arm)
        for trait in ("evil", "sycophancy", "hallucination")
        for arm in ("instruction", "natural")
    }
    measured = [row["coherence"]["n"] for row in found["results"] if row["coherence"]]
    assert measured and set(measured) == {5}
    assert (folder / "reports/index.html").stat().st_size > 100_000
    monkeypatch.chdir(folder)
    config = load()
    assert config.judge.kind == "openai"
    assert open_model(config, config.models.instruct).model.config.model_type == "llama"
