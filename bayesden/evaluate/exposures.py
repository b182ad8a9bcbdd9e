r"""Test bed B2: fit some exposures of a real star, score the others (leave-exposures-out).

An estimate of the noiseless flux, mean :math:`m` and standard deviation :math:`\sigma`, predicts a left-out exposure as

.. math:: y_d = e^{c \cdot B_d}\, m_d + \epsilon_d, \qquad c_j \sim \mathcal N\big(0, \sigma_j^2 (1 + 1/E_\mathrm{fit})\big),

with the exposure's own calibration terms of the model (`nuisance.py`; normal, and without shifts), as they differ from the
mean of those fitted, and the noise model for :math:`\epsilon`. The variance of the flux is folded into that of the noise: a
flow of the kind `robust` sees the inverse variance :math:`1 / (v_d + e^{2 c \cdot B_d} \sigma_d^2 / \rho^2)`, where
:math:`\rho` is the noise's scale over the pipeline's error :math:`\sqrt{v}` (`scale_ratio`), so that the flux counts with
its own variance. A flow of the kind `kang2021` knows no variances; its estimate is taken as exact, as published.

The calibration terms are integrated out by Laplace's approximation about their mode, so the log predictive density is one
of the data alone, whatever the estimate; it is given per pixel, in units where the exposure's mean \|flux\| is about 1. The
probability integral transform of a pixel is the noise's distribution function at its independent residual :math:`\xi_d`, at
the mode of c.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.stats import norm
from scipy.stats import t as student_t
from torch import Tensor

from ..errors import InputError
from ..model.data import Data
from ..model.linearization import Linearization
from ..model.noiseflow import NoiseFlow
from ..model.nuisance import Nuisance
from ..spectrum import Observation
from ..train.noise import residuals, scale_ratio

__all__ = [
    "LEVELS",
    "Estimate",
    "Prediction",
    "Split",
    "leave_out",
    "mean_estimate",
    "noise_ratio",
    "pit_shares",
    "predict",
    "predict_each",
]

LEVELS = (0.05, 0.25, 0.5, 0.75, 0.95)
STEPS = 30


@dataclass(frozen=True)
class Split:
    """Which exposures of a star are fitted, and which are left out to be predicted."""

    fitted: tuple[int, ...]
    left: tuple[int, ...]


@dataclass(frozen=True, eq=False)
class Estimate:
    """What is believed of a star's noiseless flux.

    Arguments:
        flux, sigma: Mean and standard deviation, shape (D,), in the observation's unit; sigma is not finite where
            nothing is known.
        fitted: How many exposures it comes from.
    """

    flux: NDArray
    sigma: NDArray
    fitted: int


@dataclass(frozen=True, eq=False)
class Prediction:
    """How exposures turned out under a prediction.

    Arguments:
        log_density: Of each exposure, nats, shape (E,).
        pixels: Pixels of each that count, shape (E,).
        pit: Probability integral transform of each pixel, shape (E, D); NaN where it does not count.
    """

    log_density: NDArray
    pixels: NDArray
    pit: NDArray


def leave_out(exposures: int, fitted: int, choices: int, seed: int = 0) -> list[Split]:
    """Different choices of which exposures are fitted, at random; all the others are left out.

    Raises:
        InputError: if none would be left.
    """
    if not 0 < fitted < exposures:
        raise InputError(f"leave exposures out: expected to fit 1 to {exposures - 1} of {exposures}, got {fitted}")
    rng, chosen = np.random.default_rng(seed), set()
    for _ in range(min(choices, math.comb(exposures, fitted))):
        while (pick := tuple(sorted(rng.choice(exposures, fitted, replace=False).tolist()))) in chosen:
            pass
        chosen.add(pick)
    return [Split(pick, tuple(e for e in range(exposures) if e not in pick)) for pick in sorted(chosen)]


def noise_ratio(noise: NoiseFlow, observation: Observation) -> float:
    """The noise's scale over the pipeline's errors, the median over a star's exposures; 1 for a flow without errors."""
    return scale_ratio(noise, residuals(observation))["all"] if noise.kind == "robust" else 1.0


def mean_estimate(fitted: Observation, ratio: float) -> Estimate:
    """The inverse-variance mean of exposures, with the variance that the noise's scale gives it."""
    flux, ivar = fitted.coadd()
    sigma = np.full(flux.shape, np.inf)
    sigma[ivar > 0] = ratio / np.sqrt(ivar[ivar > 0])
    return Estimate(flux, sigma, fitted.n_exposures)


@torch.no_grad()
def predict(
    noise: NoiseFlow, nuisance: Nuisance, left: Observation, estimate: Estimate, ratio: float, where: NDArray
) -> Prediction:
    """Score left-out exposures under an estimate of the flux.

    Arguments:
        noise: The noise's density.
        nuisance: What an exposure's calibration may be.
        left: The exposures to predict, on the noise's pixels.
        estimate: The flux.
        ratio: The noise's scale over the pipeline's error (`noise_ratio`).
        where: Pixels to score, shape (D,), the same for all estimates that are compared.
    """
    data = Data.stack([left]).take(0)
    scale = float(data.scale)
    flux, sigma = (
        torch.from_numpy(np.where(where, x, 0.0) / scale).to(data.flux) for x in (estimate.flux, estimate.sigma)
    )
    return _predict(noise, nuisance, data, (flux, sigma), data.mask | ~torch.from_numpy(where), ratio, estimate.fitted)


