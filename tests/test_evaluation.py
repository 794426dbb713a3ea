"""What is reported of one vector, held against direct computation, with planted answers."""

from dataclasses import replace

import numpy as np
import pytest
from scipy import stats

from traitsteer.experiment.evaluation import recounted, steps_of, summary
from traitsteer.experiment.evidence import Evidence, Terms
from traitsteer.maths.statistics import independent_difference_interval, mean_interval
from traitsteer.words.records import ScoredAnswer

BEST = {"number": 7, "layer": 2, "strength": 0.5, "coefficient": 3.0, "delta": 41.0}
FOUND = {
    "best": BEST,
    "trials": [
        {"number": 7, "delta": 48.0, "feasible": True},
        {"number": 8, "delta": 51.0, "feasible": True},
        {"number": 9, "delta": 99.0, "feasible": False},
        {"number": 10, "delta": None, "feasible": False},
    ],
}
LADDER = (0.5, 1.2)
TERMS = Terms(floor=70.0, up_by=10.0, missing_at_most=0.1, confidence=0.95, seed=3)
QUESTIONS, SAMPLES = 12, 3
SHAPE = (QUESTIONS, SAMPLES)
KINDS = {"random": 5, "shuffled": 5, "orthogonal": 3}


def answers(
    values: np.ndarray, coherence: float = 90.0, missing: set[tuple[int, int]] = frozenset()
) -> list[ScoredAnswer]:
    return [
        ScoredAnswer(q, s, 0, "text", None if (q, s) in missing else float(v), coherence, 5, "stop")
        for q, row in enumerate(values)
        for s, v in enumerate(row)
    ]


def scored(selected: np.ndarray, before: np.ndarray) -> list[dict]:
    """Rows of a search: a recount on samples 1 and 2, and first scores that must play no part."""
    rows = []
    for q, (after, unsteered) in enumerate(zip(selected, before, strict=True)):
        rows.append({"trial": 7, "phase": "trial", "question": q, "sample": 0, "trait_score": 99})
        rows.append(
            {"trial": None, "phase": "baseline", "question": q, "sample": 0, "trait_score": 0}
        )
        for s, (one, other) in enumerate(zip(after, unsteered, strict=True), start=1):
            head = {"question": q, "sample": s}
            rows.append({"trial": 7, "phase": "recount", "trait_score": one} | head)
            rows.append({"trial": 8, "phase": "recount", "trait_score": 1.0} | head)
            rows.append({"trial": None, "phase": "baseline", "trait_score": other} | head)
    return rows


class Planted:
    """Scores of a whole evaluation; the vector raises the trait, and no null does."""

    def __init__(self, rise: float = 50.0, seed: int = 0) -> None:
        draw = np.random.default_rng(seed)
        self.before = draw.uniform(0, 20, SHAPE)
        self.after = draw.uniform(0, 20, SHAPE) + rise
        self.nulls = {
            f"{kind}-{n}": draw.uniform(0, 20, SHAPE)
            for kind, count in KINDS.items()
            for n in range(count)
        } | {"negated": draw.uniform(0, 20, SHAPE)}
        self.cosines = {name: n / 100 for n, name in enumerate(self.nulls)}
        self.selected = draw.uniform(0, 20, (9, 2)) + rise + 8
        self.unsteered = draw.uniform(0, 20, (9, 2))
        self.prompted = {f"prompted-{n}": draw.uniform(80, 99, (QUESTIONS, 1)) for n in range(2)}
        self.given = {"baseline": answers(self.before, 92), "steered": answers(self.after, 75)}
        self.given |= {name: answers(values) for name, values in self.nulls.items()}
        self.given |= {name: answers(values) for name, values in self.prompted.items()}
        self.given["frontier-0.25"] = answers(self.before + 0.2 * rise, 91)
        self.given["frontier-0.6"] = answers(self.before + 1.1 * rise, 50)

    def summary(self, terms: Terms = TERMS) -> dict:
        return summary(
            FOUND, scored(self.selected, self.unsteered), self.given, self.cosines, LADDER, terms
        )


def interval(found: dict) -> tuple:
    return found["value"], found["lower"], found["upper"], found["n"]


