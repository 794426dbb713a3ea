"""The stage `voice` on a tiny random model, and what is said and drawn of its rows."""

import copy
from pathlib import Path
from typing import Any

import pytest
from tiny_study import Study, contents, up_to_fit

from traitsteer.experiment import voice as hearing
from traitsteer.stages import voice
from traitsteer.words import layout
from traitsteer.words.config import Config, parse
from traitsteer.words.errors import TraitsteerError
from traitsteer.words.voice_findings import voice_lead, voice_sentences, what_would_make_it_false
from traitsteer.world.figures.plot_style import inline_svg, style
from traitsteer.world.figures.voice_plots import voice as figure
from traitsteer.world.files import read_json, read_jsonl, write_json

SETTINGS = ("baseline", "instruction", "natural")


def interval(value: float, half: float = 2.0) -> dict[str, Any]:
    return {"value": value, "lower": value - half, "upper": value + half, "n": 20}


def evaluated(trait: str, arm: str, method: str, score: float | None) -> None:
    """What evaluate would have written: a frontier that rises to the score at strength 0.6."""
    found: dict[str, Any] = {
        "trait": trait, "arm": arm, "method": method,
        "protocol": read_json(layout.protocol(trait))["sha256"],
        "status": "feasible", "layer": 1,
        "strength": 0.6, "coefficient": 3.0, "baseline": interval(0.0),
        "selection_delta": score if method == "mean_difference" else 0.0,
    }  # fmt: skip
    if score is None:
        found |= {"status": "nothing feasible", "selection_delta": None}
    else:
        steps = [(0.2, score / 4), (0.4, score / 2), (0.6, score), (0.8, score)]
        found["trait_score"] = interval(score)
        found["frontier"] = [{"strength": s, "trait_score": interval(v)} for s, v in steps]
    write_json(layout.evaluation(trait, arm) / f"{method}.json", found)


def prepared(config: Config, natural: float | None = 40.0) -> None:
    for trait in config.study.traits:
        evaluated(trait, "instruction", "mean_difference", 80.0)
        evaluated(trait, "natural", "mean_difference", natural)
        evaluated(trait, "natural", "probe", natural)


def test_the_arms_are_paired_at_one_score_and_every_answer_is_on_record(
    study: Study,
) -> None:
    config = study(voice={"samples": 2, "pairs": 1, "window": 2})
    up_to_fit(config)
    prepared(config)
    voice.run(config)
    rows = read_json(layout.VOICE)
    assert [row["trait"] for row in rows] == ["evil", "sycophancy"]
    for row in rows:
        terms = read_json(layout.protocol(row["trait"]))["sha256"]
        assert (row["status"], row["protocol"]) == ("compared", terms)
        assert row["equality"]["target"] == 40
        assert row["arms"]["natural"]["strength"] == 0.6
        assert row["arms"]["natural"]["coefficient"] == pytest.approx(3.0)
        assert row["arms"]["instruction"]["strength"] == pytest.approx(0.4)
        assert row["arms"]["instruction"]["coefficient"] == pytest.approx(2.0)
        for name in ("naturalness", "words", "coherence"):
            assert row["measures"][name]["difference"]["n"] == 4
        counted = row["preference"]
        assert counted["won"] + counted["lost"] + counted["even"] == 4
        assert counted["first"]["value"] == 50
    answers = read_jsonl(layout.VOICE_ANSWERS)
    assert len(answers) == 2 * 3 * 4 * 2
    seeds = {
        s: [a["seed"] for a in answers if (a["trait"], a["setting"]) == ("evil", s)]
        for s in SETTINGS
    }
    assert seeds["baseline"] == seeds["instruction"] == seeds["natural"]
    assert len(set(seeds["natural"])) == 8


def test_a_missed_score_is_corrected_once_on_fresh_answers(
    fitted: Study,
    monkeypatch,
) -> None:
    config = fitted(voice={"samples": 1, "pairs": 1, "equal_within": 1e-9})
    prepared(config)
    shifted, calls = voice.paired_difference_interval, []

    def missed(*args: Any) -> Any:
        calls.append(args)
        return shifted({"0": [20.0], "1": [22.0]}, {"0": [0.0], "1": [0.0]}, 0.95)

    monkeypatch.setattr(voice, "paired_difference_interval", missed)
    monkeypatch.setattr(voice, "corrected", lambda arms, now, reached: arms)
    voice.run(config)
    [row] = read_json(layout.VOICE)
    assert row["equality"]["corrections"] == 1 and len(calls) == 2
    assert row["equality"]["verdict"] == "not reached"
    assert row["arms"]["instruction"]["strength"] == 0.6
    assert {a["sample"] for a in read_jsonl(layout.VOICE_ANSWERS)} == {1}


