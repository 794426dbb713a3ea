"""Benchmarks: turns alternate, wrong answers and crashes show, limits and exponents are right."""

import json
import math
import mmap
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode
from transformers import LlamaConfig, LlamaForCausalLM

from benchmarks import (
    architecture,
    architectures,
    gpu,
    gpu_page,
    limits,
    memory,
    random_model,
    report,
)
from benchmarks.checks import Reference, Verdict, optimal, same_activations, same_answers
from benchmarks.contenders import bare, hand_written, ours, plain, scikit_learn
from benchmarks.contest import Work, contest
from benchmarks.endings import spread_ends
from benchmarks.entrants import BARE, ENTRANTS, Entrant
from benchmarks.growth import exponent
from benchmarks.limits import Dimensions, Machine, causal_pairs
from benchmarks.processes import FailedError, Process
from benchmarks.results import Results
from benchmarks.rounds import alternate
from benchmarks.tasks import Forwarding, Probing, Reading, Steering, Task, cut, packed, unpacked
from benchmarks.worker import perform
from benchmarks.works import PENALTIES
from traitsteer.world.model.hooks import on_blocks

SHAPE = random_model.QUICK


class Direct:
    """A contender of this process, called through what a worker does with a call."""

    def __init__(self, name: str, made: Any, spoil: Callable[[Any], Any] = lambda r: r) -> None:
        self.entrant = next(e for e in ENTRANTS if e.name == name)
        self.versions: dict[str, str] = {}
        self.made, self.spoil = made, spoil

    def do(self, task: Task) -> dict[str, Any]:
        fields = packed(task)
        kept: dict[str, Any] = {}

        class Kept:
            def __getattr__(_self, name: str) -> Callable[..., Any]:
                def call(**asked: Any) -> list:
                    kept["result"] = getattr(self.made, name)(**asked)
                    return []

                return call

        request = {"call": fields["kind"], "arguments": {"task": fields}, "save": "unused"}
        seconds = perform(Kept(), request)["seconds"]
        return {"seconds": seconds, "result": self.spoil(kept["result"])}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("random")
    random_model.write(made, SHAPE)
    return made


@pytest.fixture(scope="module")
def plainly(folder: Path) -> plain.Contender:
    return plain.Contender(str(folder))


def grid(prompts: list[list[int]], tokens: int = 6) -> Steering:
    vectors = random_model.unit_vectors(SHAPE.layers, SHAPE.width, seed=4)
    settings = [(0, 2.0), (1, 4.0), (2, 6.0)]
    return Steering(prompts, vectors, settings, tokens, [], rows=4)


PROMPTS = random_model.token_ids(SHAPE, [5, 3, 7, 4], seed=2)


def referenced(made: plain.Contender, task: Steering) -> Reference:
    return Reference(**made.reference(task))


def test_a_task_is_the_same_after_its_way_through_json() -> None:
    task = grid(PROMPTS)
    assert unpacked(json.loads(json.dumps(packed(task)))).prompts == task.prompts
    reading = Reading([[3, 4, 5]], 1, 2, 1)
    assert unpacked(json.loads(json.dumps(packed(reading)))) == reading


def test_plain_answers_are_those_of_a_slow_loop_that_adds_by_hand(
    plainly: plain.Contender,
) -> None:
    task = grid(PROMPTS)
    expected = []
    for (layer, _), added in zip(task.settings, task.added(), strict=True):
        with on_blocks(plainly.blocks, {layer: lambda out, a=added: out + a}):
            for prompt in task.prompts:
                ids = list(prompt)
                for _ in range(task.new_tokens):
                    with torch.inference_mode():
                        logits = plainly.model(torch.tensor([ids]), use_cache=False).logits
                    ids.append(int(logits[0, -1].argmax()))
                expected.append(ids[len(prompt) :])
    assert plainly.steer(task) == expected
    assert referenced(plainly, task).answers == expected
    unsteered = replace(task, settings=[(0, 0.0), (1, 0.0), (2, 0.0)])
    assert plainly.steer(unsteered) != expected


