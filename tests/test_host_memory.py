"""Memory of the host that does not suffice halves a batch, as a GPU's does: in a real process."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from tiny import build

from traitsteer.world.model.inference import told_by_the_host

_RUN = """
import json, resource, sys
from pathlib import Path
import torch
from traitsteer.engine import generation
from traitsteer.engine.rows import Batching, Row, Sampling, Steering
from traitsteer.world.model.language_model import load

halved = []
halve = generation._Stream._halve

def seen(stream, indices):
    halved.append(stream.batch_rows)
    halve(stream, indices)

generation._Stream._halve = seen
torch.set_num_threads(1)
model = load(sys.argv[1], chat=True, device="cpu")
model.model.generation_config.eos_token_id = []
vectors = torch.randn(5, 256, generator=torch.Generator().manual_seed(0))
rows = [
    Row(model.encode(f"the dog {n % 7}"), n, Steering(n % 3, vectors[n % 5], 2.0))
    for n in range(400)
]

def say(rows):
    answers = generation.generate(model, rows, Sampling(8, 1.0), Batching(len(rows)))
    return [answer.ids for answer in answers]

say(rows[:2])
used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
endless = resource.RLIM_INFINITY
resource.setrlimit(resource.RLIMIT_AS, (used + (100 << 20), endless))
scarce, count = say(rows), len(halved)
resource.setrlimit(resource.RLIMIT_AS, (endless, endless))
print(json.dumps({"halved": count, "again": len(halved) - count, "same": scarce == say(rows)}))
"""


@pytest.mark.skipif(sys.platform != "linux", reason="the address space is limited as Linux does")
def test_a_small_host_halves_the_rows_and_no_answer(tmp_path: Path) -> None:
    build(
        tmp_path,
        "llama",
        hidden_size=256,
        num_attention_heads=8,
        num_key_value_heads=8,
        intermediate_size=512,
    )
    ran = subprocess.run(
        [sys.executable, "-c", _RUN, str(tmp_path)], capture_output=True, text=True, check=True
    )
    found = json.loads(ran.stdout)
    assert found["halved"] > 0
    assert found["again"] == 0
    assert found["same"]


def test_torch_has_one_error_for_memory_wherever_it_lies() -> None:
    with pytest.raises(torch.OutOfMemoryError, match="you tried to allocate"), told_by_the_host():
        torch.empty(1 << 50)
    with pytest.raises(RuntimeError, match="cannot be multiplied") as other, told_by_the_host():
        torch.ones(2, 3) @ torch.ones(2, 3)
    assert not isinstance(other.value, torch.OutOfMemoryError)
