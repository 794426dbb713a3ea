"""What a model's configuration says of its residual stream, without its weights or tokenizer."""

from dataclasses import dataclass

from transformers import AutoConfig

from traitsteer.words.errors import TraitsteerError


@dataclass(frozen=True)
class ModelShape:
    """The kind of a model, such as `llama`, its number of blocks and its width."""

    kind: str
    layers: int
    width: int


def shape_of(name: str, revision: str | None, trust_remote_code: bool) -> ModelShape:
    """Read the configuration of a hub id or folder.

    Raises:
        TraitsteerError: there is no such model, or it may not be read.
    """
    try:
        config = AutoConfig.from_pretrained(
            name, revision=revision, trust_remote_code=trust_remote_code
        )
    except (OSError, ValueError) as error:
        said = " ".join(str(error).split())[:160].rstrip(". ")
        raise TraitsteerError(
            f"The configuration of {name!r} cannot be read ({said}); name a hub id that this "
            "machine may download or a folder written by save_pretrained."
        ) from error
    text = config.get_text_config()
    return ModelShape(str(config.model_type), int(text.num_hidden_layers), int(text.hidden_size))
