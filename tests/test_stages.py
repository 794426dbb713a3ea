"""The stages in their order, in a folder of their own, on a tiny random model and the real judge.

A random model shows no trait: what is tested is what the stages promise of their files, of being
interrupted, of a floor that nothing reaches and of bad input.
"""

import itertools
import shutil
from collections import Counter
from pathlib import Path
from typing import Any

import optuna
import pytest
import torch
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend
from reading_oracle import block_outputs, close
from ruamel.yaml import YAML
from tiny import build, tokenizer
from tiny_study import Study, contents, up_to_fit

from traitsteer.cli import main
from traitsteer.engine.reading import Recorded
from traitsteer.engine.rows import Generated
from traitsteer.experiment import activations, responses
from traitsteer.experiment.answering import Bench, Questions, Setting
from traitsteer.experiment.calls import evaluated
from traitsteer.experiment.models import calibrated_norms, open_model
from traitsteer.experiment.nulls import read_fitted
from traitsteer.maths.folds import groups_of
from traitsteer.stages import (
    cache,
    compare,
    cross,
    elicit,
    evaluate,
    fit,
    identify,
    protocol,
    search,
    vet,
    voice,
)
from traitsteer.words import layout
from traitsteer.words.config import Config, parse
from traitsteer.words.errors import TraitsteerError
from traitsteer.world import tensors
from traitsteer.world.files import read_json, read_jsonl, write_json
from traitsteer.world.model import software
from traitsteer.world.model.language_model import load as load_model
from traitsteer.world.trait_folder import read_trait

ARM: dict[str, Any] = {"position": "response[:10]", "methods": ["mean_difference"]}


def test_the_whole_study_writes_what_it_promises(study: Study, monkeypatch) -> None:
    config = study()
    up_to_fit(config)
    for trait in config.study.traits:
        for arm in config.study.arms:
            search.run(config, trait, arm)
            evaluate.run(config, trait, arm)
    crossed_with: dict[str, list[Setting]] = {}
    answers = Bench.answers

    def recorded(self: Bench, questions: Questions, settings: list[Setting], samples: int) -> Any:
        crossed_with[questions.trait] = settings
        return answers(self, questions, settings, samples)

    neutral = Path(config.cross.neutral)
    texts = neutral.read_text()
    with monkeypatch.context() as patched:
        patched.setattr(Bench, "answers", recorded)
        neutral.write_text(texts + "a" * 2000 + "\n")
        with pytest.raises(TraitsteerError, match=r"neutral text \d .* takes 1024 together"):
            cross.run(config)
        assert not crossed_with, "found after all answers were given"
        neutral.write_text(texts)
        cross.run(config)
    identify.run(config)
    compare.run(config)

    rows = read_jsonl(layout.responses("evil", "instruction"))
    assert len(rows) == 2 * 3 * 2
    assert len({row["seed"] for row in rows}) == len(rows)
    held = tensors.read_shards(layout.activations("evil", "natural"), {}).tensors
    kept = [row for row in read_jsonl(layout.verdicts("evil", "natural")) if row["kept"]]
    assert held["activations"].shape == (len(kept), 3, 32)
    for method in ("mean_difference", "probe"):
        found = tensors.read(layout.vectors("evil", "natural") / f"{method}.safetensors", {})
        assert torch.allclose(found.tensors["vectors"].norm(dim=1), torch.ones(3))
        trials = read_json(layout.search("evil", "natural") / f"{method}.json")
        assert [t["number"] for t in trials["trials"]] == list(range(12))
        assert {t["phase"] for t in trials["trials"]} == {"coarse", "cliff"}
        assert trials["best"]["number"] in {c["number"] for c in trials["recounted"]}
        scores = read_jsonl(layout.search("evil", "natural") / f"{method}.scores.jsonl")
        answered = sum(t["answers"] for t in trials["trials"] + trials["recounted"])
        assert len(scores) == answered + 3 + 3
        assert trials["tokens"]["generated"] == sum(row["tokens"] for row in scores)
    comparison = read_json(layout.COMPARISON)
    assert [(r["trait"], r["arm"], r["method"]) for r in comparison["results"]] == [
        (trait, arm, method)
        for trait in ("evil", "sycophancy")
        for arm, methods in (
            ("instruction", ["mean_difference"]),
            ("natural", ["mean_difference", "probe"]),
        )
        for method in methods
    ]
    for row in comparison["results"]:
        for name in ("delta", "coherence", "random"):
            assert row[name]["n"] == 4
            low, value, high = (row[name][part] for part in ("lower", "value", "upper"))
            if low is None or high is None:
                # No answer of any question scored otherwise than without steering, which bounds
                # nothing with so few questions.
                assert (low, value, high) == (None, 0.0, None)
            else:
                assert low <= value <= high
    crossed = read_json(layout.CROSS)
    cells = [(a, b) for a in config.study.traits for b in config.study.traits]
    for at, expected in (("own", cells), ("same", [(a, b) for a, b in cells if a != b])):
        for arm in config.study.arms:
            rows = [row for row in crossed if (row["at"], row["arm"]) == (at, arm)]
            assert sorted((row["vector"], row["scored"]) for row in rows) == sorted(expected)
    assert all(0 < row["p_value"] <= 1 and row["delta"]["n"] == 4 for row in crossed)
    terms = {name: read_json(layout.protocol(name))["sha256"] for name in config.study.traits}
    assert all(row["protocol"] == terms[row["scored"]] for row in crossed)
    check_cells(crossed, crossed_with)
    effects = read_json(layout.PERPLEXITY)
    assert [(row["vector"], row["arm"]) for row in effects] == [
        (trait, arm) for trait in config.study.traits for arm in config.study.arms
    ]
    assert all(row["ratio"]["n"] == 3 for row in effects)
    refuse_what_is_older(config)


