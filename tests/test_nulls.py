"""Null vectors: of norm 1, drawn anew for each name, and blind to the planted direction."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from traitsteer.experiment.nulls import (
    FittedOn,
    null_vectors,
    orthogonal_directions,
    shuffled_directions,
)
from traitsteer.maths.methods import raw_vectors
from traitsteer.words.config import Config, load
from traitsteer.words.errors import TraitsteerError
from traitsteer.words.records import Method

WIDTH, PAIRS = 24, 60


@pytest.fixture
def config(repository: Path) -> Config:
    return load(repository / "params.yaml")


def planted(config: Config, method: Method) -> tuple[torch.Tensor, FittedOn]:
    """A direction, and pairs of rows that it tells apart."""
    along = torch.nn.functional.normalize(torch.randn(WIDTH), dim=0)
    positive = torch.arange(2 * PAIRS) % 2 == 0
    rows = torch.randn(2 * PAIRS, WIDTH) + 3 * torch.where(positive, 1.0, -1.0)[:, None] * along
    fit = config.fit.model_copy(update={"penalties": (1.0, 10.0)})
    pairs = torch.arange(2 * PAIRS) // 2
    return along, FittedOn(rows[:, None], positive, pairs, pairs, method, fit, 5, 7)


@pytest.mark.parametrize("method", ["mean_difference", "probe"])
def test_shuffled_labels_lose_the_direction_that_true_labels_find(
    config: Config, method: Method
) -> None:
    along, fitted = planted(config, method)
    fit = fitted.fit
    parts = (
        fitted.activations,
        fitted.positive,
        fitted.groups,
        method,
        fit.penalties,
        fit.folds,
        5,
    )
    true = torch.nn.functional.normalize(raw_vectors(*parts)[0][0].float(), dim=0)
    assert abs(float(true @ along)) > 0.95
    shuffled = shuffled_directions(fitted, 12, 0)
    assert torch.allclose(shuffled.norm(dim=1), torch.ones(12))
    # As many pairs point one way as the other, so that noise alone is left; its sign is chance.
    cosines = shuffled @ along
    assert float(cosines.abs().max()) < 0.5
    assert bool((cosines > 0).any()) and bool((cosines < 0).any())
    assert torch.equal(shuffled_directions(fitted, 3, 0), shuffled[:3])
    assert not torch.allclose(shuffled_directions(fitted, 1, 1), shuffled[:1])


@pytest.mark.parametrize(
    ("method", "fault"), [("mean_difference", "has the same mean"), ("probe", "varies by")]
)
def test_a_null_that_cannot_be_fitted_names_itself_and_its_layer(
    config: Config, method: Method, fault: str
) -> None:
    _, fitted = planted(config, method)
    same = replace(fitted, activations=torch.ones_like(fitted.activations))
    with pytest.raises(TraitsteerError, match=rf"^null shuffled-0 at layer 7, .* layer 7 {fault}"):
        shuffled_directions(same, 2, 0)
    alone = replace(fitted, groups=torch.zeros_like(fitted.groups))
    if method == "probe":
        with pytest.raises(TraitsteerError, match=r"^null shuffled-0 at layer 7, .*share a prompt"):
            shuffled_directions(alone, 2, 0)


def test_half_of_the_pairs_exchange_their_labels(config: Config, monkeypatch) -> None:
    _, fitted = planted(config, "mean_difference")
    twice = replace(fitted, pairs=fitted.pairs // 2)
    seen = []

    def watched(activations: torch.Tensor, positive: torch.Tensor, *rest: object) -> object:
        seen.append(positive ^ twice.positive)
        return raw_vectors(activations, positive, *rest)

    monkeypatch.setattr("traitsteer.experiment.nulls.raw_vectors", watched)
    shuffled_directions(twice, 4, 0)
    for exchanged in seen:
        of_pair = [set(exchanged[twice.pairs == pair].tolist()) for pair in twice.pairs.unique()]
        assert all(len(each) == 1 for each in of_pair), "whole pairs"
        assert sum(True in each for each in of_pair) == len(of_pair) // 2
    assert len({tuple(exchanged.tolist()) for exchanged in seen}) == 4


def test_orthogonal_vectors_have_no_part_along_the_vector() -> None:
    vector = torch.randn(WIDTH)
    found = orthogonal_directions(vector, 6, 0)
    assert torch.allclose(found.norm(dim=1), torch.ones(6))
    assert float((found @ vector).abs().max()) < 1e-5
    assert float((found @ found.T - torch.eye(6)).abs().max()) < 0.99, "they differ"


def test_every_kind_is_there_in_its_number_and_belongs_to_its_vector(config: Config) -> None:
    along, fitted = planted(config, "mean_difference")
    found = null_vectors(config, along, fitted, ("evil", "natural", "mean_difference"))
    counts = config.evaluate.nulls
    names = [f"random-{n}" for n in range(counts.random)]
    names += [f"shuffled-{n}" for n in range(counts.shuffled)]
    names += [f"orthogonal-{n}" for n in range(counts.orthogonal)]
    assert list(found) == [*names, "negated"]
    assert torch.equal(found["negated"], -along)
    assert all(abs(float(vector.norm()) - 1) < 1e-5 for vector in found.values())
    again = null_vectors(config, along, fitted, ("evil", "natural", "mean_difference"))
    assert all(torch.equal(again[name], vector) for name, vector in found.items())
    other = null_vectors(config, along, fitted, ("evil", "instruction", "mean_difference"))
    assert not torch.allclose(other["random-0"], found["random-0"])
    assert abs(float(found["random-0"] @ found["orthogonal-0"])) < 0.9
