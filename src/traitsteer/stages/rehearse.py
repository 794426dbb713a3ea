"""rehearse: every stage of a profile, in its order, on a tiny random model and a judge behind HTTP.

Reads the profile, dvc.yaml and trait data: of others in $TRAITSTEER_REFERENCE where that is set,
else the profile's own. Writes into a folder of its own, never into the study's.
"""

import io
import os
import shlex
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import product
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML

from traitsteer.rehearsal import judge_server
from traitsteer.rehearsal.models import LAYERS, WIDTH, build_pair, family_of
from traitsteer.rehearsal.sizes import RehearsalSizes, shortened, shrunk
from traitsteer.words.config import Config, load, parse
from traitsteer.words.errors import TraitsteerError
from traitsteer.words.judge_config import OF_NO_LOCAL_JUDGE
from traitsteer.words.records import Trait
from traitsteer.world.files import read_text, write_text
from traitsteer.world.progress import say
from traitsteer.world.trait_folder import read_lines, read_trait, write_trait

Door = Callable[[Sequence[str]], int]
"""The command line: arguments in, exit status out."""

EXPECTATIONS = Path("profiles/expected")
REFERENCE = "TRAITSTEER_REFERENCE"
"""Names a folder of trait data of others."""
STARTED_BY = "python -m traitsteer "
NOT_REHEARSED = ("code", "pocket_pair", "pocket_judge")
"""What DVC alone needs, and what makes the embedded pair, which no real model's profile uses."""
VARIABLES = {"OPENAI_API_KEY": "rehearsal", "HF_HUB_OFFLINE": "1"}


def run(profile: Path, folder: Path, sizes: RehearsalSizes, door: Door) -> str:
    """Rehearse a profile and return what was done, what came of it and what was not exercised.

    Raises:
        TraitsteerError: the profile or the trait data cannot be read, the name of a model tells no
            known architecture, the judge does not start, or a stage fails.
    """
    if not Path("dvc.yaml").exists():
        raise TraitsteerError("dvc.yaml is not here; rehearse from the top of the repository.")
    config = load(profile)
    families = family_of(config.models.base.name), family_of(config.models.instruct.name)
    stages = _stages()
    home = Path.cwd()
    folder = folder.resolve()
    if folder.exists() and any(folder.iterdir()):
        raise TraitsteerError(f"{folder} is not empty; name a folder that a rehearsal may fill.")
    traits, told = _traits(config, folder / "imported", door)
    short = [shortened(trait, sizes) for trait in traits]
    for trait in short:
        write_trait(folder / "traits" / trait.name, trait)
    _settle(config, profile, folder, sizes)
    base, instruct = folder / "models/rehearsed/base", folder / "models/rehearsed/instruct"
    build_pair(base, instruct, families, _texts(short), config.seed)
    told.append(
        f"random {families[0].kind} base and {families[1].kind} instruct models of {LAYERS} layers "
        f"x {WIDTH} with the chat template of that family"
    )
    try:
        with judge_server.served() as address, _variables(VARIABLES | {"OPENAI_BASE_URL": address}):
            os.chdir(folder)
            commands = [["check"], *_commands(stages, load()), ["show"], ["expected"]]
            seconds = [_run(command, door, folder) for command in commands]
    finally:
        os.chdir(home)
    return _report(profile, config, folder, told, commands, seconds)


def _stages() -> Mapping[str, Any]:
    found = YAML(typ="safe", pure=True).load(io.StringIO(read_text(Path("dvc.yaml"))))
    return {name: each for name, each in found["stages"].items() if name not in NOT_REHEARSED}


def _commands(stages: Mapping[str, Any], config: Config) -> Iterator[list[str]]:
    """The arguments of every stage of dvc.yaml, from top to bottom, for each item of its matrix."""
    values = config.model_dump(mode="json")
    for name, stage in stages.items():
        _, found, command = stage["cmd"].partition(STARTED_BY)
        if not found:
            raise TraitsteerError(f"dvc.yaml: {name} is not started by `{STARTED_BY.strip()}`.")
        matrix = {key: _listed(values, of) for key, of in stage.get("matrix", {}).items()}
        for items in product(*matrix.values()):
            filled = command
            for key, item in zip(matrix, items, strict=True):
                filled = filled.replace(f"${{item.{key}}}", str(item))
            yield shlex.split(filled)


def _listed(values: Any, of: Any) -> list[Any]:  # noqa: ANN401 - YAML holds any value
    """The values of one matrix key: a list, or the place in params.yaml that holds it."""
    if isinstance(of, list):
        return of
    for part in str(of).removeprefix("${").removesuffix("}").split("."):
        values = values[part]
    return list(values)


def _traits(config: Config, folder: Path, door: Door) -> tuple[list[Trait], list[str]]:
    """The traits of the study, and what is to be told of where they come from.

    Data of others go through `traitsteer import`.
    """
    reference = Path(os.environ[REFERENCE]).resolve() if REFERENCE in os.environ else None
    own = Path(config.study.trait_folder)
    traits, told = [], []
    for trait in config.study.traits:
        sources = None if reference is None else _sources(reference, trait)
        if sources is None:
            said = f"{trait}: trait data of {own}"
            if reference is not None:
                said += f", since {reference} holds none"
            traits.append(read_trait(own / trait))
        else:
            natural, instruction = sources
            said = f"{trait}: imported from {natural} and {instruction}"
            rubric = ["--definition", str(instruction / "definition.txt")]
            into = ["--into", str(folder / trait), "--split", "10"]
            _run(["import", str(natural), str(instruction), *into, *rubric], door, folder)
            traits.append(read_trait(folder / trait))
        say(f"rehearse: {said}")
        told.append(said)
    return traits, told