def refuse_what_is_older(config: Config) -> None:
    """Other terms than those of the evaluations, and vectors of a model that was replaced."""
    floor = {"study": config.study.model_copy(update={"coherence_floor": 10.0})}
    other = config.model_copy(update=floor)
    for again in (
        lambda: cross.run(other),
        lambda: voice.run(other),
        lambda: search.run(other, "evil", "natural"),
        lambda: evaluate.run(other, "evil", "natural"),
    ):
        with pytest.raises(TraitsteerError, match=r"coherence_floor is 0\.0 against 10\.0"):
            again()
    samples = config.elicit.model_copy(update={"samples": 3})
    with pytest.raises(TraitsteerError, match=r"elicit\.samples is 1 against 3"):
        vet.run(config.model_copy(update={"elicit": samples}), "evil", "natural")
    searched = layout.search("evil", "natural") / "probe.json"
    found = read_json(searched)
    write_json(searched, found | {"protocol": "f" * 64})
    with pytest.raises(TraitsteerError, match="was made under protocol ffff"):
        evaluate.run(config, "evil", "natural")
    write_json(searched, found)
    evaluated = layout.evaluation_record("sycophancy", "natural", "probe")
    result = read_json(evaluated)
    write_json(evaluated, result | {"protocol": "e" * 64})
    for stage in (cross, voice):
        with pytest.raises(TraitsteerError, match="evaluation of sycophancy natural probe was"):
            stage.run(config)
    write_json(evaluated, result)
    path = layout.vectors("evil", "natural") / "probe.safetensors"
    held = tensors.read(path, {})
    turned = {"vectors": held.tensors["vectors"].flip(1), "raw_norm": held.tensors["raw_norm"]}
    tensors.write(path, held.tensors | turned, held.provenance)
    with pytest.raises(TraitsteerError, match="search of evil natural probe was made with other v"):
        evaluate.run(config, "evil", "natural")
    tensors.write(path, held.tensors, held.provenance | {"source_digest": "of another"})
    stages = r"as it was before; run .dvc repro."
    with pytest.raises(TraitsteerError, match=stages):
        search.run(config, "evil", "natural")


def check_cells(crossed: list[dict[str, Any]], settings: dict[str, list[Setting]]) -> None:
    """A trait's own vector does what its evaluation says; others are steered where they should."""
    for scored, (unsteered, *steered) in settings.items():
        assert unsteered.coefficient == 0
        cells = [row for row in crossed if row["scored"] == scored]
        for row, setting in zip(cells, steered, strict=True):
            arm, method = row["arm"], row["method"]
            vectors = tensors.read(layout.vectors(row["vector"], arm) / f"{method}.safetensors", {})
            # "own": where this vector is best; "same": where that of the scored trait is.
            place = row["vector"] if row["at"] == "own" else scored
            best = read_json(layout.evaluation(place, arm) / f"{method}.json")
            assert (setting.layer, setting.coefficient) == (best["layer"], best["coefficient"])
            assert torch.equal(setting.vector, vectors.tensors["vectors"][setting.layer])
            if row["vector"] == scored:
                assert row["delta"] == best["delta"]


