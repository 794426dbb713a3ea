"""Fixtures: shapes are checked in maths and engine; tiny random models stand for real ones."""

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

# Tests run side by side.
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ["HF_HUB_OFFLINE"] = "1"

from jaxtyping import install_import_hook

install_import_hook(["traitsteer.maths", "traitsteer.engine"], "shapes_checked.checked")

import pytest  # noqa: E402
import torch  # noqa: E402
from judge_server import serving  # noqa: E402
from ruamel.yaml import YAML  # noqa: E402
from tiny import Built, build  # noqa: E402

from traitsteer.engine.trial import try_out  # noqa: E402
from traitsteer.world.model.language_model import LanguageModel, load  # noqa: E402
from traitsteer.world.pocket_judge import PocketJudge  # noqa: E402

pytest_plugins = ["tiny_study"]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """What takes minutes begins first, so that no worker waits for it at the end."""
    items.sort(key=lambda item: item.get_closest_marker("slow") is None)


@pytest.fixture(scope="session")
def built(tmp_path_factory: pytest.TempPathFactory) -> Built:
    """Gives the folder of a random model of a kind and changes; each is written once."""
    folders: dict[str, Path] = {}

    def folder(kind: str, **changes: object) -> Path:
        key = json.dumps([kind, changes], sort_keys=True)
        if key not in folders:
            folders[key] = tmp_path_factory.mktemp(kind)
            build(folders[key], kind, **changes)
        return folders[key]

    return folder


@pytest.fixture(scope="session")
def llama(built: Built) -> LanguageModel:
    """A random chat Llama of 3 layers x 32 in float32, tried: who counts passes counts theirs."""
    model = load(str(built("llama")), chat=True, device="cpu")
    try_out(model)
    return model


@pytest.fixture(autouse=True)
def _seeded() -> None:
    torch.manual_seed(0)


@pytest.fixture(scope="session")
def repository() -> Path:
    """The top of the repository."""
    return Path(__file__).parent.parent


@pytest.fixture(scope="session")
def empty_store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A database without runs; making its tables takes seconds."""
    from mlflow import MlflowClient

    path = tmp_path_factory.mktemp("store") / "mlflow.db"
    MlflowClient(f"sqlite:///{path}").search_experiments()
    return path


@pytest.fixture
def params(repository: Path) -> dict[str, Any]:
    """What params.yaml holds, to be changed."""
    return YAML(typ="safe").load((repository / "params.yaml").read_text(encoding="utf-8"))


@pytest.fixture(scope="session")
def judge(repository: Path) -> PocketJudge:
    """The committed pocket judge."""
    return PocketJudge.from_folder(repository / "models/pocket/judge")


@pytest.fixture(scope="session")
def judge_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of a server process that serves the tiny judges, until the tests end."""
    with serving(tmp_path_factory.mktemp("server")) as address:
        yield address
