"""The house: floors import downwards, each library has one home, dvc.yaml names what is used."""

import ast
import os
import subprocess
import sys
from functools import cache
from pathlib import Path

import pytest
from ruamel.yaml import YAML

from traitsteer.experiment.activations import READING
from traitsteer.experiment.identity import NUMERICS
from traitsteer.experiment.responses import GENERATING
from traitsteer.words import layout
from traitsteer.words.model_config import ModelsConfig

ROOT = Path(__file__).parent.parent
SOURCE = ROOT / "src"
FLOORS = {"words": 0, "maths": 1, "world": 2, "engine": 3, "pocket": 3, "rehearsal": 3}
FLOORS |= {"experiment": 4, "stages": 5, "exchange": 6, "cli": 7}
SHARED = ("words", "maths", "world", "engine", "pocket", "rehearsal", "experiment")
"""Floors whose rooms may use each other; stages stand alone."""
FIGURES = {
    f"world/figures/{name}.py"
    for name in (
        *("plot_parts", "plot_style", "plots"),
        *(f"{family}_plots" for family in ("evidence", "factor", "search", "voice")),
    )
}
HOMES = {
    "pytorch_lightning": {"maths/probe.py"},
    "optuna": {"world/studies.py"},
    "filelock": {"world/studies.py"},
    "mlflow": {"world/tracking.py"},
    "matplotlib": FIGURES,
    "openai": {"world/judge/openai_client.py"},
    "jinja2": {"world/page.py", "world/model/prompts.py"},
    "markupsafe": {"world/page.py"},
    "sqlalchemy": {"world/sqlite_store.py", "world/tracking.py"},
    "safetensors": {
        "world/tensors.py",
        "world/pocket_judge.py",
        "world/model/language_model.py",
        "world/model/weight_files.py",
        "pocket/judge_training.py",
    },
    "tokenizers": {"rehearsal/models.py", "pocket/tokens.py"},
    "transformers": {
        *(f"engine/{name}.py" for name in ("attention", "prefill", "slots")),
        *(
            f"world/model/{name}.py"
            for name in (
                *("devices", "hub_files", "language_model", "memory"),
                *("model_files", "model_names", "random_model", "weight_files"),
            )
        ),
        *(f"pocket/{name}.py" for name in ("gates", "pair", "tokens", "training")),
        "rehearsal/models.py",
    },
    "gguf": {"world/foreign/gguf_vectors.py"},
    "huggingface_hub": {
        f"world/model/{name}.py" for name in ("hub_files", "model_files", "model_names")
    },
    "pydantic": {
        f"words/{name}.py"
        for name in (
            "config",
            "judge_config",
            "model_config",
            "pocket_config",
            "scoring_config",
            "section",
        )
    },
}
FILES = sorted((SOURCE / "traitsteer").rglob("*.py"))