def test_an_evaluation_stands_on_its_controls(fitted: Study, monkeypatch) -> None:
    config = fitted()
    search.run(config, "evil", "natural")
    asked: list[list[Setting]] = []
    answers = Bench.answers

    def recorded(self: Bench, questions: Questions, settings: list[Setting], *rest: Any) -> Any:
        asked.append(list(settings))
        return answers(self, questions, settings, *rest)

    with monkeypatch.context() as patched:
        patched.setattr(Bench, "answers", recorded)
        evaluate.run(config, "evil", "natural")
    assert len(asked) == 2
    folder = layout.evaluation("evil", "natural")
    for method, settings in zip(("mean_difference", "probe"), asked, strict=True):
        best = read_json(layout.search("evil", "natural") / f"{method}.json")["best"]
        found = read_json(folder / f"{method}.json")
        check_settings(config, method, best, settings)
        assert {kind: len(null["each"]) for kind, null in found["nulls"].items()} == {
            "random": 5,
            "shuffled": 2,
            "orthogonal": 1,
            "negated": 1,
        }
        assert found["nulls"]["negated"]["each"][0]["cosine"] == -1
        assert abs(found["nulls"]["orthogonal"]["each"][0]["cosine"]) < 1e-4
        strengths = [step["strength"] for step in found["frontier"]]
        assert strengths == pytest.approx([best["strength"] * each for each in (0.5, 1, 1.5)])
        rows = read_jsonl(folder / f"{method}.answers.jsonl")
        assert len(rows) == evaluated(config, read_trait(Path("traits/evil")))
        per_setting = Counter(row["setting"] for row in rows)
        assert set(per_setting.values()) == {4}
        assert len(per_setting) == 2 + 9 + 2 + 2  # steered, nulls, prompted, frontier
        assert {row["sample"] for row in rows if row["setting"] == "prompted-1"} == {1}
        chosen = tensors.read(folder / f"{method}.safetensors", {"protocol": found["protocol"]})
        vectors = tensors.read(layout.vectors("evil", "natural") / f"{method}.safetensors", {})
        assert torch.equal(chosen.tensors["vector"], vectors.tensors["vectors"][best["layer"]])
        assert chosen.provenance == {
            "trait": "evil",
            "arm": "natural",
            "method": method,
            "protocol": found["protocol"],
            "source": config.models.base.name,
            **{name: str(best[name]) for name in ("layer", "strength", "coefficient")},
        }
        assert found["first_delta"] is not None and found["shrinkage"]["n"] == 3 + 4
        value = found["selection_delta"] - found["delta"]["value"]
        assert found["shrinkage"]["value"] == pytest.approx(value, abs=1e-3)


def check_settings(
    config: Config, method: str, best: dict[str, Any], settings: list[Setting]
) -> None:
    """Controls stand at the layer and length of what they are held against."""
    layer = best["layer"]
    vectors = tensors.read(layout.vectors("evil", "natural") / f"{method}.safetensors", {}).tensors
    own = vectors["vectors"][layer]
    baseline, *others = settings
    assert (baseline.coefficient, baseline.system) == (0, None)
    prompted = [each for each in others if each.system is not None]
    positive = [pair.positive for pair in read_trait(Path("traits/evil")).system_prompts]
    assert [each.system for each in prompted] == positive
    assert {each.coefficient for each in prompted} == {0}
    steered = [each for each in others if each.system is None]
    steps = [each for each in steered if each.samples is None]
    nulls = [each for each in steered if each.samples == config.evaluate.nulls.samples]
    assert (len(steps), len(nulls), len(prompted)) == (3, 9, 2) and len(others) == 3 + 9 + 2
    assert all(torch.equal(each.vector, own) and each.layer == layer for each in steps)
    lengths = [best["coefficient"] * each for each in (0.5, 1, 1.5)]
    assert sorted(each.coefficient for each in steps) == pytest.approx(lengths)
    assert {(each.layer, each.coefficient) for each in nulls} == {(layer, best["coefficient"])}
    assert not any(torch.allclose(each.vector, own, atol=1e-3) for each in nulls)
    assert all(float(each.vector.norm()) == pytest.approx(1, abs=1e-5) for each in nulls)
    held = tensors.read_shards(layout.activations("evil", "natural"), {}).tensors["activations"]
    fitted = read_fitted(config, "evil", "natural", method, layer)
    assert torch.equal(fitted.activations, held[:, layer : layer + 1])


def test_a_steered_model_without_a_chat_template_is_prompted_by_nothing(
    study: Study, params: dict[str, Any]
) -> None:
    models = {"rows": 64, "instruct": params["models"]["instruct"] | {"chat": False}}
    config = study(models=models, study={"traits": ["evil"]})
    up_to_fit(config, ("natural",))
    search.run(config, "evil", "natural")
    evaluate.run(config, "evil", "natural")
    found = read_json(layout.evaluation("evil", "natural") / "probe.json")
    assert found["prompted"] is None
    assert found["nulls"]["random"]["pooled"]["n"] == 4


