r"""Draws of the parameters, and what they say of the flux.

A draw of the flux is :math:`e^a s(\theta) + e^a \tau_C\, n` with unit normal n: amplitude, nuisances, the inferred
discrepancy and the generator's remaining error :math:`\tau_C` are all in it. Mean and variance of the flux take n out by
hand, :math:`\operatorname{Var}(e^a s) + \operatorname{E}(e^{2a} \tau_C^2)`, which leaves them less Monte-Carlo noise. The
low-rank part of the covariance is that of the flux's regression on the parameters.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from ..chains import Chains
from ..model.data import Data
from ..model.joint import Parameters, SpectrumModel
from .located import Located
from .target import Target, as_parameters

__all__ = ["Draws", "Flux", "chains_of", "compress", "flux_of_draws", "named_parameters", "shares", "with_classes"]

ROWS = 64  # spectra that are decoded together
TOGETHER = 4096  # exposures whose noise is drawn together: pixel after pixel, at one price for few and for many
RANK = 16  # of the flux's covariance that is kept
BLOCK = 64  # pixels in a block of the log-likelihood, at most
PREDICTED = 400  # draws with a prediction and a likelihood for each pixel block, at least


@dataclass(frozen=True, eq=False)
class Draws:
    r"""Draws of one star's parameters, C chains of S draws.

    Arguments:
        theta: The free parameters, shape :math:`(C, S, n)`.
        label: Class index, shape :math:`(C, S)`.
        class_prob: Probability of each class, shape :math:`(K,)`.
        stats: See `Chains`.
        independent: Whether the draws are.
    """

    theta: Tensor
    label: Tensor
    class_prob: Tensor
    stats: Mapping[str, Tensor]
    independent: bool = False


@dataclass(frozen=True, eq=False)
class Flux:
    r"""What is known of the flux, in units of the scale: mean, sd and prior sd (D,), rows of its covariance (R, D), and draws.

    Arguments:
        mean, sigma, prior: Shape :math:`(D,)`.
        factors: Rows whose outer products are the shared part of the covariance, shape :math:`(R, D)`.
        draws: Shape :math:`(S, D)`, or None.
    """

    mean: Tensor
    sigma: Tensor
    prior: Tensor
    factors: Tensor
    draws: Tensor | None = None


def with_classes(
    target: Target,
    b: int,
    theta: Tensor,
    stats: Mapping[str, Tensor],
    random: torch.Generator,
    share: Tensor | None = None,
) -> Draws:
    """Draws of one star's parameters with a class for each, drawn too, and the classes' probabilities.

    Arguments:
        target: Of several stars.
        b: Which of them.
        theta: Its parameters, shape (C, S, n).
        stats: Of the draws.
        random: Source of randomness, on the CPU.
        share: Responsibilities of the possible classes at the draws, shape (C S, k), if they are known.
    """
    labels = target.stars[b].labels
    share = shares(target, b, theta.flatten(0, 1)) if share is None else share
    label = labels[torch.multinomial(share.cpu(), 1, generator=random)[:, 0].to(labels.device)]
    probability = share.new_zeros(len(target.model.classes)).index_add(0, labels, share.mean(0))
    return Draws(theta, label.reshape(theta.shape[:2]), probability, stats)


def shares(target: Target, b: int, theta: Tensor) -> Tensor:
    """Responsibilities (S, k) of the possible classes of one star at vectors (S, n)."""
    if len(target.stars[b].labels) == 1:
        return theta.new_ones(len(theta), 1)
    return target.take([b]).evaluate(theta[None])[1][0]


def compress(rows: Tensor, rank: int = RANK) -> Tensor:
    r"""The rows :math:`F'` of at most that rank with :math:`F'^\top F'` nearest to :math:`F^\top F`, of rows (R, D)."""
    value, vector = torch.linalg.eigh((rows @ rows.mT).double())
    keep = torch.arange(len(value) - 1, max(-1, len(value) - 1 - rank), -1, device=rows.device)
    keep = keep[value[keep] > 1e-9 * value[-1]]
    return vector[:, keep].mT.to(rows.dtype) @ rows


@torch.no_grad()
def flux_of_draws(model: SpectrumModel, star: Located, draws: Draws, random: torch.Generator) -> Flux:
    """Moments and draws of the flux.

    Arguments:
        model: The joint density.
        star: The spectrum.
        draws: Of its parameters.
        random: Source of randomness, on the CPU, of the generator's error.
    """
    theta, label = draws.theta.flatten(0, 1), draws.label.flatten()
    at = as_parameters(star, theta, label)
    amplitude = at.amplitude.exp().unsqueeze(-1)
    flux = amplitude * torch.cat([model.star(at.take(rows)) for rows in torch.arange(len(theta)).split(ROWS)])
    error = amplitude * model.discrepancy[label]
    mean, apart = flux.double().mean(0), flux - flux.mean(0)
    unbiased = apart / max(len(flux) - 1, 1) ** 0.5
    sigma = (unbiased.square().sum(0) + error.square().mean(0)).sqrt()
    spread = model.spread[label].square() + (model.nuisance.amplitude_sd * flux / amplitude).square()
    prior = amplitude.mean() * (spread + model.discrepancy[label].square()).mean(0).sqrt()
    linear = torch.linalg.qr(theta - theta.mean(0)).Q.mT.to(flux.dtype) @ unbiased  # of the flux in the parameters
    noise = torch.randn(flux.shape, generator=random, dtype=flux.dtype).to(flux.device)
    return Flux(mean, sigma, prior, compress(linear), flux + error * noise)


@torch.no_grad()
def chains_of(model: SpectrumModel, star: Located, draws: Draws, scale: float, random: torch.Generator) -> Chains:
    """Draws as arrays with names, and of some of them likelihoods and predictions.

    Arguments:
        model, star, draws: As in `flux_of_draws`.
        scale: The flux that counts as 1, in the flux unit.
        random: Source of randomness, on the CPU.
    """
    shape = draws.label.shape
    at = as_parameters(star, draws.theta.flatten(0, 1), draws.label.flatten())
    thin = max(1, shape[0] * shape[1] // PREDICTED)
    some = as_parameters(star, draws.theta[:, ::thin].flatten(0, 1), draws.label[:, ::thin].flatten())
    likelihood, predictive = _predict(model, star.data, some, random)
    parameters = {name: _chained(values, shape) for name, values in named_parameters(model, at).items()}
    return Chains(
        parameters | {"class_index": draws.label.cpu().numpy()},
        {name: values.cpu().numpy() for name, values in draws.stats.items()},
        log_likelihood=_chained(likelihood, (shape[0], -1)),
        predictive=(scale * _chained(predictive, (shape[0], -1))).astype("float32"),
        thin=thin,
        independent=draws.independent,
    )


def _chained(values: Tensor, shape: tuple[int, int]) -> object:
    return values.reshape(*shape, *values.shape[1:]).cpu().numpy()


def named_parameters(model: SpectrumModel, at: Parameters) -> dict[str, Tensor]:
    """Draws by name, each (C S, ...); velocity and reddening in their units."""
    nuisance, named = model.nuisance, {"z": at.z, "log_amplitude": at.amplitude}
    if model.rank:
        named["detail"] = at.detail
    if model.foreground and nuisance.velocity_sd_kms > 0:
        named["velocity_kms"] = nuisance.velocity_kms(at.foreground)
    if model.foreground and nuisance.ebv_sd > 0:
        named["ebv"] = nuisance.ebv(at.foreground)
    if model.foreground and nuisance.tilts:
        named["tilt"] = nuisance.tilt_sd * at.foreground[:, -nuisance.tilts :]
    if at.calibration.shape[-1]:
        named["calibration"] = at.calibration
    return named


def _predict(model: SpectrumModel, data: Data, at: Parameters, random: torch.Generator) -> tuple[Tensor, Tensor]:
    """Log-likelihoods of N blocks of ceil(D/N) pixels (R, E, N), and exposures with new noise (R, E, D), NaN where masked."""
    device = data.flux.device
    blocks = -(-data.flux.shape[-1] // BLOCK)
    size, likelihood, predictive = -(-data.flux.shape[-1] // blocks), [], []
    for rows in torch.arange(len(at.z), device=device).split(max(1, TOGETHER // data.flux.shape[1])):
        some, repeated = at.take(rows), data.expand(len(rows))
        mean, _ = model.exposed(repeated, some, model.star(some))
        pixels = model.noise.log_prob(repeated.flux - mean, repeated.ivar, repeated.mask, repeated.context)
        pixels = torch.nn.functional.pad(pixels, (0, blocks * size - pixels.shape[-1]))
        likelihood.append(pixels.unflatten(-1, (blocks, size)).double().sum(-1))
        fresh = mean + model.noise.sample(repeated.ivar, repeated.mask, repeated.context, generator=random)
        predictive.append(torch.where(repeated.mask, torch.nan, fresh))
    return torch.cat(likelihood), torch.cat(predictive)
