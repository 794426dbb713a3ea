"""The report: one page that stands alone, shows every number, hides nothing that is missing."""

import hashlib
import re
import shutil
from pathlib import Path

import pytest
from report_inputs import NOTHING, SHARP, configuration, write_study, write_terms
from report_page import Page

from traitsteer.stages import report, show
from traitsteer.words import layout
from traitsteer.words.findings import MISSING, bounds, number, signed
from traitsteer.words.results import best_of_arm
from traitsteer.world.files import read_json, read_jsonl, write_json, write_jsonl

TOLD = {"sycophancy": "less by itself, not among the traits"}
"""What is said of a difference between the arms, where it is not that it cannot be told."""


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A made-up study with its report; nothing in it may be changed."""
    folder = tmp_path_factory.mktemp("study")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        write_study(configuration())
        report.run(configuration())
    return folder


@pytest.fixture(scope="module")
def source(folder):
    return (folder / layout.REPORT).read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def page(source):
    return Page(source)


def test_it_needs_no_network(source, page):
    assert page.links and all(link.startswith("#") for link in page.links)
    assert not re.search(r"@import|url\((?!#)", source)
    assert "<link" not in source and "<script src" not in source
    assert len(source) < 6_000_000


def test_it_is_well_formed(page):
    assert page.open == []
    assert len(page.ids) == len(set(page.ids)), "an id stands twice, so a figure may point astray"
    local = {link[1:] for link in page.links}
    assert local <= set(page.ids)


def best_of(folder, trait, arm):
    rows = [read_json(folder / layout.evaluation(trait, arm) / f"{m}.json") for m in methods(arm)]
    return best_of_arm(rows)


def methods(arm):
    return configuration().arm(arm).methods


def shown(interval, unit="", form=signed):
    """The cell of an interval."""
    return f"{form(interval['value'])}{unit} {bounds(interval)}"


def test_table_1_holds_the_best_of_every_cell(folder, page):
    study = configuration().study
    rows = page.table("trait", "arm", "baseline points", "delta points", "p")
    assert [row[:2] for row in rows] == [[t, a] for t in study.traits for a in study.arms]
    for trait, arm, *cells in rows:
        best = best_of(folder, trait, arm)
        assert cells == [
            shown(best["baseline"], form=number),
            shown(best["delta"]),
            number(best["p_value"], 4),
            shown(best["random"]),
            shown(best["coherence"], form=number),
            str(best["delta"]["n"]),
            str(best["layer"]),
            number(best["strength"], 2),
            number(best["coefficient"], 2),
            best["method"].replace("_", " "),
            # Two attempts of report_inputs.py, and none in the other cells.
            "2" if (trait, arm) == ("evil", "natural") else MISSING,
        ]


def test_every_method_has_a_row(folder, page):
    results = read_json(folder / layout.COMPARISON)["results"]
    rows = page.table("trait", "arm", "method", "baseline", "trait score")
    assert len(rows) == len(results)
    assert len({row["baseline"] for row in results}) == len(results), "a cell may be another's"
    for row, cells in zip(results, rows, strict=True):
        path = folder / layout.evaluation(row["trait"], row["arm"]) / f"{row['method']}.json"
        found = read_json(path)
        assert cells[1:4] == [
            row["arm"],
            row["method"].replace("_", " "),
            shown(found["baseline"], form=number),
        ]
        assert cells[-1] == str(found["missing"])
        if (row["trait"], row["arm"], row["method"]) == NOTHING:
            assert cells[4:-1] == ["nothing feasible"]
            continue
        assert cells[4:-1] == [
            shown(found["trait_score"], form=number),
            shown(found["delta"]),
            shown(found["random"]),
            shown(found["coherence"], form=number),
            str(found["delta"]["n"]),
            str(found["layer"]),
            number(found["strength"], 2),
            number(found["coefficient"], 2),
        ]


def test_the_arms_are_compared_in_a_table(folder, page):
    rows = page.table("trait", "cells compared")
    expected = []
    for row in read_json(folder / layout.COMPARISON)["comparisons"]:
        for name, cell in (("best of all", row), ("mean difference", row["like_for_like"][0])):
            expected.append([
                row["trait"],
                name,
                shown(cell["natural_percent"], " %", number),
                f"{shown(cell['difference'])} {TOLD.get(row['trait'], 'not distinguishable')}",
                number(cell["p_adjusted"], 4),
                number(cell["cosine_best"], 2),
            ])  # fmt: skip
    assert rows == expected
    assert "unbounded" in rows[-1][2]


def test_every_trait_under_every_vector_is_on_the_page(folder, page):
    own = [row for row in read_json(folder / layout.CROSS) if row["at"] == "own"]
    for arm in configuration().study.arms:
        rows = page.table(arm, "evil scored")
        traits = configuration().study.traits
        assert [row[0] for row in rows] == [f"{trait} vector" for trait in traits]
        for vector, *cells in rows:
            assert cells == [
                f"{shown(r['delta'])} · coherence {number(r['coherence'], 0)}"
                for r in own
                if (f"{r['vector']} vector", r["arm"]) == (vector, arm)
            ]


def test_selection_and_report_stand_side_by_side(folder, page):
    rows = page.table("trait", "arm", "method", "trials feasible of all")
    [nothing] = [cells for cells in rows if len(cells) == 5]
    assert nothing[1:] == [
        *NOTHING[1:],
        "0 of 64",
        "nothing feasible: none of the 64 settings kept its coherence at the floor; 1 lacked too "
        "many scores",
    ]
    best = best_of(folder, "evil", "instruction")
    assert rows[0][4:] == [
        signed(best["first_delta"]),
        signed(best["selection_delta"]),
        shown(best["delta"]),
        shown(best["shrinkage"]),
    ]


def test_the_cards_show_intervals_and_the_random_vectors_of_each_arm(folder, source):
    card = Page(source[source.index('<section class="card">') : source.index("</section>")])
    text = " ".join(card.text.split())
    for arm in configuration().study.arms:
        best = best_of(folder, "evil", arm)
        said = f"{arm} {shown(best['delta'])}, n = 20 random {shown(best['random'])}, n = 20"
        assert said.replace(" ", "") in text.replace(" ", "")
    assert "−4.0 points (−10.0 to 2.0, n = 20), not distinguishable" in text
    assert "natural 83 % of instruction (75 to 92 %)" in text


def test_the_card_the_lead_and_the_terminal_say_one_thing_of_a_difference(folder, source, page):
    told = TOLD["sycophancy"]
    _, _, card, *_ = source.split('<section class="card">')
    assert f"−7.0 points (−13.0 to −1.0, n = 20), {told};" in " ".join(
        Page(card.partition("</section>")[0]).text.split()
    )
    assert f"sycophancy −7.0 points (−13.0 to −1.0), {told} (p = 0.9423)" in page.text
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        assert f"−7.0 (−13.0 to −1.0), {told}  " in show.table(configuration())


def test_columns_of_the_terminal_keep_their_places_under_a_long_verdict(folder, tmp_path):
    found = read_json(folder / layout.COMPARISON)
    difference = {"value": -7.0, "lower": -13.0, "upper": -1.0, "n": 20}
    found["comparisons"][0] |= {"difference": difference, "p_value": 0.0613, "p_adjusted": 0.1839}
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(tmp_path)
        write_json(layout.COMPARISON, found)
        lines = show.table(configuration()).splitlines()
    [head] = [n for n, line in enumerate(lines) if "cosine of the best vectors" in line]
    at = lines[head].index("cosine")
    rows = lines[head + 1 : head + 1 + len(found["comparisons"])]
    assert "(−13.0 to −1.0), the interval leaves 0 out, the permutation test does not  " in rows[0]
    assert {line[at - 2 :] for line in rows} == {"  0.46"}


def test_the_questions_are_answered(folder, page, source):
    for question in (
        "Does each vector beat its nulls?",
        "Is natural different from instruction?",
        "How much of the apparent best was luck?",
        "Which factor explains the difference?",
        "Do the arms sound different?",
    ):
        assert question in page.text
    assert "natural had 2 methods to choose from (instruction 1)" in page.text
    assert "was not run for this profile: make factorial" in page.text
    assert (
        "For hallucination the arms' voices were not compared: no feasible setting was found for "
        "natural."
    ) in page.text
    others = [row for row in read_json(folder / layout.CROSS) if row["at"] == "own"]
    most = max((r for r in others if r["vector"] != r["scored"]), key=_size)["delta"]
    assert f"on another trait is {signed(most['value'])} ({bounds(most)}) points" in page.text
    for row in read_json(folder / layout.PERPLEXITY):
        assert f"× {row['ratio']['value']:.2f}" in source


def _size(row):
    return abs(row["delta"]["value"])


def test_the_limit_is_stated(page):
    assert "no evidence for or against any claim about a real model" in page.text


def test_the_limit_is_that_of_the_models_and_of_the_judge_on_page_and_terminal(
    folder, tmp_path, monkeypatch
):
    shutil.copytree(folder, tmp_path, dirs_exist_ok=True)
    monkeypatch.chdir(tmp_path)
    # The words alone are looked at; drawing takes most of the time.
    monkeypatch.setattr(report, "_drawn", lambda figures: dict.fromkeys(figures, ""))
    config = configuration()
    endpoint = config.judge.model_copy(update={"kind": "openai"})
    own = {"models": owned(config)}
    comparison = read_json(layout.COMPARISON)
    by_endpoint = "no evidence for or against any claim about a real model"
    by_pocket = "own/base and own/instruct wrote measure no trait"
    for changes, limit in (
        ({"judge": endpoint}, by_endpoint),
        (own, by_pocket),
        (own | {"judge": endpoint}, None),
    ):
        changed = config.model_copy(update=changes)
        named = {which: getattr(changed.models, which).name for which in ("base", "instruct")}
        judge = {"kind": changed.judge.kind, "name": "any"}
        write_json(layout.COMPARISON, comparison | {"models": named, "judge": judge})
        report.run(changed)
        text = Page(layout.REPORT.read_text(encoding="utf-8")).text
        for told in (text, " ".join(show.table(changed).split())):
            for said in (by_endpoint, by_pocket):
                assert (said in told) == (said == limit)
            assert "the judge learned it too" not in told


def test_the_terminal_says_of_which_models_a_comparison_is(folder, monkeypatch):
    """The committed one is there before a study of one's own has run."""
    monkeypatch.chdir(folder)
    config = configuration()
    assert "params.yaml names" not in show.table(config)
    judge = config.judge.model_copy(update={"kind": "openai"})
    told = show.table(config.model_copy(update={"models": owned(config), "judge": judge}))
    said = " ".join(told.split())
    assert (
        "This is a comparison of models/pocket/base, models/pocket/instruct and a judge of kind "
        "pocket, and params.yaml names own/base, own/instruct and a judge of kind openai: run "
        "`make repro` for theirs."
    ) in said
    assert "no evidence for or against any claim about a real model" in said
    told = show.table(config.model_copy(update={"judge": judge}))
    assert "a judge of kind openai: run" in " ".join(told.split())
    assert "the judge learned it too" in " ".join(told.split()), "that of the scores, not the next"