def test_an_interrupted_search_ends_with_the_same_files(
    fitted: Study, tmp_path: Path, monkeypatch
) -> None:
    whole = fitted("whole")
    # A queued experiment adds to the ledger and the journal of the repository it came from.
    monkeypatch.setenv("DVC_ROOT", str(tmp_path / "original"))
    search.run(whole, "evil", "natural")
    assert (tmp_path / "original" / layout.LEDGER).exists()
    assert (tmp_path / "original" / whole.track.studies).exists()
    assert not Path(whole.track.studies).exists()
    monkeypatch.delenv("DVC_ROOT")
    expected = contents(Path.cwd())

    broken = fitted("broken")
    answers, calls = Bench.answers, []

    def interrupted(self: Bench, *args: Any, **kwargs: Any) -> Any:
        calls.append(args)
        if len(calls) == 4:
            raise KeyboardInterrupt
        return answers(self, *args, **kwargs)

    monkeypatch.setattr(Bench, "answers", interrupted)
    with pytest.raises(KeyboardInterrupt):
        search.run(broken, "evil", "natural")
    monkeypatch.setattr(Bench, "answers", answers)
    tried = [line["method"] for line in read_jsonl(layout.LEDGER)]
    assert tried == ["mean_difference"], "an attempt that was given up counts"
    finished = set((layout.CACHE / "answers").iterdir())
    assert finished
    times = {path: path.stat().st_mtime_ns for path in finished}
    search.run(broken, "evil", "natural")
    assert contents(Path.cwd()) == expected
    assert {path: path.stat().st_mtime_ns for path in finished} == times, "answered again"
    tried = [line["method"] for line in read_jsonl(layout.LEDGER)]
    assert tried == ["mean_difference", "probe"], "begun again, it is one attempt"

    journal = JournalStorage(JournalFileBackend(broken.track.studies))
    for shown in optuna.get_all_study_summaries(storage=journal):
        surplus = optuna.load_study(study_name=shown.study_name, storage=journal)
        surplus.add_trial(surplus.trials[-1])
    search.run(broken, "evil", "natural")
    for method in ("mean_difference", "probe"):
        found = read_json(layout.search_record("evil", "natural", method))
        shown = optuna.load_study(study_name=found["study"], storage=journal)
        assert len(shown.trials) == len(found["trials"])


