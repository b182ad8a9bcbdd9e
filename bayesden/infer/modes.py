r"""Modes of the joint density over latents, nuisances and class (Kang et al. 2021, eq. 7), for batches of spectra.

In three stages, of which the climbs are single tensor programs over the batch:

1. *Rank*: every spectrum's coadd is compared with what each class can look like: decoded latents of its training spectra,
   amplitude profiled out, or, for models of stars at rest, its Gaussian on a net of velocities and reddenings
   (`rest_search.py`).
2. *Search*: from the best start of each class, Newton steps on the coadd under white Student-t noise and a Gaussian for
   each class instead of its latent prior. For stars at rest only classes within `margin` nats of the best are searched,
   unless not even that is near the data.
3. *Refine*: candidates within `margin` climb the full joint density, all exposures and the noise flow included. For stars
   at rest each starts at its best kernels (`rest_search.among_kernels`); and the best one of each spectrum starts once more
   at its class's mean, from where other kernels are reached.
"""

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from ..model.data import Data
from ..model.joint import Parameters, SpectrumModel
from ..model.kernel_prior import gaussian_prior
from .finite import check_finite
from .mixture import Normal
from .newton import Fit, Newton
from .rest_search import among_kernels, net_of, search

__all__ = ["Settings", "best_of", "class_evidence", "distinct", "find_modes"]

APART = 3.0  # standard deviations between velocities of one class that count as two
BEHIND = 20.0  # nats of the joint density below the best at which such a second one is left out


@dataclass(frozen=True)
class Settings:
    """Choices of the MAP search.

    Arguments:
        bank: Latents of each class to rank (models on the pixels).
        starts: Starts of each class to search from (models on the pixels).
        search: Newton steps of the coarse search.
        kernels: Starts of each candidate among the kernels of the latent prior (models of stars at rest).
        keep: Candidates of each spectrum that go on, at most, besides the start at the class's mean.
        margin: Candidates further than this below the best do not go on, in nats.
        lost: Candidates of a spectrum that go on in any case, where not even the best is near the data.
        tied: Candidates closer than this to the best go on, however many, in nats.
        iterations: Newton steps of the refinement, at most.
        tolerance: Predicted gain at which a candidate counts as converged, in nats.
    """

    bank: int = 128
    starts: int = 1
    search: int = 30
    kernels: int = 2
    keep: int = 6
    margin: float = 225.0
    lost: int = 3
    tied: float = 8.0
    iterations: int = 60
    tolerance: float = 1e-4


@dataclass(frozen=True, eq=False)
class _White:
    """White Student-t noise on ivar, with the interface of `NoiseFlow.linearize`."""

    dof: float = 4.0

    def linearize(self, eps: Tensor, ivar: Tensor, mask: Tensor, context: Tensor | None = None) -> "_White.Local":
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
    none = chosen.new_zeros(len(chosen), 0)
    detail, foreground = none.new_zeros(len(chosen), model.rank), none
    return Parameters(chosen, amplitude, none.unsqueeze(1), label.reshape(-1), detail, foreground)


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
        The refined modes; the spectrum of each, shape :math:`(M,)`; and the coarse log evidence of all classes, up to a
        constant, shape :math:`(B, K)`.

    Raises:
        NumericalError: if the density is no number at a mode.
    """
    settings = settings or Settings()
    soft = _soften(data, 0.02)
    find = _search_pixels if model.frame is None else _search_at_rest
    at, spectrum, evidence = find(model, soft, settings, seed)
    chosen = data.take(spectrum)
    newton = Newton(model, iterations=settings.iterations, tolerance=settings.tolerance)
    fit = newton.maximise(chosen, _with_calibration(model, chosen, at))
    check_finite("the density at its modes", fit.objective)
    return fit, spectrum, evidence


def _search_pixels(
    model: SpectrumModel, data: Data, settings: Settings, seed: int
) -> tuple[Parameters, Tensor, Tensor]:
    """Candidates, their spectra, and the classes' log evidence (B, K), by a bank of spectra and a coarse climb."""
    count = len(model.classes)
    start = _rank(model, data, settings, seed)
    spectrum = torch.arange(len(data), device=start.z.device).repeat_interleave(count * settings.starts)
    searched = Newton(_smooth(model), iterations=settings.search, tolerance=0.1).maximise(data.take(spectrum), start)
    rows = _close(searched.objective.reshape(len(data), -1), settings)
    best = searched.objective.reshape(len(data), -1).argmax(1)
    best = best + count * settings.starts * torch.arange(len(data), device=best.device)
    at = Parameters.join([searched.at.take(rows), _at_class_mean(model, searched.at.take(best))])
    evidence = searched.log_evidence().reshape(len(data), count, -1).max(-1).values
    return at, spectrum[torch.cat([rows, best])], evidence


