"""Seeds belong to the item: each is a hash of what it is for, never of a place in a batch."""

import hashlib


def seed_for(*parts: str | int) -> int:
    """Return a seed in [0, 2**63) for an item named by its parts, such as purpose, id, sample."""
    name = "\0".join(str(part) for part in parts)
    return int.from_bytes(hashlib.sha256(name.encode()).digest()[:8], "big") >> 1


def small_seed_for(*parts: str | int) -> int:
    """The seed of an item in [0, 2**31), which is all that some libraries take."""
    return seed_for(*parts) % 2**31
