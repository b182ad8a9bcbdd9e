r"""The posterior in closed form as a distribution to draw from: classes, kernels of the latent prior, normal nuisances.

.. math:: q(\theta) = \sum_C w_C \sum_i w_{Ci}\; \mathcal N(z;\, m_{Ci}, V_{Ci})\; \mathcal N(r;\, r_C(z), I_{rr}^{-1}),

with the classes' shares :math:`w_C` in the evidence (`mixture.py`). As a proposal it is defended, so that no place of the
posterior is left without proposals: a share of the draws comes from the same with every standard deviation widened, another
one from the same with that of the velocity widened by more. Likelihoods of faint stars are least normal in the velocity: in
whitened nuisances its direction is a unit vector h, and the widened covariance :math:`I + (\kappa^2 - 1)\, h h^\top`.
"""

import math
from copy import copy

import torch
from torch import Tensor

from ..model.kernel_sum import KernelSum, log_sum
from .mixture import Kernels, Normal

__all__ = ["Proposal"]

PLAIN = ((1.0, 1.0, 1.0),)  # scale of all standard deviations, and of the velocity's besides; share of the draws
DEFENDED = ((1.0, 1.0, 0.7), (1.2, 1.0, 0.15), (1.0, 3.0, 0.15))


class Proposal:
    r"""The closed form for one spectrum.

    Arguments:
        normals: One row for each class.
        free: Indices of the parameters that are drawn; among them z.
        velocity: Which of the nuisances, of all but z, is the velocity; None if none is.
        wide: Whether it is defended.
    """

    def __init__(self, normals: Normal, free: Tensor, velocity: int | None = None, *, wide: bool = True) -> None:
        self.scales = DEFENDED if wide else PLAIN
        self.kernels, self.labels = normals.kernels.only(free), normals.at.label
        self.log_share = torch.log_softmax(normals.log_evidence, 0)
        self.direction = None if velocity is None else _direction(self.kernels.rest, velocity)
        known = torch.isfinite(self.kernels.log_weight)
        rows = zip(known, self.kernels.log_weight, self.kernels.mean, self.kernels.root, strict=True)
        self._latents = [KernelSum.of(weight[some], mean[some], root[some]) for some, weight, mean, root in rows]

    @property
    def size(self) -> int:
        """Parameters n."""
        return self.kernels.origin.shape[1]

    def joined(self, other: "Proposal", share: float) -> "Proposal":
        """The mixture with another proposal, of the same defence, that has a share of the draws."""
        both = copy(self)
        both.kernels, both.labels = Kernels.join([self.kernels, other.kernels]), torch.cat([self.labels, other.labels])
        both.log_share = torch.cat([self.log_share + math.log1p(-share), other.log_share + math.log(share)])
        if self.direction is not None:
            both.direction = torch.cat([self.direction, other.direction])
        both._latents = self._latents + other._latents
        return both

    def sample(self, count: int, random: torch.Generator) -> tuple[Tensor, Tensor]:
        """Parameters (S, n) and class labels (S,).

        Arguments:
            count: Draws S.
            random: Source of randomness, on the CPU.
        """
        kernels, device = self.kernels, self.kernels.origin.device
        weight = (self.log_share.unsqueeze(1) + kernels.log_weight).exp().cpu()
        flat = torch.multinomial(weight.flatten(), count, replacement=True, generator=random).to(device)
        row, kernel = flat // weight.shape[1], flat % weight.shape[1]
        scale, along, share = torch.tensor(self.scales, dtype=torch.double).unbind(1)
        chosen = torch.multinomial(share, count, replacement=True, generator=random)
        white = torch.randn(count, self.size, generator=random, dtype=torch.double) * scale[chosen].unsqueeze(1)
        white, dim = white.to(device), kernels.mean.shape[-1]
        if self.direction is not None:
            h = self.direction[row]
            stretch = (along[chosen].to(device) - 1) * (white[:, dim:] * h).sum(1)
            white = torch.cat([white[:, :dim], white[:, dim:] + stretch.unsqueeze(1) * h], 1)
        white = white.unsqueeze(-1)
        z = kernels.mean[row, kernel]
        z = z + torch.linalg.solve_triangular(kernels.root[row, kernel], white[:, :dim], upper=False)[..., 0]
        step = torch.linalg.solve_triangular(kernels.rest[row].mT, white[:, dim:], upper=True)[..., 0]
        return torch.cat([z, self._rest_mean(row, z) + step], 1), self.labels[row]

    def _rest_mean(self, row: Tensor, z: Tensor) -> Tensor:
        """Means of the other parameters (S, n - L) given z (S, L)."""
        kernels, dim = self.kernels, z.shape[1]
        moved = (z - kernels.origin[row, :dim]).unsqueeze(-1)
        return kernels.origin[row, dim:] - (kernels.across[row] @ moved)[..., 0]

    def log_prob(self, theta: Tensor) -> Tensor:
        """Log-density of parameters (S, n), shape (S,)."""
        return torch.logsumexp(torch.stack([self._row_log_prob(theta, row) for row in range(len(self.labels))]), 0)

    def _row_log_prob(self, theta: Tensor, row: int) -> Tensor:
        """Log of the share of one row in the density, (S,)."""
        kernels, dim = self.kernels, self.kernels.mean.shape[-1]
        top, density, rest = self._latents[row].top, self._latents[row].log_kernels(theta[:, :dim]), kernels.rest[row]
        moved = theta[:, :dim] - kernels.origin[row, :dim]
        away = (theta[:, dim:] - kernels.origin[row, dim:] + moved @ kernels.across[row].mT) @ rest
        square = away.square().sum(-1)
        latent = {1.0: log_sum(density)}
        parts = []
        for scale, along, share in self.scales:
            if scale not in latent:
                latent[scale] = log_sum(torch.add(top * (1 - scale**-2), density, alpha=scale**-2))
            part = latent[scale] - 0.5 * square / scale**2 + math.log(share) - self.size * math.log(scale)
            if self.direction is not None and along != 1:
                inside = (away @ self.direction[row]).square() / scale**2
                part = part + 0.5 * (1 - along**-2) * inside - math.log(along)
            parts.append(part)
        norm = rest.diagonal().log().sum() - 0.5 * self.size * math.log(2 * math.pi)
        return self.log_share[row] + norm + torch.logsumexp(torch.stack(parts), 0)


def _direction(rest: Tensor, index: int) -> Tensor:
    """A nuisance's unit vectors (M, n) in coordinates that are whitened by Cholesky factors (M, n, n) of the information."""
    unit = torch.zeros_like(rest[..., :1])
    unit[:, index] = 1.0
    h = torch.linalg.solve_triangular(rest, unit, upper=False)[..., 0]
    return h / h.norm(dim=1, keepdim=True)
