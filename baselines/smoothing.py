r"""Smoothing with a Gaussian kernel: the floor that every denoiser must be above.

.. math:: \hat s = \frac{K (h \odot y)}{K h}, \qquad
          \mathrm{CV} = \sum_d h_d \left( \frac{y_d - \hat s_d}{1 - K_0 h_d / (K h)_d} \right)^2

with inverse variances h. The width of each spectrum's kernel is the one with the smallest leave-one-out error CV; over what
no data reach, a line is drawn.

References:
    Stone 1974, Journal of the Royal Statistical Society B 36, 111 (leave-one-out).
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter1d

from bayesden.spectrum import Grid

from .denoiser import CoaddDenoiser

__all__ = ["Smoothing", "smooth"]


@dataclass(frozen=True)
class Smoothing(CoaddDenoiser):
    """A Gaussian kernel whose width follows the data.

    Arguments:
        grid: The pixels.
        widths: Standard deviations to choose from, pixels.
    """

    grid: Grid
    widths: tuple[float, ...] = (0.5, 1.0, 2.0, 4.0, 8.0, 16.0, 32.0)

    @property
    def _name(self) -> str:
        return "smoothing"

    def _estimate(self, flux: NDArray, ivar: NDArray) -> tuple[NDArray, dict[str, str | float]]:
        tried = [smooth(flux, ivar, width) for width in self.widths]
        best = int(np.argmin([error for _, error in tried]))
        return tried[best][0], {"width": self.widths[best]}


def smooth(flux: NDArray, ivar: NDArray, width: float) -> tuple[NDArray, float]:
    """The smoothed spectrum (D,) and its leave-one-out error.

    Arguments:
        flux: Shape (D,).
        ivar: Inverse variance, same shape; 0 where masked.
        width: Standard deviation of the kernel, pixels.
    """
    relative = ivar / ivar.max()
    total = gaussian_filter1d(relative, width, mode="constant")
    reached = total > 1e-6  # of the largest weight: less is the kernel's far wing
    found = gaussian_filter1d(relative * flux, width, mode="constant")[reached] / total[reached]
    centre = gaussian_filter1d((np.arange(flux.size) == flux.size // 2) * 1.0, width, mode="constant").max()
    left = 1 - centre * relative[reached] / total[reached]
    error = (relative[reached] * ((flux[reached] - found) / np.maximum(left, 1e-3)) ** 2).sum()
    index = np.arange(flux.size)
    return np.interp(index, index[reached], found), float(error)
