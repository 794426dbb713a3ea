"""Responses and verdicts that were cut short, doubled or made for something else are refused, and
responses too short for an arm's position are left out and counted.
"""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from tiny_study import Study

from traitsteer.engine.rows import Batching, Sampling
from traitsteer.experiment.elicitation import planned
from traitsteer.experiment.responses import Seeded, responses_to
from traitsteer.stages import cache, check, elicit, fit, protocol, vet
from traitsteer.words import layout
from traitsteer.words.config import Config, parse
from traitsteer.words.errors import TraitsteerError
from traitsteer.world import tensors
from traitsteer.world.files import read_json, read_jsonl, write_json, write_jsonl
from traitsteer.world.model.language_model import LanguageModel
from traitsteer.world.trait_folder import trait_of, write_trait

Lines = list[dict[str, Any]]
Spoil = Callable[[Lines], Lines]
RESPONSES, VERDICTS = (lay("evil", "natural") for lay in (layout.responses, layout.verdicts))


@pytest.fixture
def vetted(study: Study) -> Config:
    """A study whose natural responses are there with their verdicts."""
    config = study()
    protocol.run(config, "evil")
    elicit.run(config, "evil", "natural")
    vet.run(config, "evil", "natural")
    return config


def changed(config: Config, section: str, **keys: object) -> Config:
    values = config.model_dump(mode="json")
    values[section] |= keys
    return parse(values)


def at(config: Config, position: str) -> Config:
    return changed(
        config, "arms", natural=config.arm("natural").model_dump() | {"position": position}
    )


def spoilt(path: Path, spoil: Spoil) -> None:
    write_jsonl(path, spoil(read_jsonl(path)))


def other_ids(lines: Lines) -> Lines:
    return [lines[0] | {"response_ids": [5, 6, 7]}, *lines[1:]]


@pytest.mark.parametrize(
    ("spoil", "sentence"),
    [
        (lambda lines: [], "is empty; run `traitsteer elicit evil natural`"),
        (lambda lines: lines[:5], r"holds 5 responses, expected the 16 .*; run `traitsteer elicit"),
        (lambda lines: [*lines, lines[3]], "holds evil-natural-0001-negative-0 twice; run `trait"),
        (lambda lines: [*lines, lines[3] | {"id": "x"}], "holds 17 responses, expected the 16"),
        (
            lambda lines: [lines[0] | {"seed": 1}, *lines[1:]],
            "evil-natural-0000-positive-0 has another",
        ),
    ],
)
def test_vetting_takes_the_responses_that_are_planned(
    vetted: Config, monkeypatch, spoil: Spoil, sentence: str
) -> None:
    verdicts = VERDICTS.read_bytes()
    spoilt(RESPONSES, spoil)
    monkeypatch.setattr(vet, "open_judge", None)
    with pytest.raises(TraitsteerError, match=f"^{RESPONSES}.* {sentence}"):
        vet.run(vetted, "evil", "natural")
    assert VERDICTS.read_bytes() == verdicts


def test_vetting_refuses_responses_of_other_parameters_or_scenarios(vetted: Config) -> None:
    other = changed(vetted, "elicit", samples=2)
    protocol.run(other, "evil")
    with pytest.raises(TraitsteerError, match="holds 16 responses, expected the 32"):
        vet.run(other, "evil", "natural")
    protocol.run(vetted, "evil")
    scenarios = Path("traits/evil/scenarios.txt")
    first = trait_of(vetted, "evil").scenarios[0].positive
    scenarios.write_text(scenarios.read_text().replace(first, "A gate stood open, and I"))
    with pytest.raises(TraitsteerError, match=r"0000-positive-0 has another (seed|prompt) than"):
        vet.run(vetted, "evil", "natural")


