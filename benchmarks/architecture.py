"""python -m benchmarks.architecture KIND FOLDER

One tiny random model of this type, loaded as a study loads it and held against plain passes; prints
one line of JSON. `python -m benchmarks.architectures` starts one such process for each type.
"""

import json
import sys
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from transformers import AutoModelForCausalLM
from transformers.utils import logging as transformers_logging

from benchmarks import random_model
from benchmarks.small_configs import small_config
from traitsteer.engine.generation import generate
from traitsteer.engine.likelihood import Told, log_likelihood
from traitsteer.engine.reading import Recorded, pooled_activations
from traitsteer.engine.rows import Batching, Row, Sampling, Steering
from traitsteer.engine.trial import try_out
from traitsteer.maths.positions import Position
from traitsteer.words.errors import TraitsteerError
from traitsteer.world.model.hooks import on_blocks
from traitsteer.world.model.language_model import LanguageModel, load
from traitsteer.world.model.memory import sizes_of
from traitsteer.world.model.model_files import skeleton
from traitsteer.world.model.random_model import scale_up

VOCABULARY = 300
LARGEST = 6_000_000
"""Parameters beyond which the sizes were not understood."""
_PROMPTS = ((9, 8, 7), (50, 40, 30, 20, 10), (99,), (61, 62, 63, 64, 65))
_SCALE = 6.0
"""Times the usual size of the weights, so that text varies and steering changes it."""
_TOLERANCE = 1e-4
"""Of pooled activations, as a share of a layer's largest; of a log-likelihood, as a share of it."""
_FOLLOWING = (20, 21, 22, 23)
"""A response whose likelihood is told, or how it begins."""


def main(kind: str, folder: Path) -> None:
    """Print what was found."""
    print(json.dumps({"kind": kind} | _built(kind, folder)))


def _built(kind: str, folder: Path) -> dict[str, Any]:
    try:
        _build(kind, folder)
    except Exception as error:  # noqa: BLE001 - architectures refuse sizes in all ways there are
        return {"not_built": f"{type(error).__name__}: {' '.join(str(error).split())[:90]}"}
    try:
        return _held(folder)
    except TraitsteerError as error:
        return {"refused": str(error).replace(str(folder), kind)}


def _build(kind: str, folder: Path) -> None:
    words = random_model.tokenizer(VOCABULARY)
    names = ("bos_token_id", "eos_token_id", "pad_token_id")
    config = small_config(kind, VOCABULARY, {name: getattr(words, name) for name in names})
    with torch.device("meta"):
        count = sum(p.numel() for p in AutoModelForCausalLM.from_config(config).parameters())
    if count > LARGEST:
        raise ValueError(f"{count:,} parameters, wanted a tiny model")
    torch.manual_seed(0)
    model: Any = AutoModelForCausalLM.from_config(config).eval()
    scale_up(model, _SCALE)
    with torch.inference_mode():
        if not bool(model(torch.tensor([_PROMPTS[0]])).logits.isfinite().all()):
            raise ValueError("random weights give no numbers")
    model.save_pretrained(folder)
    words.save_pretrained(folder)


def _held(folder: Path) -> dict[str, Any]:
    sizes_of(skeleton(str(folder), None, False, "float32"), "none")
    model = load(str(folder), device="cpu")
    way = try_out(model)
    rows = [
        Row(prompt, at, None if at % 4 == 3 else _steering(model, at))
        for at, prompt in enumerate(_PROMPTS * 3)
    ]
    greedy = Sampling(10, 0.0)
    expected = [_plainly(model, row, greedy.max_new_tokens) for row in rows]
    equal = []
    for batching in (Batching(64), Batching(5, 20)):
        found = generate(model, rows, greedy, batching)
        equal.append(sum(a.ids == ids for a, ids in zip(found, expected, strict=True)))
    recorded = [Recorded(str(at), _PROMPTS[at % 4], (20 + at, 21, 22, 23)) for at in range(6)]
    read = pooled_activations(model, recorded, Position.parse("response[:3]"), 64)
    apart = max(_apart(model, item, read[at]) for at, item in enumerate(recorded))
    return {
        "way": way,
        "answers": min(equal),
        "of": len(rows),
        "read": apart <= _TOLERANCE,
        "likelihood": _told_rightly(model, rows),
    }


