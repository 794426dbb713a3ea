"""Rows that are still one are computed once, and what they were is found when they part."""

import numpy as np
import pytest
from steering_oracle import PROMPTS, batches, direction, slow_reference

from traitsteer.engine import sharing
from traitsteer.engine.generation import generate
from traitsteer.engine.rows import Batching, Row, Sampling, Steered, Steering
from traitsteer.engine.sharing import Runs
from traitsteer.engine.trial import try_out
from traitsteer.world.model.language_model import LanguageModel

LAYERS = 4
LITTLE = sharing._WORTH
VECTORS = [direction(seed) for seed in range(3)]


@pytest.fixture(autouse=True)
def _little_is_worth_sharing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sharing, "_WORTH", 1.0)


def random_rows(draw: np.random.Generator, count: int) -> list[Row]:
    def setting() -> Steering | None:
        layer, vector = draw.integers(LAYERS), VECTORS[draw.integers(len(VECTORS))]
        coefficient, where = draw.integers(3), draw.choice(["all", "prompt", "response"])
        return Steering(int(layer), vector, float(coefficient), where)

    prompts = [(1, 2), (1, 3), (4,)]
    return [Row(prompts[draw.integers(3)], 0, setting()) for _ in range(count)]


class Naive:
    """One row at a time: what it has said, and which buffer of each block holds its past."""

    def __init__(self, row: Row, batch: int) -> None:
        self.row, self.said = row, (batch, *row.prompt_ids)

    def run(self, block: int) -> tuple[object, ...]:
        """What the row is at the input of this block."""
        steering = self.row.applied
        if steering is None or steering.layer >= block:
            return (self.said,)
        own = steering.layer, steering.coefficient, id(steering.vector), steering.positions
        return (self.said, own)


@pytest.mark.parametrize("worth", [1.0, LITTLE])
@pytest.mark.parametrize("seed", range(12))
def test_every_row_finds_its_past_and_shares_it_with_those_that_are_the_same(
    seed: int, worth: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sharing, "_WORTH", worth)
    draw = np.random.default_rng(seed)
    runs = Runs(LAYERS, shared=True)
    rows: list[Naive] = []
    slots: list[dict[int, tuple[object, ...]]] = [{} for _ in range(LAYERS)]
    """What each slot of each block was filled with, or copied from, and has been told since."""
    for batch in range(30):
        if batch % 7 == 0:
            new = [Naive(row, batch) for row in random_rows(draw, int(draw.integers(1, 24)))]
            used = runs.slots
            for block, level in enumerate(runs.admit([each.row for each in new])):
                for place, row in enumerate(level.first):
                    slots[block][used[block] + place] = new[row].run(block)
            rows += new
            told = new
        else:
            told = rows
        # Few tokens, so that texts stay together for a while.
        tokens = {each.said: draw.integers(1 + draw.integers(3)) for each in told}
        chosen = [tokens[each.said] + (draw.random() < 0.1) for each in told]
        runs.tell(np.array(chosen, dtype=np.int64))
        past = [[each.run(block) for block in range(LAYERS)] for each in rows]
        for each, token in zip(told, chosen, strict=True):
            each.said = (*each.said, int(token))
        if draw.random() < 0.4:
            stay = draw.permutation(len(rows))[: draw.integers(1, len(rows) + 1)]
            rows, past = [rows[at] for at in stay], [past[at] for at in stay]
            runs.keep(stay)
        for move in runs.settle():
            for block in move.blocks:
                moved = [slots[block][source] for source in move.source]
                slots[block].update(zip(move.target.tolist(), moved, strict=True))
        for block, level in enumerate(runs.levels):
            now = [each.run(block) for each in rows]
            if worth == 1:
                assert len(level.first) == len(set(now)), "one run for rows that are one, no more"
            assert sorted(set(level.place)) == list(range(len(level.first)))
            assert [level.place[row] for row in level.first] == list(range(len(level.first)))
            for at, place in enumerate(level.place):
                assert slots[block][place] == past[at][block]
            slots[block] = {int(place): now[at] for at, place in enumerate(level.place)}
        last = runs.alike.level(LAYERS)
        assert worth < 1 or len(last.first) == len({each.run(LAYERS) for each in rows})
        assert sorted(last.first) == list(last.first), "logits come in the order of the rows"


def test_without_sharing_a_rows_number_is_its_slot() -> None:
    runs = Runs(LAYERS, shared=False)
    rows = random_rows(np.random.default_rng(0), 9)
    for level in runs.admit(rows):
        assert level.place.tolist() == level.first.tolist() == list(range(9))
    assert runs.parted
    runs.keep(np.array([0, 8, 2, 7, 4]))
    (move,) = runs.settle()
    assert move.blocks == range(LAYERS)
    assert list(zip(move.source, move.target, strict=True)) == [(8, 1), (7, 3)]
    assert all(level.place.tolist() == list(range(5)) for level in runs.levels)


