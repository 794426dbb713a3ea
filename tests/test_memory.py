"""Memory: the estimate against what is really held, and what is said when it does not fit."""

import re
from copy import deepcopy
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from steering_oracle import direction
from tiny import KINDS, Built, build

from traitsteer.engine import decoding, generation
from traitsteer.engine.generation import generate
from traitsteer.engine.rows import Batching, Row, Sampling, Steering
from traitsteer.engine.slots import Slots
from traitsteer.experiment.models import check_memory, open_model
from traitsteer.maths.memory import SPARE, Footprint, Load, Sizes
from traitsteer.stages import check
from traitsteer.words.config import load as load_config
from traitsteer.words.config import parse
from traitsteer.words.errors import TraitsteerError
from traitsteer.world.model import devices, memory
from traitsteer.world.model.language_model import load
from traitsteer.world.model.model_files import skeleton

GB = 10**9
LLAMA = Sizes(
    weights=16 * GB,
    width=4096,
    inner=14336,
    cached_width=32 * 2048,
    vocabulary=128256,
    bytes_each=2,
)
"""The published sizes of an 8 B model with 8 key-value heads of 128."""


def test_a_slot_that_is_free_again_holds_nothing_of_who_left_it() -> None:
    """A captured step reads columns that are not yet written: they must be no stray NaN."""
    slots = Slots(1, 2, 12, 4, torch.device("cpu"), cleared=True, spare=[])
    layer, prompts = slots.kept[0], (torch.ones(1, 2, 3, 8), torch.ones(1, 2, 3, 8))
    layer.fill(0, prompts, np.array([0, 0]))
    slots.columns.first = 0
    for buffer in layer.buffers:
        buffer[1] = torch.nan
    layer.fill(1, prompts, np.array([0]))
    assert all(bool(buffer.isfinite().all()) for buffer in layer.buffers)
    assert all(bool((buffer[1, :, 1:4] == 1).all()) for buffer in layer.buffers)


def test_keys_and_values_of_a_known_model() -> None:
    needed = Footprint(LLAMA, Load(rows=128, columns=400, tokens=16384))
    assert needed.cached == 128 * 400 * 32 * 2 * 8 * 128 * 2
    assert needed.total > needed.weights + needed.cached + needed.passing
    assert replace(needed, load=replace(needed.load, rows=1)).cached == needed.cached // 128


@pytest.mark.parametrize("kind", KINDS)
def test_weights_and_keys_are_those_of_the_loaded_model(
    kind: str, built: Built, monkeypatch
) -> None:
    folder = str(built(kind))
    model = load(folder, chat=True, device="cpu", dtype="bfloat16")
    held = {p.data_ptr(): p.nbytes for p in model.model.parameters()}
    sizes = memory.sizes_of(skeleton(folder, None, False, "bfloat16"), "none")
    assert sizes.weights == sum(held.values())
    made: list[Slots] = []

    def keep(*args: object) -> Slots:
        made.append(Slots(*args))
        return made[-1]

    monkeypatch.setattr(decoding, "Slots", keep)
    generate(model, [Row((6, 7, 8), seed) for seed in range(5)], Sampling(4), Batching(5))
    cached = sum(each.nbytes for each in model.spare)
    assert cached == Footprint(sizes, Load(5, made[-1].columns.size, 1)).cached


@pytest.mark.parametrize("changes", [{"new_decoder_architecture": True, "num_kv_heads": 2}, {}])
def test_one_head_of_keys_for_all_queries_is_counted_once(changes: dict, tmp_path: Path) -> None:
    build(tmp_path, "falcon", **changes)
    sizes = memory.sizes_of(skeleton(str(tmp_path), None, False, "float32"), "none")
    # The newer of both keeps them repeated for every head.
    assert sizes.cached_width == 3 * 2 * 8 * (4 if changes else 1)


def test_what_is_told_by_the_configuration_alone_is_said(
    built: Built, caplog: pytest.LogCaptureFixture
) -> None:
    for kind, lines in (("llama", 0), ("gpt2", 1)):
        memory.sizes_of(skeleton(str(built(kind)), None, False, "float32"), "none")
        said = [r.getMessage() for r in caplog.records if "by its settings" in r.getMessage()]
        assert len(said) == lines
    assert said[0].startswith("GPT2LMHeadModel does not run without weights (")