def close(*expected: float) -> list:
    return [pytest.approx(each, abs=1e-4) for each in expected]


def over_questions(each: np.ndarray) -> list:
    """The interval of these question means, which is never narrower than t's."""
    found = mean_interval(each[:, None], 0.95)
    low, high = stats.t.interval(0.95, len(each) - 1, each.mean(), stats.sem(each))
    assert found.lower <= low + 1e-9 and found.upper >= high - 1e-9
    return [*close(each.mean(), found.lower, found.upper), len(each)]


def test_a_delta_is_the_interval_of_paired_differences_over_questions() -> None:
    planted = Planted()
    found = planted.summary()
    rise = planted.after.mean(axis=1) - planted.before.mean(axis=1)
    assert list(interval(found["delta"])) == over_questions(rise)
    assert list(interval(found["trait_score"])) == over_questions(planted.after.mean(axis=1))
    assert list(interval(found["baseline"])) == over_questions(planted.before.mean(axis=1))
    assert found["coherence"]["value"] == 75
    assert found["baseline_coherence"]["value"] == 92
    assert (found["layer"], found["strength"], found["coefficient"]) == (2, 0.5, 3.0)
    assert (found["missing"], found["status"]) == (0, "feasible")


def test_every_null_stands_beside_the_vector_and_none_does_what_it_does() -> None:
    planted = Planted()
    found = planted.summary()
    after, before = planted.after.mean(axis=1), planted.before.mean(axis=1)
    for kind in ("random", "shuffled", "orthogonal", "negated"):
        null = found["nulls"][kind]
        own = [values for name, values in planted.nulls.items() if name.startswith(kind)]
        pooled = np.concatenate(own, axis=1).mean(axis=1)
        assert list(interval(null["pooled"])) == over_questions(pooled - before)
        assert list(interval(null["difference"])) == over_questions(after - pooled)
        assert [each["delta"] for each in null["each"]] == close(
            *(values.mean() - planted.before.mean() for values in own)
        )
        cosines = [each for name, each in planted.cosines.items() if name.startswith(kind)]
        assert [each["cosine"] for each in null["each"]] == cosines
        assert null["p_value"] == pytest.approx(1 / (1 + len(own)), abs=1e-6)
        assert null["pooled"]["lower"] < 0 < null["pooled"]["upper"]
    assert found["random"] == found["nulls"]["random"]["pooled"]
    assert found["random_each"] == found["nulls"]["random"]["each"]
    assert found["p_value"] < 0.001


def test_a_vector_that_does_nothing_is_not_told_from_its_nulls() -> None:
    outside = 0
    for seed in range(20):
        found = Planted(rise=0.0, seed=seed).summary()
        outside += found["p_value"] < 0.05
        outside += found["nulls"]["random"]["difference"]["lower"] > 0
        assert found["both"]["value"] < 40
    assert outside <= 6


def test_shrinkage_is_welchs_interval_of_two_question_sets() -> None:
    planted = Planted()
    found = planted.summary()
    selected = planted.selected.mean(axis=1) - planted.unsteered.mean(axis=1)
    reported = planted.after.mean(axis=1) - planted.before.mean(axis=1)
    welch = stats.ttest_ind(selected, reported, equal_var=False).confidence_interval(0.95)
    expected = independent_difference_interval(selected[:, None], reported[:, None], 0.95)
    assert found["shrinkage"] == expected.rounded()
    assert expected.n == len(selected) + len(reported)
    assert expected.lower <= welch.low + 1e-9 and expected.upper >= welch.high - 1e-9
    assert (found["selection_delta"], found["first_delta"]) == (41.0, 51.0)


def test_a_recount_pairs_question_and_sample_and_keeps_what_is_missing() -> None:
    rows = scored(np.array([[50.0, 60.0]]), np.array([[10.0, 5.0]]))
    assert recounted(rows, 7) == {"0": [40.0, 55.0]}
    rows[-1]["trait_score"] = None
    assert recounted(rows, 7) == {"0": [40.0, None]}


