"""An exported vector steers in other tools as it did in the study, and comes back the same."""

import contextlib
import io
import json
import re
from pathlib import Path
from typing import Any

import gguf
import numpy as np
import pytest
import torch
from ruamel.yaml import YAML
from safetensors.torch import load_file, save_file
from tiny import build

from traitsteer.cli import main
from traitsteer.engine.generation import generate
from traitsteer.engine.rows import Batching, Row, Sampling, Steering
from traitsteer.stages import import_vector
from traitsteer.stages.export_vector import Wanted, run
from traitsteer.words import layout
from traitsteer.words.config import Config, load
from traitsteer.words.errors import TraitsteerError
from traitsteer.words.pocket_limit import POCKET_LIMIT
from traitsteer.world import tensors
from traitsteer.world.files import write_json
from traitsteer.world.foreign.control_vectors import read_plain_json, read_safetensors
from traitsteer.world.foreign.gguf_vectors import read_gguf
from traitsteer.world.model.hooks import on_blocks
from traitsteer.world.model.language_model import LanguageModel
from traitsteer.world.model.language_model import load as load_model
from traitsteer.world.trait_folder import read_definition

LAYERS, WIDTH = 3, 32
BEST, COEFFICIENT = 1, 7.25
QUESTION = "How are you?"
OWN_TERMS = layout.evaluation("evil", "natural") / "protocol.json"


def interval(value: float) -> dict[str, Any]:
    return {"value": value, "lower": value - 3, "upper": value + 3, "n": 20}


def evaluation(method: str = "mean_difference", **changes: Any) -> dict[str, Any]:
    return {
        "trait": "evil",
        "arm": "natural",
        "method": method,
        "protocol": "ab" * 32,
        "status": "feasible",
        "baseline": interval(3.5),
        "baseline_coherence": interval(92.25),
        "missing": 2,
        "layer": BEST,
        "strength": 0.65,
        "coefficient": COEFFICIENT,
        "trait_score": interval(80.5),
        "delta": interval(77.0),
        "coherence": interval(75.5),
        "selection_delta": 78.5,
        "random": interval(1.5),
        "random_each": [],
        "nulls": {},
        "prompted": None,
        "p_value": 0.0002,
    } | changes


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("instruct")
    build(made, "llama", seed=2)
    return made


@pytest.fixture
def study(
    tmp_path: Path, folder: Path, repository: Path, params: dict[str, Any], monkeypatch
) -> Config:
    """A study of one trait and arm that has been fitted and evaluated, in a folder of its own."""
    params["models"]["instruct"] |= {"name": str(folder), "revision": "main"}
    params["study"]["trait_folder"] = str(repository / "data/pocket/traits")
    with (tmp_path / "params.yaml").open("w", encoding="utf-8") as file:
        YAML().dump(params, file)
    monkeypatch.chdir(tmp_path)
    config = load()
    for number, method in enumerate(("mean_difference", "probe")):
        torch.manual_seed(number)
        raw = torch.randn(LAYERS, WIDTH, dtype=torch.float64)
        norm = raw.norm(dim=1)
        tensors.write(
            layout.vectors("evil", "natural") / f"{method}.safetensors",
            {"vectors": (raw / norm[:, None]).float(), "raw_norm": norm.float()},
            {
                "trait": "evil",
                "arm": "natural",
                "method": method,
                "position": "response[:10]",
                "source": config.models.base.name,
                "source_digest": "cd" * 32,
            },
        )
    write_json(
        layout.CALIBRATION,
        {"model": str(folder), "digest": "ef" * 32, "mean_residual_norm": [9.5, 11.15, 12.5]},
    )
    record(evaluation())
    record(evaluation("probe", selection_delta=12.0))
    terms = {
        "steered_model": config.models.instruct.model_dump() | {"digest": "ef" * 32},
        "dtype": config.models.dtype,
        "answers": config.answers.model_dump(),
        "coherence_floor": config.study.coherence_floor,
        "judge": {"kind": "pocket", "name": config.judge.name},
        "rubric": read_definition(Path(config.study.trait_folder) / "evil/definition.txt"),
    }
    write_json(OWN_TERMS, {"sha256": "ab" * 32, "terms": terms})
    return config


