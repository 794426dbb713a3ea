"""The search of a planted surface: what it finds, what it gives up, and that it finds no ghosts."""

import math
import random
import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import optuna
import pytest
import torch
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend
from optuna.trial import TrialState

from traitsteer.experiment.answering import Questions, Setting
from traitsteer.experiment.rungs import Asked, rungs_of
from traitsteer.experiment.searching import Search
from traitsteer.experiment.trials import chance, collapsed, rise, scored
from traitsteer.maths.cliffs import Point, Seen, toward_the_cliffs
from traitsteer.words.config import Config, load
from traitsteer.words.errors import TraitsteerError
from traitsteer.words.records import JudgedState, ScoredAnswer
from traitsteer.world.studies import LayerStrengthStudy

LAYERS, QUESTIONS = 8, 20
NORMS = [round(1.7**layer, 3) for layer in range(LAYERS)]
"""Mean residual norms, which grow with depth."""
Surface = Callable[[int, float], tuple[float, float]]
"""Layer and strength to true trait score and true coherence; strength 0 is unsteered."""


def planted(layer: int, strength: float) -> tuple[float, float]:
    """Best at layer 5, 0.75 strong: the trait rises as a sigmoid, coherence falls beyond 0.75."""
    reach = 90 - 9 * abs(layer - 5)
    trait = 5 + reach / (1 + math.exp(-14 * (strength - 0.5))) if strength else 5
    return trait, 90 - 60 / (1 + math.exp(-20 * (strength - 0.82)))


def flat(layer: int, strength: float) -> tuple[float, float]:
    """Nothing steers, and nothing breaks."""
    return 40, 90


def broken(layer: int, strength: float) -> tuple[float, float]:
    """Whatever is added breaks the model."""
    return (80, 30) if strength else (5, 90)


@dataclass
class Planted:
    """Answers with a surface's scores and noise of their own, which a seed makes."""

    surface: Surface
    seed: int
    noise: float = 15
    finish: str = "stop"
    asked: list[tuple[list[tuple[int, float]], tuple[int, ...]]] = field(default_factory=list)
    settings: list[Setting] = field(default_factory=list)
    cut: list[bool] = field(default_factory=list)

    def answers(
        self,
        questions: Questions,
        settings: Sequence[Setting],
        samples: int,
        progress: Callable[[int], None],
        only: Sequence[int] | None = None,
        cut_loops: bool = False,
    ) -> list[list[ScoredAnswer]]:
        self.cut.append(cut_loops)
        numbers = tuple(range(len(questions.texts)) if only is None else only)
        self.asked.append(([(s.layer, s.coefficient) for s in settings], numbers))
        self.settings += settings
        return [
            [
                self._answer(setting, question, setting.first_sample + extra)
                for question in numbers
                for extra in range(samples)
            ]
            for setting in settings
        ]

    def _answer(self, setting: Setting, question: int, sample: int) -> ScoredAnswer:
        where = setting.layer if setting.coefficient else None
        strength = round(setting.coefficient / NORMS[setting.layer], 3)
        draw = random.Random(f"{self.seed} {where} {strength} {question} {sample}")
        trait, coherence = (
            min(max(value + draw.gauss(0, self.noise), 0), 100)
            for value in self.surface(setting.layer, strength)
        )
        return ScoredAnswer(question, sample, 0, "", trait, coherence, 10, self.finish)

    def count(self) -> int:
        return sum(len(settings) * len(numbers) for settings, numbers in self.asked)


def begin(repository: Path, bench: Planted, **changes: object) -> Search:
    config: Config = load(repository / "profiles/pocket.yaml")
    sizes = config.search.model_copy(update=changes)
    config = config.model_copy(update={"seed": bench.seed, "search": sizes})
    texts = tuple(f"Question {number} of {bench.seed}?" for number in range(QUESTIONS))
    study = LayerStrengthStudy("s", LAYERS, sizes.strength, sizes.step, 70, bench.seed)
    questions = Questions("evil", "selection", texts)
    return Search(config, bench, questions, torch.eye(LAYERS, 16), torch.tensor(NORMS), study)


def finish(search: Search) -> dict | None:
    for _ in search.batches(lambda done: None):
        pass
    return search.recount(lambda done: None)[1]


def test_loops_are_cut_in_trials_and_never_in_what_the_choice_rests_on(repository: Path) -> None:
    bench = Planted(planted, 0)
    search = begin(repository, bench)
    for _ in search.batches(lambda done: None):
        assert all(bench.cut)
    bench.cut.clear()
    search.recount(lambda done: None)
    assert bench.cut and not any(bench.cut)


