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

from ..model.data import Data
from ..model.joint import Parameters, SpectrumModel
from .banded import banded_information, lower, upper
from .finite import check_finite

__all__ = ["Expansion", "Fit", "Newton", "exposure_tangents", "flatten", "unflatten"]

ROWS = 16  # at a time on a CPU, so that their tangents stay in its cache


@dataclass(frozen=True, eq=False)
class Fit:
    r"""Maxima, one for each row of a batch.

    Arguments:
        at: Where they are.
        objective: Log joint density there, shape :math:`(B,)`.
        precision: Curvature :math:`H` in the order z, u, f, a, c, shape :math:`(B, n, n)`; positive definite.
        information: The same without the share of the latent prior: what data and nuisance priors say.
        converged: Whether the predicted gain fell below the tolerance, shape :math:`(B,)`.
        iterations: Evaluations of the joint density, shape :math:`(B,)`.
    """

    at: Parameters
    objective: Tensor
    precision: Tensor
    information: Tensor
    converged: Tensor
    iterations: Tensor

    def take(self, rows: Tensor | slice) -> "Fit":
        """The maxima at an index."""
        rest = (self.precision[rows], self.information[rows], self.converged[rows], self.iterations[rows])
        return Fit(self.at.take(rows), self.objective[rows], *rest)

    def log_evidence(self) -> Tensor:
        r"""Laplace's approximation of :math:`\log p(y, C)`, shape :math:`(B,)`."""
        n = self.precision.shape[-1]
        log_det = torch.linalg.slogdet(self.precision).logabsdet
        return self.objective + 0.5 * n * torch.log(torch.tensor(2 * torch.pi)) - 0.5 * log_det


@dataclass(frozen=True, eq=False)
class Expansion:
    """Second-order expansion about a point: objective (B,), gradient (B, n); curvature (B, n, n) with and without the latent
    prior's share (`information`).
    """

    objective: Tensor
    gradient: Tensor
    curvature: Tensor
    information: Tensor

    def put(self, rows: Tensor, other: "Expansion") -> None:
        """Replace rows by those of another."""
        for mine, theirs in zip(vars(self).values(), vars(other).values(), strict=True):
            mine[rows] = theirs

    def take(self, rows: Tensor | slice) -> "Expansion":
        """The rows at an index."""
        return Expansion(*(value[rows] for value in vars(self).values()))


