r"""How probable held-out spectra are under a generator, a latent prior and the discrepancy: one number to choose them by.

A clean spectrum of known class gets white noise of a stated size, :math:`y = s + \sigma n`. Its density is

.. math::
    p(y \mid C) = \int p(z \mid C)\; \mathcal N\big(y;\, G(z),\, \Sigma_C\big)\, dz, \qquad
    \Sigma_C = W_C^\top W_C + \mathrm{diag}(\tau_C^2 + \sigma^2),

with the coefficients of the discrepancy integrated out in closed form, and the latents by importance sampling about the mode:
draws come in equal parts from two Student-t densities there, one as wide as the posterior, one as wide as it would be with
one Gaussian for the class. Models of any L are on one scale, nats per pixel; the noise keeps it finite. With the volume term
the prior is :math:`p(z \mid C)\, e^{-\mathrm{log\,volume}} / Z_C`, whose constant :math:`Z_C` is averaged over draws of
:math:`p(z \mid C)`.

The discrepancy of a spectrum is that of the other half of the validation split, by objects (`fit_discrepancy` looks at that
split): no generator is scored with factors that were made for the spectra in question.
"""

import copy
import math
import zlib
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ..errors import InputError
from ..model.generator import Generator
from ..model.latent_prior import LatentPrior
from ..train.discrepancy import fit_discrepancy
from ..train.library import Library
from ..train.sources import split_of

__all__ = ["CrossFit", "Evidence", "Spectra", "held_out_evidence", "log_evidence", "log_volume_constant"]

DOF = 5.0  # of the Student-t proposals
STEPS = 40
VOLUME_DRAWS = 4000


@dataclass(frozen=True, eq=False)
class Evidence:
    r"""Log evidence of each spectrum.

    Arguments:
        log_prob: By importance sampling, nats, shape :math:`(N,)`.
        laplace: By Laplace's approximation at the mode, nats, shape :math:`(N,)`.
        effective: Effective share of the draws, :math:`(\sum w)^2 / (n \sum w^2)`, shape :math:`(N,)`.
    """

    log_prob: Tensor
    laplace: Tensor
    effective: Tensor


@dataclass(frozen=True, eq=False)
class _Gaussian:
    r"""Residuals with covariance :math:`W^\top W + \mathrm{diag}(v)`, by Woodbury's identity; W is (R, D), v (D,)."""

    root: Tensor  # v^-1/2
    rows: Tensor  # whitened factors, (R, D)
    factor: Tensor  # of I + rows rows^T, (R, R)

    @classmethod
    def of(cls, factors: Tensor, variance: Tensor) -> "_Gaussian":
        root = variance.rsqrt()
        rows = factors * root
        eye = torch.eye(len(rows), dtype=rows.dtype, device=rows.device)
        return cls(root, rows, torch.linalg.cholesky(eye + rows @ rows.T))

    def _inner(self, white: Tensor) -> Tensor:
        """Whitened rows (*, n, D) on the factors: (*, n, R)."""
        product = (white @ self.rows.T).mT
        return torch.linalg.solve_triangular(self.factor, product, upper=False).mT

    def log_prob(self, residual: Tensor) -> Tensor:
        """Log-density of residuals (n, D): (n,)."""
        white = residual * self.root
        square = white.square().sum(-1) - self._inner(white).square().sum(-1)
        log_det = self.factor.diagonal().log().sum() - self.root.log().sum()
        return -0.5 * square - log_det - 0.5 * residual.shape[-1] * math.log(2 * math.pi)

    def normal(self, jacobian: Tensor, residual: Tensor) -> tuple[Tensor, Tensor]:
        """Information (B, L, L) and gradient (B, L) of latents with the Jacobian (B, L, D) at residuals (B, D)."""
        tangents, white = jacobian * self.root, (residual * self.root).unsqueeze(1)
        along, left = self._inner(tangents), self._inner(white)
        information = tangents @ tangents.mT - along @ along.mT
        return information, (tangents @ white.mT - along @ left.mT)[..., 0]


@dataclass(frozen=True, eq=False)
class Spectra:
    r"""Spectra of one class and what they are compared with.

    Arguments:
        flux: Noisy spectra :math:`y`, shape :math:`(N, D)`.
        label: Their class.
        start: Latents near each, such as the encoding of the clean spectrum, shape :math:`(N, L)`.
        factors: :math:`W_C`, shape :math:`(R, D)`.
        variance: :math:`\tau_C^2 + \sigma^2`, shape :math:`(D,)`.
    """

    flux: Tensor
    label: int
    start: Tensor
    factors: Tensor
    variance: Tensor


