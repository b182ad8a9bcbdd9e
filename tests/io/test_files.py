"""Warnings of astropy in programs of several threads."""

import warnings

import pytest
from astropy.utils.exceptions import AstropyWarning

from bayesden.io.files import quiet


def two_threads() -> None:
    """What happens when one thread begins within another's quiet and ends after it, and warns meanwhile."""
    one, other = quiet(), quiet()
    one.__enter__()
    other.__enter__()
    one.__exit__(None, None, None)
    warnings.warn("a unit", AstropyWarning, stacklevel=1)
    other.__exit__(None, None, None)


def test_quiet_around_all_threads_holds_in_each():
    with quiet():
        two_threads()
        warnings.warn("a unit", AstropyWarning, stacklevel=1)
        with pytest.warns(UserWarning, match="another"):
            warnings.warn("another", UserWarning, stacklevel=1)


def test_threads_undo_each_others_quiet():
    """The control: why there has to be one around them all."""
    with pytest.warns(AstropyWarning, match="a unit"):
        two_threads()