class Newton:
    r"""The maximiser of a model's log joint density.

    Arguments:
        model: The joint density.
        iterations: Evaluations allowed for each row.
        tolerance: A row has converged when a full step promises less than this, in nats.
        expected: Whether the curvature is the expected (Fisher) information of the data, as error bars need it; the weights
            alone, which keep every step uphill, overestimate it under heavy-tailed noise.
    """

    def __init__(
        self,
        model: SpectrumModel,
        *,
        iterations: int = 40,
        tolerance: float = 1e-4,
        expected: bool = False,
    ) -> None:
        self.model = model
        self.share = model.noise.fisher_share if expected else 1.0
        self.iterations, self.tolerance = iterations, tolerance

    @torch.no_grad()
    def maximise(self, data: Data, start: Parameters) -> Fit:
        """Climb from each row's start.

        Arguments:
            data: B rows; a spectrum may stand in several.
            start: B starts; the label stays as it is.

        Raises:
            NumericalError: if a start is no number.
        """
        theta = flatten(start)
        check_finite("the starts of a climb", theta)
        here = self.expand(data, start)
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
            there = self.expand(data.take(active), unflatten(trial, start.take(active)))
            slope = (here.gradient * step).sum(-1)[active]
            enough = here.objective[active] + 1e-4 * length[active] * slope
            better = there.objective >= enough - self._rounding(data, here.objective[active])
            iterations[active] += 1
            length[active] = torch.where(better, (2 * length[active]).clamp_max(1.0), length[active] / 4)
            rows = active[better]
            theta[rows] = trial[better]
            here.put(rows, there.take(better))
            step[rows] = _solve(there.take(better))
        promise = self._promise(here, step)
        converged = (promise >= 0) & (promise <= self.tolerance)
        at = unflatten(theta, start)
        return Fit(at, here.objective, here.curvature, here.information, converged, iterations)

    @staticmethod
    def _promise(here: Expansion, step: Tensor) -> Tensor:
        return 0.5 * (here.gradient * step).sum(-1)

    @staticmethod
    def _rounding(data: Data, objective: Tensor) -> Tensor:
        """How far the objective may be off by the precision of its terms alone."""
        return 4 * torch.finfo(data.flux.dtype).eps * (objective.abs() + data.flux[0].numel())

    def expand(self, data: Data, at: Parameters) -> Expansion:
        """Second-order expansion of the log joint density about each row's parameters."""
        rows = ROWS if data.flux.device.type == "cpu" else max(1, len(data))
        blocks = [
            self._likelihood(data.take(slice(i, i + rows)), at.take(slice(i, i + rows)))
            for i in range(0, len(data), rows)
        ]
        likelihood, gradient, curvature = (torch.cat(parts).double() for parts in zip(*blocks, strict=True))
        curvature = self.share * curvature
        expansion = Expansion(likelihood, gradient, curvature, curvature)
        if terms := at.calibration.shape[-1]:
            shared = gradient.shape[1] - at.calibration[0].numel()
            expansion = _centre(expansion, self.model.centring(data), shared, terms)
        return self._add_prior(expansion, data, at)

    def _likelihood(self, data: Data, at: Parameters) -> tuple[Tensor, Tensor, Tensor]:
        """Log-likelihood (B,), gradient (B, n) and curvature (B, n, n), by centred calibration terms."""
        model, terms = self.model, at.calibration.shape[-1]
        star, jacobian = model.star_and_jacobian(at)
        shared = torch.cat([jacobian, star.unsqueeze(1)], 1)
        mean, seen = model.exposed(data, at, star)
        gain = model.gain(data, at.amplitude, at.calibration).expand_as(data.flux)
        own = exposure_tangents(model, data, star, seen, terms)
        local = model.noise.linearize(data.flux - mean, data.ivar, data.mask, data.context)
        slope, shifts = gain * local.score, model.nuisance.shifts(model.centred(data, at.calibration))
        total = slope.sum(1)
        if shifts is not None:  # exact for the gradient; the curvature takes the star as unshifted
            total = total + model.pixel_shift.transpose((shifts * slope).sum(1))
        derivatives = _derivatives(shared, own, total, gain, slope, local.band, local.weight.sqrt())
        return local.log_prob.sum((-2, -1), dtype=torch.float64), *derivatives

    def _add_prior(self, expansion: Expansion, data: Data, at: Parameters) -> Expansion:
        """The prior's share; where its curvature is indefinite, that of one kernel, which keeps steps uphill."""
        model, dim = self.model, at.z.shape[-1]
        prior = model.latent_prior.curvature(at.z, at.label)
        diagonal = torch.cat(
            [
                torch.ones_like(at.detail),
                torch.ones_like(at.foreground),
                torch.full_like(at.amplitude, model.nuisance.amplitude_sd**-2).unsqueeze(-1),
                model.nuisance.precision(at.calibration).flatten(1),
            ],
            -1,
        ).double()
        nuisance = torch.cat(
            [at.detail, at.foreground, at.amplitude.unsqueeze(-1), at.calibration.flatten(1)], -1
        ).double()
        expansion.gradient[:, :dim] += prior.gradient.double()
        if model.volume:
            expansion.gradient[:, :dim] -= _volume_slope(model, at.z).double()
        expansion.gradient[:, dim:] -= diagonal * nuisance
        information = expansion.curvature.clone()
        information[:, dim:, dim:] += torch.diag_embed(diagonal)
        curvature = _embed(information, prior.precision)
        indefinite = torch.linalg.cholesky_ex(curvature).info != 0
        curvature = torch.where(indefinite[:, None, None], _embed(information, prior.majorant), curvature)
        objective = expansion.objective + model.log_prior(data, at, prior.log_prob).double()
        return Expansion(objective, expansion.gradient, curvature, information)


def _embed(information: Tensor, precision: Tensor) -> Tensor:
    """Information about all parameters plus a precision of the latents alone."""
    total, dim = information.clone(), precision.shape[-1]
    total[:, :dim, :dim] += precision.double()
    return total


def _centre(expansion: Expansion, centring: Tensor, shared: int, terms: int) -> Expansion:
    """From derivatives by the centred calibration terms to those by the terms themselves (chain rule)."""
    size, double = expansion.gradient.shape[1], {"dtype": torch.float64, "device": centring.device}
    chain = torch.eye(size, **double).repeat(len(centring), 1, 1)
    eye = torch.eye(terms, **double)
    blocks = torch.einsum("bsef,st->besft", centring.double(), eye)
    chain[:, shared:, shared:] = blocks.reshape(len(centring), size - shared, size - shared)
    gradient = (chain.mT @ expansion.gradient.unsqueeze(-1)).squeeze(-1)
    curvature = chain.mT @ expansion.curvature @ chain
    return Expansion(expansion.objective, gradient, curvature, curvature)


