r"""Cosmic rays in one of several exposures, recognised from the others.

An exposure's pixel is compared with the mean of the other exposures after their running ratio, the flux calibration, is
divided out. What is left, less its own running level, over its error,

.. math:: z = \frac{y_e - \bar y_{-e}}{\varsigma \sqrt{v_e + v_{-e}}} - \text{level}, \qquad
          v = \sigma^2 + (\kappa\, |s - \breve s|)^2,

has a tolerance for what calibration, resolution and wavelengths do to lines, a share :math:`\kappa` of how far the star
:math:`s` is from its smooth surroundings :math:`\breve s` (both from the lower median of the exposures, which a cosmic ray does
not move), and the scatter :math:`\varsigma \ge 1` of the exposure's own surroundings. The worst exposure of a pixel goes first,
at most half of them; of two that disagree it is the one that also stands out from its own neighbours. A pixel that is found is
masked for the fit: what it holds is no information about the star.

It is meant to be cautious: Student-t noise with :math:`\nu = 5` reaches the limit in less than one of :math:`10^4` pixels, and
what is below is left to the heavy tails of the noise. An exposure that would lose more than a few percent of its pixels is not
hit but different, and keeps them all, as does a lone exposure.
"""

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import median_filter

from ..spectrum import Observation
from .noise_context import smooth
from .residuals import against_others

__all__ = ["cosmic_rays", "without_cosmic_rays"]

SIGMA = 11.0
WINGS = 4.0  # neighbours of a hit beyond this belong to it
TOLERANCE = 0.1  # of a line's depth
MOST = 0.03  # of an exposure's pixels
NEIGHBOURS = 11  # pixels
BRIGHT = 10.0  # signal-to-noise ratio per pixel


def _lower_median(flux: NDArray, good: NDArray) -> NDArray:
    """Over the good exposures of each pixel, the fainter of the middle two if their number is even; 0 without any."""
    count = good.sum(0)
    ranked = np.sort(np.where(good, flux, np.inf), axis=0)
    middle = ranked[np.maximum(count - 1, 0) // 2, np.arange(flux.shape[1])]
    return np.where(count > 0, middle, 0.0)


def _deviation(flux: NDArray, ivar: NDArray, usable: NDArray) -> tuple[NDArray, NDArray]:
    r"""How far each exposure is from the others, :math:`|z \varsigma|`, and the scatter :math:`\varsigma`."""
    eps, known = against_others(flux, ivar, usable)
    z = eps * np.sqrt(ivar)
    z = np.abs(z - smooth(z, known))
    return np.where(known, z, 0.0), np.maximum(1.4826 * smooth(z, known), 1.0)


def _local_ratio(flux: NDArray, ivar: NDArray, good: NDArray) -> NDArray:
    """Each exposure's running ratio to the star; 1 where the star is too faint to say."""
    star = smooth(_lower_median(flux, good)[None], good.any(0)[None])
    level, error = smooth(flux, good), smooth(ivar, good)
    bright = (star * np.sqrt(error) > BRIGHT) & (level * np.sqrt(error) > BRIGHT)
    return np.where(bright, level / np.where(bright, star, 1.0), 1.0)


def _calibrated(obs: Observation) -> tuple[NDArray, NDArray]:
    """Flux and ivar of all exposures on one smooth scale."""
    coadd, total = obs.coadd()
    amplitude = np.abs(smooth(coadd[None], total[None] > 0)).mean()
    amplitude = float(np.maximum(amplitude, 0.1 / np.sqrt(np.median(total[total > 0]))))
    # as the model's data: what is beyond has no finite square
    flux, ivar = np.clip(obs.flux / amplitude, -1e6, 1e6), np.minimum(obs.ivar * amplitude**2, 1e12)
    local = _local_ratio(flux, ivar, ~obs.mask)
    return flux / local, ivar * local**2


def cosmic_rays(obs: Observation) -> NDArray:
    """Which pixels of which exposures the other exposures show to be hit.

    Arguments:
        obs: Exposures of one star; with a single one nothing is found.

    Returns:
        Shape :math:`(E, D)`, boolean.
    """
    good = ~obs.mask
    hit = np.zeros(obs.flux.shape, bool)
    if (good.sum(0) < 2).all():
        return hit
    flux, ivar = _calibrated(obs)
    star = _lower_median(flux, good)
    line = np.abs(star - smooth(star[None], good.any(0)[None])[0])
    ivar = np.where(good, ivar / (1.0 + ivar * (TOLERANCE * line) ** 2), 0.0)
    own = np.abs(flux - median_filter(flux, (1, NEIGHBOURS), mode="nearest")) * np.sqrt(ivar)
    pair = (good.sum(0) == 2) & good
    pixel = np.arange(flux.shape[1])
    for _ in range(len(flux) // 2):
        z, scatter = _deviation(flux, ivar, good & ~hit)
        worst = np.where(pair, own, np.where(hit, 0.0, z)).argmax(0)
        found = (z / scatter)[worst, pixel] > SIGMA
        found &= ~hit[worst, pixel] & (hit.sum(0) < good.sum(0) // 2)
        hit[worst[found], pixel[found]] = True
        if not found.any():
            break
    if not hit.any():
        return hit
    beside = np.zeros_like(hit)
    beside[:, 1:] |= hit[:, :-1]
    beside[:, :-1] |= hit[:, 1:]
    z, scatter = _deviation(flux, ivar, good & ~hit)
    hit |= beside & good & (z / scatter > WINGS) & (hit.sum(0) == 0)
    return hit & (hit.sum(1, keepdims=True) <= MOST * good.sum(1, keepdims=True))


def without_cosmic_rays(obs: Observation) -> Observation:
    """The same star with those pixels masked; the very same observation if there are none."""
    hit = cosmic_rays(obs)
    return replace(obs, mask=obs.mask | hit) if hit.any() else obs
