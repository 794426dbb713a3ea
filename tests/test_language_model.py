"""Models on disk and in the hub's cache: digests, blocks, lengths, and what is refused."""

import inspect
import json
import shutil
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from steering_oracle import mixed_rows, slow_reference
from tiny import GPT_NEO, Built, build, tokenizer
from torch import nn

from traitsteer.engine import added, prefill
from traitsteer.engine.attention import by_the_table
from traitsteer.engine.generation import generate
from traitsteer.engine.rows import Batching, Row, Sampling
from traitsteer.engine.trial import try_out
from traitsteer.stages.check import unpinned
from traitsteer.words.errors import TraitsteerError
from traitsteer.words.model_config import ModelConfig
from traitsteer.world.model import model_names
from traitsteer.world.model.blocks import find_blocks
from traitsteer.world.model.language_model import LanguageModel, load
from traitsteer.world.model.model_files import open_prompts, skeleton
from traitsteer.world.model.model_names import digest_of

COMMITS = ("a" * 40, "b" * 40)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("model")
    build(made, "llama", tie_word_embeddings=True)
    return made


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A hub's cache that holds two commits of org/tiny; main is the first."""
    repository = tmp_path / "models--org--tiny"
    for seed, commit in enumerate(COMMITS):
        build(repository / "snapshots" / commit, "llama", seed=seed)
    (repository / "refs").mkdir()
    (repository / "refs/main").write_text(COMMITS[0])
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    return repository


def test_the_digest_is_known_without_loading_and_follows_what_changes_results(folder: Path) -> None:
    name = str(folder)
    before = digest_of(name, None)
    assert load(name, device="cpu").digest == before
    named = digest_of(name, None, blocks="model.layers")
    assert load(name, device="cpu", blocks="model.layers").digest == named
    others = {digest_of(name, None, kind) for kind in ("int8", "int4")}
    assert len({before, named, *others}) == 4
    (folder / "README.md").write_text("A model.")
    assert digest_of(name, None) == before
    template = folder / "chat_template.jinja"
    template.write_text(template.read_text() + " ")
    assert digest_of(name, None) != before


def test_large_weights_are_read_once_and_again_where_a_file_has_changed(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = Path(shutil.copytree(folder, tmp_path / "model"))
    whole = digest_of(str(folder), None)
    own, reads = model_names.digest_of_files, []

    def counted(paths: Iterable[Path]) -> str:
        reads.append(1)
        return own(paths)

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(model_names, "_SLOW", 0)
    monkeypatch.setattr(model_names, "digest_of_files", counted)

    def in_another_process() -> str:
        model_names._digest_of.cache_clear()
        return digest_of(str(folder), None)

    assert in_another_process() == in_another_process() == whole
    assert reads == [1]
    (folder / "config.json").touch()
    assert in_another_process() == whole
    assert reads == [1, 1]
    (folder / "config.json").unlink()
    with pytest.raises(TraitsteerError, match=r"loaded \(the folder holds no config.json"):
        in_another_process()


def test_a_hub_model_is_known_by_its_commit(hub: Path) -> None:
    first, second = (digest_of("org/tiny", commit) for commit in COMMITS)
    assert first != second
    assert digest_of("org/tiny", None) == digest_of("org/tiny", "main") == first
    model = load("org/tiny", device="cpu")
    assert model.digest == first
    (hub / "refs/main").write_text(COMMITS[1])
    assert digest_of("org/tiny", None) == second, "a branch that moves is another model"
    pinned = load("org/tiny", revision=COMMITS[0], device="cpu")
    assert pinned.digest == first
    weights = [m.model.get_input_embeddings().weight for m in (model, pinned)]
    assert torch.equal(*weights)
    for read in (lambda n: digest_of(n, None), lambda n: load(n, device="cpu")):
        with pytest.raises(TraitsteerError, match="The model 'org/other' cannot be loaded"):
            read("org/other")


def test_the_check_tells_the_commit_that_would_pin_a_hub_model(hub: Path, folder: Path) -> None:
    def told(name: str, revision: str | None) -> str | None:
        rest = {"chat": False, "blocks": None, "template": {}, "thinking": None}
        return unpinned(ModelConfig(name=name, revision=revision, **rest))

    assert told("org/tiny", None) == told("org/tiny", "main") == COMMITS[0]
    assert told("org/tiny", COMMITS[1]) is None
    assert told(str(folder), None) is None


def test_tokenizers_and_shapes_are_read_without_weights(hub: Path) -> None:
    for weights in hub.glob("snapshots/*/*.safetensors"):
        weights.unlink()
    prompts = open_prompts("org/tiny", None, False, True, {})
    assert prompts.encode("x") == LanguageModel("", None, tokenizer(), None, True, "").encode("x")
    shapes = skeleton("org/tiny", None, False, "bfloat16")
    assert {(p.device.type, p.dtype) for p in shapes.parameters()} == {("meta", torch.bfloat16)}
    assert len(find_blocks(shapes)) == 3
    with pytest.raises(TraitsteerError, match="cannot be loaded"):
        load("org/tiny", device="cpu")


def test_a_model_that_decodes_no_text_is_refused_before_it_is_read(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "vit"}))
    with pytest.raises(TraitsteerError, match="cannot be loaded"):
        skeleton(str(tmp_path), None, False, "float32")