def test_quantised_weights_are_those_of_linear_layers_but_the_last(tmp_path: Path) -> None:
    build(tmp_path, "llama")
    shapes = skeleton(str(tmp_path), None, False, "bfloat16")
    linear = sum(
        p.numel() for block in shapes.model.layers for p in block.parameters() if p.ndim > 1
    )
    rest = sum(p.numel() for p in shapes.parameters()) - linear
    for quantisation, each in (("none", 2.0), ("int8", 1.0), ("int4", 0.5625)):
        found = memory.sizes_of(shapes, quantisation).weights
        assert found == round(linear * each + rest * 2)
    shapes.config.quantization_config = {"quant_method": "gptq", "bits": 4}
    assert memory.sizes_of(shapes, "none").weights == round(linear * 0.5625 + rest * 2)


def test_experts_that_are_quantised_on_disk_are_small_where_the_gpu_keeps_them_so(
    tmp_path: Path, monkeypatch
) -> None:
    build(tmp_path, "mixtral")
    shapes = skeleton(str(tmp_path), None, False, "bfloat16")
    experts = sum(p.numel() for p in shapes.parameters() if p.ndim == 3)
    assert experts > 0
    whole = memory.sizes_of(shapes, "none").weights
    linear = whole - memory.sizes_of(shapes, "int8").weights
    small = round(whole - (linear + experts) * (2 - 1.0625))

    def counted(method: str, capability: tuple[int, int] | None) -> int:
        shapes.config.quantization_config = {"quant_method": method}
        monkeypatch.setattr(torch.cuda, "is_available", lambda: capability is not None)
        monkeypatch.setattr(torch.cuda, "get_device_capability", lambda: capability)
        return memory.sizes_of(shapes, "none").weights

    for capability, expected in ((None, whole), ((8, 6), whole), ((8, 9), small), ((9, 0), small)):
        assert counted("fp8", capability) == expected
    assert counted("gptq", None) == small
    assert counted("bitsandbytes", (9, 0)) == small + round(experts * (2 - 1.0625))


def test_what_does_not_fit_says_what_to_change() -> None:
    needed = Footprint(LLAMA, Load(rows=128, columns=400, tokens=16384))
    memory.require("m", needed, "cpu", None)
    memory.require("m", needed, "cpu", needed.total)
    with pytest.raises(TraitsteerError, match=r"weights 14.90 GiB.*; choose a dtype .*int4"):
        memory.require("m", needed, "cpu", 15 * GB)
    with pytest.raises(TraitsteerError, match=r"set models.rows to \d+, which") as caught:
        memory.require("m", needed, "cpu", 26 * GB)
    rows = int(str(caught.value).split("models.rows to ")[1].split(",")[0])
    fits, more = (replace(needed, load=replace(needed.load, rows=n)) for n in (rows, rows + 1))
    assert fits.total <= 26 * GB < more.total and 1 < rows < 128
    with pytest.raises(TraitsteerError, match=r"set models.rows to \d+ and models.tok") as caught:
        memory.require("m", needed, "cpu", 20 * GB)
    told = re.search(r"rows to (\d+) and models.tokens to (\d+),", str(caught.value))
    rows, tokens = int(told[1]), int(told[2])
    assert tokens < 16384 and rows >= 16
    load = Load(rows=rows, columns=400, tokens=tokens)
    assert (
        Footprint(LLAMA, load).total
        <= 20 * GB
        < Footprint(LLAMA, replace(load, rows=rows + 1)).total
    )
    beside = replace(needed, load=Load(1, 100, 1), beside=10 * GB)
    assert beside.total == replace(beside, beside=0).total + round(SPARE * 10 * GB)
    with pytest.raises(TraitsteerError, match=r"judge's weights beside it 9\.31 .* or judge"):
        memory.require("m", beside, "cpu", 26 * GB)
    with pytest.raises(TraitsteerError, match="choose shorter responses or a smaller model"):
        long = replace(needed, load=Load(1, 10**6, 1))
        memory.require("m", long, "cpu", round(SPARE * LLAMA.weights) + GB)


