r"""Maximum a posteriori over latents, nuisances and class (Kang et al. 2021, eq. 7), for batches of spectra.

In three stages, each a single tensor program over the batch:

1. *Rank*: every spectrum's coadd is compared with decoded kernel centres of every class's prior, amplitude profiled out.
2. *Search*: from the best starts of each class, Newton steps on the coadd under white Student-t noise and a Gaussian
   for each class instead of its kernels.
3. *Refine*: the candidates that remain within `margin` nats of the best climb the full joint density, all exposures and
   the noise flow included.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from ..model.joint import Data, Parameters, SpectrumModel
from ..model.latent_prior import gaussian_prior
from ..posterior import Posterior
from ..spectrum import Observation
from .newton import Fit, Newton
from .summary import summarise

__all__ = ["Settings", "find_modes", "fit_map"]


@dataclass(frozen=True)
class Settings:
    """Choices of the MAP search.

    Arguments:
        bank: Prior draws of each class to rank.
        starts: Starts of each class to search from.
        search: Newton steps of the coarse search.
        keep: Candidates of each spectrum to refine, at most.
        margin: Candidates further than this below the best are not refined, in nats.
        iterations: Newton steps of the refinement, at most.
        tolerance: Predicted gain at which a candidate counts as converged, in nats.
    """

    bank: int = 128
    starts: int = 1
    search: int = 30
    keep: int = 4
    margin: float = 100.0
    iterations: int = 60
    tolerance: float = 1e-4


@dataclass(frozen=True, eq=False)
class _White:
    """White Student-t noise on ivar, with the interface of `NoiseFlow.linearize`."""

    dof: float = 4.0

    def linearize(self, eps: Tensor, ivar: Tensor, mask: Tensor) -> "_White.Local":
        root = ivar.sqrt()
        xi = eps * root
        weight = torch.where(mask, 0.0, (self.dof + 1) / (self.dof + xi * xi))
        log_prob = torch.where(mask, 0.0, -0.5 * (self.dof + 1) * torch.log1p(xi * xi / self.dof))
        return _White.Local(log_prob, -weight * xi * root, weight, root.unsqueeze(-1))

    @dataclass(frozen=True, eq=False)
    class Local:
        log_prob: Tensor
        score: Tensor
        weight: Tensor
        band: Tensor


def _soften(data: Data, share: float) -> Data:
    """The coadd with a floor under its errors, a share of the flux: no pixel of a bright star rules the search."""
    coadd = data.coadd()
    floor = (share * coadd.flux.abs().clamp(0.1, 3.0)).square()
    ivar = torch.where(coadd.mask, 0.0, 1 / (1 / coadd.ivar.clamp_min(1e-30) + floor))
    return Data(coadd.flux, ivar, coadd.mask, coadd.share, coadd.scale)


@torch.no_grad()
def _rank(model: SpectrumModel, data: Data, settings: Settings, seed: int) -> Parameters:
    """The best starts of each class for each spectrum: B x K x starts rows, spectrum by spectrum."""
    count = len(model.classes)
    random = torch.Generator().manual_seed(seed)
    z = torch.stack([_spread_draws(model.latent_prior.latents(k), settings.bank, random) for k in range(count)])
    spectra = model.generator(z).reshape(-1, model.grid.size)
    flux, weight = data.flux[:, 0], data.ivar[:, 0]
    for _ in range(2):  # the second pass has outliers weighed down by the best of the first
        cross, square = (weight * flux) @ spectra.T, weight @ spectra.square().T
        amplitude = (cross / square.clamp_min(1e-30)).clamp(math.exp(-2), math.exp(2))
        score = amplitude * cross - 0.5 * amplitude.square() * square
        best = score.argmax(1)
        fitted = amplitude.gather(1, best[:, None]) * spectra[best]
        residual = (flux - fitted).square() * data.ivar[:, 0]
        weight = data.ivar[:, 0] * 5 / (4 + residual)
    score = score.reshape(len(data), count, -1)
    top = score.topk(settings.starts, -1).indices
    amplitude = amplitude.reshape(score.shape).gather(-1, top).log().reshape(-1)
    label = torch.arange(count, device=flux.device)[None, :, None].expand_as(top)
    chosen = z[label, top].reshape(-1, z.shape[-1])
    return Parameters(chosen, amplitude, chosen.new_zeros(len(chosen), 1, 0), label.reshape(-1))


def _spread_draws(latents: Tensor, n: int, random: torch.Generator) -> Tensor:
    index = torch.randperm(len(latents), generator=random)
    return latents[index.repeat(-(-n // len(index)))[:n].to(latents.device)]


@torch.no_grad()
def find_modes(
    model: SpectrumModel, data: Data, settings: Settings | None = None, seed: int = 0
) -> tuple[Fit, Tensor, Tensor]:
    r"""Modes of the joint density, several classes for each spectrum.

    Arguments:
        model: The joint density.
        data: B spectra.
        settings: Choices of the search.
        seed: Seed of the starts.

    Returns:
        The refined modes; the spectrum of each, shape :math:`(M,)`; and the log evidence of all classes relative to the
        best one's, shape :math:`(B, K)`, by Laplace's approximation (classes that were not refined: of the coarse search).
    """
    settings = settings or Settings()
    count = len(model.classes)
    coarse = _soften(data, 0.02)
    start = _rank(model, coarse, settings, seed)
    spectrum = torch.arange(len(data), device=start.z.device).repeat_interleave(count * settings.starts)
    searched = Newton(_smooth(model), iterations=settings.search, tolerance=0.1).maximise(coarse.take(spectrum), start)
    shape = (len(data), count * settings.starts)
    objective = searched.objective.reshape(shape)
    close = objective >= objective.max(1, keepdim=True).values - settings.margin
    among = torch.zeros_like(close).scatter_(1, objective.topk(min(settings.keep, shape[1]), 1).indices, True)
    rows = torch.nonzero((close & among).flatten()).flatten()
    best = objective.argmax(1) + shape[1] * torch.arange(len(data), device=objective.device)
    at = _join(searched.at.take(rows), _at_class_mean(model, searched.at.take(best)))
    rows = torch.cat([rows, best])
    start = _with_calibration(model, data.take(spectrum[rows]), at)
    fit = Newton(model, iterations=settings.iterations, tolerance=settings.tolerance).maximise(
        data.take(spectrum[rows]), start
    )
    evidence = _class_evidence(searched, fit, spectrum[rows], (len(data), count))
    return fit, spectrum[rows], evidence


def _smooth(model: SpectrumModel) -> SpectrumModel:
    """The model with white noise and one Gaussian for each class: a landscape without the bumps of single kernels."""
    prior = gaussian_prior(model.latent_prior)
    parts = (model.grid, model.class_prior, model.generator, prior, _White(), model.nuisance)
    return SpectrumModel(*parts, model.discrepancy, model.spread, volume=model.volume)


def _at_class_mean(model: SpectrumModel, at: Parameters) -> Parameters:
    """A second start in the same class, the mean of its latents: from there other kernels are reached."""
    means = torch.stack([model.latent_prior.latents(k).mean(0) for k in range(len(model.classes))])
    return Parameters(means[at.label], at.amplitude, at.calibration, at.label)


def _join(one: Parameters, other: Parameters) -> Parameters:
    return Parameters(*(torch.cat(pair) for pair in zip(vars(one).values(), vars(other).values(), strict=True)))


def _with_calibration(model: SpectrumModel, data: Data, at: Parameters) -> Parameters:
    terms = model.nuisance.terms if bool(data.share.any()) else 0
    return Parameters(at.z, at.amplitude, at.z.new_zeros(*data.share.shape, terms), at.label)


def _class_evidence(searched: Fit, fit: Fit, spectrum: Tensor, shape: tuple[int, int]) -> Tensor:
    """Log evidence (B, K) relative to the best refined class."""
    coarse = searched.log_evidence().reshape(*shape, -1).max(-1).values
    fine = torch.full_like(coarse, -math.inf)
    flat = fine.view(-1).scatter_reduce(0, spectrum * shape[1] + fit.at.label, fit.log_evidence(), "amax")
    fine = flat.reshape(coarse.shape)
    known = torch.isfinite(fine)
    reference = torch.where(known, fine, -math.inf).argmax(1, keepdim=True)
    best_fine, best_coarse = fine.gather(1, reference), coarse.gather(1, reference)
    return torch.where(known, fine - best_fine, (coarse - best_coarse).clamp_max(0.0))


def fit_map(
    model: SpectrumModel, observations: Sequence[Observation], *, seed: int = 0, settings: Settings | None = None
) -> list[Posterior]:
    """The MAP estimate of each star, with error bars from the curvature at the mode.

    Arguments:
        model: The joint density.
        observations: On the model's grid.
        seed: Seed of the starts.
        settings: Choices of the search.

    Returns:
        One posterior for each observation, in the same order.
    """
    data = Data.stack(observations, model.device)
    fit, spectrum, evidence = find_modes(model, data, settings, seed)
    posteriors = []
    for b, observation in enumerate(observations):
        rows = torch.nonzero(spectrum == b).flatten()
        modes = fit.take(rows)
        best = modes.take(modes.objective.argmax().reshape(1))
        one = data.take(slice(b, b + 1))
        posteriors.append(summarise(model, observation, one, best, modes, evidence[b], "map"))
    return posteriors
