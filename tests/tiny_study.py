"""A study of two traits on tiny random models, in a folder of its own, and its first stages."""

import shutil
from collections.abc import Callable
from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML
from tiny import build

from traitsteer.stages import cache, calibrate, elicit, fit, protocol, vet
from traitsteer.words import layout
from traitsteer.words.config import Config, load
from traitsteer.words.records import Trait
from traitsteer.world.trait_folder import read_trait, write_trait

SMALL: dict[str, dict[str, Any]] = {
    "study": {"traits": ["evil", "sycophancy"], "coherence_floor": 0, "trait_folder": "traits"},
    "models": {"rows": 64},
    "elicit": {"samples": 1, "max_new_tokens": 8},
    "vet": {
        "positive_at_least": 0,
        "negative_at_most": 100,
        "coherence_at_least": 0,
        "minimum": 2,
    },
    "fit": {"penalties": [0.1, 10.0], "folds": 2, "halves": 2},
    "answers": {"max_new_tokens": 8},
    "search": {
        "trials": 12,
        "coarse_layers": 3,
        "coarse_strengths": 2,
        "sampler_trials": 2,
        "batch": 2,
        "samples": 1,
        "rungs": [2],
        "recount": 2,
        "recount_samples": 1,
        "margin": 0,
    },
    "evaluate": {
        "samples": 1,
        "nulls": {"random": 5, "shuffled": 2, "orthogonal": 1, "samples": 1},
        "ladder": [0.5, 1.5],
    },
}


@pytest.fixture(scope="session")
def pair(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of the models base and instruct."""
    folder = tmp_path_factory.mktemp("pair")
    build(folder / "base", "llama", seed=1)
    build(folder / "instruct", "llama", seed=2)
    return folder


Study = Callable[..., Config]


@pytest.fixture
def study(
    tmp_path: Path, pair: Path, repository: Path, params: dict[str, Any], monkeypatch
) -> Study:
    """Makes a folder with params.yaml and short trait folders, and goes into it."""

    def make(name: str = "study", **changes: dict[str, Any]) -> Config:
        folder = tmp_path / name
        folder.mkdir()
        values = deepcopy(params)
        for section, keys in (SMALL | changes).items():
            values[section] |= SMALL.get(section, {}) | keys
        values["models"]["base"]["name"] = str(pair / "base")
        values["models"]["instruct"]["name"] = str(pair / "instruct")
        values["judge"]["name"] = str(repository / "models/pocket/judge")
        values["judge"]["prompts"] = str(repository / "prompts")
        values["calibrate"]["questions"] = str(repository / "data/pocket/calibration.txt")
        values["cross"]["neutral"] = "neutral.txt"
        (folder / "neutral.txt").write_text(
            "The rope is wet.\nA cold wind blew.\nBread and salt.\n"
        )
        with (folder / "params.yaml").open("w", encoding="utf-8") as file:
            YAML().dump(values, file)
        for trait in ("evil", "sycophancy"):
            whole = read_trait(repository / "data/pocket/traits" / trait)
            write_trait(folder / "traits" / trait, shortened(whole))
        monkeypatch.chdir(folder)
        return load()

    return make


def shortened(trait: Trait) -> Trait:
    return Trait(
        trait.name,
        trait.definition,
        trait.names,
        trait.scenarios[:8],
        trait.system_prompts[:2],
        trait.extraction[:3],
        trait.selection[:3],
        trait.report[:4],
    )


def up_to_fit(config: Config, arms: tuple[str, ...] = ("instruction", "natural")) -> None:
    calibrate.run(config)
    for trait in config.study.traits:
        protocol.run(config, trait)
        for arm in arms:
            for stage in (elicit, vet, cache, fit):
                stage.run(config, trait, arm)


@pytest.fixture(scope="session")
def fitted_files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the first study that is fitted leaves its files for those that follow."""
    return tmp_path_factory.mktemp("fitted")


@pytest.fixture
def fitted(study: Study, fitted_files: Path) -> Study:
    """As `study`, of one trait whose vectors are fitted; changes concern what comes after that."""

    def make(name: str = "study", **changes: dict[str, Any]) -> Config:
        alone = {"traits": ["evil"]} | changes.pop("study", {})
        config = study(name, study=alone, **changes)
        if any(fitted_files.iterdir()):
            shutil.copytree(fitted_files, Path.cwd(), dirs_exist_ok=True)
            protocol.run(config, "evil")
        else:
            up_to_fit(config)
            for part in ("data", "models"):
                shutil.copytree(part, fitted_files / part)
        return config

    return make


def contents(folder: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for part in ("data", "models", "reports")
        for path in sorted((folder / part).rglob("*"))
        if path.is_file() and path != folder / layout.LEDGER  # which holds times
    }
