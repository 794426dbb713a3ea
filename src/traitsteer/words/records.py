"""The records that pass between stages; they hold data and know no files, models or libraries."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal, Protocol

Polarity = Literal["positive", "negative"]
POLARITIES: tuple[Polarity, Polarity] = ("positive", "negative")
LEFT_OUT = ("positive_left_out", "negative_left_out")
"""How many kept responses of each polarity have no token at the arm's position."""
Method = Literal["mean_difference", "probe"]
Quantisation = Literal["none", "int8", "int4"]
"""Of weights, when they are loaded."""
VectorFormat = Literal["safetensors", "gguf", "json"]
"""Of an exported vector."""
Finish = Literal["stop", "length", "loop"]
"""A response ended by itself, at its greatest length, or was cut because it repeated itself."""
JudgedState = Literal["scored", "refused", "low mass", "failed", "no answer"]
"""Scored, or why not: the judge declined, spoke of something but numbers, or gave no answer; or
the model reasoned to the end and there is no answer to judge."""


@dataclass(frozen=True)
class Pair:
    """Two prompts about the same subject, one for each polarity."""

    positive: str
    negative: str


@dataclass(frozen=True)
class Trait:
    """A named disposition: its rubric, its contrast pairs and its three disjoint question sets."""

    name: str
    definition: str
    names: tuple[str, ...]
    scenarios: tuple[Pair, ...]
    system_prompts: tuple[Pair, ...]
    extraction: tuple[str, ...]
    selection: tuple[str, ...]
    report: tuple[str, ...]


@dataclass(frozen=True)
class Response:
    """One elicited response; the token ids are the record, `text` is derived from them."""

    id: str
    trait: str
    arm: str
    pair: int
    polarity: Polarity
    sample: int
    seed: int
    system: str | None
    """The system prompt of instruction elicitation; natural elicitation has none."""
    prompt: str
    """The question or the scenario, as text."""
    prompt_ids: tuple[int, ...]
    response_ids: tuple[int, ...]
    """The answer; what a model reasoned before it lies in `reasoning_ids`."""
    text: str
    finish: Finish
    reasoning_ids: tuple[int, ...] = ()
    """Generated between prompt and answer, marks included; neither pooled nor judged."""


@dataclass(frozen=True)
class Verdict:
    """Whether one response shows the polarity it was elicited for; scores 0-100 or None."""

    id: str
    trait_score: float | None
    coherence: float | None
    kept: bool
    reason: str
    response: str
    """SHA-256 of the token ids of what was judged; another response may bear the same id."""
    protocol: str
    """SHA-256 of the terms that it was given under."""


@dataclass(frozen=True)
class Answer:
    """What a judge reads: the question (or scenario) and the text that followed."""

    question: str
    text: str


@dataclass(frozen=True)
class Judgement:
    """Scores from 0 to 100; None when the judge gave none. A missing score stays missing."""

    trait_score: float | None
    coherence: float | None
    state: JudgedState = "scored"
    """Why a score is missing."""
    mass: float | None = None
    """The least probability on numbers behind the scores; None where a judge has none."""


class Judge(Protocol):
    """Scores answers for a trait and for coherence, and tells how natural they sound."""

    digest: str
    """SHA-256 of everything that the scores depend on."""

    def score(self, trait: str, answers: Sequence[Answer]) -> list[Judgement]:
        """Return one judgement for each answer, in order."""
        ...

    def naturalness(self, answers: Sequence[Answer]) -> list[float | None]:
        """Return for each answer, 0 to 100, how much it sounds like the writer's own voice and not
        like a performance; None where the judge gave no score.
        """
        ...

    def prefer(self, pairs: Sequence[tuple[Answer, Answer]]) -> list[float | None]:
        """Return which of two answers to the same question sounds more natural, as asked in this
        order: 1.0 the first, 0.0 the second, 0.5 neither; None where the judge did not say.
        """
        ...


@dataclass(frozen=True)
class ScoredAnswer:
    """One judged answer to one evaluation question under one setting."""

    question: int
    sample: int
    seed: int
    text: str
    trait_score: float | None
    coherence: float | None
    tokens: int
    """Response tokens that were generated, those of the reasoning included."""
    finish: Finish
    state: JudgedState = "scored"
    mass: float | None = None
    """Both as in the judgement."""
    reasoning: str = ""
    """What the model wrote before its answer; the judge has not read it."""


@dataclass(frozen=True)
class Interval:
    """An estimate with its confidence interval; a bound of None is unbounded; n counts clusters."""

    value: float
    lower: float | None
    upper: float | None
    n: int

    def rounded(self, digits: int = 4) -> dict[str, Any]:
        """Return the fields as JSON values, rounded so that files stay readable."""
        return {k: round(v, digits) if isinstance(v, float) else v for k, v in asdict(self).items()}
