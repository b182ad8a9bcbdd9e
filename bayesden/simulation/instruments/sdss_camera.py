r"""One camera of the BOSS spectrographs: what a pixel counts, how uncertain it is, and what the pipeline says of it.

With N electrons of star and sky (`sdss_site`), of which :math:`N_*` are the star's, and the electronics' variance r²,

.. math:: \sigma^2 = \frac{c^2}{g^2} \left[ N + r^2 + (\phi\,N_\mathrm{lines})^2 \right], \qquad
          \sigma_\mathrm{pipeline}^2 = \frac{c^2}{g^2} \left[ \tilde N + r^2 + (0.03\,\tilde N_*)^2
          + (0.02\,N_\mathrm{lines})^2 \right].

c is the error of the flux calibration, a polynomial in wavelength. What the subtraction leaves of a sky line is a share
:math:`\phi` of it, drawn anew for each exposure and correlated over the line-spread function. The pipeline adds 3 % of the
star's flux to its errors, measured as 0.0298 ± 0.0003 in the blue and red cameras of three bright stars, and it
goes by the counts as they came out, noise included (tilde): errors and residuals correlate, by 0.3 where the sky
dominates and by 0.9 where the star does. Counts are many, so a normal distribution stands for Poisson's.

References:
    Bolton & Schlegel (2010), PASP 122, 248, for the extraction; Dawson et al. (2013), AJ 145, 10, for the survey.
"""

from dataclasses import dataclass, fields, replace
from typing import Self

import numpy as np
import torch
from numpy.polynomial.legendre import legvander
from numpy.typing import NDArray
from scipy.sparse import csr_array, diags_array
from torch import Tensor

from ...io.resample import TOLERANCE, overlap_matrix
from ...spectrum import Grid
from .protocol import Detector
from .sdss_site import REFERENCE_AIRMASS, CameraFacts, airglow, dark_sky, extinction, moonlight

__all__ = ["Band", "Camera", "Weather"]

CALIBRATION_ORDER = 3
NODE, BLUR = 2, 1.2  # of sky residuals: pixels between nodes, standard deviation of their kernel in pixels


def moved(instance: object, device: torch.device | str) -> object:
    """A frozen dataclass whose tensors, and those of its parts, are on a device."""
    values = {f.name: getattr(instance, f.name) for f in fields(instance)}
    return replace(instance, **{k: v.to(device) for k, v in values.items() if hasattr(v, "to")})


@dataclass(frozen=True, eq=False)
class Band:
    """A linear map whose rows have few, consecutive entries.

    Arguments:
        start: First column of each row, shape (R,).
        weights: Shape (K, R).
    """

    start: Tensor
    weights: Tensor

    @classmethod
    def of(cls, matrix: csr_array) -> Self:
        """The band of a sparse matrix, none of whose rows is empty."""
        matrix = csr_array(matrix)
        matrix.sort_indices()
        start, length = matrix.indices[matrix.indptr[:-1]], np.diff(matrix.indptr)
        width = int((matrix.indices[matrix.indptr[1:] - 1] - start).max()) + 1
        start = np.minimum(start, matrix.shape[1] - width)
        weights = np.zeros((width, matrix.shape[0]))
        row = np.repeat(np.arange(matrix.shape[0]), length)
        weights[matrix.indices - start[row], row] = matrix.data
        return cls(torch.from_numpy(start.astype(np.int64)), torch.from_numpy(weights).float())

    def __call__(self, x: Tensor) -> Tensor:
        """Rows of a product: (*, N) to (*, R)."""
        columns = x.movedim(-1, 0).reshape(x.shape[-1], -1)  # whole rows are picked much faster than single numbers
        total = columns.index_select(0, self.start) * self.weights[0][:, None]
        for k in range(1, len(self.weights)):
            total = total + columns.index_select(0, self.start + k) * self.weights[k][:, None]
        return total.view(-1, *x.shape[:-1]).movedim(0, -1)

    def squared(self) -> "Band":
        """The map of variances."""
        return Band(self.start, self.weights**2)

    def to(self, device: torch.device | str) -> Self:
        """The same map on a device."""
        return moved(self, device)


@dataclass(frozen=True, eq=False)
class Weather:
    """Conditions of each exposure, all of shape (B, E, 1).

    Arguments:
        throughput: Share of the reference throughput that seeing and clouds leave.
        airmass: Above `REFERENCE_AIRMASS`.
        dark: Brightness of the moonless sky between its lines, 1 as usual.
        moon: Scattered moonlight at 5500 Å, 1e-17 erg/s/cm²/Å in a fibre.
        glow: Strength of the sky's lines, 1 as usual.
    """

    throughput: Tensor
    airmass: Tensor
    dark: Tensor
    moon: Tensor
    glow: Tensor


