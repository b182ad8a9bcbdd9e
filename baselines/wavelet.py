"""Wavelet shrinkage of the spectrum in units of its error, with the thresholds of scikit-image.

The mean of the exposures, less a wide average of itself, times the square root of its inverse variance, has noise of variance
1 everywhere, which is what the thresholds want to know: the universal one of Donoho & Johnstone, or one for each scale after
Chang, Yu & Vetterli. Without the average the lines of the sky, jagged in the inverse variance, would be features of the
product. Masked pixels are bridged by a line, since wavelets know no holes.

References:
    Donoho & Johnstone 1994, Biometrika 81, 425 (universal).
    Chang, Yu & Vetterli 2000, IEEE Transactions on Image Processing 9, 1532 (Bayes).
"""

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from bayesden.errors import InputError
from bayesden.spectrum import Grid

from .denoiser import CoaddDenoiser
from .smoothing import smooth

__all__ = ["Wavelet"]

BASE = 16.0  # pixels: standard deviation of the average
METHODS = {"universal": "VisuShrink", "bayes": "BayesShrink"}


@dataclass(frozen=True)
class Wavelet(CoaddDenoiser):
    """Soft thresholds in a basis of wavelets.

    Arguments:
        grid: The pixels.
        threshold: `universal` or `bayes`.
        basis: The wavelet, as PyWavelets names it.

    Raises:
        InputError: if the threshold is not known, or scikit-image or PyWavelets is not installed.
    """

    grid: Grid
    threshold: Literal["universal", "bayes"] = "bayes"
    basis: str = "sym8"

    def __post_init__(self) -> None:
        if self.threshold not in METHODS:
            raise InputError(f"threshold: expected one of {', '.join(METHODS)}, got {self.threshold!r}")
        try:
            import pywt  # noqa: F401 -- scikit-image needs it, and says so late
            import skimage  # noqa: F401
        except ImportError as error:
            raise InputError(
                f"wavelet: expected the extra 'baselines' (pip install 'bayesden[baselines]'): {error}"
            ) from None

    @property
    def _name(self) -> str:
        return f"wavelet {self.threshold}"

    def _estimate(self, flux: NDArray, ivar: NDArray) -> tuple[NDArray, dict[str, str | float]]:
        from pywt import dwt_max_level
        from skimage.restoration import denoise_wavelet

        index, seen = np.arange(flux.size), ivar > 0
        root = np.sqrt(np.interp(index, index[seen], ivar[seen]))
        base, _ = smooth(flux, ivar, BASE)
        white = (np.interp(index, index[seen], flux[seen]) - base) * root
        span = 2 * max(np.abs(white).max(), 1.0)  # it clips to between -1 and 1
        found = denoise_wavelet(
            white / span,
            1 / span,
            self.basis,
            "soft",
            dwt_max_level(flux.size, self.basis),
            method=METHODS[self.threshold],
            rescale_sigma=False,
        )
        return base + found * span / root, {}
