"""What a study will ask of its judge: as many prompts as stages send, as long as their longest."""

from pathlib import Path

from traitsteer.experiment.calls import Calls, calls_for, of_study
from traitsteer.experiment.elicitation import planned
from traitsteer.words.config import load
from traitsteer.words.records import Answer
from traitsteer.world.judge.identity import prompts_of
from traitsteer.world.judge.model_judge import questions_about, tokens_of
from traitsteer.world.trait_folder import trait_of


def test_the_longest_prompt_that_a_stage_sends_is_counted(repository: Path, monkeypatch) -> None:
    monkeypatch.chdir(repository)
    config = load(Path("profiles/pocket.yaml"))
    prompts = prompts_of(config)
    scenarios, selection, report = [], [], []
    for name in config.study.traits:
        trait = trait_of(config, name)
        for texts, longest in (
            ([each.side.prompt for each in planned(config, trait, "natural")], scenarios),
            (trait.selection, selection),
            (trait.report, report),
        ):
            asked = (questions_about(prompts, trait.definition, Answer(q, "")) for q in texts)
            most = max(sum(tokens_of(one.prompt) + 40 for one in each) for each in asked)
            assert calls_for(config, trait, texts, 1, 40) == Calls(3, most)
            longest.append(most)
    assert min(scenarios) > max(report), "scenarios are longer than questions"
    found = of_study(config)
    # Each trait's search sends equally many answers, so that their longest prompts can be told.
    each = found["search"].calls / 3 / len(selection)
    assert found["search"].tokens == each * sum(selection)


def test_real_profiles_can_tell_a_vector_from_its_nulls_at_the_calls_that_their_page_names(
    repository: Path, monkeypatch
) -> None:
    monkeypatch.chdir(repository)
    page = Path("docs/real_models.md").read_text(encoding="utf-8")
    for name in ("llama-3.1-8b", "gemma-2-2b", "qwen2.5-7b", "qwen2.5-1.5b"):
        config = load(Path(f"profiles/{name}.yaml"))
        nulls = config.evaluate.nulls
        assert 1 / (1 + min(nulls.random, nulls.shuffled)) <= 0.05
        whole = sum(of_study(config).values(), Calls())
        assert f"asked about {whole.calls:,} times" in page
        assert f"{whole.tokens / 1e6:.1f} million tokens" in page
