"""The test of the embedded judge on frames that neither it nor the models have seen."""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping

import numpy as np
from sklearn.metrics import roc_auc_score

from traitsteer.pocket import judge_text as text
from traitsteer.pocket.judge_frames import TEST
from traitsteer.pocket.judge_text import Sample
from traitsteer.pocket.lexicon import TRAITS
from traitsteer.words.errors import TraitsteerError
from traitsteer.words.seeds import seed_for
from traitsteer.world.pocket_judge import PocketJudge

ITEMS = 200
COLUMNS = ("fresh", "negated", "quoted")
Make = Callable[[random.Random], Sample]


def categories(trait: str) -> dict[str, Make]:
    """Return a maker of samples for each category of the table."""
    return {
        "fresh, trait": lambda rng: text.sound(TEST, rng, trait, 1),
        "fresh, opposite": lambda rng: text.sound(TEST, rng, trait, -1),
        "fresh, neutral": lambda rng: text.sound(TEST, rng, trait, 0),
        "negated": lambda rng: text.negated(TEST, rng, trait),
        "quoted": lambda rng: text.quoted(TEST, rng, trait),
        "truncated": lambda rng: text.truncated(TEST, rng),
        "off-topic": lambda rng: text.off_topic(TEST, rng),
        "shuffled": lambda rng: text.shuffled(TEST, rng),
        "word salad": lambda rng: text.salad(TEST, rng),
        "spliced": lambda rng: text.spliced(TEST, rng),
        "run-on": lambda rng: text.run_on(TEST, rng),
        "stutter": lambda rng: text.stutter(TEST, rng),
        "unknown words": lambda rng: text.unknown_words(TEST, rng),
        "loop": lambda rng: text.looped(TEST, rng),
        "repeated sentences": lambda rng: text.repeated_sentences(TEST, rng),
        "one word": lambda rng: text.one_word(TEST, rng),
        "empty": lambda rng: text.empty(TEST, rng),
    }


def samples(trait: str, category: str, seed: int, count: int = ITEMS) -> list[Sample]:
    """Return fresh samples of a category."""
    make = categories(trait)[category]
    name = ("judge test", trait, category, seed)
    return [make(random.Random(seed_for(*name, index))) for index in range(count)]


def areas(judge: PocketJudge, seed: int) -> dict[str, dict[str, float]]:
    """Return for each trait the area under the ROC curve of trait text against three others.

    "fresh" is against opposite and neutral text, "negated" and "quoted" against trait text that is
    denied or put in another's mouth.
    """
    against = {
        "fresh": ("fresh, opposite", "fresh, neutral"),
        "negated": ("negated",),
        "quoted": ("quoted",),
    }
    found: dict[str, dict[str, float]] = {}
    for trait in TRAITS:

        def scores(category: str, trait: str = trait) -> list[float]:
            rows = samples(trait, category, seed)
            return [judge.trait_score(trait, sample.answer.text) for sample in rows]

        shown = scores("fresh, trait")
        found[trait] = {}
        for column, names in against.items():
            rest = [score for name in names for score in scores(name)]
            labels = [1] * len(shown) + [0] * len(rest)
            found[trait][column] = float(roc_auc_score(labels, shown + rest))
    return found


def refuse_failures(found: Mapping[str, Mapping[str, float]], least: float) -> None:
    """Raise if a trait's area on fresh frames is too small.

    Raises:
        TraitsteerError: names the first trait that fails.
    """
    for trait, row in found.items():
        if not row["fresh"] >= least:
            raise TraitsteerError(
                f"The pocket judge tells {trait} with an area of {row['fresh']:.3f} on frames it "
                f"has not seen, expected at least {least}; train it with another seed or more "
                "frames."
            )


def report(judge: PocketJudge, seed: int) -> str:
    """Return docs/pocket_judge.md."""
    lines = [
        "# The pocket judge, tested",
        "",
        "Written by the stage `pocket-judge`. The test's frames are unlike those that the judge",
        "was trained on and unlike the models'; the three sets share the lexicon, so these figures",
        f"tell how the judge takes new sentences of its own small world. {ITEMS} samples a cell.",
        "",
        "## Area under the ROC curve of the trait score",
        "",
        "Trait text against opposite and neutral text (fresh), against trait text that is denied",
        "(negated) and against trait text in another's mouth (quoted).",
        "",
        "| trait | fresh | negated | quoted |",
        "|---|---|---|---|",
    ]
    for trait, row in areas(judge, seed).items():
        lines.append(f"| {trait} | " + " | ".join(f"{row[c]:.3f}" for c in COLUMNS) + " |")
    lines += [
        "",
        "## Mean scores by category",
        "",
        "Coherence below 70 is the share of samples under the usual floor.",
        "",
        "| category | " + " | ".join(TRAITS) + " | coherence | coherence below 70 |",
        "|---|" + "---|" * (len(TRAITS) + 2),
    ]
    for category in categories(TRAITS[0]):
        rows = {trait: samples(trait, category, seed) for trait in TRAITS}
        means = [np.mean([judge.trait_score(t, s.answer.text) for s in rows[t]]) for t in TRAITS]
        coherence = [judge.coherence(s.answer) for each in rows.values() for s in each]
        below = np.mean([value < 70 for value in coherence])
        cells = [f"{mean:.1f}" for mean in means]
        cells += [f"{np.mean(coherence):.1f}", f"{100 * below:.0f} %"]
        lines.append(f"| {category} | " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"