def exposure_tangents(model: SpectrumModel, data: Data, star: Tensor, seen: Tensor, terms: int) -> Tensor:
    """Derivatives by the centred terms of an exposure, per unit gain: (B, E, n, D), or (B, 1, n, D) if E share them."""
    if not terms:
        return star.new_zeros(len(star), 1, 0, star.shape[-1])
    rows = seen.unsqueeze(2) * model.nuisance.basis(data.side, model.grid.size, star)
    if model.nuisance.shift_sd_kms > 0:
        moved = model.pixel_shift(star)[:, None, None].expand(-1, rows.shape[1], -1, -1)
        rows = torch.cat([rows, moved], 2)
    return rows


def _derivatives(
    shared: Tensor, own: Tensor, total: Tensor, gain: Tensor, slope: Tensor, band: Tensor, root: Tensor
) -> tuple[Tensor, Tensor]:
    r"""Gradient (B, n) and Gauss-Newton curvature (B, n, n) of the log-likelihood, by shared and centred calibration terms.

    With :math:`m_e = g_e \cdot (\text{shared}, \text{own})`, the information of exposure e about the pixels is a banded
    matrix :math:`M_e`; those of all exposures are added up before they meet the shared tangents.

    Arguments:
        shared: Derivatives of the star by z, u, f and a, per unit gain, shape :math:`(B, L + R + F + 1, D)`.
        own: The same by one exposure's calibration terms, shape :math:`(B, E, n', D)` or :math:`(B, 1, n', D)`.
        total: Gain times score as the shared tangents meet it, summed over exposures, shape :math:`(B, D)`.
        gain: Shape :math:`(B, E, D)`.
        slope: Gain times score, shape :math:`(B, E, D)`.
        band, root: Of a `Linearization`; root is that of the weight.
    """
    size, terms, exposures = shared.shape[1], own.shape[2], gain.shape[1]
    gradient = shared.new_empty(len(shared), size + exposures * terms)
    curvature = shared.new_zeros(*gradient.shape, gradient.shape[1])
    diagonals = banded_information(band, gain, root)
    gradient[:, :size] = -(shared @ total.unsqueeze(-1)).squeeze(-1)
    half = shared @ lower([diagonal.sum(1, keepdim=True) for diagonal in diagonals], shared).mT
    curvature[:, :size, :size] = half + half.mT
    if terms:
        gradient[:, size:] = -(own @ slope.unsqueeze(-1)).flatten(1)
        every = [diagonal.unsqueeze(2) for diagonal in diagonals]
        product = upper(every, own).add_(lower(every, own))
        cross, blocks = shared @ product.flatten(1, 2).mT, own @ product.mT
        curvature[:, :size, size:], curvature[:, size:, :size] = cross, cross.mT
        for e in range(exposures):
            inside = slice(size + e * terms, size + (e + 1) * terms)
            curvature[:, inside, inside] = blocks[:, e]
    return gradient, curvature


def _volume_slope(model: SpectrumModel, z: Tensor) -> Tensor:
    """Derivative of the log volume element; its curvature is left out, as second derivatives of G are elsewhere."""
    with torch.enable_grad():
        z = z.detach().requires_grad_()
        return torch.autograd.grad(model.generator.log_volume(z).sum(), z)[0]


def _solve(expansion: Expansion) -> Tensor:
    """The Newton step, in the parameters' dtype; a ridge of 1e-9 of the diagonal guards against rounding."""
    diagonal = expansion.curvature.diagonal(dim1=1, dim2=2)
    ridged = expansion.curvature + torch.diag_embed(1e-9 * diagonal + 1e-12)
    factor, _ = torch.linalg.cholesky_ex(ridged)
    return torch.cholesky_solve(expansion.gradient.unsqueeze(-1), factor).squeeze(-1)


def flatten(at: Parameters) -> Tensor:
    """Parameters as vectors z, u, f, a, c: (B, n), double precision."""
    parts = (at.z, at.detail, at.foreground, at.amplitude.unsqueeze(-1), at.calibration.flatten(1))
    return torch.cat(parts, -1).double()


def unflatten(theta: Tensor, like: Parameters) -> Parameters:
    """The inverse of `flatten`, with the shapes, labels and dtype of other parameters."""
    sizes = [like.z.shape[1], like.detail.shape[1], like.foreground.shape[1], 1, like.calibration[0].numel()]
    z, detail, foreground, amplitude, calibration = theta.to(like.z.dtype).split(sizes, 1)
    calibration = calibration.reshape(like.calibration.shape)
    return Parameters(z, amplitude[:, 0], calibration, like.label, detail, foreground)
