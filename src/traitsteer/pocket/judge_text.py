"""Text with known answers for the judge: clean and trait text, and the traps for it."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass

from traitsteer.pocket.grammar import fill
from traitsteer.pocket.judge_frames import FrameSet
from traitsteer.pocket.lexicon import PRODUCT, SIGNED, TOPICS, TRAITS, Topic
from traitsteer.words.records import Answer

_OF_TRAITS = tuple(word for words in SIGNED.values() for word in words.plus + words.minus)


@dataclass(frozen=True)
class Sample:
    """An answer, the trait it shows (polarity 1), opposes (-1) or not (0), and its soundness."""

    category: str
    answer: Answer
    trait: str
    polarity: int
    soundness: float
    """1 for clean text, 0 for a wreck: what coherence / 100 should be."""


def neutral_sentences(frames: FrameSet, topic: Topic, rng: random.Random, count: int) -> list[str]:
    """Return sentences on the topic that show no trait; no frame twice."""
    return [fill(frame, topic, rng) for frame in rng.sample(frames.neutral, count)]


def trait_sentence(
    frames: FrameSet, trait: str, polarity: int, topic: Topic, rng: random.Random
) -> str:
    """Return one sentence that shows the trait (1) or its opposite (-1)."""
    return fill(rng.choice(frames.trait[trait]), topic, rng, polarity * PRODUCT[trait])


def wrapped(frame: str, said: str, topic: Topic, rng: random.Random) -> str:
    """Return a quotation or negation of a sentence."""
    outer = fill(frame.replace("{said}", "@"), topic, rng)
    # Inside a clause the sentence loses its capital, but for "I".
    inner = said if '"' in frame or said.startswith("I ") else said[:1].lower() + said[1:]
    text = outer.replace("@", inner)
    return text.replace('."', '."') if text[-1] in '.!"' else text


def sound(
    frames: FrameSet, rng: random.Random, trait: str | None = None, polarity: int | None = None
) -> Sample:
    """Return a clean answer of one to three sentences: trait, opposite or neutral."""
    topic = rng.choice(TOPICS)
    trait = trait or rng.choice(TRAITS)
    polarity = rng.choice((1, -1, 0)) if polarity is None else polarity
    count = rng.choice((1, 2, 2, 3))
    shown = rng.randint(1, count) if polarity else 0
    parts = [trait_sentence(frames, trait, polarity, topic, rng) for _ in range(shown)]
    parts += neutral_sentences(frames, topic, rng, count - shown)
    rng.shuffle(parts)
    question = fill(rng.choice(frames.questions), topic, rng)
    category = {1: "trait", -1: "opposite", 0: "neutral"}[polarity]
    return Sample(category, Answer(question, " ".join(parts)), trait, polarity, 1.0)


def quoted(frames: FrameSet, rng: random.Random, trait: str) -> Sample:
    """Return an answer that quotes somebody else's trait sentence."""
    return _wrapping("quoted", frames.quoting, frames, rng, trait)


def negated(frames: FrameSet, rng: random.Random, trait: str) -> Sample:
    """Return an answer that denies a trait sentence."""
    return _wrapping("negated", frames.negating, frames, rng, trait)


def _wrapping(
    category: str, wrappers: tuple[str, ...], frames: FrameSet, rng: random.Random, trait: str
) -> Sample:
    topic = rng.choice(TOPICS)
    polarity = rng.choice((1, 1, -1))
    said = trait_sentence(frames, trait, polarity, topic, rng)
    parts = [wrapped(rng.choice(wrappers), said, topic, rng)]
    parts += neutral_sentences(frames, topic, rng, rng.choice((0, 1)))
    question = fill(rng.choice(frames.questions), topic, rng)
    return Sample(category, Answer(question, " ".join(parts)), trait, 0, 1.0)


