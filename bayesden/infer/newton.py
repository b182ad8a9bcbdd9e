r"""Second-order maximisation of the joint density: many spectra, classes and starts in one tensor program.

The gradient of the log joint density is exact. The curvature is that of Gauss and Newton for the whitened residuals
:math:`\xi` of the noise model, with the weights of iteratively reweighted least squares,

.. math:: H = \sum_{e,d} \omega_{ed}\, \frac{\partial \xi_{ed}}{\partial \theta}
              \frac{\partial \xi_{ed}}{\partial \theta}^{\!\top} - \nabla^2 \log p(\theta),

so it is positive definite and a step never points downhill; a backtracking line search does the rest. Rows that have
converged leave the batch.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from ..model.joint import Data, Parameters, SpectrumModel

__all__ = ["Fit", "Newton"]


@dataclass(frozen=True, eq=False)
class Fit:
    r"""Maxima, one for each row of a batch.

    Arguments:
        at: Where they are.
        objective: Log joint density there, shape :math:`(B,)`.
        precision: Curvature :math:`H` in the order z, a, c, shape :math:`(B, n, n)`.
        converged: Whether the predicted gain fell below the tolerance, shape :math:`(B,)`.
        iterations: Evaluations of the joint density, shape :math:`(B,)`.
    """

    at: Parameters
    objective: Tensor
    precision: Tensor
    converged: Tensor
    iterations: Tensor

    def take(self, rows: Tensor | slice) -> "Fit":
        """The maxima at an index."""
        rest = (self.objective[rows], self.precision[rows], self.converged[rows], self.iterations[rows])
        return Fit(self.at.take(rows), *rest)

    def log_evidence(self) -> Tensor:
        r"""Laplace's approximation of :math:`\log p(y, C)`, shape :math:`(B,)`."""
        n = self.precision.shape[-1]
        log_det = torch.linalg.slogdet(self.precision).logabsdet
        return self.objective + 0.5 * n * torch.log(torch.tensor(2 * torch.pi)) - 0.5 * log_det


@dataclass(frozen=True, eq=False)
class _Expansion:
    """Second-order expansion about a point: objective (B,), gradient (B, n), curvature (B, n, n)."""

    objective: Tensor
    gradient: Tensor
    curvature: Tensor

    def put(self, rows: Tensor, other: "_Expansion") -> None:
        for mine, theirs in zip(vars(self).values(), vars(other).values(), strict=True):
            mine[rows] = theirs

    def take(self, rows: Tensor | slice) -> "_Expansion":
        return _Expansion(self.objective[rows], self.gradient[rows], self.curvature[rows])


