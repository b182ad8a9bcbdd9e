r"""Spectra of grey atmospheres on wavelengths that are uniform in their logarithm.

The spectrum is computed on a lattice in :math:`x = \ln\lambda` that is fine, :math:`\delta x = 3.5\times10^{-6}` (1 km/s), in
windows around line centres and four times coarser between them, where only wings, bands and the continuum vary. What is returned
is the average of :math:`F_\lambda` over each cell of the wanted wavelengths, by exact integration of the straight lines between
lattice points: equivalent widths do not depend on the cell.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from .atmosphere import DEPTHS, Atmospheres
from .bands import Bands
from .continuum import continuum
from .emergent import emergent_flux, planck
from .equilibrium import Gas
from .hydrogen_lines import HydrogenLines, wavelengths
from .line_list import read_lines
from .metal_lines import CORE, MetalLines

__all__ = ["Synthesis"]

FINE = 3.5e-6  # lattice step around lines, in ln λ
COARSE = 4  # fine steps in one step between lines
HALF = int(np.ceil(CORE / FINE)) + 1  # fine steps on each side of a line
HIDDEN = 5.0  # Rosseland optical depth below which a line cannot be seen
SMOOTH = 2e-3  # step of the wavelengths for the continuum, in ln λ


def _lattice(low: float, high: float) -> NDArray:
    """Points of ln λ, shape (W,), that cover low to high and the windows of all lines between them."""
    first, last = int(np.floor(low / FINE)) - 3 * HALF, int(np.ceil(high / FINE)) + 3 * HALF
    keep = np.zeros(last - first + 1, bool)
    keep[::COARSE] = keep[-1] = True
    ends = np.exp([low - HALF * FINE, high + HALF * FINE])  # a line beyond an end may still have its core reach in
    hydrogen = np.log([line[2] for line in wavelengths(*ends)])
    for centre in np.concatenate([np.log(read_lines(*ends)[2][:, 0]), hydrogen]):
        middle = round(centre / FINE) - first
        keep[max(middle - HALF, 0) : middle + HALF + 1] = True
    return (first + np.flatnonzero(keep)) * FINE


def _hats(nodes: NDArray, points: NDArray) -> tuple[NDArray, NDArray]:
    """Where points lie between nodes: index of the lower one, and the share of the way to the next."""
    index = np.clip(np.searchsorted(nodes, points) - 1, 0, len(nodes) - 2)
    return index, (points - nodes[index]) / (nodes[index + 1] - nodes[index])


@dataclass(frozen=True, eq=False)
class Synthesis:
    """Everything about a range of wavelengths that does not depend on the star.

    Arguments:
        lattice: ln λ (vacuum Å) at which spectra are computed, shape :math:`(W,)`.
        edges: ln λ of the boundaries of the cells, shape :math:`(N + 1,)`.
        lines: Lines of metals.
        hydrogen: Lines of hydrogen.
        bands: Bands of molecules.
    """

    lattice: NDArray
    edges: NDArray
    lines: MetalLines
    hydrogen: HydrogenLines
    bands: Bands

    @classmethod
    def on(cls, loglam: NDArray) -> "Synthesis":
        r"""Prepare for cells around wavelengths whose :math:`\log_{10}` (Å) is uniform, shape (N,)."""
        x = np.asarray(loglam, float) * np.log(10)
        step = (x[-1] - x[0]) / (len(x) - 1)
        edges = x[0] + step * (np.arange(len(x) + 1) - 0.5)
        lattice = _lattice(edges[0], edges[-1])
        lines = MetalLines.on(lattice, 2 * HALF + 1, FINE)
        return cls(lattice, edges, lines, HydrogenLines.on(lattice[0], lattice[-1]), Bands.on(lattice))

    def opacity(self, gas: Gas) -> NDArray:
        """All opacity, cm²/g, single precision, shape (Z, W)."""
        nodes = np.arange(self.lattice[0], self.lattice[-1] + SMOOTH, SMOOTH)
        smooth = continuum(np.exp(nodes), gas)
        background = np.where(DEPTHS < HIDDEN, smooth.min(1), np.inf)
        out = self.lines.opacity(gas, background) + self.bands.opacity(gas)
        for x, values in ((nodes, smooth), (self.hydrogen.nodes, self.hydrogen.opacity(gas, background))):
            if values.any():
                index, share = _hats(x, self.lattice)
                share = share.astype(np.float32)
                for row, value in zip(out, values.astype(np.float32), strict=True):
                    row += value[index] + share * np.diff(value)[index]
        return out

    def spectrum(self, atmospheres: Atmospheres, index: int) -> NDArray:
        """Flux of one atmosphere in each cell, erg/s/cm²/Å at the surface, single precision, shape (N,)."""
        gas = atmospheres.gas(index)
        source = planck(np.exp(self.lattice).astype(np.float32), gas.temperature.astype(np.float32))
        opacity = self.opacity(gas)
        return self.average(emergent_flux(source, opacity, atmospheres.opacity[index], DEPTHS)).astype(np.float32)

    def average(self, flux: NDArray) -> NDArray:
        """Cell averages (N,) of what is linear between lattice points (W,)."""
        flux = flux.astype(np.float64)
        width = np.diff(self.lattice)
        running = np.concatenate([[0.0], np.cumsum((flux[1:] + flux[:-1]) / 2 * width)])
        index, share = _hats(self.lattice, self.edges)
        part = width[index] * share * (flux[index] + share / 2 * (flux[index + 1] - flux[index]))
        return np.diff(running[index] + part) / np.diff(self.edges)
