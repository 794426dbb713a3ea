"""What a model's configuration says of its residual stream, without its weights or tokenizer."""

from dataclasses import dataclass

from traitsteer.world.model_files import find


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
    config = find(name, revision, trust_remote_code)
    text = config.get_text_config()
    return ModelShape(str(config.model_type), int(text.num_hidden_layers), int(text.hidden_size))