def test_weights_that_are_pickled_are_not_read(folder: Path, tmp_path: Path) -> None:
    pickled = shutil.copytree(folder, tmp_path / "pickled")
    weights = pickled / "model.safetensors"
    torch.save(load_file(weights), pickled / "pytorch_model.bin")
    load(str(pickled), device="cpu")
    weights.unlink()
    with pytest.raises(TraitsteerError, match="cannot be loaded"):
        load(str(pickled), device="cpu")
    assert inspect.signature(load).parameters["trust_remote_code"].default is False


def test_a_model_that_lacks_weights_is_refused(folder: Path, tmp_path: Path) -> None:
    """`transformers` would draw them at random, anew in each stage."""
    lacking = shutil.copytree(folder, tmp_path / "lacking")
    weights = load_file(lacking / "model.safetensors")
    del weights["model.layers.1.mlp.down_proj.weight"]
    save_file(weights, lacking / "model.safetensors", {"format": "pt"})
    with pytest.raises(TraitsteerError, match=r"lacks 1 of its weights, model\.layers\.1\.mlp"):
        load(str(lacking), device="cpu")


def test_a_library_that_is_missing_is_named_in_a_sentence(folder: Path, tmp_path: Path) -> None:
    quantised = shutil.copytree(folder, tmp_path / "quantised")
    config = json.loads((quantised / "config.json").read_text())
    config["quantization_config"] = {"quant_method": "gptq", "bits": 4}
    (quantised / "config.json").write_text(json.dumps(config))
    with pytest.raises(TraitsteerError, match=r"cannot be loaded .*; install what it asks for"):
        load(str(quantised), device="cpu")


class Experts(nn.Module):
    """A block with as many experts as the model has blocks."""

    def __init__(self) -> None:
        super().__init__()
        self.experts = nn.ModuleList(nn.Linear(2, 2) for _ in range(3))


class Odd(nn.Module):
    """Lists of three: towers beside the blocks and experts inside of them."""

    def __init__(self, **lists: nn.ModuleList) -> None:
        super().__init__()
        self.inner = nn.Module()
        for name, module in lists.items():
            setattr(self.inner, name, module)

        class Config:
            num_hidden_layers = 3

            def get_text_config(self) -> "Config":
                return self

        self.config = Config()


def three(kind: Any = lambda: nn.Linear(2, 2)) -> nn.ModuleList:
    return nn.ModuleList(kind() for _ in range(3))


def test_experts_inside_of_blocks_are_not_taken_for_blocks() -> None:
    model = Odd(experts_first=nn.ModuleList([nn.Linear(2, 2)]), layers=three(Experts))
    assert find_blocks(model) is model.inner.layers


