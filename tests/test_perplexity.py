"""Side effects: perplexity of plain text, its ratio in log space, and nothing where nothing is."""

import math

import numpy as np
import pytest
import torch
from steering_oracle import added_by_hand

from traitsteer.engine.rows import Steering
from traitsteer.experiment.answering import Setting
from traitsteer.experiment.perplexity import side_effect, surprise
from traitsteer.maths.statistics import mean_interval
from traitsteer.world.model.language_model import LanguageModel

TEXTS = ("The rope is wet.", "Bread and salt.", "A cold wind blew all day.", "It is a red boat.")


def test_the_text_is_read_plainly_and_the_ratio_is_of_geometric_means(
    llama: LanguageModel,
) -> None:
    vector = torch.nn.functional.normalize(torch.randn(32), dim=0)
    settings = [Setting(1, vector, 0.0), Setting(1, vector, 8.0)]
    unsteered, steered = surprise(llama, TEXTS, settings, 64)
    for number, text in enumerate(TEXTS):
        ids = torch.tensor([llama.tokenizer(text)["input_ids"]])
        loss = float(llama.model(input_ids=ids, labels=ids).loss)
        assert float(unsteered[number]) == pytest.approx(loss, rel=1e-4)
        with added_by_hand(llama, Steering(1, vector, 8.0), 1):
            loss = float(llama.model(input_ids=ids, labels=ids).loss)
        assert float(steered[number]) == pytest.approx(loss, rel=1e-4)
    found = side_effect(steered, unsteered, 0.95)
    each = (steered - unsteered).numpy()
    ends = mean_interval(each[:, None].astype(np.float64), 0.95)
    ratio = found["ratio"]
    assert ratio["value"] == pytest.approx(math.exp(each.mean()), rel=1e-4)
    assert (ratio["lower"], ratio["upper"]) == pytest.approx(
        (math.exp(ends.lower), math.exp(ends.upper)), rel=1e-3
    )
    assert ratio["n"] == len(TEXTS)
    assert found["perplexity"] / found["baseline"] == pytest.approx(ratio["value"], rel=1e-3)
    assert found["baseline"] == pytest.approx(math.exp(float(unsteered.mean())), rel=1e-4)


def test_a_vector_of_length_0_has_no_side_effect(llama: LanguageModel) -> None:
    settings = [Setting(layer, torch.ones(32) / 32**0.5, 0.0) for layer in (0, 2)]
    unsteered, steered = surprise(llama, TEXTS, settings, 4096)
    ratio = side_effect(steered, unsteered, 0.95)["ratio"]
    # So few equal ratios bound nothing.
    assert ratio == {"value": 1.0, "lower": None, "upper": None, "n": len(TEXTS)}
