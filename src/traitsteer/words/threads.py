"""How the threads of torch wait for each other on a CPU."""

import os

SPINS = {"GOMP_SPINCOUNT": "20000"}
"""Environment of a process: an idle thread looks for work this often before it sleeps.

For a moment. If they sleep at once, each of the hundreds of small operations of a decoding step
wakes its threads anew; with GNU OpenMP's default idle threads starve the busy ones where there are
more threads than cores.
"""


def wait_briefly() -> None:
    """Set `SPINS` for this process, unless its environment says otherwise; before torch loads."""
    for name, value in SPINS.items():
        os.environ.setdefault(name, value)