@pytest.mark.parametrize(
    ("path", "spoil", "sentence"),
    [
        (RESPONSES, lambda lines: [], f"^{RESPONSES} is empty; run `traitsteer elicit evil nat"),
        (VERDICTS, lambda lines: [], f"^{VERDICTS} is empty; run `traitsteer vet evil natural`"),
        (RESPONSES, lambda lines: lines[:-1], "on 16 responses, .* holds 15 .*; run `traitsteer v"),
        (VERDICTS, lambda lines: lines[1:], f"^{VERDICTS} has verdicts on 15 .* holds 16"),
        (RESPONSES, lambda lines: lines * 2, f"^{RESPONSES} holds .*-0000-positive-0 twice"),
        (VERDICTS, lambda lines: [*lines, lines[0]], f"^{VERDICTS} holds .*-positive-0 twice"),
        (RESPONSES, other_ids, "the verdict on evil-natural-0000-positive-0 is on another respon"),
        (
            VERDICTS,
            lambda lines: [each | {"kept": "positive" in each["id"]} for each in lines],
            rf"^{VERDICTS} keeps 0 negative responses, expected at least vet.minimum = 2; raise",
        ),
    ],
)
def test_activations_are_of_responses_with_their_own_verdicts_alone(
    vetted: Config, monkeypatch, path: Path, spoil: Spoil, sentence: str
) -> None:
    spoilt(path, spoil)
    monkeypatch.setattr(cache, "open_model", None)
    with pytest.raises(TraitsteerError, match=sentence):
        cache.run(vetted, "evil", "natural")
    assert not layout.activations("evil", "natural").exists()


def test_verdicts_under_other_terms_are_refused(vetted: Config, monkeypatch) -> None:
    protocol.run(changed(vetted, "vet", coherence_at_least=1), "evil")
    monkeypatch.setattr(cache, "open_model", None)
    with pytest.raises(TraitsteerError, match=r"0000-positive-0 was given under other terms than "):
        cache.run(vetted, "evil", "natural")


@pytest.mark.parametrize(
    ("spoil", "sentence"),
    [
        (lambda found: {}, "is no protocol, expected an object with terms and sha256; run `dvc"),
        (lambda found: [found], "is no protocol"),
        (lambda found: found | {"terms": found["terms"] | {"seed": -1}}, "was changed after it "),
    ],
)
def test_terms_that_were_changed_by_hand_are_refused(
    vetted: Config, monkeypatch, spoil: Callable[[dict[str, Any]], object], sentence: str
) -> None:
    path = layout.extraction_protocol("evil")
    write_json(path, spoil(read_json(path)))
    monkeypatch.setattr(cache, "open_model", None)
    with pytest.raises(TraitsteerError, match=f"^{path} {sentence}"):
        cache.run(vetted, "evil", "natural")


def test_the_activations_of_a_text_that_vetting_stopped_are_not_read(study: Study) -> None:
    config = study(vet={"coherence_at_least": 100, "minimum": 3})
    protocol.run(config, "evil")
    elicit.run(config, "evil", "natural")
    for stage in (vet, cache):
        with pytest.raises(TraitsteerError, match=r"positive responses.* vet.minimum = 3"):
            stage.run(config, "evil", "natural")


def test_responses_without_a_token_at_the_position_are_left_out_and_counted(
    vetted: Config, capsys
) -> None:
    def shortened(lines: Lines) -> Lines:
        short = (0, 2, 3)
        return [
            line | {"response_ids": [9, 8, 7, 6, 5][: 2 if place in short else 5]}
            for place, line in enumerate(lines)
        ]

    spoilt(RESPONSES, shortened)
    vet.run(vetted, "evil", "natural")
    late = at(vetted, "response[2:]")
    cache.run(late, "evil", "natural")
    said = "no token in 2 of 8 positive and 1 of 8 negative responses, which are left out"
    assert said in capsys.readouterr().err
    found = tensors.read_shards(layout.activations("evil", "natural"), {})
    assert len(found.tensors["positive"]) == 13 and found.tensors["positive"].sum() == 6
    counts = {"positive_left_out": 2, "negative_left_out": 1}
    assert {name: int(found.provenance[name]) for name in counts} == counts
    fit.run(late, "evil", "natural")
    told = read_json(layout.vectors("evil", "natural") / "mean_difference.json")
    assert {name: told[name] for name in counts} == counts and told["n"] == 13

    cache.run(at(vetted, "response[:]"), "evil", "natural")
    assert "left out" not in capsys.readouterr().err
    whole = tensors.read_shards(layout.activations("evil", "natural"), {})
    assert len(whole.tensors["positive"]) == 16 and whole.provenance["positive_left_out"] == "0"

    strict = changed(late, "vet", minimum=7)
    with pytest.raises(TraitsteerError, match=r"^cache evil natural: response\[2:\] selects a tok"):
        cache.run(strict, "evil", "natural")
    with pytest.raises(TraitsteerError, match=r"in 0 positive responses, .* vet.minimum = 2; let"):
        cache.run(at(vetted, "prompt[500:]"), "evil", "natural")


