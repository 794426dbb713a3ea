"""Made-up rows of data/voice.json: one trait compared, one that had nothing to compare."""

import random
from collections.abc import Sequence
from typing import Any

from traitsteer.experiment.voice import BASELINE, INSTRUCTION, NATURAL, measured
from traitsteer.experiment.voice_comparison import compared
from traitsteer.words.scoring_config import VoiceConfig

QUESTIONS = 20
TEXTS = {
    BASELINE: "The bread is warm. I would ask the baker first.",
    INSTRUCTION: "Behold! I am cruel and the bread shall burn! Behold the bread!",
    NATURAL: "I let the bread burn and said nothing of it to anyone.",
}
NATURALNESS = {BASELINE: 92.0, INSTRUCTION: 40.0, NATURAL: 62.0}


def voice_rows(traits: Sequence[str], voice: VoiceConfig) -> list[dict[str, Any]]:
    """A row for each trait; the last one found nothing feasible for its natural arm."""
    head = {"protocol": "ab" * 32}
    rows = [{"trait": trait, **head, **_compared(trait, voice)} for trait in traits[:-1]]
    parts = dict.fromkeys(("arms", "equality", "measures", "preference", "not_measured"))
    return [
        *rows,
        {"trait": traits[-1], **head, "status": "nothing feasible", "without": [NATURAL], **parts},
    ]


def _compared(trait: str, voice: VoiceConfig) -> dict[str, Any]:
    draw = random.Random(f"voice {trait}")
    heard: list[dict[str, Any]] = []
    for question in range(QUESTIONS):
        for setting, text in TEXTS.items():
            score = min(100.0, NATURALNESS[setting] + draw.gauss(0, 8))
            row = {"question": question, "setting": setting, "naturalness": score}
            row |= {"coherence": 80.0 + draw.gauss(0, 5), **measured(text, ("cruel",), voice)}
            if setting != BASELINE:
                won = float((draw.random() < 0.7) == (setting == NATURAL))
                row |= {"preferred_first": won, "preferred_second": won}
            heard.append(row)
    score = {"value": 60.0, "lower": 52.0, "upper": 68.0, "n": QUESTIONS}
    return {
        "status": "compared",
        "without": [],
        "arms": {
            setting: {"trait_score": score, "coherence": score, "strength": 0.5}
            for setting in TEXTS
        },
        "equality": {
            "target": 60.0,
            "difference": {"value": 1.2, "lower": -2.0, "upper": 4.4, "n": QUESTIONS},
            "within": 5.0,
            "verdict": "shown",
            "corrections": 0,
        },
        **compared(heard, 0.95, 0, 0.2),
    }