def _pixels(facts: CameraFacts) -> NDArray:
    """log10 wavelengths of the pixels' centres, as single precision holds them: files have no more."""
    fine = np.arange(*facts.range_A, 0.1)
    number = np.concatenate([[0.0], np.cumsum(0.1 / np.interp(fine, *zip(*facts.pixel_A, strict=True)))[:-1]])
    return np.log10(np.interp(np.arange(int(number[-1])), number, fine)).astype(np.float32).astype(float)


def _blur(size: int) -> csr_array:
    """Independent nodes to a field of unit variance that is correlated over a few pixels, shape (size, nodes)."""
    nodes = np.arange(-2 * NODE, size + 2 * NODE, NODE)
    kernel = np.exp(-0.5 * ((np.arange(size)[:, None] - nodes) / BLUR) ** 2)
    kernel[kernel < 1e-3] = 0.0
    return csr_array(kernel / np.sqrt((kernel**2).sum(1, keepdims=True)))


@dataclass(frozen=True, eq=False)
class Camera:
    r"""A camera's N pixels and its way to R consecutive pixels of the output grid.

    Arguments:
        facts: Its numbers.
        detector: Pixels and line-spread function.
        loglam: log10 of the pixels' centres in vacuum Å, shape (N,), double precision.
        gain: Electrons for a unit of flux at the reference, (N,).
        extinction: Magnitudes per airmass, (N,).
        dark: Moonless sky between the lines, (N,), 1e-17 erg/s/cm²/Å in a fibre.
        moon: Moonlight, 1 at 5500 Å, (N,).
        glow: Lines of the sky, (N,), 1e-17 erg/s/cm²/Å in a fibre.
        basis: Legendre polynomials, shape (1 + CALIBRATION_ORDER, N).
        blur: Nodes to correlated residuals of the sky's lines, unit variance.
        onto: Flux on the camera's pixels to the output pixels that it covers.
        onto_variance: The same for variances of independent pixels.
        residual: Standard deviation on those of what a share 1 of the lines leaves, shape (R,).
        nearest: The camera's pixel nearest to each, shape (R,).
        first: The first of them.
    """

    facts: CameraFacts
    detector: Detector
    loglam: Tensor
    gain: Tensor
    extinction: Tensor
    dark: Tensor
    moon: Tensor
    glow: Tensor
    basis: Tensor
    blur: Band
    onto: Band
    onto_variance: Band
    residual: Tensor
    nearest: Tensor
    first: int

    @classmethod
    def of(cls, facts: CameraFacts, grid: Grid) -> Self:
        """A camera over an output grid."""
        loglam = _pixels(facts)
        native = Grid(10.0**loglam)
        x, width = native.wavelength, np.diff(native.edges)
        total = np.interp(x, *zip(*facts.wdisp, strict=True)) * 1e-4 * np.log(10) * x
        sigma = np.sqrt(total**2 - width**2 / 12)
        share = overlap_matrix(native, grid)
        rows = np.flatnonzero(share.sum(1) > 1.0 - TOLERANCE)
        share, glow, blur = share[rows], airglow(native.edges, sigma), _blur(native.size)
        residual = share @ diags_array(glow) @ blur
        onto = Band.of(share)
        arrays = {
            "gain": np.interp(x, *zip(*facts.throughput, strict=True)) * width,
            "extinction": extinction(x),
            "dark": dark_sky(x),
            "moon": moonlight(x),
            "glow": glow,
            "basis": legvander(np.linspace(-1, 1, native.size), CALIBRATION_ORDER).T,
            "residual": np.sqrt(residual.power(2).sum(1)),
        }
        return cls(
            facts=facts,
            detector=Detector(facts.name, torch.from_numpy(native.edges), torch.from_numpy(sigma)),
            loglam=torch.from_numpy(loglam),
            blur=Band.of(blur),
            onto=onto,
            onto_variance=onto.squared(),
            nearest=torch.from_numpy(np.clip(np.searchsorted(x, grid.wavelength[rows]), 0, native.size - 1)),
            first=int(rows[0]),
            **{key: torch.from_numpy(np.asarray(value)).float() for key, value in arrays.items()},
        )

    @property
    def size(self) -> int:
        """The number of pixels N."""
        return len(self.gain)

    def to(self, device: torch.device | str) -> Self:
        """The same camera on a device."""
        detector = replace(self.detector, edges=self.detector.edges.to(device), sigma=self.detector.sigma.to(device))
        return moved(replace(self, detector=detector), device)

    def throughput(self, weather: Weather) -> Tensor:
        """Electrons for a unit of flux, shape (B, E, N)."""
        air = torch.exp(-0.4 * np.log(10) * self.extinction * (weather.airmass - REFERENCE_AIRMASS))
        return self.gain * weather.throughput * air

    def sky(self, weather: Weather) -> Tensor:
        """Flux of the sky, shape (B, E, N)."""
        return weather.dark * self.dark + weather.moon * self.moon + weather.glow * self.glow
