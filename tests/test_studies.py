"""The search: batches, constraint, replay, and what the dashboard reads."""

import threading
from collections.abc import Iterable
from pathlib import Path

import optuna
import pytest
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend
from optuna.trial import FrozenTrial, TrialState

from traitsteer.experiment.trials import choose
from traitsteer.maths.cliffs import Point, coarse_design
from traitsteer.world.studies import LayerStrengthStudy, Outcome


def surface(point: Point, times: float = 1.0) -> Outcome:
    """Delta rises with strength and peaks at layer 5; coherence falls off a cliff near 0.75."""
    delta = times * 90 * min(point.strength, 0.9) * (1 - abs(point.layer - 5) / 10)
    coherence = 95.0 if point.strength < 0.75 else 95 - 300 * (point.strength - 0.75)
    return Outcome(delta, coherence, delta + 5, point.strength * 3)


def search(
    batch: int = 8, trials: int = 48, times: float = 1.0, journal: Path | None = None
) -> tuple[LayerStrengthStudy, list[Point]]:
    """A search to its end, each of its batches shown in the journal."""
    study = LayerStrengthStudy(
        "trait-arm-method", 12, (0.1, 1.0), 0.05, 70, seed=3, protocol="ab" * 32
    )
    coarse = coarse_design(12, 4, (0.1, 1.0), 4, 0.05)
    asked = study.ask(coarse)
    assert asked == coarse
    study.tell([surface(point, times) for point in asked])
    while True:
        if journal is not None:
            study.publish(journal)
        if len(asked) >= trials:
            return study, asked
        points = study.ask(batch)
        study.tell([surface(point, times) for point in points])
        asked += points


def shown_in(journal: Path, name: str = "trait-arm-method") -> optuna.Study:
    storage = JournalStorage(JournalFileBackend(str(journal)))
    return optuna.load_study(study_name=name, storage=storage)


def told(study: optuna.Study) -> list[tuple[object, ...]]:
    """All that the journal shows of a study's trials, apart from times."""
    return [
        (t.number, t.state, t.value, t.params, t.user_attrs, t.system_attrs) for t in study.trials
    ]


def test_coarse_design_covers_both_ends_of_the_layers_and_the_middle_of_the_strengths() -> None:
    points = coarse_design(32, 8, (0.2, 1.2), 5, 0.05)
    assert len(points) == 40
    assert {p.layer for p in points} == {0, 4, 9, 13, 18, 22, 27, 31}
    assert sorted({p.strength for p in points}) == [0.3, 0.5, 0.7, 0.9, 1.1]
    assert len(coarse_design(3, 8, (0.2, 1.2), 1, 0.05)) == 3


def test_search_finds_the_best_feasible_setting_and_not_the_best_infeasible_one() -> None:
    _, asked = search()
    outcomes = [(point, surface(point)) for point in asked]
    best = max((o for o in outcomes if o[1].coherence >= 70), key=lambda o: o[1].delta)
    assert best[1].delta > 0.93 * surface(Point(5, 0.8)).delta
    assert best[0].strength < 0.84


def test_the_same_seed_asks_for_the_same_settings() -> None:
    assert search()[1] == search()[1]


