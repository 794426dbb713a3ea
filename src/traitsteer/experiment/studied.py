"""What the findings of a study are of, as its files say: models, judge, floor and texts."""

from dataclasses import asdict
from typing import Any

from traitsteer.words import layout
from traitsteer.words.config import Config
from traitsteer.words.protocol import shared_terms
from traitsteer.words.records import Trait
from traitsteer.world.files import digest, read_json
from traitsteer.world.terms_file import read_terms
from traitsteer.world.trait_folder import trait_of

Record = dict[str, Any]


def studied(config: Config) -> Record:
    """The models, judge and floor that the evaluations of the study were made with, and its texts.

    Returns:
        `base` and `instruct` with name and digest, `judge` with its terms but the rubric (of an
        address they name the host alone), `coherence_floor`, and `texts`: by trait, the beginning
        of the SHA-256 of its rubric, contrast pairs and questions.

    Raises:
        TraitsteerError: a file of an earlier stage or of a trait folder is missing, or the traits
            were evaluated under different protocols.
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
        "texts": {trait: texts_of(trait_of(config, trait)) for trait in config.study.traits},
    }


def texts_of(trait: Trait) -> str:
    """The first 16 digits of the SHA-256 of what a trait's vectors and scores are made of.

    Its name is none of that, nor are the words that name it.
    """
    texts = {key: value for key, value in asdict(trait).items() if key not in ("name", "names")}
    return digest(texts)[:16]
