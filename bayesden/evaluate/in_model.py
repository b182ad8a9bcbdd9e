r"""Stars whose truth is known because a model drew them: everything from its own priors, the noise from its own flow.

.. math:: C \sim p(C),\quad z \sim p(z \mid C),\quad u, f \sim \mathcal N(0, I),\quad a, c \sim p(a)\,p(c),\quad
          y_e = e^{a + \tilde c_e \cdot B_e}\, s + \epsilon_e

What the likelihood is conditioned on is held fixed and comes from a *template* exposure: inverse variance, mask, arms, shares
and the context of the noise. That is why the data are built here and not stacked from simulated observations: `Data.stack`
would measure context, shares and scale on the simulated flux, and the posterior would no longer be that of its own data.

The truth of the flux is :math:`e^a (s + \tau_C n)`, with the generator's discrepancy that the posterior of the flux includes.
"""

from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from ..errors import InputError
from ..model.data import Data
from ..model.joint import Parameters, SpectrumModel
from ..spectrum import ARM_BLUE, ARM_RED, Grid, Observation

__all__ = ["Simulation", "at_snr", "plain_template", "simulate", "template_data"]

OVERLAP_A = (5850.0, 6250.0)  # both arms see it
SKY_A = (5578.9, 5891.6, 6301.7, 8346.7, 8888.0)
NOISE = 0.85  # of the pipeline's error: the scatter that exposures usually show


@dataclass(frozen=True, eq=False)
class Simulation:
    """Simulated stars, B of them.

    Arguments:
        data: What an engine sees.
        at: Their parameters.
        flux: Their flux, the generator's discrepancy included, shape (B, D).
        left: One more exposure of each, E = 1, which no engine sees.
    """

    data: Data
    at: Parameters
    flux: Tensor
    left: Data

    def __len__(self) -> int:
        return len(self.flux)


def plain_template(grid: Grid, exposures: int, seed: int = 0) -> Observation:
    """Exposures of a flat star by two arms, with errors that grow at the ends and in the lines of the sky; S/N 1."""
    w = grid.wavelength
    x = (w - w[0]) / (w[-1] - w[0])
    error = 1 + 1.5 * np.exp(-x / 0.06) + 0.8 * np.exp(-(1 - x) / 0.04)
    error *= 1 + 2.5 * sum(np.exp(-0.5 * ((w - line) / 3.0) ** 2) for line in SKY_A)
    arm = np.where(w < OVERLAP_A[1], ARM_BLUE, 0) | np.where(w > OVERLAP_A[0], ARM_RED, 0)
    shape = (exposures, grid.size)
    flux = 1 + NOISE * error * np.random.default_rng(seed).standard_normal(shape)
    ivar, arm = np.broadcast_to(error**-2.0, shape), np.broadcast_to(arm, shape)
    return Observation(w, flux, ivar, arm=arm, name="plain template")


def at_snr(observation: Observation, snr: float) -> Observation:
    """The same star with the noise of each exposure scaled, its median flux over its error being as asked for."""
    mean, known = observation.coadd()
    sigma = 1 / np.sqrt(np.where(observation.mask, 1.0, observation.ivar))
    level = np.abs(np.median(mean[known > 0]))
    own = level / np.array([np.median(row[good]) for row, good in zip(sigma, ~observation.mask, strict=True)])
    factor = (own / snr)[:, None]
    if not (np.isfinite(factor) & (factor > 0)).all():
        raise InputError(f"{observation.name}: expected exposures with a signal, got a median flux of {level}")
    flux = mean + factor * (observation.flux - mean)
    return replace(observation, flux=flux, ivar=observation.ivar / factor**2)


def template_data(observation: Observation, device: str | torch.device = "cpu") -> Data:
    """What is held fixed of an observation, in units where the flux is about 1; one row, whose flux is left as it was."""
    data = Data.stack([observation], device)
    return replace(data, scale=torch.ones_like(data.scale))