class Newton:
    r"""The maximiser of a model's log joint density.

    Arguments:
        model: The joint density.
        noise: Stands in for the model's noise (same `linearize`), for a coarse search.
        iterations: Evaluations allowed for each row.
        tolerance: A row has converged when a full step promises less than this, in nats.
    """

    def __init__(
        self, model: SpectrumModel, *, noise: object | None = None, iterations: int = 40, tolerance: float = 1e-4
    ) -> None:
        self.model, self.noise = model, noise or model.noise
        self.iterations, self.tolerance = iterations, tolerance

    @torch.no_grad()
    def maximise(self, data: Data, start: Parameters) -> Fit:
        """Climb from each row's start.

        Arguments:
            data: B rows; a spectrum may stand in several.
            start: B starts; the label stays as it is.
        """
        theta = _flatten(start)
        here = self._expand(data, start)
        step = _solve(here)
        length = torch.ones_like(here.objective)
        iterations = torch.ones(len(data), dtype=torch.long, device=theta.device)
        active = torch.arange(len(data), device=theta.device)
        for _ in range(self.iterations):
            active = active[self._promise(here, step)[active] > self.tolerance]
            active = active[length[active] > 1e-4]
            if len(active) == 0:
                break
            trial = theta[active] + length[active, None] * step[active]
            there = self._expand(data.take(active), _unflatten(trial, start.take(active)))
            slope = (here.gradient * step).sum(-1)[active]
            enough = here.objective[active] + 1e-4 * length[active] * slope
            better = there.objective >= enough - self._rounding(data, here.objective[active])
            iterations[active] += 1
            length[active] = torch.where(better, (2 * length[active]).clamp_max(1.0), length[active] / 4)
            rows = active[better]
            theta[rows] = trial[better]
            here.put(rows, there.take(better))
            step[rows] = _solve(there.take(better))
        converged = self._promise(here, step) <= self.tolerance
        return Fit(_unflatten(theta, start), here.objective, here.curvature, converged, iterations)

    @staticmethod
    def _promise(here: _Expansion, step: Tensor) -> Tensor:
        return 0.5 * (here.gradient * step).sum(-1)

    @staticmethod
    def _rounding(data: Data, objective: Tensor) -> Tensor:
        """How far the objective may be off by the precision of its terms alone."""
        return 4 * torch.finfo(data.flux.dtype).eps * (objective.abs() + data.flux[0].numel())

    def _expand(self, data: Data, at: Parameters) -> _Expansion:
        model, dim = self.model, at.z.shape[-1]
        star, jacobian = model.generator.value_and_jacobian(at.z)
        columns = torch.cat([jacobian, star.unsqueeze(1)], 1)
        gain = model.gain(data, at.amplitude, at.calibration)
        mean = gain * star.unsqueeze(1)
        local = self.noise.linearize(data.flux - mean, data.ivar, data.mask)
        terms = at.calibration.shape[-1]
        polynomials = model.nuisance.polynomials(model.grid.size, star)[:terms]
        size = dim + 1 + data.share.shape[1] * terms
        gradient, curvature = star.new_zeros(len(star), size), star.new_zeros(len(star), size, size)
        shared = slice(0, dim + 1)
        for e in range(data.share.shape[1]):
            own = slice(dim + 1 + e * terms, dim + 1 + (e + 1) * terms)
            tilt = mean[:, e].unsqueeze(1) * polynomials
            tangent = torch.cat([gain[:, e].unsqueeze(1) * columns, tilt], 1)
            slope = -(tangent @ local.score[:, e].unsqueeze(-1)).squeeze(-1)
            white = _apply_band(local.band[:, e], tangent)
            block = (white * local.weight[:, e].unsqueeze(1)) @ white.transpose(1, 2)
            gradient[:, shared] += slope[:, : dim + 1]
            gradient[:, own] = slope[:, dim + 1 :]
            curvature[:, shared, shared] += block[:, : dim + 1, : dim + 1]
            curvature[:, own, shared] = block[:, dim + 1 :, : dim + 1]
            curvature[:, shared, own] = block[:, : dim + 1, dim + 1 :]
            curvature[:, own, own] = block[:, dim + 1 :, dim + 1 :]
        likelihood = local.log_prob.sum((-2, -1), dtype=torch.float64)
        expansion = _Expansion(likelihood, gradient.double(), curvature.double())
        return self._add_prior(_centre(expansion, data, dim + 1, terms), data, at)

    def _add_prior(self, expansion: _Expansion, data: Data, at: Parameters) -> _Expansion:
        """The prior's share; where its curvature is indefinite, that of one kernel, which keeps steps uphill."""
        model, dim = self.model, at.z.shape[-1]
        prior = model.latent_prior.curvature(at.z, at.label)
        diagonal = torch.cat(
            [
                torch.full_like(at.amplitude, model.nuisance.amplitude_sd**-2).unsqueeze(-1),
                torch.full_like(at.calibration.flatten(1), max(model.nuisance.calibration_sd, 1e-6) ** -2),
            ],
            -1,
        ).double()
        nuisance = torch.cat([at.amplitude.unsqueeze(-1), at.calibration.flatten(1)], -1).double()
        expansion.gradient[:, :dim] += prior.gradient.double()
        expansion.gradient[:, dim:] -= diagonal * nuisance
        expansion.curvature[:, dim:, dim:] += torch.diag_embed(diagonal)
        block = expansion.curvature[:, :dim, :dim] + prior.precision.double()
        indefinite = torch.linalg.eigvalsh(block)[:, 0] <= 1e-9 * block.diagonal(dim1=1, dim2=2).sum(-1)
        safe = expansion.curvature[:, :dim, :dim] + prior.majorant.double()
        expansion.curvature[:, :dim, :dim] = torch.where(indefinite[:, None, None], safe, block)
        objective = expansion.objective + model.log_prior(data, at).double()
        return _Expansion(objective, expansion.gradient, expansion.curvature)


def _centre(expansion: _Expansion, data: Data, shared: int, terms: int) -> _Expansion:
    """From derivatives by the centred calibration terms to those by the terms themselves (chain rule)."""
    if not terms:
        return expansion
    size, double = expansion.gradient.shape[1], {"dtype": torch.float64, "device": data.flux.device}
    chain = torch.eye(size, **double).repeat(len(data), 1, 1)
    eye = torch.eye(terms, **double)
    blocks = torch.einsum("bef,st->besft", data.centring().double(), eye)
    chain[:, shared:, shared:] = blocks.reshape(len(data), size - shared, size - shared)
    gradient = (chain.mT @ expansion.gradient.unsqueeze(-1)).squeeze(-1)
    return _Expansion(expansion.objective, gradient, chain.mT @ expansion.curvature @ chain)


def _apply_band(band: Tensor, tangent: Tensor) -> Tensor:
    r"""Derivative of the whitened residuals along tangents: band (B, D, K + 1), tangent (B, n, D) to (B, n, D)."""
    out = band[..., 0].unsqueeze(1) * tangent
    for k in range(1, band.shape[-1]):
        out[..., k:].addcmul_(band[:, k:, k].unsqueeze(1), tangent[..., :-k])
    return out


def _solve(expansion: _Expansion) -> Tensor:
    """The Newton step, in the parameters' dtype; a ridge of 1e-9 of the diagonal guards against rounding."""
    diagonal = expansion.curvature.diagonal(dim1=1, dim2=2)
    ridged = expansion.curvature + torch.diag_embed(1e-9 * diagonal + 1e-12)
    factor, _ = torch.linalg.cholesky_ex(ridged)
    return torch.cholesky_solve(expansion.gradient.unsqueeze(-1), factor).squeeze(-1)


def _flatten(at: Parameters) -> Tensor:
    return torch.cat([at.z, at.amplitude.unsqueeze(-1), at.calibration.flatten(1)], -1).double()


def _unflatten(theta: Tensor, like: Parameters) -> Parameters:
    dim = like.z.shape[-1]
    z, amplitude, calibration = theta[:, :dim], theta[:, dim], theta[:, dim + 1 :]
    dtype = like.z.dtype
    return Parameters(
        z.to(dtype), amplitude.to(dtype), calibration.to(dtype).reshape(like.calibration.shape), like.label
    )
