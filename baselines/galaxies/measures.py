"""How near denoised galaxies come to the noiseless ones, as Kim, Lee & Rey (2026) measure it."""

import numpy as np
from numpy.typing import NDArray

from bayesden.io.bosz import vacuum_wavelength

__all__ = ["WINDOWS_A", "pearson", "reduction", "window_reductions"]

AIR_A = {  # the paper shows windows and does not give their limits: the bands of Lick, and 30 Å about Ca II H
    "Ca II H": (3953.0, 3983.0),
    "Hδ": (4083.5, 4122.25),
    "Fe I 4383": (4369.125, 4420.375),
    "Hβ": (4847.875, 4876.625),
    "Mg b": (5160.125, 5192.625),
    "Na D": (5876.875, 5909.375),
}
WINDOWS_A = {name: tuple(vacuum_wavelength(np.array(limits)).tolist()) for name, limits in AIR_A.items()}


def _rms(residual: NDArray) -> NDArray:
    return np.sqrt(np.square(residual).mean(1))


def reduction(flux: NDArray, truth: NDArray, noisy: NDArray) -> NDArray:
    r"""By how many percent the residuals' root mean square fell, of spectra (N, D): (N,)."""
    return 100 * (1 - _rms(flux - truth) / _rms(noisy - truth))


def pearson(flux: NDArray, truth: NDArray) -> NDArray:
    """Pearson's correlation of spectra (N, D) in percent, their "recovery rate": (N,)."""
    a, b = (x - x.mean(1, keepdims=True) for x in (flux, truth))
    return 100 * (a * b).sum(1) / np.sqrt((a * a).sum(1) * (b * b).sum(1))


def window_reductions(flux: NDArray, truth: NDArray, noisy: NDArray, wavelength: NDArray) -> dict[str, NDArray]:
    """`reduction` within the window of each line: (N,) each."""
    found = {}
    for name, (low, high) in WINDOWS_A.items():
        inside = (wavelength >= low) & (wavelength <= high)
        found[name] = reduction(flux[:, inside], truth[:, inside], noisy[:, inside])
    return found