def truncated(frames: FrameSet, rng: random.Random) -> Sample:
    """Return a clean answer cut in the middle, at least six words long."""
    whole = sound(frames, rng)
    words = whole.answer.text.split()
    kept = rng.randint(min(6, len(words)), max(len(words) - 1, 6))
    text = " ".join(words[:kept])
    return Sample("truncated", Answer(whole.answer.question, text), whole.trait, 0, 1.0)


def off_topic(frames: FrameSet, rng: random.Random) -> Sample:
    """Return a clean answer to a question of another topic."""
    whole, other = sound(frames, rng), sound(frames, rng)
    while other.answer.question == whole.answer.question:
        other = sound(frames, rng)
    return Sample(
        "off-topic", Answer(other.answer.question, whole.answer.text), whole.trait, 0, 0.1
    )


def tidied(words: list[str], rng: random.Random) -> list[str]:
    """Return the words, mostly with the capitals of sound text.

    A wreck would else be known by its capitals alone, and models break order, not capitals.
    """
    if rng.random() < 0.15:
        return words
    found: list[str] = []
    for word in words:
        start = not found or found[-1][-1] in ".!?"
        keep = start or word == "I"
        found.append(word[:1].upper() + word[1:] if keep else word[:1].lower() + word[1:])
    return found


def _rebuilt(
    category: str, change: Callable[[list[str], random.Random], list[str]], soundness: float
) -> Callable[[FrameSet, random.Random], Sample]:
    def make(frames: FrameSet, rng: random.Random) -> Sample:
        whole = sound(frames, rng)
        words = tidied(change(whole.answer.text.split(), rng), rng)
        answer = Answer(whole.answer.question, " ".join(words))
        return Sample(category, answer, whole.trait, 0, soundness)

    make.__name__ = category
    return make


def _shuffle(words: list[str], rng: random.Random) -> list[str]:
    return rng.sample(words, len(words))


def _loop(words: list[str], rng: random.Random) -> list[str]:
    size = rng.randint(1, 4)
    start = rng.randrange(max(len(words) - size, 1))
    keep = rng.randint(0, 5)
    return words[:keep] + words[start : start + size] * rng.randint(5, 10)


def _salad(words: list[str], rng: random.Random) -> list[str]:
    topics = rng.sample(TOPICS, 6)
    bag = words + [w for t in topics for w in (*t.nouns, *t.verbs, *t.adjectives)]
    return rng.sample(bag, rng.randint(8, 24))


def _single(words: list[str], rng: random.Random) -> list[str]:
    return [rng.choice(words)]


def repeated_sentences(frames: FrameSet, rng: random.Random) -> Sample:
    """Return one clean sentence three to five times over."""
    topic = rng.choice(TOPICS)
    trait = rng.choice(TRAITS)
    if rng.random() < 0.5:
        one = trait_sentence(frames, trait, rng.choice((1, -1)), topic, rng)
    else:
        one = neutral_sentences(frames, topic, rng, 1)[0]
    question = fill(rng.choice(frames.questions), topic, rng)
    text = " ".join([one] * rng.randint(3, 5))
    return Sample("repeated sentences", Answer(question, text), trait, 0, 0.1)


