"""Rows come and go in one stream: refilling, sharing, halving and cutting change no answer."""

import gc
import random
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import pytest
import torch
from steering_oracle import PROMPTS, batches, direction, mixed_rows, slow_reference
from tiny import KINDS, Built, build
from torch import Tensor

from traitsteer.engine import decoding, writing
from traitsteer.engine.generation import generate
from traitsteer.engine.rows import Batching, Row, Sampling, Steering
from traitsteer.engine.sampling import looping
from traitsteer.engine.trial import try_out
from traitsteer.words.errors import TraitsteerError
from traitsteer.world.model.language_model import LanguageModel, load

LONG = Sampling(80, 1.0)
"""Longer than the slack of the columns, so that they are shifted."""


@pytest.fixture(autouse=True)
def _memory_that_nobody_wrote_is_nan() -> Iterator[None]:
    torch.use_deterministic_algorithms(True)  # Fills new memory with NaN.
    yield
    torch.use_deterministic_algorithms(False)


@pytest.fixture(scope="module")
def ending(tmp_path_factory: pytest.TempPathFactory) -> LanguageModel:
    """A model with many tokens that end a response, so that lengths differ widely."""
    folder = tmp_path_factory.mktemp("ending")
    build(folder, "llama", seed=4)
    model = load(str(folder), chat=True, device="cpu")
    model.model.generation_config.eos_token_id = list(range(1, 14))
    return model


def test_rows_that_take_free_places_say_what_they_say_alone(ending: LanguageModel) -> None:
    rows = mixed_rows(ending)
    alone = [generate(ending, [row], LONG, Batching(1))[0] for row in rows]
    assert max(len(g.ids) for g in alone) - min(len(g.ids) for g in alone) > 40
    for slots in (2, 7, 16):
        assert generate(ending, rows, LONG, Batching(slots, 100)) == alone
    assert [g.ids for g in alone[:6]] == [slow_reference(ending, r, LONG) for r in rows[:6]]


def test_prompts_longer_than_those_before_them_join(ending: LanguageModel) -> None:
    """Rows wait in their order: a row that joins may begin before all columns in use."""
    texts = ["x", "the dog", "the cat sees the small red", "a", "a big dog likes the small red cat"]
    rows = [
        Row(ending.encode(text), seed, Steering(seed % 3, direction(seed), 3.0))
        for seed, text in enumerate(texts * 5)
    ]
    expected = [slow_reference(ending, row, Sampling(30)) for row in rows]
    for slots, tokens in ((2, 512), (3, 8), (5, 40), (25, 60)):
        found = generate(ending, rows, Sampling(30), Batching(slots, tokens))
        assert [g.ids for g in found] == expected


@pytest.mark.parametrize("seed", [4, 55, 57, 84])
def test_a_run_that_parts_and_a_prompt_that_joins_read_nothing_that_nobody_wrote(
    seed: int, ending: LanguageModel
) -> None:
    """A run gets a slot that was never in use, after the row that began first has left; then a
    prompt joins that begins between the two."""
    draw = random.Random(seed)
    prompts = [
        tuple(draw.choices(range(20, 260), k=n)) for n in draw.choices([2, 5, 9, 14, 22, 35], k=4)
    ]
    rows = []
    for _ in range(draw.randint(8, 20)):
        prompt, row_seed, layer = draw.choice(prompts), draw.randrange(3), draw.randrange(3)
        strength = draw.choice([0, 0, 0.05, 0.3, 3.0])
        rows.append(Row(prompt, row_seed, Steering(layer, direction(layer), strength)))
    batching = Batching(draw.choice([4, 6, 9]), draw.choice([30, 60, 200]))
    sampling = Sampling(24, 1.0)
    ending.spare.clear()
    found = generate(ending, rows, sampling, batching)
    assert found == [generate(ending, [row], sampling, Batching(1))[0] for row in rows]


