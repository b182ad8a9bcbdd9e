r"""What each exposure of a star is worth for the calibration of all.

Only differences between the exposures' calibrations can be told, so the answer's calibration is by definition that of a
mean over exposures. In a plain mean one dropped fibre would drag it along. Here an exposure's share is

.. math:: q_e \propto \sum_d \sigma_{ed}^{-1} \; \Big[1 + (\delta_e / \delta_0)^8\Big]^{-1},

the square root of its information, so that no single one rules, times how well it agrees with the others: :math:`\delta_e` is
the root-mean-square distance, relative to the flux and less what its noise explains, between medians over blocks of its
pixels (those whose noise is not larger than that) and the median exposure. That is taken over all which have a signal, so
that many count more than one, and of two the one with more of it. Exposures that agree to a few percent, as sound ones do,
or that all scatter alike (:math:`\delta_0` is three times the usual distance, and at least 10 %), count as if nothing had
been asked.
"""

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ..spectrum import EXTREME

__all__ = ["agreement", "mean_of_agreeing", "rough_scale", "shares", "two_armed"]

BLOCKS = 16
FEWEST = 8  # good pixels of a block
SEEN = 3.0  # signal-to-noise ratio of a block from which it counts in the median exposure
DEPARTURE = 0.1  # of the flux, the least
WORST = 1e12  # square of a relative error, or of a departure, that still counts


def rough_scale(flux: NDArray, ivar: NDArray, trust: NDArray) -> float:
    """A rough mean |flux| of exposures (E, D) that are trusted so far (E,).

    The mean over up to 32 blocks of their medians, so that no single outlier moves it; 1 without a pixel.
    """
    weight = trust[:, None] * ivar
    total = weight.sum(0)
    good = total > 0
    if not good.any():
        return 1.0
    mean = (weight * flux).sum(0)[good] / total[good]
    blocks = [np.median(block) for block in np.array_split(mean, np.clip(good.sum() // 16, 1, 32))]
    noise = 1 / np.sqrt(total.sum())  # of the weighted mean: a floor for spectra that are all noise
    return float(max(abs(np.mean(blocks)), 0.1 * np.mean(np.abs(blocks)), noise, 1 / EXTREME))


def shares(ivar: NDArray, trust: NDArray) -> NDArray:
    """Shares of exposures (E, D), trusted so far (E,), in the calibration, of sum 1; all 0 if only one has any data."""
    information = np.sqrt(ivar).sum(1)
    if (information > 0).sum() < 2:
        return np.zeros(len(ivar))
    weight = information * trust
    return weight / weight.sum()


def two_armed(share: Tensor, ivar: Tensor, side: Tensor) -> Tensor:
    """Shares (B, E) of exposures by how much both of their arms have; as they are where no exposure has both.

    Arguments:
        share: Shares, shape (B, E).
        ivar: Shape (B, E, D).
        side: +1 in the blue arm, -1 in the red one, shape (B, E, D).
    """
    unit = ivar.sqrt()
    blue, red = ((unit * (side == sign)).sum(-1) for sign in (1, -1))
    both = share * torch.minimum(blue, red) / (blue + red).clamp_min(1e-30)
    total = both.sum(1, keepdim=True)
    return torch.where(total > 0, both / total.clamp_min(1e-30), share)


def mean_of_agreeing(flux: Tensor, ivar: Tensor, share: Tensor) -> tuple[Tensor, Tensor]:
    """Inverse-variance mean of exposures (B, E, D), each trusted as far as its share (B, E) says: (B, 1, D) twice."""
    trust = share / ivar.sqrt().sum(-1).clamp_min(1e-30)
    most = trust.max(1, keepdim=True).values
    trust = torch.where(most > 0, trust / most.clamp_min(1e-30), 1.0).unsqueeze(-1)
    weight = (trust * ivar).sum(1, keepdim=True).clamp_min(1e-30)
    variance = (trust.square() * ivar).sum(1, keepdim=True).clamp_min(1e-30) / weight.square()
    known = (ivar > 0).any(1, keepdim=True)
    return (trust * ivar * flux).sum(1, keepdim=True) / weight, torch.where(known, 1 / variance, 0.0)


def agreement(flux: NDArray, ivar: NDArray) -> NDArray:
    """How far exposures (E, D) agree with the median one and can be trusted, each from 0 to 1, shape (E,)."""
    if len(flux) == 1:
        return np.ones(1)
    level, variance = _levels(flux, ivar)
    known = np.isfinite(variance)
    ratio = np.where(known, np.abs(level) / np.sqrt(np.where(known, variance, 1.0)), 0.0)
    signal = (ratio / (SEEN + ratio)).sum(1)
    median = np.array([_weighted_median(x, np.where(k, signal, 0.0)) for x, k in zip(level.T, known.T, strict=True)])
    square = np.maximum(np.square(median), np.finfo(float).tiny)
    with np.errstate(
        over="ignore"
    ):  # a median of 0 has no relative errors; without a bound 0 times infinity would come
        noise = np.minimum(np.where(known, variance, np.inf) / square, WORST)
        excess = np.where(known, np.minimum(np.square(level - median) / square, WORST) - 2 * noise, 0.0)
    weight = 1 / (1 + noise / DEPARTURE**2)
    distance = np.clip((weight * excess).sum(1), 0.0, 1e4) / np.maximum(known.sum(1), 1)
    told = np.sort(distance[known.any(1)])  # an exposure without data says nothing of the usual
    usual = told[(len(told) - 1) // 2] if len(told) else 0.0
    return 1 / (1 + (distance / max(DEPARTURE**2, 9 * usual)) ** 4)


def _levels(flux: NDArray, ivar: NDArray) -> tuple[NDArray, NDArray]:
    """Medians over blocks of good pixels and their variances, (E, blocks); the variance of a block without is infinite."""
    level, variance = np.zeros((2, len(flux), BLOCKS))
    variance[:] = np.inf
    for b, pixels in enumerate(np.array_split(np.arange(flux.shape[1]), BLOCKS)):
        for e in range(len(flux)):
            good = pixels[ivar[e, pixels] > 0]
            if len(good) >= min(FEWEST, len(pixels)) > 0:
                level[e, b] = np.median(flux[e, good])
                variance[e, b] = np.pi / 2 / ivar[e, good].sum()
    return level, variance


def _weighted_median(values: NDArray, weight: NDArray) -> float:
    """The value that half of the weight is below; 0 without any weight."""
    order = np.argsort(values, kind="stable")
    running = np.cumsum(weight[order])
    return float(values[order][np.searchsorted(running, running[-1] / 2)]) if running[-1] > 0 else 0.0