def test_prompting_is_pooled_over_its_prompts_and_null_without_any() -> None:
    planted = Planted()
    found = planted.summary()["prompted"]
    pooled = np.concatenate(list(planted.prompted.values()), axis=1).mean(axis=1)
    assert list(interval(found["trait_score"])) == over_questions(pooled)
    assert list(interval(found["delta"])) == over_questions(pooled - planted.before.mean(axis=1))
    # One prompt lost all of its scores: of the pool that is a part.
    lost = next(iter(planted.prompted))
    whole = planted.given[lost]
    planted.given[lost] = [replace(a, trait_score=None, coherence=None) for a in whole]
    share = len(whole) / sum(len(planted.given[name]) for name in planted.prompted)
    allowed = replace(TERMS, missing_at_most=share)
    assert planted.summary(allowed)["prompted"]["trait_score"]["n"] == len(pooled)
    assert planted.summary(replace(TERMS, missing_at_most=0.9 * share))["prompted"] is None
    for name in planted.prompted:
        del planted.given[name]
    assert planted.summary()["prompted"] is None


def test_no_delta_has_a_limit_that_no_delta_can_reach() -> None:
    planted = Planted()
    shape = planted.before.shape
    planted.given["baseline"] = answers(np.zeros(shape), 92)
    most = np.where(np.arange(shape[0])[:, None] < 2, 40.0, 100.0)
    for name in ("steered", *planted.prompted):
        samples = shape[1] if name == "steered" else 1
        planted.given[name] = answers(np.repeat(most, samples, axis=1), 75)
    found = planted.summary()
    assert mean_interval(most).upper > 100
    for delta in (found["delta"], found["prompted"]["delta"]):
        assert delta["upper"] == 100
    assert found["delta"] == found["prompted"]["delta"]


def test_the_frontier_is_read_off_at_equal_coherence() -> None:
    planted = Planted()
    before, chosen = planted.before.mean(), planted.after.mean() - planted.before.mean()
    found = planted.summary()
    assert [step["strength"] for step in found["frontier"]] == [0.25, 0.5, 0.6]
    assert [step["coefficient"] for step in found["frontier"]] == [1.5, 3.0, 3.6]
    assert [step["coherence"]["value"] for step in found["frontier"]] == [91, 75, 50]
    deltas = close(10, chosen, 55)
    assert [step["delta"]["value"] for step in found["frontier"]] == deltas
    assert found["frontier"][1]["both"] == found["both"]
    share = (75 - 70) / (75 - 50)
    assert found["at_floor"]["delta"]["value"] == close(chosen + share * (55 - chosen))[0]
    assert found["at_floor"]["strength"] == close(0.5 + share * 0.1)[0]
    share = (91 - 87) / (91 - 75)
    assert found["at_baseline_minus_5"]["delta"]["value"] == close(10 + share * (chosen - 10))[0]
    planted.given["frontier-0.6"] = answers(planted.before, 80)
    assert planted.summary()["at_floor"] is None, "a frontier above the floor does not cross it"
    assert before < 20


def test_an_answer_counts_when_it_holds_the_floor_and_is_up() -> None:
    before = np.array([[10.0, 30.0], [10.0, 10.0]])
    given = {"baseline": answers(before), "steered": []}
    for question, sample, trait, coherence in (
        (0, 0, 20.0, 70.0),  # just enough of both
        (0, 1, 39.9, 90.0),  # not up from its own partner, though from the other sample's
        (1, 0, 95.0, 69.9),  # broken
        (1, 1, None, 90.0),  # missing
    ):
        given["steered"].append(
            ScoredAnswer(question, sample, 0, "text", trait, coherence, 5, "stop")
        )
    share = Evidence(given, TERMS).both("steered")
    assert (share["value"], share["n"]) == (25.0, 2)


def test_missing_scores_are_left_out_and_counted_and_never_zero() -> None:
    planted = Planted()
    planted.before[:], planted.after[:] = 10.0, 70.0
    lost = {(1, 0), (1, 1), (1, 2)}
    planted.given |= {
        "baseline": answers(planted.before),
        "steered": answers(planted.after, 75, lost),
    }
    found = summary(
        FOUND,
        scored(planted.selected, planted.unsteered),
        planted.given,
        planted.cosines,
        (),
        TERMS,
    )
    assert found["delta"] == {"value": 60.0, "lower": 60.0, "upper": 60.0, "n": QUESTIONS - 1}
    assert found["both"]["value"] == 100
    assert found["missing"] == 3


