"""Questions to a `transformers` model in this process: the distribution over numbers from logits.

The probabilities of all next tokens are read, first after the prompt and then after each beginning
of a number, whichever way the tokenizer cuts it (`maths/expectation.py`). That is exact but for
beginnings less likely than `LEAST`, of which a number has at most 110: they are left out where a
number could go on from them, and taken to end where none could.
"""

import copy
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from traitsteer.maths import expectation
from traitsteer.maths.expectation import Numerals, Tally, settle
from traitsteer.words.errors import TraitsteerError
from traitsteer.words.shapes import Float, Int
from traitsteer.world import inference as passes
from traitsteer.world import language_model, vocabulary
from traitsteer.world import prompts as templates
from traitsteer.world.files import digest_of_files
from traitsteer.world.inference import LAST_TOKEN, inference
from traitsteer.world.language_model import LanguageModel
from traitsteer.world.model_judge import PROBE, Question, Said, said
from traitsteer.world.progress import say
from traitsteer.world.score_cache import ScoreCache
from traitsteer.world.vocabulary import Vocabulary

LEAST = 1e-4
_SPACES = 2
"""After so many tokens of white space no number is waited for."""
_LONGEST = _SPACES + 3
"""Most tokens of a number, each digit its own."""
_SHOWN = 8
"""Tokens of a reply that is no number, from which a refusal is told."""
_CODE = digest_of_files(
    [
        Path(__file__),
        *(
            Path(module.__file__ or "")
            for module in (expectation, passes, vocabulary, templates, language_model)
        ),
    ]
)
"""Distributions that older code read are not those of this one."""