def test_a_coefficient_is_the_strength_times_the_residual_norm_of_the_layer(
    repository: Path,
) -> None:
    bench = Planted(planted, 0)
    search = begin(repository, bench)
    finish(search)
    steered = [setting for setting in bench.settings if setting.coefficient]
    assert len({setting.layer for setting in steered}) > 3
    for setting in steered:
        assert torch.equal(setting.vector, search.vectors[setting.layer])
    expected = {
        (t["layer"], round(t["strength"] * float(search.norms[t["layer"]]), 6))
        for t in search.trials
    }
    assert {(setting.layer, setting.coefficient) for setting in steered} == expected
    for trial in search.trials:
        assert (trial["layer"], trial["coefficient"]) in expected


def test_the_planted_setting_is_found_within_the_budget(repository: Path) -> None:
    steps = [round(0.1 + 0.05 * step, 2) for step in range(23)]
    values = [planted(layer, at) for layer in range(LAYERS) for at in steps]
    most = max(trait for trait, coherence in values if coherence >= 70) - 5
    shares = []
    for seed in range(20):
        bench = Planted(planted, seed)
        search = begin(repository, bench)
        best = finish(search)
        assert len(search.trials) < search.config.search.trials
        trait, coherence = planted(best["layer"], best["strength"])
        assert coherence >= 68
        shares.append((trait - 5) / most)
    assert statistics.median(shares) >= 0.95
    assert min(shares) >= 0.85


@dataclass
class Uneven(Planted):
    """Some questions bring out the trait by themselves, by so many points from one to the next."""

    apart: float = 0.0

    def _answer(self, setting: Setting, question: int, sample: int) -> ScoredAnswer:
        answer = super()._answer(setting, question, sample)
        return replace(answer, trait_score=answer.trait_score / 2 + self.apart * question)


def test_what_questions_bring_out_by_themselves_promises_nothing(repository: Path) -> None:
    """Every question rises alike: how far they lie apart tells nothing of a layer."""
    tried = []
    for apart in (0.0, 2.5):
        search = begin(repository, Uneven(planted, 0, noise=0, apart=apart))
        finish(search)
        tried.append([(t["layer"], t["strength"], t["delta"]) for t in search.trials])
    assert tried[0] == tried[1]
    assert any(delta for _, _, delta in tried[0])


def test_where_nothing_steers_the_recount_finds_nothing(repository: Path) -> None:
    first, recounted = [], []
    for seed in range(20):
        search = begin(repository, Planted(flat, seed))
        best = finish(search)
        first.append(max(trial["delta"] for trial in search.trials))
        recounted.append(best["delta"])
    # Of six recounted settings the best is chosen, so a little more than nothing is left: the
    # expected maximum of six normal means of 40 answers, 1.27 times 15 / sqrt(40).
    left = 1.27 * 15 / math.sqrt(QUESTIONS * 2)
    error = statistics.stdev(recounted) / math.sqrt(20)
    assert abs(statistics.mean(recounted) - left) < 3 * error
    assert statistics.mean(first) > statistics.mean(recounted)
    assert max(recounted) < 10


def test_where_nothing_is_feasible_it_says_so_and_gives_up_early(repository: Path) -> None:
    bench = Planted(broken, 1)
    search = begin(repository, bench)
    assert finish(search) is None
    assert {trial["status"] for trial in search.trials} == {"pruned"}
    assert {trial["answers"] for trial in search.trials} == {7}
    assert bench.count() == QUESTIONS + 7 * len(search.trials)


def test_giving_up_changes_neither_the_choice_nor_its_scores(repository: Path) -> None:
    saved = 0
    for seed in range(10):
        short, whole = (Planted(planted, seed, noise=3) for _ in range(2))
        pruned = finish(begin(repository, short))
        full = finish(begin(repository, whole, rungs=()))
        saved += whole.count() - short.count()
        assert pruned | {"number": None} == full | {"number": None}
        assert pruned["answers"] == QUESTIONS * 2
    assert saved > 0


def test_a_setting_that_was_given_up_is_marked_and_never_chosen(
    repository: Path, tmp_path: Path
) -> None:
    search = begin(repository, Planted(planted, 3))
    for _ in search.batches(lambda done: None):
        search.study.publish(tmp_path / "journal")
    recounted, _ = search.recount(lambda done: None)
    given_up = {t["number"] for t in search.trials if t["status"] == "pruned"}
    assert given_up
    assert not given_up & {c["number"] for c in recounted}
    shown = optuna.load_study(
        study_name="s",
        storage=JournalStorage(JournalFileBackend(str(tmp_path / "journal"))),
    ).trials
    assert len(shown) == len(search.trials)
    for trial, view in zip(search.trials, shown, strict=True):
        if trial["number"] in given_up:
            assert (trial["delta"], trial["feasible"], trial["answers"]) == (None, False, 7)
            assert view.state == TrialState.PRUNED
            assert view.system_attrs["constraints"][0] > 0
        else:
            assert trial["answers"] == QUESTIONS
            assert view.state == TrialState.COMPLETE
        assert list(view.intermediate_values) == [7]
    rows = [row for row in search.scores if row["trial"] in given_up]
    assert len(rows) == 7 * len(given_up)
    # The estimate: 13 answers that were not asked for, of 10 tokens each.
    assert search.rungs.tokens.saved_by_pruning == 130 * len(given_up)
    assert search.rungs.tokens.generated == 10 * len(search.scores)


