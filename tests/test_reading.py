"""Layer l is the output of block l, pooled over recorded tokens; batches change nothing."""

import random
from pathlib import Path

import pytest
import torch
from reading_oracle import block_outputs, close, watched
from tiny import KINDS, Built, build

from traitsteer.engine.reading import Recorded, mean_residual_norm, pooled_activations
from traitsteer.maths.positions import Position
from traitsteer.words.errors import TraitsteerError
from traitsteer.world.model.blocks import decoder_of
from traitsteer.world.model.language_model import LanguageModel, load

WHOLE = 4096


def recorded(count: int = 7, longest: int = 12) -> list[Recorded]:
    """Rows of mixed length; ids are above those of the special tokens."""
    draw = random.Random(0)
    lengths = [(draw.randint(2, longest), draw.randint(1, longest)) for _ in range(count)]
    return [
        Recorded(f"item-{at}", *(tuple(draw.choices(range(6, 260), k=n)) for n in pair))
        for at, pair in enumerate(lengths)
    ]


@torch.inference_mode()
def padded_outputs(model: LanguageModel, items: list[Recorded], left: bool) -> list[torch.Tensor]:
    """For each row its [layers, tokens, width], from one masked batch of plain transformers."""
    rows = [item.prompt_ids + item.response_ids for item in items]
    width = max(map(len, rows)) + 3
    starts = [width - len(row) if left else 0 for row in rows]
    ids, mask = torch.full((len(rows), width), model.pad_id), torch.zeros(len(rows), width)
    for at, (row, start) in enumerate(zip(rows, starts, strict=True)):
        ids[at, start : start + len(row)] = torch.tensor(row)
        mask[at, start : start + len(row)] = 1
    places = (mask.cumsum(1) - 1).clamp_min(0).long()
    with watched(model) as (_, seen):
        model.model(ids, attention_mask=mask.long(), position_ids=places)
    layers = torch.stack(seen)
    return [
        layers[:, at, start : start + len(row)]
        for at, (row, start) in enumerate(zip(rows, starts, strict=True))
    ]


VARIANTS = [(kind, {}, None) for kind in KINDS]
VARIANTS += [("mistral", {"sliding_window": 4}, attention) for attention in ("eager", "sdpa")]
VARIANTS += [("gemma2", {"sliding_window": 4}, "eager"), ("llama", {}, "eager")]


@pytest.mark.parametrize(("kind", "changes", "attention"), VARIANTS)
def test_pooled_activations_equal_plain_passes(kind, changes, attention, built: Built) -> None:
    model = load(str(built(kind, **changes)), chat=True, device="cpu")
    if attention:
        model.model.set_attn_implementation(attention)
    items = recorded()
    alone = [block_outputs(model, item) for item in items]
    right, left = (padded_outputs(model, items, side) for side in (False, True))
    for text in ("response[:3]", "response[:]", "prompt[-1]", "all[-5::-2]"):
        position = Position.parse(text)
        pooled = pooled_activations(model, items, position, WHOLE)
        for row, item in enumerate(items):
            tokens = list(position.select(len(item.prompt_ids), len(item.response_ids), item.id))
            for outputs in (alone[row], right[row], left[row]):
                assert close(pooled[row], outputs[:, tokens].mean(dim=1)), (text, item.id)


def test_blocks_named_by_hand_are_read_where_the_decoder_is_not_told(built: Built) -> None:
    """What ModernBERT calls its decoder is the head."""
    folder = str(built("modernbert-decoder", local_attention=128, num_key_value_heads=4))
    model = load(folder, chat=True, device="cpu", blocks="model.layers")
    assert decoder_of(model.model, model.blocks) is not model.model.get_decoder()
    items = recorded()
    pooled = pooled_activations(model, items, Position.parse("response[:]"), WHOLE)
    for row, item in enumerate(items):
        expected = block_outputs(model, item)[:, len(item.prompt_ids) :]
        assert close(pooled[row], expected.mean(dim=1))


def test_a_model_that_looks_ahead_keeps_its_mask_and_its_last_tokens(tmp_path: Path) -> None:
    build(tmp_path, "llama", is_causal=False)
    model = load(str(tmp_path), chat=True, device="cpu")
    model.model.set_attn_implementation("eager")
    items = recorded()
    pooled = pooled_activations(model, items, Position.parse("prompt[0]"), WHOLE)
    for row, item in enumerate(items):
        expected = block_outputs(model, item)[:, 0]
        assert close(pooled[row], expected)
        short = Recorded(item.id, item.prompt_ids[:1], ())
        assert not close(expected, block_outputs(model, short)[:, 0], 1e-2), "no look ahead"