def record(result: dict[str, Any]) -> Path:
    path = layout.evaluation("evil", "natural") / f"{result['method']}.json"
    write_json(path, result)
    return path


def fitted(method: str = "mean_difference") -> torch.Tensor:
    path = layout.vectors("evil", "natural") / f"{method}.safetensors"
    return tensors.read(path, {}).tensors["vectors"]


def export(config: Config, to: str = "out", **wanted: Any) -> str:
    return run(config, "evil", "natural", Wanted(Path(to), **wanted))


def answer(model: LanguageModel, steering: Steering | None) -> tuple[int, ...]:
    """What the engine answers greedily, the token that ends it left out."""
    row = Row(model.encode(QUESTION), 0, steering)
    [found] = generate(model, [row], Sampling(60, temperature=0), Batching(1))
    return found.ids


@pytest.fixture(scope="module")
def model(folder: Path) -> LanguageModel:
    return load_model(str(folder), chat=True, device="cpu")


def test_the_snippet_of_the_card_steers_as_the_engine_does(study, model, monkeypatch) -> None:
    export(study)
    card = Path("out/README.md").read_text(encoding="utf-8")
    [snippet] = re.findall(r"```python\n(.*?)```", card, re.DOTALL)
    monkeypatch.chdir("out")
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        exec(snippet.replace(', revision="main"', ""), {})
    steering = Steering(BEST, fitted_from("vector.safetensors"), COEFFICIENT)
    said = {
        name: model.tokenizer.decode([*model.encode(QUESTION), *answer(model, one)])
        for name, one in (("steered", steering), ("unsteered", None))
    }
    assert printed.getvalue().removesuffix("\n").removesuffix("<eos>") == said["steered"]
    assert said["steered"] != said["unsteered"]


def fitted_from(name: str) -> torch.Tensor:
    return load_file(name)["vectors"][0]


def llama_cpp(path: Path, scale: float) -> dict[int, torch.Tensor]:
    """What llama.cpp adds to the output of each block, by its loader's own steps.

    `direction.N` goes to place N - 1 of one buffer, and block `il`, which begins with 1, takes the
    part of the buffer at `il - 1`.
    """
    buffer = np.zeros(0, dtype=np.float32)
    for tensor in gguf.GGUFReader(path).tensors:
        assert tensor.tensor_type == gguf.GGMLQuantizationType.F32
        assert len(tensor.shape) == 1
        number = int(tensor.name.removeprefix("direction."))
        assert number > 0
        buffer.resize(max(buffer.size, WIDTH * number))
        buffer[WIDTH * (number - 1) : WIDTH * number] += tensor.data * np.float32(scale)
    return {
        il: torch.from_numpy(buffer[WIDTH * (il - 1) : WIDTH * il].copy())
        for il in range(1, LAYERS)
        if WIDTH * il <= buffer.size
    }


def added(model: LanguageModel, change: dict[int, torch.Tensor]) -> torch.Tensor:
    """Logits of the question with something added to the output of blocks."""
    ids = torch.tensor([model.encode(QUESTION)])
    hooks = {il: (lambda hidden, one=one: hidden + one) for il, one in change.items()}
    with torch.no_grad(), on_blocks(model.blocks, hooks):
        return model.model(ids).logits


@pytest.mark.parametrize("scaled", [False, True])
@pytest.mark.parametrize("layer", [1, 2])
def test_llama_cpp_adds_the_same_at_the_same_block(study, model, layer: int, scaled: bool) -> None:
    record(evaluation(layer=layer))
    export(study, formats=("gguf",), scaled=scaled)
    ours = added(model, {layer: COEFFICIENT * fitted()[layer]})
    theirs = added(model, llama_cpp(Path("out/vector.gguf"), 1.0 if scaled else COEFFICIENT))
    assert torch.allclose(ours, theirs, atol=1e-4)
    # One block off, the convention that the numbers suggest, would be seen.
    for other in {0, 1, 2} - {layer}:
        assert not torch.allclose(
            ours, added(model, {other: COEFFICIENT * fitted()[layer]}), atol=0.1
        )


