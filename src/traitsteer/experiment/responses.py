"""Responses to prompts, kept on disk in chunks while they are generated.

A chunk holds the responses that ended one after the other, each under the hash of its prompt and
seed, in a folder for what else they depend on. An interrupted stage generates only what is left
(DVC removes the outputs of a stage before it starts), and one that asks for more takes what there
is, whatever it lies beside.
"""

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from traitsteer import engine
from traitsteer.engine.generation import generate
from traitsteer.engine.rows import Batching, Generated, Row, Sampling
from traitsteer.words.errors import TraitsteerError
from traitsteer.world.files import digest, digest_of_files, read_jsonl, write_jsonl
from traitsteer.world.model.language_model import LanguageModel
from traitsteer.world.model.passes import PASSES

CHUNK = 64
"""Responses of one file; a killed run loses at most as many that had ended."""

GENERATING = (
    *(
        path
        for path in Path(engine.__path__[0]).glob("*.py")
        if path.stem not in ("likelihood", "reading")
    ),
    *PASSES,
)
"""Files whose code decides what is generated."""
_CODE = digest_of_files(GENERATING)
"""Responses of an older engine are not responses of this one."""


@dataclass(frozen=True)
class Seeded:
    """A prompt as token ids, with the seed of one response to it."""

    prompt_ids: tuple[int, ...]
    seed: int


def responses_to(
    model: LanguageModel,
    prompts: Sequence[Seeded],
    sampling: Sampling,
    batching: Batching,
    cache: Path,
    progress: Callable[[int], None] = lambda done: None,
) -> list[Generated]:
    """The unsteered response to each prompt, in order; those that are kept on disk are read.

    Raises:
        TraitsteerError: the file of a chunk is not what was written, a prompt is empty or does not
            fit the model, or a single one does not fit into memory.
    """
    folder = _folder(model, sampling, cache)
    names = [digest([each.prompt_ids, each.seed]) for each in prompts]
    asked = dict(zip(names, prompts, strict=True))
    kept = {
        name: generated
        for path in sorted(folder.glob("*.jsonl"))
        for name, generated in _read(path)
        if name in asked
    }
    # Equal prompts side by side, which share their pass, though their samples lie far apart.
    seen: dict[tuple[int, ...], int] = {}
    left = [name for name in asked if name not in kept]
    left.sort(key=lambda name: seen.setdefault(asked[name].prompt_ids, len(seen)))
    progress(len(prompts) - len(left))
    ended: dict[str, Generated] = {}

    def keep() -> None:
        if ended:
            lines = [{"of": name, **asdict(generated)} for name, generated in ended.items()]
            write_jsonl(folder / f"{digest(list(ended))}.jsonl", lines)
            kept.update(ended)
            ended.clear()

    def finished(number: int, generated: Generated) -> None:
        ended[left[number]] = generated
        if len(ended) == CHUNK:
            keep()
        progress(1)

    rows = [Row(asked[name].prompt_ids, asked[name].seed) for name in left]
    try:
        generate(model, rows, sampling, batching, finished)
    finally:
        keep()
    return [kept[name] for name in names]


def _read(path: Path) -> list[tuple[str, Generated]]:
    """The responses of a chunk by their names; a disk that filled up or lost power leaves fewer."""
    lines = read_jsonl(path)
    if digest([line.get("of") for line in lines]) != path.stem:
        raise TraitsteerError(
            f"{path} holds {len(lines)} responses, which are not those that were written to it; "
            "delete it and run again, which makes them anew."
        )
    return [(line["of"], Generated(tuple(line["ids"]), line["finish"])) for line in lines]


def _folder(model: LanguageModel, sampling: Sampling, cache: Path) -> Path:
    key = {
        "code": _CODE,
        "model": model.digest,
        "implementation": model.implementation,
        "ends": model.end_ids,
        "software": model.software,
        "dtype": str(model.dtype),
        "device": str(model.device),
        "sampling": asdict(sampling),
    }
    return cache / "responses" / digest(key)
