"""What the rows in slots have written, and the choice of their next tokens."""

from collections.abc import Sequence

import torch
from torch import Tensor

from traitsteer.engine.rows import Generated, Row, Sampling
from traitsteer.engine.sampling import LOOP_PERIOD, choose, looping
from traitsteer.words.records import Finish
from traitsteer.words.shapes import Bool, Float, Int


class Writing:
    """Response tokens `[slots, most]` of each row, in memory that stays where it is."""

    def __init__(
        self, sampling: Sampling, ends: Sequence[int], slots: int, device: torch.device
    ) -> None:
        self.sampling, self.most = sampling, sampling.max_new_tokens
        self.ends = torch.tensor(ends, device=device)
        self.counts = torch.zeros(slots, dtype=torch.long, device=device)
        self.seeds = torch.zeros(slots, dtype=torch.long, device=device)
        self.written = torch.zeros((slots, self.most), dtype=torch.long, device=device)

    @property
    def reads_back(self) -> bool:
        """Whether a choice depends on numbers on the host, as the search for a nucleus does."""
        return self.sampling.top_p < 1

    @property
    def of_rows(self) -> tuple[Tensor, ...]:
        """What is kept for each row, `[slots, ...]`."""
        return self.counts, self.seeds, self.written

    def admit(self, first: int, rows: Sequence[Row]) -> None:
        """New rows begin, from number `first` on."""
        here = slice(first, first + len(rows))
        self.seeds[here] = torch.tensor([row.seed for row in rows], device=self.seeds.device)
        self.counts[here] = 0

    def choose(
        self, first: int, logits: Float[Tensor, "rows vocabulary"], tokens: Int[Tensor, " rows"]
    ) -> Bool[Tensor, "rows 4"]:
        """Write the next token of the rows from number `first` on, here and into `tokens`.

        Part of captured steps: a slot without a row is given tokens too, more than it has room for.

        Returns:
            whether each row leaves, whether it has ended, whether it repeats itself, and whether
            its logits are not finite.
        """
        here = slice(first, first + len(logits))
        counts = self.counts[here]
        token = choose(logits, self.seeds[here], counts, self.sampling)
        lost = ~logits.amax(dim=1).isfinite()
        tokens.copy_(token)
        self.written[here].scatter_(1, counts.clamp_max(self.most - 1)[:, None], token[:, None])
        counts += 1
        ended = (token[:, None] == self.ends).any(dim=1)
        looped = torch.zeros_like(ended)
        if self.sampling.cut_loops:
            # Looked for at every eighth token of a row, whichever rows stand beside it.
            looped = looping(self.written[here], counts) & (counts % LOOP_PERIOD == 0) & ~ended
        leaving = ended | looped | lost | (counts == self.most)
        return torch.stack([leaving, ended, looped, lost], dim=1)

    def finished(
        self, slots: Int[Tensor, " n"], ended: Bool[Tensor, " n"], looped: Bool[Tensor, " n"]
    ) -> list[Generated]:
        """What the rows in these slots have generated, of which some ended or repeat themselves."""
        said = (self.written[slots], self.counts[slots], ended, looped)
        found = []
        for ids, count, stopped, repeats in zip(*(each.tolist() for each in said), strict=True):
            finish: Finish = "stop" if stopped else "loop" if repeats else "length"
            found.append(Generated(tuple(ids[: count - stopped]), finish))
        return found
