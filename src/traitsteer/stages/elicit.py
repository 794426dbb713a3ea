"""elicit: responses that should show a trait or its opposite, as recorded token ids.

Reads the trait's folder and the arm's source model; writes data/responses/<trait>/<arm>.jsonl.
Instruction elicitation asks every extraction question under every system prompt of both
polarities; natural elicitation continues every scenario.
"""

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

from traitsteer.engine.generation import generate
from traitsteer.engine.rows import Row
from traitsteer.experiment.models import batching_of, open_model, sampling_of
from traitsteer.words import layout
from traitsteer.words.config import Config
from traitsteer.words.records import Polarity, Response, Trait
from traitsteer.words.seeds import seed_for
from traitsteer.world.files import write_jsonl
from traitsteer.world.progress import progress, say
from traitsteer.world.trait_folder import read_trait

POLARITIES: tuple[Polarity, Polarity] = ("positive", "negative")


@dataclass(frozen=True)
class Prompt:
    """One prompt of a contrast pair."""

    pair: int
    polarity: Polarity
    text: str
    system: str | None


def prompts_for(trait: Trait, elicitation: str) -> Iterator[Prompt]:
    """Yield both sides of every contrast pair of the elicitation."""
    if elicitation == "natural":
        for pair, scenario in enumerate(trait.scenarios):
            for polarity in POLARITIES:
                yield Prompt(pair, polarity, getattr(scenario, polarity), None)
        return
    for place, system in enumerate(trait.system_prompts):
        for number, question in enumerate(trait.extraction):
            pair = place * len(trait.extraction) + number
            for polarity in POLARITIES:
                yield Prompt(pair, polarity, question, getattr(system, polarity))


def run(config: Config, trait_name: str, arm: str) -> None:
    """Sample `elicit.samples` responses for each prompt of the arm."""
    trait = read_trait(Path(config.study.trait_folder) / trait_name)
    elicitation = config.arm(arm).elicitation
    planned = [
        (prompt, sample, seed_for(config.seed, arm, prompt.system or "", prompt.text, sample))
        for prompt in prompts_for(trait, elicitation)
        for sample in range(config.elicit.samples)
    ]
    model = open_model(config, config.source(arm))
    # A scenario is text to be continued, for a chat model too.
    plain = elicitation == "natural"
    rows = [
        Row(model.encode(prompt.text, prompt.system, plain), seed) for prompt, _, seed in planned
    ]
    with progress(f"elicit {trait_name} {arm}", len(rows), "response") as advance:
        generated = generate(
            model,
            rows,
            sampling_of(config.elicit),
            batching_of(config),
            finished=lambda *_: advance(1),
        )
    parted = [model.parts(row.prompt_ids, g.ids) for row, g in zip(rows, generated, strict=True)]
    if unfinished := sum(not parts.answered for parts in parted):
        say(
            f"elicit {trait_name} {arm}: {unfinished} of {len(rows)} responses reason to their end "
            "and have no answer; raise elicit.max_new_tokens"
        )
    responses = [
        Response(
            id=f"{trait_name}-{arm}-{prompt.pair:04}-{prompt.polarity}-{sample}",
            trait=trait_name,
            arm=arm,
            pair=prompt.pair,
            polarity=prompt.polarity,
            sample=sample,
            seed=seed,
            system=prompt.system,
            prompt=prompt.text,
            prompt_ids=row.prompt_ids,
            response_ids=parts.answer,
            text=model.decode(parts.answer),
            finish=response.finish,
            reasoning_ids=parts.reasoning,
        )
        for (prompt, sample, seed), row, response, parts in zip(
            planned, rows, generated, parted, strict=True
        )
    ]
    write_jsonl(layout.responses(trait_name, arm), map(asdict, responses))
