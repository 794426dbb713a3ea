"""Which device tensors go to."""

import torch

from traitsteer.words.errors import TraitsteerError


def usable_device(name: str) -> torch.device:
    """The device of this name; `auto` is the first GPU if there is one, else the CPU.

    Raises:
        TraitsteerError: there is no such device here.
    """
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    try:
        return torch.empty(0, device=name).device
    except (RuntimeError, AssertionError) as error:
        raise TraitsteerError(
            f"models.device is {name!r}, which this machine does not have; set it to auto or cpu."
        ) from error