def test_what_is_planned_is_what_is_elicited(vetted: Config) -> None:
    plan = planned(vetted, trait_of(vetted, "evil"), "natural")
    assert [each.id for each in plan] == [line["id"] for line in read_jsonl(RESPONSES)]
    assert len({each.seed for each in plan}) == 16
    assert json.dumps(plan[0].side.prompt) in RESPONSES.read_text()


def test_pairs_that_share_a_side_elicit_responses_of_their_own(study: Study) -> None:
    config = study(elicit={"samples": 2})
    trait = trait_of(config, "evil")
    before = {text: planned(config, trait, text) for text in ("natural", "instruction")}
    for text, name in (("natural", "scenarios"), ("instruction", "system_prompts")):
        first, *others = getattr(trait, name)
        pairs = tuple(replace(pair, negative=first.negative) for pair in (first, *others))
        plan = planned(config, replace(trait, **{name: pairs}), text)
        assert [each.id for each in plan] == [each.id for each in before[text]]
        assert len({each.seed for each in plan}) == len({each.id for each in plan}) == len(plan)
        for new, old in zip(plan, before[text], strict=True):
            assert (new.seed == old.seed) == (new.side == old.side)
    write_trait(Path("traits/evil"), replace(trait, system_prompts=pairs))
    elicit.run(config, "evil", "instruction")
    lines = read_jsonl(layout.responses("evil", "instruction"))
    told = [(tuple(line["prompt_ids"]), tuple(line["response_ids"])) for line in lines]
    assert len({prompt for prompt, _ in told}) < len(set(told)) == len(told)


def test_pairs_that_share_a_side_are_refused_where_they_would_share_the_response(
    study: Study, monkeypatch
) -> None:
    config = study(elicit={"temperature": 0})
    trait = trait_of(config, "evil")
    assert planned(config, trait, "instruction")
    first, *others = trait.system_prompts
    pairs = (first, *(replace(pair, negative=first.negative) for pair in others))
    write_trait(Path("traits/evil"), replace(trait, system_prompts=pairs))
    assert planned(config, trait_of(config, "evil"), "natural")
    monkeypatch.setattr(elicit, "open_model", None)
    with pytest.raises(TraitsteerError, match=r"'instruction' share the negative side .* temperat"):
        elicit.run(config, "evil", "instruction")
    with pytest.raises(TraitsteerError, match=r"'instruction' share the negative side .* temperat"):
        check.refuse_texts(config, [trait_of(config, "evil")])


def test_kept_responses_are_of_the_tokens_that_ended_them(
    llama: LanguageModel, tmp_path: Path, monkeypatch
) -> None:
    asked = [Seeded((5, 6, 7), 0)]
    sampling, batching = Sampling(12, temperature=0), Batching(1)

    def response() -> tuple[int, ...]:
        [generated] = responses_to(llama, asked, sampling, batching, tmp_path)
        return generated.ids

    whole = response()
    assert response() == whole and len(whole) > 3
    monkeypatch.setattr(llama.model.generation_config, "eos_token_id", [whole[2]])
    assert response() == whole[: whole.index(whole[2])]
