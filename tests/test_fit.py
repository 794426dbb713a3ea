"""The stage fit on planted activations: a vector's reliability as written, and its warning."""

from pathlib import Path
from typing import get_args

import pytest
import torch
from planted_rows import planted

from traitsteer.maths.methods import LEAST_GROUPS
from traitsteer.stages import fit
from traitsteer.words import layout
from traitsteer.words.config import Config, load
from traitsteer.words.errors import TooFewRows, TraitsteerError
from traitsteer.words.records import Method
from traitsteer.world import tensors
from traitsteer.world.files import read_json


@pytest.fixture
def config(repository: Path, tmp_path: Path, monkeypatch) -> Config:
    monkeypatch.chdir(tmp_path)
    return load(repository / "profiles/pocket.yaml")


def place(config: Config, samples: int, massive: bool) -> None:
    """Activations of 3 layers with a planted direction; `massive`: half of it in one dimension."""
    rows, positive, pairs, _ = planted(120, 64, 1.0)
    if massive:
        rows[:, 1, 5] += 20 * (2 * positive.float() - 1)
    provenance = {
        "trait": "evil",
        "arm": "natural",
        "text": "natural",
        "source": config.models.base.name,
        "position": "response[:10]",
        "shard": "0",
        "shards": "1",
        "positive_left_out": "2",
        "negative_left_out": "0",
    }
    held = {
        "activations": rows,
        "positive": positive.to(torch.uint8),
        "pair": pairs // samples,
        "group": pairs // samples,
        "sample": pairs % samples,
    }
    tensors.write(layout.activations("evil", "natural") / "00000.safetensors", held, provenance)


def test_what_is_known_of_a_vector_is_written_layer_by_layer(config: Config, capsys) -> None:
    place(config, samples=2, massive=False)
    fit.run(config, "evil", "natural")
    for method in config.arm("natural").methods:
        found = read_json(layout.vectors("evil", "natural") / f"{method}.json")
        for name in ("held_out_auroc", "pair_agreement", "split_half_cosine", "seed_cosine"):
            assert len(found[name]) == 3 and all(0.3 < value <= 1 for value in found[name])
        assert all(value < 0.5 for value in found["largest_share"])
        assert found["massive"] == []
        assert (found["positive_left_out"], found["negative_left_out"]) == (2, 0)
    assert "3 dimensions" not in capsys.readouterr().err


@pytest.mark.parametrize("number", [float("nan"), float("inf")])
def test_activations_that_are_not_finite_are_refused(config: Config, number: float) -> None:
    place(config, samples=2, massive=False)
    path = layout.activations("evil", "natural") / "00000.safetensors"
    found = tensors.read(path, {})
    found.tensors["activations"][3, 1, 5] = number
    tensors.write(path, found.tensors, found.provenance)
    with pytest.raises(TraitsteerError, match="holds activations at layer 1 that are not finite"):
        fit.run(config, "evil", "natural")
    assert not layout.vectors("evil", "natural").exists()


def test_memory_that_runs_out_is_one_sentence(config: Config, monkeypatch) -> None:
    def full(*args: object) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.")

    place(config, samples=2, massive=False)
    for name in ("traitsteer.maths.probe.fit_probe", "torch.Tensor.to"):
        with monkeypatch.context() as patched, pytest.raises(TraitsteerError) as raised:
            patched.setattr(name, full)
            fit.run(config, "evil", "natural")
        assert str(raised.value) == (
            "fit evil natural: the activations of 240 responses at 3 layers of width 64 (0.0 GB) "
            "and what is fitted to them do not fit into the memory of cpu; end what else uses it."
        )


def test_massive_dimensions_are_named_and_one_sample_has_no_seed_cosine(
    config: Config, capsys
) -> None:
    place(config, samples=1, massive=True)
    fit.run(config, "evil", "natural")
    found = read_json(layout.vectors("evil", "natural") / "mean_difference.json")
    assert found["massive"] == [1]
    assert found["largest_share"][1] > 0.5
    assert found["seed_cosine"] is None
    printed = capsys.readouterr().err
    assert "mean_difference: 3 dimensions carry 50 % or more" in printed
    assert "at layers 1;" in printed


@pytest.mark.parametrize("method", get_args(Method))
@pytest.mark.parametrize("folds", [2, 3, 5])
def test_the_fewest_groups_are_as_many_as_fitting_takes(
    config: Config, method: Method, folds: int
) -> None:
    natural = config.arm("natural").model_copy(update={"methods": (method,)})
    sizes = config.fit.model_copy(update={"folds": folds, "halves": 3, "penalties": (0.1, 10.0)})
    config = config.model_copy(update={"arms": config.arms | {"natural": natural}, "fit": sizes})
    place(config, samples=1, massive=False)
    path = layout.activations("evil", "natural") / "00000.safetensors"
    found, least = tensors.read(path, {}), LEAST_GROUPS[method]
    for groups in (least - 1, least, least + 1):
        found.tensors["group"] = found.tensors["pair"] % groups
        tensors.write(path, found.tensors, found.provenance)
        if groups < least:
            with pytest.raises(TooFewRows):
                fit.run(config, "evil", "natural")
        else:
            fit.run(config, "evil", "natural")
