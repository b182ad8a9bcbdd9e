r"""A kernel density estimate whose kernels follow the latents' manifold: one covariance for each kernel.

.. math:: p(z \mid C) = \frac{1}{n_C} \sum_{i=1}^{n_C} \mathcal N\big(z;\, z_i,\, h_C^2 (S_i + \lambda\, \bar s_i I)\big)

with the second moment :math:`S_i` of the differences to the nearest latents of the class (:math:`\bar s_i` its mean
diagonal), in units of the class's covariance. Encoded stars lie near curved sheets; a kernel of the class's own shape, as in
`KDEPrior`, smears them.

References:
    Vincent & Bengio (2003), *Manifold Parzen Windows*, NIPS 15.
"""

import math

import torch
from torch import Tensor

from .kernel_prior import KernelPrior, choose_kernels, whiten
from .kernel_sum import KernelSum, log_sum
from .latent_prior import PriorCurvature, unit_matrices

__all__ = ["LocalKDEPrior"]

NEIGHBOURS = (20, 40, 80)  # candidates of the cross-validation, with
BANDWIDTHS = (0.5, 0.6, 0.7, 0.85, 1.0, 1.2, 1.5)
RIDGE = 0.03


class LocalKDEPrior(KernelPrior):
    r"""A kernel density estimate for each of K classes, with a covariance for each kernel.

    Arguments:
        counts: Kernels of each class, :math:`n_C`.
        latent_dim: Latents :math:`L`.

    Use `fit` to make one from latents.
    """

    kind = "local-kde"

    def __init__(self, counts: list[int], latent_dim: int) -> None:
        super().__init__(counts, latent_dim)
        self.register_buffer("centres", torch.zeros(sum(counts), latent_dim))
        self.register_buffer("roots", unit_matrices(sum(counts), latent_dim))  # of each kernel's precision, lower
        self.register_buffer("bandwidth", torch.ones(len(counts)))
        self._known, self._sums = None, {}

    @classmethod
    @torch.no_grad()
    def fit(
        cls, z: Tensor, label: Tensor, classes: int, *, fold: Tensor | None = None, most: int = 1000, seed: int = 0
    ) -> "LocalKDEPrior":
        """Estimate the density of each class, neighbours and bandwidth by cross-validation; arguments as `KDEPrior.fit`.

        Raises:
            ModelError: if a class has fewer than two latents.
        """
        kept, fold = choose_kernels(label, classes, fold, most, seed)
        prior = cls([len(index) for index in kept], z.shape[1])
        for k, index in enumerate(kept):
            white, factor = whiten(z[index])
            neighbours, h = _cross_validate(white, fold[index])
            roots = _precision_roots(_local_moments(white, white, neighbours), h)
            prior.bandwidth[k] = h
            prior.centres[prior._slice(k)] = z[index].float()
            prior.roots[prior._slice(k)] = (roots @ torch.linalg.inv(factor)).float()
        return prior

    def latents(self, k: int) -> Tensor:
        r"""The kernels' centres of a class, shape :math:`(n_C, L)`."""
        return self.centres[self._slice(k)]

    def kernels(self, k: int) -> tuple[Tensor, Tensor]:
        """See `KernelPrior.kernels`."""
        return self.latents(k), self.roots[self._slice(k)]

    def _kernel_covariance(self, k: int) -> Tensor:
        roots = torch.linalg.inv(self.roots[self._slice(k)].double())
        return (roots @ roots.mT).mean(0)

    def _white(self, z: Tensor, k: int) -> tuple[Tensor, Tensor, Tensor]:
        """Residuals of latents (N, L) whitened by every kernel (N, n, L), log weights (N, n), and the roots."""
        inside = self._slice(k)
        roots, centres = self.roots[inside].to(z.dtype), self.centres[inside].to(z.dtype)
        shift = (roots @ centres.unsqueeze(-1)).squeeze(-1)
        white = (z @ roots.reshape(-1, self.latent_dim).T).reshape(len(z), -1, self.latent_dim) - shift
        log_det = roots.diagonal(dim1=1, dim2=2).log().sum(-1)
        constant = -0.5 * self.latent_dim * math.log(2 * math.pi) - math.log(self.counts[k])
        return white, log_det + constant - 0.5 * white.square().sum(-1), roots

    def _class_log_prob(self, z: Tensor, k: int) -> Tensor:
        return log_sum(self._kernel_sum(k).log_kernels(z)).to(z.dtype)

    def _kernel_sum(self, k: int) -> KernelSum:
        """A class's kernels, kept until the buffers change."""
        state = (self.roots, self.roots._version, self.centres._version)
        if self._known is None or self._known[0] is not state[0] or self._known[1:] != state[1:]:
            self._known, self._sums = state, {}
        if k not in self._sums:
            centres, roots = self.kernels(k)
            constant = -0.5 * self.latent_dim * math.log(2 * math.pi) - math.log(self.counts[k])
            self._sums[k] = KernelSum.of(torch.full_like(centres[:, 0], constant), centres, roots)
        return self._sums[k]

    def _class_curvature(self, z: Tensor, k: int) -> PriorCurvature:
        white, weight, roots = self._white(z, k)
        share = torch.softmax(weight, -1)
        slopes = -torch.einsum("nij,bni->bnj", roots, white)
        gradient = (share.unsqueeze(-1) * slopes).sum(1)
        precision = roots.mT @ roots
        majorant = (share @ precision.flatten(1)).reshape(len(z), self.latent_dim, self.latent_dim)
        second = slopes.mT @ (share.unsqueeze(-1) * slopes) - gradient.unsqueeze(2) * gradient.unsqueeze(1)
        return PriorCurvature(torch.logsumexp(weight, -1), gradient, majorant - second, majorant)

    def _class_sample(self, k: int, n: int, generator: torch.Generator | None) -> Tensor:
        chosen = torch.randint(self.counts[k], (n,), generator=generator)
        noise = torch.randn(n, self.latent_dim, generator=generator).to(self.roots.dtype)
        inside = self._slice(k)
        step = torch.linalg.solve_triangular(self.roots[inside].cpu()[chosen], noise.unsqueeze(-1), upper=False)
        return self.centres[inside].cpu()[chosen] + step.squeeze(-1)


