"""Responses to prompts, kept on disk in chunks while they are generated.

A chunk is written when the last of its responses has ended, under the hash of everything that it
depends on, so that an interrupted stage generates only what is left (DVC removes the outputs of a
stage before it starts).
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
"""Responses of one file."""

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
    """The unsteered response to each prompt, in order; those of finished chunks are read.

    Raises:
        TraitsteerError: the file of a finished chunk does not hold all of it, a prompt is empty or
            does not fit the model, or a single one does not fit into memory.
    """
    chunks = [prompts[first : first + CHUNK] for first in range(0, len(prompts), CHUNK)]
    paths = [_path(model, chunk, sampling, cache) for chunk in chunks]
    kept = {
        place: _read(path, len(chunks[place])) for place, path in enumerate(paths) if path.exists()
    }
    missing = [place for place in range(len(chunks)) if place not in kept]
    left = [(place, at) for place in missing for at in range(len(chunks[place]))]
    # Equal prompts side by side, which share their pass, though their samples lie chunks apart.
    seen: dict[tuple[int, ...], int] = {}
    left.sort(key=lambda each: seen.setdefault(chunks[each[0]][each[1]].prompt_ids, len(seen)))
    parts: dict[int, dict[int, Generated]] = {place: {} for place in missing}
    progress(len(prompts) - len(left))

    def finished(number: int, generated: Generated) -> None:
        place, at = left[number]
        parts[place][at] = generated
        if len(parts[place]) == len(chunks[place]):
            whole = parts.pop(place)
            kept[place] = [whole[each] for each in sorted(whole)]
            write_jsonl(paths[place], map(asdict, kept[place]))
        progress(1)

    rows = [Row(chunks[place][at].prompt_ids, chunks[place][at].seed) for place, at in left]
    generate(model, rows, sampling, batching, finished)
    return [response for place in range(len(chunks)) for response in kept[place]]


def _read(path: Path, count: int) -> list[Generated]:
    """The responses of a finished chunk; a disk that filled up or lost power leaves fewer."""
    rows = read_jsonl(path)
    if len(rows) != count:
        raise TraitsteerError(
            f"{path} holds {len(rows)} of {count} responses; delete it and run again, which makes "
            "them anew."
        )
    return [Generated(tuple(row["ids"]), row["finish"]) for row in rows]


def _path(model: LanguageModel, chunk: Sequence[Seeded], sampling: Sampling, cache: Path) -> Path:
    key = {
        "code": _CODE,
        "model": model.digest,
        "dtype": str(model.dtype),
        "device": str(model.device),
        "sampling": asdict(sampling),
        "prompts": [[each.prompt_ids, each.seed] for each in chunk],
    }
    return cache / "responses" / f"{digest(key)}.jsonl"
