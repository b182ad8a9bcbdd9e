r"""Telescope, fibre and spectrograph of the Prime Focus Spectrograph's red medium-resolution arm.

An object of flux density :math:`f_\lambda` above the atmosphere gives, in an exposure of :math:`t` seconds,

.. math:: S = t\, A(F)\, a(s, F, \lambda)\, \eta(\lambda)\, T(\lambda, z)\, \frac{\lambda}{hc}\, \Delta\lambda\, f_\lambda

electrons a pixel: collecting area :math:`A` at field angle :math:`F` (obscuration and vignetting), fraction :math:`a` of a
point source's light that enters the fibre in seeing :math:`s`, end-to-end efficiency :math:`\eta` (mirror, corrector, fibre,
spectrograph, detector, five-pixel extraction), atmospheric transmission :math:`T`. The fibre's fraction is the encircled
energy of a Kolmogorov profile blurred by the optics, a distance :math:`d = 0.1''` off the fibre's axis,

.. math::

    a = 2\pi R \int_0^\infty J_1(2\pi u R)\, J_0(2\pi u d)\, e^{-(u/u_s)^{5/3} - 2\pi^2 \sigma^2 u^2 - 4 u \theta / \pi}\, du,
    \quad u_s = \frac{0.465}{s} \left(\frac{\lambda}{800\,\mathrm{nm}}\right)^{1/5}.

A line's profile on the detector is the fibre's image (a disc) blurred by the camera, by the scatter of the grating and by the
pixel, each a factor of its Fourier transform.

The optical layout is that of the calculator's public instrument file of 2024-07-14; :math:`\eta` was fitted to runs of the
calculator (`docs/pfs_mr.md`).

References:
    Tamura et al. 2016, arXiv:1608.01075; Hirata et al. 2012, arXiv:1204.5151, section 3 (the calculator's method).
"""

from functools import cache

import numpy as np
from numpy.polynomial import chebyshev, polynomial
from numpy.typing import NDArray
from scipy.special import j0, j1

__all__ = [
    "FIELD_DEG",
    "SEEING_ARCSEC",
    "STEP_NM",
    "WAVELENGTH_NM",
    "collecting_area",
    "deposit",
    "efficiency",
    "fibre_area",
    "fibre_fraction",
    "lsf_sigma",
]

PIXELS = 4096
STEP_NM = 0.042724609375
WAVELENGTH_NM = 710.0 + STEP_NM * np.arange(PIXELS)  # centres, vacuum
SEEING_ARCSEC, FIELD_DEG = (0.3, 2.5), (0.0, 0.675)  # where the model is meant to hold

# At five field angles from the axis to 0.65°: focal length in m, rms spot in µm, vignetting; smooth in between.
NODES_DEG = np.linspace(0, 0.65, 5)
FOCAL_LENGTH = polynomial.polyfit(NODES_DEG, [23.39, 23.92, 24.48, 25.07, 25.68], 2)
SPOT = polynomial.polyfit(NODES_DEG, [7.1, 8.4, 9.7, 11.2, 13.2], 3)
VIGNETTING = polynomial.polyfit(NODES_DEG, [0.94, 0.90, 0.84, 0.78, 0.71], 3)
MIRROR_M, CENTRAL = 8.3, 0.22  # diameter, and of it the central obscuration
BLOCKED = (0.27, 0.36 - 0.27, 0.675, 0.19)  # by the instrument: on axis, more at the edge, the edge, already counted
FIBRE_UM, OFFSET_ARCSEC = 63.5, 0.10  # radius at the entrance; how far off the star is
ARCSEC_PER_URAD = 0.20626480624709636

# Chebyshev coefficients over 710 to 885 nm. Fitted: `python docs/fit_pfs_mr.py`.
# fmt: off
EFFICIENCY = (
    0.264244, -0.0232802, -0.00997589, 0.00221058, 0.00115224, 0.00134297, -0.000642883, 0.000282844,
    -0.00149867, -0.000101074, 0.00139462, -0.000947432, 0.000301034, 0.000264808, -0.00115692, 0.000204606, 0.00104562,
)
# fmt: on
LSF_SIGMA_NM = (
    0.0550495,
    0.000389726,
    0.000125222,
    4.74204e-05,
    1.33812e-05,
    2.62881e-06,
    2.90156e-07,
)  # of the best Gaussian, pixel excluded

DISC_PIX, GRATING_LINES = 47.0 / 15.0, 5.57e4  # the fibre's image; lines lit on the grating
CAMERA_PIX = (0.9403, 0.9550)  # rms spot of camera and detector at both ends of the arm
REACH_PIX = 24  # how far a line's profile is followed


def _unit(wavelength_nm: NDArray) -> NDArray:
    """The arm from -1 to 1."""
    return (wavelength_nm - 797.5) / 87.5


