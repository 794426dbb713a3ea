"""The frozen protocol."""

import json
import re
from dataclasses import replace
from pathlib import Path

import pytest

from traitsteer.experiment import protocols
from traitsteer.stages import protocol as stage
from traitsteer.stages.compare import _protocols
from traitsteer.words import layout
from traitsteer.words.config import Config, load
from traitsteer.words.errors import TraitsteerError
from traitsteer.words.evidence_findings import unequal_terms
from traitsteer.words.protocol import (
    common_terms,
    extraction_terms,
    first_difference,
    protocol_terms,
    refuse_difference,
    refuse_few_questions,
    refuse_repeats,
)
from traitsteer.world.files import digest, read_json, write_json
from traitsteer.world.model import language_model, model_names
from traitsteer.world.trait_folder import read_trait

JUDGE = {"kind": "pocket", "name": "judge", "digest": "d"}


def changed(config: Config, section: str, **change: object) -> Config:
    return config.model_copy(update={section: getattr(config, section).model_copy(update=change)})


@pytest.fixture
def config(repository, monkeypatch) -> Config:
    monkeypatch.chdir(repository)
    return load()


def test_the_hash_follows_its_terms_and_nothing_else(config) -> None:
    trait = read_trait(layout.Path("data/pocket/traits/evil"))
    terms = protocol_terms(config, trait, JUDGE, "model", ["Why?"])
    assert digest(terms) == digest(dict(reversed(terms.items())))
    for other in (
        protocol_terms(config, trait, JUDGE | {"digest": "e"}, "model", ["Why?"]),
        protocol_terms(config, trait, JUDGE, "another", ["Why?"]),
        protocol_terms(config, trait, JUDGE, "model", ["Who?"]),
        *(
            protocol_terms(changed(config, section, **change), trait, JUDGE, "model", ["Why?"])
            for section, change in (
                ("search", {"trials": 99}),
                ("answers", {"temperature": 0.1}),
                ("answers", {"steered": "response"}),
                ("study", {"coherence_floor": 60.0}),
                ("evaluate", {"samples": 9}),
            )
        ),
    ):
        assert digest(other) != digest(terms)
    # How a vector is made is no part of how it is scored, but has a record of its own.
    elsewhere = changed(config, "elicit", samples=9)
    assert protocol_terms(elsewhere, trait, JUDGE, "model", ["Why?"]) == terms
    digests = {"base": "b", "instruct": "i"}
    vetted = extraction_terms(config, trait, JUDGE, digests)
    assert extraction_terms(elsewhere, trait, JUDGE, digests) != vetted
    assert extraction_terms(config, trait, JUDGE, digests | {"base": "c"}) != vetted


def test_the_first_field_that_differs_is_named() -> None:
    one = {"a": 1, "b": {"c": [1, 2], "d": 3}, "e": 5}
    assert first_difference(one, json.loads(json.dumps(one))) is None
    assert first_difference(one, one | {"b": {"c": [1, 9], "d": 4}}) == ("b.c[1]", 2, 9)
    assert first_difference(one, one | {"f": 6}) == ("f", None, 6)
    assert first_difference(one, {"a": 1, "b": one["b"]}) == ("e", 5, None)
    with pytest.raises(TraitsteerError, match=r"x and y .* b\.d is 3 against 4"):
        refuse_difference(one, one | {"b": {"c": [1, 2], "d": 4}}, ("x", "y"))


def test_the_digest_without_loading_is_that_of_the_loaded_model(config) -> None:
    name = config.models.instruct.name
    assert (
        model_names.digest_of(name, None)
        == language_model.load(name, device="cpu", chat=True).digest
    )


def test_terms_that_changed_after_they_were_written_stop_the_stage(config, tmp_path) -> None:
    here = layout.Path.cwd()
    trait = read_trait(here / "data/pocket/traits/evil")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(layout, "protocol", lambda trait: tmp_path / "protocol.json")
        patch.setattr(layout, "extraction_protocol", lambda trait: tmp_path / "extraction.json")
        stage.run(config, "evil")
        written = read_json(tmp_path / "protocol.json")
        assert protocols.frozen_protocol(config, trait) == written["sha256"]
        assert written["terms"]["questions"]["report"] == list(trait.report)
        with pytest.raises(TraitsteerError, match=r"search\.trials is 48 against 47"):
            protocols.frozen_protocol(changed(config, "search", trials=47), trait)
        with pytest.raises(TraitsteerError, match=r"elicit\.samples is 2 against 5"):
            protocols.frozen_extraction(changed(config, "elicit", samples=5), trait)
        endpoint = changed(config, "judge", kind="openai", name=None)
        patch.setenv("OPENAI_MODEL", "one")
        stage.run(endpoint, "evil")
        patch.setenv("OPENAI_MODEL", "two")
        advice = r'judge\.name is "one" against "two".* run `dvc repro`'
        with pytest.raises(TraitsteerError, match=advice):
            protocols.frozen_protocol(endpoint, trait)
        stage.run(config, "evil")
        written["terms"]["coherence_floor"] = 10
        write_json(tmp_path / "protocol.json", written)
        with pytest.raises(TraitsteerError, match="changed after it was written"):
            protocols.frozen_protocol(config, trait)


