"""Numbers that are none are caught where they arise, before they are written as a result."""

from torch import Tensor

from ..errors import NumericalError

__all__ = ["check_finite"]


def check_finite(what: str, *values: Tensor) -> None:
    """See that all values are finite.

    Arguments:
        what: They are, for the message.
        values: Any shapes.

    Raises:
        NumericalError: if one is not.
    """
    bad = sum(int((~value.isfinite()).sum()) for value in values)
    if bad:
        raise NumericalError(f"fit: expected finite numbers, got {bad} that are none in {what}")
