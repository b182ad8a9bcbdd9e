r"""Ages and metallicities of galaxies' spectra by pPXF, the same fit for every denoiser.

Spectra and their noise are rebinned to pixels that are equidistant in the logarithm. pPXF finds velocity and dispersion with
some of the populations, then the non-negative masses of all, without polynomials or regularisation: a third of the cost of
one fit of everything, and the same within 0.02 dex. Then

.. math:: \langle \log t \rangle = \sum_i m_i \log t_i, \qquad \langle [M/H] \rangle = \sum_i m_i [M/H]_i,

with the shares of mass :math:`m_i` (McDermid et al. 2015, MNRAS 448, 3484, eqs. 1 and 2). ppxf's own helpers that rebin do not
run with numpy 2.4.
"""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from bayesden.model.rest_frame import LIGHT_KMS
from bayesden.spectrum import Grid

from .bed import Bed
from .templates import ppxf_folder

__all__ = ["Populations", "rebin"]

MARGIN = 60  # pixels by which populations reach beyond the galaxy on both sides: ppxf asks for 2900 km/s
EVERY = 10  # population is in the fit of velocity and dispersion
START = (0.0, 150.0)  # of velocity and dispersion, km/s


def rebin(values: NDArray, edges: NDArray, wanted: NDArray) -> NDArray:
    """Means over pixels with `wanted` edges of rows (N, D) that are constant between `edges`: (N, len(wanted) - 1)."""
    total = np.concatenate([np.zeros((len(values), 1)), np.cumsum(values * np.diff(edges), 1)], 1)
    upto = np.array([np.interp(wanted, edges, row) for row in total])
    return np.diff(upto, axis=1) / np.diff(wanted)


@dataclass(frozen=True, eq=False)
class Populations:
    """Fits of a bed's galaxies.

    Arguments:
        bed: Pixels and populations.
    """

    bed: Bed

    @property
    def step(self) -> float:
        """Of the fit's pixels in ln(wavelength): as many as the bed has."""
        edges = self.bed.grid.edges
        return float(np.log(edges[-1] / edges[0]) / self.bed.grid.size)

    def _edges(self, margin: int) -> NDArray:
        size = self.bed.grid.size
        return self.bed.grid.edges[0] * np.exp(self.step * np.arange(-margin, size + margin + 1))

    @cached_property
    def _templates(self) -> tuple[NDArray, NDArray]:
        """The populations on the fit's pixels (M, T), median 1, and these pixels' wavelengths."""
        edges = self._edges(MARGIN)
        flux = rebin(self.bed.sharp, Grid(self.bed.cells).edges, edges).T
        return flux / np.median(flux), np.sqrt(edges[1:] * edges[:-1])

    def fit(self, flux: NDArray, sigma: NDArray) -> NDArray:
        """Log age / yr and [M/H], weighted with mass, of spectra (N, D) with noise of standard deviation (N, D): (N, 2)."""
        edges, wanted = self.bed.grid.edges, self._edges(0)
        flux, sigma = rebin(flux, edges, wanted), np.sqrt(rebin(sigma**2, edges, wanted))
        return np.array([self._fit(*row) for row in zip(flux, sigma, strict=True)])

    def _fit(self, flux: NDArray, sigma: NDArray) -> NDArray:
        ppxf_folder()
        from ppxf.ppxf import ppxf

        (templates, lam_temp), edges = self._templates, self._edges(0)
        data = flux / np.median(flux), sigma / np.median(flux), LIGHT_KMS * self.step
        lam = np.sqrt(edges[1:] * edges[:-1])
        options = {"degree": -1, "mdegree": 0, "moments": 2, "lam": lam, "lam_temp": lam_temp, "quiet": True}
        moving = ppxf(templates[:, ::EVERY], *data, list(START), **options)
        found = ppxf(templates, *data, moving.sol.tolist(), linear=True, linear_method="nnls", **options)
        return self.means(found.weights)

    def means(self, weight: NDArray) -> NDArray:
        """Log age and [M/H] of masses (*, T): (*, 2)."""
        axes = np.stack([self.bed.templates.log_age, self.bed.templates.metallicity], 1)
        return weight @ axes / weight.sum(-1, keepdims=True)