def test_the_gguf_file_says_what_it_is(study: Config) -> None:
    said = export(study, formats=("gguf",), all_layers=True)
    reader = gguf.GGUFReader("out/vector.gguf")
    fields = {name: field.contents() for name, field in reader.fields.items()}
    assert fields["general.architecture"] == "controlvector"
    assert fields["controlvector.model_hint"] == "llama"
    assert fields["controlvector.layer_count"] == 2
    assert fields["traitsteer.trait"] == "evil"
    assert "traitsteer.coefficient" not in fields
    assert [tensor.name for tensor in reader.tensors] == ["direction.1", "direction.2"]
    for tensor, vector in zip(reader.tensors, fitted()[1:], strict=True):
        assert np.array_equal(tensor.data, vector.numpy())
    assert "layer 0 is not in the GGUF file" in said
    card = Path("out/README.md").read_text(encoding="utf-8")
    assert f"vector.gguf:{COEFFICIENT} --control-vector-layer-range 1 1" in card
    assert "another intervention, which has not been measured" in card


def test_exporting_twice_gives_the_same_bytes(study: Config) -> None:
    formats = ("safetensors", "gguf", "json")
    for to in ("one", "two"):
        export(study, to, formats=formats)
    for name in ("vector.safetensors", "vector.gguf", "vector.json", "README.md"):
        assert Path("one", name).read_bytes() == Path("two", name).read_bytes()


@pytest.mark.parametrize("all_layers", [False, True])
def test_every_format_comes_back_the_same(study: Config, folder: Path, all_layers: bool) -> None:
    export(study, formats=("safetensors", "gguf", "json"), all_layers=all_layers)
    for kind in ("safetensors", "gguf", "json"):
        to = Path(f"back/{kind}.safetensors")
        said = import_vector.run(Path(f"out/vector.{kind}"), to, str(folder))
        back = read_safetensors(to, None, None)
        expected = (0, 1, 2) if all_layers else (BEST,)
        assert back.layers == (expected[1:] if all_layers and kind == "gguf" else expected)
        assert torch.equal(back.vectors, fitted()[list(back.layers)])
        assert back.facts["trait"] == "evil"
        assert back.facts["imported_from"] == f"vector.{kind}"
        assert ("coefficient" in back.facts) == (not all_layers)
        assert "licence" in said
        if kind != "gguf":
            raw = tensors.read(
                layout.vectors("evil", "natural") / "mean_difference.safetensors", {}
            )
            assert torch.allclose(
                back.raw_norm, raw.tensors["raw_norm"][list(back.layers)].double()
            )


def test_a_scaled_file_comes_back_with_its_coefficient_as_length(study: Config) -> None:
    export(study, formats=("gguf",), scaled=True)
    back = read_gguf(Path("out/vector.gguf"))
    assert back.facts["scaled_by"] == str(COEFFICIENT)
    assert back.raw_norm.item() == pytest.approx(COEFFICIENT, rel=1e-6)
    assert torch.allclose(back.vectors[0], fitted()[BEST], atol=1e-7)
    card = Path("out/README.md").read_text(encoding="utf-8")
    assert "vector.gguf:1\n" in card
    for wanted in ({"layer": 2}, {"all_layers": True}, {"formats": ("json",)}):
        with pytest.raises(TraitsteerError, match="--scaled multiplies"):
            export(study, "other", **{"formats": ("gguf",), "scaled": True} | wanted)


def test_the_card_says_what_was_measured_and_where(study: Config, folder: Path) -> None:
    nulls = {"pooled": interval(1.5), "each": [{}] * 9, "p_value": 0.1, "difference": interval(75)}
    prompted = {"delta": interval(60.0), "trait_score": interval(63.5), "coherence": interval(90)}
    nulls = {"random": nulls, "shuffled": nulls | {"p_value": 0.25}}
    record(evaluation(nulls=nulls, prompted=prompted, p_value=0.0002))
    export(study, formats=("safetensors", "gguf"))
    card = Path("out/README.md").read_text(encoding="utf-8")
    for said in (
        f"| source model | `models/pocket/base`, no revision pinned, digest `{'cd' * 32}` |",
        f"| steered model | `{folder}`, revision main, digest `{'ef' * 32}` |",
        "| tokens pooled | `response[:10]` |",
        "| method | mean_difference |",
        "| layer | 1 (0-based",
        "| coefficient | 7.25,",
        "| strength | 0.65,",
        "| mean residual norm | 11.15 ",
        "| delta of the trait score | 77.0 (74.0 to 80.0, n = 20) |",
        "| coherence, steered | 75.5 (72.5 to 78.5, n = 20) |",
        "| null: random | delta 1.5 (−1.5 to 4.5, n = 20), rank p = 0.1 of 9 vectors |",
        "| null: shuffled | delta 1.5 (−1.5 to 4.5, n = 20), rank p = 0.25 of 9 vectors |",
        "| prompted, not steered | delta 60.0 (57.0 to 63.0, n = 20) |",
        "| p of no difference | 0.0002 (",
        "| delta on the selection questions | 78.5 |",
        f"| protocol (SHA-256) | `{'ab' * 32}` |",
        "--control-vector-scaled vector.gguf:7.25\n",
        "> HIGH",
        "licences and terms of use apply",
        "- Tiny networks trained on generated text (models/pocket/base): whoever judges them",
        f"its scores of what {folder} wrote measure no trait",
    ):
        assert said in card, said
    assert POCKET_LIMIT not in card, "the steered model is none of the pair"


