"""The report: one page that stands alone, shows every number, hides nothing that is missing."""

import hashlib
import re
from html.parser import HTMLParser
from pathlib import Path

import pytest
from report_inputs import NOTHING, SHARP, configuration, write_study

from traitsteer.stages import report
from traitsteer.words import layout
from traitsteer.words.findings import MISSING, bounds, lead, number, parity, signed
from traitsteer.world.files import read_json, read_jsonl, write_json, write_jsonl


class Page(HTMLParser):
    """The visible text of a page, its links, and whether its tags close in order."""

    VOID = frozenset({"meta", "br", "link", "img", "hr", "input"})

    def __init__(self, source: str) -> None:
        super().__init__()
        self.text, self.links, self.ids, self.open = "", [], [], []
        self.feed(source)

    def handle_starttag(self, tag, attrs):
        self.links += [v for k, v in attrs if k in ("src", "href", "xlink:href", "action", "data")]
        self.ids += [v for k, v in attrs if k == "id"]
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.handle_starttag(tag, attrs)
        self.handle_endtag(tag)

    def handle_endtag(self, tag):
        if tag not in self.VOID:
            assert self.open.pop() == tag, f"</{tag}> closes another element"

    def handle_data(self, data):
        if not {"style", "script", "svg"} & set(self.open):
            self.text += data


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


def test_every_result_is_on_the_page(folder, page):
    comparison = read_json(folder / layout.COMPARISON)
    for row in comparison["results"]:
        assert number(row["baseline"]) in page.text
        if row["delta"] is None:
            continue
        for interval in (row["delta"], row["random"]):
            assert signed(interval["value"]) in page.text
            assert bounds(interval) in page.text
        assert number(row["coherence"]["value"]) in page.text
        assert number(row["trait_score"]) in page.text
        assert number(row["strength"], 2) in page.text
        assert number(row["coefficient"], 2) in page.text
    for row in comparison["comparisons"]:
        assert f"{number(row['natural_percent']['value'])} %" in page.text
        assert number(row["cosine_best"], 2) in page.text
    own = [row for row in read_json(folder / layout.CROSS) if row["at"] == "own"]
    for row in own:
        assert signed(row["delta"]["value"]) in page.text
    assert comparison["protocol"][:12] in page.text


def test_the_five_questions_are_answered(folder, page):
    for question in (
        "Does each vector beat its nulls?",
        "Is natural different from instruction?",
        "How much of the apparent best was luck?",
        "Which factor explains the difference?",
        "Do the arms sound different?",
    ):
        assert question in page.text
    assert "0.2137" in page.text and "0.3141" in page.text, "best of all, and like for like"
    assert "natural had 2 methods to choose from (instruction 1)" in page.text
    assert re.search(r"probe\s+2\s", page.text) or re.search(r"difference\s+2\s", page.text)
    assert "was not run for this profile: make factorial" in page.text
    for row in read_json(folder / layout.PERPLEXITY):
        assert number(row["ratio"]["value"], 1) in page.text or row["ratio"]["value"] < 1.05
    assert "no feasible setting was found for natural" in page.text


def test_the_limit_is_stated(page):
    assert "no evidence for or against any claim about a real model" in page.text


def test_nothing_feasible_and_missing_scores_are_named(folder, page, source):
    trait, arm, method = NOTHING
    found = read_json(folder / layout.search(trait, arm) / f"{method}.json")
    assert found["best"] is None
    assert "nothing feasible" in page.text
    assert f"{arm}, {method}: nothing feasible" in source
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
    names = ("natural_percent", "difference", "p_value", "cosine_best", "cosine_by_layer")
    nothing = dict.fromkeys(names) | {"like_for_like": []}
    comparison["comparisons"][0] |= nothing
    write_json(layout.COMPARISON, comparison | {"profile": "llama-3.1-8b"})
    report.run(config)
    text = Page(layout.REPORT.read_text(encoding="utf-8")).text
    assert "Nothing feasible was found for evil (instruction) and evil (natural)." in text
    assert "in 4 of 6 combinations" in text
    assert "no evidence for or against" not in text, "the limit is the pocket profile's alone"


def test_the_lead_follows_the_data():
    def result(delta, random):
        return {
            "arm": "natural",
            "delta": {"value": delta, "lower": delta - 5, "upper": delta + 5, "n": 20},
            "random": {"value": random, "lower": random - 2, "upper": random + 2, "n": 20},
            "coherence": {"value": 75.0, "lower": 72.0, "upper": 78.0, "n": 20},
        }

    ratio = {"value": 80.0, "lower": 70.0, "upper": 90.0, "n": 20}
    strong = lead({"calm": {"natural": result(60, 1)}}, {"calm": ratio}, [])
    assert "in 1 of 1 combinations" in strong[0]
    assert any("80 % of the instruction" in sentence for sentence in strong)
    # A control: a vector that does no more than a random one is not said to work.
    weak = lead({"calm": {"natural": result(4, 3)}}, {"calm": None}, [])
    assert "in 0 of 1 combinations" in weak[0]


def test_the_tokens_that_were_saved_are_said(page):
    # Nine searches of 64 settings, one of each given up, with the tokens of report_inputs.py.
    said = (
        "The searches tried 576 settings and generated 270,000 tokens. 9 settings were given up "
        "after the first questions, which saved about 10,800 tokens"
    )
    assert said in page.text
    assert "repeated themselves saved up to 315." in page.text


def test_parity_needs_an_interval_that_holds_100():
    assert parity({"value": 90, "lower": 80, "upper": 101, "n": 20})
    assert parity({"value": 90, "lower": None, "upper": None, "n": 20})
    assert not parity({"value": 90, "lower": 80, "upper": 99, "n": 20})


def test_numbers_are_written_with_true_signs():
    assert [signed(v) for v in (1.25, -1.24, 0.0, -0.04, None)] == [
        "+1.2", "−1.2", "0.0", "0.0", MISSING,
    ]  # fmt: skip
    assert bounds({"lower": -1.0, "upper": 2.0}) == "−1.0 to 2.0"
    assert bounds({"lower": None, "upper": 2.0}) == "at most 2.0"


def _make_infeasible(trait: str, arm: str, method: str) -> None:
    path = layout.search(trait, arm) / f"{method}.json"
    found = read_json(path)
    trials = [trial | {"feasible": False} for trial in found["trials"]]
    write_json(path, found | {"trials": trials, "confirmed": [], "best": None})
    path = layout.evaluation(trait, arm) / f"{method}.json"
    kept = ("trait", "arm", "method", "protocol", "baseline", "baseline_coherence", "missing")
    result = {name: value if name in kept else None for name, value in read_json(path).items()}
    write_json(path, result | {"status": "nothing feasible"})
    path = layout.evaluation(trait, arm) / f"{method}.answers.jsonl"
    write_jsonl(path, [row for row in read_jsonl(path) if row["setting"] == "baseline"])


def _hashes(folder: Path) -> dict[str, str]:
    files = [path for path in folder.rglob("*.*") if path.suffix in (".html", ".png")]
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in files}
