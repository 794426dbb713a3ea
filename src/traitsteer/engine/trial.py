"""Tries the engine on a model before it is relied on: its steered logits against plain passes.

The engine shares prompts between rows and keeps keys and values in buffers of its own. Both rest
on what blocks of `transformers` have in common, which an architecture may lack; so a few tokens
are run both ways, which takes less time than loading the weights did. An architecture that lacks it
runs with the cache that `transformers` makes for it, once that has been tried likewise.
"""

import logging
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from typing import Literal

import torch
from torch import Tensor

from traitsteer.engine.decoding import Decoder, Use
from traitsteer.engine.graphs import capturable, nothing_read_back
from traitsteer.engine.own_cache import Together
from traitsteer.engine.prefill import prefill
from traitsteer.engine.rows import Row, Steering, no_numbers, too_large
from traitsteer.words.errors import TraitsteerError
from traitsteer.words.shapes import Float
from traitsteer.world.model.hooks import on_blocks
from traitsteer.world.model.inference import inference, told_by_the_host
from traitsteer.world.model.language_model import LanguageModel

_LOG = logging.getLogger(__name__)
_LENGTHS = (3, 6)
_STEPS = 2
"""The first of so many rows runs as it is, and later ones are captured."""
_BEYOND = 8
"""Columns of a step of fixed shapes after the prompts."""
_APART = {torch.float32: 1e-3}
"""Mean distance of logits that is taken for rounding, as a share of their spread."""
_APART_IN_SHORT = 0.1
"""In fewer bits, be it of quantised weights alone, where rounding adds up."""
_ROUNDINGS = 8
"""Or this many times what a batch of another size changes: experts may be chosen otherwise."""


Way = Literal["shared", "captured", "own cache"]
"""Prompts shared between rows whose keys and values lie in slots; steps of it that are captured
besides; or the cache that `transformers` makes."""
_WAYS: dict[Way, tuple[str, str]] = {
    "shared": ("prompts shared between rows", "choose a model of another architecture"),
    "captured": ("a step of fixed shapes", "set models.capture to false"),
    "own cache": ("a cache of its own", "choose a model of another architecture"),
}
"""What is tried, and what to do where it fails."""


@torch.inference_mode()
def try_out(model: LanguageModel, capture: bool | None = None) -> Way:
    """Run two prompts of different lengths, steered at some layers or not, and two tokens after.

    What was tried is not tried again.

    Args:
        capture: as in `Batching`. Where steps are to be captured, some of fixed shapes are run too:
            they read columns that are not yet written, which some architectures do not expect.

    Returns:
        the way of this model's rows: the fastest that works, captured if that is asked for.

    Raises:
        TraitsteerError: the engine cannot run this model, gives other logits than plain passes, or
            cannot capture the steps that are to be captured.
    """
    tried = model.tried
    if capture:
        # Who asks for steps that cannot be captured is told why.
        tried = {way: works for way, works in tried.items() if works}
    if "shared" not in tried:
        model.tried["shared"] = _shared(model, asked=bool(capture))
    if not model.tried["shared"]:
        return "own cache"
    if not (capturable(model) if capture is None else capture):
        return "shared"
    if "captured" not in tried:
        model.tried["captured"] = _captured(model, asked=bool(capture))
    return "captured" if model.tried["captured"] else "shared"


def _shared(model: LanguageModel, asked: bool) -> bool:
    """Whether prompts can be shared; a model that runs by neither way is refused."""
    trial = _trial(model)
    try:
        trial.run("shared")
    except TraitsteerError as refused:
        # What does not fit into the memory tells nothing of the architecture.
        if asked or isinstance(refused.__cause__, torch.OutOfMemoryError):
            raise
        try:
            trial.run("own cache")
        except TraitsteerError:
            # What keeps it from the usual way says more.
            raise refused from None
        _LOG.warning(
            "%s Its rows run, slower, with the cache that transformers makes.",
            str(refused).partition(";")[0] + ".",
        )
        return False
    return True


def _captured(model: LanguageModel, asked: bool) -> bool:
    """Whether steps can be captured; nobody asked for it where it depends on the model."""
    try:
        _trial(model).run("captured")
    except TraitsteerError as refused:
        # What does not fit into the memory tells nothing of the architecture.
        if asked or isinstance(refused.__cause__, torch.OutOfMemoryError):
            raise
        found = str(refused).partition(";")[0]
        _LOG.warning("%s: its steps run without being captured.", found)
        return False
    return True


def _trial(model: LanguageModel) -> "_Trial":
    with _understood(model, "shared"):
        return _Trial(model)


@contextmanager
def _understood(model: LanguageModel, way: Way) -> Iterator[None]:
    """Turn what an architecture that the engine cannot run ends with into a sentence."""
    try:
        with told_by_the_host():
            yield
    except torch.OutOfMemoryError as error:
        raise too_large(model, Row((0,) * max(_LENGTHS), 0), 1) from error
    except (RuntimeError, ValueError, TypeError, IndexError, KeyError, AttributeError) as error:
        (how, remedy), said = _WAYS[way], " ".join(str(error).split())[:120]
        raise TraitsteerError(
            f"{type(model.model).__name__} cannot run with {how} ({said}); {remedy}."
        ) from error