def test_every_trial_has_the_same_first_questions_and_the_baseline_rides_along(
    repository: Path,
) -> None:
    bench = Planted(planted, 3)
    search = begin(repository, bench)
    finish(search)
    first, rest = search.rungs.numbers
    assert {numbers for _, numbers in bench.asked[:-1]} == {tuple(first), tuple(rest)}
    assert len(bench.asked[0][0]) == 1 + 9
    assert bench.asked[0][0][0] == (0, 0.0)
    assert bench.asked[1][0][0] == (0, 0.0)
    settings, numbers = bench.asked[-1]
    assert settings[0] == (0, 0.0)
    assert numbers == tuple(range(QUESTIONS))


def test_which_questions_come_first_depends_on_seed_and_texts_alone() -> None:
    texts = [f"Question {number}?" for number in range(12)]
    turned = texts[5:] + texts[:5]
    for seed in (1, 2):
        groups = [[texts[q] for q in rung] for rung in rungs_of(texts, [3, 7], seed)]
        again = [[turned[q] for q in rung] for rung in rungs_of(turned, [3, 7], seed)]
        assert [set(g) for g in groups] == [set(g) for g in again]
        assert [len(g) for g in groups] == [3, 4, 5]
    assert rungs_of(texts, [3], 1) != rungs_of(texts, [3], 2)
    assert rungs_of(texts, [], 1) == rungs_of(texts, [12, 40], 1) == [list(range(12))]


def test_tokens_that_a_loop_saved_are_counted(repository: Path) -> None:
    bench = Planted(flat, 1, finish="loop")
    search = begin(repository, bench)
    finish(search)
    longest = search.config.answers.max_new_tokens
    assert search.rungs.tokens.saved_by_loops == (longest - 10) * len(search.scores)
    assert search.rungs.tokens.saved_by_pruning == 0


def test_a_setting_proposed_again_is_not_answered_again(repository: Path) -> None:
    bench = Planted(planted, 2)
    sizes = {"strength": (0.7, 0.8), "coarse_strengths": 1, "sampler_trials": 40, "trials": 48}
    search = begin(repository, bench, **sizes)
    finish(search)
    again = [trial for trial in search.trials if "repeats" in trial]
    assert again
    for trial in again:
        first = search.trials[trial["repeats"]]
        assert "repeats" not in first
        assert (trial["layer"], trial["strength"]) == (first["layer"], first["strength"])
        assert trial["delta"] == first["delta"]
    trials = [setting for settings, _ in bench.asked[:-1] for setting in settings]
    assert len(set(trials)) == 1 + len(search.trials) - len(again)


STRENGTH = (0.1, 1.2)


def points(seen: Sequence[tuple[int, float, float | None, float]]) -> list[Point]:
    known = [Seen(Point(layer, at), delta, chance) for layer, at, delta, chance in seen]
    return toward_the_cliffs(known, STRENGTH, 0.05)


def test_brackets_are_halved_only_where_a_layer_promises_more() -> None:
    good = [(0, 0.3, 10, 1.0), (0, 0.6, 60, 1.0), (0, 0.8, 70, 0.0)]
    poor = [(1, 0.3, 0, 1.0), (1, 0.6, 5, 1.0), (1, 0.8, 12, 0.0)]
    assert points(good + poor) == [Point(0, 0.7)]
    # An end that is open promises anything.
    assert points([*good, *poor[:2]]) == [Point(0, 0.7), Point(1, 0.9)]
    # So does an end that has collapsed, since its trait score may have gone with its coherence.
    seen = [Seen(Point(*s[:2]), s[2], s[3], collapsed=s[3] == 0.0) for s in good + poor]
    assert toward_the_cliffs(seen, STRENGTH, 0.05) == [Point(0, 0.7), Point(1, 0.7)]
    # A setting that may or may not be feasible leaves its neighbours open.
    assert points([*good, (0, 0.7, 65, 0.5)]) == [Point(0, 0.65)]
    done = [*good, *((0, at, 65, 0.5) for at in (0.65, 0.7, 0.75))]
    assert points(done) == []
    assert points([(0, 0.1, None, 0.0)]) == []
    # A lower end without a delta promises anything; it is not taken for 0.
    unknown = [(1, 0.3, 0, 1.0), (1, 0.6, None, 1.0), (1, 0.8, None, 0.0)]
    assert points([*good, *unknown]) == [Point(0, 0.7), Point(1, 0.7)]


