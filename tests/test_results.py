"""What is reported, held against direct computation: verdicts, summaries, choices, protocol."""

import numpy as np
import pytest
from scipy import stats

from traitsteer.maths.statistics import mean_interval
from traitsteer.stages.compare import flat_metrics
from traitsteer.stages.evaluate import summary
from traitsteer.stages.vet import verdict
from traitsteer.words.config import VetConfig
from traitsteer.words.records import Judgement, ScoredAnswer
from traitsteer.words.results import best_of_arm

VET = VetConfig(positive_at_least=60, negative_at_most=40, coherence_at_least=50, minimum=1)
BEST = {"best": {"layer": 2, "strength": 0.5, "coefficient": 3.0, "delta": 41.0}}


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
    found = verdict("x", polarity, ids, Judgement(*scores), VET)
    assert (found.reason, found.kept) == (reason, reason == "")


def answers(values: np.ndarray, missing: set[tuple[int, int]] = frozenset()) -> list[ScoredAnswer]:
    return [
        ScoredAnswer(q, s, 0, "text", None if (q, s) in missing else float(v), 90.0 - q, 5, "stop")
        for q, row in enumerate(values)
        for s, v in enumerate(row)
    ]


def test_a_summary_is_the_interval_of_paired_differences_over_questions() -> None:
    random = np.random.default_rng(0)
    before, after = random.uniform(0, 20, (12, 3)), random.uniform(40, 90, (12, 3))
    nulls = [random.uniform(0, 20, (12, 3)) for _ in range(5)]
    given = {"baseline": answers(before), "steered": answers(after)}
    given |= {f"random-{n}": answers(values) for n, values in enumerate(nulls)}
    found = summary(BEST, given, 0.95)
    each = after.mean(axis=1) - before.mean(axis=1)
    assert found["delta"] == mean_interval(each[:, None], 0.95).rounded()
    lower, upper = stats.t.interval(0.95, 11, each.mean(), stats.sem(each))
    assert found["delta"]["lower"] <= round(lower, 4) and round(upper, 4) <= found["delta"]["upper"]
    pooled = np.concatenate(nulls, axis=1).mean(axis=1) - before.mean(axis=1)
    assert found["random"]["value"] == pytest.approx(pooled.mean(), abs=1e-4)
    assert found["random"]["lower"] < 0 < found["random"]["upper"]
    assert found["coherence"]["value"] == pytest.approx(90 - np.arange(12).mean())
    assert found["selection_delta"] == 41.0
    assert found["missing"] == 0


def test_missing_scores_are_left_out_and_counted_and_never_zero() -> None:
    before, after = np.full((4, 2), 10.0), np.full((4, 2), 70.0)
    lost = {(0, 0), (1, 0), (1, 1)}
    given = {"baseline": answers(before), "steered": answers(after, lost)}
    given |= {f"random-{n}": answers(before) for n in range(5)}
    found = summary(BEST, given, 0.95)
    assert found["delta"] == {"value": 60.0, "lower": 60.0, "upper": 60.0, "n": 3}
    assert found["missing"] == 3


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
    comparison = {"trait": "evil", "natural_percent": None, "cosine_best": None}
    found = flat_metrics(
        {"results": [row, nothing | {"arm": "other"}], "comparisons": [comparison]}
    )
    assert found["evil.natural.probe.delta"] == 50.0
    assert not [key for key in found if "other" in key or "percent" in key]