def test_blocks_that_cannot_be_told_are_named_by_hand(tmp_path: Path) -> None:
    twice = Odd(front=three(), back=three(Experts))
    said = r"Odd has 2 lists .* name it as models\.base\.blocks .* inner\.front \(3\), inner\.back"
    with pytest.raises(TraitsteerError, match=said):
        find_blocks(twice)
    assert find_blocks(twice, "inner.back") is twice.inner.back
    none = Odd(short=nn.ModuleList([Experts()]))
    with pytest.raises(TraitsteerError, match=r"Odd has no lists .* inner\.short \(1\)"):
        find_blocks(none)
    for wrong in ("inner.short", "inner.nowhere", "inner"):
        with pytest.raises(TraitsteerError, match=f"no list of 3 blocks at '{wrong}'"):
            find_blocks(none, wrong)
    with pytest.raises(TraitsteerError, match="no ModuleList at all"):
        find_blocks(Odd())


def test_blocks_of_a_multimodal_model_are_those_of_its_text_decoder(tmp_path: Path) -> None:
    build(tmp_path, "gemma3")
    model = load(str(tmp_path), chat=True, device="cpu")
    assert model.blocks is model.model.model.language_model.layers
    assert model.width == 32


@pytest.mark.parametrize(
    ("kind", "sizes", "sentence"),
    [
        ("bert", {}, "BertLMHeadModel is an encoder: its tokens attend to those after them"),
        ("rembert", {}, "Logits of RemBertForCausalLM with prompts shared between rows differ"),
        ("openai-gpt", {"n_embd": 32, "n_layer": 3, "n_head": 4}, "cannot run with prompts shared"),
        ("mamba", {}, "kind linear_attention, expected full or sliding attention; choose"),
    ],
)
def test_a_model_that_the_engine_cannot_steer_is_refused(
    kind: str, sizes: dict[str, Any], sentence: str, tmp_path: Path
) -> None:
    """What sees later tokens, what has no cache, and what keeps one that is no list of layers."""
    build(tmp_path, kind, **sizes)
    with pytest.raises(TraitsteerError, match=sentence):
        try_out(load(str(tmp_path), device="cpu"))


def test_a_step_of_fixed_shapes_is_tried_where_it_is_asked_for(built: Built) -> None:
    """GPT-Neo counts its window from the last column, which is not written yet in such a step."""
    model = load(str(built("gpt_neo", **GPT_NEO)), device="cpu")
    try_out(model)
    with pytest.raises(TraitsteerError, match=r"step of fixed shapes .* set models.capture to fal"):
        try_out(model, True)
    assert not by_the_table(model), "so that it is not captured unless it is asked for"


def test_the_context_of_mpt_has_a_name_of_its_own(built: Built) -> None:
    model = load(str(built("mpt", max_seq_len=48)), device="cpu")
    assert model.context == 48
    with pytest.raises(TraitsteerError, match="takes 48 together"):
        generate(model, [Row((1,) * 20, 0)], Sampling(29), Batching(1))


def test_mpt_has_no_bias_beyond_its_context_in_a_step_of_fixed_shapes(built: Built) -> None:
    model = load(str(built("mpt", max_seq_len=50)), device="cpu")
    rows = [Row(tuple(range(40, 60 - at)), seed=at) for at in range(7)]
    for sampling in (Sampling(30, 0.0), Sampling(30)):
        expected = generate(model, rows, sampling, Batching(3))
        assert generate(model, rows, sampling, Batching(3, capture=True)) == expected
        assert max(len(each.ids) for each in expected) == 30