def _sources(reference: Path, trait: str) -> tuple[Path, Path] | None:
    """The folders of both elicitations, the newest where there are several; None without both."""
    natural = sorted(reference.glob(f"*/pv_natural/{trait}*/"))
    instruction = sorted(reference.glob(f"*/pv_instruction/{trait}/"))
    return (natural[-1], instruction[-1]) if natural and instruction else None


def _texts(traits: Sequence[Trait]) -> Iterator[str]:
    for trait in traits:
        yield from (trait.definition, *trait.extraction, *trait.selection, *trait.report)
        for pair in (*trait.scenarios, *trait.system_prompts):
            yield from (pair.positive, pair.negative)


def _settle(config: Config, profile: Path, folder: Path, sizes: RehearsalSizes) -> None:
    """Write params.yaml and the files that it names; sizes shrink, what is compared stays."""
    values = shrunk(YAML(typ="safe", pure=True).load(io.StringIO(read_text(profile))), sizes)
    values["study"]["trait_folder"] = "traits"
    for which in ("base", "instruct"):
        values["models"][which] |= {"name": f"models/rehearsed/{which}", "revision": None}
    values["judge"] |= OF_NO_LOCAL_JUDGE
    values["judge"] |= {"kind": "openai", "name": judge_server.MODEL, "prompts": "prompts"}
    for path in Path(config.judge.prompts).glob("*.txt"):
        write_text(folder / "prompts" / path.name, read_text(path))
    for path in EXPECTATIONS.glob("*.yaml"):
        write_text(folder / path, read_text(path))
    _shorten(Path(config.calibrate.questions), folder / "calibration.txt", sizes.questions)
    _shorten(Path(config.cross.neutral), folder / "neutral.txt", sizes.questions)
    values["calibrate"]["questions"] = "calibration.txt"
    values["cross"]["neutral"] = "neutral.txt"
    parse(values, f"{profile}, made small")
    text = io.StringIO()
    YAML(typ="safe", pure=True).dump(values, text)
    write_text(folder / "params.yaml", text.getvalue())


def _shorten(source: Path, target: Path, lines: int) -> None:
    write_text(target, "\n".join(line.text for line in read_lines(source)[:lines]) + "\n")


@contextmanager
def _variables(values: Mapping[str, str]) -> Iterator[None]:
    """Set environment variables, and put back what was there."""
    before = {name: os.environ.get(name) for name in values}
    os.environ.update(values)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value


def _run(command: Sequence[str], door: Door, folder: Path) -> float:
    say(f"rehearse: traitsteer {shlex.join(command)}")
    began = time.monotonic()
    if door(command) != 0:
        raise TraitsteerError(
            f"`traitsteer {shlex.join(command)}` failed in the rehearsal (see above); what it left "
            f"is in {folder}."
        )
    return time.monotonic() - began


def _report(
    profile: Path,
    config: Config,
    folder: Path,
    told: Sequence[str],
    commands: Sequence[Sequence[str]],
    seconds: Sequence[float],
) -> str:
    spent: dict[str, list[float]] = {}
    for command, each in zip(commands, seconds, strict=True):
        spent.setdefault(command[0], []).append(each)
    lines = [f"Rehearsed {profile} in {sum(seconds):.0f} s of stages.", "", "Stages:"]
    lines += [
        f"  {name:<14}{len(each):>3} x {sum(each) / len(each):>6.1f} s"
        for name, each in spent.items()
    ]
    lines += ["", f"Files in {folder}:"]
    counts: dict[str, list[int]] = {}
    for path in sorted(folder.rglob("*")):
        parts = path.relative_to(folder).parts
        if path.is_file() and not parts[0].startswith("."):
            counts.setdefault("/".join(parts[:2]), []).append(path.stat().st_size)
    lines += [
        f"  {name:<34}{len(sizes):>5} files{sum(sizes) / 1024:>10.0f} KiB"
        for name, sizes in counts.items()
    ]
    models = f"{config.models.base.name} and {config.models.instruct.name}"
    lines += [
        "",
        "Exercised: every stage of dvc.yaml but those that make the embedded pair, through the",
        "command line and in its order, with",
        *(f"  - {each}" for each in told),
        "  - a judge over HTTP on loopback that speaks the OpenAI protocol, with log probabilities",
        f"  - the profile's arms, positions, methods, thresholds, floor and {config.models.dtype}",
        "",
        "Not exercised:",
        f"  - the weights and the tokenizer of {models}, their download, and whether they fit",
        f"  - the judge {config.judge.name} ({config.judge.kind}): run `traitsteer audit-judge`",
        "  - full sizes: prompts, questions, tokens and trials were cut down",
        "  - any trait: random weights show none. The rehearsal's judge draws a number for each",
        "    word, so that some responses of either polarity pass vetting; none of these numbers",
        "    says anything about the models that the profile names.",
    ]
    return "\n".join(lines)
