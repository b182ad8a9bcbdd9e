"""The prior of the latents given the class: what any of them has."""

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from ..errors import ModelError

__all__ = ["LatentPosterior", "LatentPrior", "PriorCurvature", "unit_matrices"]


@dataclass(frozen=True)
class PriorCurvature:
    r"""A log-density with its derivatives.

    Arguments:
        log_prob: Shape :math:`(N,)`.
        gradient: Shape :math:`(N, L)`.
        precision: Minus the Hessian, shape :math:`(N, L, L)`; may be indefinite, as between kernels.
        majorant: A positive definite stand-in for it, same shape. Of a density made of kernels: that of one kernel, whose
            quadratic stays below the log-density everywhere; of a flow: that of its base, seen through the Jacobian.
    """

    log_prob: Tensor
    gradient: Tensor
    precision: Tensor
    majorant: Tensor


@dataclass(frozen=True, eq=False)
class LatentPosterior:
    r"""A class's density times a normal likelihood: a sum of normal densities.

    Arguments:
        log_weight: Logarithm of the integral of each, shape :math:`(n,)`.
        means: Shape :math:`(n, L)`.
        covariances: Shape :math:`(n, L, L)`.
    """

    log_weight: Tensor
    means: Tensor
    covariances: Tensor

    def take(self, rows: Tensor) -> "LatentPosterior":
        """Some of the sum."""
        return LatentPosterior(self.log_weight[rows], self.means[rows], self.covariances[rows])

    @property
    def log_evidence(self) -> Tensor:
        """Logarithm of the integral of the sum, shape ()."""
        return torch.logsumexp(self.log_weight, 0)

    @property
    def mean(self) -> Tensor:
        """Mean of the sum, shape (L,)."""
        return (torch.softmax(self.log_weight, 0).unsqueeze(-1) * self.means).sum(0)

    @property
    def covariance(self) -> Tensor:
        """Covariance of the sum, shape (L, L): of the parts and between them."""
        share, apart = torch.softmax(self.log_weight, 0), self.means - self.mean
        return (share[:, None, None] * self.covariances).sum(0) + apart.mT @ (share[:, None] * apart)


class LatentPrior(nn.Module, ABC):
    r"""A density of the latents for each of K classes.

    Arguments:
        counts: Encoded training spectra that are kept of each class, :math:`n_C`.
        latent_dim: Latents :math:`L`.
    """

    kind: str
    bandwidth: Tensor  # how far each class is smeared beyond the latents that it was made from, shape (K,)

    def __init__(self, counts: list[int], latent_dim: int) -> None:
        super().__init__()
        if not counts or min(counts) < 2:
            raise ModelError(f"latent prior: expected at least 2 latents in every class, got counts {list(counts)}")
        self.counts, self.latent_dim = list(counts), latent_dim

    @property
    def config(self) -> dict:
        """JSON-able arguments that build this shape again with `build_latent_prior`."""
        return {"kind": self.kind, "counts": self.counts, "latent_dim": self.latent_dim}

    @abstractmethod
    def latents(self, k: int) -> Tensor:
        r"""Encoded training spectra of a class, where its density is high, shape :math:`(n_C, L)`."""

    @abstractmethod
    def covariance(self, k: int) -> Tensor:
        r"""Covariance of the whole density of a class, shape :math:`(L, L)`, float64."""

    @abstractmethod
    def log_prob(self, z: Tensor, label: Tensor) -> Tensor:
        r"""Log-density of latents :math:`(*, L)` in the classes :math:`(*,)`; shape :math:`(*,)`; differentiable."""

    def log_prob_all(self, z: Tensor) -> Tensor:
        r"""Log-density of latents :math:`(*, L)` in every class, shape :math:`(*, K)`; differentiable."""
        labels = (torch.full(z.shape[:-1], k, device=z.device) for k in range(len(self.counts)))
        return torch.stack([self.log_prob(z, label) for label in labels], -1)

    @abstractmethod
    def curvature(self, z: Tensor, label: Tensor) -> PriorCurvature:
        r"""Log-density and derivatives of latents :math:`(N, L)` in the classes :math:`(N,)`."""

    @abstractmethod
    def sample(self, label: Tensor, generator: torch.Generator | None = None) -> Tensor:
        r"""Draw latents :math:`(N, L)` of the classes :math:`(N,)`."""

    def posterior(self, k: int, z: Tensor, shift: Tensor, precision: Tensor) -> LatentPosterior:
        r"""The density of a class times :math:`\exp(\eta \cdot z - \tfrac12 z^\top \Lambda z)`, a likelihood, by Laplace about z.

        Arguments:
            k: The class.
            z: Where to expand the density, shape :math:`(L,)`.
            shift: :math:`\eta`, shape :math:`(L,)`.
            precision: :math:`\Lambda`, shape :math:`(L, L)`, positive semi-definite.
        """
        prior = self.curvature(z[None].to(self.latents(k).dtype), torch.full((1,), k, device=z.device))
        log_prob, slope, own = prior.log_prob[0].double(), prior.gradient[0].double(), prior.precision[0].double()
        factor, info = torch.linalg.cholesky_ex(own + precision)
        if info != 0:
            own = prior.majorant[0].double()
            factor = torch.linalg.cholesky(own + precision)
        total = shift + slope + own @ z
        mean = torch.cholesky_solve(total.unsqueeze(-1), factor).squeeze(-1)
        log_det = factor.diagonal().log().sum() - 0.5 * self.latent_dim * math.log(2 * math.pi)
        evidence = log_prob - slope @ z - 0.5 * z @ (own @ z) + 0.5 * total @ mean - log_det
        return LatentPosterior(evidence[None], mean[None], torch.cholesky_inverse(factor)[None])

    def _slice(self, k: int) -> slice:
        start = sum(self.counts[:k])
        return slice(start, start + self.counts[k])


def unit_matrices(n: int, size: int) -> Tensor:
    """As many unit matrices, (n, size, size); `torch.eye` on the device 'meta' costs a second, as it imports the compiler."""
    units = torch.zeros(n, size, size)
    units.diagonal(dim1=1, dim2=2).fill_(1.0)
    return units