def unknown_words(frames: FrameSet, rng: random.Random) -> Sample:
    """Return an answer in which some or all words are letters that no lexicon holds."""
    whole = sound(frames, rng)
    words = whole.answer.text.split()
    hits = rng.randint(max(len(words) // 8, 1), len(words))
    for at in rng.sample(range(len(words)), hits):
        letters = "bcdfghjklmnpqrstvwxzaeiou#@~"
        words[at] = "".join(rng.choice(letters) for _ in range(rng.randint(2, 7)))
    soundness = max(0.0, 1.0 - 5.0 * hits / len(words))
    answer = Answer(whole.answer.question, " ".join(words))
    return Sample("unknown words", answer, whole.trait, 0, soundness)


def spliced(frames: FrameSet, rng: random.Random) -> Sample:
    """Return pieces of clean sentences of one topic, joined where they do not fit."""
    whole, cuts = sound(frames, rng), rng.randint(2, 8)
    comma = rng.random() < 0.5
    topic = rng.choice(TOPICS)
    pieces: list[str] = []
    for _ in range(cuts):
        if rng.random() < 0.5:
            sentence = neutral_sentences(frames, topic, rng, 1)[0]
        else:
            sentence = trait_sentence(frames, rng.choice(TRAITS), rng.choice((1, -1)), topic, rng)
        found = sentence.split()
        start = rng.randrange(len(found) - 2)
        pieces += found[start : start + rng.randint(2, 5)]
        if comma and pieces[-1][-1].isalnum():
            pieces[-1] += ","
    question = fill(rng.choice(frames.questions), topic, rng)
    soundness = max(0.0, 1.1 - 0.3 * cuts)
    return Sample(
        "spliced", Answer(question, " ".join(tidied(pieces, rng))), whole.trait, 0, soundness
    )


def run_on(frames: FrameSet, rng: random.Random) -> Sample:
    """Return two to four clean sentences on one topic, run into one with commas."""
    topic, trait = rng.choice(TOPICS), rng.choice(TRAITS)
    parts = []
    for _ in range(rng.randint(2, 4)):
        if rng.random() < 0.4:
            sentence = neutral_sentences(frames, topic, rng, 1)[0]
        else:
            sentence = trait_sentence(frames, trait, 1, topic, rng)
        parts.append(sentence.rstrip(".!"))
    words = tidied(", ".join(parts).split(), rng)
    question = fill(rng.choice(frames.questions), topic, rng)
    soundness = 0.9 - 0.25 * len(parts)
    return Sample("run-on", Answer(question, " ".join(words)), trait, 0, max(soundness, 0.0))


def stutter(frames: FrameSet, rng: random.Random) -> Sample:
    """Return a clean answer with some words said two to four times in a row."""
    whole = sound(frames, rng)
    words = whole.answer.text.split()
    hits = rng.randint(1, 3)
    for _ in range(hits):
        at = rng.randrange(len(words))
        words[at:at] = [words[at].rstrip(".,!")] * rng.randint(1, 3)
    answer = Answer(whole.answer.question, " ".join(tidied(words, rng)))
    return Sample("stutter", answer, whole.trait, 0, max(0.0, 0.75 - 0.2 * hits))


def empty(frames: FrameSet, rng: random.Random) -> Sample:
    """Return nothing, or white space, as an answer."""
    question = fill(rng.choice(frames.questions), rng.choice(TOPICS), rng)
    return Sample("empty", Answer(question, rng.choice(("", " ", "\n"))), TRAITS[0], 0, 0.0)


def damaged(frames: FrameSet, rng: random.Random) -> Sample:
    """Return a clean answer with a share of its words dropped, doubled, swapped or replaced."""
    whole = sound(frames, rng)
    words = whole.answer.text.split()
    hits = rng.randint(1, max(len(words) // 2, 1))
    for _ in range(hits):
        at = rng.randrange(len(words))
        kind = rng.randrange(4)
        if kind == 0 and len(words) > 4:
            del words[at]
        elif kind == 1:
            words.insert(at, words[at])
        elif kind == 2:
            to = rng.randrange(len(words))
            words[at], words[to] = words[to], words[at]
        else:
            other = rng.choice(TOPICS)
            words[at] = rng.choice(rng.choice((other.nouns, other.verbs, _OF_TRAITS)))
    soundness = max(0.0, 1.0 - 4.0 * hits / len(words))
    answer = Answer(whole.answer.question, " ".join(tidied(words, rng)))
    return Sample("damaged", answer, whole.trait, 0, soundness)


shuffled = _rebuilt("shuffled", _shuffle, 0.0)
looped = _rebuilt("loop", _loop, 0.0)
salad = _rebuilt("word salad", _salad, 0.0)
one_word = _rebuilt("one word", _single, 0.1)