def test_a_missing_score_takes_its_partner_with_it() -> None:
    """Else the mean of what is left would be held against a baseline of other samples."""
    planted = Planted()
    planted.before[:], planted.after[:] = 0.0, 90.0
    planted.before[:, 1] = 40.0
    planted.given["baseline"] = answers(planted.before)
    planted.given["steered"] = answers(planted.after, 75, {(0, 1)})
    found = planted.summary()
    others = [90 - 40 / 3] * (QUESTIONS - 1)
    assert found["delta"]["value"] == close((90 + sum(others)) / QUESTIONS)[0]


def test_the_worst_that_missing_coherence_may_hide_is_told() -> None:
    planted = Planted()
    for answer in planted.given["steered"][:SAMPLES]:
        planted.given["steered"].append(replace(answer, coherence=None))
    del planted.given["steered"][:SAMPLES]
    allowed = replace(TERMS, missing_at_most=0.2)
    found = planted.summary(allowed)
    assert found["coherence"]["value"] == 75
    assert found["coherence_at_worst"] == close(75 * (QUESTIONS - 1) / QUESTIONS)[0]
    assert Planted().summary()["coherence_at_worst"] == 75


def test_missing_scores_of_few_questions_leave_single_fields_out() -> None:
    planted = Planted()
    given = {n: [row for row in rows if row.question < 2] for n, rows in planted.given.items()}

    def without(lost: dict[str, int]) -> dict:
        """The summary where each of these settings lost the scores of one of the two questions."""
        planted.given = given | {
            name: [
                replace(row, trait_score=None) if row.question == q else row for row in given[name]
            ]
            for name, q in lost.items()
        }
        return planted.summary(replace(TERMS, missing_at_most=0.5))

    # No question is whole along the frontier.
    found = without({"steered": 0, "frontier-0.25": 1})
    assert found["at_floor"] is found["at_baseline_minus_5"] is None
    assert [step["delta"]["n"] for step in found["frontier"]] == [1, 1, 2]
    assert found["delta"]["n"] == 1 and found["frontier_missing"] == []
    # A strength and a null have no answer whose unsteered partner has a score.
    found = without({"baseline": 1, "steered": 1, "frontier-0.25": 0, "shuffled-3": 0})
    assert found["frontier_missing"] == [0.25]
    assert found["nulls"]["shuffled"]["missing"] == ["shuffled-3"]
    assert found["delta"]["n"] == 1


def test_a_vector_without_scores_among_the_samples_of_its_nulls_has_no_rank() -> None:
    planted = Planted()
    for name in planted.nulls:
        planted.given[name] = [row for row in planted.given[name] if row.sample == 0]
    lost = {(q, 0) for q in range(QUESTIONS)}
    planted.given["steered"] = answers(planted.after, missing=lost)
    found = planted.summary(replace(TERMS, missing_at_most=0.33))["nulls"]["shuffled"]
    assert found["p_value"] is found["difference"] is None
    assert found["pooled"]["n"] == QUESTIONS and found["missing"] == []


def test_a_strength_that_the_judge_cannot_score_is_left_out_of_the_frontier() -> None:
    planted = Planted()
    lost = {(q, 0) for q in range(QUESTIONS)}
    planted.given["frontier-0.6"] = answers(planted.before, 50, lost)
    found = planted.summary()
    assert [step["strength"] for step in found["frontier"]] == [0.25, 0.5]
    assert (found["frontier_missing"], found["at_floor"]) == ([0.6], None)
    assert found["missing"] == QUESTIONS