def test_interrupted_reading_goes_on_and_ends_with_the_same_files(
    study: Study, monkeypatch
) -> None:
    monkeypatch.setattr(cache, "SHARD", 5)
    config = study()
    protocol.run(config, "evil")
    elicit.run(config, "evil", "natural")
    vet.run(config, "evil", "natural")
    cache.run(config, "evil", "natural")
    folder = layout.activations("evil", "natural")
    expected = {path.name: path.read_bytes() for path in folder.iterdir()}
    assert len(expected) == -(-len(read_jsonl(layout.verdicts("evil", "natural"))) // 5) == 4
    kept = list((layout.CACHE / "activations").iterdir())
    assert all(any(path.samefile(other) for other in folder.iterdir()) for path in kept), "twice"

    shutil.rmtree(folder)
    shutil.rmtree(layout.CACHE / "activations")
    read, calls = activations.pooled_activations, []

    def interrupted(*args: Any, **kwargs: Any) -> torch.Tensor:
        calls.append(args)
        if len(calls) == 3:
            raise KeyboardInterrupt
        return read(*args, **kwargs)

    monkeypatch.setattr(activations, "pooled_activations", interrupted)
    with pytest.raises(KeyboardInterrupt):
        cache.run(config, "evil", "natural")
    assert not folder.exists()
    cache.run(config, "evil", "natural")
    assert len(calls) == 5, "read again"
    shutil.rmtree(folder)
    cache.run(config, "evil", "natural")
    assert len(calls) == 5, "read again"
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == expected


def test_interrupted_elicitation_goes_on_and_ends_with_the_same_file(
    study: Study, monkeypatch
) -> None:
    monkeypatch.setattr(responses, "CHUNK", 5)
    config = study(models={"rows": 4})
    elicit.run(config, "evil", "natural")
    path = layout.responses("evil", "natural")
    expected = path.read_bytes()
    shutil.rmtree(layout.CACHE)
    path.unlink()
    generate, asked = responses.generate, []

    def recorded(model, rows, sampling, batching, finished) -> Any:
        asked.append(len(rows))
        return generate(model, rows, sampling, batching, finished)

    def interrupted(model, rows, sampling, batching, finished) -> Any:
        done: list[int] = []

        def stopped(number: int, generated: Generated) -> None:
            finished(number, generated)
            done.append(number)
            if len(done) == 12:
                raise KeyboardInterrupt

        return generate(model, rows, sampling, batching, stopped)

    monkeypatch.setattr(responses, "generate", interrupted)
    with pytest.raises(KeyboardInterrupt):
        elicit.run(config, "evil", "natural")
    assert not path.exists()
    monkeypatch.setattr(responses, "generate", recorded)
    for left in (16 - 12, 0):
        elicit.run(config, "evil", "natural")
        assert path.read_bytes() == expected
        assert asked.pop() == left
    # More samples of each prompt add to those that are kept.
    samples = config.elicit.samples
    more = config.elicit.model_copy(update={"samples": samples + 1})
    elicit.run(config.model_copy(update={"elicit": more}), "evil", "natural")
    assert asked.pop() == 16 // samples
    # Other seeds are other responses.
    elicit.run(config.model_copy(update={"seed": 1}), "evil", "natural")
    assert asked.pop() == 16
    assert path.read_bytes() != expected


def test_half_of_the_responses_are_kept_when_half_have_ended(study: Study, monkeypatch) -> None:
    """A process that is killed writes nothing more: what counts is what lies on disk meanwhile."""
    monkeypatch.setattr(responses, "CHUNK", 8)
    config = study(models={"rows": 4}, elicit={"samples": 4})
    generate = responses.generate
    ended, kept = 0, []

    def watched(model, rows, sampling, batching, finished) -> Any:
        def told(number: int, generated: Generated) -> None:
            nonlocal ended
            finished(number, generated)
            ended += 1
            files = (layout.CACHE / "responses").rglob("*.jsonl")
            kept.append(ended - sum(len(read_jsonl(path)) for path in files))

        return generate(model, rows, sampling, batching, told)

    monkeypatch.setattr(responses, "generate", watched)
    elicit.run(config, "evil", "natural")
    assert ended == 64 and max(kept) < 8, "what a kill loses of those that have ended"


def test_a_chunk_of_responses_that_is_not_whole_is_named_before_anything_is_generated(
    study: Study, monkeypatch
) -> None:
    config = study()
    elicit.run(config, "evil", "natural")
    [chunk] = (layout.CACHE / "responses").rglob("*.jsonl")
    whole = chunk.read_text()
    monkeypatch.setattr(responses, "generate", None)
    lines = whole.splitlines(keepends=True)
    for left, found in (("", 0), ("".join(lines[:5]), 5), (whole * 2, 32)):
        chunk.write_text(left)
        with pytest.raises(TraitsteerError, match=f"{chunk.name} holds {found} .*; delete it and"):
            elicit.run(config, "evil", "natural")
    chunk.write_text(whole[:-20])
    with pytest.raises(TraitsteerError, match=f"{chunk.name}:16 is no JSON .* delete it and"):
        elicit.run(config, "evil", "natural")


def test_what_other_versions_computed_is_computed_anew(study: Study, monkeypatch) -> None:
    config = study()

    def kept() -> list[set[Path]]:
        for stage in (elicit, vet, cache):
            stage.run(config, "evil", "natural")
        parts = ("responses", "activations")
        return [{p for p in (layout.CACHE / part).rglob("*.*")} for part in parts]

    protocol.run(config, "evil")
    before = kept()
    assert kept() == before
    monkeypatch.setattr(software, "version", lambda package: "9.9.9")
    for then, now in zip(before, kept(), strict=True):
        assert then < now and len(now) == 2 * len(then)


def test_an_arm_reads_the_recorded_tokens_of_another(study: Study, capsys) -> None:
    reader = {"elicitation": "natural", "text": "natural", "source": "instruct"}
    reader |= {"position": "response[:10]", "methods": ["mean_difference"]}
    arms = ["instruction", "natural", "reader"]
    config = study(study={"arms": arms}, arms={"reader": reader})
    protocol.run(config, "evil")
    for stage in (elicit, vet):
        stage.run(config, "evil", "natural")
    for stage in ("elicit", "vet"):
        assert main([stage, "evil", "reader"]) == 1
        assert "'reader' elicits nothing, it reads the text of 'natural'" in capsys.readouterr().err
    for arm in ("natural", "reader"):
        cache.run(config, "evil", arm)
        fit.run(config, "evil", arm)
    assert not layout.responses("evil", "reader").exists()
    own, other = (tensors.read_shards(layout.activations("evil", a), {}) for a in arms[1:])
    assert (own.provenance["text"], other.provenance["text"]) == ("natural", "natural")
    assert own.provenance["responses"] == other.provenance["responses"]
    assert torch.equal(own.tensors["pair"], other.tensors["pair"])
    assert torch.equal(own.tensors["group"], own.tensors["pair"]), "scenarios share nothing"
    elicit.run(config, "evil", "instruction")
    asked = read_jsonl(layout.responses("evil", "instruction"))
    groups = groups_of((row["pair"], row["prompt"]) for row in asked)
    for row, another in itertools.product(asked, asked):
        same = row["prompt"] == another["prompt"]
        assert (groups[row["pair"]] == groups[another["pair"]]) == same
    assert len(set(groups.values())) < len(groups), "questions stand under several system prompts"
    assert not torch.allclose(own.tensors["activations"], other.tensors["activations"])
    # Vectors and activations of one text are refused where params.yaml names another.
    described = config.arms["reader"].model_copy(
        update={"elicitation": "instruction", "text": "instruction"}
    )
    changed = config.model_copy(update={"arms": config.arms | {"reader": described}})
    with pytest.raises(TraitsteerError, match="was made with text natural, expected instruction"):
        fit.run(changed, "evil", "reader")
    with pytest.raises(TraitsteerError, match="was made with text natural, expected instruction"):
        read_fitted(changed, "evil", "reader", "mean_difference", 0)


def test_nothing_feasible_is_a_result_with_a_name(fitted: Study) -> None:
    config = fitted(study={"coherence_floor": 100})
    search.run(config, "evil", "instruction")
    found = read_json(layout.search("evil", "instruction") / "mean_difference.json")
    assert found["best"] is None
    assert {(t["status"], t["answers"], t["delta"]) for t in found["trials"]} == {
        ("pruned", 2, None)
    }
    assert found["recounted"] == []
    assert found["tokens"]["saved_by_pruning"] > 0
    evaluate.run(config, "evil", "instruction")
    result = read_json(layout.evaluation("evil", "instruction") / "mean_difference.json")
    assert result["status"] == "nothing feasible"
    assert result["delta"] is None
    assert result["baseline"]["n"] == 4
    assert result["prompted"]["delta"]["n"] == 4
    assert result["nulls"] is None and result["frontier"] is None
    assert not list(layout.evaluation("evil", "instruction").glob("*.safetensors"))
    alone = {"arms": ("instruction",)}
    cross.run(config.model_copy(update={"study": config.study.model_copy(update=alone)}))
    assert read_json(layout.CROSS) == read_json(layout.PERPLEXITY) == []


def test_a_trait_without_negatives_is_one_sentence_and_a_failure(study: Study, capsys) -> None:
    study()
    path = Path("traits/evil/scenarios.txt")
    lines = [line for line in path.read_text().splitlines() if not line.startswith("- ")]
    path.write_text("\n".join(lines))
    assert main(["elicit", "evil", "natural"]) == 1
    printed = capsys.readouterr().err
    assert "scenarios.txt:1 has no negative side" in printed
    assert printed.count("\n") == 1
    shutil.rmtree("traits/evil")
    assert main(["elicit", "evil", "natural"]) == 1
    assert "There is no trait folder" in capsys.readouterr().err


def test_a_vector_of_another_model_is_refused(fitted: Study, capsys) -> None:
    fitted()
    path = layout.vectors("evil", "natural") / "probe.safetensors"
    found = tensors.read(path, {})
    path = layout.vectors("evil", "natural") / "mean_difference.safetensors"
    provenance = found.provenance | {"method": "mean_difference"}
    others = [
        (torch.ones(3, 48), provenance, "shape (3, 48)"),
        (torch.ones(3, 32), provenance | {"source": "some/other"}, "made with source some/other"),
        (torch.ones(3, 32), provenance | {"position": "prompt[-1:]"}, "position prompt[-1:]"),
    ]
    for vectors, made_from, sentence in others:
        tensors.write(path, {"vectors": vectors, "raw_norm": torch.ones(3)}, made_from)
        capsys.readouterr()
        assert main(["search", "evil", "natural"]) == 1
        assert sentence in capsys.readouterr().err


def test_corrupt_activations_and_a_stale_calibration_are_refused(fitted: Study, capsys) -> None:
    config = fitted()
    [path] = layout.activations("evil", "natural").iterdir()
    whole = path.read_bytes()
    capsys.readouterr()
    for spoilt, sentence in ((whole[:-100], "no whole safetensors file"), (None, "holds no activ")):
        path.write_bytes(spoilt) if spoilt else path.unlink()
        assert main(["fit", "evil", "natural"]) == 1
        assert sentence in capsys.readouterr().err
    path = Path(config.models.instruct.name) / "model.safetensors"
    whole = path.read_bytes()
    try:
        path.write_bytes(whole[:-1000])
        assert main(["calibrate"]) == 1
        assert "cannot be loaded" in capsys.readouterr().err
    finally:
        path.write_bytes(whole)
    measured = read_json(layout.CALIBRATION)
    for term, value in (("digest", "0"), ("dtype", "bfloat16"), ("max_new_tokens", 9)):
        write_json(layout.CALIBRATION, measured | {term: value})
        assert main(["search", "evil", "natural"]) == 1
        assert f"with other {term} than params.yaml asks for" in capsys.readouterr().err
    write_json(layout.CALIBRATION, measured)
    Path("questions.txt").write_text("What is a rope?\n")
    neutral = config.calibrate.model_copy(update={"questions": "questions.txt"})
    other = config.model_copy(update={"calibrate": neutral})
    with pytest.raises(TraitsteerError, match=r"with other prompts than params\.yaml asks for"):
        calibrated_norms(other, open_model(other, config.models.instruct))


def test_what_models_and_judge_are_follows_their_files_and_the_endpoint(
    study: Study, pair: Path, repository: Path, monkeypatch
) -> None:
    study()
    shutil.copytree(pair / "instruct", "own")
    shutil.copytree(repository / "prompts", "prompts")
    params, yaml = Path("params.yaml"), YAML()
    values = yaml.load(params)
    values["models"]["instruct"]["name"] = "own"
    values["judge"] |= {"kind": "openai", "name": None, "prompts": "prompts"}
    yaml.dump(values, params)
    monkeypatch.setenv("OPENAI_MODEL", "one")
    monkeypatch.delenv("OPENAI_BASE_URL", raising=False)

    def changed() -> set[str]:
        before = {which: kept.get(which) for which in ("base", "instruct", "judge")}
        assert main(["identify"]) == 0
        kept.update({which: read_json(layout.identity(which)) for which in before})
        return {which for which in before if kept[which] != before[which]}

    kept: dict[str, Any] = {}
    assert changed() == {"base", "instruct", "judge"}
    assert changed() == set()
    build(Path("own"), "llama", seed=3)
    assert changed() == {"instruct"}
    with monkeypatch.context() as patched:
        patched.setattr(software, "version", lambda package: "9.9.9+cpu")
        assert changed() == {"base", "instruct"}
        assert set(kept["base"]["software"].values()) == {"9.9.9"}
    assert changed() == {"base", "instruct"}
    monkeypatch.setenv("OPENAI_MODEL", "two")
    assert changed() == {"judge"}
    for address in ("http://localhost:8000/v1", "http://localhost:8001/v1"):
        monkeypatch.setenv("OPENAI_BASE_URL", address)
        assert changed() == {"judge"}
        assert "800" not in layout.identity("judge").read_text()
    asked = sorted(Path("prompts").glob("*.txt"))[0]
    asked.write_text("Again: " + asked.read_text())
    assert changed() == {"judge"}
    monkeypatch.delenv("OPENAI_MODEL")
    assert main(["identify"]) == 1


def test_a_factorial_study_is_followed_whether_it_is_there_or_not(study: Study) -> None:
    config = study()
    found = []
    for text in (None, "{}", '{"profile": "another"}', None):
        if text is None:
            layout.FACTORIAL.unlink(missing_ok=True)
        else:
            layout.FACTORIAL.parent.mkdir(exist_ok=True)
            layout.FACTORIAL.write_text(text)
        identify.run(config)
        found.append(read_json(layout.identity("factorial"))["sha256"])
    assert found[0] is found[3] is None
    assert len(set(found)) == 3


def test_nulls_are_of_the_activations_that_the_vector_was_fitted_on(fitted: Study) -> None:
    config = fitted()
    path = layout.vectors("evil", "natural") / "probe.safetensors"
    found = tensors.read(path, {})
    assert read_fitted(config, "evil", "natural", "probe", 0).activations.shape[1] == 1
    for name in ("responses", "source_digest"):
        tensors.write(path, found.tensors, found.provenance | {name: "another"})
        with pytest.raises(TraitsteerError, match=f"was made with {name} another, expected"):
            read_fitted(config, "evil", "natural", "probe", 0)


def test_too_few_kept_responses_stop_the_study_but_stay_on_record(study: Study) -> None:
    config = study(vet={"coherence_at_least": 100, "minimum": 3})
    protocol.run(config, "evil")
    elicit.run(config, "evil", "natural")
    with pytest.raises(TraitsteerError, match=r"\d+ of 8 positive responses .* vet.minimum = 3"):
        vet.run(config, "evil", "natural")
    assert len(read_jsonl(layout.verdicts("evil", "natural"))) == 16


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"study": {"traits": ["evil", "envy"]}}, "There is no trait folder traits/envy"),
        ({"models": {"base": {"name": "no/where", "revision": None, "chat": False}}}, "no/where"),
        ({"models": {"device": "banana"}}, "models.device is 'banana'"),
        ({"judge": {"kind": "pocket", "name": "nowhere"}}, "nowhere holds no readable"),
        ({"calibrate": {"questions": "none.txt"}}, "none.txt is not there"),
        ({"arms": {"natural": {"position": "response[--1]"}}}, "position 'response"),
        ({"arms": {"instruction": {"source": "base"}}}, "which has `chat: false`"),
        ({"arms": {"natural": {"methods": ["sum"]}}}, "arms.natural.methods"),
        ({"vet": {"minimum": 7}}, "'instruction' has 6 responses of each polarity, fewer than"),
        ({"judge": {"kind": "local", "name": "bare"}}, "bare has no chat template"),
        ({"models": {"base": {"name": "bare", "revision": None, "chat": False}}}, "of one shape"),
    ],
)
def test_check_refuses_before_any_work(
    study: Study, capsys, changes: dict[str, Any], sentence: str
) -> None:
    study()
    if "bare" in str(changes):
        build(Path("bare"), "llama", num_hidden_layers=2)
        Path("bare/chat_template.jinja").unlink()
    values = YAML(typ="safe").load(Path("params.yaml").read_text(encoding="utf-8"))
    for section, keys in changes.items():
        for key, value in keys.items():
            old = values[section].get(key)
            values[section][key] = old | value if isinstance(old, dict) else value
    with Path("params.yaml").open("w", encoding="utf-8") as file:
        YAML().dump(values, file)
    capsys.readouterr()
    assert main(["check"]) == 1
    printed = capsys.readouterr().err
    assert sentence in printed
    assert printed.count("\n") == 1


