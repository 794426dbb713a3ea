"""traitsteer: the engine and the probe, called the way a stage of a study calls them."""

from typing import Any

import torch
from torch import Tensor

from benchmarks.activations import labelled
from benchmarks.tasks import Answers, Probing, Reading, Steering
from traitsteer.engine import rows as engine
from traitsteer.engine.generation import generate
from traitsteer.engine.reading import Recorded, pooled_activations
from traitsteer.maths.folds import fold_numbers
from traitsteer.maths.positions import Position
from traitsteer.maths.probe import fit_probe
from traitsteer.world.model.blocks import find_blocks
from traitsteer.world.model.language_model import LanguageModel, load


def passes(device: str) -> int:
    """Most prompt tokens of one pass; the pocket profile takes fewer."""
    return 2048 if device == "cpu" else engine.Batching.tokens


class Contender:
    """Every setting and prompt is a row of one stream."""

    def __init__(self, folder: str) -> None:
        self.model = load(folder, chat=False, device="cpu", dtype="float32")

    @classmethod
    def around(cls, model: Any, tokenizer: Any) -> "Contender":  # noqa: ANN401
        """A contender with a model that is there already, on whatever device."""
        made = cls.__new__(cls)
        made.model = LanguageModel("random", model, tokenizer, find_blocks(model), False, "")
        return made

    def read(self, task: Reading) -> Tensor:
        """Pooled activations of the first layers."""
        recorded = [
            Recorded(str(place), tuple(ids[: task.prompt]), tuple(ids[task.prompt :]))
            for place, ids in enumerate(task.ids)
        ]
        position = Position.parse("response[:]")
        tokens = task.rows * max(map(len, task.ids))
        return pooled_activations(self.model, recorded, position, tokens, task.layers)

    def steer(self, task: Steering) -> Answers:
        """Greedy answers of all rows."""
        self.model.model.generation_config.eos_token_id = list(task.ends)
        vectors = torch.tensor(task.vectors)
        settings = [
            engine.Steering(layer, vectors[layer], coefficient)
            for layer, coefficient in task.settings
        ]
        rows = [
            engine.Row(tuple(prompt), 0, setting) for setting in settings for prompt in task.prompts
        ]
        sampling = engine.Sampling(max_new_tokens=task.new_tokens, temperature=0.0)
        batching = engine.Batching(task.rows, passes(self.model.device.type))
        made = generate(self.model, rows, sampling, batching)
        return [list(answer.ids) for answer in made]

    def probe(self, task: Probing) -> dict[str, Tensor]:
        """Every fold and penalty, and the fit on all rows at the penalty that the folds choose."""
        rows, positive, pairs = labelled(task)
        fold_of = fold_numbers(positive, pairs, task.folds, task.seed)
        fit = fit_probe(rows, positive, fold_of, task.penalties)
        return {
            "weights": fit.weights,
            "penalties": fit.penalties,
            "held_out_log_loss": fit.held_out_log_loss.T.contiguous(),
        }
