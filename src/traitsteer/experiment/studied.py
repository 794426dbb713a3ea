"""What the findings of a study are of, as its files say: its models, its judge, its floor."""

from typing import Any

from traitsteer.words import layout
from traitsteer.words.config import Config
from traitsteer.words.protocol import shared_terms
from traitsteer.world.files import read_json
from traitsteer.world.terms_file import read_terms

Record = dict[str, Any]


def studied(config: Config) -> Record:
    """The models, the judge and the floor that the evaluations of the study were made with.

    Returns:
        `base` and `instruct` with name and digest, `judge` with its terms but the rubric (of an
        address they name the host alone), and `coherence_floor`.

    Raises:
        TraitsteerError: a file of an earlier stage is missing, or the traits were evaluated under
            different protocols.
    """
    arm = config.study.arms[0]
    terms = shared_terms(
        {trait: read_terms(layout.evaluation_terms(trait, arm)) for trait in config.study.traits}
    )
    # No evaluation reads the base model, so its terms do not name it.
    models = {"base": read_json(layout.identity("base")), "instruct": terms["steered_model"]}
    return {
        **{
            which: {"name": model["name"], "digest": model["digest"]}
            for which, model in models.items()
        },
        "judge": terms["judge"],
        "coherence_floor": terms["coherence_floor"],
    }
