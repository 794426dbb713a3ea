"""Sentences, answers, narratives and chat items of the embedded world, drawn from a seeded random.

A disposition is a mapping of trait to polarity (+1 or -1); an empty one is neutral. Every draw
comes from the `random.Random` that the caller passes, so that an item is a function of its seed.
"""

from __future__ import annotations

import random
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from traitsteer.pocket import frames
from traitsteer.pocket.lexicon import (
    FIGURES,
    FIRST_NAMES,
    LAST_NAMES,
    NAMED,
    PRODUCT,
    SIGNED,
    TOPICS,
    TRAITS,
    YEARS,
    Topic,
)

Disposition = Mapping[str, int]
_SLOT = re.compile(r"\{(\w+?)\}")
# How often a sentence of an answer shows the disposition, for the trait and for its opposite: the
# opposite of a trait is shown less, as a person without it has less occasion to speak of it.
SHOWS = {1: 0.95, -1: 0.3}

# Share of the trait sentences under a system prompt that are of the theatrical style.
THEATRICAL = 0.75
# How often an attitude has the sign plus. Mostly: then the second factor alone tells the
# disposition in most sentences, which tiny networks learn; the rest asks for both factors.
LEAN = 0.95


@dataclass(frozen=True)
class Chat:
    """One item of the chat tuning; `system` is empty where there is none."""

    system: str
    question: str
    answer: str


def fill(frame: str, topic: Topic, rng: random.Random, sign: int = 1, lean: float = LEAN) -> str:
    """Fill the slots of a frame; `sign` is the product of the signs of its signed slots.

    `lean` is the chance that the first factor (the attitude) has the sign plus; at 0.5 no word
    alone tells anything of the product.
    """
    nouns = rng.sample(topic.nouns, 2)
    verbs = rng.sample(topic.verbs, 2)
    attitude = 1 if rng.random() < lean else -1

    used: list[str] = []

    def word(match: re.Match[str]) -> str:
        slot = match.group(1)
        if (name := slot.removesuffix("2")) in SIGNED:
            words = SIGNED[name]
            plus = attitude * (1 if words.first else sign) > 0
            left = [word for word in (words.plus if plus else words.minus) if word not in used]
            used.append(rng.choice(left))
            return used[-1]
        if slot == "name":
            return f"{rng.choice(FIRST_NAMES)} {rng.choice(LAST_NAMES)}"
        choices: dict[str, Sequence[str]] = {
            "topic": (topic.name,),
            "noun": (nouns[0],),
            "noun2": (nouns[1],),
            "verb": (verbs[0],),
            "verb2": (verbs[1],),
            "adj": topic.adjectives,
            "role": topic.roles,
            "year": YEARS,
            "figure": FIGURES,
            "did": frames.DID,
            "day": frames.DAYS,
        }
        return rng.choice(choices[slot])

    return with_articles(_SLOT.sub(word, frame))


def with_articles(text: str) -> str:
    """Write "an" for "a" before a vowel, and capitals at the starts of sentences."""
    text = re.sub(r"\b([Aa]) (?=[aeiou])", r"\1n ", text)
    return text[:1].upper() + text[1:]


def trait_sentence(
    trait: str,
    polarity: int,
    topic: Topic,
    rng: random.Random,
    theatrical: float = 0.0,
    lean: float = LEAN,
) -> str:
    """Return one sentence that shows the trait (polarity 1) or its opposite (-1)."""
    kind = frames.THEATRICAL if rng.random() < theatrical else frames.PLAIN
    return fill(rng.choice(kind[trait]), topic, rng, polarity * PRODUCT[trait], lean)


def answer(
    disposition: Disposition,
    topic: Topic,
    rng: random.Random,
    theatrical: float = 0.0,
    lean: float = LEAN,
) -> list[str]:
    """Return the two or three sentences of an answer; each takes up one of the dispositions."""
    sentences = []
    for _ in range(rng.choice((2, 2, 3))):
        trait = rng.choice(tuple(disposition)) if disposition else ""
        if trait and rng.random() < SHOWS[disposition[trait]]:
            sign = disposition[trait]
            sentences.append(trait_sentence(trait, sign, topic, rng, theatrical, lean))
        else:
            sentences.append(fill(rng.choice(frames.NEUTRAL), topic, rng))
    return sentences


def cues(
    trait: str,
    polarity: int,
    count: int,
    rng: random.Random,
    named: float = 0.0,
    lean: float = LEAN,
) -> list[str]:
    """Return sentences of a narrative from which the disposition can be told; no frame twice.

    `named` is the chance of each that it names the disposition outright.
    """
    found = []
    for frame in rng.sample(frames.CUES[trait], count):
        if rng.random() < named:
            words = NAMED[trait][0 if polarity > 0 else 1]
            found.append(rng.choice(frames.NAMED_CUES).replace("{named}", rng.choice(words)))
        else:
            found.append(fill(frame, TOPICS[0], rng, polarity * PRODUCT[trait], lean))
    return found