@pytest.fixture
def config(params: dict[str, Any], tmp_path: Path):
    """The pocket profile on a tiny model, with changes to its `models`."""
    build(tmp_path / "tiny", "llama")

    def make(**changes: object):
        values = deepcopy(params)
        for which in ("base", "instruct"):
            values["models"][which]["name"] = str(tmp_path / "tiny")
        values["models"] |= changes
        return parse(values)

    return make


def test_no_model_is_opened_that_does_not_fit(config, monkeypatch) -> None:
    made = config()
    said = check_memory(made, made.models.instruct, prompt_tokens=60)
    assert "192 rows x 100 tokens" in said and "; on cpu " in said and "are free" in said
    assert open_model(made, made.models.instruct).layers == 3
    monkeypatch.setattr(devices, "free_memory", lambda _name: 100_000)
    for work in (lambda: open_model(made, made.models.base), lambda: check.run(made)):
        with pytest.raises(
            TraitsteerError, match=r"needs about .* on cpu 0\.1 MiB are free; choose"
        ):
            work()


def test_a_local_judge_is_counted_beside_the_steered_model(config, tmp_path, monkeypatch) -> None:
    build(tmp_path / "judge", "llama", intermediate_size=4096)
    made = config(rows=8)
    free = 6 * 2**20
    monkeypatch.setattr(devices, "free_memory", lambda _name: free)
    check.run(made)
    judge = made.judge.model_copy(update={"kind": "local", "name": str(tmp_path / "judge")})
    made = made.model_copy(update={"judge": judge})
    weights = (tmp_path / "judge/model.safetensors").stat().st_size
    assert abs(check.judge_weights(made) - weights) < 10_000
    needed = made.models.instruct.name
    with pytest.raises(TraitsteerError, match=f"{needed} .* the judge's weights beside it"):
        check.run(made)
    # Half of the weights where they are quantised, none where the judge lies elsewhere.
    smaller = judge.model_copy(update={"quantisation": "int8"})
    assert check.judge_weights(made.model_copy(update={"judge": smaller})) < 0.7 * weights
    elsewhere = {"cpu": torch.device("cpu"), "cuda:1": torch.device("cuda:1")}
    monkeypatch.setattr(check, "usable_device", lambda name, *_: elsewhere[name])
    away = judge.model_copy(update={"device": "cuda:1"})
    assert check.judge_weights(made.model_copy(update={"judge": away})) == 0
    balanced = made.models.model_copy(update={"device": "balanced"})
    beside = made.model_copy(update={"models": balanced, "judge": away})
    assert check.judge_weights(beside) > 0
    on_cpu = judge.model_copy(update={"device": "cpu"})
    elsewhere["balanced"] = torch.device("cuda:0")
    assert check.judge_weights(beside.model_copy(update={"judge": on_cpu})) == 0


def test_free_memory_is_told_where_it_is_known(monkeypatch, tmp_path: Path) -> None:
    free = devices.free_memory("cpu")
    assert free is not None and 10**6 < free < 10**14
    # A system without the tables of Linux.
    monkeypatch.setattr(devices, "Path", lambda path: tmp_path / path.removeprefix("/"))
    assert devices.free_memory("cpu") is None


@pytest.mark.parametrize("quantisation", ["int8", "int4"])
def test_quantisation_is_refused_in_one_sentence_before_any_work(
    quantisation: str, config, monkeypatch
) -> None:
    made = config(quantisation=quantisation)
    with pytest.raises(TraitsteerError, match=f"{quantisation}, which needs a GPU, but .* cpu"):
        open_model(made, made.models.instruct)
    monkeypatch.setattr(devices, "find_spec", lambda name: None)
    with pytest.raises(TraitsteerError, match="needs the bitsandbytes library; `pip install"):
        devices.check_quantisation(quantisation, torch.device("cuda"))
    monkeypatch.setattr(devices, "find_spec", lambda name: name == "bitsandbytes" or None)
    with pytest.raises(TraitsteerError, match="needs the accelerate library; `pip install"):
        devices.check_quantisation(quantisation, torch.device("cuda"))


