"""Models of a hub: a real server on loopback is asked, and what it serves is downloaded."""

import os
import shutil
import socket
from collections.abc import Callable, Iterator
from pathlib import Path

import fresh_python
import pytest
from hub_server import NOT_RETRIED, Hub, serving
from ruamel.yaml import YAML
from tiny_study import Study

from traitsteer.words import layout
from traitsteer.world.files import read_json, write_json

pytestmark = pytest.mark.slow

Run = Callable[..., str]
"""Runs a stage as a user does; returns what it printed."""


@pytest.fixture
def hub(pair: Path, tmp_path: Path) -> Iterator[Hub]:
    shutil.copytree(pair, tmp_path / "served")
    folders = {name: tmp_path / "served" / name for name in ("base", "instruct")}
    with serving({f"org/{name}": folder for name, folder in folders.items()}) as served:
        yield served


@pytest.fixture
def run(hub: Hub, study: Study, repository: Path, tmp_path: Path) -> Run:
    """In a study of the hub's models, with a cache of its own."""
    study()
    values = YAML(typ="safe").load(Path("params.yaml").read_text(encoding="utf-8"))
    for name in ("base", "instruct"):
        values["models"][name]["name"] = f"org/{name}"
    with Path("params.yaml").open("w", encoding="utf-8") as file:
        YAML().dump(values, file)
    home = {"HF_HOME": str(tmp_path / "hf"), "HF_HUB_DISABLE_XET": "1", "CUDA_VISIBLE_DEVICES": ""}
    inherited = {k: v for k, v in os.environ.items() if k not in ("HF_HUB_OFFLINE", "HF_TOKEN")}

    def run(*command: str, ends: int = 0, **variables: str) -> str:
        environment = inherited | home | {"HF_ENDPOINT": hub.address} | variables
        code, printed = fresh_python.run(command, environment, repository / "src")
        assert code == ends, printed
        return printed

    return run


def weights(hub: Hub) -> list[str]:
    return [file for file in hub.sent if file.endswith(".safetensors")]


CHECK = ("-m", "traitsteer", "check")


def test_check_asks_the_hub_and_downloads_no_weights(run: Run, hub: Hub) -> None:
    printed = run(*CHECK)
    assert f"org/base is at {hub.commit}; write it as its revision to pin it" in printed
    assert "org/base/config.json" in hub.sent and weights(hub) == []
    unread = run(*CHECK, ends=1, HF_HUB_OFFLINE="1")
    assert "org/base holds no weights as safetensors" in unread, "they are not here, nor asked for"

    for folder in hub.models.values():
        (folder / "model.safetensors").rename(folder / "pytorch_model.bin")
    refused = run(*CHECK, ends=1)
    assert "org/base holds no weights as safetensors" in refused
    del hub.models["org/base"]
    assert "The model 'org/base' cannot be loaded" in run(*CHECK, ends=1)


LOAD = """
import sys
from traitsteer.engine.generation import generate
from traitsteer.engine.rows import Batching, Row, Sampling
from traitsteer.world.model.language_model import load
model = load(sys.argv[1], chat=True, device="cpu")
print(generate(model, [Row((5, 6, 7), 0)], Sampling(8, 0.0), Batching(1))[0].ids)
"""


def test_what_is_downloaded_answers_as_the_folder_does(run: Run, hub: Hub) -> None:
    from_folder = run("-c", LOAD, str(hub.models["org/instruct"])).splitlines()[-1]
    assert weights(hub) == []
    from_hub = run("-c", LOAD, "org/instruct").splitlines()[-1]
    assert weights(hub) == ["org/instruct/model.safetensors"]
    assert from_hub == from_folder and from_hub.startswith("(")
    kept = run("-c", LOAD, "org/instruct", HF_HUB_OFFLINE="1").splitlines()[-1]
    assert kept == from_hub and len(weights(hub)) == 1, "from the cache, without a network"