@torch.no_grad()
def simulate(model: SpectrumModel, template: Data, count: int, *, seed: int = 0) -> Simulation:
    """Draw stars from a model and observe them.

    Arguments:
        model: The joint density.
        template: What is held fixed, one row.
        count: Stars B.
        seed: Seed of all draws.

    Raises:
        InputError: if the model's prior is one of spectra (`volume`), which cannot be drawn from.
    """
    if model.volume:
        raise InputError("simulate: expected a prior of latents, got a model whose prior is one of spectra (volume)")
    rng, random = np.random.default_rng(seed), torch.Generator().manual_seed(seed)
    data, at = template.expand(count), _draw(model, template, count, rng, random)
    star = model.star(at)
    noise = torch.Generator(model.device).manual_seed(int(rng.integers(2**31)))
    mean, _ = model.exposed(data, at, star)
    error = torch.randn(star.shape, generator=random, dtype=star.dtype).to(star) * model.discrepancy[at.label]
    flux = at.amplitude.exp().unsqueeze(-1) * (star + error)
    left = _left(model, data, at, rng)
    seen = left[1].unsqueeze(1) * (star + error).unsqueeze(1)
    observed = [_observe(model, d, m, noise) for d, m in ((data, mean), (left[0], seen))]
    return Simulation(observed[0], at, flux, observed[1])


def _draw(
    model: SpectrumModel, template: Data, count: int, rng: np.random.Generator, random: torch.Generator
) -> Parameters:
    """Parameters from their priors; of each class as many as its prior says, by one star at most more or less."""
    chance = model.class_prior.log_prob.exp().double().cpu()
    even = (torch.arange(count) + torch.rand(1, generator=random, dtype=torch.double)) / count
    label = torch.searchsorted(chance.cumsum(0), even).clamp_max(len(chance) - 1).to(model.device)
    z = model.latent_prior.sample(label, random).to(model.spread)
    detail, foreground = (torch.randn(count, n, generator=random).to(z) for n in (model.rank, model.foreground))
    amplitude = model.nuisance.amplitude_sd * torch.randn(count, generator=random).to(z)
    terms = model.nuisance.terms if bool(template.share.any()) else 0
    calibration = _terms(model, (count, template.share.shape[1], terms), rng).to(z)
    calibration = calibration * (template.share > 0).unsqueeze(-1)
    return Parameters(z, amplitude, calibration, label, detail, foreground)


def _terms(model: SpectrumModel, shape: tuple[int, ...], rng: np.random.Generator) -> Tensor:
    """Calibration terms of exposures from their prior."""
    dof = model.nuisance.calibration_dof
    white = rng.standard_t(dof, shape) if dof else rng.standard_normal(shape)
    white = torch.from_numpy(white)
    return white * model.nuisance.widths(white)[: shape[-1]]


def _left(model: SpectrumModel, data: Data, at: Parameters, rng: np.random.Generator) -> tuple[Data, Tensor]:
    """Conditions of one more exposure like the first, and its gain (B, D), calibrated against the mean of the others."""
    one = slice(0, 1)
    side, context = (None if x is None else x[:, one] for x in (data.side, data.context))
    share = torch.zeros_like(data.share[:, one])
    left = Data(data.flux[:, one], data.ivar[:, one], data.mask[:, one], share, data.scale, context, side)
    terms = model.nuisance.terms
    own = _terms(model, (len(data), 1, terms), rng).to(data.flux)
    if at.calibration.numel():
        best = int(data.share[0].argmax())  # one that has terms
        centre = (at.calibration - model.centred(data, at.calibration))[:, best : best + 1]
    else:  # of one exposure, whose calibration is the star's
        centre = _terms(model, own.shape, rng).to(own)
    log_gain = model.nuisance.log_gain(side, model.grid.size, own - centre)[:, 0]
    return left, (at.amplitude.unsqueeze(-1) + log_gain).exp()


def _observe(model: SpectrumModel, data: Data, mean: Tensor, random: torch.Generator) -> Data:
    """Data with a mean (B, E, D) and new noise."""
    noise = model.noise.sample(data.ivar, data.mask, data.context, generator=random)
    return replace(data, flux=torch.where(data.mask, 0.0, mean + noise))
