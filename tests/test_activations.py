"""Shards: one at a time, in order, joined as they were, refused where one is missing or foreign."""

import gc
import os
import shutil
import weakref
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from errno import EXDEV
from pathlib import Path

import pytest
import torch
from tiny import build

from traitsteer.engine.reading import Recorded, pooled_activations
from traitsteer.experiment.activations import Labelled, Reader
from traitsteer.maths.positions import Position
from traitsteer.words.errors import TraitsteerError
from traitsteer.world import tensors
from traitsteer.world.model.language_model import LanguageModel, load

POSITION = Position.parse("response[:2]")


def labelled(count: int, first: int = 0) -> list[Labelled]:
    return [
        Labelled(
            Recorded(f"item-{at}", (7,) * (1 + at % 3), tuple(range(10 + at, 13 + at + at % 4))),
            at % 2 == 0,
            at // 2,
            at // 4,
            at % 3,
        )
        for at in range(first, first + count)
    ]


@pytest.fixture
def reader(llama: LanguageModel, tmp_path: Path) -> Reader:
    return Reader(llama, POSITION, 64, tmp_path / "cache")


def write(reader: Reader, folder: Path, count: int, size: int, **changes: str) -> None:
    provenance = {"trait": "evil", "shards": str(-(-count // size))} | changes
    tensors.place_shards(list(reader.shards(labelled(count), size, provenance)), folder)


def test_shards_join_to_what_one_reading_gives(reader: Reader, tmp_path: Path) -> None:
    folder = tmp_path / "arm"
    write(reader, folder, 20, 3)
    write(reader, folder, 11, 4)
    assert [path.name for path in sorted(folder.iterdir())] == [
        f"0000{n}.safetensors" for n in "012"
    ]
    found = tensors.read_shards(folder, {"trait": "evil"})
    rows = labelled(11)
    whole = pooled_activations(reader.model, [row.recorded for row in rows], POSITION, 4096)
    torch.testing.assert_close(found.tensors["activations"], whole)
    assert found.tensors["positive"].bool().tolist() == [row.positive for row in rows]
    assert found.tensors["pair"].tolist() == [row.pair for row in rows]
    assert found.tensors["group"].tolist() == [row.group for row in rows]
    assert found.tensors["sample"].tolist() == [row.sample for row in rows]
    assert found.provenance == {"trait": "evil", "shards": "3"}


def test_no_more_rows_than_a_shard_are_held(reader: Reader) -> None:
    alive: list[weakref.ref[Labelled]] = []
    most = 0

    def rows() -> Iterator[Labelled]:
        nonlocal most
        for at in range(20):
            [row] = labelled(1, at)
            alive.append(weakref.ref(row))
            most = max(most, sum(ref() is not None for ref in alive))
            yield row

    for number, _ in enumerate(reader.shards(rows(), 4, {})):
        assert len(alive) == 4 * (number + 1)
        gc.collect()
        most = max(most, sum(ref() is not None for ref in alive))
    # The row that the generator itself still names comes on top of the four.
    assert most <= 5


def test_a_finished_shard_is_read_again_only_when_something_changes(reader: Reader) -> None:
    provenance = {"trait": "evil"}
    first = list(reader.shards(labelled(9), 4, provenance))
    times = [path.stat().st_mtime_ns for path in first]
    done: list[int] = []
    assert list(reader.shards(labelled(9), 4, provenance, done.append)) == first
    assert [path.stat().st_mtime_ns for path in first] == times
    assert sum(done) == 9
    for other in (
        Reader(reader.model, Position.parse("response[:1]"), 64, reader.cache),
        Reader(reader.model, POSITION, 32, reader.cache),
    ):
        assert not set(other.shards(labelled(9), 4, provenance)) & set(first)
    assert not set(reader.shards(labelled(9), 4, {"trait": "other"})) & set(first)
    assert not set(reader.shards(labelled(9, 1), 4, provenance)) & set(first)


def test_an_overflow_of_16_bits_names_response_and_layer_and_keeps_no_shard(
    tmp_path: Path,
) -> None:
    build(tmp_path / "model", "llama")
    model = load(str(tmp_path / "model"), chat=True, device="cpu", dtype="float16")
    model.blocks[1].mlp.down_proj.weight.data.fill_(6e4)
    reader = Reader(model, POSITION, 64, tmp_path / "cache")
    with pytest.raises(TraitsteerError, match=r"^item-0: .* in float16 gives .* layer 1 that is"):
        list(reader.shards(labelled(3), 4, {}))
    assert not reader.cache.exists()


def test_a_shard_is_of_the_tokens_that_were_the_response(reader: Reader) -> None:
    def path(reasoning: int) -> Path:
        ids = tuple(range(20, 28))
        item = Recorded("one", (7, 8), ids[reasoning:], ids[:reasoning])
        [found] = reader.shards([Labelled(item, True, 0, 0, 0)], 4, {})
        return found

    assert path(3) == path(3) != path(0), "the same ids, with and without reasoning"


def test_missing_truncated_and_foreign_shards_are_one_sentence(
    reader: Reader, tmp_path: Path
) -> None:
    folder = tmp_path / "arm"
    for spoil, sentence in (
        (lambda: (folder / "00001.safetensors").unlink(), "made with shards 3, expected 2"),
        (lambda: (folder / "00002.safetensors").unlink(), "made with shards 3, expected 2"),
        (lambda: (folder / "00002.safetensors").write_bytes(b"short"), "no whole safetensors"),
        (lambda: (folder / "00000.safetensors").rename(folder / "1.safetensors"), "with shard 1"),
        (lambda: [path.unlink() for path in folder.iterdir()], "holds no activations"),
    ):
        write(reader, folder, 11, 4)
        spoil()
        with pytest.raises(TraitsteerError, match=sentence):
            tensors.read_shards(folder, {"trait": "evil"})
    write(reader, folder, 11, 4, model="a")
    foreign = list(reader.shards(labelled(11), 4, {"trait": "evil", "shards": "3", "model": "b"}))
    foreign[1].rename(folder / "00001.safetensors")
    with pytest.raises(TraitsteerError, match="made with model b, expected a"):
        tensors.read_shards(folder, {"trait": "evil"})
    with pytest.raises(TraitsteerError, match="made with trait evil, expected envy"):
        tensors.read_shards(folder, {"trait": "envy"})


def second_is_killed(whole: Callable[..., object]) -> Callable[..., None]:
    calls = []

    def killed(*paths: Path) -> None:
        calls.append(paths)
        if len(calls) == 2:
            raise KeyboardInterrupt
        whole(*paths)

    return killed


def test_an_interrupted_placing_leaves_all_as_it_was(
    reader: Reader, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "traits" / "arm"
    write(reader, folder, 20, 3)
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    finished = list(reader.shards(labelled(11), 4, {"trait": "evil", "shards": "3"}))

    for module, name in ((os, "link"), (shutil, "move")):
        monkeypatch.setattr(module, name, second_is_killed(getattr(module, name)))
    with pytest.raises(KeyboardInterrupt):
        tensors.place_shards(finished, folder)
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before
    assert all(path.exists() for path in finished)
    assert list(folder.parent.iterdir()) == [folder]


def test_several_workers_place_the_same_shards(reader: Reader, tmp_path: Path) -> None:
    folder = tmp_path / "traits" / "arm"
    finished = list(reader.shards(labelled(11), 4, {"trait": "evil", "shards": "3"}))
    with ThreadPoolExecutor(4) as workers:
        for placing in [workers.submit(tensors.place_shards, finished, folder) for _ in range(40)]:
            placing.result()
    assert list(folder.parent.iterdir()) == [folder]
    assert len(tensors.read_shards(folder, {"trait": "evil"}).tensors["pair"]) == 11
    for path, placed in zip(finished, sorted(folder.iterdir()), strict=True):
        assert path.samefile(placed), "kept twice"


def test_where_no_link_can_be_made_shards_are_copied_and_kept_once(
    reader: Reader, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused(*paths: Path) -> None:
        raise OSError(EXDEV, "Invalid cross-device link")

    monkeypatch.setattr(os, "link", refused)
    folder = tmp_path / "arm"
    finished = list(reader.shards(labelled(11), 4, {"trait": "evil", "shards": "3"}))
    expected = [path.read_bytes() for path in finished]
    tensors.place_shards(finished, folder)
    assert [path.read_bytes() for path in sorted(folder.iterdir())] == expected
    assert not any(path.exists() for path in finished)
    monkeypatch.undo()
    with pytest.raises(TraitsteerError, match=r"is gone, though .* run the stage again"):
        tensors.place_shards(finished, folder)
    assert [path.read_bytes() for path in sorted(folder.iterdir())] == expected


def test_a_shard_that_was_cut_short_is_made_anew(reader: Reader, tmp_path: Path) -> None:
    folder = tmp_path / "arm"
    write(reader, folder, 11, 4)
    path = folder / "00001.safetensors"
    whole = path.read_bytes()
    # In place, as a disk does it: the shard that is kept under the other name is cut as well.
    path.write_bytes(whole[:-8])
    with pytest.raises(TraitsteerError, match=r"no whole safetensors file .*; delete it and run"):
        tensors.read_shards(folder, {"trait": "evil"})
    path.unlink()
    write(reader, folder, 11, 4)
    assert path.read_bytes() == whole
