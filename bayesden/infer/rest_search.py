r"""Where to start a fit of a star that moves and is reddened: class, velocity, reddening and latents, by closed forms.

The prior of each class is taken as a Gaussian of rank `RANK` around its mean, seen at a net of velocities and reddenings.
With white noise the evidence of each knot of the net is then a small determinant and a quadratic form,

.. math:: \log p(y) = -\tfrac12 \log\det(I + B W B^\top) + \tfrac12 b^\top (I + B W B^\top)^{-1} b + \text{const},
          \qquad b = B W (y - m),

where the rows of B are the class's components, its mean (for the amplitude) and its reddening, as seen at the knot, and W
is the inverse variance. The best knot of each class gives the start: its rest-frame spectrum is encoded.
"""

import math
from collections.abc import Iterable
from dataclasses import dataclass
from weakref import WeakKeyDictionary

import torch
from torch import Tensor

from ..model.data import Data
from ..model.joint import Parameters, SpectrumModel
from ..model.kernel_prior import KernelPrior
from ..model.latent_prior import LatentPrior
from ..model.nuisance import chebyshev
from ..model.rest_frame import LIGHT_KMS
from .mixture import marginal
from .newton import Fit, flatten, unflatten

__all__ = ["Net", "among_kernels", "net_of", "search"]

RANK = 12
DRAWS = 250  # spectra of a class that its Gaussian is made of
VELOCITIES = 11  # at least
SPACING = 3.0  # cells between velocities, at most, so that narrow lines meet
REDDENINGS = 4
NUMBERS = 1e8  # in a net, at most: wider spacing where there would be more
REACH = 2.75  # of the net, in prior standard deviations of velocity
AMPLITUDE = 0.3  # prior standard deviation of the amplitude
OTHER = 20.0  # nats below the best at which a second velocity is given up: the net is coarse
PRUNE = 1000.0  # nats below the best at which a class is given up after the first, coarse pass
LOST = 225.0  # nats that the best may be from a good fit; beyond, evidences say little, and no class is given up here
EXPECTED = 0.7863  # mean of a normal residual's square times its weight 5 / (4 + square)


@dataclass(frozen=True, eq=False)
class Net:
    r"""The classes' Gaussians at knots of velocity and reddening.

    Arguments:
        foreground: Standardised parameters of each knot, shape :math:`(V, F)`.
        mean: Mean spectrum as seen, by class and knot, shape :math:`(K, V, D)`.
        rows: Components, amplitude and reddening as seen, shape :math:`(K, V, R, D)`.
        rest_mean, rest_rows: Mean (K, N) and components (K, RANK, N) at rest.
    """

    foreground: Tensor
    mean: Tensor
    rows: Tensor
    rest_mean: Tensor
    rest_rows: Tensor

    @classmethod
    @torch.no_grad()
    def of(cls, model: SpectrumModel) -> "Net":
        """The net of a model of stars at rest."""
        means, components = zip(*(_gaussian(model, k) for k in range(len(model.classes))), strict=True)
        rest_mean, rest_rows = torch.stack(means), torch.stack(components)
        foreground = _knots(model)
        velocity, ebv = model.nuisance.velocity_kms(foreground), model.nuisance.ebv(foreground)
        seen = []
        for mean, rows in zip(rest_mean, rest_rows, strict=True):
            spectra = torch.cat([mean[None], rows])[None].expand(len(foreground), -1, -1)
            seen.append(model.frame(spectra, velocity, ebv))
        seen = torch.stack(seen)
        mean, rows = seen[:, :, 0], seen[:, :, 1:]
        extra = [AMPLITUDE * mean.unsqueeze(2)]
        if model.nuisance.ebv_sd > 0:
            spacing = 0.4 * model.nuisance.ebv_sd  # standard deviation within a mesh
            extra.append(-0.921 * spacing * model.frame.extinction * mean.unsqueeze(2))
        if model.nuisance.tilts:
            tilts = model.nuisance.tilt_sd * chebyshev(model.grid.size, model.nuisance.tilts, mean)[1:]
            extra.append(tilts * mean.unsqueeze(2))
        return cls(foreground, mean, torch.cat([rows, *extra], 2), rest_mean, rest_rows)


