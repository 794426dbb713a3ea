"""cache: residual activations of every layer at the pooled positions of the kept responses.

Reads the responses of the arm's text, their verdicts, the terms that both were made under and the
arm's source model; writes data/activations/<trait>/<arm>/, in shards, with the provenance that
later stages check.
"""

from traitsteer.engine.reading import Recorded
from traitsteer.experiment.activations import Labelled, Reader
from traitsteer.experiment.models import check_vocabulary, open_model
from traitsteer.maths.folds import groups_of
from traitsteer.maths.positions import Position
from traitsteer.words import layout
from traitsteer.words.config import Config
from traitsteer.world import tensors
from traitsteer.world.files import digest, read_json, read_jsonl
from traitsteer.world.progress import progress
from traitsteer.world.repository import in_repository

SHARD = 512
"""Most responses of one file: 270 MB at 32 layers of width 4096."""


def run(config: Config, trait: str, arm: str) -> None:
    """Read the activations of the kept responses from their recorded token ids.

    Raises:
        TraitsteerError: a response has no token at the arm's position, the text was written with
            another vocabulary, or the model cannot be read or does not fit into the memory.
    """
    position, text = Position.parse(config.arm(arm).position), config.text(arm)
    check_vocabulary(config, arm)
    responses = read_jsonl(layout.responses(trait, text))
    groups = groups_of((row["pair"], row["prompt"]) for row in responses)
    kept = {row["id"] for row in read_jsonl(layout.verdicts(trait, text)) if row["kept"]}
    rows = [
        Labelled(
            Recorded(
                row["id"],
                tuple(row["prompt_ids"]),
                tuple(row["response_ids"]),
                tuple(row.get("reasoning_ids", ())),
            ),
            row["polarity"] == "positive",
            row["pair"],
            groups[row["pair"]],
            row["sample"],
        )
        for row in responses
        if row["id"] in kept
    ]
    for row in rows:
        # An empty response is found before the first shard rather than in the last.
        item = row.recorded
        position.select(
            len(item.prompt_ids), len(item.response_ids), item.id, len(item.reasoning_ids)
        )
    model = open_model(config, config.source(arm))
    provenance = {
        "trait": trait,
        "arm": arm,
        "text": text,
        "source": model.name,
        "source_digest": model.digest,
        "position": str(position),
        "extraction_protocol": read_json(layout.extraction_protocol(trait))["sha256"],
        "responses": digest([[row.recorded.id, *row.recorded.parts] for row in rows]),
        "shards": str(-(-len(rows) // SHARD)),
    }
    reader = Reader(model, position, config.models.tokens, in_repository(layout.CACHE))
    with progress(f"cache {trait} {arm}", len(rows), "response") as advance:
        finished = list(reader.shards(rows, SHARD, provenance, advance))
    tensors.place_shards(finished, layout.activations(trait, arm))