def test_as_many_prompts_as_tokens_are_not_taken_for_each_other(ending: LanguageModel) -> None:
    rows = [
        Row((1, 60 + place, 90, 100 + place, 70), place, Steering(place % 3, direction(place), 3.0))
        for place in range(5)
    ]
    expected = [slow_reference(ending, row, Sampling(9)) for row in rows]
    assert [g.ids for g in generate(ending, rows, Sampling(9), Batching(8))] == expected


@pytest.mark.parametrize("kind", ["gemma2", "gemma3_text", "gpt2", "mistral", "phi3"])
def test_refilling_is_right_for_windows_and_learned_positions(kind: str, built: Built) -> None:
    changes = {} if kind == "gpt2" else {"sliding_window": 16}
    model = load(str(built(kind, **changes)), chat=True, device="cpu")
    model.model.generation_config.eos_token_id = list(range(1, 14))
    rows = mixed_rows(model, (0, 3))[::2]
    sampling = Sampling(48, 1.0)
    found = generate(model, rows, sampling, Batching(5))
    assert [g.ids for g in found] == [slow_reference(model, row, sampling) for row in rows]


@pytest.mark.parametrize("kind", KINDS)
def test_a_step_of_fixed_shapes_says_the_same(
    kind: str, built: Built, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What a CUDA graph replays, without the graph: rounded rows and columns, cleared buffers."""
    monkeypatch.setattr(decoding, "_FEWEST", 2)
    monkeypatch.setattr(decoding, "_BLOCKS", ((0, 64),))
    model = load(str(built(kind)), chat=True, device="cpu")
    model.model.generation_config.eos_token_id = list(range(1, 14))
    rows = mixed_rows(model, (0, 3))
    for sampling in (Sampling(70, 1.0), Sampling(30, 1.0, cut_loops=True)):
        assert generate(model, rows, sampling, Batching(9, capture=True)) == generate(
            model, rows, sampling, Batching(24)
        )


@pytest.mark.parametrize(("fewest", "widths"), [(1, [64, 112]), (4, [64, 112]), (16, [112])])
def test_a_step_is_captured_once_for_a_shape_and_after_a_pass_of_as_many_rows(
    ending: LanguageModel, monkeypatch: pytest.MonkeyPatch, fewest: int, widths: list[int]
) -> None:
    ran: list[tuple[int, int]] = []
    made: list[int] = []
    forward = decoding.Decoder._forward

    def run(decoder: decoding.Decoder, rows: int) -> Tensor:
        ran.append((rows, decoder.slots.columns.stop))
        return forward(decoder, rows)

    def capture(one: Callable[[], Tensor], _device: object, _pool: object) -> Callable[[], Tensor]:
        made.append(len(ran))
        return one

    try_out(ending, True)
    monkeypatch.setattr(decoding, "_FEWEST", fewest)
    if len(widths) > 1:
        monkeypatch.setattr(decoding, "_BLOCKS", ((0, 64),))
    monkeypatch.setattr(decoding.Decoder, "_forward", run)
    monkeypatch.setattr(decoding, "captured", capture)
    rows = [Row(ending.encode("x" * 9), seed) for seed in range(8)]
    generate(ending, rows, Sampling(80, 1.0), Batching(8, capture=True))
    assert {rows for rows, _ in ran} == {each for each in (8, 4, 2, 1) if each >= min(fewest, 8)}
    assert sorted({columns for _, columns in ran}) == widths
    first = {next(shape for shape in ran if shape[0] == rows) for rows, _ in ran}
    again = {shape for shape in ran if shape not in first or ran.count(shape) > 1}
    assert {ran[at] for at in made} == again and len(made) == len(again)


def test_rows_with_one_prompt_share_its_prefill_up_to_their_block(llama: LanguageModel) -> None:
    prompt = llama.encode(PROMPTS[0])
    vectors = [direction(seed) for seed in range(4)]
    rows = [Row(prompt, s, Steering(1, v, 2.0)) for v in vectors for s in range(3)]
    rows += [Row(prompt, s, Steering(0, v, 2.0, "response")) for v in vectors for s in range(3)]
    with batches(llama) as seen:
        generate(llama, rows, Sampling(1, 1.0), Batching(64))
    # Of 24 rows: one unsteered run, and four steered ones that are born after block 1.
    assert seen == [[1, 1, 5]]


def test_memory_that_does_not_suffice_halves_the_batch_and_no_answer(
    llama: LanguageModel, monkeypatch
) -> None:
    rows = mixed_rows(llama)
    expected = generate(llama, rows, Sampling(12, 1.0), Batching(64))
    whole, sizes = type(llama.model).forward, []

    def limited(self, *args, **kwargs):
        sizes.append(len(kwargs["input_ids"]))
        if len(kwargs["input_ids"]) > 5 and len(sizes) > 3:
            raise torch.OutOfMemoryError("too many rows")
        return whole(self, *args, **kwargs)

    monkeypatch.setattr(type(llama.model), "forward", limited)
    finished = []
    found = generate(
        llama, rows, Sampling(12, 1.0), Batching(64), finished=lambda i, _: finished.append(i)
    )
    assert found == expected
    assert max(sizes) > 5 >= sizes[-1]
    assert sorted(finished) == list(range(len(rows))), "a row is handed out once"


def test_a_row_that_fits_nowhere_is_one_sentence(llama: LanguageModel, monkeypatch) -> None:
    def never(self, *args, **kwargs):
        raise torch.OutOfMemoryError("too large")

    monkeypatch.setattr(type(llama.model), "forward", never)
    llama = replace(llama, tried={})
    for most in (1, 4):
        with pytest.raises(TraitsteerError, match=f"at most {most} response tokens does not fit"):
            generate(llama, mixed_rows(llama)[:4], Sampling(4), Batching(4))
        llama.tried["shared"] = True


def test_memory_that_runs_out_for_new_buffers_halves_again(
    llama: LanguageModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = mixed_rows(llama)
    expected = generate(llama, rows, Sampling(12, 1.0), Batching(16))
    made: list[int] = []
    whole, passes = type(llama.model).forward, []

    class Scarce(decoding.Slots):
        def __init__(self, *args: Any) -> None:
            made.append(args[1])
            if len(made) > 1 and args[1] > 2:
                raise torch.OutOfMemoryError("no room for new buffers")
            super().__init__(*args)

    def limited(self: object, *args: object, **kwargs: object) -> object:
        passes.append(1)
        if len(passes) == 5:
            raise torch.OutOfMemoryError("no room for a step")
        return whole(self, *args, **kwargs)

    monkeypatch.setattr(decoding, "Slots", Scarce)
    monkeypatch.setattr(type(llama.model), "forward", limited)
    assert generate(llama, rows, Sampling(12, 1.0), Batching(16)) == expected
    assert made == [16, 8, 4, 2]


def test_memory_that_runs_out_for_the_first_buffers_halves_them(
    llama: LanguageModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = mixed_rows(llama)
    expected = generate(llama, rows, Sampling(12, 1.0), Batching(16))
    made: list[int] = []
    room = 4

    class Scarce(decoding.Added):
        def __init__(self, *args: Any) -> None:
            made.append(args[2])
            if args[2] > room:
                raise torch.OutOfMemoryError("no room for what settings add")
            super().__init__(*args)

    monkeypatch.setattr(decoding, "Added", Scarce)
    assert generate(llama, rows, Sampling(12, 1.0), Batching(16)) == expected
    assert made == [16, 8, 4]
    room = 0
    with pytest.raises(TraitsteerError, match=r"One row of .* does not fit into memory"):
        generate(llama, rows, Sampling(12, 1.0), Batching(16))


def test_the_sentence_for_a_row_that_fits_nowhere_is_about_that_row(
    llama: LanguageModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = [Row((7,) * 3, 0), Row((8,) * 9, 0)]
    whole = type(llama.model).forward

    def limited(self: object, *args: Any, **kwargs: Any) -> object:
        if kwargs["input_ids"].shape[1] > 5:
            raise torch.OutOfMemoryError("too long")
        return whole(self, *args, **kwargs)

    monkeypatch.setattr(type(llama.model), "forward", limited)
    with pytest.raises(TraitsteerError, match="One row of 9 prompt"):
        generate(llama, rows, Sampling(4), Batching(2))


def test_an_answer_that_repeats_itself_is_cut_and_no_other_is_touched(llama) -> None:
    rows = [Row(llama.encode(p), 1, Steering(1, direction(2), c)) for p in PROMPTS for c in (0, 60)]
    whole = generate(llama, rows, Sampling(90, 0.0), Batching(8))
    cut = generate(llama, rows, Sampling(90, 0.0, cut_loops=True), Batching(3))
    assert {g.finish for g in cut} >= {"loop"}
    for before, after in zip(whole, cut, strict=True):
        assert after.ids == before.ids[: len(after.ids)]
        if after.finish != "loop":
            assert after == before
        else:
            tail = after.ids[-24:]
            assert any(tail[p:] == tail[:-p] for p in range(1, 9))
            rest = before.ids[len(after.ids) :]
            assert rest and set(rest) <= set(tail), "a greedy loop goes on for ever"


def test_only_periods_count_as_loops() -> None:
    generator = torch.Generator().manual_seed(0)
    words = torch.randint(0, 50, (64, 40), generator=generator)
    assert not looping(words, torch.full((64,), 40)).any()
    periodic = torch.arange(40).remainder(torch.arange(1, 13)[:, None])
    assert looping(periodic, torch.full((12,), 40)).tolist() == [True] * 8 + [False] * 4
    assert not looping(periodic, torch.full((12,), 23)).any()


def test_a_row_in_bf16_differs_from_itself_alone_by_rounding_only(
    built: Built, monkeypatch
) -> None:
    """bfloat16 keeps 8 bits: logits may differ by 5 % of their spread between batch sizes."""
    model = load(str(built("llama")), chat=True, device="cpu", dtype="bfloat16")
    rows = mixed_rows(model)
    seen: list[dict[tuple[int, int], torch.Tensor]] = []

    def record(logits, seeds, steps, sampling):
        for row, seed, step in zip(logits, seeds.tolist(), steps.tolist(), strict=True):
            seen[-1][seed, step] = row.float()
        return torch.full_like(seeds, 7)  # The same text in both, whatever the logits.

    monkeypatch.setattr(writing, "choose", record)
    rows = [Row(row.prompt_ids, seed, row.steering) for seed, row in enumerate(rows)]
    for slots in (1, 36):
        seen.append({})
        generate(model, rows, Sampling(6), Batching(slots))
    assert seen[0].keys() == seen[1].keys() and len(seen[0]) == 6 * len(rows)
    spread = torch.stack(list(seen[0].values())).std(dim=1).mean()
    worst = max(float((seen[0][key] - seen[1][key]).abs().max()) for key in seen[0])
    assert worst <= 0.05 * float(spread), f"{worst} of a spread of {spread}"


def test_memory_does_not_grow_with_the_number_of_settings(llama: LanguageModel) -> None:
    def largest(settings: int) -> int:
        rows = [
            Row(llama.encode("x" * 8), 1, Steering(n % 3, direction(n), 1.0))
            for n in range(settings)
        ]
        sizes = []
        # Of earlier calls, which may have been larger.
        llama.spare.clear()
        gc.collect()

        def measure(index: int, _: object) -> None:
            if index % 8:
                return
            held = {
                t.untyped_storage().data_ptr(): t.untyped_storage().nbytes()
                for t in gc.get_objects()
                if isinstance(t, torch.Tensor)
            }
            sizes.append(sum(held.values()))

        before = 4 * 32 * settings  # The rows' own vectors.
        generate(llama, rows, Sampling(3), Batching(8), finished=measure)
        return max(sizes) - before

    assert largest(128) <= 1.05 * largest(16)


def test_engine_buffers_are_freed_when_generation_ends(llama: LanguageModel) -> None:
    gc.collect()
    gc.disable()
    try:
        generate(llama, mixed_rows(llama)[:4], Sampling(3), Batching(4))
        left = [o for o in gc.get_objects() if type(o).__name__ in ("Slots", "Decoder", "_Stream")]
    finally:
        gc.enable()
    assert not left, "a circle would hold gigabytes until the next collection"


def test_what_is_made_of_finished_rows_may_run_out_of_memory(llama: LanguageModel) -> None:
    rows, handed = mixed_rows(llama), []

    def judge(index: int, _: object) -> None:
        handed.append(index)
        if len(handed) == 3:
            raise torch.OutOfMemoryError("the judge's")

    with pytest.raises(torch.OutOfMemoryError, match="the judge's"):
        generate(llama, rows, Sampling(12, 1.0), Batching(64), finished=judge)
    assert len(handed) == 3, "the engine took it for its own and began again"


@pytest.mark.parametrize("temperature", [0.0, 1.0])
def test_logits_that_are_no_numbers_name_the_row(llama: LanguageModel, temperature: float) -> None:
    huge = Steering(1, torch.full((llama.width,), 3e38), 2.0, "response")
    fine = [Row(llama.encode("ab"), seed) for seed in range(3)]
    with pytest.raises(TraitsteerError, match="not finite for a row that is steered at layer 1"):
        generate(
            llama, [*fine, Row(llama.encode("ab"), 3, huge)], Sampling(4, temperature), Batching(8)
        )


@pytest.mark.parametrize("number", [torch.nan, torch.inf])
@pytest.mark.parametrize("temperature", [0.0, 1.0])
def test_one_logit_that_is_not_finite_is_seen(
    llama: LanguageModel, temperature: float, number: float
) -> None:
    """Softmax makes a row of NaN of it, and the token chosen then may have a logit that is fine."""

    def spoil(_module: object, _inputs: object, logits: Tensor) -> Tensor:
        logits[..., 7] = number
        return logits

    handle = llama.model.get_output_embeddings().register_forward_hook(spoil)
    try:
        with pytest.raises(TraitsteerError, match="not finite for a row that is unsteered"):
            generate(llama, [Row(llama.encode("a"), 0)], Sampling(3, temperature), Batching(1))
    finally:
        handle.remove()


def test_the_next_call_uses_the_memory_of_the_last(llama: LanguageModel) -> None:
    rows = mixed_rows(llama)
    expected = generate(llama, rows, Sampling(8), Batching(8))
    first = {memory.data_ptr() for memory in llama.spare}
    with torch.inference_mode():
        for memory in llama.spare:
            memory.fill_(torch.nan)
    assert generate(llama, rows, Sampling(8), Batching(8)) == expected, "what lay there shows"
    assert {memory.data_ptr() for memory in llama.spare} == first
    assert len(first) == 2 * llama.layers
    generate(llama, rows[:2], Sampling(2), Batching(2))
    assert {memory.data_ptr() for memory in llama.spare} == first, "a smaller call needs no other"


def test_memory_of_the_last_call_that_is_too_small_goes_before_more_is_made(
    llama: LanguageModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    llama.spare.clear()
    generate(llama, mixed_rows(llama)[:2], Sampling(2), Batching(2))
    assert llama.spare
    left: list[int] = []
    whole = Tensor.new_empty

    def watched(self: Tensor, *args: Any, **kwargs: Any) -> Tensor:
        left.append(len(llama.spare))
        return whole(self, *args, **kwargs)

    monkeypatch.setattr(Tensor, "new_empty", watched)
    generate(llama, mixed_rows(llama), Sampling(8), Batching(8))
    assert left and not any(left), "both were held at once"