@pytest.mark.parametrize("fault", ["position", "steering", "mask"])
def test_a_model_that_the_engine_gets_wrong_does_not_run_so(
    fault: str, llama: LanguageModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = mixed_rows(llama)[::5]
    expected = [slow_reference(llama, row, Sampling(6)) for row in rows]
    if fault == "position":
        whole = type(llama.model).forward

        def stretched(self, *args, position_ids=None, **kwargs):
            places = None if position_ids is None else 2 * position_ids
            return whole(self, *args, position_ids=places, **kwargs)

        monkeypatch.setattr(type(llama.model), "forward", stretched)
    elif fault == "steering":
        monkeypatch.setattr(added, "_add_to_newest", lambda _sums, hidden: hidden)
    else:
        padded = prefill._padded

        def unmasked(*args):
            ids, mask = padded(*args)
            return ids, torch.ones_like(mask)

        monkeypatch.setattr(prefill, "_padded", unmasked)
    llama = replace(llama, tried={})
    if fault != "steering":
        # What goes wrong is no part of the way that needs neither positions nor masks.
        assert try_out(llama) == "own cache"
        found = generate(llama, rows, Sampling(6), Batching(4))
        assert [answer.ids for answer in found] == expected
        return
    with pytest.raises(TraitsteerError, match=r"differ from those of a plain pass by .* spread"):
        try_out(llama)
    with pytest.raises(TraitsteerError, match=r"differ from those of a plain pass by .* spread"):
        generate(llama, [Row(llama.encode("a"), 0)], Sampling(3), Batching(1))


def test_a_trial_in_few_bits_takes_rounding_for_what_it_is(tmp_path: Path) -> None:
    build(tmp_path, "mixtral")
    assert try_out(load(str(tmp_path), device="cpu", dtype="bfloat16")) == "shared"


def test_a_trial_of_quantised_weights_does_so_in_float32_too(tmp_path: Path) -> None:
    build(tmp_path, "llama")
    model = load(str(tmp_path), device="cpu")

    def rounded(_module: object, _inputs: object, output: torch.Tensor) -> torch.Tensor:
        # As LLM.int8: by what the largest numbers of a whole batch are.
        step = output.abs().max() / 127
        return (output / step).round() * step

    for block in model.blocks:
        block.mlp.down_proj.register_forward_hook(rounded)
    with pytest.raises(TraitsteerError, match="differ from those of a plain pass"):
        try_out(model)
    model.model.is_quantized = True
    assert model.quantised and model.tried == {}
    assert try_out(model) == "shared"


def test_a_model_that_overflows_is_told_from_one_that_the_engine_cannot_run(tmp_path: Path) -> None:
    build(tmp_path, "llama")
    model = load(str(tmp_path), device="cpu", dtype="float16")
    for block in model.blocks:
        block.mlp.down_proj.weight.data.fill_(6e4)
    with pytest.raises(TraitsteerError, match=r"unsteered; load it in bfloat16 or float32"):
        try_out(model)


def test_rows_are_filled_with_a_token_that_the_model_has(tmp_path: Path) -> None:
    build(tmp_path, "llama")
    model = load(str(tmp_path), chat=True, device="cpu")
    model.tokenizer.add_special_tokens({"pad_token": "[PAD]"})
    embedded = model.model.get_input_embeddings().weight.shape[0]
    assert model.tokenizer.pad_token_id >= embedded > model.pad_id
    rows = [Row((6, 7, 8), 0), Row((9,), 1)]
    for row, found in zip(rows, generate(model, rows, Sampling(4, 0.0), Batching(2)), strict=True):
        assert found.ids == slow_reference(model, row, Sampling(4, 0.0))


def test_a_row_longer_than_the_positions_is_refused_before_any_work(tmp_path: Path) -> None:
    build(tmp_path, "gpt2", n_positions=24)
    model = load(str(tmp_path), chat=True, device="cpu")
    row = Row((6, 7, 8), 0)
    assert model.context == 24
    [whole] = generate(model, [row], Sampling(21, 0.0), Batching(1))
    assert whole.ids == slow_reference(model, row, Sampling(21, 0.0))
    with pytest.raises(TraitsteerError, match="takes 24 together: shorten"):
        generate(model, [row], Sampling(22), Batching(1))


def test_a_rotation_that_changes_with_length_is_kept_to_the_shorter_one(tmp_path: Path) -> None:
    """Beyond, one long row would change the positions of all rows beside it."""
    factors = {"short_factor": [1.0] * 4, "long_factor": [4.0] * 4}
    rope = {"rope_type": "longrope", "rope_theta": 1e4, "original_max_position_embeddings": 64}
    build(tmp_path, "phi3", rope_parameters=rope | factors, original_max_position_embeddings=64)
    model = load(str(tmp_path), chat=True, device="cpu")
    assert model.context == 64
    rows = mixed_rows(model, (0, 3))[::3]
    found = generate(model, rows, Sampling(16, 1.0), Batching(3))
    assert [g.ids for g in found] == [slow_reference(model, r, Sampling(16, 1.0)) for r in rows]
    with pytest.raises(TraitsteerError, match="takes 64 together"):
        generate(model, rows, Sampling(40, 1.0), Batching(3))
