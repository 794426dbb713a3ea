"""The comparison of searches: its command on a small made-up grid, and its figures by hand."""

import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest
import torch

from traitsteer.words.config import load
from traitsteer.words.errors import TraitsteerError
from traitsteer.world import tensors

LAYERS, QUESTIONS, SAMPLES = 4, 20, 8
TABLES = "\n".join(
    f"<!-- {name}: written by python -m benchmarks.search -->\nold\n<!-- end of {name} -->\nkept"
    for name in ("grid", "comparison", "margins")
)


@pytest.fixture(autouse=True)
def _from_the_top(repository: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(repository)
    monkeypatch.chdir(repository)


def write_grid(path: Path) -> None:
    """One vector, best at layer 2 with a strength of 0.7: half points, noise of their own."""
    draw = np.random.default_rng(0)
    strengths = np.round(np.arange(0.1, 1.21, 0.05), 2)
    shape = (LAYERS, len(strengths), QUESTIONS, SAMPLES)
    reach = np.array([40, 60, 90, 50])[:, None, None, None]
    at = strengths[None, :, None, None]
    trait = reach / (1 + np.exp(-14 * (at - 0.45))) + draw.normal(0, 8, shape)
    coherence = 90 - 80 / (1 + np.exp(-20 * (at - 0.76))) + draw.normal(0, 8, shape)

    def codes(values: np.ndarray) -> torch.Tensor:
        return torch.tensor(np.clip(np.round(2 * values), 0, 200).astype(np.uint8))

    unsteered = draw.normal(10, 3, shape[2:])
    written = {
        "v/steered/trait": codes(trait),
        "v/steered/coherence": codes(coherence),
        "v/steered/tokens": torch.full(shape, 9, dtype=torch.uint8),
        "v/baseline/trait": codes(unsteered * 0),
        "v/baseline/coherence": codes(unsteered + 80),
        "v/baseline/tokens": torch.full(shape[2:], 9, dtype=torch.uint8),
        "v/report/coherence": torch.tensor(coherence.mean((2, 3))),
    }
    tensors.write(path, written, {"strengths": " ".join(map(str, strengths))})


def test_the_command_writes_results_tables_and_curves(tmp_path: Path) -> None:
    from benchmarks.search.__main__ import main

    write_grid(tmp_path / "grid.safetensors")
    (tmp_path / "page.md").write_text(TABLES)
    (tmp_path / "results.json").write_text('{"procedures": {}, "margins": {}}')
    places = {name: str(tmp_path / file) for name, file in PLACES.items()}
    flags = [part for pair in places.items() for part in pair]
    main(["compare", "cliffs (the default)", "random", "margins", "--seeds", "3", *flags])
    found = json.loads((tmp_path / "results.json").read_text())
    ours, random = (found["procedures"][name] for name in ("cliffs (the default)", "random"))
    assert ours["end_median"] >= 0.95
    assert ours["answers_median"] is not None
    assert ours["answers_median"] < (random["answers_median"] or 9999)
    assert 0 < ours["of_which_searched"] < ours["ends_at"]
    text = (tmp_path / "page.md").read_text()
    assert "old" not in text
    assert text.count("kept") == 3
    assert "| v | 2 | 0.7 |" in text and "layer 0 for 0 of 1 vectors" in text
    assert "| every setting, 4 answers to each question | – | – |" in text
    assert "| random |" in text
    assert "| GP | not run yet: " in text
    assert "1 vectors x 3 seeds" in text
    assert (tmp_path / "curves.png").stat().st_size > 5000
    (tmp_path / "page.md").write_text("no place")
    with pytest.raises(SystemExit, match=r"lacks the lines .*grid"):
        main(["table", *flags])


PLACES = {
    "--grid": "grid.safetensors",
    "--results": "results.json",
    "--page": "page.md",
    "--curves": "curves.png",
}


def test_the_figures_of_a_procedure_are_those_of_its_stops() -> None:
    from benchmarks.search.compare import BUDGETS, Stop, summary

    runs = [
        ("a", [Stop(100, 300, 0.5, True, True, True), Stop(200, 400, 1.0, True, True, False)]),
        ("a", [Stop(100, 300, 0.9, True, True, True), Stop(220, 420, 0.96, True, True, True)]),
        ("b", [Stop(100, 300, 0.0, True, False, False)]),
        ("b", [Stop(100, 100, 0.0, False, False, False)]),
    ]
    found = summary("one", runs)
    assert found.median[BUDGETS.index(300)] == 0.25
    assert found.median[BUDGETS.index(400)] == pytest.approx(0.45)
    assert found.median[BUDGETS.index(420)] == pytest.approx(0.48)
    assert (found.answers_median, found.surfaces) == (None, 1)
    assert (found.below, found.below_elsewhere) == (0.3333, 0.6667)
    assert summary("two", runs[:2]).answers_median == 400
    assert summary("two", runs[:2]).answers_quarter == 420


def test_what_a_search_chose_is_judged_by_answers_that_it_could_not_see() -> None:
    from benchmarks.search import compare, grid
    from benchmarks.search.procedures import procedures

    config, surface = load(Path("profiles/pocket.yaml")), next(iter(grid.read()))
    numbered = np.broadcast_to(np.arange(SAMPLES, dtype=np.float64), surface.baseline.shape)
    marked = dataclasses.replace(surface, baseline=numbered)
    seen, unseen = (part.baseline for part in marked.split(3))
    assert (np.sort(np.concatenate((seen, unseen), axis=1)) == numbered).all()
    assert seen.shape[1] == grid.SEEN
    assert (seen != marked.split(4)[0].baseline).any()
    # What the search sees is best at layer 2, what judges it at layer 4 alone.
    shown = marked.split(0)[0].baseline.astype(int)
    trait = np.zeros_like(surface.trait)
    trait[4] = 90
    rows = np.arange(QUESTIONS)[:, None]
    trait[2, :, rows, shown], trait[4, :, rows, shown] = 100, 0
    flattered = dataclasses.replace(surface, trait=trait)
    for end in (
        compare.stops(config, flattered, procedures()[0], 0)[-1],
        compare.every_setting(config, flattered, 0),
    ):
        assert end.chosen
        assert end.share <= 0
    greedy = dataclasses.replace(procedures()[0], changes={"recount_samples": grid.SEEN})
    with pytest.raises(TraitsteerError, match="1 samples of a question and 4 more"):
        compare.stops(config, surface, greedy, 0)


def test_the_stored_grid_is_whole_and_small(repository: Path) -> None:
    from benchmarks.search.grid import STORED, read

    assert STORED.stat().st_size < 1_000_000
    surfaces = list(read())
    assert len(surfaces) == 9
    for surface in surfaces:
        assert surface.trait.shape == surface.coherence.shape == (6, 23, 20, 8)
        assert np.isfinite(surface.trait).mean() > 0.99
        assert surface.best(70) > 40
        # Weak steering leaves the model as it was; strong steering breaks it.
        coherence = np.nanmean(surface.coherence, axis=(2, 3))
        assert (coherence[:, 0] > 85).all()
        assert (coherence[:, -1] < 70).all()