class _Trial:
    """Rows whose logits are known from plain passes."""

    def __init__(self, model: LanguageModel) -> None:
        self.model = model
        vocabulary = model.vocabulary
        short, long = (tuple((7 * at + 3) % vocabulary for at in range(n)) for n in _LENGTHS)
        self.token = 5 % vocabulary
        vector = torch.randn(model.width, generator=torch.Generator().manual_seed(0))
        vector /= vector.norm()
        places = (0, model.layers // 2, model.layers - 1)
        first, middle, last = (Steering(at, vector, _norm(model, at, short)) for at in places)
        settings = {short: (None, first, middle, last), long: (None, middle, last)}
        self.rows = {
            (prompt, steering): Row(prompt, 0, steering)
            for prompt, some in settings.items()
            for steering in some
        }
        self.expected = {key: _plain(model, row, self.token) for key, row in self.rows.items()}
        for key, logits in self.expected.items():
            if not bool(logits.isfinite().all()):
                raise no_numbers(model, self.rows[key])
        self.groups = [
            # Prompts of one length and of several take different ways.
            [(short, None), (short, middle)],
            # The unsteered run of the first leaves, and the second moves up.
            [(short, first), (short, middle), (short, last), (long, None)],
            list(self.rows),
        ]
        ids = torch.tensor([[*long, *[self.token] * _STEPS]] * 4, device=model.device)
        together = model.model(input_ids=ids, use_cache=False).logits[0, -1 - _STEPS :].float()
        self.rounding = float(_apart(together, self.expected[long, None]).max())

    def run(self, way: Way) -> None:
        """Refuse a model that does not run this way, or whose logits differ."""
        with _understood(self.model, way), inference(self.model.model):
            self._compare(way)

    def _compare(self, way: Way) -> None:
        model = self.model
        short = model.quantised or model.dtype not in _APART
        least = _APART_IN_SHORT if short else _APART[model.dtype]
        for group in self.groups:
            # Samples of one setting share a prompt, which the other cache has to copy.
            keys = [*group, *group] if way == "own cache" else group
            rows = [self.rows[key] for key in keys]
            if way == "own cache":
                found = _by_own_cache(model, rows, self.token)
            else:
                found = _by_the_engine(model, rows, self.token, way == "captured")
            apart = _apart(found, torch.stack([self.expected[key] for key in keys]))
            if not bool((apart <= max(least, _ROUNDINGS * self.rounding)).all()):
                how, remedy = _WAYS[way]
                raise TraitsteerError(
                    f"Logits of {type(model.model).__name__} with {how} differ from those of a "
                    f"plain pass by {float(apart.max()):.2g} of their spread, expected none; "
                    f"{remedy}."
                )


def _apart(found: Tensor, expected: Tensor) -> Tensor:
    """Mean distance over the vocabulary, as a share of the spread."""
    return (found - expected).abs().mean(dim=-1) / expected.std(dim=-1)


def _norm(model: LanguageModel, layer: int, prompt: tuple[int, ...]) -> float:
    """L2 norm of the last token's activation."""
    seen: list[float] = []

    def measure(hidden: Tensor) -> None:
        seen.append(float(hidden[0, -1].float().norm()))

    with on_blocks(model.blocks, {layer: measure}):
        model.model(input_ids=torch.tensor([prompt], device=model.device), use_cache=False)
    return seen[0]


def _plain(model: LanguageModel, row: Row, token: int) -> Float[Tensor, "told vocabulary"]:
    """Logits after the prompt and after each of the tokens, from one pass without a cache."""
    steering = row.steering
    ids = torch.tensor([[*row.prompt_ids, *[token] * _STEPS]], device=model.device)

    def add(hidden: Tensor) -> Tensor | None:
        if steering is None:
            return None
        added = steering.coefficient * steering.vector.to(hidden.device)
        return (hidden.float() + added).to(hidden.dtype)

    with on_blocks(model.blocks, {steering.layer: add} if steering else {}):
        logits: Tensor = model.model(input_ids=ids, use_cache=False).logits
    return logits[0, -1 - _STEPS :].float()


def _by_the_engine(
    model: LanguageModel, rows: list[Row], token: int, fixed: bool
) -> Float[Tensor, "rows told vocabulary"]:
    """The same logits from shared prompts and decoding steps."""
    widest = max(len(row.prompt_ids) for row in rows)
    prompted = prefill(model, rows)
    size = widest + (_BEYOND if fixed else _STEPS)
    use = Use(lambda logits, _: logits.clone(), reads_back=False)
    decoder = Decoder(model, use, rows, len(rows), size, widest, widest + _STEPS - 1, fixed)
    decoder.admit(rows, prompted)
    found = [prompted.logits.float()]
    for step in range(_STEPS):
        decoder.tokens.fill_(token)
        decoder.tell(0)
        decoder.settle()
        with nothing_read_back(model) if fixed and step == 0 else nullcontext():
            found.append(decoder.step().float())
    decoder.drop()
    return torch.stack(found, dim=1)


def _by_own_cache(
    model: LanguageModel, rows: list[Row], token: int
) -> Float[Tensor, "rows told vocabulary"]:
    """The same logits with the cache that `transformers` makes."""
    found = [torch.empty(0)] * len(rows)
    for length in {len(row.prompt_ids) for row in rows}:
        places = [at for at, row in enumerate(rows) if len(row.prompt_ids) == length]
        together = Together(model, [rows[at] for at in places])
        told = [together.logits.float()]
        tokens = torch.full((len(places),), token, device=model.device)
        last_first = torch.arange(len(places), device=model.device).flip(0)
        for step in range(_STEPS):
            # A cache must follow its rows.
            together.keep(last_first)
            logits = together.step(tokens).float()
            told.append(logits if step % 2 else logits.flip(0))
        for at, logits in zip(places, torch.stack(told, dim=1), strict=True):
            found[at] = logits
    return torch.stack(found)
