"""Whether a model's weights are there as safetensors and fit it, told before they are read."""

import json
from collections.abc import Mapping
from pathlib import Path

from safetensors import SafetensorError, safe_open
from transformers.utils import SAFE_WEIGHTS_INDEX_NAME, SAFE_WEIGHTS_NAME
from transformers.utils.hub import cached_file

from traitsteer.words.errors import TraitsteerError
from traitsteer.world.model.hub_files import may_ask, on_hub, on_this_machine
from traitsteer.world.model.model_files import one_sentence, read_configuration, skeleton
from traitsteer.world.model.model_names import pinned

Shape = tuple[int, ...]
_PICKLES = (".bin", ".pt", ".pth", ".ckpt", ".msgpack", ".h5")


def find_weights(name: str, revision: str | None, trust_remote_code: bool) -> None:
    """Refuse a model whose weights cannot be read, as far as their names and headers tell.

    Nothing is downloaded but the list of a hub model's shards: those that are on this machine are
    looked at, and the hub is asked whether it has what is not, unless it may not be asked.

    Raises:
        TraitsteerError: there is no such model, the hub cannot be asked, its weights are no
            safetensors or not there, one of their files is not whole, or a weight has another shape
            than the model.
    """
    config = read_configuration(name, revision, trust_remote_code)
    revision = pinned(name, revision)
    own = getattr(config, "transformers_weights", None)
    wanted = (own,) if own else (SAFE_WEIGHTS_NAME, SAFE_WEIGHTS_INDEX_NAME)
    alone = not may_ask(name)
    with one_sentence(name):
        listed = next((w for w in wanted if on_this_machine(name, w, revision)), None)
        if listed is None and not alone:
            listed = next((w for w in wanted if on_hub(name, w, revision)), None)
        if listed is None:
            raise TraitsteerError(
                f"{name} holds no weights as safetensors ({' or '.join(wanted)}"
                f"{_beside(name, revision)}); weights of another kind are never loaded: save it "
                "with save_pretrained, or name a model or revision that has them."
            )
        files = _listed(name, listed, revision)
    shapes: dict[str, Shape] = {}
    if getattr(config, "quantization_config", None) is None:
        # Quantised weights are packed in shapes of their own.
        parameters = skeleton(name, revision, trust_remote_code, "float32").state_dict()
        shapes = {weight: tuple(tensor.shape) for weight, tensor in parameters.items()}
    for file in files:
        if path := on_this_machine(name, file, revision):
            _require_fitting(name, path, shapes)
        elif alone:
            raise TraitsteerError(
                f"{name} lacks {file}, one of {len(files)} files of weights; fetch it again, whole."
            )


def _listed(name: str, file: str, revision: str | None) -> list[str]:
    """The files of weights that this one names; it alone unless it is an index of shards."""
    if not file.endswith(".json"):
        return [file]
    index = cached_file(name, file, revision=revision)
    listing = json.loads(Path(str(index)).read_text(encoding="utf-8"))
    return sorted(set(listing["weight_map"].values()))


def _beside(name: str, revision: str | None) -> str:
    """Which files of other kinds lie where weights were looked for."""
    config = on_this_machine(name, "config.json", revision)
    files = sorted(config.parent.iterdir()) if config else []
    others = [path.name for path in files if path.suffix in _PICKLES]
    return f", but {', '.join(others[:3])}" if others else ""


def _require_fitting(name: str, path: Path, shapes: Mapping[str, Shape]) -> None:
    """Refuse a file that is not as long as its header says, or that is of a model of other shapes.

    What the file and the model call by one name is compared, up to the order of dimensions: weights
    of some architectures are renamed, joined or transposed when they are loaded.
    """
    try:
        with safe_open(path, framework="pt") as file:
            weights = file.keys()
            found = {weight: tuple(file.get_slice(weight).get_shape()) for weight in weights}
    except (SafetensorError, OSError, ValueError) as error:
        raise TraitsteerError(
            f"{path} is no whole safetensors file ({error}); fetch the model {name} again."
        ) from error
    for weight, shape in found.items():
        expected = shapes.get(weight, shape)
        if sorted(shape) != sorted(expected):
            raise TraitsteerError(
                f"{weight} in {path} has the shape {list(shape)}, and by its configuration {name} "
                f"has one of {list(expected)} there; fetch both again, at one revision."
            )