def test_strengths_that_share_no_scored_question_have_no_delta_at_equal_coherence() -> None:
    planted = Planted()
    half = QUESTIONS // 2
    for name, lost in (("frontier-0.25", range(half)), ("frontier-0.6", range(half, QUESTIONS))):
        values = planted.before + 30
        gone = {(q, s) for q in lost for s in range(SAMPLES)}
        given = answers(values, 90 if name == "frontier-0.25" else 50, gone)
        planted.given[name] = [
            replace(a, coherence=None) if a.trait_score is None else a for a in given
        ]
    found = planted.summary(replace(TERMS, missing_at_most=0.6))
    assert (found["at_floor"], found["at_baseline_minus_5"]) == (None, None)
    assert [step["strength"] for step in found["frontier"]] == [0.25, 0.5, 0.6]


def test_a_null_that_the_judge_cannot_score_is_left_out_and_named() -> None:
    planted = Planted()
    lost = {(q, 0) for q in range(QUESTIONS)}
    planted.given["shuffled-3"] = answers(planted.after + 40, 50, lost)
    planted.given["negated"] = answers(planted.before, 50, lost)
    found = planted.summary()["nulls"]
    left = [planted.nulls[f"shuffled-{n}"] for n in (0, 1, 2, 4)]
    shuffled = found["shuffled"]
    assert (shuffled["missing"], shuffled["p_value"]) == (["shuffled-3"], 0.2)
    before = planted.before.mean()
    assert [each["delta"] for each in shuffled["each"]] == close(*(v.mean() - before for v in left))
    pooled = np.concatenate(left, axis=1).mean(axis=1)
    assert list(interval(shuffled["pooled"])) == over_questions(
        pooled - planted.before.mean(axis=1)
    )
    assert found["negated"]["missing"] == ["negated"] and found["negated"]["each"] == []
    assert found["negated"]["pooled"] is found["negated"]["p_value"] is None
    assert found["random"]["missing"] == []


def test_the_rank_compares_means_of_equally_many_answers() -> None:
    """Over its first answers alone the vector lies below one null, over all of them above."""
    planted = Planted()
    planted.before[:], planted.after[:] = 10.0, 70.0
    planted.after[:, 0] = 40.0
    planted.given["baseline"] = answers(planted.before, 92)
    planted.given["steered"] = answers(planted.after, 75)
    for n in range(5):
        values = np.full((QUESTIONS, 1), 50.0 if n == 2 else 12.0)
        planted.given[f"shuffled-{n}"] = answers(values)
    found = planted.summary()
    assert found["delta"]["value"] == 50
    assert found["nulls"]["shuffled"]["p_value"] == pytest.approx(2 / 6, abs=1e-6)
    assert found["nulls"]["random"]["p_value"] == pytest.approx(1 / 6, abs=1e-6)


def test_scores_stay_on_their_scale_and_differences_do_not() -> None:
    planted = Planted()
    planted.after = np.where(np.arange(QUESTIONS)[:, None] == 0, 40.0, np.full(SHAPE, 100.0))
    planted.given["steered"] = answers(planted.after, 75)
    found = planted.summary()
    assert mean_interval(planted.after).upper > found["trait_score"]["upper"] == 100
    assert found["trait_score"]["value"] == close(95)[0]
    assert found["trait_score"]["lower"] == close(mean_interval(planted.after).lower)[0]
    assert found["delta"]["upper"] <= 100
    idle = Planted(rise=0.0).summary()
    assert idle["delta"]["lower"] < 0


def test_nothing_feasible_leaves_the_baseline_and_what_prompting_reaches() -> None:
    planted = Planted()
    given = {name: planted.given[name] for name in ("baseline", *planted.prompted)}
    found = summary({"best": None}, [], given, {}, LADDER, TERMS)
    assert found["status"] == "nothing feasible"
    assert found["prompted"]["delta"]["value"] > 60
    kept = ("status", "baseline", "baseline_coherence", "missing", "prompted")
    assert all(value is None for name, value in found.items() if name not in kept)
    assert set(found) == set(planted.summary())


def test_steps_rise_and_hold_the_chosen_strength() -> None:
    steps = steps_of(BEST, (0.4, 1.25))
    assert [step.name for step in steps] == ["frontier-0.2", "steered", "frontier-0.625"]
    assert [step.coefficient for step in steps] == [1.2, 3.0, 3.75]