class _Posterior:
    """Log posterior density of the latents of a class's spectra, up to the evidence."""

    def __init__(self, spectra: Spectra, generator: Generator, prior: LatentPrior, volume: float | None) -> None:
        self.flux, self.k = spectra.flux, spectra.label
        self.generator, self.prior, self.volume = generator, prior, volume
        self.noise = _Gaussian.of(spectra.factors, spectra.variance)

    def log_prior(self, z: Tensor) -> Tensor:
        log_prob = self.prior.log_prob(z, torch.full(z.shape[:-1], self.k, device=z.device))
        return log_prob if self.volume is None else log_prob - self.generator.log_volume(z) - self.volume

    def log_joint(self, z: Tensor, flux: Tensor) -> Tensor:
        return self.log_prior(z) + self.noise.log_prob(flux - self.generator(z))

    def expand(self, z: Tensor, flux: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Log density (B,), gradient (B, L), curvature and information (B, L, L) at latents (B, L)."""
        star, jacobian = self.generator.value_and_jacobian(z)
        information, gradient = self.noise.normal(jacobian, flux - star)
        prior = self.prior.curvature(z, torch.full((len(z),), self.k, device=z.device))
        curvature = information + prior.precision
        indefinite = torch.linalg.cholesky_ex(curvature).info != 0
        curvature = torch.where(indefinite[:, None, None], information + prior.majorant, curvature)
        gradient = gradient + prior.gradient
        if self.volume is not None:
            gradient = gradient - self._volume_slope(z)
        return self.log_joint(z, flux), gradient, curvature, information

    def _volume_slope(self, z: Tensor) -> Tensor:
        with torch.enable_grad():
            z = z.detach().requires_grad_()
            return torch.autograd.grad(self.generator.log_volume(z).sum(), z)[0]


def _climb(posterior: _Posterior, start: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Modes (N, L), with log density, curvature and information there, by Newton steps with halving."""
    z, flux = start.clone(), posterior.flux
    here = list(posterior.expand(z, flux))
    length, active = torch.ones_like(here[0]), torch.arange(len(z), device=z.device)
    for _ in range(STEPS):
        step = torch.linalg.solve(here[2][active], here[1][active].unsqueeze(-1)).squeeze(-1)
        promise = (here[1][active] * step).sum(-1)
        going = (promise > 1e-3) & (length[active] > 1e-3)
        active, step = active[going], step[going]
        if len(active) == 0:
            break
        trial = z[active] + length[active, None] * step
        there = posterior.expand(trial, flux[active])
        better = there[0] > here[0][active]
        length[active] = torch.where(better, (2 * length[active]).clamp_max(1.0), length[active] / 2)
        rows = active[better]
        z[rows] = trial[better]
        for mine, theirs in zip(here, there, strict=True):
            mine[rows] = theirs[better]
    return z, here[0], here[2], here[3]


def _student(step: Tensor, factor: Tensor) -> Tensor:
    r"""Log-density of Student-t steps (n, L) of a precision with the Cholesky factor (L, L)."""
    dim = step.shape[-1]
    square = (step @ factor).square().sum(-1)
    norm = math.lgamma((DOF + dim) / 2) - math.lgamma(DOF / 2) - 0.5 * dim * math.log(DOF * math.pi)
    return norm + factor.diagonal().log().sum() - 0.5 * (DOF + dim) * torch.log1p(square / DOF)


@torch.no_grad()
def log_evidence(
    spectra: Spectra,
    generator: Generator,
    prior: LatentPrior,
    *,
    volume: float | None = None,
    draws: int = 256,
    seed: int = 0,
) -> Evidence:
    r"""Log evidence of spectra of one class.

    Arguments:
        spectra: The spectra, in double precision.
        generator: :math:`G`.
        prior: :math:`p(z \mid C)`.
        volume: With the volume term, :math:`\log Z_C`; None without.
        draws: Of the latents of each spectrum.
        seed: Seed of those.
    """
    posterior = _Posterior(spectra, generator, prior, volume)
    mode, top, curvature, information = _climb(posterior, spectra.start)
    wide = information + torch.linalg.inv(prior.covariance(spectra.label)).to(information)
    factors = torch.linalg.cholesky(torch.stack([curvature, wide], 1))
    dim, random = mode.shape[1], torch.Generator().manual_seed(seed)
    found, effective = [], []
    for b in range(len(mode)):
        normal = torch.randn(2, draws // 2, dim, 1, generator=random, dtype=torch.float64)
        chi = torch.randn(2, draws // 2, int(DOF), generator=random, dtype=torch.float64).square().sum(-1)
        scale = (DOF / chi).sqrt()[..., None, None].to(mode)
        step = torch.linalg.solve_triangular(factors[b].mT.unsqueeze(1), scale * normal.to(mode), upper=True)
        step = step.reshape(-1, dim)
        proposal = torch.stack([_student(step, factor) for factor in factors[b]])
        proposal = torch.logsumexp(proposal, 0) - math.log(2)
        weight = posterior.log_joint(mode[b] + step, spectra.flux[b]) - proposal
        total = torch.logsumexp(weight, 0)
        found.append(total - math.log(len(weight)))
        effective.append((2 * total - torch.logsumexp(2 * weight, 0)).exp() / len(weight))
    laplace = top + 0.5 * dim * math.log(2 * math.pi) - torch.linalg.slogdet(curvature).logabsdet / 2
    return Evidence(torch.stack(found), laplace, torch.stack(effective))


@torch.no_grad()
def log_volume_constant(generator: Generator, prior: LatentPrior, k: int, seed: int = 0) -> float:
    r""":math:`\log Z_C`, the logarithm of the mean of :math:`e^{-\mathrm{log\,volume}}` over draws of the prior of a class."""
    z = prior.sample(torch.full((VOLUME_DRAWS,), k), torch.Generator().manual_seed(seed))
    return float(torch.logsumexp(-generator.log_volume(z).double(), 0)) - math.log(VOLUME_DRAWS)


@dataclass(frozen=True, eq=False)
class CrossFit:
    r"""The discrepancy that each half of the validation split is scored with, made without that half's objects.

    Arguments:
        library: The validation split.
        half: Which half each of its spectra is in, 0 or 1, shape :math:`(N,)`.
        factors: :math:`W_C` for each half, shape :math:`(2, K, R, D)`.
        remainder: :math:`\tau_C`, shape :math:`(2, K, D)`.
    """

    library: Library
    half: NDArray
    factors: Tensor
    remainder: Tensor

    @classmethod
    def of(cls, library: Library, generator: Generator, rank: int) -> "CrossFit":
        """Fit both; the validation split has to have two objects or more."""
        held = np.array([split_of(name) == "validation" for name in library.name.tolist()])
        half = np.array([zlib.crc32(name.encode()) % 2 for name in library.name.tolist()])
        if len(np.unique(half[held])) < 2:
            raise InputError(f"library: expected two validation objects or more, got {len(set(library.name[held]))}")
        fits = [fit_discrepancy(library.take(~held | (half != h)), generator, rank) for h in (0, 1)]
        factors, remainder = (torch.stack(parts) for parts in zip(*fits, strict=True))
        return cls(library.take(held), half[held], factors, remainder)

    def choose(self, per_class: int, seed: int = 0) -> NDArray:
        """Rows of some spectra of each class, at random, as far as there are any."""
        rng, label = np.random.default_rng(seed), self.library.label
        rows = [rng.permutation(np.flatnonzero(label == k))[:per_class] for k in range(len(self.library.classes))]
        return np.sort(np.concatenate(rows))


def held_out_evidence(
    fit: CrossFit,
    generator: Generator,
    prior: LatentPrior,
    *,
    volume: bool = False,
    snr: float = 50.0,
    per_class: int = 20,
    draws: int = 256,
    seed: int = 0,
) -> tuple[NDArray, Evidence, Tensor]:
    r"""Log evidence of clean validation spectra with white noise of one size, each in its own class.

    Arguments:
        fit: The validation split with its discrepancy, for this generator.
        generator: :math:`G`.
        prior: :math:`p(z \mid C)`.
        volume: Whether the prior is one of spectra (see `SpectrumModel`).
        snr: Mean |flux| over the noise, at every pixel.
        per_class: Spectra of each class, at most.
        draws: Of the latents of each spectrum.
        seed: Seed of spectra, noise and draws; with one seed every model sees the same data.

    Returns:
        Rows of the spectra in `fit.library`, shape :math:`(N,)`; their evidence; and :math:`\log\mathcal N(y; s, \sigma^2)`, the
        log-density for one who knows the spectra, shape :math:`(N,)`, which no model exceeds on average.
    """
    generator, prior = copy.deepcopy(generator).double(), copy.deepcopy(prior).double()
    rows = fit.choose(per_class, seed)
    clean = torch.from_numpy(fit.library.flux[rows]).double()
    noise = torch.randn(clean.shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64) / snr
    label, half = fit.library.label[rows], fit.half[rows]
    out = [clean.new_zeros(len(rows)) for _ in range(3)]
    for k in np.unique(label).tolist():
        constant = log_volume_constant(generator, prior, k, seed) if volume else None
        for h in (0, 1):
            mine = torch.from_numpy(np.flatnonzero((label == k) & (half == h)))
            if len(mine) == 0:
                continue
            variance = fit.remainder[h, k].double().square() + snr**-2
            start, factors = generator.encode(clean[mine]), fit.factors[h, k].double()
            spectra = Spectra(clean[mine] + noise[mine], k, start, factors, variance)
            found = log_evidence(spectra, generator, prior, volume=constant, draws=draws, seed=seed)
            for total, part in zip(out, vars(found).values(), strict=True):
                total[mine] = part
    known = -0.5 * ((snr * noise).square() + math.log(2 * math.pi * snr**-2)).sum(-1)
    return rows, Evidence(*out), known