def test_pooled_states_are_the_outputs_of_blocks(plainly: plain.Contender) -> None:
    task = Reading(random_model.token_ids(SHAPE, [9] * 3, seed=1), 6, SHAPE.layers, rows=2)
    taken: list[torch.Tensor] = []
    every = dict.fromkeys(range(SHAPE.layers), taken.append)
    with on_blocks(plainly.blocks, every), torch.inference_mode():
        plainly.model.model(torch.tensor(task.ids))
    expected = torch.stack([layer[:, 6:].mean(dim=1) for layer in taken], dim=1)
    torch.testing.assert_close(plainly.read(task), expected)


def test_a_contest_checks_everybody_and_lists_who_fails(
    folder: Path, plainly: plain.Contender, tmp_path: Path
) -> None:
    task = grid(PROMPTS)
    reference = referenced(plainly, task)
    alone = Forwarding(sequences=8, tokens=4, rows=1)
    shape = Dimensions(**bare.Contender(str(folder)).dimensions())
    work = Work(
        "grid",
        "Grid",
        "",
        task,
        lambda found: same_answers(found, task, reference),
        10**9,
        beside=alone,
        beside_operations=limits.forwarding(shape, alone),
    )

    class Broken:
        def steer(self, task: Task) -> None:
            raise FailedError("It failed: no such thing")

    def swapped(answers: list[list[int]]) -> list[list[int]]:
        return [answers[1], answers[0], *answers[2:]]

    table = contest(
        work,
        {
            "ours": Direct("ours", ours.Contender(str(folder))),
            "plain": Direct("plain", plainly),
            "hand_written": Direct("hand_written", hand_written.Contender(str(folder)), swapped),
            "nnsight": Direct("nnsight", Broken()),
            "bare": Direct("bare", bare.Contender(str(folder))),
        },
        Machine(flops=1e12, bytes=1e10),
        repeats=2,
    )
    first, second, third, fourth, last = table.rows
    assert (first.right, second.right, third.right) == (True, True, False)
    assert first.found == "same tokens"
    assert "2 of 12 answers differ" in third.found
    assert first.ratio == 1 and second.ratio == second.median / first.median  # type: ignore
    assert len(second.seconds) == 2 and fourth.seconds == []
    assert fourth.median is None and fourth.remark == "It failed: no such thing"
    assert table.limit is not None and table.limit.seconds == pytest.approx(1e-3)
    least = 8 * (shape.layers * shape.block(4, 10) + shape.head(4)) / 1e12
    assert last.right is None and last.median is not None
    assert table.limit.bare == pytest.approx(least / last.median)
    results = Results({"processor": "p"}, {}, [table])
    report.write(results, tmp_path, tmp_path / "results.json")
    page = (tmp_path / "benchmarks.md").read_text()
    assert "**wrong**: 2 of 12 answers differ" in page
    assert f", the bare forward passes {table.limit.bare:.0%} in what they run." in page
    assert "| nnsight | - | - |  | It failed: no such thing |" in page
    assert (tmp_path / "benchmarks.png").read_bytes().startswith(b"\x89PNG")
    stored = Results.unpacked(json.loads((tmp_path / "results.json").read_text()))
    assert stored == results
    newer = replace(table, repeats=5)
    read = replace(table, name="read_all")
    order = ("read", "grid")
    joined = Results({"processor": "p"}, {}, [newer]).after(
        Results({"processor": "p"}, {}, [table, read]), order
    )
    assert joined.tables == [read, newer], "what was measured again is replaced, the rest stays"
    elsewhere = Results({"processor": "q"}, {}, [newer])
    assert elsewhere.after(stored, order).tables == [newer], "machines are not mixed"


