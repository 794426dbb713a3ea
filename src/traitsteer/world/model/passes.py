"""Which files beside the engine's decide what a forward pass gives: kept work depends on them."""

from pathlib import Path

from traitsteer.world import machine
from traitsteer.world.model import blocks, devices, hooks, inference, language_model

PASSES = tuple(
    Path(module.__file__ or "")
    for module in (blocks, devices, hooks, inference, language_model, machine)
)
