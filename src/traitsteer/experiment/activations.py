"""Activations of labelled responses, read in shards, so that memory does not grow with them.

A finished shard is kept on disk under the hash of everything that it depends on, so that an
interrupted stage reads nothing twice (DVC removes the outputs of a stage before it starts).
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import count, islice
from pathlib import Path

import torch
from torch import Tensor

from traitsteer.engine import batches, last_block, reading, rows
from traitsteer.engine.reading import Recorded, pooled_activations
from traitsteer.maths import positions
from traitsteer.maths.positions import Position
from traitsteer.words.errors import TraitsteerError
from traitsteer.words.records import Polarity
from traitsteer.world import tensors
from traitsteer.world.files import digest, digest_of_files
from traitsteer.world.model.language_model import LanguageModel
from traitsteer.world.model.passes import PASSES

READING = (
    *(Path(module.__file__ or "") for module in (batches, last_block, reading, rows, positions)),
    *PASSES,
)
"""Files whose code decides what is read."""
_CODE = digest_of_files(READING)


@dataclass(frozen=True)
class Labelled:
    """A recorded response, the polarity that it was elicited for, its pair, group and sample.

    Pairs that share a prompt are a group.
    """

    recorded: Recorded
    positive: bool
    pair: int
    group: int
    sample: int

    @property
    def polarity(self) -> Polarity:
        """The polarity by its name."""
        return "positive" if self.positive else "negative"


@dataclass(frozen=True)
class Reader:
    """All that stays the same from one shard to the next: model, position, budget, cache."""

    model: LanguageModel
    position: Position
    tokens: int
    """Most tokens of one forward pass."""
    cache: Path

    def shards(
        self,
        rows: Iterable[Labelled],
        size: int,
        provenance: Mapping[str, str],
        progress: Callable[[int], None] = lambda done: None,
    ) -> Iterator[Path]:
        """Yield the file of each shard when it is finished; no more than `size` rows are held.

        A file holds activations `[rows, layers, width]` float32, positive `[rows]` uint8, and pair,
        group and sample `[rows]` int64, in the order of the rows, and `provenance` with the number
        of the shard.

        Raises:
            TraitsteerError: a response of the shard cannot be read or has activations that are not
                finite; earlier shards are kept.
        """
        source = iter(rows)
        for number in count():
            part = list(islice(source, size))
            if not part:
                return
            made_from = {**provenance, "shard": str(number)}
            path = self._path(part, made_from)
            # One that was cut short, by a disk that filled up or lost power, is made anew.
            if tensors.is_whole(path):
                progress(len(part))
            else:
                self._read(part, path, made_from, progress)
            del part
            yield path

    def _read(
        self,
        part: list[Labelled],
        path: Path,
        provenance: Mapping[str, str],
        progress: Callable[[int], None],
    ) -> None:
        recorded = [row.recorded for row in part]
        pooled = pooled_activations(
            self.model, recorded, self.position, self.tokens, progress=progress
        )
        self._refuse_infinite(recorded, pooled)
        held = {
            "activations": pooled,
            "positive": torch.tensor([row.positive for row in part], dtype=torch.uint8),
            "pair": torch.tensor([row.pair for row in part]),
            "group": torch.tensor([row.group for row in part]),
            "sample": torch.tensor([row.sample for row in part]),
        }
        tensors.write(path, held, provenance)

    def _refuse_infinite(self, recorded: Sequence[Recorded], pooled: Tensor) -> None:
        """Raise TraitsteerError that names the first response and layer with no finite numbers."""
        for row, layer in (~pooled.isfinite().all(dim=2)).nonzero().tolist():
            model = self.model
            raise TraitsteerError(
                f"{recorded[row].id}: {model.name} in {str(model.dtype).removeprefix('torch.')} "
                f"gives an activation at layer {layer} that is not finite; set models.dtype to "
                "bfloat16 or float32."
            )

    def _path(self, part: list[Labelled], provenance: Mapping[str, str]) -> Path:
        key = {
            "code": _CODE,
            "model": self.model.digest,
            "implementation": self.model.implementation,
            "software": self.model.software,
            "dtype": str(self.model.dtype),
            "device": str(self.model.device),
            "position": str(self.position),
            "tokens": self.tokens,
            "provenance": dict(provenance),
            "labels": [[one.positive, one.pair, one.group, one.sample] for one in part],
            "rows": [[one.recorded.id, *one.recorded.parts] for one in part],
        }
        return self.cache / "activations" / f"{digest(key)}.safetensors"
