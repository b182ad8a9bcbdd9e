r"""The sky above Mauna Kea from 710 to 885 nm: what it takes from a star's light and what it adds.

Transmission at zenith angle :math:`z`, :math:`X = \sec z`: extinction :math:`k` times absorption bands,

.. math:: T = 10^{-0.4 k(\lambda) X} \exp(-\tau_{\mathrm{O}_2}(\lambda) X^{1/2} - \tau_{\mathrm{H}_2\mathrm{O}}(\lambda) X^{0.7}),
    \quad e^{-\tau} = 1 - \sum_i W_i\, \mathrm{LSF}(\lambda - \lambda_i),

with equivalent widths :math:`W_i` of the lines of each species at the zenith. The exponents stand for the curve of growth: the
lines of the oxygen A band are saturated, those of water partly.

Emission: airglow lines and continuum, brighter towards the horizon by van Rhijn's factor :math:`V(z)` as the layer is seen
aslant (`moonlight.airmass`), and dimmed on their way down. Moonlight is in `moonlight`.

Both line lists and the continuum were fitted to runs of the PFS exposure-time calculator (`docs/pfs_mr.md`). The lists are
effective ones: lines closer than half a resolution element are one.
"""

from functools import cache
from importlib.resources import files

import numpy as np
from numpy.polynomial import chebyshev
from numpy.typing import NDArray

from .pfs_optics import WAVELENGTH_NM, deposit

__all__ = ["continuum", "extinction", "night_sky", "read_lines", "transmission", "van_rhijn"]

EXTINCTION = ((700.0, 800.0, 900.0), (0.10, 0.07, 0.05))  # mag per airmass (CFHT Observers' Manual)
GROWTH = {"O2": 0.5, "H2O": 0.7}  # powers of the airmass
# Chebyshev coefficients, 710 to 885 nm, of the log of photons/s/m²/arcsec²/nm at the zenith. Fitted: `docs/fit_pfs_mr.py`.
CONTINUUM = (-1.36585, 0.0954508, 0.0137482, -0.00491127, -5.91699e-06)


def extinction(wavelength_nm: NDArray) -> NDArray:
    """Extinction outside of bands, mag per airmass."""
    return np.interp(wavelength_nm, *EXTINCTION)


def van_rhijn(zenith_deg: float) -> float:
    """How much brighter a thin layer at 130 km is at a zenith angle than at the zenith."""
    return float((1 - 0.96 * np.sin(np.radians(zenith_deg)) ** 2) ** -0.5)


def continuum(wavelength_nm: NDArray) -> NDArray:
    """Continuum of the moonless sky at the zenith, photons/s/m²/arcsec²/nm."""
    return np.exp(chebyshev.chebval((wavelength_nm - 797.5) / 87.5, CONTINUUM))


@cache
def read_lines(name: str) -> dict[str, NDArray]:
    """One of the line lists beside this file: by species, vacuum wavelengths in nm and strengths, shape (2, N)."""
    text = files(__package__).joinpath(f"{name}.txt").read_text(encoding="utf-8")
    rows = [line.split() for line in text.splitlines() if not line.startswith("#")]
    species = dict.fromkeys(row[2] for row in rows)
    return {s: np.array([row[:2] for row in rows if row[2] == s], dtype=float).T for s in species}


@cache
def _depth(species: str) -> NDArray:
    """Effective optical depth of a species at the zenith, at the spectrograph's resolution, shape (D,)."""
    absorbed = deposit(*read_lines("telluric")[species])
    return -np.log1p(-absorbed.clip(0, 0.99))


@cache
def _airglow() -> NDArray:
    """Photons/s/m²/arcsec² a pixel of the airglow lines at the zenith above the atmosphere, shape (D,)."""
    return sum(deposit(*lines) for lines in read_lines("airglow").values())


def transmission(zenith_deg: float) -> NDArray:
    """Atmospheric transmission at the spectrograph's resolution, shape (D,)."""
    x = 1 / np.cos(np.radians(zenith_deg))
    bands = sum(_depth(species) * x**power for species, power in GROWTH.items())
    return np.exp(-bands - 0.4 * np.log(10) * extinction(WAVELENGTH_NM) * x)


def night_sky(zenith_deg: float, step_nm: float) -> NDArray:
    """Light of the moonless sky at the telescope, photons/s/m²/arcsec² a pixel, shape (D,)."""
    layer = van_rhijn(zenith_deg)
    lines = _airglow() * 10 ** (-0.4 * extinction(WAVELENGTH_NM) * layer)
    return layer * (lines + step_nm * continuum(WAVELENGTH_NM) * transmission(zenith_deg))
