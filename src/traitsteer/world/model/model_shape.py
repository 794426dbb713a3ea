"""What a model's configuration says of its residual stream, without its weights or tokenizer."""

from dataclasses import dataclass
from typing import Any

from traitsteer.world.model.model_files import read_configuration


@dataclass(frozen=True)
class ModelShape:
    """What every vector, token id and prompt of a model is held against."""

    kind: str
    """As its configuration says, such as `llama`."""
    layers: int
    """Decoder blocks."""
    width: int
    """Of the residual stream."""
    vocabulary: int
    """Token ids that it embeds, from 0 on; a tokenizer may know fewer or more."""
    context: int | None
    """As `context_of` tells."""


def shape_of(name: str, revision: str | None, trust_remote_code: bool) -> ModelShape:
    """Read the configuration of a hub id or folder.

    Raises:
        TraitsteerError: there is no such model, or it may not be read.
    """
    config = read_configuration(name, revision, trust_remote_code)
    text = config.get_text_config()
    return ModelShape(
        str(config.model_type),
        int(text.num_hidden_layers),
        int(text.hidden_size),
        int(text.vocab_size),
        context_of(config),
    )


def context_of(config: Any) -> int | None:  # noqa: ANN401 - architectures share no class
    """Most tokens of a prompt and its response together; None: the model has no limit.

    Positions are learned up to here, or the rotation of all positions changes beyond: a row that
    passed it would change those beside it.
    """
    text = config.get_text_config()
    # The configurations of MPT and of Whisper's decoder have names of their own.
    names = ("max_position_embeddings", "max_seq_len", "max_target_positions")
    most = next((getattr(text, name) for name in names if hasattr(text, name)), None)
    rope = getattr(text, "rope_parameters", None) or {}
    # Some have one for all blocks, some one for each kind of block.
    for each in [rope, *(value for value in rope.values() if isinstance(value, dict))]:
        if each.get("rope_type") == "longrope":
            most = each.get("original_max_position_embeddings", most)
    return None if most is None else int(most)