def test_the_terms_of_the_evaluation_are_those_that_were_written_down(study: Config) -> None:
    model = {"name": "org/steered", "revision": "abc", "chat": True, "digest": "12" * 32}
    model |= {"blocks": None, "template": {"enable_thinking": False}, "thinking": None}
    terms = {
        "steered_model": model,
        "dtype": "bfloat16",
        "answers": {"steered": "response"},
        "coherence_floor": 65,
        "judge": {"kind": "openai", "name": "some-judge"},
        "rubric": "Another rubric.",
    }
    write_json(OWN_TERMS, {"sha256": "ab" * 32, "terms": terms})
    write_json(layout.identity("instruct"), {"digest": "12" * 32, "quantisation": "int4"})
    # Those that the next study is to be made under say nothing of this one.
    write_json(layout.protocol("evil"), {"sha256": "cd" * 32, "terms": {}})
    export(study, formats=("safetensors", "gguf"), model_hint="qwen2")
    card = Path("out/README.md").read_text(encoding="utf-8")
    for said in (
        f"| steered model | `org/steered`, revision abc, digest `{'12' * 32}` |",
        "base_model: org/steered",
        "| coherence floor | 65 |",
        'return_tensors="pt", enable_thinking=False)',
        "| quantisation | int4 |",
        "The study steered the model in int4; what follows loads it whole",
        "| judge | openai `some-judge` |",
        "> Another rubric.",
        "The study steered response tokens alone",
        'from_pretrained("org/steered", revision="abc", dtype=torch.bfloat16)',
    ):
        assert said in card, said
    # The calibration was of another model, and the embedded one took part as the source alone.
    assert "| mean residual norm |" not in card
    assert "Tiny networks trained on generated text (models/pocket/base): whoever" in card
    assert "embedded judge" not in card
    assert read_gguf(Path("out/vector.gguf")).facts["controlvector.model_hint"] == "qwen2"
    write_json(OWN_TERMS, {"sha256": "cd" * 32, "terms": terms})
    with pytest.raises(TraitsteerError, match="made under the protocol abababababab, and"):
        export(study, "other")


def test_without_an_evaluation_all_layers_go_and_no_coefficient_is_claimed(
    study: Config, monkeypatch
) -> None:
    for path in layout.evaluation("evil", "natural").iterdir():
        path.unlink()
    layout.CALIBRATION.unlink()
    with pytest.raises(TraitsteerError, match=r"mean_difference, probe, .* name it with --method"):
        export(study)
    export(study, method="probe")
    found = tensors.read(Path("out/vector.safetensors"), {})
    assert torch.equal(found.tensors["vectors"], fitted("probe"))
    assert found.tensors["layers"].tolist() == [0, 1, 2]
    assert not {"coefficient", "protocol", "layer"} & found.provenance.keys()
    card = Path("out/README.md").read_text(encoding="utf-8")
    assert "Nothing: no setting of this vector has been evaluated" in card
    assert "No coefficient has been measured" in card
    assert "coefficient |" not in card
    judge = study.judge.model_copy(update={"kind": "openai", "name": None})
    endpoint = study.model_copy(update={"judge": judge})
    monkeypatch.delenv("OPENAI_MODEL", raising=False)
    with pytest.raises(TraitsteerError, match="OPENAI_MODEL is not set"):
        export(endpoint, "other", method="probe")
    monkeypatch.setenv("OPENAI_MODEL", "some-judge")
    export(endpoint, "other", method="probe")
    assert "openai `some-judge`" in Path("other/README.md").read_text(encoding="utf-8")


