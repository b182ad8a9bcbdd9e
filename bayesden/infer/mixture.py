r"""The posterior about a mode, class by class: normal in closed form, kernels of the latent prior summed out.

About a mode the likelihood with the nuisances' priors is :math:`\exp(g \cdot \delta - \tfrac12 \delta^\top I \delta)`, with the
expected information I. All parameters but z are integrated out of it, which leaves a normal likelihood of z; times the
latent prior, a mixture of kernels, it is a mixture of normals again, whose evidence, mean and covariance are sums in closed
form (`LatentPrior.posterior`). A mode alone is the place of one kernel: its neighbours, that fit nearly as well, belong to
the mean and to the error bars. The likelihood is expanded once more about the mean that was found.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, fields, replace

import torch
from torch import Tensor
from torch.nn.functional import pad
from torch.nn.utils.rnn import pad_sequence

from ..model.data import Data
from ..model.joint import Parameters, SpectrumModel
from ..model.latent_prior import LatentPosterior, LatentPrior
from .newton import Newton, flatten, unflatten

__all__ = ["Kernels", "Normal", "Row", "expansions", "integrate", "marginal", "normal_of"]

ROUNDS = 2
FAINTEST = 14.0  # kernels that weigh less than the heaviest by this, in nats, are not drawn from


@dataclass(frozen=True, eq=False)
class Kernels:
    r"""The mixtures whose moments `Normal` has: normal densities of z, the other parameters r normal given z; M rows.

    Arguments:
        log_weight: Of each kernel, shape :math:`(M, m)`; rows sum to one, :math:`-\infty` where a row has fewer.
        mean: Of z, shape :math:`(M, m, L)`.
        root: Inverse of the Cholesky factor of z's covariance, shape :math:`(M, m, L, L)`.
        origin: A point :math:`(z_0, r_0)`, shape :math:`(M, n)`.
        across: The mean of r is :math:`r_0 - A (z - z_0)`; shape :math:`(M, n - L, L)`.
        rest: Cholesky factor of the information about r given z, shape :math:`(M, n - L, n - L)`.
    """

    log_weight: Tensor
    mean: Tensor
    root: Tensor
    origin: Tensor
    across: Tensor
    rest: Tensor

    def take(self, rows: Tensor | slice) -> "Kernels":
        """The mixtures at an index."""
        return Kernels(*(getattr(self, f.name)[rows] for f in fields(self)))

    @classmethod
    def join(cls, parts: Sequence["Kernels"]) -> "Kernels":
        """Mixtures one after the other, padded to as many kernels."""
        most = max(part.log_weight.shape[1] for part in parts)
        padded = [part._padded(most) for part in parts]
        return cls(*(torch.cat([getattr(part, f.name) for part in padded]) for f in fields(cls)))

    def _padded(self, count: int) -> "Kernels":
        more = count - self.log_weight.shape[1]
        weight = pad(self.log_weight, (0, more), value=-math.inf)
        mean, root = pad(self.mean, (0, 0, 0, more)), pad(self.root, (0, 0, 0, 0, 0, more))
        return replace(self, log_weight=weight, mean=mean, root=root)

    def only(self, free: Tensor) -> "Kernels":
        """The mixtures of some of the parameters, of which no other depends on the rest; z is among them."""
        r = free[self.mean.shape[-1] :] - self.mean.shape[-1]
        origin, across, rest = self.origin[:, free], self.across[:, r], self.rest[:, r][:, :, r]
        return Kernels(self.log_weight, self.mean, self.root, origin, across, rest)


@dataclass(frozen=True, eq=False)
class Normal:
    r"""Normal posteriors of all parameters, given the class, M of them.

    Arguments:
        at: Means.
        covariance: In the order z, u, f, a, c, shape :math:`(M, n, n)`.
        log_evidence: :math:`\log p(y, C)`, shape :math:`(M,)`.
        kernels: The mixtures that these are the moments of.
    """

    at: Parameters
    covariance: Tensor
    log_evidence: Tensor
    kernels: Kernels

    def take(self, rows: Tensor | slice) -> "Normal":
        """The posteriors at an index."""
        return Normal(self.at.take(rows), self.covariance[rows], self.log_evidence[rows], self.kernels.take(rows))

    @classmethod
    def join(cls, parts: Sequence["Normal"]) -> "Normal":
        """Posteriors one after the other."""
        at = Parameters.join([part.at for part in parts])
        covariance, evidence = (torch.cat([getattr(p, name) for p in parts]) for name in ("covariance", "log_evidence"))
        return cls(at, covariance, evidence, Kernels.join([part.kernels for part in parts]))


@dataclass(frozen=True, eq=False)
class Row:
    r"""The posterior from one expansion of the likelihood.

    Arguments:
        latent: The mixture of z; its weights are :math:`\log p(y, C)` kernel by kernel.
        theta: Where the likelihood was expanded, shape :math:`(n,)`.
        step: From there to the best nuisances, z held, shape :math:`(n - L,)`.
        across, rest: As in `Kernels`, but the information itself.
    """

    latent: LatentPosterior
    theta: Tensor
    step: Tensor
    across: Tensor
    rest: Tensor

    @property
    def mean(self) -> Tensor:
        """Of all parameters, shape (n,)."""
        moved = self.latent.mean - self.theta[: self.across.shape[1]]
        return self.theta + torch.cat([moved, self.step - self.across @ moved])

    @property
    def covariance(self) -> Tensor:
        """Of all parameters, shape (n, n)."""
        spread = self.latent.covariance
        shared = -self.across @ spread
        rest = torch.linalg.inv(self.rest) - shared @ self.across.mT
        return torch.cat([torch.cat([spread, shared.mT], 1), torch.cat([shared, rest], 1)])


@torch.no_grad()
def integrate(model: SpectrumModel, data: Data, modes: Parameters) -> Normal:
    """The posterior about modes of the joint density.

    Arguments:
        model: The joint density.
        data: M rows; a spectrum may stand in several.
        modes: M rows.
    """
    at = modes
    for _ in range(ROUNDS):
        normal = normal_of(expansions(model, data, at), at)
        at = normal.at
    return normal


def expansions(model: SpectrumModel, data: Data, at: Parameters) -> list[Row]:
    """The posterior from the expansion of the likelihood about each row's parameters."""
    newton, dim = Newton(model, expected=True), at.z.shape[1]
    here, prior = newton.expand(data, at), model.latent_prior.curvature(at.z, at.label)
    here.gradient[:, :dim] -= prior.gradient.double()
    objective = here.objective - prior.log_prob.double()
    terms = zip(flatten(at), at.label.tolist(), objective, here.gradient, here.information, strict=True)
    return [_row(model.latent_prior, *term) for term in terms]