def test_a_model_that_runs_tokens_of_its_own_before_those_of_a_text_is_refused(
    tmp_path: Path,
) -> None:
    own = {"dim_head": 8, "dim_ff": 48, "prompt_length": 4, "prompt_types": 4, "segment_types": 4}
    build(tmp_path, "cpmant", **own)
    model = load(str(tmp_path), chat=True, device="cpu")
    with pytest.raises(TraitsteerError, match=r"gives \[2, 8, 32\] for \[2, 4\] tokens"):
        pooled_activations(model, recorded(), Position.parse("response[:]"), WHOLE)
    with pytest.raises(TraitsteerError, match="expected one activation for each"):
        mean_residual_norm(model, recorded(), WHOLE)


@pytest.mark.parametrize("tokens", [1, 24, 50, 100])
def test_neither_order_nor_budget_changes_anything(llama: LanguageModel, tokens: int) -> None:
    items, position = recorded(), Position.parse("response[:5]")
    together = pooled_activations(llama, items, position, WHOLE)
    assert close(pooled_activations(llama, items, position, tokens), together, 1e-6)
    turned = pooled_activations(llama, items[::-1], position, tokens).flip(0)
    assert close(turned, together, 1e-6)
    norms = mean_residual_norm(llama, items, WHOLE)
    assert torch.allclose(mean_residual_norm(llama, items[::-1], tokens), norms, rtol=1e-6)


def test_a_batch_holds_no_more_tokens_than_the_budget(llama: LanguageModel) -> None:
    items, done = recorded(40), []
    with watched(llama) as (shapes, _):
        pooled_activations(llama, items, Position.parse("all[:]"), 64, progress=done.append)
    assert all(rows * width <= 64 for rows, width in shapes)
    assert len(shapes) < 20
    assert sum(done) == 40


def test_a_pass_on_a_cpu_is_no_larger_than_its_threads_are_quick_with(llama: LanguageModel) -> None:
    items, threads = [Recorded(str(at), (7,) * 16, (8,) * 16) for at in range(80)], 2
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        with watched(llama) as (shapes, _):
            pooled_activations(llama, items, Position.parse("all[:]"), 1 << 20)
    finally:
        torch.set_num_threads(before)
    read = [rows * width for rows, width in shapes if rows > 2]
    assert read == [1024, 1024, 512]


def test_nothing_after_the_last_pooled_token_is_run(llama: LanguageModel) -> None:
    long = [Recorded("long", (7,) * 9, tuple(range(6, 106)))]
    for text, tokens in (("response[:10]", 19), ("prompt[-1]", 9), ("response[::-99]", 109)):
        with watched(llama) as (shapes, _):
            found = pooled_activations(llama, long, Position.parse(text), WHOLE)
        assert shapes[-1] == (1, tokens)
        selected = list(Position.parse(text).select(9, 100, "long"))
        assert close(found[0], block_outputs(llama, long[0])[:, selected].mean(dim=1))


@pytest.mark.parametrize("kind", KINDS)
def test_blocks_above_the_highest_layer_do_not_run(kind: str, built: Built) -> None:
    model = load(str(built(kind)), chat=True, device="cpu")
    items, position = recorded(3), Position.parse("response[:]")
    hooks = [list(module._forward_hooks.items()) for module in model.model.modules()]
    whole = pooled_activations(model, items, position, WHOLE)
    norms = [
        module
        for name, module in model.model.get_decoder().named_children()
        if "Norm" in type(module).__name__ and not name.startswith("per_layer")
    ]
    ran: list[object] = []
    handles = [
        module.register_forward_hook(lambda m, _i, _o: ran.append(m))
        for module in (*norms, model.blocks[2], model.model.get_output_embeddings())
    ]
    assert norms
    try:
        found = pooled_activations(model, items, position, WHOLE, layers=2)
        assert torch.equal(found, whole[:, :2])
        assert ran == []
        pooled_activations(model, items, position, WHOLE)
        assert set(ran) == {model.blocks[2]}
    finally:
        for handle in handles:
            handle.remove()
    left = [list(module._forward_hooks.items()) for module in model.model.modules()]
    assert left == hooks
    for layers in (0, model.layers + 1):
        said = f"Asked for {layers} layers .* which has {model.layers}"
        with pytest.raises(TraitsteerError, match=said):
            pooled_activations(model, items, position, WHOLE, layers)


