"""Versions of the packages that decide what a model computes.

Another version may choose another token where two are nearly as likely, so what was computed
under one is not mixed with what is computed under another.
"""

from importlib.metadata import PackageNotFoundError, version

_ALWAYS = ("torch", "transformers")
_QUANTISED = ("bitsandbytes",)


def versions(quantised: bool) -> dict[str, str]:
    """Package and version, without the build (`+cpu`), which follows from the device.

    Args:
        quantised: whether weights are kept in fewer bits than the residual stream.
    """
    found = {}
    for package in (*_ALWAYS, *(_QUANTISED if quantised else ())):
        try:
            found[package] = version(package).partition("+")[0]
        except PackageNotFoundError:
            # Weights that are quantised on disk may need another package than this one.
            if package in _ALWAYS:
                raise
    return found
