"""The statistics on planted answers: a smaller `traitsteer simulate`, with room for chance."""

import math
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy import integrate, stats

from traitsteer.experiment import measured, recovery, simulated_search, simulation
from traitsteer.experiment.answering import Questions, Setting
from traitsteer.experiment.planted import PlantedBench, Regime, cliff_surface, cut_mean
from traitsteer.experiment.simulation import REGIMES, SURFACES
from traitsteer.maths.power import variance_components
from traitsteer.maths.statistics import paired_difference_interval, ratio_interval, student_interval
from traitsteer.stages import simulate
from traitsteer.words import layout
from traitsteer.words.config import load
from traitsteer.words.errors import TraitsteerError
from traitsteer.world.files import write_json, write_jsonl

RUNS = 400


def fair(found: simulation.Coverage) -> bool:
    """Within 93 to 97 %, but for three standard errors of so many runs."""
    room = 3 * math.sqrt(0.95 * 0.05 / found.runs)
    return 0.93 - room <= found.covered <= 0.97 + room


@pytest.mark.parametrize(("mean", "deviation"), [(50.0, 10.0), (95.0, 15.0), (-5.0, 12.0)])
def test_the_cut_mean_is_the_integral(mean: float, deviation: float) -> None:
    inside, _ = integrate.quad(lambda x: x * stats.norm.pdf(x, mean, deviation), 0, 100)
    expected = inside + 100 * stats.norm.sf(100, mean, deviation)
    assert cut_mean(mean, deviation) == pytest.approx(expected)


@pytest.mark.parametrize("regime", REGIMES, ids=lambda regime: regime.name)
def test_the_truth_is_the_mean_of_very_many_questions(regime: Regime) -> None:
    steered, unsteered = regime.draw(np.random.default_rng(0), 200_000, 1)
    error = float((steered - unsteered).std()) / math.sqrt(200_000)
    assert float((steered - unsteered).mean()) == pytest.approx(regime.delta(), abs=4 * error)
    assert steered.min() >= 0 and steered.max() <= 100


def test_the_truth_of_a_planted_bench_is_the_mean_of_many_questions() -> None:
    search = next(simulated_search.searches(config(), 20, 1))
    assert 40 < search.truth < 90
    bench = PlantedBench(cliff_surface, 3)
    texts = tuple(f"Question {n}?" for n in range(4000))
    questions = Questions("planted", "report", texts)
    settings = [Setting(5, torch.ones(4), at) for at in (0.0, 0.8)]
    unsteered, steered = (
        np.array([answer.trait_score for answer in rows])
        for rows in bench.answers(questions, settings, 1, lambda done: None)
    )
    error = (steered - unsteered).std() / math.sqrt(4000)
    assert (steered - unsteered).mean() == pytest.approx(bench.delta(5, 0.8), abs=4 * error)


def config():
    return load(Path(__file__).parent.parent / "profiles/pocket.yaml")


@pytest.mark.parametrize("questions", [20, 40])
def test_intervals_hold_the_truth_as_often_as_they_say(questions: int) -> None:
    draws = {
        f"delta {regime.name}": simulation.deltas(regime, questions)
        for regime in (REGIMES[0], REGIMES[2], REGIMES[5], REGIMES[7])
    }
    for compare in (ratio_interval, paired_difference_interval):
        name = f"{compare.__name__} of arms"
        draws[name] = simulation.arms(REGIMES[5], REGIMES[4], questions, compare)
    draws["shrinkage"] = simulation.disjoint(REGIMES[2], questions)
    draws["share"] = simulation.shares(0.7, 8, questions)
    for name, draw in draws.items():
        assert fair(simulation.coverage("test", name, questions, RUNS, draw)), name


def test_student_alone_is_too_sure_near_the_ceiling() -> None:
    draw = simulation.deltas(REGIMES[6], 20, student_interval)
    found = simulation.coverage("test", "t", 20, 1000, draw)
    assert found.covered < 0.93
    assert found.above > 3 * found.below


