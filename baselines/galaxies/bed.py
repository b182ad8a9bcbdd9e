r"""Galaxies seen at rest: histories, velocity dispersions, pixels and noise.

A galaxy is the sum of single populations, weighted with mass, broadened by its velocity dispersion and by what the bed's
resolution exceeds the populations', in means over pixels, with mean flux 1. The noise is normal, with a standard deviation
that depends on wavelength as in SAMI's spectra,

.. math:: \sigma(\lambda) = \bar s\,\frac{c(\lambda)}{S/N}, \qquad c = 3.0, 1.7, 1.0, 0.8
          \text{ at } 3700, 4000, 4529 \text{ and from } 5500\,\text{Å}

with :math:`\bar s` the mean flux between 4484.77 and 4573.12 Å.

Reference:
    Kim, Lee & Rey 2026, arXiv:2605.04434.
"""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray
from scipy.interpolate import CubicSpline
from scipy.ndimage import fourier_gaussian
from scipy.sparse import csr_array

from bayesden.io.bosz import vacuum_wavelength
from bayesden.model.rest_frame import LIGHT_KMS
from bayesden.spectrum import Grid, Observation

from .histories import draw_histories
from .templates import Templates

__all__ = ["DISPERSION_KMS", "SNR_WINDOW_A", "Bed", "Galaxies", "noise_curve"]

FIRST_A, STEP_A, PIXELS = 3700.0, 1.05, 3144  # to 7000 Å; divisible by 8, as EUT must have it
FWHM_A = 2.65
FWHM_OF_SIGMA = 2 * np.sqrt(2 * np.log(2))
DISPERSION_KMS = (50.0, 250.0)
SNR_WINDOW_A = tuple(vacuum_wavelength(np.array([4484.77, 4573.12])).tolist())
CURVE_A, CURVE = (3700.0, 4000.0, 4529.0, 5500.0), (3.0, 1.7, 1.0, 0.8)
CELL_KMS = 25.0  # of the cells in ln(wavelength) on which galaxies are broadened
CHUNK = 1000


def noise_curve(wavelength: NDArray) -> NDArray:
    """The noise relative to that at 4529 Å, at wavelengths in vacuum Å."""
    return np.interp(wavelength, CURVE_A, CURVE)


@dataclass(frozen=True, eq=False)
class Galaxies:
    """N galaxies without noise.

    Arguments:
        flux: Shape (N, D), mean 1.
        weight: Shares of the mass that formed in each population, shape (N, T).
        dispersion_kms: Velocity dispersions, shape (N,).
    """

    flux: NDArray
    weight: NDArray
    dispersion_kms: NDArray

    def __len__(self) -> int:
        return len(self.flux)


@dataclass(frozen=True, eq=False)
class Bed:
    """Pixels, and what it takes to make galaxies on them.

    Arguments:
        templates: The single populations.
        grid: The pixels.
    """

    templates: Templates
    grid: Grid

    @classmethod
    def of(cls, templates: Templates) -> "Bed":
        """The bed of the module's docstring."""
        return cls(templates, Grid(FIRST_A + STEP_A * np.arange(PIXELS)))

    @cached_property
    def cells(self) -> NDArray:
        """Centres of cells that are equidistant in the logarithm, vacuum Å."""
        low, high = np.log(self.templates.wavelength[[0, -1]])
        step = CELL_KMS / LIGHT_KMS
        return np.exp(low + step * np.arange(int((high - low) / step)))

    @cached_property
    def sharp(self) -> NDArray:
        """The populations on the cells at the bed's resolution, (T, cells)."""
        t = self.templates
        width = np.sqrt(max(FWHM_A**2 - t.fwhm_A**2, 0.0)) / FWHM_OF_SIGMA / np.diff(t.wavelength).mean()
        size = t.flux.shape[1]
        transform = fourier_gaussian(np.fft.rfft(t.flux), (0.0, width), n=size, axis=1)
        return CubicSpline(t.wavelength, np.fft.irfft(transform, size), axis=1)(self.cells)

    @cached_property
    def _transform(self) -> NDArray:
        return np.fft.rfft(self.sharp)

    @cached_property
    def _to_pixels(self) -> csr_array:
        """Means over pixels of what is constant in a cell, (cells, D)."""
        edges, wanted = Grid(self.cells).edges, self.grid.edges
        first, last = (np.searchsorted(edges, x, "right") - 1 for x in (wanted[:-1], wanted[1:]))
        width = int((last - first).max()) + 1
        cell = np.minimum(first[:, None] + np.arange(width), len(self.cells) - 1)
        overlap = np.minimum(edges[cell + 1], wanted[1:, None]) - np.maximum(edges[cell], wanted[:-1, None])
        share = np.maximum(overlap, 0.0) / np.diff(wanted)[:, None]
        pixel = np.repeat(np.arange(self.grid.size), width)
        return csr_array((share.ravel(), (cell.ravel(), pixel)), shape=(len(self.cells), self.grid.size))

    def spectra(self, weight: NDArray, dispersion_kms: NDArray) -> NDArray:
        """Galaxies of masses (N, T) and velocity dispersions (N,), on the pixels: (N, D), in the populations' unit."""
        k = 2 * np.pi * np.fft.rfftfreq(len(self.cells)) / CELL_KMS
        losvd = np.exp(-0.5 * (k * np.asarray(dispersion_kms)[:, None]) ** 2)
        return np.fft.irfft((weight @ self._transform) * losvd, len(self.cells)) @ self._to_pixels

    def draw(self, prior: str, n: int, *, seed: int = 0) -> Galaxies:
        """Galaxies of one of the priors of `histories`."""
        rng = np.random.default_rng(seed)
        weight, dispersion = draw_histories(prior, n, self.templates, rng), rng.uniform(*DISPERSION_KMS, n)
        parts = [slice(i, i + CHUNK) for i in range(0, n, CHUNK)]
        flux = np.concatenate([self.spectra(weight[part], dispersion[part]) for part in parts])
        return Galaxies(flux / flux.mean(1, keepdims=True), weight, dispersion)

    def sigma(self, flux: NDArray, snr: float) -> NDArray:
        """Standard deviation of the noise of galaxies (N, D) at a signal-to-noise ratio, (N, D)."""
        low, high = SNR_WINDOW_A
        inside = (self.grid.wavelength >= low) & (self.grid.wavelength <= high)
        return flux[:, inside].mean(1, keepdims=True) / snr * noise_curve(self.grid.wavelength)

    def observe(self, galaxies: Galaxies, snr: float, *, seed: int = 0) -> list[Observation]:
        """The galaxies with noise."""
        sigma = self.sigma(galaxies.flux, snr)
        noisy = galaxies.flux + sigma * np.random.default_rng([seed, round(snr)]).standard_normal(sigma.shape)
        rows = enumerate(zip(noisy, sigma**-2, strict=True))
        return [Observation(self.grid.wavelength, y, ivar, name=f"galaxy {i}") for i, (y, ivar) in rows]
