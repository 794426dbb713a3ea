"""Questions to a `transformers` model in this process, in batches; replies are kept."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from traitsteer.maths import expectation
from traitsteer.maths.expectation import Tally
from traitsteer.words.errors import TraitsteerError
from traitsteer.world.files import digest_of_files
from traitsteer.world.judge import number_reader
from traitsteer.world.judge.model_judge import PROBE, Question, Said, said
from traitsteer.world.judge.number_reader import NumberReader
from traitsteer.world.judge.score_cache import ScoreCache
from traitsteer.world.model import inference, language_model, prompts, vocabulary
from traitsteer.world.model.language_model import LanguageModel
from traitsteer.world.progress import say

_CODE = digest_of_files(
    [
        Path(__file__),
        *(
            Path(module.__file__ or "")
            for module in (
                expectation,
                inference,
                language_model,
                number_reader,
                prompts,
                vocabulary,
            )
        ),
    ]
)
"""Distributions that older code read are not those of this one."""


class LocalModel:
    """Answers questions with a chat model that is loaded here, in batches."""

    def __init__(
        self, model: LanguageModel, cache: ScoreCache, rows: int, tokens: int, minimum_mass: float
    ) -> None:
        """Take a model.

        Args:
            rows: most prompts of one pass.
            tokens: most tokens of one pass, padding included.
        """
        self._model, self._cache = model, cache
        self._rows, self._tokens, self._minimum_mass = rows, tokens, minimum_mass
        self._reader = NumberReader(model, tokens)
        self._told = False
        """Whether it was said that prompts are too long."""

    def ask(self, questions: Sequence[Question]) -> list[Said]:
        """What is said to each question, in order; it is kept as soon as its batch is done.

        A prompt longer than the model's context counts as one that it refused.

        Raises:
            TraitsteerError: the model has no chat template, one prompt alone does not fit in the
                memory, or logits are not finite.
        """
        kept = {question: self._cache.get(self._key(question)) for question in questions}
        encoded = {
            question: self._model.encode(question.prompt)
            for question, found in kept.items()
            if found is None
        }
        for question in [each for each, ids in encoded.items() if self._too_long(ids)]:
            del encoded[question]
            kept[question] = {"chances": {}, "text": "", "refused": True}
        for batch in self._batches(encoded):
            tallies = self._reader.tallies(
                [encoded[question] for question in batch],
                [question.numerals for question in batch],
            )
            for question, tally in zip(batch, tallies, strict=True):
                low = tally.mass < self._minimum_mass
                text = self._reader.beginning(encoded[question]) if low else ""
                chances = {str(number): chance for number, chance in tally.chances.items()}
                kept[question] = {"chances": chances, "text": text}
                self._cache.put(self._key(question), kept[question])
        return [self._said(question, kept[question]) for question in questions]

    def require_number(self) -> None:
        """Refuse a model whose reply to a question for a number does not begin with one.

        Raises:
            TraitsteerError: it reasons first, or replies in words.
        """
        (found,) = self.ask([Question(PROBE)])
        if found.state != "scored":
            begins = self._reader.beginning(self._model.encode(PROBE))
            raise TraitsteerError(
                f"The judge {self._model.name} was asked for a number and began its reply with "
                f"{begins!r}; a judge must answer with a bare number: choose a model that does so, "
                "or turn its reasoning off by judge.template."
            )

    def _key(self, question: Question) -> object:
        model = self._model
        return {
            "code": _CODE,
            "model": model.digest,
            "software": model.software,
            "dtype": str(model.dtype),
            "template": model.variables,
            "device": model.device.type,
            "prompt": question.prompt,
            "numerals": sorted(question.numerals.texts),
            "least": number_reader.LEAST,
            "minimum_mass": self._minimum_mass,
        }

    def _said(self, question: Question, kept: dict[str, Any]) -> Said:
        chances = {int(number): chance for number, chance in kept["chances"].items()}
        refused = kept.get("refused", False)
        return said(Tally(question.numerals, chances), kept["text"], refused, self._minimum_mass)

    def _too_long(self, prompt: tuple[int, ...]) -> bool:
        """Whether a prompt and what is read after it are more than the model can tell apart.

        It would not only be misread: beyond some contexts the rotation of all positions changes,
        and with it what is said to the prompts beside it.
        """
        most = self._model.context
        too_long = most is not None and len(prompt) + number_reader.LONGEST > most
        if too_long and not self._told:
            self._told = True
            say(
                f"{self._model.name} takes {most} tokens, and a prompt of the judge has "
                f"{len(prompt)}: such answers get no score; choose a judge with a longer context."
            )
        return too_long

    def _batches(self, prompts: dict[Question, tuple[int, ...]]) -> Iterator[list[Question]]:
        """Prompts of like length together, the longest first, so that memory runs out at once."""
        order = sorted(prompts, key=lambda question: -len(prompts[question]))
        while order:
            longest = len(prompts[order[0]])
            count = max(1, min(self._rows, self._tokens // longest))
            yield order[:count]
            order = order[count:]