def _search_at_rest(
    model: SpectrumModel, data: Data, settings: Settings, seed: int
) -> tuple[Parameters, Tensor, Tensor]:
    """The same by closed forms on a net of velocities and reddenings, for models of stars at rest."""
    first, evidence, lost, other, owner = search(model, net_of(model), data)
    evidence = evidence + model.class_prior.log_prob
    rows = _close(evidence, settings, lost)
    every = torch.arange(len(data), device=rows.device).repeat_interleave(len(model.classes))
    also = torch.nonzero(torch.isin(owner * len(model.classes) + other.label, rows)).flatten()
    start, spectrum = Parameters.join([first.take(rows), other.take(also)]), torch.cat([every[rows], owner[also]])
    smooth = _smooth(model)
    climb = Newton(smooth, iterations=settings.search, tolerance=0.1)
    fit = climb.maximise(data.take(spectrum), start)
    at, origin = among_kernels(model, fit, smooth.latent_prior, settings.kernels)
    best = best_of(fit, spectrum)
    at = Parameters.join([at, _at_class_mean(model, fit.at.take(best))])
    return at, spectrum[torch.cat([origin, best])], evidence


def _close(objective: Tensor, settings: Settings, lost: Tensor | None = None) -> Tensor:
    """Rows of candidates (B, n), flattened, that are within the margin of their spectrum's best and among the first, or
    so close to it that they may be the best; of a spectrum that is lost (B,) the first few in any case.
    """
    behind = objective.max(1, keepdim=True).values - objective
    rank = behind.argsort(dim=1, stable=True).argsort(dim=1)
    close = (behind <= settings.margin) & ((rank < settings.keep) | (behind <= settings.tied))
    if lost is not None:
        close |= lost.unsqueeze(1) & (rank < settings.lost) & behind.isfinite()
    return torch.nonzero(close.flatten()).flatten()


def _smooth(model: SpectrumModel) -> SpectrumModel:
    """The model with white noise and one Gaussian for each class: a landscape without the bumps of single kernels."""
    prior = gaussian_prior(model.latent_prior)
    parts = (model.grid, model.class_prior, model.generator, prior, _White(), model.nuisance)
    options = {"volume": model.volume, "frame": model.frame, "factors": model.factors}
    return SpectrumModel(*parts, model.discrepancy, model.spread, **options)


def _at_class_mean(model: SpectrumModel, at: Parameters) -> Parameters:
    """A second start in the same class, the mean of its latents: from there other kernels are reached."""
    means = torch.stack([model.latent_prior.latents(k).mean(0) for k in range(len(model.classes))])
    return Parameters(means[at.label], at.amplitude, at.calibration, at.label, at.detail, at.foreground)


def _with_calibration(model: SpectrumModel, data: Data, at: Parameters) -> Parameters:
    terms = model.nuisance.terms if bool(data.share.any()) else 0
    calibration = at.z.new_zeros(*data.share.shape, terms)
    return Parameters(at.z, at.amplitude, calibration, at.label, at.detail, at.foreground)


def best_of(fit: Fit, group: Tensor) -> Tensor:
    """Rows of the best mode of each group (M,), in the order of the groups."""
    best = fit.objective.new_full((int(group.max()) + 1,), -torch.inf).scatter_reduce(0, group, fit.objective, "amax")
    rows = torch.nonzero(fit.objective == best[group]).flatten()
    first = {int(g): int(r) for r, g in zip(rows.flip(0), group[rows].flip(0), strict=True)}
    return torch.tensor([first[g] for g in sorted(first)], device=group.device)


def distinct(model: SpectrumModel, fit: Fit, spectrum: Tensor) -> Tensor:
    """Rows of the best mode of each spectrum and class, and of modes at clearly other velocities, if they are close to it."""
    group = spectrum * len(model.classes) + fit.at.label
    best = best_of(fit, group)
    if not (model.foreground and model.nuisance.velocity_sd_kms > 0):
        return best
    place = fit.at.z.shape[1] + fit.at.detail.shape[1]
    sigma = torch.cholesky_inverse(torch.linalg.cholesky(fit.precision))[:, place, place].sqrt()
    velocity, kept = fit.at.foreground[:, 0].double(), best.tolist()
    top = fit.objective.new_full((int(spectrum.max()) + 1,), -torch.inf)
    top = top.scatter_reduce(0, spectrum, fit.objective, "amax")
    for row in fit.objective.argsort(descending=True).tolist():
        rivals = [other for other in kept if int(group[other]) == int(group[row])]
        apart = all(
            float((velocity[row] - velocity[other]).abs()) > APART * float(torch.maximum(sigma[row], sigma[other]))
            for other in rivals
        )
        if apart and float(fit.objective[row]) > float(top[spectrum[row]]) - BEHIND:
            kept.append(row)
    return torch.tensor(kept, device=group.device)


def class_evidence(coarse: Tensor, normals: Normal, spectrum: Tensor) -> Tensor:
    """Log evidence (B, K) relative to the best refined class; of classes that were not refined, the coarse one."""
    fine = torch.full_like(coarse, -torch.inf, dtype=torch.double)
    for b, k, evidence in zip(spectrum.tolist(), normals.at.label.tolist(), normals.log_evidence, strict=True):
        fine[b, k] = torch.logaddexp(fine[b, k], evidence)
    known = torch.isfinite(fine)
    reference = fine.argmax(1, keepdim=True)
    best_fine, best_coarse = fine.gather(1, reference), coarse.gather(1, reference)
    return torch.where(known, fine - best_fine, (coarse - best_coarse).clamp_max(0.0))
