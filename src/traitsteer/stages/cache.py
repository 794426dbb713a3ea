"""cache: residual activations of every layer at the pooled positions of the kept responses.

Reads the responses, their verdicts and the arm's source model; writes
data/activations/<trait>/<arm>.safetensors with the provenance that later stages check.
"""

import torch

from traitsteer.engine.reading import Recorded, pooled_activations
from traitsteer.experiment.models import open_model
from traitsteer.maths.positions import Position
from traitsteer.words import layout
from traitsteer.words.config import Config
from traitsteer.world import tensors
from traitsteer.world.files import digest, read_jsonl
from traitsteer.world.progress import progress


def run(config: Config, trait: str, arm: str) -> None:
    """Read the activations of the kept responses from their recorded token ids."""
    position = Position.parse(config.arm(arm).position)
    kept = {row["id"] for row in read_jsonl(layout.verdicts(trait, arm)) if row["kept"]}
    rows = [row for row in read_jsonl(layout.responses(trait, arm)) if row["id"] in kept]
    recorded = [
        Recorded(row["id"], tuple(row["prompt_ids"]), tuple(row["response_ids"])) for row in rows
    ]
    model = open_model(config, config.source(arm))
    with progress(f"cache {trait} {arm}", len(recorded), "response") as advance:
        pooled = pooled_activations(model, recorded, position, config.models.rows, advance)
    tensors.write(
        layout.activations(trait, arm),
        {
            "activations": pooled,
            "positive": torch.tensor(
                [row["polarity"] == "positive" for row in rows], dtype=torch.uint8
            ),
            "pair": torch.tensor([row["pair"] for row in rows]),
        },
        {
            "trait": trait,
            "arm": arm,
            "source": model.name,
            "source_digest": model.digest,
            "position": str(position),
            "responses": digest([[r.id, r.prompt_ids, r.response_ids] for r in recorded]),
        },
    )