@torch.no_grad()
def predict_each(
    noise: NoiseFlow, nuisance: Nuisance, left: Data, flux: Tensor, sigma: Tensor, fitted: int
) -> Prediction:
    """Score one left-out exposure of each of B stars under estimates of their flux.

    Arguments:
        noise, nuisance: As in `predict`.
        left: The exposures, B rows with E = 1.
        flux, sigma: Estimates in units of the scale, shape (B, D).
        fitted: How many exposures each comes from.
    """
    values = (left.flux, left.ivar, left.mask, left.share, left.scale, left.context, left.side)
    rows = Data(*(x if x is None or x.ndim < 3 else x[:, 0] for x in values))
    sd = noise.scale(torch.zeros_like(rows.flux), rows.ivar, rows.mask, rows.context) * rows.ivar.sqrt()
    ratio = float(sd[~sd.isnan()].median()) if noise.kind == "robust" else 1.0
    return _predict(noise, nuisance, rows, (flux.to(rows.flux), sigma.to(rows.flux)), rows.mask, ratio, fitted)


def _predict(
    noise: NoiseFlow,
    nuisance: Nuisance,
    data: Data,
    estimate: tuple[Tensor, Tensor],
    mask: Tensor,
    ratio: float,
    fitted: int,
) -> Prediction:
    """Score rows (N, D), each an exposure, under flux and sigma, each (D,) or (N, D)."""
    flux, sigma = estimate
    basis = nuisance.basis(None if data.side is None else data.side[None], data.flux.shape[-1], flux)
    basis = basis.expand(1, len(data.flux), -1, -1)[0]
    widths = nuisance.widths(flux)[: basis.shape[1]].double() * math.sqrt(1 + 1 / fitted)

    def at(c: Tensor) -> tuple[Linearization, Tensor]:
        gain = (c.unsqueeze(1) @ basis)[:, 0].exp()
        mean, spread = gain * flux, (gain * sigma / ratio).square()
        ivar = 1 / (1 / data.ivar.clamp_min(1e-30) + spread) if noise.kind == "robust" else data.ivar
        return noise.linearize(data.flux - mean, torch.where(mask, 0.0, ivar), mask, data.context), mean

    log_density, local = _integrate(at, basis, widths)
    good = local.weight > 0
    xi = local.xi.double().cpu().numpy()
    cdf = norm.cdf(xi) if math.isinf(noise.nu) else student_t.cdf(xi, noise.nu)
    pit = np.where(good.cpu().numpy(), cdf, np.nan)
    return Prediction(log_density.cpu().numpy(), good.sum(-1).cpu().numpy(), pit)


def _integrate(
    at: Callable[[Tensor], tuple[Linearization, Tensor]], basis: Tensor, widths: Tensor
) -> tuple[Tensor, Linearization]:
    """Log density of each exposure, calibration terms integrated out about their mode by Laplace; the expansion there."""
    c, n = basis.new_zeros(basis.shape[:2]), basis.shape[1]
    objective, step, hessian = _climb(*at(c), basis, c, widths)
    length = torch.ones_like(objective)
    for _ in range(STEPS if n else 0):
        trial = c + (length[:, None] * step).to(c)
        there = _climb(*at(trial), basis, trial, widths)
        better = there[0] > objective
        length = torch.where(better, (2 * length).clamp_max(1.0), length / 2)
        c = torch.where(better[:, None], trial, c)
        gain = torch.where(better, there[0] - objective, 0.0).max()
        objective, step, hessian = (
            torch.where(better.view(-1, *[1] * (new.ndim - 1)), new, old)
            for new, old in zip(there, (objective, step, hessian), strict=True)
        )
        if gain < 1e-4 and bool((better | (length < 0.1)).all()):
            break
    return objective - widths.log().sum() - 0.5 * torch.linalg.slogdet(hessian).logabsdet, at(c)[0]


def _climb(
    local: Linearization, mean: Tensor, basis: Tensor, c: Tensor, widths: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """Log density with the prior's exponent (E,), Gauss-Newton step (E, n), and curvature (E, n, n)."""
    rows = mean.unsqueeze(1) * basis
    bent = torch.zeros_like(rows)
    for k in range(local.band.shape[-1]):
        bent[..., k:] += local.band[..., k].unsqueeze(1)[..., k:] * rows[..., : rows.shape[-1] - k]
    bent, c, precision = bent.double(), c.double(), widths**-2
    hessian = (bent * local.weight.double().unsqueeze(1)) @ bent.mT + torch.diag(precision)
    slope = -(rows.double() @ local.score.double().unsqueeze(-1)) - (precision * c).unsqueeze(-1)
    objective = local.log_prob.double().sum(-1) - 0.5 * (precision * c.square()).sum(-1)
    return objective, torch.linalg.solve(hessian, slope).squeeze(-1), hessian


def pit_shares(pit: NDArray, levels: Sequence[float] = LEVELS) -> NDArray:
    """The share of pixels whose transform is below each level; equal to the levels if the prediction is calibrated."""
    values = pit[np.isfinite(pit)]
    return np.array([np.mean(values <= level) for level in levels])