def test_nothing_feasible_and_missing_scores_are_named(folder, page, source):
    trait, arm, method = NOTHING
    found = read_json(folder / layout.search(trait, arm) / f"{method}.json")
    assert found["best"] is None
    assert "nothing feasible" in page.text
    title = rf">{arm}, {method}<(?:[^<>]*[<>]){{1,8}}\s*nothing feasible<"
    assert re.search(title, source), "the heatmap does not say so"
    assert f"trait {MISSING}" in page.text and f"coherence {MISSING}" in page.text
    assert "None" not in page.text and "nan" not in page.text.split()


def test_answers_are_escaped(source, page):
    assert SHARP not in source
    assert SHARP in page.text


def test_the_same_files_give_the_same_bytes(folder, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write_study(configuration())
    report.run(configuration())
    assert _hashes(tmp_path / "reports") == _hashes(folder / "reports")
    assert {"forest.png", "cosine.png", "heatmap-evil.png"} <= set(_hashes(tmp_path / "reports"))


def test_a_trait_with_nothing_feasible_in_any_arm_still_has_its_page(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    config = configuration()
    write_study(config)
    for arm in config.study.arms:
        for method in config.arm(arm).methods:
            _make_infeasible("evil", arm, method)
    write_json(layout.CROSS, [r for r in read_json(layout.CROSS) if r["vector"] != "evil"])
    comparison = read_json(layout.COMPARISON)
    names = (
        "natural_percent",
        "difference",
        "p_value",
        "p_adjusted",
        "cosine_best",
        "cosine_by_layer",
    )
    nothing = dict.fromkeys(names) | {"like_for_like": []}
    comparison["comparisons"][0] |= nothing
    write_json(layout.COMPARISON, comparison | {"profile": "mine"})
    report.run(config)
    page = layout.REPORT.read_text(encoding="utf-8")
    text = Page(page).text
    for name in ("forest", "nulls", "frontiers", "shrinkage"):
        drawn = page.split(f'"caption-{name}">')[1].split("</svg>")[0]
        assert "nothing feasible" in drawn, f"evil is missing in {name}"
    assert "Nothing feasible was found for evil (instruction) and evil (natural)." in text
    assert "in 4 of 6 combinations" in text
    assert "none of the 64 settings kept its coherence at the floor; 1 lacked too many" in text
    assert "no evidence for or against" in text, "another profile's name with the pocket judge"


def owned(config):
    """The models section with models of one's own."""
    models = config.models
    return models.model_copy(
        update={
            which: getattr(models, which).model_copy(update={"name": f"own/{which}"})
            for which in ("base", "instruct")
        }
    )


def test_what_a_study_does_not_pose_is_left_out(repository, tmp_path, monkeypatch):
    """Arms of one's own are not compared, and own models under an own judge have no such limit,
    nor does the committed study of the pocket pair speak of them, whatever the profile's name.
    """
    monkeypatch.chdir(tmp_path)
    # The words alone are looked at; drawing takes most of the time.
    monkeypatch.setattr(report, "_drawn", lambda figures: dict.fromkeys(figures, ""))
    config = configuration()
    evaluate, nulls = config.evaluate, config.evaluate.nulls.model_copy(update={"shuffled": 199})
    config = config.model_copy(
        update={
            "study": config.study.model_copy(update={"traits": ("evil",)}),
            "models": owned(config),
            "judge": config.judge.model_copy(update={"kind": "local"}),
            "evaluate": evaluate.model_copy(update={"nulls": nulls, "confidence": 0.995}),
        }
    )
    write_study(config)
    write_json(layout.COMPARISON, read_json(layout.COMPARISON) | {"comparisons": []})
    write_json(layout.VOICE, [])
    shutil.copy(repository / layout.FACTORIAL, layout.FACTORIAL)
    own = {which: {"name": f"own/{which}", "digest": "12" * 32} for which in ("base", "instruct")}
    write_terms(config, own | {"judge": {"kind": "local"}, "coherence_floor": 70.0})
    report.run(config)
    source = layout.REPORT.read_text(encoding="utf-8")
    text = Page(source).text
    assert "How much of the apparent best was luck?" in text
    assert "Is natural different" not in text and "Do the arms sound different?" not in text
    assert 'id="voice"' not in source and 'href="#voice"' not in source
    assert "Natural − instruction" not in text and not re.search(r"<dd>\s*</dd>", source)
    assert "no evidence for or against" not in text
    since = 'has "models/pocket/base" for base.name and this study has "own/base"'
    assert f"It is not shown, since reports/factorial.json {since}:" in text
    assert f"which is not shown, since reports/factorial.json {since}: make factorial." in text
    assert "In the factorial study" not in text and 'id="caption-parts"' not in source
    assert "are 99.5 % intervals" in text and "cannot be less than 0.005" in text


def test_the_tokens_that_were_saved_are_said(page):
    # Nine searches of 64 settings, one of each given up, with the tokens of report_inputs.py.
    said = (
        "The searches tried 576 settings and generated 270,000 tokens. 9 settings were given up "
        "after the first questions, which saved about 10,800 tokens"
    )
    assert said in page.text
    assert "repeated themselves saved up to 315." in page.text


def _make_infeasible(trait: str, arm: str, method: str) -> None:
    path = layout.search(trait, arm) / f"{method}.json"
    found = read_json(path)
    trials = [trial | {"feasible": False} for trial in found["trials"]]
    write_json(path, found | {"trials": trials, "recounted": [], "best": None})
    path = layout.evaluation(trait, arm) / f"{method}.json"
    kept = ("trait", "arm", "method", "protocol", "baseline", "baseline_coherence", "missing")
    result = {name: value if name in kept else None for name, value in read_json(path).items()}
    write_json(path, result | {"status": "nothing feasible"})
    path = layout.evaluation(trait, arm) / f"{method}.answers.jsonl"
    write_jsonl(path, [row for row in read_jsonl(path) if row["setting"] == "baseline"])


def _hashes(folder: Path) -> dict[str, str]:
    files = [path for path in folder.rglob("*.*") if path.suffix in (".html", ".png")]
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in files}
