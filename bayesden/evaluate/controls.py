"""Posteriors that are wrong on purpose: a test of calibration that they pass has tested nothing."""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtr, ndtri

__all__ = ["BIAS", "CONTROLS", "SHRINK", "as_given", "biased", "overconfident", "wrong_transform"]

SHRINK = 0.7  # standard deviations of the over-confident posterior, over the true ones
BIAS = 0.3  # of the biased posterior, in standard deviations


def as_given(draws: NDArray) -> NDArray:
    """The draws themselves."""
    return draws


def overconfident(draws: NDArray) -> NDArray:
    """Draws (S, P) drawn together about their mean."""
    mean = draws.mean(0)
    return mean + SHRINK * (draws - mean)


def biased(draws: NDArray) -> NDArray:
    """Draws (S, P) shifted upwards."""
    return draws + BIAS * draws.std(0)


CONTROLS: dict[str, Callable[[NDArray], NDArray]] = {"overconfident": overconfident, "biased": biased}


def wrong_transform(pit: NDArray, control: str) -> NDArray:
    """What probability integral transforms would be under a predictive density that is wrong in the same way."""
    z = ndtri(np.clip(pit, 1e-12, 1 - 1e-12))
    return ndtr(z / SHRINK) if control == "overconfident" else ndtr(z - BIAS)