def test_hooks_are_gone_after_an_interrupt(llama: LanguageModel, monkeypatch) -> None:
    hooks = [list(block._forward_hooks.items()) for block in llama.blocks]

    def interrupted(done: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        pooled_activations(llama, recorded(), Position.parse("all[:]"), 9, None, interrupted)
    monkeypatch.setattr(llama.blocks[1].mlp, "forward", interrupted)
    with pytest.raises(KeyboardInterrupt):
        mean_residual_norm(llama, recorded(), 9)
    assert [list(block._forward_hooks.items()) for block in llama.blocks] == hooks


def test_sums_are_in_float32_where_the_model_is_in_bf16(built: Built) -> None:
    model = load(str(built("llama")), chat=True, device="cpu", dtype="bfloat16")
    item = Recorded("long", (7,) * 9, tuple(range(6, 106)))
    outputs = block_outputs(model, item)[:, 9:]
    pooled = pooled_activations(model, [item], Position.parse("response[:]"), WHOLE)
    assert outputs.dtype == torch.bfloat16
    assert pooled.dtype == torch.float32
    assert close(pooled[0], outputs.double().mean(dim=1), 1e-6)
    assert not close(pooled[0], outputs.mean(dim=1).double(), 1e-4)
    expected = outputs.double().norm(dim=-1).mean(dim=1).float()
    assert torch.allclose(mean_residual_norm(model, [item], WHOLE), expected, rtol=1e-6)


def test_mean_residual_norm_averages_over_response_tokens_alone(llama: LanguageModel) -> None:
    items = recorded()
    norms = [block_outputs(llama, item)[:, len(item.prompt_ids) :].norm(dim=-1) for item in items]
    expected = torch.cat(norms, dim=1).mean(dim=1)
    empty = Recorded("item-empty", (7, 8), ())
    assert torch.allclose(mean_residual_norm(llama, [*items, empty], 50), expected, rtol=1e-5)


def test_an_empty_response_is_an_error_with_its_id(llama: LanguageModel) -> None:
    items = [*recorded(), Recorded("item-empty", (7, 8), ())]
    with watched(llama) as (shapes, _):
        with pytest.raises(TraitsteerError, match="item-empty: position response"):
            pooled_activations(llama, items, Position.parse("response[:]"), WHOLE)
        with pytest.raises(TraitsteerError, match=r"responses .* are empty"):
            mean_residual_norm(llama, items[-1:], WHOLE)
    assert shapes == []


@pytest.mark.parametrize("number", [-1, 10**6])
def test_a_token_id_that_the_model_does_not_embed_is_refused(
    llama: LanguageModel, number: int
) -> None:
    whole = Position.parse("response[:]")
    last = Recorded("last", (7,), (llama.vocabulary - 1,))
    assert pooled_activations(llama, [last], whole, WHOLE).isfinite().all()
    for odd in (Recorded("odd", (7, number), (8,)), Recorded("odd", (7,), (8, number))):
        with watched(llama) as (shapes, _):
            with pytest.raises(TraitsteerError, match=f"^odd has the token id {number}; .* 0 to"):
                pooled_activations(llama, [*recorded(), odd], whole, WHOLE)
            with pytest.raises(TraitsteerError, match=f"^odd has the token id {number}; .* 0 to"):
                mean_residual_norm(llama, [*recorded(), odd], WHOLE)
        assert shapes == []


def test_a_row_beyond_the_context_is_refused_before_it_changes_others(tmp_path: Path) -> None:
    build(tmp_path, "llama", max_position_embeddings=16)
    model = load(str(tmp_path), chat=True, device="cpu")
    whole = Position.parse("response[:]")
    long = Recorded("long", (7,) * 4, (8,) * 13)
    assert (
        pooled_activations(model, [long], Position.parse("response[:12]"), WHOLE).isfinite().all()
    )
    with pytest.raises(TraitsteerError, match=r"^long is read up to token 17; .* takes 16"):
        pooled_activations(model, [Recorded("fits", (7,) * 4, (8,) * 12), long], whole, WHOLE)
    with pytest.raises(TraitsteerError, match=r"^long is read up to token 17"):
        mean_residual_norm(model, [long], WHOLE)


def no_memory_of_a_gpu() -> None:
    raise torch.OutOfMemoryError("no more")


def no_memory_of_the_host() -> None:
    torch.empty(1 << 50)


@pytest.mark.parametrize("refuse", [no_memory_of_a_gpu, no_memory_of_the_host])
def test_a_batch_that_does_not_fit_is_halved(llama: LanguageModel, refuse, monkeypatch) -> None:
    items, position = recorded(20), Position.parse("all[:]")
    expected = pooled_activations(llama, items, position, WHOLE)
    norms = mean_residual_norm(llama, items, WHOLE)
    mlp, memory = llama.blocks[1].mlp, [60]
    forward, refused = mlp.forward, []

    def small(hidden: torch.Tensor) -> torch.Tensor:
        if hidden.shape[:2].numel() > memory[0]:
            refused.append(tuple(hidden.shape[:2]))
            refuse()
        return forward(hidden)

    monkeypatch.setattr(mlp, "forward", small)
    done: list[int] = []
    found = pooled_activations(llama, items, position, WHOLE, progress=done.append)
    assert close(found, expected, 1e-6)
    assert [rows for rows, _ in refused] == [20, 10, 5]
    assert sum(done) == 20
    assert torch.allclose(mean_residual_norm(llama, items, WHOLE), norms, rtol=1e-6)
    memory[0] = 15
    longest = max(items, key=lambda item: len(item.prompt_ids + item.response_ids))
    size = len(longest.prompt_ids + longest.response_ids)
    with pytest.raises(TraitsteerError, match=f"{longest.id}: its {size} tokens do not fit"):
        pooled_activations(llama, items, position, WHOLE)
