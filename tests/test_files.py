"""Files: whole or absent, and refused when corrupt or made from something else."""

from pathlib import Path

import pytest
import torch

from traitsteer.words.errors import TraitsteerError
from traitsteer.world import tensors
from traitsteer.world.files import read_json, read_jsonl, replacing, write_json, write_jsonl


def test_an_interrupted_write_leaves_the_old_file_and_no_other(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    write_json(path, {"old": 1})
    with pytest.raises(KeyboardInterrupt), replacing(path) as temporary:
        temporary.write_text("half")
        raise KeyboardInterrupt
    assert read_json(path) == {"old": 1}
    assert list(tmp_path.iterdir()) == [path]


def test_nan_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="not JSON compliant"):
        write_json(tmp_path / "a.json", {"value": float("nan")})


def test_a_truncated_table_names_its_line(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    write_jsonl(path, [{"a": 1}, {"a": 2}])
    assert read_jsonl(path) == [{"a": 1}, {"a": 2}]
    odd = [{"text": "one\u2028two\x85three\nfour"}]
    write_jsonl(tmp_path / "odd.jsonl", odd)
    assert read_jsonl(tmp_path / "odd.jsonl") == odd
    write_jsonl(tmp_path / "none.jsonl", [])
    assert read_jsonl(tmp_path / "none.jsonl") == []
    path.write_text(path.read_text()[:-5])
    with pytest.raises(TraitsteerError, match=r"rows\.jsonl:2 is no JSON .* truncated"):
        read_jsonl(path)


def test_tensors_come_back_and_corruption_is_one_sentence(tmp_path: Path) -> None:
    path = tmp_path / "v.safetensors"
    tensors.write(path, {"vectors": torch.arange(6.0).view(2, 3)}, {"trait": "evil"})
    assert torch.equal(
        tensors.read(path, {"trait": "evil"}).tensors["vectors"], torch.arange(6.0).view(2, 3)
    )
    with pytest.raises(TraitsteerError, match="made with trait evil, expected kind"):
        tensors.read(path, {"trait": "kind"})
    path.write_bytes(path.read_bytes()[:-4])
    with pytest.raises(TraitsteerError, match="no whole safetensors file"):
        tensors.read(path, {})
    with pytest.raises(TraitsteerError, match="is not there"):
        tensors.read(tmp_path / "none.safetensors", {})