@pytest.mark.parametrize("name", SURFACES)
def test_deltas_at_equal_coherence_hold_the_truth(name: str) -> None:
    draw = simulation.frontiers(SURFACES[name], 20, 70.0)
    assert fair(simulation.coverage("test", name, 20, 150, draw))


def test_p_values_of_nothing_are_uniform_and_those_of_something_are_not() -> None:
    for questions in (20, 40):
        found = simulation.uniformity(REGIMES[1], questions, 300)
        assert found.p_value > 0.001
        assert abs(found.rejected - 0.05) < 3 * math.sqrt(0.05 * 0.95 / 300)
    assert simulation.rank_uniformity(19, 1000).p_value > 0.001
    # Values that pile up at 0 are told from uniform ones.
    assert simulation._uniformity("x", 20, [0.01, 0.02, 0.03] * 30).p_value < 1e-6


def test_a_choice_is_biased_on_its_questions_and_not_on_the_report_questions() -> None:
    found = list(simulated_search.searches(config(), 20, 16))
    first, recount, report = (
        np.array([getattr(one, name) for one in found]) for name in ("first", "recount", "report")
    )
    assert first.mean() > 2 * first.std(ddof=1) / math.sqrt(len(found))
    assert recount.mean() > 0
    assert abs(report.mean()) < 3 * report.std(ddof=1) / math.sqrt(len(found))
    assert sum(one.covered for one in found) >= 12


def test_a_planted_direction_comes_back_and_shuffled_labels_find_none() -> None:
    methods = ("mean_difference", "probe")
    for found in recovery.recovered(methods, 200, 4.0, (0.001, 0.1, 10.0, 1000.0), 4, seed=1):
        assert found.cosine > 0.99
        assert found.auroc > 0.999
        # 200 rows a side: the standard error of an AUROC of one half is 0.03.
        assert abs(found.before - 0.5) < 0.09
        assert abs(found.shuffled - 0.5) < 0.09


def test_the_page_is_written_between_its_marks(tmp_path: Path, monkeypatch) -> None:
    page, figure = tmp_path / "page.md", tmp_path / "page.png"
    names = simulate.TABLES
    marks = [
        f"{simulate.BEGIN.format(name=name)}\nold\n{simulate.END.format(name=name)}\n"
        for name in names
    ]
    page.write_text("before\n" + "kept\n".join(marks) + "after\n", encoding="utf-8")
    write_study(tmp_path)
    monkeypatch.chdir(tmp_path)
    small = simulate.Repeats(intervals=20, slow=4, p_values=20, searches=2, pairs=40)
    # Each fold and penalty fits the probe once more, and other tests look at what it finds.
    quick = {"penalties": (0.1, 10.0), "folds": 2}
    few = config().model_copy(update={"fit": config().fit.model_copy(update=quick)})
    simulate.run(few, small, page, figure)
    text = page.read_text(encoding="utf-8")
    assert text.startswith("before\n") and text.endswith("after\n")
    assert "old" not in text and text.count("kept") == 5
    assert "| delta | near the ceiling |" in text
    assert "| delta | evil, natural, probe |" in text
    assert "| the study: evil, natural, probe | +56.6 | " in text
    assert "10 questions: held the truth" in text
    assert "20 simulated studies" in text
    assert figure.stat().st_size > 10_000
    # A page without one of the marks is refused before minutes of work.
    page.write_text("".join(marks[:-1]), encoding="utf-8")
    monkeypatch.setattr(simulate.simulation, "coverage", lambda *_: pytest.fail("simulated"))
    with pytest.raises(TraitsteerError, match=f"lacks the lines .*{names[-1]}"):
        simulate.run(config(), small, page, figure)


