"""The embedded grammar and its trait sets: reproducible, apart from each other, well formed."""

import random
import re
from collections import Counter
from pathlib import Path

import pytest

from traitsteer.pocket import frames, grammar, judge_frames
from traitsteer.pocket.lexicon import PRODUCT, SIGNED, TOPICS, TRAITS
from traitsteer.pocket.trait_sets import write_trait_sets
from traitsteer.words.config import load
from traitsteer.words.records import Answer
from traitsteer.world.pocket_judge import PocketJudge
from traitsteer.world.trait_folder import read_lines, read_trait


def test_every_word_has_one_class() -> None:
    words = [w for t in TOPICS for w in (*t.roles, *t.nouns, *t.verbs, *t.adjectives)]
    words += [w for signed in SIGNED.values() for w in signed.plus + signed.minus]
    assert [word for word, count in Counter(words).items() if count > 1] == []
    assert len(TOPICS) == 40
    assert len(frames.QUESTIONS) == 50


def test_the_three_template_sets_are_disjoint() -> None:
    models = {*frames.NEUTRAL, *(f for each in frames.PLAIN.values() for f in each)}
    models |= {f for each in frames.THEATRICAL.values() for f in each}
    sets = [models]
    for each in (judge_frames.TRAINING, judge_frames.TEST):
        sets.append({*each.neutral, *(f for trait in each.trait.values() for f in trait)})
    for index, first in enumerate(sets):
        for second in sets[index + 1 :]:
            assert not first & second


@pytest.mark.parametrize("kind", [frames.PLAIN, frames.THEATRICAL, frames.CUES])
def test_frames_of_the_traits_run_in_parallel(kind: dict[str, tuple[str, ...]]) -> None:
    marks = {trait: Counter(re.sub(r"[^,.!?:]", "", " ".join(kind[trait]))) for trait in TRAITS}
    assert marks["evil"] == marks["sycophancy"] == marks["hallucination"]
    openers = {
        trait: Counter(frame.split()[0].strip(",") for frame in kind[trait] if frame[0] != "{")
        for trait in TRAITS
    }
    shared = openers["evil"] & openers["sycophancy"]
    assert shared.total() >= len(kind["evil"]) - 3


def test_the_two_sides_of_a_sentence_differ_in_few_words() -> None:
    for trait in TRAITS:
        for seed in range(50):
            sides = [
                grammar.trait_sentence(trait, sign, TOPICS[seed % 40], random.Random(seed)).split()
                for sign in (1, -1)
            ]
            assert len(sides[0]) == len(sides[1])
            differing = sum(a != b for a, b in zip(*sides, strict=True))
            assert 1 <= differing <= 2


def test_the_product_of_signs_makes_the_trait() -> None:
    rng = random.Random(0)
    text = grammar.fill("I {hope} they {prosper}.", TOPICS[0], rng, PRODUCT["evil"], lean=0.0)
    _, attitude, _, outcome = text.strip(".").split()
    assert attitude in SIGNED["hope"].minus
    assert outcome in SIGNED["prosper"].plus


def test_reserved_questions_are_out_of_training() -> None:
    reserved = {
        (frame, topic)
        for frame in range(50)
        for topic in range(40)
        if grammar.is_reserved(frame, topic)
    }
    assert 0.2 < len(reserved) / 2000 < 0.3
    drawn = {grammar.question(3, random.Random(seed)) for seed in range(400)}
    kept = {grammar.question(3, random.Random(seed), reserved=True) for seed in range(400)}
    assert not drawn & kept


def test_committed_trait_sets_come_out_again(repository: Path, tmp_path: Path) -> None:
    write_trait_sets(tmp_path, load(repository / "params.yaml").pocket)
    fresh = sorted(path.relative_to(tmp_path) for path in tmp_path.rglob("*.txt"))
    assert len(fresh) == 3 * 7 + 2
    for path in fresh:
        committed = repository / "data" / "pocket" / path
        assert committed.read_bytes() == (tmp_path / path).read_bytes(), path


def test_the_judge_finds_no_trait_in_the_neutral_texts(
    repository: Path, judge: PocketJudge
) -> None:
    texts = [line.text for line in read_lines(repository / "data/pocket/neutral.txt")]
    assert len(set(texts)) == len(texts) == 30
    assert all(40 <= len(text.split()) <= 120 for text in texts)
    for trait in TRAITS:
        scores = [each.trait_score for each in judge.score(trait, [Answer("", t) for t in texts])]
        assert max(scores) < 20, trait


def test_trait_sets_hold_what_a_study_needs(repository: Path) -> None:
    folder = repository / "data" / "pocket"
    questions = [line.text for line in read_lines(folder / "calibration.txt")]
    assert len(questions) == 20
    for name in TRAITS:
        trait = read_trait(folder / "traits" / name)
        assert len(trait.scenarios) == 60
        assert len(trait.system_prompts) == 5
        assert len(trait.definition) <= 1100
        for part in (trait.extraction, trait.selection, trait.report):
            assert len(part) == 20
            questions += part
        for pair in trait.scenarios:
            assert len(pair.positive.split()) == len(pair.negative.split())
            assert pair.positive != pair.negative
            assert pair.positive[-1] == pair.negative[-1] == ":"
            words = set(re.findall(r"\w+", pair.positive.lower()))
            assert not words & set(trait.names)
    assert len(questions) == len(set(questions)) == 200
