r"""Moonlight scattered by the atmosphere (Krisciunas & Schaefer 1991).

A moon of phase :math:`\phi` (0 new, 0.5 full), phase angle :math:`\alpha = 360°\,|\phi - 1/2|`, at zenith angle
:math:`Z_m` and at :math:`\rho` from a target at :math:`Z` adds the brightness

.. math::

    B &= (f_R(\rho)\,s_R(\lambda) + f_M(\rho)\,s_M(\lambda))\; I^*(\alpha)\; 10^{-0.4 k X(Z_m)}\;(1 - 10^{-0.4 k X(Z)}),

    f_R &= 10^{5.36}\,(1.06 + \cos^2\rho), \quad f_M = 10^{6.15 - \rho/40°}, \quad
    I^* = 10^{-0.4 (3.84 + 0.026\,|\alpha| + 4\cdot 10^{-9} \alpha^4)}, \quad X = (1 - 0.96 \sin^2 Z)^{-1/2},

in nanolambert at V. The colours :math:`s_R` and :math:`s_M` are those of sunlight times the Rayleigh and the aerosol part's
dependence on wavelength, 1 at 550 nm.

References:
    Krisciunas & Schaefer 1991, PASP 103, 1033, doi:10.1086/132921, equations 3, 15, 18, 20, 21.
"""

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

__all__ = ["airmass", "moonlight_brightness", "moonlight_colours", "moonlight_factors"]

EXTINCTION_V = 0.12  # mag per airmass at 550 nm, Mauna Kea
RAYLEIGH = 2.29e5
SUN_NM = 2480.0  # h c / (k 5800 K): sunlight as a black body's photons
SLOPES = (-7.0, -4.3)  # powers of the wavelength, Rayleigh and aerosols, sunlight's own -3 included
PHOTONS = 5.48e10 / 550.0 / 3.408e10  # photons/s/m²/arcsec²/nm at 550 nm of a nanolambert
REFERENCE_NM = 800.0  # where the two parts are added to one brightness


def airmass(zenith_deg: Tensor) -> Tensor:
    """Airmass of a scattering or glowing layer (van Rhijn's formula with a layer 130 km up), any shape."""
    return (1 - 0.96 * torch.deg2rad(zenith_deg).sin().square()).rsqrt()


def _transmission(zenith_deg: Tensor) -> Tensor:
    return torch.pow(10.0, -0.4 * EXTINCTION_V * airmass(zenith_deg))


def moonlight_factors(moon: Tensor) -> Tensor:
    r"""What the moon sends into the atmosphere above the target, Rayleigh and aerosol part.

    Arguments:
        moon: Zenith angle and angle to the target in degrees, and phase, shape :math:`(B, 3)`.

    Returns:
        :math:`f I^* 10^{-0.4 k X(Z_m)}` of both parts, shape :math:`(B, 2)`; 0 where the moon is at 90° or below.
    """
    zenith, target, phase = moon.unbind(-1)
    alpha = 360 * (phase - 0.5).abs()
    intensity = torch.pow(10.0, -0.4 * (3.84 + 0.026 * alpha + 4e-9 * alpha**4))
    intensity = intensity * torch.where(alpha < 7, 1.35 - 0.05 * alpha, 1.0)  # the opposition effect
    rayleigh = RAYLEIGH * (1.06 + torch.deg2rad(target).cos().square())
    aerosol = torch.pow(10.0, 6.15 - target / 40)
    up = torch.where(zenith < 90, intensity * _transmission(zenith), 0.0)
    return torch.stack([rayleigh, aerosol], -1) * up[..., None]


def moonlight_colours(wavelength_nm: NDArray) -> NDArray:
    """Photons per second, m², arcsec² and nm for a factor of 1 of either part, shape (2, D)."""
    sunlight = np.expm1(SUN_NM / 550.0) / np.expm1(SUN_NM / wavelength_nm)
    return PHOTONS * np.stack([sunlight * (wavelength_nm / 550.0) ** slope for slope in SLOPES])


def moonlight_brightness(moon: Tensor, zenith_deg: Tensor | None = None) -> Tensor:
    r"""Moonlight at 800 nm, both parts together, photons/s/m²/arcsec²/nm.

    Arguments:
        moon: As in `moonlight_factors`, shape :math:`(B, 3)`.
        zenith_deg: Zenith angle of the target, shape :math:`(B,)`. Without it the factor
            :math:`1 - 10^{-0.4 k X(Z)}` is left out: what remains depends on the moon alone.
    """
    colours = torch.from_numpy(moonlight_colours(np.array([REFERENCE_NM]))[:, 0]).to(moon)
    bright = moonlight_factors(moon) @ colours
    return bright if zenith_deg is None else bright * scattered(zenith_deg)


def scattered(zenith_deg: Tensor) -> Tensor:
    """Share of moonlight that the air in front of the target scatters: the last factor of the equation."""
    return 1 - _transmission(zenith_deg)