def test_a_busy_moment_does_not_choose_the_batch_size() -> None:
    took = {8: [9.0, 4.0], 16: [10.0, 3.0], 32: [8.5, 8.0], 64: [20.0]}

    class Uneven:
        def __init__(self) -> None:
            self.entrant = next(e for e in ENTRANTS if e.name == "plain")
            self.versions: dict[str, str] = {}

        def do(self, task: Task) -> dict[str, Any]:
            assert isinstance(task, Reading)
            return {"seconds": took[task.rows].pop(0) if took[task.rows] else 3.0, "result": None}

    task = Reading([[1, 2]] * 64, 1, 1, rows=1)
    work = Work("read", "Read", "", task, lambda found: Verdict(True, ""), 1)
    table = contest(work, {"plain": Uneven()}, None, repeats=1)
    assert table.rows[0].choice == "16 rows", "one that was close is tried once more"
    assert took == {8: [], 16: [], 32: [], 64: []}


def test_reading_and_the_hand_written_loop_agree_with_plain(
    folder: Path, plainly: plain.Contender
) -> None:
    task = Reading(random_model.token_ids(SHAPE, [8] * 5, seed=1), 5, 2, rows=2)
    expected = plainly.read(replace(task, layers=SHAPE.layers))
    for made in (ours.Contender(str(folder)), hand_written.Contender(str(folder))):
        assert same_activations(made.read(task), expected).right
    off = expected.clone()
    off[0, 1] *= 1.001
    assert not same_activations(off, expected).right
    off[0, 1] = math.nan
    assert not same_activations(off, expected).right


def test_mixed_lengths_end_alike_for_all(folder: Path, plainly: plain.Contender) -> None:
    whole = grid(PROMPTS, tokens=24)
    reference = referenced(plainly, whole)
    ends = spread_ends(reference.answers, shortest=4, mean=14.0)
    task = replace(whole, ends=ends)
    expected = [cut(answer, ends, 24) for answer in reference.answers]
    lengths = [len(answer) for answer in expected]
    assert min(lengths) >= 4 and len(set(lengths)) > 3
    assert sum(lengths) / len(lengths) >= 14
    for made in (ours.Contender(str(folder)), plainly, hand_written.Contender(str(folder))):
        assert same_answers(made.steer(task), task, reference).right


def test_answers_may_part_at_a_near_tie_alone() -> None:
    task = Steering([[3]], [[1.0]], [(0, 1.0)], 3, [9], rows=1)

    def verdict(found: list[int], gap: float, second: int = 6) -> bool:
        reference = Reference([[4, 5, 7]], [[0, second, 0]], [[1.0, gap, 1.0]])
        return same_answers([found], task, reference).right

    assert verdict([4, 5, 7], 1.0)
    assert verdict([4, 6, 8], 1e-5)
    assert not verdict([4, 6, 8], 0.1)
    assert not verdict([4, 8, 7], 1e-5)
    assert verdict([4], 1e-5, second=9)
    assert not verdict([4], 1e-5)
    assert not verdict([4], 0.1, second=9)
    assert not same_answers([], task, Reference([[4]], [[0]], [[1.0]])).right


def test_turns_alternate_and_a_crash_stops_nobody_else() -> None:
    order = []

    def turn(name: str, fails_at: int = 99) -> Callable[[], float]:
        def run() -> float:
            order.append(name)
            if order.count(name) == fails_at:
                raise FailedError("It was ended by signal 9.")
            return float(order.count(name))

        return run

    shown = alternate({"a": turn("a"), "b": turn("b", fails_at=2), "c": turn("c")}, repeats=3)
    assert order == ["a", "b", "c", "a", "b", "c", "a", "c"]
    assert shown["a"].median == shown["c"].median == 2.0
    assert shown["b"].median is None and shown["b"].failure == "It was ended by signal 9."


