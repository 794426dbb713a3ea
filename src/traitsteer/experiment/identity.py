"""What the models of a study are now, as params.yaml names them; none is loaded for it."""

from typing import Any

from traitsteer.words.config import Config
from traitsteer.words.model_config import ModelConfig
from traitsteer.world.model import model_names
from traitsteer.world.model.software import versions

NUMERICS = {"dtype", "quantisation", "device", "trust_remote_code"}
"""Parameters of all models that decide what they compute, beside which model it is."""


def model_identity(config: Config, which: ModelConfig) -> dict[str, Any]:
    """All that decides what one of the study's models says, as JSON values.

    Raises:
        TraitsteerError: there is no such model, or it may not be read.
    """
    numerics = config.models.model_dump(mode="json", include=NUMERICS)
    return (
        which.model_dump(mode="json")
        | numerics
        | {
            "commit": model_names.pinned(which.name, which.revision),
            "digest": digest_of(config, which),
            "software": versions(config.models.quantisation != "none"),
        }
    )


def digest_of(config: Config, which: ModelConfig) -> str:
    """The digest of one of the study's models, without loading its weights.

    Raises:
        TraitsteerError: as `model_identity`.
    """
    return model_names.digest_of(
        which.name, which.revision, config.models.quantisation, which.blocks
    )
