r"""Noise out of the repeated exposures of a star.

What two exposures of one star do not share is noise. The residual of exposure :math:`e` against the inverse-variance
mean :math:`\bar y_{-e}` of the others has variance :math:`v_e + v_{-e}`; scaled back to that of the exposure itself,

.. math:: \epsilon_e = (y_e - \bar y_{-e}) \sqrt{\frac{v_e}{v_e + v_{-e}}}
                     = (y_e - \bar y) \left(1 - \frac{v_e^{-1}}{\sum_j v_j^{-1}}\right)^{-1/2},

which for :math:`n` equal exposures is the residual against the mean of all times :math:`\sqrt{n/(n-1)}`, pixel by pixel.
The left-hand form allows two repairs, without which the flow learns what is not noise: a cosmic ray is kept out of the
other exposures' reference, so that it appears in its own exposure only, and a smooth ratio between the exposures, their
flux calibration, is divided out.

References:
    Kang, He & Zhang (2021), section 2 (noise from multiple exposures).
"""

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import torch
from numpy.polynomial.legendre import legvander
from numpy.typing import NDArray
from torch import Tensor

from ..errors import InputError
from ..spectrum import Observation
from .noise_context import CHANNELS, noise_context

__all__ = ["NoiseSamples", "against_others", "residuals"]

CALIBRATION_SD = 0.1  # prior of each coefficient of an exposure's calibration polynomial, about 1
OUTLIER_SIGMA = 6.0


@dataclass(frozen=True, eq=False)
class NoiseSamples:
    r"""Noise of :math:`N` exposures of one or several stars, in units of each star's mean absolute flux.

    Arguments:
        wavelength: Pixel centres, shape :math:`(D,)`, vacuum Å.
        eps: Noise, shape :math:`(N, D)`; 0 where masked.
        ivar: Inverse variance by the pipeline, shape :math:`(N, D)`; 0 where masked.
        mask: True where bad, shape :math:`(N, D)`.
        arm: Bits of the arms of each pixel, shape :math:`(N, D)`.
        star: The name of each exposure's star, :math:`N` of them.
        context: What `noise_context` says of the pixels, shape :math:`(N, C, D)`; 0 if nothing is known.
    """

    wavelength: NDArray
    eps: NDArray
    ivar: NDArray
    mask: NDArray
    arm: NDArray
    star: tuple[str, ...]
    context: NDArray | None = None

    def __post_init__(self) -> None:
        if self.context is None:
            shape = (len(self.star), len(CHANNELS), self.eps.shape[-1])
            object.__setattr__(self, "context", np.zeros(shape, np.float32))

    def __len__(self) -> int:
        return len(self.star)

    def select(self, keep: NDArray) -> "NoiseSamples":
        """Some of the exposures, by index or boolean."""
        index = np.arange(len(self))[keep]
        arrays = (getattr(self, key)[index] for key in ("eps", "ivar", "mask", "arm"))
        return NoiseSamples(self.wavelength, *arrays, tuple(self.star[i] for i in index), self.context[index])

    def tensors(self, device: str = "cpu") -> tuple[Tensor, Tensor, Tensor]:
        """Noise, inverse variance (float32) and mask."""
        eps, ivar = (torch.tensor(x, dtype=torch.float32, device=device) for x in (self.eps, self.ivar))
        return eps, ivar, torch.tensor(self.mask, device=device)

    def context_tensor(self, device: str = "cpu") -> Tensor:
        """The context, float32."""
        return torch.tensor(self.context, dtype=torch.float32, device=device)

    @classmethod
    def concatenate(cls, parts: Iterable["NoiseSamples"]) -> "NoiseSamples":
        """The exposures of all parts, which must be on one grid."""
        parts = list(parts)
        if not parts:
            raise InputError("noise samples: expected at least one star with two exposures, got none")
        for part in parts[1:]:
            if not np.array_equal(part.wavelength, parts[0].wavelength):
                raise InputError(f"{part.star[0]}: expected the wavelength grid of {parts[0].star[0]}, got another")
        arrays = (np.concatenate([getattr(p, key) for p in parts]) for key in ("eps", "ivar", "mask", "arm"))
        context = np.concatenate([p.context for p in parts])
        return cls(parts[0].wavelength, *arrays, sum((p.star for p in parts), ()), context)


def against_others(flux: NDArray, ivar: NDArray, usable: NDArray) -> tuple[NDArray, NDArray]:
    """Each exposure against the mean of the usable others, scaled to its own variance, and where there are others.

    Arguments:
        flux, ivar: Shape :math:`(E, D)`.
        usable: What may enter the others' mean, same shape.

    Returns:
        Noise and where it is known, each :math:`(E, D)`.
    """
    weight = np.where(usable, ivar, 0.0)
    rest = weight.sum(0) - weight
    rest[rest <= 1e-9 * weight.sum(0)] = 0.0  # rounding of a sum with one term
    known = (ivar > 0) & (rest > 0)
    rest = np.where(known, rest, 1.0)
    mean = ((flux * weight).sum(0) - flux * weight) / rest
    return np.where(known, (flux - mean) / np.sqrt(1.0 + ivar / rest), 0.0), known