def test_a_process_that_dies_says_its_last_line(tmp_path: Path) -> None:
    nobody = Entrant("nobody", "nobody", "torch")
    process = Process(nobody, tmp_path, tmp_path, patience=60)
    with pytest.raises(FailedError, match=r"It failed: ModuleNotFoundError: No module named"):
        process.do(grid(PROMPTS))
    silent = Process(BARE, tmp_path, tmp_path, patience=0.01)
    with pytest.raises(FailedError, match="no answer within"):
        silent.do(grid(PROMPTS))
    away = Process(BARE, tmp_path, tmp_path, 1.0, missing="It cannot be installed: no such version")
    with pytest.raises(FailedError, match="no such version"):
        away.do(grid(PROMPTS))


def test_a_planted_exponent_comes_back() -> None:
    sizes = [8, 16, 64, 512]
    assert exponent(sizes, [3e-4 * size**1.37 for size in sizes]) == pytest.approx(1.37)
    assert exponent(sizes, [2.0] * 4) == pytest.approx(0.0)


def test_operations_are_those_that_torch_counts() -> None:
    config = LlamaConfig(
        hidden_size=32,
        intermediate_size=48,
        num_hidden_layers=3,
        num_attention_heads=4,
        num_key_value_heads=2,
        vocab_size=64,
        attn_implementation="eager",
    )
    model = LlamaForCausalLM(config)
    rows, tokens = 2, 7
    with FlopCounterMode(display=False) as counter, sdpa_kernel(SDPBackend.MATH), torch.no_grad():
        model(torch.zeros(rows, tokens, dtype=torch.long))
    shape = Dimensions.of(config)
    # Eager attention computes pairs that the mask hides as well.
    counted = shape.layers * shape.block(rows * tokens, rows * tokens * tokens)
    counted += shape.head(rows * tokens)
    rotary = 2 * tokens * config.head_dim // 2  # The angles, one outer product.
    assert counter.get_total_flops() - counted in (0, rotary)


@pytest.mark.parametrize(("second", "fed"), [([5, 6], 3), ([7, 6], 4)])
def test_fewest_operations_share_what_is_the_same(second: list[int], fed: int) -> None:
    """Two settings, steered at block 0 and at block 1, of which the first differs in block 1."""
    shape = Dimensions(layers=2, width=4, queries=4, keys=4, inner=6, vocabulary=8)
    task = Steering([[3, 4, 5]], [[0.0] * 4] * 2, [(0, 1.0), (1, 1.0)], 2, [], rows=2)
    prompts = 3 * shape.block(3, causal_pairs(3))
    expected = prompts + fed * shape.block(1, 4) + 2 * shape.head(2)
    assert limits.steering(shape, task, [[5, 6], second]) == expected
    assert causal_pairs(2, before=3) == 4 + 5


def test_the_probe_check_knows_an_optimum(folder: Path) -> None:
    task = Probing(40, 2, 12, 4, PENALTIES[2:6], 3, [0, 1], [0, 1, 2, 3])
    for found in (
        ours.Contender(str(folder)).probe(task),
        scikit_learn.Contender("").probe(task),
    ):
        assert optimal(found, task).right
        found["weights"][1] *= 1.01
        assert not optimal(found, task).right


def test_memory_sees_what_is_held() -> None:
    before = memory.reset_peak()
    if before is None:
        pytest.skip("memory is counted on Linux alone")
    # A mapping of its own: a tensor might lie in memory that was freed and is still resident.
    with mmap.mmap(-1, 32 * 2**20) as held:
        held.write(bytes(len(held)))
        highest = memory.peak()
        assert highest is not None and highest - before > 0.9 * len(held)


def test_the_gpu_command_refuses_without_a_gpu_and_can_be_rehearsed(
    capsys: pytest.CaptureFixture[str],
) -> None:
    if not torch.cuda.is_available():
        with pytest.raises(SystemExit, match="No CUDA device was found"):
            gpu.main([])
    gpu.main(["--rehearse"])
    assert "answers/s" in capsys.readouterr().out


def test_the_page_is_what_was_measured(repository: Path) -> None:
    kept = json.loads((repository / "benchmarks/results.json").read_text())
    shown = (repository / "docs/benchmarks.md").read_text()
    assert report.markdown(Results.unpacked(kept)) == shown