def test_what_is_asked_of_the_quantising_library() -> None:
    assert devices.quantised("none", torch.bfloat16) is None
    eight = devices.quantised("int8", torch.bfloat16)
    assert eight.load_in_8bit and not eight.load_in_4bit
    four = devices.quantised("int4", torch.float16)
    assert four.load_in_4bit and four.bnb_4bit_quant_type == "nf4"
    assert four.bnb_4bit_compute_dtype == torch.float16


def test_devices_are_refused_in_one_sentence(monkeypatch) -> None:
    assert devices.usable_device("auto").type == ("cuda" if torch.cuda.is_available() else "cpu")
    with pytest.raises(TraitsteerError, match=r"models\.device is 'cuda:99', which"):
        devices.usable_device("cuda:99")
    for name in ("mps", "meta"):
        with pytest.raises(TraitsteerError, match=f"{name}', expected a cpu or cuda device"):
            devices.usable_device(name)
    monkeypatch.setattr(devices, "find_spec", lambda name: None)
    with pytest.raises(TraitsteerError, match="'balanced', which needs the accelerate library"):
        devices.usable_device("balanced")
    monkeypatch.setattr(devices, "find_spec", lambda name: name)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(TraitsteerError, match="'balanced', which spreads a model over GPUs"):
        devices.usable_device("balanced")
    assert devices.placed("balanced", torch.device("cuda:0")) == "balanced"
    assert devices.placed("cuda:1", torch.device("cuda:1")) == {"": torch.device("cuda:1")}


def test_memory_that_runs_out_at_a_prompt_changes_no_steered_row(llama, monkeypatch) -> None:
    """Rows of mixed settings are halved where their prompts are taken in, and wait again."""
    rows = [
        Row(llama.encode("x" * size), size, Steering(size % 3, direction(size), 2.0 * (size % 4)))
        for size in range(1, 17)
    ]
    expected = generate(llama, rows, Sampling(10, 1.0), Batching(64))
    whole, refused = generation.prefill, []

    def limited(model, some):
        if len(some) > 3:
            refused.append(len(some))
            raise torch.OutOfMemoryError("too many prompts")
        return whole(model, some)

    monkeypatch.setattr(generation, "prefill", limited)
    assert generate(llama, rows, Sampling(10, 1.0), Batching(64)) == expected
    assert refused == [16, 8, 4]


PUBLISHED = {
    "llama-3.1-8b": Sizes(16_060_522_496, 4096, 14336, 32 * 2048, 128256, 2),
    "qwen2.5-7b": Sizes(15_231_233_024, 3584, 18944, 28 * 1024, 152064, 2),
    "gemma-2-2b": Sizes(5_228_683_776, 2304, 9216, 26 * 2048, 256000, 2),
    "qwen2.5-1.5b": Sizes(3_087_428_608, 1536, 8960, 28 * 512, 151936, 2),
}
"""Two bytes for each parameter of the published models."""


@pytest.mark.parametrize("profile", [*PUBLISHED, "llama-3.1-8b-factorial"])
def test_a_profile_fits_the_gpu_that_it_is_promised_for(profile: str, repository: Path) -> None:
    known = profile.removesuffix("-factorial")
    page = (repository / "docs/real_models.md").read_text(encoding="utf-8")
    card = int(re.search(rf"^\| `{known}` \|.* (\d+) GB \|$", page, re.MULTILINE)[1])
    config = load_config(repository / f"profiles/{profile}.yaml")
    models, answer = config.models, config.answers.max_new_tokens
    needed = Footprint(PUBLISHED[known], Load(models.rows, 200 + answer, models.tokens))
    # What a driver and the kernels take of a card.
    free = (card - 0.75) * 2**30
    assert needed.total < free
    if profile == "qwen2.5-1.5b":
        # As its head says: beside a judge of 1.5 billion in int8, its embeddings whole.
        embeddings = 2 * 151936 * 1536
        judge = (needed.weights - embeddings) // 2 + embeddings
        assert replace(needed, beside=judge).total < free
        assert f"int8 takes {judge / 1e9:.1f} GB more" in Path(
            repository / f"profiles/{profile}.yaml"
        ).read_text(encoding="utf-8")
