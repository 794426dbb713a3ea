"""Which devices a model goes to, in what precision, and how much memory is free there."""

from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch
from transformers import BitsAndBytesConfig

from traitsteer.words.errors import TraitsteerError
from traitsteer.words.records import Quantisation

TYPES = ("cpu", "cuda")
"""Devices that have all that is computed, float64 included."""
SPREAD = ("balanced", "sequential")
"""Devices of params.yaml that stand for all GPUs together."""


def usable_device(name: str, section: str = "models") -> torch.device:
    """The device of this name; `auto` is the first GPU of CUDA if there is one, else the CPU.

    For a model that is spread over all GPUs it is the first of them.

    Args:
        section: of params.yaml, for the messages.

    Raises:
        TraitsteerError: there is no such device here, it is of another type than `TYPES`, or a
            library is missing.
    """
    if name in SPREAD:
        _require("accelerate", f"{section}.device is {name!r}", "set it to auto")
        if not torch.cuda.is_available():
            raise TraitsteerError(
                f"{section}.device is {name!r}, which spreads a model over GPUs, but this machine "
                "shows none; set it to auto or cpu."
            )
        name = "cuda:0"
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    try:
        place = torch.device(name)
        if place.type in TYPES:
            return torch.empty(0, device=place).device
    except (RuntimeError, AssertionError) as error:
        raise TraitsteerError(
            f"{section}.device is {name!r}, which this machine does not have; set it to auto or "
            "cpu."
        ) from error
    raise TraitsteerError(
        f"{section}.device is {name!r}, expected a {' or '.join(TYPES)} device, since scores are "
        "computed in float64; set it to auto or cpu."
    )


def check_quantisation(
    quantisation: Quantisation, device: torch.device, section: str = "models"
) -> None:
    """Refuse a quantisation that cannot work here.

    Raises:
        TraitsteerError: a library is missing, or the model goes to no GPU.
    """
    if quantisation == "none":
        return
    said = f"{section}.quantisation is {quantisation}"
    if device.type != "cuda":
        raise TraitsteerError(
            f"{said}, which needs a GPU, but the model goes to the {device.type}; set it to none."
        )
    for library in ("bitsandbytes", "accelerate"):
        _require(library, said, "set it to none")


def quantised(quantisation: Quantisation, dtype: torch.dtype) -> BitsAndBytesConfig | None:
    """How the weights of linear layers are kept: LLM.int8, or 4-bit normal floats in blocks of 64.

    Sources: Dettmers, Lewis, Belkada, Zettlemoyer 2022, arXiv:2208.07339; Dettmers, Pagnoni,
    Holtzman, Zettlemoyer 2023, arXiv:2305.14314.
    """
    if quantisation == "none":
        return None
    if quantisation == "int8":
        return BitsAndBytesConfig(load_in_8bit=True)
    return BitsAndBytesConfig(
        load_in_4bit=True, bnb_4bit_quant_type="nf4", bnb_4bit_compute_dtype=dtype
    )


def placed(name: str, place: torch.device) -> Any:  # noqa: ANN401 - a device map is either
    """The device map of transformers: one device for the whole model, or the name of a spread."""
    return name if name in SPREAD else {"": place}


def free_memory(name: str) -> int | None:
    """Bytes free on the device of this name, or on all GPUs; None where the system does not say."""
    place = usable_device(name)
    if place.type == "cuda":
        numbers = range(torch.cuda.device_count()) if name in SPREAD else [place]
        return sum(torch.cuda.mem_get_info(number)[0] for number in numbers)
    return _free_main_memory()


def _free_main_memory() -> int | None:
    """What Linux says is available, or what is left of the limit of this process's group."""
    known = []
    table = Path("/proc/meminfo")
    if table.exists():
        known.append(_numbers(table)["MemAvailable:"] * 1024)
    group = Path("/sys/fs/cgroup")
    limit, used, details = (group / f"memory.{name}" for name in ("max", "current", "stat"))
    if limit.exists() and (most := limit.read_text(encoding="utf-8").strip()).isdigit():
        # Files that were read are counted as used, and given up when memory is wanted.
        held = int(used.read_text(encoding="utf-8")) - _numbers(details)["inactive_file"]
        known.append(max(0, int(most) - held))
    return min(known, default=None)


def _numbers(table: Path) -> dict[str, int]:
    lines = map(str.split, table.read_text(encoding="utf-8").splitlines())
    return {words[0]: int(words[1]) for words in lines}


def _require(library: str, said: str, instead: str) -> None:
    if find_spec(library) is None:
        raise TraitsteerError(
            f"{said}, which needs the {library} library; `pip install {library}` or {instead}."
        )