@dataclass(frozen=True)
class _Node:
    """A beginning of a reply to one prompt: its digits so far and its probability."""

    prompt: int
    digits: str = ""
    chance: float = 1.0
    parent: int = 0
    """Row of the cache that it goes on from."""
    token: int = 0
    spaces: int = 0
    """Tokens of white space before the digits."""


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
        size = model.model.get_output_embeddings().weight.shape[0]
        self._vocabulary = Vocabulary(model.tokenizer, size)
        self._ids = torch.tensor(self._vocabulary.ids, device=model.device)
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
        prompts = {
            question: self._model.encode(question.prompt)
            for question, found in kept.items()
            if found is None
        }
        for question in [each for each, ids in prompts.items() if self._too_long(ids)]:
            del prompts[question]
            kept[question] = {"chances": {}, "text": "", "refused": True}
        for batch in self._batches(prompts):
            tallies = self._tallies(
                [prompts[question] for question in batch],
                [question.numerals for question in batch],
            )
            for question, tally in zip(batch, tallies, strict=True):
                low = tally.mass < self._minimum_mass
                text = self._beginning(prompts[question]) if low else ""
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
            begins = self._beginning(self._model.encode(PROBE))
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
            "dtype": str(model.dtype),
            "template": model.variables,
            "device": model.device.type,
            "prompt": question.prompt,
            "numerals": sorted(question.numerals.texts),
            "least": LEAST,
            "minimum_mass": self._minimum_mass,
        }

    def _said(self, question: Question, kept: dict[str, Any]) -> Said:
        chances = {int(number): chance for number, chance in kept["chances"].items()}
        refused = kept.get("refused", False)
        return said(Tally(question.numerals, chances), kept["text"], refused, self._minimum_mass)

    def _too_long(self, prompt: tuple[int, ...]) -> bool:
        """Whether a prompt and the longest number are more than the model can tell apart.

        It would not only be misread: beyond some contexts the rotation of all positions changes,
        and with it what is said to the prompts beside it.
        """
        most = self._model.context
        too_long = most is not None and len(prompt) + _LONGEST > most
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

    def _tallies(
        self, prompts: Sequence[tuple[int, ...]], numerals: Sequence[Numerals]
    ) -> list[Tally]:
        """The distribution of each prompt; halves of them where the memory is too small."""
        try:
            with inference(self._model.model):
                return self._read(prompts, numerals)
        except torch.OutOfMemoryError as error:
            if len(prompts) == 1:
                raise self._no_memory(prompts[0]) from error
        torch.cuda.empty_cache()
        half = len(prompts) // 2
        return self._tallies(prompts[:half], numerals[:half]) + self._tallies(
            prompts[half:], numerals[half:]
        )

    def _read(
        self, prompts: Sequence[tuple[int, ...]], numerals: Sequence[Numerals]
    ) -> list[Tally]:
        tallies = [Tally(each) for each in numerals]
        width = max(map(len, prompts))
        ids = torch.full((len(prompts), width), self._model.pad_id)
        mask = torch.zeros_like(ids)
        for row, prompt in enumerate(prompts):
            ids[row, width - len(prompt) :] = torch.tensor(prompt)
            mask[row, width - len(prompt) :] = 1
        nodes = [_Node(row) for row in range(len(prompts))]
        logits, cache = self._pass(ids, mask, None)
        self._grow(tallies, nodes, self._chances(logits), cache, mask)
        return tallies

    def _grow(
        self,
        tallies: Sequence[Tally],
        nodes: Sequence[_Node],
        chances: Sequence[Sequence[float]],
        cache: Any,  # noqa: ANN401 - a cache of transformers
        mask: Int[Tensor, "nodes columns"],
    ) -> None:
        """Count the numbers that end after these nodes, and follow those that go on.

        `chances` are those of the tokens in `Vocabulary.ids` after each node.
        """
        further: list[_Node] = []
        for at, (node, found) in enumerate(zip(nodes, chances, strict=True)):
            tally = tallies[node.prompt]
            for place, heard in self._vocabulary.heard(tally.numerals, node.digits):
                chance = node.chance * found[place]
                if heard.kind == "ended":
                    tally.count(heard.digits, chance)
                elif chance < LEAST:
                    settle(tally, {heard.digits: chance}, whole=False)
                elif (spaces := node.spaces + (heard.kind == "waits")) <= _SPACES:
                    token = self._vocabulary.ids[place]
                    further.append(_Node(node.prompt, heard.digits, chance, at, token, spaces))
            if node.digits:
                goes_on = sum(found[place] for place in self._vocabulary.digits)
                tally.count(node.digits, node.chance * max(0.0, 1.0 - goes_on))
        most = max(1, self._tokens // mask.shape[1])
        parts = [further[first : first + most] for first in range(0, len(further), most)]
        for part in parts:
            own = cache if part is parts[-1] else copy.deepcopy(cache)
            # Indices on the CPU select on any device, also where layers lie on several.
            rows = torch.tensor([node.parent for node in part])
            own.batch_select_indices(rows)
            ids = torch.tensor([[node.token] for node in part])
            longer = torch.cat([mask[rows], torch.ones_like(ids)], dim=1)
            logits, own = self._pass(ids, longer, own)
            self._grow(tallies, part, self._chances(logits), own, longer)

    def _pass(
        self,
        ids: Int[Tensor, "rows new"],
        mask: Int[Tensor, "rows columns"],
        cache: Any,  # noqa: ANN401
    ) -> tuple[Float[Tensor, "rows vocabulary"], Any]:
        """Logits of the next token, and the cache that has grown by the new columns."""
        device = self._model.device
        positions = (mask.cumsum(dim=1) - 1).clamp(min=0)[:, -ids.shape[1] :]
        out = self._model.model(
            input_ids=ids.to(device),
            attention_mask=mask.to(device),
            position_ids=positions.to(device),
            past_key_values=cache,
            use_cache=True,
            logits_to_keep=LAST_TOKEN,
        )
        return out.logits[:, -1], out.past_key_values

    def _chances(self, logits: Float[Tensor, "rows vocabulary"]) -> list[list[float]]:
        if not bool(logits.amax(dim=1).isfinite().all()):
            raise TraitsteerError(
                f"The judge {self._model.name} in {str(self._model.dtype).removeprefix('torch.')} "
                "gave logits that are not finite; set models.dtype to bfloat16 or float32, or "
                "choose another judge."
            )
        chances = logits.float().softmax(dim=-1)[:, self._ids]
        listed: list[list[float]] = chances.double().tolist()
        return listed

    def _beginning(self, prompt: tuple[int, ...]) -> str:
        """How the likeliest reply begins."""
        try:
            with inference(self._model.model):
                return self._reply(prompt)
        except torch.OutOfMemoryError as error:
            raise self._no_memory(prompt) from error

    def _no_memory(self, prompt: tuple[int, ...]) -> TraitsteerError:
        """What is said instead of OutOfMemoryError, which the engine would take for its own."""
        return TraitsteerError(
            f"The judge {self._model.name} finds no memory for a prompt of {len(prompt)} tokens "
            "beside the steered model; lower models.rows and models.tokens or choose a smaller "
            "judge."
        )

    def _reply(self, prompt: tuple[int, ...]) -> str:
        ids, mask = torch.tensor([prompt]), torch.ones(1, len(prompt), dtype=torch.long)
        cache: Any = None
        found: list[int] = []
        while len(found) < _SHOWN:
            logits, cache = self._pass(ids, mask, cache)
            token = int(logits[0].argmax())
            if token in self._model.end_ids:
                break
            found.append(token)
            ids, mask = torch.tensor([[token]]), torch.cat([mask, torch.ones_like(mask[:, :1])], 1)
        return self._model.decode(tuple(found))