def test_a_killed_stage_goes_on_and_ends_with_the_same_files(
    fitted: Study,
    monkeypatch,
) -> None:
    whole = fitted("whole")
    prepared(whole)
    voice.run(whole)
    expected = contents(Path.cwd())

    broken = fitted("broken")
    prepared(broken)
    monkeypatch.setattr(hearing, "_AT_ONCE", 5)
    write, calls = hearing.write_json, []

    def interrupted(*args: Any) -> None:
        calls.append(args)
        if len(calls) == 4:
            raise KeyboardInterrupt
        write(*args)

    monkeypatch.setattr(hearing, "write_json", interrupted)
    with pytest.raises(KeyboardInterrupt):
        voice.run(broken)
    assert not layout.VOICE.exists()
    kept = {p: p.stat().st_mtime_ns for p in layout.CACHE.rglob("*.json")}
    assert len([p for p in kept if p.parent.name == "voice"]) == 3
    voice.run(broken)
    assert contents(Path.cwd()) == expected
    assert {p: p.stat().st_mtime_ns for p in kept} == kept, "asked again"


def test_nothing_feasible_and_a_trait_not_raised_are_results_with_a_name(
    fitted: Study,
) -> None:
    config = fitted()
    prepared(config, natural=None)
    voice.run(config)
    [row] = read_json(layout.VOICE)
    assert (row["status"], row["without"]) == ("nothing feasible", ["natural"])
    assert row["measures"] is row["preference"] is row["arms"] is row["equality"] is None
    assert read_jsonl(layout.VOICE_ANSWERS) == []
    [sentence] = voice_sentences(row, 0.95)
    assert "no feasible setting was found for natural" in sentence
    for method in ("mean_difference", "probe"):
        evaluated("evil", "natural", method, -1.0)
    voice.run(config)
    [row] = read_json(layout.VOICE)
    assert (row["status"], row["without"]) == ("trait not raised", ["natural"])
    assert "did not raise" in voice_sentences(row, 0.95)[0]
    assert "could not be compared" in voice_lead([row], 0.95)
    path = layout.evaluation("evil", "natural") / "probe.json"
    write_json(path, read_json(path) | {"protocol": "cd" * 32})
    with pytest.raises(TraitsteerError, match="of evil natural probe was made under protocol cd"):
        voice.run(config)


def test_a_study_of_one_arm_has_no_rows(study: Study) -> None:
    config = study(study={"arms": ["natural"], "texts": ["natural"]})
    voice.run(config)
    assert read_json(layout.VOICE) == []


def test_more_pairs_than_samples_are_refused(params: dict[str, Any]) -> None:
    params["voice"] |= {"samples": 2, "pairs": 3}
    with pytest.raises(TraitsteerError, match="voice: pairs is 3, expected at most samples = 2"):
        parse(params)


def row(trait: str, natural: float, preferred: float, verdict: str = "shown") -> dict[str, Any]:
    def measure(new: float, old: float, half: float = 2.0) -> dict[str, Any]:
        return {
            "baseline": interval(90.0), "instruction": interval(old), "natural": interval(new),
            "difference": interval(new - old, half), "p_value": 0.01, "missing": 0,
        }  # fmt: skip

    names = (*hearing.MEASURES,)
    setting = {"trait_score": interval(60.0), "coherence": interval(80.0), "strength": 0.5}
    return {
        "trait": trait, "status": "compared", "without": [],
        "arms": dict.fromkeys(SETTINGS, setting),
        "equality": {
            "target": 60.0, "difference": interval(1.0), "within": 5, "verdict": verdict,
            "corrections": 0,
        },
        "measures": {name: measure(5.0, 5.0) for name in names}
        | {"naturalness": measure(natural, 40.0), "repeated": None},
        "not_measured": {"repeated": "9 of 80 natural values are missing"},
        "preference": {
            "natural": interval(preferred, 8.0), "p_value": 0.01, "first": interval(52.0),
            "won": 40, "lost": 20, "even": 20, "missing": 3,
        },
    }  # fmt: skip


