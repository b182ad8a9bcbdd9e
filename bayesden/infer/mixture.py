r"""The posterior about a mode, class by class: normal in closed form, kernels of the latent prior summed out.

About a mode the likelihood with the nuisances' priors is :math:`\exp(g \cdot \delta - \tfrac12 \delta^\top I \delta)`, with the
expected information I. All parameters but z are integrated out of it, which leaves a normal likelihood of z; times the
latent prior, a mixture of kernels, it is a mixture of normals again, whose evidence, mean and covariance are sums in closed
form (`LatentPrior.posterior`). A mode alone is the place of one kernel: its neighbours, that fit nearly as well, belong to
the mean and to the error bars. The likelihood is expanded once more about the mean that was found.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from ..model.data import Data
from ..model.joint import Parameters, SpectrumModel
from ..model.latent_prior import LatentPrior
from .newton import Newton, flatten, unflatten

__all__ = ["Normal", "integrate", "marginal"]

ROUNDS = 2


@dataclass(frozen=True, eq=False)
class Normal:
    r"""Normal posteriors of all parameters, given the class, M of them.

    Arguments:
        at: Means.
        covariance: In the order z, u, f, a, c, shape :math:`(M, n, n)`.
        log_evidence: :math:`\log p(y, C)`, shape :math:`(M,)`.
    """

    at: Parameters
    covariance: Tensor
    log_evidence: Tensor

    def take(self, rows: Tensor | slice) -> "Normal":
        """The posteriors at an index."""
        return Normal(self.at.take(rows), self.covariance[rows], self.log_evidence[rows])


@torch.no_grad()
def integrate(model: SpectrumModel, data: Data, modes: Parameters) -> Normal:
    """The posterior about modes of the joint density.

    Arguments:
        model: The joint density.
        data: M rows; a spectrum may stand in several.
        modes: M rows.
    """
    newton, dim, at = Newton(model, expected=True), modes.z.shape[1], modes
    for _ in range(ROUNDS):
        here, prior = newton.expand(data, at), model.latent_prior.curvature(at.z, at.label)
        here.gradient[:, :dim] -= prior.gradient.double()
        objective = here.objective - prior.log_prob.double()
        terms = zip(flatten(at), at.label.tolist(), objective, here.gradient, here.information, strict=True)
        mean, covariance, evidence = zip(*(_update(model.latent_prior, *row) for row in terms), strict=True)
        at = unflatten(torch.stack(mean), at)
    return Normal(at, torch.stack(covariance), torch.stack(evidence))


def _update(
    prior: LatentPrior, theta: Tensor, k: int, objective: Tensor, gradient: Tensor, information: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """Mean (n,), covariance (n, n) and log evidence of one row, from the expansion of its likelihood about theta."""
    dim = prior.latent_dim
    z, rest = theta[:dim], information[dim:, dim:]
    precision, across = marginal(information, dim)
    step = torch.linalg.solve(rest, gradient[dim:])
    slope = gradient[:dim] - information[:dim, dim:] @ step
    latent = prior.posterior(k, z, precision @ z + slope, precision)
    moved = latent.mean - z
    mean = theta + torch.cat([moved, step - across @ moved])
    covariance = torch.zeros_like(information)
    covariance[:dim, :dim] = latent.covariance
    covariance[dim:, :dim] = -across @ latent.covariance
    covariance[:dim, dim:] = covariance[dim:, :dim].mT
    covariance[dim:, dim:] = torch.linalg.inv(rest) + across @ latent.covariance @ across.mT
    evidence = objective + latent.log_evidence - 0.5 * z @ (precision @ z) - slope @ z
    evidence = evidence + 0.5 * gradient[dim:] @ step - 0.5 * torch.linalg.slogdet(rest / (2 * torch.pi)).logabsdet
    return mean, covariance, evidence


def marginal(information: Tensor, dim: int) -> tuple[Tensor, Tensor]:
    r"""Information (L, L) about the first L parameters with the others integrated out, and :math:`I_{rr}^{-1} I_{rz}`."""
    across = torch.linalg.solve(information[dim:, dim:], information[dim:, :dim])
    precision = information[:dim, :dim] - information[:dim, dim:] @ across
    value, vector = torch.linalg.eigh((precision + precision.mT) / 2)  # rounding may leave it indefinite
    return (vector * value.clamp_min(0)) @ vector.mT, across
