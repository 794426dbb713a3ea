"""The sentences of the report follow the numbers, whatever these are."""

from traitsteer.maths.permutation import rank_p_value
from traitsteer.words.evidence_findings import (
    arms_differ,
    beats_nulls,
    cells_told,
    factor_sentences,
    luck,
)
from traitsteer.words.factor_findings import explanation
from traitsteer.words.findings import (
    MISSING,
    bounds,
    lead,
    nothing_feasible,
    peak,
    signed,
    verdict,
    verdict_among_traits,
)


def _between(value, lower, upper):
    return {"value": value, "lower": lower, "upper": upper, "n": 20}


def result(delta, random):
    return {
        "arm": "natural",
        "delta": _between(delta, delta - 5, delta + 5),
        "random": _between(random, random - 2, random + 2),
        "random_each": [{"delta": 0.0}, {"delta": 2.0 * random}],
        "coherence": _between(75.0, 72.0, 78.0),
        "coherence_at_worst": 75.0,
    }


def test_the_lead_follows_the_data():
    strong = lead({"calm": {"natural": result(60, 1)}}, [], 70)
    assert "in 1 of 1 combinations" in strong[0]
    assert not any("fell below" in sentence for sentence in strong)
    # A control: a vector that does no more than a random one is not said to work, be it that all
    # of them do as much, or one.
    for weak in (result(4, 3), result(60, 31)):
        assert "in 0 of 1 combinations" in lead({"calm": {"natural": weak}}, [], 70)[0]
    sunk = lead({"calm": {"natural": result(60, 1)}}, [], 76)
    assert sunk[2].endswith("fell below the floor of 76: calm (natural, 75.0).")


def test_a_vector_that_lowered_the_trait_did_not_raise_it():
    raised = lead({"calm": {"natural": result(60, 1)}}, [], 70)[1]
    assert raised.startswith("Natural vectors raised it by +60.0 points")
    for low in (-10, 0):
        arms = {"calm": {"natural": result(low, 1)}, "dull": {"natural": result(60, 1)}}
        said = lead(arms, [], 70)[1]
        assert said.startswith(f"Natural vectors moved it by {signed(low)} to +60.0 points")


def test_a_verdict_blames_the_traits_only_where_they_are_to_blame():
    cell = {"difference": _between(-18, -36, -1)}
    said = [
        verdict_among_traits(cell | {"p_value": own, "p_adjusted": adjusted}, 0.95)
        for own, adjusted in ((0.01, 0.03), (0.03, 0.09), (0.09, 0.27), (0.09, 0.09))
    ]
    unsure = "the interval leaves 0 out, the permutation test does not"
    assert said == ["less", "less by itself, not among the traits", unsure, unsure]
    held = {"difference": _between(-18, -36, 1), "p_value": 0.04, "p_adjusted": 0.12}
    assert verdict_among_traits(held, 0.95) == "not distinguishable"


def test_whether_the_arms_differ_is_read_from_the_difference_alone():
    def said(difference, percent):
        cell = {"difference": difference, "natural_percent": percent}
        cell |= {"p_value": 0.02, "p_adjusted": 0.02}
        budgets = {"instruction": {"methods": ["probe"]}, "natural": {"methods": ["probe"]}}
        return arms_differ([{"trait": "calm", "like_for_like": []} | cell], budgets, 0.95)[0]

    # +60 beside an instruction delta of +1 (−3 to 5), whose percent has no bounds.
    clear = said(_between(59, 49, 69), _between(6000, None, None))
    assert "+59.0 points (49.0 to 69.0), more (p = 0.0200)" in clear
    assert "6000 % of instruction without bounds, since the instruction delta cannot" in clear
    # −20 beside −10 is no 200 % of anything.
    assert (
        "−10.0 points (−15.0 to −5.0), less (p = 0.0200), – % of instruction, whose delta is not "
        "above 0."
    ) in said(_between(-10, -15, -5), None)
    assert "(−1.0 to 5.0), not distinguishable" in said(_between(2, -1, 5), None)
    assert verdict(_between(2, None, None)) == "not distinguishable"
    assert arms_differ([], {}, 0.95) == []


def test_one_method_in_both_arms_is_told_before_the_best_of_unequally_many():
    best = {"difference": _between(1, -9, 9), "natural_percent": None, "p_adjusted": 0.9}
    alike = {"difference": _between(-18, -36, -1), "natural_percent": None}
    alike |= {"p_value": 0.03, "p_adjusted": 0.09}
    row = {"trait": "calm", "like_for_like": [alike | {"method": "mean_difference"}]} | best
    equal = {"instruction": {"methods": ["a"]}, "natural": {"methods": ["a"]}}
    more = equal | {"natural": {"methods": ["a", "b"]}}
    first, second, terms = arms_differ([row], more, 0.95)
    assert first.startswith("Natural minus instruction, the mean difference in both: calm −18.0")
    assert "less by itself, not among the traits (p = 0.0900)" in first
    assert "instruction from 1 and natural from 2" in second and "calm +1.0" in second
    assert "another draw of responses" in terms
    assert len(arms_differ([row], equal, 0.95)) == 2, "then the best of one method is that method"


