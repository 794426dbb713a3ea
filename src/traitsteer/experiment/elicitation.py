"""What an arm elicits, response by response, and what became of it on disk.

A stage may be run by hand, after files were cut short, or made for other parameters. What is read
here is exactly what was planned, each response once, and each verdict is on the response beside it.
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Any, NamedTuple

from traitsteer.words import layout
from traitsteer.words.config import Config
from traitsteer.words.errors import TraitsteerError
from traitsteer.words.records import POLARITIES, Polarity, Trait
from traitsteer.words.seeds import seed_for
from traitsteer.world.files import digest, read_jsonl

JsonLine = dict[str, Any]
"""One object of a file."""


class Side(NamedTuple):
    """What a response to one side of a contrast pair is elicited with."""

    pair: int
    polarity: Polarity
    system: str | None
    """The system prompt; natural elicitation has none."""
    prompt: str
    """The scenario or the extraction question."""


@dataclass(frozen=True)
class Elicitation:
    """One response that is to be elicited."""

    id: str
    side: Side
    sample: int
    seed: int

    def fields(self) -> dict[str, Any]:
        """Those fields of its `Response` that are known before it is generated."""
        known = {"id": self.id, "sample": self.sample, "seed": self.seed}
        return known | self.side._asdict()


def planned(config: Config, trait: Trait, text: str) -> list[Elicitation]:
    """`elicit.samples` responses to both sides of every contrast pair of an arm that elicits.

    Samples are outermost: where more are wanted later, those that are kept still come first. Where
    pairs share a side, each responds to it with seeds of its own.

    Raises:
        TraitsteerError: pairs share a side at temperature 0, where they would share the response.
    """
    sides = list(_numbered(sides_of(trait, config.eliciting(text).elicitation)))
    for side, earlier in sides:
        if earlier and config.elicit.temperature == 0:
            raise TraitsteerError(
                f"{trait.name}: two contrast pairs of the text {text!r} share the {side.polarity} "
                f"side {side.system or side.prompt!r}, and at elicit.temperature 0 they would "
                "share the response; write another side or raise the temperature."
            )
    return [
        Elicitation(
            id=f"{trait.name}-{text}-{side.pair:04}-{side.polarity}-{sample}",
            side=side,
            sample=sample,
            seed=seed_for(
                config.seed,
                text,
                side.system or "",
                side.prompt,
                sample,
                # A prompt that stands once keeps the seeds that it would have beside no other.
                *([earlier] if earlier else []),
            ),
        )
        for sample in range(config.elicit.samples)
        for side, earlier in sides
    ]


def _numbered(sides: Iterable[Side]) -> Iterator[tuple[Side, int]]:
    """Each side, and how many before it have the same prompt under the same system prompt."""
    seen: Counter[tuple[str | None, str]] = Counter()
    for side in sides:
        asked = side.system, side.prompt
        yield side, seen[asked]
        seen[asked] += 1


def sides_of(trait: Trait, elicitation: str) -> Iterator[Side]:
    """Both sides of every contrast pair, pair after pair; `elicitation`: natural or instruction."""
    if elicitation == "natural":
        for pair, scenario in enumerate(trait.scenarios):
            for polarity in POLARITIES:
                yield Side(pair, polarity, None, getattr(scenario, polarity))
        return
    for pair, (system, question) in enumerate(product(trait.system_prompts, trait.extraction)):
        for polarity in POLARITIES:
            yield Side(pair, polarity, getattr(system, polarity), question)


def read_responses(config: Config, trait: Trait, text: str) -> list[JsonLine]:
    """The responses of an arm that elicits, in the order of their file.

    Raises:
        TraitsteerError: the file is missing or holds other responses than those that are planned.
    """
    path = layout.responses(trait.name, text)
    remedy = f"run `traitsteer elicit {trait.name} {text}` again"
    found = _by_id(path, remedy)
    wanted = {each.id: each.fields() for each in planned(config, trait, text)}
    if odd := found.keys() ^ wanted.keys():
        raise TraitsteerError(
            f"{path} holds {len(found)} responses, expected the {len(wanted)} that params.yaml and "
            f"the trait's folder ask for ({min(odd)} is only in one of them); {remedy}."
        )
    for name, plan in wanted.items():
        for key, value in plan.items():
            if found[name].get(key) != value:
                raise TraitsteerError(
                    f"{path}: {name} has another {key} than params.yaml and the trait's folder "
                    f"give it; {remedy}."
                )
    return list(found.values())


def judged(response: Mapping[str, Any]) -> str:
    """SHA-256 of the token ids of a response and its prompt, by which a verdict knows it."""
    parts = ("prompt_ids", "reasoning_ids", "response_ids")
    return digest([list(response.get(part, ())) for part in parts])


def read_vetted(trait: str, text: str, protocol: str) -> tuple[list[JsonLine], set[str]]:
    """The responses of an arm that elicits, in the order of their file, and the ids of those kept.

    Args:
        protocol: SHA-256 of the terms that the verdicts must have been given under.

    Raises:
        TraitsteerError: a file is missing or empty, an id stands twice, or the verdicts are not on
            these responses or not under these terms.
    """
    path, others = layout.verdicts(trait, text), layout.responses(trait, text)
    remedy = f"run `traitsteer vet {trait} {text}` again"
    responses = _by_id(others, f"run `traitsteer elicit {trait} {text}` again")
    verdicts = _by_id(path, remedy)
    if odd := responses.keys() ^ verdicts.keys():
        raise TraitsteerError(
            f"{path} has verdicts on {len(verdicts)} responses, and {others} holds "
            f"{len(responses)} ({min(odd)} is only in one of them); {remedy}."
        )
    for name, response in responses.items():
        if verdicts[name].get("response") != judged(response):
            raise TraitsteerError(
                f"{path}: the verdict on {name} is on another response than the one in {others}; "
                f"{remedy}."
            )
        if verdicts[name].get("protocol") != protocol:
            raise TraitsteerError(
                f"{path}: the verdict on {name} was given under other terms than those in "
                f"{layout.extraction_protocol(trait)}; {remedy}."
            )
    return list(responses.values()), {name for name, line in verdicts.items() if line["kept"]}


def _by_id(path: Path, remedy: str) -> dict[str, JsonLine]:
    found: dict[str, JsonLine] = {}
    for line in read_jsonl(path):
        name = str(line.get("id"))
        if name in found:
            raise TraitsteerError(f"{path} holds {name} twice; {remedy}.")
        found[name] = line
    if not found:
        raise TraitsteerError(f"{path} is empty; {remedy}.")
    return found


def refuse_too_few(polarities: Sequence[str], minimum: int, found: str, remedy: str) -> None:
    """Raise TraitsteerError when a polarity has fewer than `vet.minimum` of these responses."""
    for polarity in POLARITIES:
        if (count := polarities.count(polarity)) < minimum:
            raise TraitsteerError(
                f"{found} {count} {polarity} responses, expected at least vet.minimum = {minimum}; "
                f"{remedy}."
            )