def _gaussian(model: SpectrumModel, k: int) -> tuple[Tensor, Tensor]:
    """Mean (N,) and scaled components (RANK, N) of a class's spectra at rest."""
    latents = model.latent_prior.latents(k)
    spectra = model.generator(latents[:: max(1, len(latents) // DRAWS)])
    mean = spectra.mean(0)
    away = (spectra - mean).double() / len(spectra) ** 0.5
    _, vector = torch.linalg.eigh(away @ away.mT)  # far cheaper than the singular values of so many pixels
    rows = mean.new_zeros(RANK, len(mean))  # fewer where a class has fewer latents
    kept = vector[:, -RANK:].mT.flip(0) @ away
    rows[: len(kept)] = kept.to(rows.dtype)
    return mean, rows


def _knots(model: SpectrumModel) -> Tensor:
    """Standardised velocities and reddenings of the net, (V, F)."""
    nuisance, axes = model.nuisance, []
    device = model.device
    if nuisance.velocity_sd_kms > 0:
        most = min(REACH, model.frame.reach_kms / nuisance.velocity_sd_kms)
        axes.append(torch.linspace(-most, most, _velocities(model, most * nuisance.velocity_sd_kms), device=device))
    if nuisance.ebv_sd > 0:
        axes.append(torch.linspace(-1.2, 1.2, REDDENINGS, device=device))
    knots = torch.cartesian_prod(*axes).reshape(-1, len(axes)) if axes else torch.zeros(1, 0, device=device)
    return torch.cat([knots, knots.new_zeros(len(knots), nuisance.tilts)], 1)


def _velocities(model: SpectrumModel, reach_kms: float) -> int:
    """How many velocities a net has between minus and plus its reach: an odd number, so that rest is among them."""
    wanted = 2 * reach_kms / (SPACING * model.frame.step * LIGHT_KMS)
    room = NUMBERS / (len(model.classes) * REDDENINGS * (RANK + 2 + model.nuisance.tilts) * model.grid.size)
    return max(VELOCITIES, 2 * math.ceil(min(wanted, room) / 2) + 1)


_NETS: WeakKeyDictionary[LatentPrior, tuple[tuple, Net]] = WeakKeyDictionary()


def net_of(model: SpectrumModel) -> Net:
    """The net of a model, made once for its parts, which copies of it share, and the device, precision and nuisances."""
    now, key = (model.generator, model.frame, model.device, model.spread.dtype, model.nuisance), model.latent_prior
    if key not in _NETS or _NETS[key][0] != now:
        _NETS[key] = (now, Net.of(model))
    return _NETS[key][1]


@torch.no_grad()
def search(model: SpectrumModel, net: Net, data: Data) -> tuple[Parameters, Tensor, Tensor, Parameters, Tensor]:
    """The best start of each class for each spectrum.

    Arguments:
        model: The joint density.
        net: Its net.
        data: Coadds, B rows of one exposure.

    Returns:
        B x K rows, spectrum by spectrum; the log evidence of each class, shape (B, K), up to a constant; whether the best is
        so far from a good fit that these say little, shape (B,); further starts, at other velocities that the classes may
        well have; and the spectrum of each of those.
    """
    found = [_search_one(model, net, data.flux[b, 0], data.ivar[b, 0]) for b in range(len(data))]
    starts, evidences, lost, others = zip(*found, strict=True)
    owner = torch.cat([torch.full_like(other.label, b) for b, other in enumerate(others)])
    return Parameters.join(starts), torch.stack(evidences), torch.stack(lost), Parameters.join(others), owner


def _search_one(
    model: SpectrumModel, net: Net, flux: Tensor, ivar: Tensor
) -> tuple[Parameters, Tensor, Tensor, Parameters]:
    classes, some = len(net.mean), _every_second(model, net)
    evidence, solved = _evidence(net, range(classes), some, flux, ivar)
    k, v = divmod(int(evidence.argmax()), len(some))
    fit = net.mean[k, some[v]] + (solved[k, v, None] @ net.rows[k, some[v]])[0]
    square = (flux - fit).square() * ivar
    weight = 5 / (4 + square)  # outliers weighed down by the best of the first pass
    misfit = 0.5 * float((weight * square - EXPECTED * (ivar > 0)).sum(dtype=torch.double))
    best, lost = evidence.max(1).values, misfit > LOST
    among = torch.nonzero((best > best.max() - PRUNE) | lost).flatten()
    evidence, solved = _evidence(net, among.tolist(), slice(None), flux, ivar * weight)
    total = torch.full_like(best, -torch.inf)
    total[among] = torch.logsumexp(evidence, 1)
    place = torch.zeros_like(best, dtype=torch.long)
    place[among] = evidence.argmax(1)
    coefficients = solved.new_zeros(classes, solved.shape[-1])
    coefficients[among] = solved[torch.arange(len(among), device=flux.device), place[among]]
    start = _start(model, net, torch.arange(classes, device=flux.device), place, coefficients)
    row, knot = _other_velocities(model, evidence, max(OTHER, misfit))
    other = _start(model, net, among[row], knot, solved[row, knot])
    return start, (total - total.max()).clamp_min(-2 * PRUNE), torch.tensor(lost, device=flux.device), other


def _start(model: SpectrumModel, net: Net, label: Tensor, knot: Tensor, coefficients: Tensor) -> Parameters:
    """Starts of classes (n,) at knots (n,), from the coefficients (n, R) of their Gaussians' rows."""
    rest = net.rest_mean[label] + torch.einsum("kr,krn->kn", coefficients[:, :RANK], net.rest_rows[label])
    level = rest.abs().mean(1, keepdim=True)
    amplitude = ((1 + AMPLITUDE * coefficients[:, RANK]).clamp(0.2, 5.0) * level[:, 0]).log()
    z = model.generator.encode(rest / level)
    return Parameters(
        z, amplitude, z.new_zeros(len(z), 1, 0), label, z.new_zeros(len(z), model.rank), net.foreground[knot]
    )


def _other_velocities(model: SpectrumModel, evidence: Tensor, behind: float) -> tuple[Tensor, Tensor]:
    """Classes and knots, (n,) each, of second maxima of the evidence (K, V) along the velocity, less than so many nats below
    the first.
    """
    reddenings = REDDENINGS if model.nuisance.ebv_sd > 0 else 1
    by_velocity, knot = evidence.unflatten(1, (-1, reddenings)).max(2)
    padded = torch.nn.functional.pad(by_velocity, (1, 1), value=-torch.inf)
    peak = (by_velocity > padded[:, :-2]) & (by_velocity >= padded[:, 2:])
    peak &= by_velocity > by_velocity.max(1, keepdim=True).values - behind
    peak &= by_velocity > by_velocity.max() - behind
    peak.scatter_(1, by_velocity.argmax(1, keepdim=True), False)  # that is the first
    row, velocity = torch.nonzero(peak).unbind(1)
    return row, velocity * reddenings + knot[row, velocity]


def _every_second(model: SpectrumModel, net: Net) -> Tensor:
    """Indices of every second knot along each axis."""
    reddenings = REDDENINGS if model.nuisance.ebv_sd > 0 else 1
    knot = torch.arange(len(net.foreground), device=net.mean.device)
    return knot[(knot % reddenings % 2 == 0) & (knot // reddenings % 2 == 0)]


def _evidence(
    net: Net, classes: Iterable[int], knots: Tensor | slice, flux: Tensor, weight: Tensor
) -> tuple[Tensor, Tensor]:
    """Log evidence of classes at knots (K, V), up to a constant, and the rows' coefficients (K, V, R)."""
    evidence, solved = [], []
    prior = 0.5 * net.foreground[knots].double().square().sum(-1)
    for k in classes:  # one by one: a class's rows times the weight are the largest temporary
        mean, rows = net.mean[k][knots], net.rows[k][knots]
        weighted = rows * weight
        residual = flux - mean
        score = (weighted @ residual.unsqueeze(-1)).squeeze(-1).double()
        cross = (weighted @ rows.mT).double()
        factor = torch.linalg.cholesky(cross + torch.eye(cross.shape[-1], dtype=cross.dtype, device=cross.device))
        coefficients = torch.cholesky_solve(score.unsqueeze(-1), factor).squeeze(-1)
        quadratic = (score * coefficients).sum(-1) - (weight * residual.square()).sum(-1, dtype=torch.double)
        log_det = factor.diagonal(dim1=-1, dim2=-2).log().sum(-1)
        evidence.append(0.5 * quadratic - log_det - prior)
        solved.append(coefficients.to(rows.dtype))
    return torch.stack(evidence), torch.stack(solved)


@torch.no_grad()
def among_kernels(model: SpectrumModel, fit: Fit, smooth: LatentPrior, count: int) -> tuple[Parameters, Tensor]:
    """Starts at the kernels of the latent prior that fit best, by closed form, from modes under a smooth prior.

    The likelihood is taken as normal around each mode, the nuisances integrated out; times the prior's kernels it is a
    mixture again, whose heaviest members say where to go. A prior that is not made of kernels is smooth, and is climbed from
    the modes themselves.

    Arguments:
        model: The joint density.
        fit: Modes with `smooth` in place of the latent prior, M rows.
        smooth: One Gaussian for each class.
        count: Starts for each mode, among kernels.

    Returns:
        M x count rows, mode by mode, or M, and the row of `fit` that each came from.
    """
    if not isinstance(model.latent_prior, KernelPrior):
        return fit.at, torch.arange(len(fit.at.z), device=fit.at.z.device)
    dim, theta = fit.at.z.shape[1], flatten(fit.at)
    starts = []
    for row, k in enumerate(fit.at.label.tolist()):
        information, z = fit.information[row], theta[row, :dim]
        precision, across = marginal(information, dim)
        slope = smooth.curvature(fit.at.z[row : row + 1], fit.at.label[row : row + 1]).gradient[0].double()
        latent = model.latent_prior.posterior(k, z, precision @ z - slope, precision)
        chosen = latent.means[latent.log_weight.topk(min(count, len(latent.means))).indices]
        chosen = chosen[torch.arange(count, device=chosen.device) % len(chosen)]
        step = chosen - z
        starts.append(theta[row] + torch.cat([step, -step @ across.T], 1))
    origin = torch.arange(len(theta), device=theta.device).repeat_interleave(count)
    return unflatten(torch.cat(starts), fit.at.take(origin)), origin