def test_rows_are_told_apart_once_there_is_little_left_to_share(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(sharing, "_WORTH", LITTLE)
    runs = Runs(2, shared=True)
    runs.admit([Row((1, 2), seed, Steering(0, VECTORS[0], 1.0)) for seed in range(10)])
    runs.tell(np.array([3, 3, 3, 3, 4, 5, 6, 7, 8, 9]))
    runs.settle()
    assert runs.slots == [7, 7] and not runs.parted
    runs.tell(np.array([3, 3, 4, 5, 4, 5, 6, 7, 8, 9]))
    assert not runs.parted
    runs.settle()
    assert runs.slots == [10, 10] and runs.parted, "nine runs of ten rows"
    assert all(level.place.tolist() == list(range(10)) for level in runs.levels)


@pytest.mark.parametrize("temperature", [0.0, 1.0])
def test_steering_that_changes_no_token_costs_the_blocks_above_it_alone(
    llama: LanguageModel, temperature: float
) -> None:
    prompt, sampling = llama.encode(PROMPTS[0]), Sampling(4, temperature)
    weak = [Row(prompt, 1, Steering(layer, v, 1e-6)) for layer in (0, 1) for v in VECTORS]
    rows = [*weak, Row(prompt, 1, Steering(2, VECTORS[0], 0.0)), Row(prompt, 1)]
    with batches(llama) as seen:
        found = generate(llama, rows, sampling, Batching(16))
    assert len({answer.ids for answer in found}) == 1
    assert seen == [[1, 4, 7]] * len(seen) and len(seen) == 4
    try_out(llama, True)
    with batches(llama) as seen:
        assert generate(llama, rows, sampling, Batching(16, capture=True)) == found
    assert seen[1:] == [[8, 8, 8]] * 3, "a step of fixed shapes has all rows"


@pytest.mark.parametrize("positions", ["all", "prompt", "response"])
def test_rows_part_where_their_answers_do(llama: LanguageModel, positions: Steered) -> None:
    prompt, sampling = llama.encode(PROMPTS[1]), Sampling(24, 0.0)
    rows = [
        Row(prompt, 1, Steering(layer, VECTORS[0], coefficient, positions))
        for layer in range(llama.layers)
        for coefficient in (0.05, 0.3, 1.0, 8.0)
    ]
    with batches(llama) as seen:
        found = generate(llama, rows, sampling, Batching(32))
    assert [answer.ids for answer in found] == [
        tuple(slow_reference(llama, row, sampling)) for row in rows
    ]
    # The last token of an answer is chosen and not run; one that ended it was chosen after that.
    runs = [len(each.ids) - (each.finish == "length") for each in found]
    for step, counts in enumerate(seen[1:], 1):
        there = [
            (answer.ids[:step], row.steering)
            for answer, row, steps in zip(found, rows, runs, strict=True)
            if steps >= step
        ]
        assert counts == [
            len({(text, s if s and s.layer < block else None) for text, s in there})
            for block in range(llama.layers)
        ]
    assert 1 < seen[3][0] < len(rows), "some have parted, and some have not"


def test_samples_of_a_prompt_take_the_room_of_one(llama: LanguageModel) -> None:
    rows = [
        Row(prompt, seed, Steering(2, VECTORS[0], 1.0, positions))
        for prompt in ((20, 21, 22), (30, 31, 32), (40, 41, 42))
        for seed in range(4)
        for positions in ("all", "response")
    ]
    with batches(llama) as seen:
        whole = generate(llama, rows, Sampling(2), Batching(24, tokens=18))
    # Three prompts of three tokens, steered and unsteered.
    assert seen[0][0] == 3 and len(seen) == 2
    assert generate(llama, rows, Sampling(2), Batching(24, tokens=1)) == whole


def test_the_rows_of_a_prompt_are_taken_in_together(llama: LanguageModel) -> None:
    rows = [
        Row(prompt, 1, Steering(2, vector, 1e-6))
        for prompt in ((20, 21, 22), (30, 31, 32), (40, 41, 42))
        for vector in VECTORS
    ]
    with batches(llama) as seen:
        whole = generate(llama, rows, Sampling(2), Batching(9, tokens=15))
    # Fifteen tokens would be five rows.
    assert [first for first, *_ in seen] == [1, 1, 1, 3]
    with batches(llama) as seen:
        assert generate(llama, rows, Sampling(2), Batching(9, tokens=7)) == whole
    assert [first for first, *_ in seen] == [1] * 6 + [6], "three rows of one prompt are too many"
