"""What `check` refuses or tells of models that a user brings, before any weights are read."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from ruamel.yaml import YAML
from safetensors.torch import load_file, save_file
from tiny import build
from tiny_study import Study

from traitsteer.cli import main
from traitsteer.world.model import language_model
from traitsteer.world.model.weight_files import find_weights

COMMIT = "c" * 40

Checked = Callable[..., str]
"""Takes changes of params.yaml by dotted key; returns what `check` printed."""


@pytest.fixture
def checked(study: Study, pair: Path, capsys, monkeypatch) -> Checked:
    """Runs `check`, which must end as it is told and never load a model."""

    def unread(*_: object, **__: object) -> None:
        raise AssertionError("weights are read")

    def write(**changes: Any) -> None:
        values = YAML(typ="safe").load(Path("params.yaml").read_text(encoding="utf-8"))
        for key, value in changes.items():
            *path, last = key.split("__")
            place = values
            for step in path:
                place = place[step]
            place[last] = value
        with Path("params.yaml").open("w", encoding="utf-8") as file:
            YAML().dump(values, file)

    def run(ends: int = 1, **changes: Any) -> str:
        write(**changes)
        capsys.readouterr()
        assert main(["check"]) == ends
        printed = capsys.readouterr().err
        assert printed.count("\n") == 1 or ends == 0, printed
        return printed

    study()
    for name in ("base", "instruct"):
        shutil.copytree(pair / name, name)
    write(models__base__name="base", models__instruct__name="instruct")
    monkeypatch.setattr(language_model, "load", unread)
    return run


def configured(folder: str, **changes: Any) -> None:
    path = Path(folder) / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


def longest(path: str) -> int:
    """Bytes, and so tokens of the tiny tokenizer, of the longest line or side of a pair."""
    lines = Path("traits/evil", path).read_text(encoding="utf-8").splitlines()
    return max(len(line.removeprefix("+ ").removeprefix("- ").encode()) for line in lines)


def test_a_scenario_must_fit_the_context_of_the_model_that_continues_it(checked: Checked) -> None:
    for limit in (900, 1025):
        assert "takes 1024 together" in checked(elicit__max_new_tokens=limit)
    assert checked(elicit__max_new_tokens=8, ends=0)
    configured("base", max_position_embeddings=longest("scenarios.txt"))
    printed = checked()
    assert "A scenario of evil" in printed or "A scenario of sycophancy" in printed
    assert f"base takes {longest('scenarios.txt')} together" in printed


def test_a_question_must_fit_the_context_with_its_system_prompt(checked: Checked) -> None:
    assert "question" in checked(answers__max_new_tokens=1000)
    path = Path("traits/evil/system_prompts.txt")
    first, rest = path.read_text(encoding="utf-8").split("\n", 1)
    path.write_text(f"{first}{' and so on' * 120}\n{rest}", encoding="utf-8")
    printed = checked(answers__max_new_tokens=8)
    assert "An extraction question of evil under a system prompt" in printed
    assert "takes 1024 together" in printed
    # The steered model is asked so too, though its text is that of another.
    natural = {"study__arms": ["natural"], "study__texts": ["natural"]}
    assert "A report question of evil under a system prompt" in checked(**natural)
    instruct = YAML(typ="safe").load(Path("params.yaml").read_text())["models"]["instruct"]
    assert checked(ends=0, models__instruct=instruct | {"chat": False})


def test_the_calibration_and_the_neutral_texts_must_fit_the_steered_model(checked: Checked) -> None:
    Path("long.txt").write_text("What is a rope?\n" + "a" * 1100 + "\n")
    assert "A question of long.txt ('aaaa" in checked(calibrate__questions="long.txt")
    Path("short.txt").write_text("What is a rope?\n")
    printed = checked(calibrate__questions="short.txt", cross__neutral="long.txt")
    assert "The text 2 of long.txt" in printed
    Path("one.txt").write_text("a\n")
    assert "is 1 token of instruct" in checked(cross__neutral="one.txt")


def test_a_reader_must_have_the_context_of_what_another_wrote(checked: Checked) -> None:
    reader = {"elicitation": "natural", "text": "natural", "source": "instruct"}
    reader |= {"position": "response[:10]", "methods": ["mean_difference"]}
    arms = {"study__arms": ["natural", "reader"], "study__texts": ["natural"]}
    assert checked(0, arms__reader=reader, **arms)
    scenarios = longest("scenarios.txt")
    configured("instruct", max_position_embeddings=scenarios)
    assert f"instruct takes {scenarios} together" in checked()


def test_a_tokenizer_that_outgrew_its_model_is_found(checked: Checked) -> None:
    shutil.rmtree("instruct")
    build(Path("instruct"), "llama", vocab_size=200)
    printed = checked()
    assert "by the tokenizer of instruct, which embeds 200" in printed


@pytest.mark.parametrize(
    ("position", "sentence"),
    [
        ("response[200:]", "'response[200:]', which holds no token of any response of up to"),
        ("response[8:]", "elicit.max_new_tokens = 8"),
        ("response[5:5]", "holds no token"),
        ("all[2000:]", "holds no token"),
        ("prompt[400:]", "none of them at arms.natural.position 'prompt[400:]'"),
    ],
)
def test_a_position_that_no_response_reaches_is_refused(
    checked: Checked, position: str, sentence: str
) -> None:
    assert sentence in checked(arms__natural__position=position)


def test_a_position_that_tells_the_sides_of_no_pair_apart_is_refused(checked: Checked) -> None:
    printed = checked(arms__instruction__position="prompt[0]")
    assert "arms.instruction.position 'prompt[0:1]', and before it, the same tokens" in printed


@pytest.mark.parametrize("position", ["response[7:]", "response[-1]", "all[-3:]", "prompt[-1]"])
def test_a_position_that_a_response_may_reach_is_taken(checked: Checked, position: str) -> None:
    checked(0, arms__natural__position=position)


def test_the_pocket_judge_of_other_models_is_remarked_upon(checked: Checked) -> None:
    printed = checked(0)
    assert (
        "check: ATTENTION: judge.kind is pocket for base and instruct, outside pocket.folder = "
        "models/pocket;"
    ) in printed
    assert "set judge.kind to openai or local" in printed
    assert "ATTENTION" not in checked(0, pocket__folder=".")


def test_a_folder_without_safetensors_is_refused(checked: Checked) -> None:
    weights = Path("base/model.safetensors")
    torch.save(load_file(weights), "base/pytorch_model.bin")
    whole = weights.read_bytes()
    weights.write_bytes(whole[:-1000])
    assert "base/model.safetensors is no whole safetensors file" in checked()
    weights.unlink()
    assert "base holds no weights as safetensors" in (printed := checked())
    assert "but pytorch_model.bin" in printed


def test_weights_of_another_shape_than_the_configuration_are_refused(checked: Checked) -> None:
    configured("base", intermediate_size=64)
    printed = checked()
    assert (
        "model.layers.0.mlp.down_proj.weight in base/model.safetensors has the shape [32, 48]"
        in (printed)
    )
    assert "base has one of [32, 64] there; fetch both again, at one revision." in printed
    # What is packed has shapes of its own.
    configured("base", quantization_config={"quant_method": "bitsandbytes", "load_in_4bit": True})
    assert "has the shape" not in checked(0)


@pytest.mark.parametrize("written", ["{", "[1]", '{"eos_token_id": 1,}'])
def test_a_damaged_generation_config_is_refused(checked: Checked, written: str) -> None:
    """Without it a model would go on answering where it should end."""
    path = Path("instruct/generation_config.json")
    path.write_text(written)
    assert "The model 'instruct' cannot be loaded" in checked()
    path.unlink()
    checked(0)


@pytest.mark.parametrize("kind", ["bert", "roberta", "electra"])
def test_an_encoder_is_refused(checked: Checked, kind: str) -> None:
    shutil.rmtree("base")
    build(Path("base"), kind)
    assert " is an encoder: its tokens attend to those after them too" in checked()


def test_a_shard_that_is_missing_is_refused(checked: Checked) -> None:
    weights = load_file("base/model.safetensors")
    Path("base/model.safetensors").unlink()
    places = {name: f"model-{at % 2}.safetensors" for at, name in enumerate(weights)}
    for file in set(places.values()):
        part = {name: weights[name] for name, place in places.items() if place == file}
        save_file(part, f"base/{file}", {"format": "pt"})
    index = Path("base/model.safetensors.index.json")
    index.write_text(json.dumps({"metadata": {}, "weight_map": places}))
    assert checked(0)
    Path("base/model-1.safetensors").unlink()
    assert "base lacks model-1.safetensors, one of 2 files" in checked()
    index.write_text("{")
    assert "The model 'base' cannot be loaded" in checked()


def test_a_hub_model_without_safetensors_is_refused(
    checked: Checked, tmp_path: Path, monkeypatch
) -> None:
    repository = tmp_path / "cache/models--org--tiny"
    snapshot = repository / "snapshots" / COMMIT
    build(snapshot, "llama")
    (repository / "refs").mkdir()
    (repository / "refs/main").write_text(COMMIT)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "cache"))
    find_weights("org/tiny", None, False)
    (snapshot / "model.safetensors").rename(snapshot / "pytorch_model.bin")
    printed = checked(models__base__name="org/tiny")
    assert "org/tiny holds no weights as safetensors" in printed
    assert "but pytorch_model.bin" in printed


def test_models_of_one_shape_and_other_origin_are_told_apart(checked: Checked) -> None:
    assert "trained from the other" not in checked(0)
    shutil.rmtree("base")
    build(Path("base"), "qwen2")
    printed = checked(0)
    assert "base is of type qwen2 and instruct of type llama" in printed
    # Nothing of the base model is added to the other where no arm reads it.
    alone = {"study__arms": ["instruction"], "study__texts": ["instruction"]}
    assert "trained from the other" not in checked(0, **alone)


def test_another_vocabulary_is_told(checked: Checked) -> None:
    path = Path("base/tokenizer.json")
    words = json.loads(path.read_text(encoding="utf-8"))
    inner = words["model"]["vocab"]
    inner["A"], inner["B"] = inner["B"], inner["A"]
    path.write_text(json.dumps(words), encoding="utf-8")
    printed = checked(0)
    assert "vocabulary of instruct lacks or renumbers 2 of the 262 tokens of base" in printed


@pytest.mark.parametrize(
    "changes",
    [
        {"hidden_size": "wide"},
        {"num_attention_heads": 0},
        {"num_attention_heads": 5},
        {"num_hidden_layers": None},
        {"rope_parameters": {"rope_type": "nonsense"}},
        {"model_type": "musicgen"},
    ],
)
def test_a_configuration_that_cannot_be_is_one_sentence(
    checked: Checked, changes: dict[str, Any]
) -> None:
    configured("base", **changes)
    assert "The model 'base' cannot be loaded" in checked()


def test_a_tokenizer_that_lacks_a_part_is_one_sentence(checked: Checked) -> None:
    Path("base/tokenizer.json").write_text(json.dumps({"version": "1.0", "model": {}}))
    assert "The model 'base' cannot be loaded" in checked()


@pytest.mark.parametrize("template", ["{{ 1 // 0 }}", "{{ messages | nofilter }}", "{{ a.b.c }}"])
def test_a_chat_template_that_cannot_be_rendered_is_one_sentence(
    checked: Checked, template: str
) -> None:
    Path("instruct/chat_template.jinja").write_text(template)
    assert "The chat template of instruct cannot be rendered" in checked()


def test_a_local_judge_without_safetensors_is_refused(checked: Checked) -> None:
    build(Path("judge"), "llama")
    Path("judge/model.safetensors").rename("judge/pytorch_model.bin")
    assert "judge holds no weights" in checked(judge__kind="local", judge__name="judge")


def test_a_local_judge_that_cannot_take_its_questions_is_refused(checked: Checked) -> None:
    build(Path("judge"), "llama", max_position_embeddings=300)
    printed = checked(judge__kind="local", judge__name="judge")
    assert "The judge judge takes 300 tokens" in printed
    scenarios = Path("traits/evil/scenarios.txt")
    text = scenarios.read_text(encoding="utf-8")
    scenarios.write_text(text.replace("+ ", f"+ {'Later that day. ' * 20}", 1), encoding="utf-8")
    before, now = (int(each.split(" before any")[0].split()[-1]) for each in (printed, checked()))
    assert now > before, "vetting reads scenarios as well"
    configured("judge", max_position_embeddings=8000)
    assert checked(0)


def test_what_real_folders_differ_in_is_no_matter(checked: Checked) -> None:
    """Tied weights, several end tokens, no pad token, sixteen bits."""
    for name in ("base", "instruct"):
        shutil.rmtree(name)
        build(Path(name), "llama", tie_word_embeddings=True)
        path = Path(name) / "tokenizer_config.json"
        words = json.loads(path.read_text())
        del words["pad_token"]
        path.write_text(json.dumps(words))
        ends = json.dumps({"eos_token_id": [1, 4]})
        (Path(name) / "generation_config.json").write_text(ends)
    checked(0, models__dtype="bfloat16")


@pytest.mark.parametrize("name", ["selection", "report"])
def test_a_single_question_is_refused(checked: Checked, name: str) -> None:
    path = Path(f"traits/evil/{name}.txt")
    path.write_text("What is a rope?\n")
    assert f"evil: {name}.txt holds 1 question, expected 2 or more" in checked(search__margin=0.5)
    path.write_text("What is a rope?\nWhat is a knot?\n")
    checked(0)


def test_pairs_that_all_share_a_prompt_are_refused(checked: Checked) -> None:
    """Fitting would stop at them, after all of their responses were judged."""
    path = Path("traits/evil/scenarios.txt")
    lines = path.read_text(encoding="utf-8").splitlines()
    negative = [line for line in lines if line.startswith("- ")]

    def share(groups: int) -> None:
        """Let the first pairs have one negative side, so that so many groups are left."""
        shared = set(negative[: len(negative) - groups + 1])
        left = (negative[0] if line in shared else line for line in lines)
        path.write_text("\n".join(left), encoding="utf-8")

    for groups in (1, 2, 3):
        share(groups)
        printed = checked()
        assert (
            f"evil: the 8 contrast pairs of the text 'natural' count as {groups}, since" in printed
        )
    assert "the probe of the arm 'natural' takes 4 or more; give pairs in scenarios.txt" in printed
    share(4)
    checked(0)
    share(2)
    checked(0, arms__natural__methods=["mean_difference"])


def test_the_pairs_of_one_question_count_as_one(checked: Checked) -> None:
    path = Path("traits/evil/extraction.txt")
    path.write_text("What is a rope?\n")
    printed = checked()
    assert "the 2 contrast pairs of the text 'instruction' count as 1, since pairs" in printed
    assert "the mean difference of the arm 'instruction' takes 2 or more; give more ques" in printed
    path.write_text("What is a rope?\nWhat is a knot?\n")
    checked(0)
    # What reads the text of another asks it of that text.
    reader = {"elicitation": "instruction", "text": "instruction", "source": "base"}
    reader |= {"position": "response[:]", "methods": ["probe"]}
    arms = {"study__arms": ["instruction", "natural", "reader"]}
    printed = checked(arms__reader=reader, **arms)
    assert "the text 'instruction' count as 2" in printed
    assert "the probe of the arm 'reader' takes 4" in printed