@cache
def tree(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"))


@cache
def imports(path: Path) -> set[str]:
    """Dotted names of the modules that a file imports, wherever in the file."""
    found = set()
    for node in ast.walk(tree(path)):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
    return found


def module_file(name: str) -> Path | None:
    path = SOURCE / (name.replace(".", "/") + ".py")
    return path if name.startswith("traitsteer.") and path.exists() else None


def floor(path: Path) -> str:
    return path.relative_to(SOURCE / "traitsteer").parts[0].removesuffix(".py")


@pytest.mark.parametrize("path", FILES, ids=lambda p: str(p.relative_to(SOURCE)))
def test_a_file_imports_only_from_floors_below(path: Path) -> None:
    here = floor(path)
    if here in ("__init__", "__main__"):
        return
    for found in filter(None, map(module_file, imports(path))):
        there = floor(found)
        same_floor = here == there and here in SHARED
        assert FLOORS[there] < FLOORS[here] or same_floor, f"{path} imports {found}"


def test_each_big_library_has_one_home() -> None:
    for library, homes in HOMES.items():
        users = {
            str(path.relative_to(SOURCE / "traitsteer"))
            for path in FILES
            if any(name.split(".")[0] == library for name in imports(path))
        }
        assert users, f"nobody uses {library}"
        assert users <= homes, library


ENGINE_ALONE = """
import sys
from importlib.metadata import distribution, packages_distributions

from packaging.requirements import Requirement


def needed(name, seen):
    if name not in seen:
        seen.add(name)
        for line in distribution(name).requires or []:
            one = Requirement(line)
            if one.marker is None or one.marker.evaluate({"extra": ""}):
                needed(one.name.lower().replace("_", "-"), seen)
    return seen


bare = needed("torch", needed("transformers", set()))
allowed = {
    module
    for module, sources in packages_distributions().items()
    if bare & {source.lower().replace("_", "-") for source in sources}
}
foreign = set(packages_distributions()) - allowed - {"traitsteer"} | {"pydantic"}
assert {"jaxtyping", "beartype", "sklearn", "scipy", "optuna", "mlflow", "matplotlib"} <= foreign
assert not foreign & {"torch", "transformers", "safetensors", "numpy"}


class Refuse:
    def __init__(self, finder):
        self.finder = finder

    def find_spec(self, name, path=None, target=None):
        return None if name.split(".")[0] in foreign else self.finder.find_spec(name, path, target)

    def __getattr__(self, name):
        return getattr(self.finder, name)


sys.meta_path[:] = map(Refuse, sys.meta_path)
from transformers import AutoConfig, AutoModelForCausalLM

from traitsteer.engine.generation import generate
from traitsteer.engine.reading import Recorded, pooled_activations
from traitsteer.engine.rows import Batching, Row, Sampling
from traitsteer.maths.positions import Position
from traitsteer.world.model.blocks import find_blocks
from traitsteer.world.model.language_model import LanguageModel

size = {"vocab_size": 20, "hidden_size": 16, "intermediate_size": 24}
heads = {"num_hidden_layers": 3, "num_attention_heads": 2, "num_key_value_heads": 2}
decoder = AutoModelForCausalLM.from_config(AutoConfig.for_model("llama", **size, **heads)).eval()


class Words:
    pad_token_id = 0
    eos_token_id = 2


model = LanguageModel("tiny", decoder, Words(), find_blocks(decoder), False, "digest")
[answer] = generate(model, [Row((5, 6), seed=0)], Sampling(4), Batching(1))
rows = [Recorded("one", (5, 6), answer.ids or (7,)), Recorded("two", (5,), (7, 8, 9))]
pooled = pooled_activations(model, rows, Position.parse("response[:]"), 64)
print(tuple(pooled.shape), bool(pooled.isfinite().all()))
"""


def test_the_engine_runs_where_only_torch_and_transformers_are_installed() -> None:
    done = subprocess.run(
        [sys.executable, "-c", ENGINE_ALONE],
        capture_output=True,
        text=True,
        env=os.environ | {"PYTHONPATH": str(SOURCE)},
    )
    assert done.returncode == 0, done.stderr[-3000:]
    assert done.stdout == "(2, 3, 16) True\n"


def stages() -> dict[str, dict]:
    return YAML(typ="safe").load((ROOT / "dvc.yaml").read_text(encoding="utf-8"))["stages"]


@pytest.mark.parametrize("name", sorted(stages()))
def test_a_stage_depends_on_its_own_code_alone(name: str) -> None:
    stage = stages()[name]
    folders = ("src/traitsteer", "data/code")
    code = {d for d in stage["deps"] if d in folders or d.endswith(".py") or "data/code/" in d}
    assert code == {"src/traitsteer" if name == "code" else str(layout.code(name))}
    assert f"python -m traitsteer {name.replace('_', '-')}" in stage["cmd"]


def test_stages_write_where_the_layout_says() -> None:
    trait, arm, text = "${item.trait}", "${item.arm}", "${item.text}"
    expected = {
        "identify": [layout.identity(each) for each in ("base", "instruct", "judge", "factorial")],
        "calibrate": [layout.CALIBRATION],
        "protocol": [layout.extraction_protocol(trait), layout.protocol(trait)],
        "elicit": [layout.responses(trait, text)],
        "vet": [layout.verdicts(trait, text), layout.vet_counts(trait, text)],
        "cache": [layout.activations(trait, arm)],
        "fit": [layout.vectors(trait, arm)],
        "search": [layout.search(trait, arm)],
        "evaluate": [layout.evaluation(trait, arm)],
        "cross": [layout.CROSS, layout.PERPLEXITY],
        "voice": [layout.VOICE, layout.VOICE_ANSWERS],
        "compare": [layout.COMPARISON, layout.METRICS, layout.PLOTS],
        "report": [layout.REPORT, layout.FIGURES],
        "track": [layout.TRACKING],
    }
    for name, paths in expected.items():
        stage = stages()[name]
        written = [*stage["outs"], *stage.get("metrics", []), *stage.get("plots", [])]
        names = {next(iter(each)) if isinstance(each, dict) else each for each in written}
        assert names == {path.as_posix() for path in paths}, name
    assert set(stages()) - set(expected) == {"code", "pocket_pair", "pocket_judge"}


@pytest.mark.parametrize("path", FILES, ids=lambda p: str(p.relative_to(SOURCE)))
def test_files_stay_readable_in_one_sitting(path: Path) -> None:
    assert len(path.read_text(encoding="utf-8").splitlines()) <= 330
    assert ast.get_docstring(tree(path))


def test_a_search_parameter_reruns_search_and_what_follows_alone() -> None:
    before = {"code", "pocket_pair", "pocket_judge", "identify", "calibrate"}
    before |= {"elicit", "vet", "cache", "fit"}
    for name, stage in stages().items():
        sections = {param.split(".")[0] for param in stage.get("params", [])}
        assert (name in before) == (
            not sections & {"search", "evaluate", "answers"} or name == "calibrate"
        )


def test_scenarios_are_read_by_elicitation_of_their_trait_alone() -> None:
    for name, stage in stages().items():
        whole = "${study.trait_folder}" in stage["deps"]
        own = "${study.trait_folder}/${item.trait}/scenarios.txt" in stage["deps"]
        assert own == (name == "elicit")
        assert whole == (name in ("cross", "report", "track", "voice"))


def test_stages_follow_what_models_and_judge_are_and_not_how_they_are_named() -> None:
    """Nor the judge's patience and budget, nor how much is computed at once."""
    both = {"base", "instruct"}
    followed = {
        "calibrate": {"instruct"},
        **{name: both for name in ("elicit", "cache", "compare", "report")},
        **{name: {*both, "judge"} for name in ("protocol", "track")},
        **{name: {"instruct", "judge"} for name in ("search", "evaluate", "cross", "voice")},
        "vet": {"judge"},
    }
    every = {layout.identity(each).as_posix(): each for each in (*both, "judge")}
    for name, stage in stages().items():
        if name == "identify":
            assert stage["always_changed"] and {"models", "judge"} == set(stage["params"])
            continue
        assert {every[each] for each in stage["deps"] if each in every} == followed.get(name, set())
        named = {each for each in stage.get("params", []) if each.startswith(("models", "judge"))}
        assert named <= {"judge.kind", "judge.missing_at_most"}, name
        assert not any(each.startswith("models/pocket") for each in stage["deps"]), name


def test_the_page_follows_a_factorial_study_that_need_not_be_there() -> None:
    """A dependency that is gone would stop a study after all its work."""
    for name, stage in stages().items():
        assert layout.FACTORIAL.as_posix() not in stage["deps"], name
        follows = layout.identity("factorial").as_posix() in stage["deps"]
        assert follows == (name == "report"), name


def test_what_a_model_is_holds_every_parameter_but_how_much_is_computed_at_once() -> None:
    """What does not fit may be made smaller in the middle of a study."""
    assert ModelsConfig.model_fields.keys() - NUMERICS == {
        *("base", "instruct"),
        *("rows", "tokens", "capture"),
    }


def test_no_pickle_is_loaded_and_no_remote_code_is_trusted_by_default() -> None:
    for path in FILES:
        parsed = tree(path)
        assert not imports(path) & {"pickle", "joblib", "dill", "cloudpickle"}, path
        for node in ast.walk(parsed):
            if isinstance(node, ast.Call):
                assert ast.unparse(node.func) not in ("torch.load", "eval", "exec"), path
                for keyword in node.keywords:
                    trusted = keyword.arg == "trust_remote_code"
                    assert not (trusted and ast.unparse(keyword.value) == "True"), path
    for profile in (ROOT / "profiles").glob("*.yaml"):
        assert "trust_remote_code: false" in profile.read_text(encoding="utf-8"), profile


def test_imports_form_no_circle() -> None:
    graph = {path: set(filter(None, map(module_file, imports(path)))) for path in FILES}
    while leaves := {path for path, needs in graph.items() if not needs & graph.keys()}:
        graph = {path: needs for path, needs in graph.items() if path not in leaves}
    assert not graph


@pytest.mark.parametrize("files", [GENERATING, READING], ids=["answers", "activations"])
def test_what_is_kept_depends_on_all_code_that_makes_it(files: tuple[Path, ...]) -> None:
    making = [path for path in files if path.parent.name == "engine"]
    assert len(making) > 2
    used = {
        found
        for path in making
        for name in imports(path)
        if name.startswith(("traitsteer.engine.", "traitsteer.world."))
        and (found := module_file(name))
    }
    assert len(used) > 4 and used <= set(files)


def test_what_is_kept_lies_in_the_repository_that_an_experiment_came_from() -> None:
    kept = ("layout.CACHE", "layout.SPENT", "layout.KEPT_LEDGER")
    for path in FILES:
        text = path.read_text(encoding="utf-8")
        assert all(text.count(name) == text.count(f"in_repository({name})") for name in kept), path


def test_a_stage_follows_the_section_of_its_name() -> None:
    for name in (
        "calibrate",
        "elicit",
        "vet",
        "fit",
        "search",
        "evaluate",
        "cross",
        "voice",
        "track",
    ):
        assert name in {each.split(".")[0] for each in stages()[name]["params"]}, name


ONE_MEANING = {"Record"}
"""An object of a JSON file, wherever it is read."""
OF_THE_POCKET = {"Array", "Row"}
"""A change to these modules would train the pocket models again."""


def test_no_name_of_a_class_or_an_alias_means_two_things() -> None:
    homes: dict[str, list[str]] = {}
    for path in FILES:
        for node in tree(path).body:
            names = [node.name] if isinstance(node, ast.ClassDef) else []
            if isinstance(node, ast.Assign):
                names = [each.id for each in node.targets if isinstance(each, ast.Name)]
            for name in names:
                # Types are in capitals and small letters, constants in capitals alone.
                if name[0].isupper() and not name.isupper():
                    homes.setdefault(name, []).append(str(path.relative_to(SOURCE)))
    twice = {
        name: found
        for name, found in homes.items()
        if name not in ONE_MEANING
        and len(found) > (name in OF_THE_POCKET and any("pocket" in path for path in found)) + 1
    }
    assert not twice
