r"""What happens to a star's light before the detector reads it: Doppler shift, extinction, line-spread function, pixels.

A spectrum is the mean flux density in cells that are uniform in :math:`u = \ln\lambda`. A Doppler shift moves the cells by
:math:`s = \ln(1 + z)` and leaves their contents alone; nothing is resampled. Pixel d then holds

.. math::
    F_d = \sum_j f_j\, T_j\, \frac{1}{\lambda_{d+1} - \lambda_d}
          \int_{\mathrm{cell}\ j} \mathrm{d}\lambda' \left[\Phi\!\left(\frac{\lambda_{d+1} - \lambda'}{\sigma}\right)
          - \Phi\!\left(\frac{\lambda_d - \lambda'}{\sigma}\right)\right],

with T the transmission of the dust and :math:`\sigma` the Gaussian line-spread function's width at the light's own
wavelength, so that every line keeps its flux. The integral has a closed form. With :math:`s = n\delta + r` and
:math:`\delta` the cell's width in u, n moves an index and the weights are a polynomial of degree `DEGREE` in r,
fitted at Chebyshev nodes, which makes the whole a few small matrix products and differentiable in z.

References:
    Cardelli, Clayton & Mathis (1989), ApJ 345, 245, for the extinction; Pál & Dobos (2024), section 2.2, for the order.
"""

import math
from dataclasses import dataclass, replace
from typing import Self

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from scipy.special import ndtr
from torch import Tensor

from ..errors import InputError
from .instruments.protocol import Detector

__all__ = ["PixelIntegrator", "ab_magnitude", "extinction_curve", "median_level"]

R_V = 3.1
DEGREE = 3  # of the weights in the shift's fraction: error 1e-6 where sigma is 4 cells or more
BLOCK = 32  # pixels that share one matrix product
REACH = 5.5  # standard deviations of the line-spread function that count
AB_ZERO = 3.631e-20  # erg/s/cm²/Hz
LIGHT_A = 2.99792458e18  # speed of light, Å/s
FLUX_UNIT = 1e-17  # erg/s/cm²/Å


def extinction_curve(wavelength_A: ArrayLike) -> NDArray:
    r""":math:`A(\lambda) / E(B - V)` of Cardelli et al. (1989) with :math:`R_V = 3.1`.

    Arguments:
        wavelength_A: Any shape, Å, from 1000 to 33,300.
    """
    from astropy import units
    from dust_extinction.parameter_averages import CCM89  # here: half a second to import

    return R_V * CCM89(Rv=R_V)(np.asarray(wavelength_A, dtype=float) * units.AA)


def median_level(flux: Tensor, wavelength: Tensor, low_A: float = 6500.0, high_A: float = 9500.0) -> Tensor:
    """The factor that brings the median flux between two wavelengths to 0.5 (Pál & Dobos 2024, section 2.2).

    Arguments:
        flux: Shape :math:`(B, D)`.
        wavelength: Shape :math:`(D,)`, Å, ascending.
        low_A: Lower end, Å.
        high_A: Upper end, Å.

    Returns:
        Shape :math:`(B, 1)`.

    Raises:
        InputError: if no pixel is between them.
    """
    first, stop = int((wavelength < low_A).sum()), int((wavelength <= high_A).sum())
    if first >= stop:
        came = f"{float(wavelength[0]):.0f} to {float(wavelength[-1]):.0f}"
        raise InputError(f"normalisation: expected pixels between {low_A:.0f} and {high_A:.0f} Angstrom, got {came}")
    return 0.5 / flux[:, first:stop].median(1, keepdim=True).values


def ab_magnitude(flux: Tensor, edges: Tensor) -> Tensor:
    r"""AB magnitude in a box of the given pixels, weighted by photons: :math:`\int f_\lambda\lambda / \int c/\lambda`.

    Arguments:
        flux: Shape :math:`(B, D)`, 1e-17 erg/s/cm²/Å.
        edges: Pixel boundaries, shape :math:`(D + 1,)`, Å.

    Returns:
        Shape :math:`(B, 1)`, mag.
    """
    photons = (edges[1:] ** 2 - edges[:-1] ** 2) / 2
    flat = LIGHT_A * torch.log(edges[-1] / edges[0])
    weight = (photons * (FLUX_UNIT / AB_ZERO) / flat).to(flux)
    return -2.5 * torch.log10((flux * weight).sum(1, keepdim=True))