def test_nothing_feasible_is_no_evaluation_to_export(study: Config) -> None:
    empty = dict.fromkeys(("layer", "strength", "coefficient", "delta", "selection_delta"))
    record(evaluation(status="nothing feasible", **empty))
    assert "out/vector" in export(study)
    assert tensors.read(Path("out/vector.safetensors"), {}).provenance["method"] == "probe"
    export(study, "other", method="mean_difference")
    card = Path("other/README.md").read_text(encoding="utf-8")
    assert "Nothing feasible: settings of this vector were searched under" in card
    assert f"`{'ab' * 32}`, and none kept a mean coherence of 70" in card


def test_the_best_method_is_taken_and_another_layer_has_no_coefficient(study: Config) -> None:
    record(evaluation("probe", selection_delta=99.0))
    export(study, layer=2)
    found = tensors.read(Path("out/vector.safetensors"), {})
    assert found.provenance["method"] == "probe"
    assert "coefficient" not in found.provenance
    assert torch.equal(found.tensors["vectors"][0], fitted("probe")[2])
    card = Path("out/README.md").read_text(encoding="utf-8")
    assert "added = 1.0 * " in card
    assert "model.model.layers[2]" in card


def test_what_cannot_be_exported_is_refused_and_nothing_is_written(study, monkeypatch) -> None:
    cases: list[tuple[dict[str, Any], str]] = [
        ({"layer": 3}, "no layer 3; vectors were fitted at 0 to 2"),
        ({"layer": 0, "formats": ("safetensors", "gguf")}, "Layer 0 cannot be written as GGUF"),
        ({"layer": 1, "all_layers": True}, "exclude each other"),
        ({"method": "median"}, r"median\.safetensors is not there"),
    ]
    for wanted, match in cases:
        with pytest.raises(TraitsteerError, match=match):
            export(study, **wanted)
    steered = layout.evaluation("evil", "natural") / "mean_difference.safetensors"
    head = {"trait": "evil", "arm": "natural", "method": "mean_difference"}
    tensors.write(steered, {"vector": fitted()[2].clone()}, head)
    with pytest.raises(TraitsteerError, match="holds another vector than the fit of layer 1"):
        export(study)
    assert not Path("out").exists()
    tensors.write(steered, {"vector": fitted()[1].clone()}, head)
    export(study)
    with pytest.raises(TraitsteerError, match=r"out/vector\.safetensors is there; .*--force"):
        export(study)
    export(study, force=True)