def test_the_gpu_page_is_what_was_measured(repository: Path) -> None:
    found, before = (
        gpu_page.Found.unpacked(json.loads((repository / "benchmarks" / name).read_text()))
        for name in ("gpu.json", "gpu_before.json")
    )
    assert gpu_page.Found.unpacked(json.loads(json.dumps(found.packed()))) == found
    shown = (repository / "docs/benchmarks_gpu.md").read_text()
    assert gpu_page.page(found, before) == shown
    alone = gpu_page.page(found)
    assert "Before:" not in alone and "earlier" not in alone
    assert f"| hooks over ours | {found.hook_seconds / found.grid_seconds:.1f} |\n" in alone


def test_kernels_are_told_by_what_they_are_for() -> None:
    names = {
        "nvjet_sm90_tst_64x16_64x16_2x1_v_bz_TNT": "matrix products",
        "void cublasLt::splitKreduce_kernel<32, 16, int>(float*)": "matrix products",
        "fmha_cutlassF_bf16_aligned_64x128_rf_sm80(PyTorchMemEffAttention::A)": "attention",
        "void at::native::(anonymous namespace)::cunn_SoftMaxForward<4, float>(x)": (
            "cunn_SoftMaxForward"
        ),
    }
    kernels = [gpu_page.Kernel(name, 2, float(at)) for at, name in enumerate(names)]
    kinds = {kind.name: kind for kind in gpu_page.kinds(kernels)}
    assert set(kinds) == set(names.values())
    assert (kinds["matrix products"].calls, kinds["matrix products"].seconds) == (4, 1.0)
    assert next(iter(kinds)) == "cunn_SoftMaxForward", "the longest first"


RIGHT = {"answers": 12, "of": 12, "read": True, "likelihood": True}


@pytest.mark.parametrize(
    ("kind", "found"),
    [
        ("llama", {"way": "shared", **RIGHT}),
        ("qwen3_next", {"way": "own cache", **RIGHT}),
        ("bert", {"refused": "BertLMHeadModel is an encoder"}),
        ("blt", {"not_built": "parameters, wanted a tiny model"}),
    ],
)
def test_what_is_said_of_an_architecture(kind: str, found: dict, tmp_path: Path, capsys) -> None:
    architecture.main(kind, tmp_path)
    said = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert said.pop("kind") == kind
    assert said.keys() == found.keys()
    for key, value in found.items():
        assert value in said[key] if isinstance(value, str) else said[key] == value


def test_a_wrong_architecture_is_found(tmp_path: Path, capsys, monkeypatch) -> None:
    monkeypatch.setattr(architecture, "_plainly", lambda *_: (1, 2, 3))
    monkeypatch.setattr(architecture, "_apart", lambda *_: 1.0)
    monkeypatch.setattr(architecture, "_log_p", lambda *_: -1.0)
    architecture.main("llama", tmp_path)
    wrong = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert (wrong["answers"], wrong["read"], wrong["likelihood"]) == (0, False, False)
    right = wrong | {"answers": 12, "read": True, "likelihood": True}
    refused = {"kind": "bert", "refused": "It sees | later tokens."}
    failed = {"kind": "gpt2", "failed": "KeyError: 3"}
    unequal = [right | {"likelihood": said} for said in (False, "It tells no likelihood.")]
    own = {**right, "way": "own cache"}
    told = architectures.page([right, wrong, *unequal, own, refused, failed])
    for line in (
        "| right, the usual way: prompts shared between rows | 1 |",
        "| right, with the cache that `transformers` makes | 1 |",
        "| wrong | 3 |",
        "| ended without a sentence | 1 |",
        "| bert | It sees / later tokens. |",
        "| gpt2 | KeyError: 3 |",
    ):
        assert line in told.splitlines()
    assert "Not tried" not in told
    assert "Moshi" in told