def _antiderivative(edge: NDArray, wavelength: NDArray, sigma: NDArray) -> NDArray:
    r""":math:`\int \Phi((e - \lambda') / \sigma)\,\mathrm{d}\lambda'` at :math:`\lambda'`."""
    x = (edge - wavelength) / sigma
    return -sigma * (x * ndtr(x) + np.exp(-0.5 * x * x) / np.sqrt(2 * np.pi))


def _weights(edges: NDArray, cells: NDArray, sigma: NDArray) -> NDArray:
    """Mean over pixels of what each cell sends there.

    Arguments:
        edges: Pixel boundaries, shape (n, P + 1).
        cells: Cell boundaries, shape (n, W + 1).
        sigma: Width of the line-spread function in each cell, shape (n, W).

    Returns:
        Shape (n, W, P).
    """
    low, high, width = cells[:, :-1, None], cells[:, 1:, None], sigma[:, :, None]
    below = _antiderivative(edges[:, None], high, width) - _antiderivative(edges[:, None], low, width)
    return np.diff(below, axis=2) / np.diff(edges, axis=1)[:, None]


@dataclass(frozen=True, eq=False)
class PixelIntegrator:
    r"""Takes spectra on a grid's cells through Doppler shift, dust and line-spread function onto a detector's pixels.

    Arguments:
        start: First cell of each of the n blocks of pixels, at rest.
        weights: Shape :math:`(n, W, (1 + \text{DEGREE}) P)`: cells to pixels, for each power of the shift's fraction.
        extinction: :math:`A / E(B - V)` at each cell that counts, as observed, shape :math:`(M,)`, mag.
        step: Width of a cell in :math:`\ln\lambda`.
        size: Number of pixels D.
        cells: Number of cells N that a spectrum has.
    """

    start: tuple[int, ...]
    weights: Tensor
    extinction: Tensor
    step: float
    size: int
    cells: int

    @classmethod
    def of(cls, detector: Detector, loglam: Tensor) -> Self:
        """The integrator of a detector for spectra on the cells around `loglam`, shape (N,), uniform.

        Raises:
            InputError: if the cells are not uniform, are too wide for the detector, or do not cover it.
        """
        u = loglam.cpu().double().numpy() * np.log(10)
        step = (u[-1] - u[0]) / (len(u) - 1)
        if not np.allclose(np.diff(u), step, rtol=1e-3):
            raise InputError("loglam: expected uniform steps, got uneven ones")
        edges, sigma = detector.edges.cpu().double().numpy(), detector.sigma.cpu().double().numpy()
        centre = (edges[1:] + edges[:-1]) / 2
        cell = step * centre
        if (cell > sigma).any():
            raise InputError(
                f"{detector.name}: expected a grid with cells of at most {sigma.min():.3g} Angstrom, which is its resolution, "
                f"got {cell.max():.3g}"
            )
        margin = REACH * sigma.max() + cell.max()
        low, high = np.log(edges[0] - margin), np.log(edges[-1] + margin)
        if u[0] > low or u[-1] < high:
            need, came = np.exp([low, high]), np.exp(u[[0, -1]])
            raise InputError(
                f"{detector.name}: expected a grid that covers {need[0]:.1f} to {need[1]:.1f} Angstrom, "
                f"got {came[0]:.1f} to {came[1]:.1f}"
            )
        pixels = edges[np.minimum(np.arange(0, len(centre), BLOCK)[:, None] + np.arange(BLOCK + 1), len(centre))]
        pixels = _extended(pixels)
        start = np.floor((np.log(pixels[:, 0] - margin) - u[0]) / step).astype(int)
        stop = np.ceil((np.log(np.minimum(pixels[:, -1], edges[-1]) + margin) - u[0]) / step).astype(int)
        width = (stop - start).max() + 1
        start = np.minimum(start, stop.max() + 1 - width)  # the last block has fewer pixels
        index = start[:, None] + np.arange(width)
        weights = cls._polynomial(pixels, u[0] + step * index, step, centre, sigma)
        curve = extinction_curve(np.exp(u[0] + step * np.arange(index[0, 0], index[-1, -1] + 1)))
        return cls(
            tuple(start.tolist()),
            torch.from_numpy(weights).float(),
            torch.from_numpy(curve).float(),
            float(step),
            len(centre),
            len(u),
        )

    @staticmethod
    def _polynomial(pixels: NDArray, u: NDArray, step: float, centre: NDArray, sigma: NDArray) -> NDArray:
        """The weights' coefficients in powers of the fraction of a cell, (n, W, (1 + DEGREE) P)."""
        nodes = 0.5 * np.cos(np.pi * (np.arange(DEGREE + 1) + 0.5) / (DEGREE + 1))
        values = []
        for node in nodes:
            cells = np.exp(np.concatenate([u - step / 2, u[:, -1:] + step / 2], 1) + node * step)
            values.append(_weights(pixels, cells, np.interp(np.exp(u + node * step), centre, sigma)))
        powers = np.linalg.inv(np.vander(nodes, increasing=True))
        coefficients = np.einsum("pk,knwd->nwpd", powers, np.array(values))
        return coefficients.reshape(*u.shape, -1)

    @property
    def reach(self) -> tuple[float, float]:
        """The Doppler shifts z that the grid's cells leave room for."""
        low, high = -(self.cells - self.start[0] - len(self.extinction)), self.start[0]
        return float(np.expm1((low + 1) * self.step)), float(np.expm1((high - 1) * self.step))

    def to(self, device: torch.device | str) -> Self:
        """The same integrator on a device."""
        return replace(self, weights=self.weights.to(device), extinction=self.extinction.to(device))

    def __call__(self, flux: Tensor, redshift: Tensor, ebv: Tensor) -> Tensor:
        """Mean flux density in each pixel.

        Arguments:
            flux: On the grid's cells, shape :math:`(B, N)`.
            redshift: Doppler shift :math:`z = v/c`, shape :math:`(B,)`, double precision.
            ebv: :math:`E(B - V)`, shape :math:`(B,)`, mag.

        Returns:
            Shape :math:`(B, D)`, the unit of `flux`.

        Raises:
            InputError: if a shift leaves the grid.
        """
        self._check(redshift.detach())
        shift = torch.log1p(redshift.double()) / self.step
        whole = shift.detach().round()
        fraction = (shift - whole).to(flux.dtype)[:, None]
        index = (self.start[0] - whole.long())[:, None] + torch.arange(len(self.extinction), device=flux.device)
        dust = torch.exp((-0.4 * math.log(10) * ebv.to(flux.dtype))[:, None] * self.extinction.to(flux.dtype))
        seen = flux.gather(1, index) * dust
        width = self.weights.shape[1]
        windows = torch.stack([seen.narrow(1, first - self.start[0], width) for first in self.start])
        *lower, pixels = torch.bmm(windows, self.weights.to(flux.dtype)).chunk(DEGREE + 1, 2)
        for term in reversed(lower):
            pixels = torch.addcmul(term, pixels, fraction)
        return pixels.transpose(0, 1).flatten(1)[:, : self.size]

    def _check(self, redshift: Tensor) -> None:
        low, high = self.reach
        if len(redshift) and not bool(((redshift >= low) & (redshift <= high)).all()):
            came = f"{float(redshift.min()):.4g} to {float(redshift.max()):.4g}"
            raise InputError(f"redshift: expected {low:.4g} to {high:.4g} on this grid, got {came}")


def _extended(pixels: NDArray) -> NDArray:
    """Block boundaries in which repeats of the last edge, which fill the last block, become pixels of their own."""
    width = np.diff(pixels, axis=1)
    width[width <= 0] = width[width > 0].min()
    return pixels[:, :1] + np.concatenate([np.zeros((len(pixels), 1)), np.cumsum(width, 1)], 1)