def written() -> dict[Path, bytes]:
    """The files of a study, other than what is kept for the next run."""
    files = (path for path in Path().rglob("*") if path.is_file() and ".cache" not in path.parts)
    return {path: path.read_bytes() for path in files}


def test_check_takes_a_study_that_is_well(study: Study, capsys) -> None:
    config = study()
    before = written()
    assert main(["check"]) == 0
    counted = f"{len(config.study.traits)} traits, {len(config.study.arms)} arms"
    assert capsys.readouterr().err.endswith(f"check: {counted}, judge and models\n")
    assert written() == before, "it writes nothing but what the judge said"


def test_a_contrast_pair_that_stands_twice_is_refused_where_it_is_read(study: Study) -> None:
    """The stage that writes the terms does not depend on scenarios."""
    config = study()
    path = Path("traits/evil/scenarios.txt")
    first = path.read_text(encoding="utf-8").strip().split("\n\n")[0]
    path.write_text(f"{path.read_text(encoding='utf-8').rstrip()}\n\n{first}\n", encoding="utf-8")
    with pytest.raises(TraitsteerError, match=r"stands twice in scenarios\.txt"):
        elicit.run(config, "evil", "natural")
    assert not layout.responses("evil", "natural").exists()


def test_check_tells_where_nothing_is_compared(study: Study, capsys) -> None:
    study(study={"arms": ["instruction"], "texts": ["instruction"]})
    assert main(["check"]) == 0
    assert "the arms have no natural, so no two arms are compared" in capsys.readouterr().err


