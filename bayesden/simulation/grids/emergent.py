r"""Flux that leaves a plane-parallel atmosphere.

With a source function that is linear in optical depth between the depths, the formal solution is

.. math:: F = 2\pi \int_0^\infty S(t)\,E_2(t)\,dt
    = 2\pi \Big[\tfrac12 S_0 + \sum_k \frac{S_{k+1} - S_k}{t_{k+1} - t_k}\,[E_4(t_k) - E_4(t_{k+1})]\Big],

the last slope kept to infinity. For :math:`S = a + bt` it is the Eddington-Barbier relation :math:`F = \pi S(\tfrac23)`, exactly:
the exponential integral is a Gauss sum over three directions, :math:`E_4(t) = \int_0^1 \mu^2 e^{-t/\mu} d\mu`, exact at t = 0.

References:
    Mihalas (1978), Stellar Atmospheres, section 1-4.
"""

import numpy as np
from numpy.typing import NDArray

from .elements import HC_OVER_K, PLANCK, C

__all__ = ["emergent_flux", "planck"]

NODES, WEIGHTS = np.polynomial.legendre.leggauss(3)
DIRECTIONS = (NODES + 1) / 2
AMPLITUDES = WEIGHTS / 2 * DIRECTIONS**2
DEEPEST = 60.0  # optical depth beyond which nothing leaves


def planck(wavelength: NDArray, temperature: NDArray) -> NDArray:
    r"""Planck's :math:`B_\lambda`, erg/s/cm²/sr/Å, shape (M, W), from Å (W,) and K (M,)."""
    x = HC_OVER_K * 1e8 / np.multiply.outer(temperature, wavelength)
    return 2 * PLANCK * C**2 * 1e32 / wavelength**5 / np.expm1(x)


def _e4(depth: NDArray) -> NDArray:
    return sum(
        a * np.exp(depth * np.float32(-1 / mu)) for a, mu in zip(AMPLITUDES.astype(np.float32), DIRECTIONS, strict=True)
    )


def emergent_flux(source: NDArray, opacity: NDArray, mean: NDArray, depth: NDArray) -> NDArray:
    r"""Formal solution.

    Arguments:
        source: Source function, shape :math:`(Z, W)`, per steradian.
        opacity: Same shape.
        mean: The opacity that the depths refer to, shape :math:`(Z,)`.
        depth: Optical depths, ascending, shape :math:`(Z,)`.

    Returns:
        Flux through the surface, shape :math:`(W,)`, in the unit of the source function times sr; single precision.
    """
    ratio = (opacity / mean[:, None]).astype(np.float32)
    source = source.astype(np.float32)
    t = ratio[0] * np.float32(depth[0])
    flux = source[0] / 2
    before = _e4(t)
    for k in range(1, len(depth)):
        step = (ratio[k] + ratio[k - 1]) * np.float32((depth[k] - depth[k - 1]) / 2)
        slope = (source[k] - source[k - 1]) / step
        t = np.minimum(t + step, np.float32(DEEPEST))
        after = _e4(t)
        flux += slope * (before - after)
        before = after
    return 2 * np.pi * (flux + slope * before)
