"""The home of gguf: control vectors as llama.cpp and repeng read and write them.

A file has `general.architecture` controlvector, `controlvector.model_hint`,
`controlvector.layer_count` and one float32 tensor `direction.N` [width] a layer.

Which layer N is: llama.cpp's loader keeps `direction.N` at place N - 1 of a buffer that has no
place for block 0, hands place N - 1 to block N counted from 0, and adds it to the output of that
block. So N is our layer, the 0-based block output, and layer 0 cannot be steered: `direction.0` is
refused. repeng numbers by the same blocks. (The generator that comes with llama.cpp calls what it
finds at block N `direction.N+1`; what is read here is where it acts.)
"""

import re
from contextlib import closing
from pathlib import Path

import gguf
import torch

from traitsteer.words.errors import TraitsteerError
from traitsteer.world.files import replacing
from traitsteer.world.foreign.control_vectors import ControlVector

ARCHITECTURE = "controlvector"
OURS = "traitsteer."
"""In front of facts of ours, which llama.cpp passes over."""

_FLOATS = {
    gguf.GGMLQuantizationType.F32,
    gguf.GGMLQuantizationType.F16,
    gguf.GGMLQuantizationType.F64,
}


def direction_name(layer: int) -> str:
    """The tensor whose content llama.cpp adds to the output of block `layer`, counted from 0.

    Raises:
        TraitsteerError: the layer is 0, which llama.cpp does not steer.
    """
    if layer < 1:
        raise TraitsteerError(
            f"Layer {layer} cannot be written as GGUF, since llama.cpp steers no block before "
            "block 1; choose another layer with --layer, or write safetensors."
        )
    return f"direction.{layer}"


def write_gguf(path: Path, vector: ControlVector, model_hint: str, scale: float = 1.0) -> None:
    """Write each vector times `scale`.

    Raises:
        TraitsteerError: a layer is 0.
    """
    names = [direction_name(layer) for layer in vector.layers]
    with (
        replacing(path) as temporary,
        closing(gguf.GGUFWriter(temporary, ARCHITECTURE)) as writer,
    ):
        writer.add_string(f"{ARCHITECTURE}.model_hint", model_hint)
        writer.add_uint32(f"{ARCHITECTURE}.layer_count", len(names))
        for key, fact in sorted(vector.facts.items()):
            writer.add_string(OURS + key, fact)
        for name, row in zip(names, vector.vectors, strict=True):
            writer.add_tensor(name, (row.double() * scale).float().numpy())
        writer.write_header_to_file()
        writer.write_kv_data_to_file()
        writer.write_tensors_to_file()


def read_gguf(path: Path) -> ControlVector:
    """Read a control vector; `facts` has its text and number fields.

    Raises:
        TraitsteerError: the file is missing, is no whole GGUF file, or holds no directions that
            llama.cpp could add.
    """
    if not path.is_file():
        raise TraitsteerError(f"{path} is not there; check the path.")
    try:
        reader = gguf.GGUFReader(path)
        facts = {
            name.removeprefix(OURS): str(field.contents())
            for name, field in reader.fields.items()
            if not name.startswith("GGUF.") and field.types[0] != gguf.GGUFValueType.ARRAY
        }
    except (ValueError, KeyError, IndexError, OverflowError) as error:
        raise TraitsteerError(f"{path} is no whole GGUF file ({error}); get it again.") from error
    found = facts.pop("general.architecture", None)
    if found != ARCHITECTURE:
        raise TraitsteerError(
            f"{path} has the architecture {found!r}, expected {ARCHITECTURE!r}; name the file of a "
            "control vector, not of a model."
        )
    rows: dict[int, torch.Tensor] = {}
    for tensor in reader.tensors:
        number = re.fullmatch(r"direction\.([1-9]\d*)", tensor.name)
        if not number or tensor.tensor_type not in _FLOATS or len(tensor.shape) != 1:
            raise TraitsteerError(
                f"{path} holds the tensor {tensor.name} {tensor.tensor_type.name} of shape "
                f"{tensor.shape.tolist()}; expected direction.1 and so on, plain numbers [width]."
            )
        rows[int(number[1])] = torch.from_numpy(tensor.data.astype("float32"))
    if len({len(row) for row in rows.values()}) != 1:
        widths = sorted({len(row) for row in rows.values()})
        raise TraitsteerError(
            f"{path} holds directions of the widths {widths}; expected one width for all."
        )
    return ControlVector.from_raw(path, list(rows), torch.stack(list(rows.values())), facts)