def test_published_trials_are_feasible_only_above_the_floor(tmp_path: Path, capsys) -> None:
    journal = tmp_path / "views" / "studies.journal"
    study, asked = search(trials=24)
    study.publish(journal)
    study.publish(journal)
    shown = optuna.load_study(
        study_name="trait-arm-method", storage=JournalStorage(JournalFileBackend(str(journal)))
    )
    assert len(shown.trials) == len(asked)
    assert shown.user_attrs["protocol"] == "ab" * 32
    broken = tmp_path / "broken.journal"
    broken.write_bytes(journal.read_bytes()[:-20])
    study.publish(broken)
    again = optuna.load_study(
        study_name="trait-arm-method", storage=JournalStorage(JournalFileBackend(str(broken)))
    )
    assert len(again.trials) == len(asked)
    # Another broken one is set aside under another name.
    broken.write_bytes(journal.read_bytes()[:-30])
    study.publish(broken)
    first, second = tmp_path / "broken.broken", tmp_path / "broken.broken1"
    assert first.read_bytes().startswith(journal.read_bytes()[:-20])
    assert second.read_bytes().startswith(journal.read_bytes()[:-30])
    said = capsys.readouterr().err
    assert f"{broken} cannot be read; it is kept as {second}, and a new journal is begun" in said
    assert shown.best_trial.user_attrs["coherence"] >= 70
    for trial in shown.trials:
        violation = 70 - trial.user_attrs["coherence"]
        assert trial.system_attrs["constraints"] == pytest.approx([violation])
    best = shown.best_value
    # What was scored otherwise is another study of the same name.
    other, _ = search(trials=24, times=2.0)
    other.publish(journal)
    replaced = optuna.load_study(
        study_name="trait-arm-method", storage=JournalStorage(JournalFileBackend(str(journal)))
    )
    assert [t.value for t in replaced.trials] == [t.value for t in other._study.trials]
    assert replaced.best_value == pytest.approx(2 * best)


@pytest.mark.parametrize("lost", [0, 3], ids=["between batches", "within a batch"])
def test_a_search_that_was_killed_and_resumed_keeps_its_study(tmp_path: Path, lost: int) -> None:
    whole, resumed = tmp_path / "whole.journal", tmp_path / "resumed.journal"
    search(trials=48, journal=whole)
    search(trials=40, journal=resumed)
    lines = resumed.read_bytes().splitlines(keepends=True)
    resumed.write_bytes(b"".join(lines[: len(lines) - lost]))
    before = shown_in(resumed)
    before.set_user_attr("note", "kept")
    kept = told(before)
    assert len(kept) == 40 - lost
    # The replay begins with the first batch, of which the journal holds more already.
    search(trials=16, journal=resumed)
    assert told(shown_in(resumed)) == kept
    search(trials=48, journal=resumed)
    after = shown_in(resumed)
    assert after._study_id == before._study_id
    assert after.user_attrs == {"protocol": "ab" * 32, "note": "kept"}
    assert told(after) == told(shown_in(whole))
    # A difference within what both have begins the study anew, however far the journal is.
    search(trials=16, times=2.0, journal=resumed)
    assert shown_in(resumed)._study_id != before._study_id
    assert len(shown_in(resumed).trials) == 16


def test_a_search_that_ends_earlier_keeps_no_trials_of_the_one_before(tmp_path: Path) -> None:
    journal = tmp_path / "studies.journal"
    before, _ = search(trials=48, journal=journal)
    before.publish(journal, ended=True)
    first = shown_in(journal)
    kept = told(first)
    # What is published again is the same study still.
    before.publish(journal, ended=True)
    assert shown_in(journal)._study_id == first._study_id
    study, asked = search(trials=24, journal=journal)
    assert len(shown_in(journal).trials) == 48
    study.publish(journal, ended=True)
    assert told(shown_in(journal)) == kept[: len(asked)]


def test_two_searches_that_publish_at_once_add_a_trial_once(tmp_path: Path, monkeypatch) -> None:
    journal = tmp_path / "studies.journal"
    study, asked = search(trials=24)
    another, _ = search(trials=24)
    add, others = optuna.Study.add_trials, []

    def overtaken(shown: optuna.Study, trials: Iterable[FrozenTrial]) -> None:
        """Once it is known what to add, another search publishes the same study, if it may."""
        if not others:
            others.append(threading.Thread(target=another.publish, args=[journal]))
            others[0].start()
            others[0].join(timeout=1)
        add(shown, trials)

    monkeypatch.setattr(optuna.Study, "add_trials", overtaken)
    study.publish(journal)
    others[0].join()
    assert len(shown_in(journal).trials) == len(asked)