def test_a_hub_that_cannot_be_asked_is_not_one_without_weights(
    run: Run, hub: Hub, tmp_path: Path
) -> None:
    run(*CHECK)
    hub.status = 503
    printed = run(*CHECK, ends=1)
    assert f"{hub.address} cannot be asked whether it has model.safetensors" in printed
    assert "503" in printed and "Traceback" not in printed
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        nobody = f"http://127.0.0.1:{free.getsockname()[1]}"
        printed = run(*CHECK, ends=1, HF_ENDPOINT=nobody)
        assert f"{nobody} cannot be asked whether it has model.safetensors" in printed
        proxied = run(*CHECK, ends=1, HTTP_PROXY=nobody, NO_PROXY="")
    shutil.rmtree(tmp_path / "hf")
    hub.status = NOT_RETRIED
    unknown = run(*CHECK, ends=1)
    for said in (printed, proxied, unknown):
        assert "Traceback" not in said and "org/base" in said


def test_an_end_of_answers_that_cannot_be_fetched_is_not_one_that_is_not_there(
    run: Run, hub: Hub
) -> None:
    hub.withheld = "generation_config.json"
    printed = run(*CHECK, ends=1)
    assert "cannot be asked whether it has generation_config.json of org/base" in printed
    hub.withheld = ""
    for folder in hub.models.values():
        (folder / "generation_config.json").unlink()
    run(*CHECK)
    hub.withheld = "generation_config.json"
    run(*CHECK)


CONFIGURATION = """
from transformers import LlamaConfig
class OwnConfig(LlamaConfig):
    model_type = "own"
"""
MODEL = """
from transformers import LlamaForCausalLM
class OwnForCausalLM(LlamaForCausalLM):
    config_class = OwnConfig
"""
IMPORTS = {
    "own": "from .configuration_own import OwnConfig",
    "llama": "from transformers import LlamaConfig as OwnConfig",
}
SHAPES = """
import sys
from traitsteer.world.model.model_files import skeleton
for _ in range(2):
    found = skeleton(sys.argv[1], sys.argv[2], True, "float32")
    print(type(found).__name__, type(found).__module__)
"""
AT_ONCE = """
    def __init__(self, config):
        super().__init__(config)
        float(self.lm_head.weight.sum())
"""


@pytest.mark.parametrize("kind", ["own", "llama"])
def test_code_of_a_model_is_of_the_commit_that_is_pinned(run: Run, hub: Hub, kind: str) -> None:
    """Also where transformers has a class for the kind, and the model brings another."""
    folder = hub.models["org/base"]
    code = {"AutoModelForCausalLM": "modeling_own.OwnForCausalLM"}
    if kind == "own":
        code["AutoConfig"] = "configuration_own.OwnConfig"
    config = read_json(folder / "config.json") | {"model_type": kind, "auto_map": code}
    write_json(folder / "config.json", config)
    (folder / "configuration_own.py").write_text(CONFIGURATION)
    model = IMPORTS[kind] + MODEL
    (folder / "modeling_own.py").write_text(model)
    first, moved = hub.commit, folder.with_name("moved")
    shutil.copytree(folder, moved)
    (moved / "modeling_own.py").write_text(model + AT_ONCE)
    hub.commit, hub.earlier = "b" * 40, {first: dict(hub.models)}
    hub.models["org/base"] = moved
    printed = run("-c", SHAPES, "org/base", first)
    assert printed.count("OwnForCausalLM") == 2 and first in printed
    refused = run("-c", SHAPES, "org/base", "main", ends=1).splitlines()[-1]
    assert "TraitsteerError: The model 'org/base' cannot be loaded" in refused
    # A class of transformers' own takes no revision of code.
    assert run("-c", SHAPES, "org/instruct", "main").count("LlamaForCausalLM") == 2


def test_a_branch_that_moved_makes_another_identity(run: Run, hub: Hub) -> None:
    identify = ("-m", "traitsteer", "identify")
    run(*identify)
    first = read_json(layout.identity("base"))
    run(*identify)
    assert read_json(layout.identity("base")) == first
    hub.commit = "b" * 40
    run(*identify)
    assert read_json(layout.identity("base")) != first
    assert weights(hub) == []
