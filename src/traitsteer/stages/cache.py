"""cache: residual activations of every layer at the pooled positions of the kept responses.

Reads the responses of the arm's text, their verdicts, the terms that both were made under and the
arm's source model; writes data/activations/<trait>/<arm>/, in shards, with the provenance that
later stages check.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from traitsteer.engine.reading import Recorded
from traitsteer.experiment.activations import Labelled, Reader
from traitsteer.experiment.elicitation import read_vetted, refuse_too_few
from traitsteer.experiment.models import check_vocabulary, open_model
from traitsteer.maths.folds import groups_of
from traitsteer.maths.positions import Position
from traitsteer.words import layout
from traitsteer.words.config import Config
from traitsteer.words.records import LEFT_OUT, POLARITIES
from traitsteer.world import tensors
from traitsteer.world.files import digest
from traitsteer.world.progress import progress, say
from traitsteer.world.repository import in_repository
from traitsteer.world.terms_file import read_terms

SHARD = 512
"""Most responses of one file: 270 MB at 32 layers of width 4096."""


def run(config: Config, trait: str, arm: str) -> None:
    """Read the activations of the kept responses from their recorded token ids.

    A response without a token at the arm's position is left out, and how many are is told.

    Raises:
        TraitsteerError: the terms were changed after they were written, the verdicts are not on the
            responses beside them or were given under other terms, fewer than `vet.minimum` of a
            polarity were kept or have a token at the arm's position, the text was written with
            another vocabulary, an activation is not finite, or the model cannot be read or does not
            fit into the memory.
    """
    position, text = Position.parse(config.arm(arm).position), config.text(arm)
    check_vocabulary(config, arm)
    protocol = digest(read_terms(layout.extraction_protocol(trait)))
    responses, kept = read_vetted(trait, text, protocol)
    groups = groups_of((row["pair"], row["prompt"]) for row in responses)
    rows = [_labelled(row, groups) for row in responses if row["id"] in kept]
    held = [row for row in rows if position.tokens(*row.recorded.lengths)]
    left_out = _left_out(config, trait, arm, rows, held)
    model = open_model(config, config.source(arm))
    provenance = {
        "trait": trait,
        "arm": arm,
        "text": text,
        "source": model.name,
        "source_digest": model.digest,
        "software": ", ".join(" ".join(each) for each in model.software.items()),
        "position": str(position),
        "extraction_protocol": protocol,
        "responses": digest([[row.recorded.id, *row.recorded.parts] for row in held]),
        "shards": str(-(-len(held) // SHARD)),
        **left_out,
    }
    reader = Reader(model, position, config.models.tokens, in_repository(layout.CACHE))
    with progress(f"cache {trait} {arm}", len(held), "response") as advance:
        finished = list(reader.shards(held, SHARD, provenance, advance))
    tensors.place_shards(finished, layout.activations(trait, arm))


def _labelled(row: Mapping[str, Any], groups: Mapping[int, int]) -> Labelled:
    parts = (row["prompt_ids"], row["response_ids"], row.get("reasoning_ids", ()))
    recorded = Recorded(row["id"], *map(tuple, parts))
    return Labelled(
        recorded, row["polarity"] == "positive", row["pair"], groups[row["pair"]], row["sample"]
    )


def _left_out(
    config: Config, trait: str, arm: str, rows: Sequence[Labelled], held: Sequence[Labelled]
) -> dict[str, str]:
    """How many responses of each polarity are left out, unless too few were kept or remain."""
    text, minimum = config.text(arm), config.vet.minimum
    before, after = ([each.polarity for each in some] for some in (rows, held))
    refuse_too_few(
        before,
        minimum,
        f"{layout.verdicts(trait, text)} keeps",
        f"raise elicit.samples, add prompts or loosen the thresholds of vet, and run `traitsteer "
        f"elicit {trait} {text}` and `traitsteer vet {trait} {text}` again",
    )
    where = f"{config.arm(arm).position} selects"
    refuse_too_few(
        after,
        minimum,
        f"cache {trait} {arm}: {where} a token in",
        f"let arms.{arm}.position begin earlier or raise elicit.max_new_tokens",
    )
    lost = {polarity: before.count(polarity) - after.count(polarity) for polarity in POLARITIES}
    if any(lost.values()):
        say(
            f"cache {trait} {arm}: {where} no token in {lost['positive']} of "
            f"{before.count('positive')} positive and {lost['negative']} of "
            f"{before.count('negative')} negative responses, which are left out"
        )
    return {name: str(lost[of]) for name, of in zip(LEFT_OUT, POLARITIES, strict=True)}