def efficiency(wavelength_nm: NDArray) -> NDArray:
    """Efficiency from the primary mirror to extracted electrons, same shape."""
    return chebyshev.chebval(_unit(wavelength_nm), EFFICIENCY)


def lsf_sigma(wavelength_nm: NDArray) -> NDArray:
    """Standard deviation of the Gaussian nearest to the line-spread function, pixel box excluded, nm."""
    return chebyshev.chebval(_unit(wavelength_nm), LSF_SIGMA_NM)


def collecting_area(field_deg: NDArray) -> NDArray:
    """Mirror area times vignetting and obscuration, m²; arrays or tensors."""
    blocked = BLOCKED[0] + BLOCKED[1] * field_deg / BLOCKED[2]
    mirror = np.pi / 4 * MIRROR_M**2 * (1 - CENTRAL**2) / (1 - BLOCKED[3])
    return mirror * (1 - blocked) * _horner(VIGNETTING, field_deg)


def fibre_area(field_deg: NDArray) -> NDArray:
    """Area of sky that a fibre sees, arcsec²; arrays or tensors."""
    return np.pi * (FIBRE_UM * ARCSEC_PER_URAD / _horner(FOCAL_LENGTH, field_deg)) ** 2


def _horner(coefficients: NDArray, x: NDArray) -> NDArray:
    value = 0.0 * x
    for coefficient in coefficients[::-1]:
        value = value * x + float(coefficient)
    return value


def fibre_fraction(seeing_arcsec: NDArray, field_deg: NDArray, wavelength_nm: NDArray) -> NDArray:
    """Fraction of a point source's light that enters the fibre; arguments broadcast."""
    focal = _horner(FOCAL_LENGTH, field_deg)[..., None]
    radius = FIBRE_UM * ARCSEC_PER_URAD / focal
    sigma = _horner(SPOT, field_deg)[..., None] * ARCSEC_PER_URAD / focal
    theta = 1e-3 * wavelength_nm[..., None] / MIRROR_M / (1 - CENTRAL) * ARCSEC_PER_URAD
    cut = 0.465 / seeing_arcsec[..., None] * (wavelength_nm[..., None] / 800.0) ** 0.2
    node, weight = np.polynomial.legendre.leggauss(80)
    u, du = 2.0 * (node + 1), 2.0 * weight  # to 4 cycles per arcsec, where the best seeing has faded
    transfer = np.exp(-((u / cut) ** (5 / 3)) - 2 * (np.pi * sigma * u) ** 2 - 4 / np.pi * u * theta)
    disc = 2 * np.pi * radius * j1(2 * np.pi * u * radius) * j0(2 * np.pi * u * OFFSET_ARCSEC)
    return (transfer * disc * du).sum(-1)


@cache
def _profiles(boxes: int) -> tuple[NDArray, NDArray]:
    """Offsets in pixels, and there the pixel-integrated profile of a line at both ends of the arm."""
    offset = np.arange(-REACH_PIX - 1, REACH_PIX + 1.01, 0.05)
    u = (np.arange(1000) + 0.5) * 0.005
    rows = []
    for wavelength, spot in zip((WAVELENGTH_NM[0], WAVELENGTH_NM[-1]), CAMERA_PIX, strict=True):
        disc = 2 * j1(np.pi * DISC_PIX * u) / (np.pi * DISC_PIX * u)
        blur = np.exp(-2 * (np.pi * spot * u) ** 2 - wavelength / STEP_NM / GRATING_LINES * u)
        rows.append(0.01 * np.cos(2 * np.pi * np.outer(offset, u)) @ (disc * blur * np.sinc(u) ** boxes))
    return offset, np.stack(rows)


def line_profile(pixel: float, *, boxes: int = 1) -> tuple[NDArray, NDArray]:
    """Which pixels a line at a (fractional) pixel lights, and what fraction of it each gets.

    Arguments:
        pixel: Where the line is.
        boxes: How often the profile is averaged over a pixel; once, unless a table was smoothed further.
    """
    offset, (first, last) = _profiles(boxes)
    index = np.arange(round(pixel) - REACH_PIX, round(pixel) + REACH_PIX + 1)
    share = pixel / PIXELS
    return index, np.interp(index - pixel, offset, (1 - share) * first + share * last)


def deposit(wavelength_nm: NDArray, strength: NDArray) -> NDArray:
    """Lines on the detector: the sum of their profiles times their strengths, shape (D,)."""
    total = np.zeros(PIXELS)
    for pixel, value in zip((wavelength_nm - WAVELENGTH_NM[0]) / STEP_NM, strength, strict=True):
        index, profile = line_profile(float(pixel))
        inside = (index >= 0) & (index < PIXELS)
        total[index[inside]] += value * profile[inside]
    return total