NONE = {"trait": "hallucination", "status": "nothing feasible", "without": ["natural"]}
NONE |= dict.fromkeys(("arms", "equality", "measures", "preference"))


def test_sentences_say_what_is_told_apart_and_what_is_not() -> None:
    rows = [row("evil", 70.0, 75.0), row("sycophancy", 41.0, 55.0), row("envy", 20.0, 30.0)]
    said = voice_lead([*rows, row("pride", 70.0, 75.0, "not reached"), NONE], 0.95)
    assert "found the natural answers more natural for evil (75 %, 67 to 83)" in said
    assert "found the instruction answers more natural for envy (30 %, 22 to 38)" in said
    assert "preferred neither arm for sycophancy (55 %, 47 to 63)" in said
    assert said.startswith("At equal trait score the judge ")
    assert "each trait taken alone" in said
    assert "taken alone" not in voice_lead(rows[:1], 0.95)
    unheard = rows[0] | {"preference": None}
    assert "too many of the judge's verdicts are missing" in voice_lead([unheard, NONE], 0.95)
    assert "could not be compared for any trait" in voice_lead([NONE], 0.95)
    near = row("pride", 70.0, 75.0, "near")
    assert voice_lead([near], 0.95).startswith("At near-equal trait score")
    assert voice_lead([*rows, near], 0.95).startswith("At equal or near-equal trait score")
    assert voice_lead([], 0.95) is None
    assert "pride" not in said and "hallucination" not in said
    text = " ".join(voice_sentences(rows[0], 0.95))
    assert "The share of repeated word sequences was not measured: 9 of 80 natural values" in text
    assert "equal within 5 points" in text
    assert (
        "won 75.0 % of the time (67.0 to 83.0; a tie counts half, 50 is no preference; 3 pairs"
        in text
    )
    assert "of the pairs it won 40 and lost 20, and 20 were even" in text
    assert "(difference +30.0, 28.0 to 32.0)" in text
    assert "5.0 against 5.0 % (difference 0.0, −2.0 to 2.0), not distinguishable" in text
    assert "In the counts of wording the arms were not distinguishable" in text
    louder = copy.deepcopy(rows[0])
    louder["measures"]["exclamations"]["difference"] = interval(4.0)
    louder["measures"]["coherence"]["difference"] = interval(-9.0)
    louder["measures"]["announced"]["difference"] = interval(-5.0)
    louder["equality"]["within"] = 2.5
    text = " ".join(voice_sentences(louder, 0.95))
    assert "exclamation marks for each 100 words (difference +4.0, 2.0 to 6.0)" in text
    assert "less coherent" in text and "equal within 2.5 points" in text
    assert "not distinguishable" not in text, "the arms name the trait unequally often"
    assert "won 52 % of the time" in what_would_make_it_false(rows)
    assert "not equal" in voice_sentences(row("pride", 70.0, 75.0, "not reached"), 0.95)[0]


def test_a_difference_that_its_permutation_test_does_not_tell_is_none() -> None:
    unsure = row("evil", 70.0, 100.0)
    for measure in unsure["measures"].values():
        if measure:
            measure["difference"], measure["p_value"] = interval(9.0), 0.25
    unsure["preference"] |= {"natural": interval(100.0), "p_value": 0.25}
    assert "preferred neither arm for evil" in voice_lead([unsure], 0.95)
    assert "found the natural answers more natural" in voice_lead([unsure], 0.7)
    text = " ".join(voice_sentences(unsure, 0.95))
    assert "more coherent" not in text and "In the counts of wording the arms were not" in text
    assert "as their own was 5.0 against 5.0 % (difference +9.0, 7.0 to 11.0), not dist" in text
    assert "more coherent" in " ".join(voice_sentences(unsure, 0.7))


def test_the_figure_draws_every_trait_and_repeats_itself() -> None:
    rows = [row("evil", 70.0, 75.0), NONE, row("sycophancy", 41.0, 55.0)]
    with style():
        drawn = [inline_svg(figure(rows), "voice") for _ in range(2)]
    assert drawn[0] == drawn[1]
    for text in ("evil", "sycophancy", "nothing feasible: natural", "no score", "unsteered"):
        assert text in drawn[0]
    assert "+30.0" in drawn[0] and "+25.0" in drawn[0]