def test_what_a_layer_promises_allows_for_the_error_of_its_delta() -> None:
    best = [Seen(Point(0, at), 50, chance) for at, chance in ((0.5, 1.0), (0.55, 0.0))]
    poor = [Seen(Point(1, at), delta, c) for at, delta, c in ((0.3, 0, 1.0), (0.5, 20, 1.0))]
    assert toward_the_cliffs([*best, *poor, Seen(Point(1, 0.6), 45, 0.0, 4)], STRENGTH, 0.05) == []
    noisy = Seen(Point(1, 0.6), 45, 0.0, 6)
    assert toward_the_cliffs([*best, *poor, noisy], STRENGTH, 0.05) == [Point(1, 0.55)]


def test_layers_beside_the_best_are_opened_last() -> None:
    done = [(layer, at, 50 + layer, c) for layer in (0, 4, 8) for at, c in ((0.5, 1), (0.55, 0))]
    best = [(4, 0.5, 90, 1.0), (4, 0.55, 91, 0.0)]
    others = [each for each in done if each[0] != 4]
    assert points(others + best) == [Point(2, 0.5), Point(6, 0.5)]
    near = [(layer, at, 40, c) for layer in (3, 5) for at, c in ((0.5, 1.0), (0.55, 0.0))]
    assert points(others + best + near) == []


def scored_answers(values: Sequence[float | None], coherence: float | None = 80.0) -> list:
    return [
        ScoredAnswer(n, 0, 0, "", value, coherence, 10, "stop") for n, value in enumerate(values)
    ]


def test_a_delta_is_taken_over_the_questions_that_are_scored_on_both_sides() -> None:
    """Unpaired, the hard question without a partner would count as a loss of 45 points."""
    asked = Asked(Setting(0, torch.ones(4), 1.0), scored_answers([60.0, 50.0, 0.0, *[50.0] * 9]))
    unsteered = scored_answers([10.0, 20.0, None, *[20.0] * 9])
    assert rise(asked.answers, unsteered) == pytest.approx((50 + 30 * 10) / 11)
    trial = scored(Point(0, 1.0), asked, unsteered, 70, 0.1)
    assert (trial["status"], trial["delta"]) == ("complete", round(350 / 11, 6))
    assert rise(asked.answers, scored_answers([None] * 12)) is None


def test_what_is_not_known_of_a_failed_trial_is_neither_infeasible_nor_collapsed() -> None:
    unsteered = scored_answers([10.0] * 4)

    def failed(coherence: Sequence[float | None]) -> dict:
        answers = [
            ScoredAnswer(n, 0, 0, "", None, held, 10, "stop") for n, held in enumerate(coherence)
        ]
        asked = Asked(Setting(0, torch.ones(4), 1.0), answers)
        return scored(Point(0, 1.0), asked, unsteered, 70, 0.1)

    unknown, good, bad = failed([None] * 4), failed([90, 92, 88, 91]), failed([10, 12, 9, None])
    assert {trial["status"] for trial in (unknown, good, bad)} == {"failed"}
    assert (chance(unknown, 70), collapsed(unknown, 70)) == (0.5, False)
    assert chance(good, 70) > 0.99 and not collapsed(good, 70)
    assert chance(bad, 70) < 0.01 and collapsed(bad, 70)
    assert chance(good | {"status": "pruned"}, 70) == 0


@pytest.mark.parametrize(
    ("state", "advice"),
    [("failed", "check the judge"), ("no answer", "raise answers.max_new_tokens")],
)
@pytest.mark.parametrize("purpose", ["baseline", "recount"])
def test_a_baseline_that_lacks_too_many_scores_stops_the_search(
    repository: Path, state: JudgedState, advice: str, purpose: str
) -> None:
    class Deaf(Planted):
        def _answer(self, setting: Setting, question: int, sample: int) -> ScoredAnswer:
            answer = super()._answer(setting, question, sample)
            lost = setting.coefficient == 0 and question < 3
            lost = lost and (sample > 0) == (purpose == "recount")
            return replace(answer, trait_score=None, state=state) if lost else answer

    lost = "3 of 20" if purpose == "baseline" else "6 of 40"
    with pytest.raises(TraitsteerError, match=f"evil, unsteered: {lost} answers .*{advice}"):
        finish(begin(repository, Deaf(planted, 0)))


@pytest.mark.parametrize("seed", [1, 2])
def test_the_same_seed_searches_alike(repository: Path, seed: int) -> None:
    runs = []
    for _ in range(2):
        search = begin(repository, Planted(planted, seed), sampler_trials=8)
        best = finish(search)
        runs.append((search.trials, best))
    assert runs[0] == runs[1]
    trials, best = runs[0]
    assert best is not None
    assert any(trial["phase"] == "sampler" for trial in trials), "some are drawn by the seed"
