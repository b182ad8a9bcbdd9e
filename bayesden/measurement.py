r"""Quantities of the noise-free spectrum with their posterior: equivalent widths, colours, anything that is a function.

A function of the flux vector is applied to each draw of it, so that the result has the covariance of the pixels in it,
which no sum over `sigma` has.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .errors import InputError

__all__ = ["Measurement", "colour", "equivalent_width"]


@dataclass(frozen=True, eq=False)
class Measurement:
    r"""The posterior of one quantity, or of several.

    Arguments:
        draws: Shape :math:`(S, \dots)`, in any unit.

    Example:
        >>> velocity = Measurement(np.random.default_rng(0).normal(-20.0, 5.0, 1000))
        >>> velocity
        -20.24 ± 4.9
        >>> low, high = velocity.interval(0.9)
    """

    draws: NDArray

    @property
    def value(self) -> NDArray:
        """Posterior mean."""
        return self.draws.mean(0)

    @property
    def sigma(self) -> NDArray:
        """Posterior standard deviation."""
        return self.draws.std(0, ddof=1)

    def quantile(self, probability: float) -> NDArray:
        """Quantile of the draws.

        Arguments:
            probability: Between 0 and 1.

        Returns:
            Of the draws' trailing shape and unit.

        Example:
            >>> float(Measurement(np.arange(101.0)).quantile(0.9))
            90.0
        """
        return np.quantile(self.draws, probability, axis=0)

    def interval(self, probability: float = 0.68) -> tuple[NDArray, NDArray]:
        """Ends of the central interval.

        Arguments:
            probability: That it holds, between 0 and 1, exclusive.

        Returns:
            Its lower and upper end, each of the draws' trailing shape and unit.

        Raises:
            InputError: if the probability is not between 0 and 1.

        Example:
            >>> low, high = Measurement(np.arange(101.0)).interval(0.9)
            >>> f"{low:.0f} to {high:.0f}"
            '5 to 95'
        """
        if not 0 < probability < 1:
            raise InputError(f"probability: expected a number between 0 and 1, got {probability}")
        return self.quantile(0.5 - probability / 2), self.quantile(0.5 + probability / 2)

    def __repr__(self) -> str:
        if self.draws.ndim > 1:
            return f"Measurement of shape {self.draws.shape[1:]} from {len(self.draws)} draws"
        return f"{float(self.value):.4g} ± {float(self.sigma):.2g}"


def equivalent_width(
    wavelength: ArrayLike, line: tuple[float, float], continuum: tuple[tuple[float, float], ...]
) -> Callable[[NDArray], float]:
    r"""The function of a flux vector that gives a line's equivalent width, Å, positive in absorption,

    .. math:: W = \int \Big(1 - \frac{s(\lambda)}{s_c(\lambda)}\Big)\, d\lambda,

    with a straight continuum through the mean fluxes of the windows beside the line.

    Arguments:
        wavelength: Of the flux, shape :math:`(D,)`, Å.
        line: First and last wavelength of the line, Å.
        continuum: First and last wavelength of each window, two or more, Å.

    Returns:
        From a flux, shape :math:`(D,)`, to a number of Å; what `Posterior.measure` takes.

    Raises:
        InputError: if a window holds fewer than two pixels, or there is one window only.

    Example:
        >>> w = np.linspace(6400.0, 6700.0, 301)
        >>> halpha = equivalent_width(w, (6540.0, 6590.0), ((6450.0, 6500.0), (6620.0, 6670.0)))
        >>> round(halpha(1 - 0.5 * np.exp(-0.5 * ((w - 6564.6) / 4.0) ** 2)), 2)
        5.01
    """
    wavelength = np.asarray(wavelength, float)
    if len(continuum) < 2:
        raise InputError(f"equivalent width: expected at least two continuum windows, got {len(continuum)}")
    inside, *beside = (_window(wavelength, window) for window in (line, *continuum))
    centres = np.array([wavelength[window].mean() for window in beside])

    def measure(flux: NDArray) -> float:
        slope, level = np.polyfit(centres, [flux[window].mean() for window in beside], 1)
        depth = 1 - flux[inside] / (level + slope * wavelength[inside])
        return float(depth @ np.gradient(wavelength)[inside])

    return measure


def colour(wavelength: ArrayLike, blue: tuple[float, float], red: tuple[float, float]) -> Callable[[NDArray], float]:
    r"""The function of a flux vector that gives a colour, :math:`-2.5 \log_{10}` of mean blue over mean red flux, mag.

    Arguments:
        wavelength: Of the flux, shape :math:`(D,)`, Å.
        blue, red: First and last wavelength of the bands, Å.

    Returns:
        From a flux, shape :math:`(D,)`, to a number of mag, NaN where the ratio is not positive.

    Raises:
        InputError: if a band holds fewer than two pixels.

    Example:
        >>> w = np.linspace(4000.0, 9000.0, 100)
        >>> colour(w, (4000, 5000), (8000, 9000))(np.ones(100))
        -0.0
    """
    wavelength = np.asarray(wavelength, float)
    first, second = (_window(wavelength, band) for band in (blue, red))

    def measure(flux: NDArray) -> float:
        ratio = flux[first].mean() / flux[second].mean()
        return float(-2.5 * np.log10(ratio)) if ratio > 0 else np.nan

    return measure


def _window(wavelength: NDArray, window: tuple[float, float]) -> NDArray:
    inside = (wavelength >= window[0]) & (wavelength <= window[1])
    if inside.sum() < 2:
        span = f"{wavelength[0]:.0f} to {wavelength[-1]:.0f}"
        raise InputError(f"window: expected at least two of the pixels from {span} Å in it, got {window}")
    return inside
