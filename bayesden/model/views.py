"""Batches that are one row over and over."""

from torch import Tensor

__all__ = ["repeated"]


def repeated(*tensors: Tensor | None) -> bool:
    """Whether all that are not None have as many rows, more than one, that are views of the first (`Data.expand`)."""
    known = [x for x in tensors if x is not None]
    count = len(known[0])
    return count > 1 and all(len(x) == count and x.stride(0) == 0 for x in known)
