"""Finds the decoder blocks of a model: the modules that the residual stream runs through."""

from typing import Any

from torch import nn

from traitsteer.words.errors import TraitsteerError


def find_blocks(model: Any, path: str | None = None) -> nn.ModuleList:  # noqa: ANN401
    """Return the list of decoder blocks, first to last.

    Blocks are the one outermost `ModuleList` of the text decoder that is as long as the
    configuration has layers: the experts of a block lie inside of it, and a vision tower beside
    the decoder.

    Args:
        model: any causal decoder of `transformers`; architectures share no base class.
        path: dotted path of the list from the top of the model, where it is named by hand.

    Raises:
        TraitsteerError: there is no such list, or more than one (the message says how to name it),
            or each token attends to those after it.
    """
    blocks = _listed(model, path)
    if {part.is_causal for part in blocks.modules() if hasattr(part, "is_causal")} == {False}:
        raise TraitsteerError(
            f"{type(model).__name__} is an encoder: its tokens attend to those after them too; "
            "choose a model that generates text from left to right."
        )
    return blocks


def _listed(model: Any, path: str | None) -> nn.ModuleList:  # noqa: ANN401
    count = getattr(model.config.get_text_config(), "num_hidden_layers", None)
    lists = {name: m for name, m in model.named_modules() if isinstance(m, nn.ModuleList)}
    outermost = {
        name: module
        for name, module in lists.items()
        if not any(name.startswith(f"{other}.") for other in lists)
    }
    if path is not None:
        if path not in lists or count not in (None, len(lists[path])):
            raise TraitsteerError(
                f"{type(model).__name__} has no list of {count or 'any number of'} blocks at "
                f"{path!r}; {_offer(lists)}"
            )
        return lists[path]
    inside = {id(module) for module in _text_decoder(model).modules()}
    fitting = [m for m in outermost.values() if len(m) == count and id(m) in inside]
    if len(fitting) != 1:
        raise TraitsteerError(
            f"{type(model).__name__} has {len(fitting) or 'no'} lists that could be its {count} "
            f"decoder blocks, expected one; {_offer(lists)}"
        )
    return fitting[0]


def _text_decoder(model: Any) -> nn.Module:  # noqa: ANN401
    """The part that reads text; the whole model where it does not tell."""
    found = model.get_decoder() if hasattr(model, "get_decoder") else None
    return found if isinstance(found, nn.Module) else model


def decoder_of(model: Any, blocks: nn.ModuleList) -> nn.Module:  # noqa: ANN401
    """The part that runs these blocks, without the head where it can be told apart."""
    found = _text_decoder(model)
    if any(module is blocks for module in found.modules()):
        return found
    whole: nn.Module = model.base_model
    return whole


def _offer(lists: dict[str, nn.ModuleList]) -> str:
    named = ", ".join(f"{name} ({len(module)})" for name, module in list(lists.items())[:6])
    return (
        "name it as models.base.blocks or models.instruct.blocks in params.yaml"
        + (f", such as {named}" if named else "; it has no ModuleList at all")
        + "."
    )