def write_study(folder: Path) -> None:
    """A finished study in which steered answers show the trait or do not, and one has no score."""
    shown = ([90, 90, 90, None], [90, 90, 0, 90], [90, 0, 0, 90], [0, 90, 90, 0], [90, 0, 0, 90])
    for trait in config().study.traits:
        for arm in config().study.arms:
            for method in config().arm(arm).methods:
                rows = [
                    {"setting": setting, "question": q, "sample": s, "trait_score": score}
                    for q, row in enumerate(shown)
                    for s, steered in enumerate(row)
                    for setting, score in (("steered", steered), ("baseline", 0 if s else 1.0))
                ]
                place = folder / layout.evaluation(trait, arm)
                write_jsonl(place / f"{method}.answers.jsonl", rows)
                status = "nothing feasible" if trait == "sycophancy" else "feasible"
                found = {"trait": trait, "arm": arm, "method": method, "status": status}
                write_json(place / f"{method}.json", found)


def test_planted_answers_vary_as_those_of_the_study(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(TraitsteerError, match=r"mean_difference\.json"):
        measured.of_study(config())
    write_study(tmp_path)
    study = measured.of_study(config())
    assert list(study) == ["evil", "hallucination"], "of sycophancy nothing was feasible"
    assert [one.name for one in study["evil"]][2] == "evil, natural, probe"
    one = study["evil"][0]
    assert one.means() == pytest.approx((90 * 12 / 19, 0.25))
    steered, _ = one.draw(np.random.default_rng(0), 50_000, 4)
    assert steered.mean() == pytest.approx(one.means()[0], abs=0.5)
    assert set(np.unique(steered)) == {0.0, 90.0}


@pytest.mark.parametrize("alike", [0.0, 0.2, 0.6])
def test_a_pool_is_as_alike_within_questions_as_what_it_was_made_of(alike: float) -> None:
    made = measured.ScorePool(np.array([0.0, 0.0, 1.0, 40.0, 95.0, 100.0, 100.0]), alike)
    drawn = made.draw(np.random.default_rng(1), 4000, 4)
    found = measured.score_pool({str(n): row for n, row in enumerate(drawn.tolist())})
    assert found.alike == pytest.approx(alike, abs=0.04)
    again = found.draw(np.random.default_rng(2), 4000, 4)
    parts = [
        variance_components({str(n): row for n, row in enumerate(each.tolist())})
        for each in (drawn, again)
    ]
    assert parts[0].between ** 0.5 == pytest.approx(parts[1].between ** 0.5, abs=4)
    assert parts[0].within ** 0.5 == pytest.approx(parts[1].within ** 0.5, abs=1)


def test_a_pool_of_one_score_or_of_questions_that_never_change_is_one_too() -> None:
    assert measured.score_pool({"a": [5.0, 5.0], "b": [5.0, 5.0]}).alike == 0.0
    stiff = measured.score_pool({"a": [0.0, 0.0], "b": [100.0, 100.0], "c": [100.0, 100.0]})
    assert stiff.alike == pytest.approx(0.999)
    drawn = stiff.draw(np.random.default_rng(0), 3000, 4)
    assert (drawn.std(axis=1) == 0).mean() > 0.9


def test_studies_without_an_interval_are_one_sentence() -> None:
    with pytest.raises(TraitsteerError, match="None of 3 simulated studies of delta, a cliff, has"):
        simulation.coverage("delta", "a cliff", 20, 3, lambda seed: (None, 0.0))


def test_a_choice_without_a_feasible_trial_has_no_first_error(monkeypatch) -> None:
    class Infeasible(simulated_search.Search):
        def recount(self, advance):
            found = super().recount(advance)
            self.trials = [trial | {"feasible": False} for trial in self.trials]
            return found

    monkeypatch.setattr(simulated_search, "Search", Infeasible)
    [one] = simulated_search.searches(config(), 20, 1)
    assert math.isnan(one.first) and math.isfinite(one.report)
