"""What files are called."""

import os

__all__ = ["plain_stem"]


def plain_stem(path: str | os.PathLike) -> str:
    """A file's name without .fits or .fits.gz."""
    name = os.path.basename(path)
    return name.removesuffix(".gz").removesuffix(".fits") or name