@pytest.mark.parametrize("times", [1, 99])
def test_a_study_that_is_deleted_meanwhile_is_begun_again_or_said_not_to_be_whole(
    tmp_path: Path, times: int, monkeypatch, capsys
) -> None:
    journal = tmp_path / "studies.journal"
    study, asked = search(trials=24)
    opened, calls = LayerStrengthStudy._opened, []

    def vanishing(own: LayerStrengthStudy, journal: Path) -> object:
        found = opened(own, journal)
        calls.append(journal)
        if len(calls) <= times:
            another = JournalStorage(JournalFileBackend(str(journal)))
            optuna.delete_study(study_name=own.name, storage=another)
        return found

    with monkeypatch.context() as patch:
        patch.setattr(LayerStrengthStudy, "_opened", vanishing)
        study.publish(journal)
    said = capsys.readouterr().err
    assert ("does not hold all trials of the study trait-arm-method" in said) == (times > 1)
    study.publish(journal)
    assert len(shown_in(journal).trials) == len(asked)


def test_a_journal_that_reads_well_is_never_set_aside(tmp_path: Path, monkeypatch) -> None:
    journal = tmp_path / "studies.journal"
    study, _ = search(trials=24)

    def fail(*_args: object) -> None:
        raise ValueError("no trial")

    monkeypatch.setattr(optuna.Study, "add_trials", fail)
    with pytest.raises(ValueError, match="no trial"):
        study.publish(journal)
    kept = sorted(path.name for path in tmp_path.iterdir())
    assert kept == ["studies.journal", "studies.journal.publishing"]


def test_a_trial_without_scores_fails_and_the_study_goes_on() -> None:
    study = LayerStrengthStudy("s", 4, (0.1, 1.0), 0.05, 70, seed=0)
    study.ask(2)
    study.tell([Outcome(None, None, None, 1.0), Outcome(5.0, 80.0, 9.0, 1.0)])
    states = [trial.state for trial in study._study.trials]
    assert states == [TrialState.FAIL, TrialState.COMPLETE]
    assert len(study.ask(3)) == 3


def test_a_pruned_trial_is_infeasible_to_the_sampler_and_shown_as_pruned(tmp_path: Path) -> None:
    study = LayerStrengthStudy("s", 4, (0.1, 1.0), 0.05, 70, seed=0)
    study.ask([Point(0, 0.9), Point(0, 0.5)])
    study.tell(
        [
            Outcome(None, 30.0, 95.0, 1.0, pruned=True, rungs={7: 90.0}),
            Outcome(5.0, 80.0, 9.0, 1.0, rungs={7: 6.0}),
        ]
    )
    study.publish(tmp_path / "journal")
    shown = optuna.load_study(
        study_name="s", storage=JournalStorage(JournalFileBackend(str(tmp_path / "journal")))
    )
    pruned, complete = shown.trials
    assert (pruned.state, complete.state) == (TrialState.PRUNED, TrialState.COMPLETE)
    assert pruned.intermediate_values == {7: 90.0}
    assert pruned.constraints["coherence_below_floor"] == 40.0
    assert shown.best_trial.number == complete.number


@pytest.mark.parametrize("pruned", [True, False])
def test_the_sampler_learns_from_pruned_trials(pruned: bool) -> None:
    """The stronger the better, but beyond 0.6 a setting is given up; or, as a control, is not."""
    study = LayerStrengthStudy("s", 4, (0.1, 1.0), 0.05, 70, seed=0)
    asked = []
    for _ in range(60):
        [point] = study.ask(1)
        value = 90 * point.strength
        given_up = Outcome(None, 30.0, 95.0, 1.0, pruned=True, rungs={7: value})
        study.tell(
            [given_up if pruned and point.strength > 0.6 else Outcome(value, 80.0, 9.0, 1.0)]
        )
        asked.append(point.strength)
    weak = sum(strength <= 0.61 for strength in asked[30:])
    assert weak >= 15 if pruned else weak <= 8


def test_the_choice_needs_coherence_and_says_so_when_there_is_none() -> None:
    found = [(60.0, 69.0), (50.0, 73.0), (None, 99.0), (40.0, 90.0)]
    recounted = [{"delta": d, "coherence": c, "coherence_error": 2.0} for d, c in found]
    assert choose(recounted, 70) == recounted[1]
    assert choose(recounted, 70, margin=2) == recounted[3]
    assert choose(recounted[:1], 70) is None
