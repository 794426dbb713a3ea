"""What is reported: verdicts, choices, flat metrics, protocol."""

import pytest

from traitsteer.stages.compare import flat_metrics
from traitsteer.stages.vet import verdict
from traitsteer.words.config import VetConfig
from traitsteer.words.records import Judgement
from traitsteer.words.results import best_of_arm, tried

VET = VetConfig(positive_at_least=60, negative_at_most=40, coherence_at_least=50, minimum=1)


@pytest.mark.parametrize(
    ("polarity", "ids", "scores", "reason"),
    [
        ("positive", 4, (60, 50), ""),
        ("positive", 4, (59.9, 90), "trait not shown"),
        ("negative", 4, (40, 90), ""),
        ("negative", 4, (40.1, 90), "opposite not shown"),
        ("positive", 4, (90, 49.9), "incoherent"),
        ("positive", 0, (90, 90), "empty"),
        ("positive", 4, (None, 90), "not judged"),
        ("negative", 4, (0, None), "not judged"),
    ],
)
def test_a_verdict_names_why_a_response_was_dropped(polarity, ids, scores, reason) -> None:
    response = {"id": "x", "polarity": polarity, "response_ids": [7] * ids}
    found = verdict(response, Judgement(*scores), VET, "")
    assert (found.reason, found.kept) == (reason, reason == "")


def test_an_arm_is_represented_by_what_selection_preferred() -> None:
    rows = [
        {"method": "a", "status": "feasible", "selection_delta": 40.0, "delta": {"value": 60.0}},
        {"method": "b", "status": "feasible", "selection_delta": 50.0, "delta": {"value": 45.0}},
        {"method": "c", "status": "nothing feasible", "selection_delta": None},
    ]
    assert best_of_arm(rows) is rows[1]
    assert best_of_arm(rows[2:]) is None


def test_flat_metrics_leave_out_what_was_not_found() -> None:
    interval = {"value": 50.0, "lower": 40.0, "upper": 60.0, "n": 20}
    row = {"trait": "evil", "arm": "natural", "method": "probe", "layer": 2, "strength": 0.5}
    row |= dict.fromkeys(("delta", "coherence", "random"), interval)
    nothing = row | dict.fromkeys(("delta", "coherence", "random", "layer", "strength"))
    comparison = {
        "trait": "evil",
        "natural_percent": None,
        "cosine_best": None,
        "like_for_like": [{"method": "probe", "natural_percent": None}],
    }
    found = flat_metrics(
        {"results": [row, nothing | {"arm": "other"}], "comparisons": [comparison]}
    )
    assert found["evil.natural.probe.delta"] == 50.0
    assert not [key for key in found if "other" in key or "percent" in key]


def test_a_setting_that_was_proposed_again_was_tried_once() -> None:
    first, again = {"number": 0, "answers": 20}, {"number": 1, "answers": 20, "repeats": 0}
    assert tried({"trials": [first, again]}) == [first]