def _outliers(flux: NDArray, ivar: NDArray, sigma: float) -> NDArray:
    """Cosmic rays: at each pixel the worst exposure goes first, at most half of them.

    Two exposures alone disagree by equally much; then the brighter one has been hit.
    """
    usable = ivar > 0
    for _ in range(len(flux) // 2):
        eps, known = against_others(flux, ivar, usable)
        z = np.where(known & usable, eps * np.sqrt(ivar), 0.0)
        score = np.abs(z) * np.where(z > 0, 1.0 + 1e-6, 1.0)
        hit = np.flatnonzero(score.max(0) > sigma)
        usable[score.argmax(0)[hit], hit] = False
    return (ivar > 0) & ~usable


def _calibration(flux: NDArray, ivar: NDArray, wavelength: NDArray, order: int, sigma: float) -> NDArray:
    r"""Each exposure's smooth ratio to the mean of all, a Legendre series fitted with Student-like weights.

    The mean of all, the exposure included, is the regressor: at low signal-to-noise its noise then cancels against that
    of the exposure, where the mean of the others would bias the ratio low.
    """
    x = (2 * wavelength - wavelength[0] - wavelength[-1]) / (wavelength[-1] - wavelength[0])
    basis = legvander(x, order).T
    ratio, prior = np.ones_like(flux), np.eye(order + 1)[0]
    for _ in range(5):
        scaled, scaled_ivar = flux / ratio, ivar * ratio**2
        weight = np.where(_outliers(scaled, scaled_ivar, sigma), 0.0, scaled_ivar)
        mean = (weight * scaled).sum(0) / np.maximum(weight.sum(0), 1e-300)
        for e in range(len(flux)):
            z = (flux[e] - ratio[e] * mean) * np.sqrt(ivar[e])
            spread = max(1.4826 * np.median(np.abs(z[ivar[e] > 0])), 1e-3) if (ivar[e] > 0).any() else 1.0
            robust = np.where(weight[e] > 0, ivar[e], 0.0) / (spread**2 + (z / 3) ** 2)
            columns = basis * mean
            normal = (columns * robust) @ columns.T + np.eye(order + 1) / CALIBRATION_SD**2
            ratio[e] = np.linalg.solve(normal, (columns * robust) @ flux[e] + prior / CALIBRATION_SD**2) @ basis
        ratio = np.clip(ratio, 0.1, 10.0)
    return ratio


def _star_residuals(obs: Observation, order: int | None, sigma: float) -> NoiseSamples:
    if obs.n_exposures < 2:
        raise InputError(f"{obs.name}: noise needs at least two exposures of a star, got {obs.n_exposures}")
    coadd, total = obs.coadd()
    amplitude = np.abs(coadd[total > 0]).mean()
    if not amplitude > 0:
        raise InputError(f"{obs.name}: expected a mean absolute flux above zero, got {amplitude}")
    flux, ivar = obs.flux / amplitude, obs.ivar * amplitude**2
    if order is not None:
        ratio = _calibration(flux, ivar, obs.wavelength, order, sigma)
        flux, ivar = flux / ratio, ivar * ratio**2
    eps, known = against_others(flux, ivar, (ivar > 0) & ~_outliers(flux, ivar, sigma))
    names = (obs.name,) * obs.n_exposures
    ivar, context = np.where(known, ivar, 0.0), np.where(known[:, None], noise_context(obs), 0.0)
    return NoiseSamples(obs.wavelength, eps, ivar, ~known, obs.arm, names, context)


def residuals(
    observations: Observation | Iterable[Observation],
    *,
    calibration_order: int | None = 3,
    outlier_sigma: float = OUTLIER_SIGMA,
) -> NoiseSamples:
    r"""The noise of every exposure, from what it does not share with the other exposures of its star.

    Arguments:
        observations: A star with at least two exposures, or several stars; all on one grid.
        calibration_order: Degree of each exposure's flux-calibration polynomial in wavelength, relative to the mean;
            None to leave the exposures as they are. It takes `calibration_order` + 1 of :math:`D` degrees of freedom.
        outlier_sigma: An exposure that stands out by more than this is kept out of the others' reference; it stays in
            its own noise.

    Returns:
        Noise in units of mean absolute flux 1, one row for each exposure, in the order of the observations.
        A pixel that no other exposure has is masked.

    Raises:
        InputError: if an observation has one exposure only, or grids differ.

    Example:
        >>> rng = np.random.default_rng(0)
        >>> flux, wavelength = 5 + rng.normal(size=(3, 64)), np.arange(4000.0, 4064.0)
        >>> obs = Observation(wavelength=wavelength, flux=flux, ivar=np.ones((3, 64)))
        >>> len(residuals(obs))
        3
    """
    if isinstance(observations, Observation):
        observations = [observations]
    return NoiseSamples.concatenate(_star_residuals(obs, calibration_order, outlier_sigma) for obs in observations)
