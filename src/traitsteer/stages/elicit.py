"""elicit: responses that should show a trait or its opposite, as recorded token ids.

Reads the trait's folder and the source model of an arm that elicits, whose name its text bears;
writes data/responses/<trait>/<text>.jsonl. Finished responses are kept in .cache/ while it runs.
Instruction elicitation asks every extraction question under every system prompt of both
polarities; natural elicitation continues every scenario.
"""

from dataclasses import asdict

from traitsteer.experiment.elicitation import planned
from traitsteer.experiment.models import batching_of, open_model, sampling_of
from traitsteer.experiment.responses import Seeded, responses_to
from traitsteer.words import layout
from traitsteer.words.config import Config
from traitsteer.words.protocol import refuse_repeats
from traitsteer.words.records import POLARITIES, Response
from traitsteer.world.files import write_jsonl
from traitsteer.world.progress import progress, say
from traitsteer.world.repository import in_repository
from traitsteer.world.trait_folder import trait_of


def run(config: Config, trait_name: str, text: str) -> None:
    """Sample `elicit.samples` responses for each prompt of an arm that elicits.

    Raises:
        TraitsteerError: `text` is no arm or one that reads the text of another, the trait folder
            or the model cannot be read, a question or contrast pair stands twice, one side stands
            for both polarities, pairs share a side at temperature 0, or a prompt does not fit the
            model.
    """
    elicitation = config.eliciting(text).elicitation
    trait = trait_of(config, trait_name)
    # Scenarios are no dependency of the stage that refused repeats.
    refuse_repeats(trait)
    asked = planned(config, trait, text)
    model = open_model(config, config.source(text))
    # A scenario is text to be continued, for a chat model too.
    plain = elicitation == "natural"
    rows = [
        Seeded(model.encode(each.side.prompt, each.side.system, plain), each.seed) for each in asked
    ]
    with progress(f"elicit {trait_name} {text}", len(rows), "response") as advance:
        generated = responses_to(
            model,
            rows,
            sampling_of(config.elicit),
            batching_of(config),
            in_repository(layout.CACHE),
            advance,
        )
    parted = [model.parts(row.prompt_ids, g.ids) for row, g in zip(rows, generated, strict=True)]
    if unfinished := sum(not parts.answered for parts in parted):
        say(
            f"elicit {trait_name} {text}: {unfinished} of {len(rows)} responses reason to their "
            "end and have no answer; raise elicit.max_new_tokens"
        )
    responses = [
        Response(
            **each.fields(),
            trait=trait_name,
            arm=text,
            prompt_ids=row.prompt_ids,
            response_ids=parts.answer,
            text=model.decode(parts.answer),
            finish=response.finish,
            reasoning_ids=parts.reasoning,
        )
        for each, row, response, parts in zip(asked, rows, generated, parted, strict=True)
    ]
    responses.sort(key=lambda each: (each.pair, POLARITIES.index(each.polarity), each.sample))
    write_jsonl(layout.responses(trait_name, text), map(asdict, responses))