def test_a_third_arm_changes_nothing_of_what_is_said_of_the_two_compared():
    best = {"difference": _between(1, -9, 9), "natural_percent": None, "p_adjusted": 0.9}
    row = {"trait": "calm", "like_for_like": [best | {"method": "mean_difference"}]} | best
    one, two = ({"methods": ["a", "b"][:count]} for count in (1, 2))
    for natural in (one, two):
        pair = {"instruction": one, "natural": natural}
        for third in (one, two):
            assert arms_differ([row], {"third": third} | pair, 0.95) == arms_differ(
                [row], pair, 0.95
            )


def test_arms_whose_feasible_methods_differ_are_told_at_their_best():
    """Each arm had both methods, and found a feasible setting for another one."""
    none = {"difference": None, "natural_percent": None, "p_value": None, "p_adjusted": None}
    best = {"difference": _between(12, 5, 19), "natural_percent": None}
    best |= {"p_value": 0.01, "p_adjusted": 0.02}
    alike = [none | {"method": name} for name in ("mean_difference", "probe")]
    both = {"methods": ["mean_difference", "probe"]}
    budgets = {"instruction": both, "natural": both}
    row = {"trait": "calm", "like_for_like": alike} | best
    assert list(cells_told(row, budgets)) == ["mean difference", "probe", "best of all"]
    *_, last, _ = arms_differ([row], budgets, 0.95)
    assert "best of all" in last and "calm +12.0 points (5.0 to 19.0), more" in last
    # Another trait of the study has a method in both arms, and nothing to add.
    told = [alike[0] | best, alike[1]]
    other = {"trait": "dull", "like_for_like": told} | best
    first, _, last, _ = arms_differ([other, row], budgets, 0.95)
    assert "dull +12.0" in first and "not computed for calm" in first
    assert "calm +12.0" in last and "dull" not in last
    nothing = {"trait": "calm", "like_for_like": alike} | none
    assert "best of all" not in cells_told(nothing, budgets)


def test_luck_is_what_the_largest_feasible_trial_lost():
    best = result(60, 1) | {"first_delta": 70.0, "selection_delta": 62.0}
    best["shrinkage"] = _between(2, -6, 10)
    said = luck({"calm": {"natural": best}})
    assert "was +70.0 on average" in said
    assert "10.0 points of the first were luck, came of other questions, or were given up" in said
    assert "0 of 1 choices lost more" in said and "from about 8.0 points on" in said
    assert luck({"calm": {"natural": best | {"first_delta": None}}}) is None


def test_a_coherence_that_may_lie_below_the_floor_is_said():
    wide = result(60, 1) | {"coherence": _between(75, 68, 82), "coherence_at_worst": 69.0}
    said = " ".join(lead({"calm": {"natural": wide}}, [], 70))
    assert "reaches below the floor for calm (natural, 75.0 (68.0 to 82.0))" in said
    assert "would lie below the floor for calm (natural, 69.0)" in said
    sure = result(60, 1) | {"coherence": _between(75, 72, 78), "coherence_at_worst": 75.0}
    assert "below" not in " ".join(lead({"calm": {"natural": sure}}, [], 70))


def _way(whole, parts, ahead, margin=2.0):
    """A decomposition with one margin for all; parts by factor, the largest first."""
    of = list(parts)[1]
    return {
        "from": {"arm": "asked", "method": "probe"},
        "to": {"arm": "told", "method": "mean_difference"},
        "whole": whole,
        "margin": margin,
        "parts": [{"factor": f, "part": part, "margin": margin} for f, part in parts.items()],
        "ahead": {"of": of, "by": ahead, "margin": margin},
    }


