"""The distribution over numbers that a model continues a prompt with, from its logits.

The probabilities of all next tokens are read, first after the prompt and then after each beginning
of a number, whichever way the tokenizer cuts it (`maths/expectation.py`). That is exact but for
beginnings less likely than `LEAST`, of which a number has at most 110: they are left out where a
number could go on from them, and taken to end where none could.
"""

import copy
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from traitsteer.maths.expectation import Numerals, Tally, settle
from traitsteer.words.errors import TraitsteerError
from traitsteer.words.shapes import Float, Int
from traitsteer.world.model.inference import LAST_TOKEN, inference
from traitsteer.world.model.language_model import LanguageModel
from traitsteer.world.model.vocabulary import Vocabulary

LEAST = 1e-4
_SPACES = 2
"""After so many tokens of white space no number is waited for."""
_SHOWN = 8
"""Tokens of a reply that is no number, from which a refusal is told."""
LONGEST = max(_SPACES + 3, _SHOWN)
"""Most tokens that are read after a prompt: a number whose digits are each their own, or the
beginning of a reply."""


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


class NumberReader:
    """Runs prompts through a chat model that is loaded here, and follows the numbers."""

    def __init__(self, model: LanguageModel, tokens: int) -> None:
        """Take a model; `tokens` are the most of one pass, padding included."""
        self._model, self._tokens = model, tokens
        size = model.model.get_output_embeddings().weight.shape[0]
        self._vocabulary = Vocabulary(model.tokenizer, size)
        self._ids = torch.tensor(self._vocabulary.ids, device=model.device)

    def tallies(
        self, prompts: Sequence[tuple[int, ...]], numerals: Sequence[Numerals]
    ) -> list[Tally]:
        """The distribution after each prompt; halves of them where the memory is too small.

        Raises:
            TraitsteerError: one prompt alone does not fit in the memory, or logits are not finite.
        """
        try:
            with inference(self._model.model):
                return self._read(prompts, numerals)
        except torch.OutOfMemoryError as error:
            if len(prompts) == 1:
                raise self._no_memory(prompts[0]) from error
        torch.cuda.empty_cache()
        half = len(prompts) // 2
        return self.tallies(prompts[:half], numerals[:half]) + self.tallies(
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
            # This alone selects rows in layers of every kind, those of linear attention included.
            own.reorder_cache(rows)
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

    def beginning(self, prompt: tuple[int, ...]) -> str:
        """How the likeliest reply begins; raises as `tallies`."""
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