def _row(prior: LatentPrior, theta: Tensor, k: int, objective: Tensor, gradient: Tensor, information: Tensor) -> Row:
    """The posterior of one row from the expansion of its likelihood about theta."""
    dim = prior.latent_dim
    z, rest = theta[:dim], information[dim:, dim:]
    precision, across = marginal(information, dim)
    step = torch.linalg.solve(rest, gradient[dim:])
    slope = gradient[:dim] - information[:dim, dim:] @ step
    latent = prior.posterior(k, z, precision @ z + slope, precision)
    constant = objective - 0.5 * z @ (precision @ z) - slope @ z
    constant = constant + 0.5 * gradient[dim:] @ step - 0.5 * torch.linalg.slogdet(rest / (2 * math.pi)).logabsdet
    latent = LatentPosterior(latent.log_weight + constant, latent.means, latent.covariances)
    return Row(latent, theta, step, across, rest)


def normal_of(rows: list[Row], like: Parameters) -> Normal:
    """Rows as one batch, with the labels of other parameters."""
    at = unflatten(torch.stack([row.mean for row in rows]), like)
    evidence = torch.stack([row.latent.log_evidence for row in rows])
    return Normal(at, torch.stack([row.covariance for row in rows]), evidence, _stack(rows))


def _stack(rows: list[Row]) -> Kernels:
    """The kernels that count, padded to as many in every row."""
    weights, means, roots = [], [], []
    for row in rows:
        weight = torch.log_softmax(row.latent.log_weight, 0)
        keep = torch.nonzero(weight > weight.max() - FAINTEST).flatten()
        weights.append(torch.log_softmax(weight[keep], 0))
        means.append(row.latent.means[keep])
        factor = torch.linalg.cholesky(row.latent.covariances[keep])
        eye = torch.eye(factor.shape[-1], dtype=factor.dtype, device=factor.device).expand_as(factor)
        roots.append(torch.linalg.solve_triangular(factor, eye, upper=False))
    log_weight = pad_sequence(weights, batch_first=True, padding_value=-math.inf)
    padded = (pad_sequence(parts, batch_first=True) for parts in (means, roots))
    origin = torch.stack([row.theta + torch.cat([torch.zeros_like(row.latent.mean), row.step]) for row in rows])
    across = torch.stack([row.across for row in rows])
    rest = torch.linalg.cholesky(torch.stack([row.rest for row in rows]))
    return Kernels(log_weight, *padded, origin, across, rest)


def marginal(information: Tensor, dim: int) -> tuple[Tensor, Tensor]:
    r"""Information (L, L) about the first L parameters with the others integrated out, and :math:`I_{rr}^{-1} I_{rz}`."""
    across = torch.linalg.solve(information[dim:, dim:], information[dim:, :dim])
    precision = information[:dim, :dim] - information[:dim, dim:] @ across
    value, vector = torch.linalg.eigh((precision + precision.mT) / 2)  # rounding may leave it indefinite
    return (vector * value.clamp_min(0)) @ vector.mT, across