def test_check_refuses_question_sets_that_share_a_question(study: Study, capsys) -> None:
    study()
    folder = Path("traits/evil")
    first = read_trait(folder).selection[0]
    with (folder / "report.txt").open("a", encoding="utf-8") as file:
        file.write(f"{first.upper()}\n")
    assert main(["check"]) == 1
    assert "stands in selection.txt and in report.txt" in capsys.readouterr().err


def test_a_chat_model_continues_scenarios_as_plain_text(study: Study) -> None:
    natural = {"natural": ARM | {"elicitation": "natural", "source": "instruct", "text": None}}
    config = study(arms=natural, study={"arms": ["instruction", "natural"]})
    words = tokenizer()
    for arm in config.study.arms:
        elicit.run(config, "evil", arm)
    for row in read_jsonl(layout.responses("evil", "natural")):
        assert row["prompt_ids"] == words(row["prompt"])["input_ids"]
        assert words.decode(row["prompt_ids"]) == row["prompt"]
    for row in read_jsonl(layout.responses("evil", "instruction")):
        assert words.decode(row["prompt_ids"]).startswith(f"<bos><system> {row['system']} <eos>")


def test_reasoning_is_on_record_and_neither_judged_nor_pooled(study: Study, pair: Path) -> None:
    """A random model writes `~` now and then; the template leaves the reasoning open."""
    config = study(
        elicit={"samples": 2, "max_new_tokens": 60, "temperature": 1.5}, vet={"minimum": 1}
    )
    thinking = {"start": "<assistant>", "end": "~"}
    values = config.model_dump(mode="json")
    values["models"]["instruct"]["thinking"] = thinking
    thinks = parse(values)
    protocol.run(thinks, "evil")
    elicit.run(config, "evil", "instruction")
    whole = read_jsonl(layout.responses("evil", "instruction"))
    for stage in (elicit, vet, cache):
        stage.run(thinks, "evil", "instruction")
    rows = read_jsonl(layout.responses("evil", "instruction"))
    assert [r["reasoning_ids"] + r["response_ids"] for r in rows] == [
        r["response_ids"] for r in whole
    ]
    reasons = {v["id"]: v["reason"] for v in read_jsonl(layout.verdicts("evil", "instruction"))}
    empty = [row for row in rows if not row["response_ids"]]
    assert 0 < len(empty) < len(rows)
    assert {row["text"] for row in empty} == {""}
    assert {reasons[row["id"]] for row in empty} == {"empty"}
    kept = [row for row in rows if reasons[row["id"]] == ""]
    held = tensors.read_shards(layout.activations("evil", "instruction"), {}).tensors
    model = load_model(str(pair / "instruct"), chat=True, device="cpu")
    for row, found in zip(kept, held["activations"], strict=True):
        before = tuple(row["prompt_ids"] + row["reasoning_ids"])
        expected = block_outputs(model, Recorded("", before, tuple(row["response_ids"])))
        assert close(found, expected[:, len(before) :].mean(dim=1))
    # A position is checked among all tokens, those of the reasoning too.
    whole_lengths = [len(r["prompt_ids"] + r["reasoning_ids"] + r["response_ids"]) for r in kept]
    last = min(whole_lengths) - 1
    assert any(len(row["prompt_ids"] + row["response_ids"]) <= last for row in kept)
    values["arms"]["instruction"]["position"] = f"all[{last}:]"
    cache.run(parse(values), "evil", "instruction")
    held = tensors.read_shards(layout.activations("evil", "instruction"), {}).tensors
    assert len(held["activations"]) == len(kept)