def test_a_factor_is_named_where_it_stands_out_and_else_the_reason_is_said():
    whole, first, second = _between(-9, -12, -6), _between(-8, -11, -5), _between(-1, -3, 1)
    lead = _between(7, 4, 10)
    parts = {"text": first, "source": second}
    clear = _way(whole, parts, lead)
    one = {"trait": "very_calm", "nothing_feasible": [], "decompositions": [clear]}
    head, said = factor_sentences({"traits": [one]})
    assert "a protocol and a budget of its own" in head
    assert said == (
        "Very calm: from asked (probe) to told (mean difference) delta changes by −9.0 (−12.0 to "
        "−6.0), and the part that stands out is that of text, −8.0 (−11.0 to −5.0)."
    )
    opposite = {"text": _between(9.8, 1.6, 17.4), "source": second}
    few, unknown = _between(1.5, None, None), _between(1.5, None, None) | {"n": 0}
    for way, reason in (
        (_way(_between(-7.4, -18.3, 2.2), parts, lead), "whole cannot be told from 0"),
        (_way(whole, parts, lead, margin=9.5), "may make the whole as large as 9.5"),
        (_way(whole, opposite, lead), "goes the other way"),
        (_way(whole, parts, lead, margin=8.5), "not even the largest part"),
        (_way(whole, {"text": _between(-8, -17, 1), "source": second}, lead), "not even the large"),
        (_way(whole, parts, _between(7, -1, 15)), "not clearly ahead of the next, that of source"),
        (_way(whole, parts, lead, margin=7.5), "not clearly ahead"),
        (_way(whole, parts, unknown), "not clearly ahead"),
        (_way(whole, parts, unknown, margin=None), "not clearly ahead"),
        (_way(whole, parts, few, margin=1.0), "not clearly ahead"),
    ):
        said = explanation(way)
        assert said.startswith("no factor can be named, since ") and reason in said
    # Without a margin, as with two factors, intervals decide; without an interval the margin.
    assert "stands out is that of text" in explanation(_way(whole, parts, lead, margin=None))
    unknown["value"] = 3
    assert "stands out is that of text" in explanation(_way(whole, parts, unknown))


def test_null_vectors_are_beaten_untold_or_ahead():
    def said(difference, *deltas):
        each = [{"delta": delta} for delta in deltas]
        rank = rank_p_value(60, deltas)
        family = {"difference": difference, "each": each, "p_value": rank}
        best = {"nulls": {"random": family}, "p_value": 0.01, "delta": _between(60, 50, 70)}
        return beats_nulls({"calm": {"natural": best}})

    beaten = said(_between(60, 50, 70), -3.0, -1.0)
    assert beaten.startswith("Every best vector beats its nulls")
    assert "null vector is −1.0 (random, calm, natural, whose own vector has +60.0)" in beaten
    # Its mean lies far below the vector, and one of it does more.
    one = said(_between(40, 30, 50), 0.0, 0.0, 80.0)
    assert one.startswith("Not every")
    assert "hold 1 of 3 with a delta as high as the vector's" in one
    assert "random vectors of calm (natural) cannot be told" in said(_between(1, -2, 4), 3.0)
    ahead = said(_between(-9, -12, -6), 14.0)
    assert "have a higher delta than the vector" in ahead and "cannot be told" not in ahead


def test_nothing_feasible_has_its_reason_from_the_trials():
    def trials(*statuses):
        return [{"status": status, "layer": 2, "feasible": False} for status in statuses]

    def said(tried, recounts=()):
        return nothing_feasible([{"trials": tried, "recounted": recounts}])

    assert said(trials("complete", "pruned")) == (
        "none of the 2 settings kept its coherence at the floor"
    )
    assert said(trials("failed", "failed")) == "each of the 2 settings lacked too many scores"
    assert said(trials("failed", "complete")).endswith("at the floor; 1 lacked too many scores")
    # The trials were feasible; none of them stood the recount.
    stood = said([t | {"feasible": True} for t in trials("complete")], trials("complete"))
    assert "settings that were recounted kept its coherence safely at the floor" in stood


def test_the_peak_says_what_the_ends_were():
    trials = [
        {"layer": 2, "status": "complete", "feasible": True, "delta": 40.0},
        {"layer": 5, "status": "failed", "feasible": False, "delta": None},
    ]
    said = peak({"layer": 2}, {"layers": 6, "trials": trials}, [0.6, 0.7, 0.9, 0.8, 0.8, 0.95])
    assert "+40.0 there, against nothing tried at layer 0 and no score at layer 5" in said
    assert "told 90 % of held-out responses apart, the most telling layer (5) 95 %" in said
    edge = peak({"layer": 2}, {"layers": 3, "trials": trials}, [0.9, 0.9, 0.9])
    assert "the last" in edge and "90 % of held-out responses apart, as many as any" in edge
    single = [trials[0] | {"layer": 0}]
    assert peak({"layer": 0}, {"layers": 1, "trials": single}, [0.9]) == (
        "layer 0 of 0 to 0, the only one. The search's best feasible delta was +40.0 there. The "
        "vector of that layer told 90 % of held-out responses apart."
    )


def test_numbers_are_written_with_true_signs():
    assert [signed(v) for v in (1.25, -1.24, 0.0, -0.04, None)] == [
        "+1.2", "−1.2", "0.0", "0.0", MISSING,
    ]  # fmt: skip
    assert bounds({"lower": -1.0, "upper": 2.0}) == "−1.0 to 2.0"
    assert bounds({"lower": None, "upper": 2.0}) == "at most 2.0"
