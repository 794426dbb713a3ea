"""How the threads of torch wait for each other on a CPU."""

import os

SPINS = {"GOMP_SPINCOUNT": "20000"}
"""Environment of a process: an idle thread looks for work this often before it sleeps.

A few tens of microseconds. With none, each of the thousand small operations of a decoding step
wakes its threads anew (1.5 times the time of the embedded study's searches); with GNU OpenMP's
default, milliseconds, idle threads starve the busy ones where there are more threads than cores.
"""


def wait_briefly() -> None:
    """Set `SPINS` for this process, unless its environment says otherwise; before torch loads."""
    for name, value in SPINS.items():
        os.environ.setdefault(name, value)
