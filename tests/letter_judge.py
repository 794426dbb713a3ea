"""A judge that counts a letter, and questions for it."""

from collections.abc import Sequence

from traitsteer.experiment.answering import Questions
from traitsteer.words.records import Answer, Judgement

QUESTIONS = Questions("trait", "selection", ("the cat sees", "a big dog", "never the blue"))


class LetterJudge:
    """Scores the share of one byte among the characters; an empty answer has no score."""

    digest = "letter"

    def __init__(self, letter: str) -> None:
        self.letter = letter
        self.asked = 0

    def score(self, trait: str, answers: Sequence[Answer]) -> list[Judgement]:
        self.asked += len(answers)
        return [
            Judgement(100 * a.text.count(self.letter) / len(a.text), 80.0)
            if a.text
            else Judgement(None, None)
            for a in answers
        ]
