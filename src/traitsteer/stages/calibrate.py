"""calibrate: the mean residual norm of the steered model, in which strength is measured.

Reads a fixed set of neutral questions and the instruct model; writes models/calibration.json.
"""

from traitsteer.engine.generation import generate
from traitsteer.engine.reading import Recorded, mean_residual_norm
from traitsteer.engine.rows import Row, Sampling
from traitsteer.experiment.models import (
    batching_of,
    calibration_prompts,
    calibration_terms,
    open_model,
)
from traitsteer.words import layout
from traitsteer.words.config import Config
from traitsteer.world.files import write_json


def run(config: Config) -> None:
    """Answer the calibration questions greedily and average the norms over response tokens."""
    model = open_model(config, config.models.instruct)
    prompts = calibration_prompts(config, model)
    generated = generate(
        model,
        [Row(prompt, seed=0) for prompt in prompts],
        Sampling(config.answers.max_new_tokens, temperature=0),
        batching_of(config),
    )
    recorded = [
        Recorded(f"calibration-{place}", prompt, response.ids)
        for place, (prompt, response) in enumerate(zip(prompts, generated, strict=True))
    ]
    norms = mean_residual_norm(model, recorded, config.models.tokens)
    write_json(
        layout.CALIBRATION,
        {
            "model": model.name,
            **calibration_terms(config, model),
            "mean_residual_norm": [round(norm, 6) for norm in norms.tolist()],
            "responses": len(recorded),
            "tokens": sum(len(item.response_ids) for item in recorded),
        },
    )