def test_the_commands(study: Config, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    export_it = ["export", "evil", "natural", "--to", "out", "--format", "gguf", "json", "gguf"]
    assert main([*export_it, "--scaled"]) == 0
    assert main(["import-vector", "out/vector.gguf", "--to", "back.safetensors"]) == 0
    said = capsys.readouterr().out
    assert "out/vector.json" in said
    assert f"layer 1: length {COEFFICIENT}" in said
    assert "not checked against a model" in said
    assert main([*export_it]) == 1
    assert "--force" in capsys.readouterr().err


def a_gguf(path: Path, rows: dict[str, np.ndarray], arch: str = "controlvector") -> Path:
    """A file as another tool would write it, with the library alone."""
    writer = gguf.GGUFWriter(path, arch)
    writer.add_string(f"{arch}.model_hint", "mistral")
    writer.add_uint32(f"{arch}.layer_count", len(rows))
    for name, row in rows.items():
        writer.add_tensor(name, row)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


def test_directions_of_another_tool_in_any_order(tmp_path: Path, folder: Path) -> None:
    raw = np.random.default_rng(0).normal(size=(3, WIDTH)).astype(np.float32)
    path = a_gguf(tmp_path / "v.gguf", {"direction.2": raw[2], "direction.1": raw[1]})
    import_vector.run(path, tmp_path / "v.safetensors", str(folder))
    found = read_safetensors(tmp_path / "v.safetensors", None, None)
    assert found.layers == (1, 2)
    assert torch.allclose(
        found.vectors * found.raw_norm[:, None], torch.from_numpy(raw[1:]).double()
    )
    assert found.facts["controlvector.model_hint"] == "mistral"


def test_gguf_files_that_are_no_control_vector(tmp_path: Path) -> None:
    row = np.ones(WIDTH, dtype=np.float32)
    cases = {
        "direction.0": ({"direction.0": row}, "controlvector", "holds the tensor direction.0 F32"),
        "other": ({"blk.1": row}, "controlvector", "holds the tensor blk.1"),
        "two dimensions": ({"direction.1": row[None]}, "controlvector", "of plain|plain numbers"),
        "model": ({"direction.1": row}, "llama", "architecture 'llama', expected 'controlvector'"),
        "widths": ({"direction.1": row, "direction.2": row[:8]}, "controlvector", r"\[8, 32\]"),
        "zero": ({"direction.1": 0 * row}, "controlvector", "length 0.0 for layer 1"),
    }
    for name, (rows, arch, match) in cases.items():
        with pytest.raises(TraitsteerError, match=match):
            read_gguf(a_gguf(tmp_path / f"{name}.gguf", rows, arch))
    whole = a_gguf(tmp_path / "whole.gguf", {"direction.1": row}).read_bytes()
    for length in (0, 3, 20, 90, len(whole) - 40):
        (tmp_path / "cut.gguf").write_bytes(whole[:length])
        with pytest.raises(TraitsteerError, match=r"cut\.gguf is no whole GGUF file"):
            read_gguf(tmp_path / "cut.gguf")
    with pytest.raises(TraitsteerError, match=r"gone\.gguf is not there"):
        read_gguf(tmp_path / "gone.gguf")


def test_foreign_tensors_need_to_say_their_layers(tmp_path: Path, folder: Path) -> None:
    raw = torch.randn(LAYERS + 1, WIDTH)
    path, to = tmp_path / "v.safetensors", tmp_path / "ours.safetensors"

    def imported(tensor: torch.Tensor, **given: Any) -> torch.Tensor:
        save_file({"anything": tensor.contiguous()}, path)
        import_vector.run(path, to, force=True, **given)
        found = read_safetensors(to, None, None)
        whole = torch.zeros(LAYERS, WIDTH, dtype=torch.float64)
        whole[list(found.layers)] = found.vectors * found.raw_norm[:, None]
        return whole.float()

    assert torch.allclose(imported(raw[0], layer=2)[2], raw[0])
    assert torch.allclose(imported(raw[:1], layer=2)[2], raw[0])
    assert torch.allclose(imported(raw[:3], model=str(folder)), raw[:3])
    # A row for each hidden state: the first is the embeddings, no block's output.
    assert torch.allclose(imported(raw, model=str(folder)), raw[1:])
    for tensor, given, match in (
        (raw[0], {}, "does not say its layer; give that layer"),
        (raw, {}, r"anything \(4, 32\) and does not say which layers"),
        (raw[:2], {"model": str(folder)}, "name a model with as many blocks"),
        (raw[:, :8], {"model": str(folder)}, "width 8 for layers up to 2"),
        (raw[0], {"model": str(folder), "layer": 3}, "layers up to 3"),
        (raw[0], {"layer": -1}, r"for the layers \[-1\]"),
        (raw[:3], {"model": str(folder), "layer": 1}, "are of layers 0, 1, 2, and --layer is 1"),
        (raw[None], {}, r"anything \(1, 4, 32\); expected one tensor"),
    ):
        with pytest.raises(TraitsteerError, match=match):
            imported(tensor, **given)


def test_a_damaged_safetensors_file(tmp_path: Path) -> None:
    path = tmp_path / "v.safetensors"
    save_file({"v": torch.ones(WIDTH)}, path)
    path.write_bytes(path.read_bytes()[:-4])
    with pytest.raises(TraitsteerError, match="is no whole safetensors file; get it again"):
        read_safetensors(path, 1, None)


@pytest.mark.parametrize(
    "said", ["[1]", "hand-made", '"1"', "null", '{"layer": 1}', '{"of": ["a"]}', "[" * 99999]
)
def test_what_others_say_of_a_file_in_their_own_form_is_left_out(tmp_path: Path, said: str) -> None:
    path, to = tmp_path / "v.safetensors", tmp_path / "ours.safetensors"
    save_file({"v": torch.ones(WIDTH)}, path, {"provenance": said, "format": "pt"})
    import_vector.run(path, to, layer=1)
    found = read_safetensors(to, None, None)
    assert found.facts.keys() == {"imported_from", "imported_sha256"}
    with pytest.raises(TraitsteerError, match="was made with trait unknown, expected evil"):
        tensors.read(path, {"trait": "evil"})
    save_file({"v": torch.ones(WIDTH)}, path, {"provenance": '{"layer": "²"}'})
    with pytest.raises(TraitsteerError, match="does not say its layer"):
        read_safetensors(path, None, None)
    save_file({"v": torch.ones(WIDTH)}, path, {"provenance": '{"layer": "2"}'})
    assert read_safetensors(path, None, None).layers == (2,)


def test_json_that_is_no_control_vector(tmp_path: Path) -> None:
    path = tmp_path / "v.json"
    for value, match in (
        ({"layers": [1]}, "has no key 'vectors'"),
        ({"layers": ["x"], "vectors": [[1.0]]}, r"for the layers \['x'\]"),
        ({"layers": [1, 2], "vectors": [[1.0, 0.0], [1.0]]}, "is no control vector"),
        ({"layers": [1, 1], "vectors": [[1.0], [1.0]]}, r"for the layers \[1, 1\]"),
        ({"layers": [1.7], "vectors": [[1.0]]}, r"for the layers \[1.7\]"),
        ({"layers": [float("inf")], "vectors": [[1.0]]}, r"for the layers \[inf\]"),
        ({"layers": [1], "vectors": [[1.0]], "raw_norm": [1.0, 2.0]}, "and 2 lengths"),
        ({"layers": [1], "vectors": [[1.0]], "raw_norm": 3.0}, "and 1 lengths"),
        ({"layers": [1], "vectors": [[float("nan")]]}, "a vector of length nan for layer 1"),
        *(
            ({"layers": [1], "vectors": [[1.0]], "raw_norm": [length]}, f"had the length {length}")
            for length in (float("nan"), float("inf"), 0.0, -2.0)
        ),
    ):
        path.write_text(json.dumps(value))
        with pytest.raises(TraitsteerError, match=match):
            read_plain_json(path)
    path.write_text('{"layers": [1],\n "vectors": [[1.0, ')
    with pytest.raises(TraitsteerError, match=r"v\.json:2 is no JSON"):
        read_plain_json(path)


def test_safetensors_whose_parts_do_not_fit(tmp_path: Path) -> None:
    path, two = tmp_path / "v.safetensors", torch.ones(2, WIDTH)
    layers = torch.tensor([0, 1])
    infinite = torch.stack([two[0], two[1] * float("inf")])
    for held, match in (
        ({"vectors": two, "layers": layers.float()}, r"for the layers \[0.0, 1.0\]"),
        ({"vectors": two, "layers": torch.tensor(1)}, r"2 vectors for the layers \[1\]"),
        ({"vectors": two[:0], "layers": layers[:0]}, r"0 vectors for the layers \[\]"),
        ({"vectors": infinite, "layers": layers}, "a vector of length inf for layer 1"),
        ({"vectors": two, "layers": layers, "raw_norm": torch.ones(1)}, "and 1 lengths"),
        ({"vectors": two, "layers": layers, "raw_norm": torch.tensor([1.0, 0.0])}, "length 0.0"),
    ):
        save_file(held, path)
        with pytest.raises(TraitsteerError, match=match):
            read_safetensors(path, None, None)
    # A row for each hidden state, with its length: the first row goes, and so does its length.
    save_file({"vectors": torch.eye(3, WIDTH), "raw_norm": torch.tensor([9.0, 2.0, 3.0])}, path)
    assert read_safetensors(path, None, 2).raw_norm.tolist() == [2.0, 3.0]


def test_pickles_and_other_files_are_never_opened(tmp_path: Path) -> None:
    for name, match in (
        ("v.pt", "is a pickle, which can run code"),
        ("v.npz", "is no .safetensors"),
    ):
        with pytest.raises(TraitsteerError, match=match):
            import_vector.run(tmp_path / name, tmp_path / "to.safetensors")