def _local_moments(points: Tensor, among: Tensor, neighbours: int) -> Tensor:
    """Second moments (N, L, L) of the differences from points (N, L) to their nearest ones, with a ridge."""
    nearest = torch.cdist(points, among).topk(min(neighbours + 1, len(among)), largest=False).indices
    steps = among[nearest] - points.unsqueeze(1)
    moments = steps.mT @ steps / max(nearest.shape[1] - 1, 1)
    size = moments.diagonal(dim1=1, dim2=2).mean(-1).clamp_min(1e-8)
    return moments + RIDGE * size[:, None, None] * torch.eye(points.shape[1], dtype=points.dtype)


def _precision_roots(moments: Tensor, h: float) -> Tensor:
    """Lower triangular R with R^T R the precision of each kernel."""
    factor = torch.linalg.cholesky(h * h * moments)
    eye = torch.eye(moments.shape[-1], dtype=moments.dtype)
    return torch.linalg.solve_triangular(factor, eye.expand_as(moments), upper=False)


def _cross_validate(white: Tensor, fold: Tensor) -> tuple[int, float]:
    """Neighbours and bandwidth of highest held-out log-likelihood; kernels know nothing of the held-out fold."""
    scores = torch.zeros(len(NEIGHBOURS), len(BANDWIDTHS), dtype=torch.float64)
    if len(fold.unique()) < 2:
        return NEIGHBOURS[1], 1.0  # nothing can be held out
    for held_out in fold.unique().tolist():
        inside, outside = white[fold == held_out], white[fold != held_out]
        if len(outside) < 2:
            continue
        steps = inside.unsqueeze(0) - outside.unsqueeze(1)
        for i, neighbours in enumerate(NEIGHBOURS):
            roots = _precision_roots(_local_moments(outside, outside, neighbours), 1.0)
            distance = (steps @ roots.mT).square().sum(-1)
            log_det = roots.diagonal(dim1=1, dim2=2).log().sum(-1, keepdim=True)
            for j, h in enumerate(BANDWIDTHS):
                score = torch.logsumexp(log_det - 0.5 * distance / h**2, 0) - white.shape[1] * math.log(h)
                scores[i, j] += (score - math.log(len(outside))).sum()
    best = int(scores.argmax())
    return NEIGHBOURS[best // len(BANDWIDTHS)], BANDWIDTHS[best % len(BANDWIDTHS)]
