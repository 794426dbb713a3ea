"""A judge that is a language model: what it is asked about an answer, and what its numbers mean.

Each answer is asked about three times: the trait by its rubric, the writing, and whether the text
is on the subject. Coherence is the score of the writing, below 50 where the text is off the
subject. Who answers, an endpoint or a local model, is handed in.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from traitsteer.maths.expectation import CHOICES, SCORES, Numerals, Tally
from traitsteer.words.errors import TraitsteerError
from traitsteer.words.records import Answer, JudgedState, Judgement
from traitsteer.words.refusals import declines
from traitsteer.world.judge.prompt_files import JudgePrompts

PROBE = "How many minutes are there in an hour? Answer with the number alone."
"""What a judge model is asked first: one that reasons, or chats, gives no number."""
OFF_TOPIC = 50.0
"""An expected on-topic score below this caps the coherence."""
OFF_TOPIC_MOST = 49.0
"""What it is capped at: below OFF_TOPIC, so that vetting at 50 keeps nothing that is off topic."""
REPLY_TOKENS = 5
"""Space, three digits and an end."""
PREFERRED = {0: 0.5, 1: 1.0, 2: 0.0}
_WORST: tuple[JudgedState, ...] = ("failed", "refused", "low mass", "scored")


@dataclass(frozen=True)
class Question:
    """One prompt and the numbers that may answer it."""

    prompt: str
    numerals: Numerals = SCORES


@dataclass(frozen=True)
class Said:
    """What the judge model made of one question."""

    state: JudgedState
    number: float | None = None
    """The expectation; None unless scored."""
    likeliest: int | None = None
    mass: float | None = None
    """Probability that the reply is one of the numbers."""


FAILED = Said("failed")


def said(tally: Tally, text: str, refused: bool, minimum_mass: float) -> Said:
    """Read a distribution over numbers; `text` is the likeliest reply, or how it begins."""
    mass = tally.mass
    if refused or (mass < minimum_mass and declines(text)):
        return Said("refused", mass=mass)
    if mass < minimum_mass:
        return Said("low mass", mass=mass)
    return Said("scored", tally.expectation, tally.likeliest, mass)


def judgement(trait: Said, writing: Said, topic: Said) -> Judgement:
    """The scores of one answer from what was said of it; a part that is missing stays missing."""
    coherence = None
    if writing.number is not None and topic.number is not None:
        most = OFF_TOPIC_MOST if topic.number < OFF_TOPIC else 100.0
        coherence = min(writing.number, most)
    heard = (trait, writing, topic)
    return Judgement(
        trait_score=trait.number,
        coherence=coherence,
        state=min((each.state for each in heard), key=_WORST.index),
        mass=min((each.mass for each in heard if each.mass is not None), default=None),
    )


def questions_about(prompts: JudgePrompts, rubric: str, answer: Answer) -> list[Question]:
    """What is asked about one answer, in the order that `judgement` takes."""
    fields = {"question": answer.question, "text": answer.text}
    return [
        Question(prompts.fill("trait", rubric=rubric, **fields)),
        Question(prompts.fill("coherence", **fields)),
        Question(prompts.fill("on_topic", **fields)),
    ]


def tokens_of(prompt: str) -> int:
    """About how many tokens a call with this prompt costs, reply included."""
    return len(prompt.encode()) // 4 + 10 + REPLY_TOKENS


class Respondent(Protocol):
    """Whoever answers questions: an endpoint, or a local model."""

    def ask(self, questions: Sequence[Question]) -> list[Said]:
        """What is said to each question, in order."""
        ...


class ModelJudge:
    """Scores answers by asking a language model; `digest` names all that its scores depend on."""

    def __init__(
        self, asked: Respondent, prompts: JudgePrompts, rubrics: Mapping[str, str], digest: str
    ) -> None:
        self._asked, self._prompts = asked, prompts
        self._rubrics, self.digest = dict(rubrics), digest

    def score(self, trait: str, answers: Sequence[Answer]) -> list[Judgement]:
        """Return one judgement for each answer, in order.

        Raises:
            TraitsteerError: the judge has no rubric for the trait, or cannot go on.
        """
        heard = self._asked.ask([q for answer in answers for q in self.questions(trait, answer)])
        return [judgement(*three) for three in zip(*[iter(heard)] * 3, strict=True)]

    def naturalness(self, answers: Sequence[Answer]) -> list[float | None]:
        """Return for each answer, 0 to 100, how much it sounds like the writer's own voice."""
        heard = self._asked.ask(
            [
                Question(self._prompts.fill("naturalness", question=a.question, text=a.text))
                for a in answers
            ]
        )
        return [each.number for each in heard]

    def prefer(self, pairs: Sequence[tuple[Answer, Answer]]) -> list[float | None]:
        """Return which of two answers sounds more natural: 1.0 first, 0.0 second, 0.5 neither."""
        heard = self._asked.ask(
            [
                Question(
                    self._prompts.fill(
                        "preference", question=a.question, first=a.text, second=b.text
                    ),
                    CHOICES,
                )
                for a, b in pairs
            ]
        )
        return [None if each.likeliest is None else PREFERRED[each.likeliest] for each in heard]

    def questions(self, trait: str, answer: Answer) -> list[Question]:
        """What is asked about one answer; raises TraitsteerError without a rubric for the trait."""
        if trait not in self._rubrics:
            raise TraitsteerError(
                f"The judge has no rubric for {trait!r}; it has {', '.join(self._rubrics)}."
            )
        return questions_about(self._prompts, self._rubrics[trait], answer)
