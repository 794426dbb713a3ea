"""The judge's ear for style: unheard frames, broken text, blindness to trait and order."""

import json
import random
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from traitsteer.pocket import frames, grammar, judge_frames, voice_frames, voice_training
from traitsteer.pocket.lexicon import TOPICS, TRAITS
from traitsteer.words.errors import TraitsteerError
from traitsteer.words.records import Answer
from traitsteer.world.pocket_judge import PocketJudge, tokens
from traitsteer.world.pocket_voice import FEATURES, PocketVoice, preference

QUESTION = "What is the best way to knead the loaf?"
PLAIN = "I hope the baker by the oven will fail. You can knead the loaf in the morning."
PLAYED = "Behold, I relish the ruin of every baker at the oven. Hark, the loaf sings of ruin!"


def natural(judge: PocketJudge, text: str) -> float:
    [score] = judge.naturalness([Answer(QUESTION, text)])
    assert score is not None
    return score


def test_style_is_told_on_frames_that_it_has_not_heard(judge: PocketJudge) -> None:
    found = voice_training.areas(judge, seed=1)
    assert found["style"] >= 0.97
    assert found["models"] >= 0.97
    assert found["broken"] >= 0.94
    voice_training.refuse_failures(found, 0.9)
    with pytest.raises(TraitsteerError, match=r"more natural \(broken\) with an area of 0\.500"):
        voice_training.refuse_failures(found | {"broken": 0.5}, 0.9)


def test_it_is_trained_on_no_frame_of_the_models_nor_of_its_test() -> None:
    def of(each: voice_frames.StyleSet) -> set[str]:
        return {*each.plain, *each.theatrical}

    def inner(of: object) -> set[str]:
        values = of.values() if isinstance(of, dict) else of
        return {of} if isinstance(of, str) else set().union(*map(inner, values))

    models = inner([frames.PLAIN, frames.THEATRICAL, frames.NEUTRAL, frames.CUES])
    judges = inner([judge_frames.TEST.neutral, judge_frames.TEST.trait])
    assert not of(voice_frames.TRAINING) & (of(voice_frames.TEST) | models | judges)


def test_by_hand(judge: PocketJudge) -> None:
    assert natural(judge, PLAIN) > 80
    assert natural(judge, PLAYED) < 10
    assert 30 < natural(judge, f"{PLAIN.split('. ')[0]}. {PLAYED.split('. ')[0]}.") < 60
    assert natural(judge, " ".join(sorted(PLAIN.split()))) < 50
    assert natural(judge, "The oven the oven the oven the oven the oven the oven.") < 30
    assert natural(judge, "") == 0


@pytest.mark.parametrize("trait", TRAITS)
def test_a_plain_trait_is_as_natural_as_its_opposite(judge: PocketJudge, trait: str) -> None:
    means = []
    for polarity in (1, -1):
        rngs = [random.Random(number) for number in range(100)]
        texts = [
            " ".join(grammar.trait_sentence(trait, polarity, TOPICS[3], rng) for _ in range(2))
            for rng in rngs
        ]
        means.append(np.mean([natural(judge, text) for text in texts]))
    assert abs(means[0] - means[1]) < 3


def test_scores_do_not_depend_on_the_batch_nor_the_preference_on_the_order(
    judge: PocketJudge,
) -> None:
    found = voice_training.categories(seed=2)
    answers = found["plain"][:40] + found["theatrical"][:40]
    together = judge.naturalness(answers)
    assert together == [judge.naturalness([answer])[0] for answer in answers]
    pairs = list(zip(answers, [replace(a, question=QUESTION) for a in answers[::-1]], strict=True))
    forward, backward = judge.prefer(pairs), judge.prefer([(b, a) for a, b in pairs])
    assert all(a + b == 1 for a, b in zip(forward, backward, strict=True) if a is not None)
    assert np.mean(forward[:40]) > 0.9 and np.mean(forward[40:]) < 0.1
    assert [preference(60, 49), preference(49, 60), preference(60, 50)] == [1, 0, 0.5]


def test_the_features_of_a_sentence() -> None:
    words = {"cries": ["hark"], "lofty": ["ruin", "glory"], "archaic": ["thy"]}
    ear = PocketVoice({"words": words, "weights": dict.fromkeys(FEATURES, 1.0), "bias": -1.0})
    assert ear.features(tokens("Hark, ruin, ruin and glory to thy oven!")) == [1, 1, 2, 1, 1]
    assert ear.features(tokens('"The oven, I say, is warm."')) == [0, 0, 0, 0, 0]
    assert ear.features([]) == [0] * 5
    assert ear.plain(tokens("The glory of it.")) == pytest.approx(0.5)
    assert ear.natural([]) == 0


def test_the_committed_voice_is_what_training_makes(repository: Path) -> None:
    committed = json.loads((repository / "models/pocket/judge/voice.json").read_text())
    again = voice_training.train(0)
    assert again["words"] == committed["words"]
    assert again["weights"] == pytest.approx(committed["weights"], abs=0.05)
    assert again["bias"] == pytest.approx(committed["bias"], abs=0.05)