def _told_rightly(model: LanguageModel, rows: Sequence[Row]) -> bool | str:
    """Whether log-likelihoods are those of plain passes, or the sentence that refuses them."""
    told = [
        Told(str(at), row.prompt_ids, _FOLLOWING[: 1 + at % 4], row.steering)
        for at, row in enumerate(rows)
    ]
    expected = torch.tensor([_log_p(model, each) for each in told], dtype=torch.float64)
    try:
        found = [log_likelihood(model, told, tokens).log_p for tokens in (64, 20)]
    except TraitsteerError as error:
        return str(error)
    return all(torch.allclose(each, expected, rtol=_TOLERANCE, atol=0) for each in found)


def _steering(model: LanguageModel, seed: int) -> Steering:
    vector = torch.randn(model.width, generator=torch.Generator().manual_seed(seed))
    return Steering(seed % model.layers, vector / vector.norm(), 4.0)


@torch.inference_mode()
def _plainly(model: LanguageModel, row: Row, most: int) -> tuple[int, ...]:
    """Greedy text by passes over the whole of it, the vector added by a plain hook."""
    ids = list(row.prompt_ids)
    for _ in range(most):
        token = int(_logits(model, ids, row.steering)[-1].argmax())
        if token in model.end_ids:
            break
        ids.append(token)
    return tuple(ids[len(row.prompt_ids) :])


@torch.inference_mode()
def _log_p(model: LanguageModel, told: Told) -> float:
    """Log-likelihood of a response, by a pass for each of its tokens over what comes before it."""
    ids, total = list(told.prompt_ids), 0.0
    for token in told.response_ids:
        logits = _logits(model, ids, told.steering)[-1]
        total += float(logits.double().log_softmax(dim=0)[token])
        ids.append(token)
    return total


def _logits(model: LanguageModel, ids: list[int], steering: Steering | None) -> torch.Tensor:
    """Logits `[tokens, vocabulary]` of a pass over one text, the vector added by a plain hook."""

    def add(hidden: torch.Tensor) -> torch.Tensor | None:
        return None if steering is None else hidden + steering.coefficient * steering.vector

    with on_blocks(model.blocks, {} if steering is None else {steering.layer: add}):
        logits: torch.Tensor = model.model(input_ids=torch.tensor([ids]), use_cache=False).logits
    return logits[0]


@torch.inference_mode()
def _apart(model: LanguageModel, item: Recorded, read: torch.Tensor) -> float:
    """Greatest distance from the mean of the blocks' outputs in a plain pass."""
    seen: dict[int, torch.Tensor] = {}
    start = len(item.prompt_ids)
    takes = {layer: _taking(seen, layer) for layer in range(model.layers)}
    with on_blocks(model.blocks, takes):
        ids = torch.tensor([item.prompt_ids + item.response_ids])
        model.model(input_ids=ids, use_cache=False)
    plain = torch.stack([seen[n][0, start : start + 3].mean(dim=0) for n in range(model.layers)])
    return float(((read - plain).abs().amax(dim=1) / plain.abs().amax(dim=1)).max())


def _taking(seen: dict[int, torch.Tensor], layer: int) -> Any:  # noqa: ANN401 - see hooks.Change
    return lambda hidden: seen.__setitem__(layer, hidden)


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    transformers_logging.set_verbosity_error()
    transformers_logging.disable_progress_bar()
    torch.set_num_threads(1)
    main(sys.argv[1], Path(sys.argv[2]))