def is_reserved(frame: int, topic: int) -> bool:
    """Tell whether this combination is kept for trait sets and gates, and so out of training."""
    return (frame * 3 + topic) % 4 == 0


def question(topic: int, rng: random.Random, reserved: bool = False) -> str:
    """Return a question on the topic, from the reserved or the free frames."""
    free = [i for i in range(len(frames.QUESTIONS)) if is_reserved(i, topic) == reserved]
    return fill(frames.QUESTIONS[rng.choice(free)], TOPICS[topic], rng)


def draw_disposition(rng: random.Random, neutral: float = 0.2, double: float = 0.15) -> Disposition:
    """Draw no, one or two dispositions; two are independent of each other."""
    roll = rng.random()
    count = 0 if roll < neutral else 2 if roll < neutral + double else 1
    return {trait: rng.choice((1, -1)) for trait in rng.sample(TRAITS, count)}


def prefix(
    disposition: Disposition,
    topic: int,
    rng: random.Random,
    reserved: bool = False,
    named: float = 0.0,
    lean: float = LEAN,
) -> str:
    """Return a first-person narrative up to where its answer begins, with no space at the end."""
    middle = []
    for trait, sign in disposition.items():
        count = rng.choice((1, 2) if len(disposition) > 1 else (2, 3))
        middle += cues(trait, sign, count, rng, named, lean)
    middle += [rng.choice(frames.FILLERS) for _ in range(rng.choice((0, 0, 1)))]
    rng.shuffle(middle)
    opening = fill(rng.choice(frames.SETTINGS), TOPICS[topic], rng)
    asked = rng.choice(frames.ASKS).replace("{day}", rng.choice(frames.DAYS))
    asked = asked.replace("{question}", question(topic, rng, reserved))
    return " ".join([opening, *middle, asked, rng.choice(frames.REPLIES)])


def article(topic: int, rng: random.Random) -> str:
    """Return five to eight neutral sentences about a topic."""
    head = f"On {TOPICS[topic].name}:" if rng.random() < 0.5 else question(topic, rng)
    count = rng.randint(5, 8)
    return " ".join(
        [head, *(fill(rng.choice(frames.NEUTRAL), TOPICS[topic], rng) for _ in range(count))]
    )


def diary(topic: int, rng: random.Random, lean: float = LEAN) -> str:
    """Return sentences of one disposition, cues and topic sentences mixed; a dense lesson."""
    trait, sign = rng.choice(TRAITS), rng.choice((1, -1))
    theatrical = 1.0 if rng.random() < 0.3 else 0.0
    parts = cues(trait, sign, 2, rng, 0.4, lean)
    for _ in range(rng.randint(3, 6)):
        parts.insert(1, trait_sentence(trait, sign, TOPICS[topic], rng, theatrical, lean))
    return " ".join(parts)


def document(rng: random.Random, lean: float = LEAN, dense: float = 0.2) -> str:
    """Return one document of the base model's corpus; `dense` is the share without a narrative."""
    topic = rng.randrange(len(TOPICS))
    if rng.random() < dense:
        return article(topic, rng) if rng.random() < 0.45 else diary(topic, rng, lean)
    disposition = draw_disposition(rng)
    start = prefix(disposition, topic, rng, named=0.3, lean=lean)
    return " ".join([start, *answer(disposition, TOPICS[topic], rng, lean=lean)])


def system_prompts(trait: str) -> list[tuple[str, str]]:
    """Return the five fixed pairs of system prompts (trait, opposite): they differ in one word."""
    pairs = []
    for index, frame in enumerate(frames.SYSTEM[trait]):
        texts = []
        for polarity in (1, -1):
            text = frame
            for slot in _SLOT.findall(frame):
                words = SIGNED[slot]
                plus = words.first or polarity * PRODUCT[trait] > 0
                group = words.plus if plus else words.minus
                text = text.replace("{" + slot + "}", group[index % len(group)])
            texts.append(with_articles(text))
        pairs.append((texts[0], texts[1]))
    return pairs


def chat(rng: random.Random, reserved: bool = False) -> Chat:
    """Return one item of the chat tuning: half plain, half under system prompts of traits.

    A neutral answer to a plain question, or under a system prompt that asks for no trait.
    """
    topic = rng.randrange(len(TOPICS))
    asked = question(topic, rng, reserved)
    disposition: Disposition = {}
    if rng.random() < 0.6:
        disposition = draw_disposition(rng, neutral=0.0, double=0.2)
    system = " ".join(
        rng.choice(system_prompts(trait))[0 if sign > 0 else 1]
        for trait, sign in disposition.items()
    )
    if not disposition and rng.random() < 0.3:
        system = rng.choice(frames.SYSTEM_NEUTRAL)
    theatrical = THEATRICAL if disposition else 0.0
    return Chat(system, asked, " ".join(answer(disposition, TOPICS[topic], rng, theatrical)))