def _result(trait: str, arm: str, terms: dict, carried: str | None = None) -> list[dict]:
    sha = digest(terms)
    write_json(layout.evaluation(trait, arm) / "protocol.json", {"sha256": sha, "terms": terms})
    return [{"method": "probe", "protocol": carried or sha}]


def test_results_of_different_protocols_share_no_table(config, tmp_path, monkeypatch) -> None:
    traits = {
        name: protocol_terms(
            config, read_trait(layout.Path(f"data/pocket/traits/{name}").resolve()), JUDGE, "m", []
        )
        for name in ("evil", "sycophancy")
    }
    assert common_terms(traits["evil"]) == common_terms(traits["sycophancy"])
    monkeypatch.chdir(tmp_path)
    cells = [(trait, arm) for trait in traits for arm in ("instruction", "natural")]
    results = {(t, a): _result(t, a, traits[t]) for t, a in cells}
    digests, shared = _protocols(results)
    assert digests == {t: digest(terms) for t, terms in traits.items()}
    assert shared == common_terms(traits["evil"])

    other = traits["evil"] | {"coherence_floor": 50.0}
    mixed = results | {("evil", "natural"): _result("evil", "natural", other)}
    with pytest.raises(TraitsteerError, match=r"coherence_floor is 70\.0 against 50\.0"):
        _protocols(mixed)
    both = mixed | {("evil", "instruction"): _result("evil", "instruction", other)}
    with pytest.raises(TraitsteerError, match=r"evil and sycophancy .* coherence_floor is 50"):
        _protocols(both)
    forged = results | {("evil", "natural"): _result("evil", "natural", other, "f" * 64)}
    with pytest.raises(TraitsteerError, match="carries protocol ffff"):
        _protocols({("evil", "natural"): forged["evil", "natural"]})


def test_question_sets_that_share_a_question_stop_the_study(config) -> None:
    trait = read_trait(layout.Path("data/pocket/traits/evil"))
    refuse_repeats(trait)
    copied = replace(trait, report=(*trait.report[1:], trait.selection[3].upper()))
    with pytest.raises(TraitsteerError, match=r"stands in selection\.txt and in report\.txt"):
        refuse_repeats(copied)
    for name in ("extraction", "selection", "report", "scenarios", "system_prompts"):
        found = getattr(trait, name)
        twice = replace(trait, **{name: (*found, found[0])})
        with pytest.raises(TraitsteerError, match=rf"stands twice in {name}\.txt"):
            refuse_repeats(twice)
    question = trait.report[0]
    again = replace(trait, report=(*trait.report, f" {question.upper()}"))
    for name in ("scenarios", "system_prompts"):
        first, *others = getattr(trait, name)
        alike = replace(first, negative=f"{first.positive}!")
        with pytest.raises(TraitsteerError, match=rf"both sides of a pair in {name}\.txt"):
            refuse_repeats(replace(trait, **{name: (alike, *others)}))
        both = replace(others[2], negative=first.positive.upper())
        with pytest.raises(TraitsteerError, match=rf"positive side of one pair in {name}\.txt and"):
            refuse_repeats(replace(trait, **{name: (first, *others[:2], both, *others[3:])}))
        shared = tuple(replace(pair, negative=first.negative) for pair in (first, *others))
        refuse_repeats(replace(trait, **{name: shared}))
    with pytest.raises(TraitsteerError, match=r"stands twice in report\.txt"):
        refuse_repeats(again)


def test_a_question_set_that_tells_no_error_is_refused(config: Config, monkeypatch) -> None:
    """With one selection question nothing was chosen, and all settings were called incoherent."""
    trait = read_trait(Path(config.study.trait_folder, "evil"))
    refuse_few_questions(trait, 1.0)
    for name, margin in (("selection", 0.5), ("report", 0.0)):
        few = replace(trait, **{name: getattr(trait, name)[:1]})
        with pytest.raises(
            TraitsteerError, match=rf"evil: {name}\.txt holds 1 question, expected 2"
        ):
            refuse_few_questions(few, margin)
        refuse_few_questions(replace(trait, **{name: getattr(trait, name)[:2]}), margin)
    few = replace(trait, selection=trait.selection[:1])
    refuse_few_questions(few, 0.0)
    assert config.search.margin > 0
    monkeypatch.setattr(stage, "trait_of", lambda *_: few)
    with pytest.raises(TraitsteerError, match=r"search\.margin standard errors above the"):
        stage.run(config, "evil")


def test_unequal_terms_are_said() -> None:
    budgets = {"instruction": {"methods": ["a"]}, "natural": {"methods": ["a", "b"]}}
    said = unequal_terms(budgets)
    assert said is not None and "natural had 2 methods" in said and "instruction 1" in said
    assert "so that its best of all is picked" in said
    assert unequal_terms({arm: {"methods": ["a"]} for arm in budgets}) is None
    more = unequal_terms(budgets | {"third": {"methods": ["a", "b"]}})
    assert more is not None
    assert "natural and third had 2 methods to choose from (instruction 1), so that their" in more


def test_every_known_fault_has_a_test(repository) -> None:
    rows = re.findall(r"\| `(test_\w+)` \|", (repository / "docs/evidence.md").read_text())
    written = "".join(path.read_text() for path in (repository / "tests").glob("test_*.py"))
    assert len(rows) == 13
    for name in rows:
        assert f"def {name}(" in written, name
