r"""Latent priors made of kernels; among them a Gaussian kernel density estimate for each class.

.. math:: p(z \mid C) = \frac{1}{n_C} \sum_{i=1}^{n_C} \mathcal N\big(z;\, z_i,\, h_C^2 \Sigma_C\big)

with the encoded training spectra :math:`z_i` of the class, their covariance :math:`\Sigma_C`, and a bandwidth
:math:`h_C` chosen by cross-validated likelihood.

References:
    Kang, He & Zhang (2021), section 3.3; Silverman (1986), *Density Estimation*, section 4.2.
"""

import math
from abc import abstractmethod

import torch
from torch import Tensor

from .latent_prior import LatentPosterior, LatentPrior, PriorCurvature, unit_matrices

__all__ = ["KDEPrior", "KernelPrior", "choose_kernels", "gaussian_prior", "whiten"]


class KernelPrior(LatentPrior):
    r"""A density of the latents for each of K classes, made of kernels at encoded training spectra.

    Arguments:
        counts: Kernels of each class, :math:`n_C`.
        latent_dim: Latents :math:`L`.
    """

    @abstractmethod
    def kernels(self, k: int) -> tuple[Tensor, Tensor]:
        r"""Centres of a class's kernels and roots :math:`R_i` of their precisions :math:`R_i^\top R_i`: (n, L), (n, L, L)."""

    def posterior(self, k: int, z: Tensor, shift: Tensor, precision: Tensor) -> LatentPosterior:
        """See `LatentPrior.posterior`; exact, kernel by kernel, wherever z is."""
        centres, roots = (x.double() for x in self.kernels(k))
        own = roots.mT @ roots
        pull = (own @ centres.unsqueeze(-1)).squeeze(-1)
        factor = torch.linalg.cholesky(own + precision)
        total = pull + shift
        mean = torch.cholesky_solve(total.unsqueeze(-1), factor).squeeze(-1)
        log_det = [x.diagonal(dim1=1, dim2=2).abs().log().sum(-1) for x in (roots, factor)]
        weight = log_det[0] - log_det[1] + 0.5 * (total * mean).sum(-1) - 0.5 * (pull * centres).sum(-1)
        return LatentPosterior(weight - math.log(len(weight)), mean, torch.cholesky_inverse(factor))

    @abstractmethod
    def _kernel_covariance(self, k: int) -> Tensor:
        """Mean covariance of the kernels of a class, shape (L, L), float64."""

    def covariance(self, k: int) -> Tensor:
        r"""Covariance of the whole density of a class, shape :math:`(L, L)`, float64: of the centres plus of a kernel."""
        return torch.cov(self.latents(k).double().T, correction=0) + self._kernel_covariance(k)

    @abstractmethod
    def _class_log_prob(self, z: Tensor, k: int) -> Tensor:
        """Log-density of latents (N, L) in one class, shape (N,); differentiable."""

    @abstractmethod
    def _class_curvature(self, z: Tensor, k: int) -> PriorCurvature:
        """Log-density and derivatives in one class."""

    @abstractmethod
    def _class_sample(self, k: int, n: int, generator: torch.Generator | None) -> Tensor:
        """N draws of one class, shape (N, L)."""

    def log_prob(self, z: Tensor, label: Tensor) -> Tensor:
        r"""Log-density of latents :math:`(*, L)` in the classes :math:`(*,)`; shape :math:`(*,)`; differentiable."""
        flat, label = z.reshape(-1, self.latent_dim), label.expand(z.shape[:-1]).reshape(-1)
        out = flat.new_zeros(len(flat))
        for k in label.unique().tolist():
            rows = torch.nonzero(label == k).flatten()
            out = out.index_put((rows,), self._class_log_prob(flat[rows], k))
        return out.reshape(z.shape[:-1])

    @torch.no_grad()
    def curvature(self, z: Tensor, label: Tensor) -> PriorCurvature:
        r"""Log-density and derivatives of latents :math:`(N, L)` in the classes :math:`(N,)`, in closed form."""
        n, dim = z.shape
        out = PriorCurvature(z.new_zeros(n), z.new_zeros(n, dim), z.new_zeros(n, dim, dim), z.new_zeros(n, dim, dim))
        for k in label.unique().tolist():
            rows = torch.nonzero(label == k).flatten()
            for total, part in zip(vars(out).values(), vars(self._class_curvature(z[rows], k)).values(), strict=True):
                total[rows] = part
        return out

    def sample(self, label: Tensor, generator: torch.Generator | None = None) -> Tensor:
        r"""Draw latents :math:`(N, L)` of the classes :math:`(N,)`."""
        z = torch.empty(len(label), self.latent_dim, dtype=self.bandwidth.dtype, device=label.device)
        for k in label.unique().tolist():
            rows = torch.nonzero(label == k).flatten()
            z[rows] = self._class_sample(k, len(rows), generator).to(z.device)
        return z


class KDEPrior(KernelPrior):
    r"""A kernel density estimate for each of K classes, one kernel shape for all of a class.

    Arguments:
        counts: Kernels of each class, :math:`n_C`.
        latent_dim: Latents :math:`L`.

    Use `fit` to make one from latents.
    """

    kind = "kde"

    def __init__(self, counts: list[int], latent_dim: int) -> None:
        super().__init__(counts, latent_dim)
        self.register_buffer("points", torch.zeros(sum(counts), latent_dim))  # whitened by the kernel
        self.register_buffer("whitener", unit_matrices(len(counts), latent_dim))  # (h Sigma^1/2)^-1, lower
        self.register_buffer("bandwidth", torch.ones(len(counts)))

    @classmethod
    @torch.no_grad()
    def fit(
        cls, z: Tensor, label: Tensor, classes: int, *, fold: Tensor | None = None, most: int = 1000, seed: int = 0
    ) -> "KDEPrior":
        r"""Estimate the density of each class, the bandwidth by cross-validation.

        Arguments:
            z: Latents, shape :math:`(N, L)`.
            label: Class index, shape :math:`(N,)`.
            classes: :math:`K`.
            fold: Cross-validation fold of each latent, shape :math:`(N,)`; give one object's latents one fold. By
                default 5 folds at random.
            most: Kernels to keep of each class, drawn at random.
            seed: Seed of those draws.

        Raises:
            ModelError: if a class has fewer than two latents.
        """
        kept, fold = choose_kernels(label, classes, fold, most, seed)
        prior = cls([len(index) for index in kept], z.shape[1])
        for k, index in enumerate(kept):
            white, factor = whiten(z[index])
            h = _cross_validated_bandwidth(white, fold[index])
            prior.bandwidth[k] = h
            prior.whitener[k] = torch.linalg.inv(factor) / h
            prior.points[prior._slice(k)] = (white / h).float()
        return prior

    def kernels(self, k: int) -> tuple[Tensor, Tensor]:
        """See `KernelPrior.kernels`."""
        return self.latents(k), self.whitener[k].expand(self.counts[k], -1, -1)

    def _kernel_covariance(self, k: int) -> Tensor:
        root = torch.linalg.inv(self.whitener[k].double())
        return root @ root.T

    def _log_normaliser(self, k: int) -> Tensor:
        log_det = self.whitener[k].diagonal().log().sum()
        return log_det - 0.5 * self.latent_dim * math.log(2 * math.pi) - math.log(self.counts[k])

    def _class_log_prob(self, z: Tensor, k: int) -> Tensor:
        white = z @ self.whitener[k].to(z.dtype).T
        distance = _squared_distance(white, self.points[self._slice(k)].to(z.dtype))
        return torch.logsumexp(-0.5 * distance, -1) + self._log_normaliser(k)

    def _class_curvature(self, z: Tensor, k: int) -> PriorCurvature:
        root = self.whitener[k].to(z.dtype)
        points = self.points[self._slice(k)].to(z.dtype)
        white = z @ root.T
        exponent = -0.5 * _squared_distance(white, points)
        share = torch.softmax(exponent, -1)
        mean = share @ points
        second = ((share.unsqueeze(1) * points.T) @ points) - mean.unsqueeze(2) * mean.unsqueeze(1)
        eye = torch.eye(self.latent_dim, dtype=z.dtype, device=z.device)
        return PriorCurvature(
            torch.logsumexp(exponent, -1) + self._log_normaliser(k),
            (mean - white) @ root,
            root.T @ (eye - second) @ root,
            (root.T @ root).expand(len(z), -1, -1),
        )

    def _class_sample(self, k: int, n: int, generator: torch.Generator | None) -> Tensor:
        chosen = torch.randint(self.counts[k], (n,), generator=generator)
        noise = torch.randn(n, self.latent_dim, generator=generator)
        white = self.points[self._slice(k)].cpu()[chosen] + noise
        return torch.linalg.solve_triangular(self.whitener[k].cpu(), white.T, upper=False).T

    def latents(self, k: int) -> Tensor:
        r"""The kernels' centres of a class, shape :math:`(n_C, L)`."""
        return torch.linalg.solve_triangular(self.whitener[k], self.points[self._slice(k)].T, upper=False).T


@torch.no_grad()
def gaussian_prior(prior: LatentPrior) -> KDEPrior:
    """Each class as one Gaussian of its mean and covariance (two kernels in one place): smooth, for a coarse search."""
    out = KDEPrior([2] * len(prior.counts), prior.latent_dim).to(prior.latents(0))
    for k in range(len(prior.counts)):
        whitener = torch.linalg.inv(torch.linalg.cholesky(prior.covariance(k)))
        out.whitener[k] = whitener
        out.points[2 * k : 2 * k + 2] = whitener @ prior.latents(k).double().mean(0)
    return out


def choose_kernels(
    label: Tensor, classes: int, fold: Tensor | None, most: int, seed: int
) -> tuple[list[Tensor], Tensor]:
    """Which latents become kernels, for each class, and the cross-validation fold of every latent."""
    random = torch.Generator().manual_seed(seed)
    fold = torch.randint(5, label.shape, generator=random) if fold is None else fold
    kept = []
    for k in range(classes):
        index = torch.nonzero(label == k).flatten()
        kept.append(index[torch.randperm(len(index), generator=random)[:most]])
    return kept, fold


def whiten(points: Tensor) -> tuple[Tensor, Tensor]:
    """Points of one class in units of their covariance's Cholesky factor, and that factor, in float64."""
    points = points.double()
    covariance = torch.cov(points.T).reshape(points.shape[1], points.shape[1])
    ridge = 1e-6 * covariance.diagonal().mean() + 1e-12
    factor = torch.linalg.cholesky(covariance + ridge * torch.eye(points.shape[1], dtype=torch.float64))
    return torch.linalg.solve_triangular(factor, points.T, upper=False).T, factor


def _squared_distance(a: Tensor, b: Tensor) -> Tensor:
    """Of every row of a from every row of b, by one matrix product."""
    square = a.square().sum(-1, keepdim=True) + b.square().sum(-1) - 2 * a @ b.T
    return square.clamp_min(0)


def _cross_validated_bandwidth(white: Tensor, fold: Tensor) -> float:
    """The bandwidth of highest held-out log-likelihood, among 40 around Silverman's rule; points are whitened."""
    n, dim = white.shape
    silverman = (4 / (n * (dim + 2))) ** (1 / (dim + 4))
    candidates = silverman * torch.logspace(-1.0, 0.5, 40, dtype=torch.float64)
    distance = _squared_distance(white, white)
    same = fold.unsqueeze(0) == fold.unsqueeze(1)
    distance = distance.masked_fill(same, math.inf)
    if not bool(torch.isfinite(distance).any(1).all()):
        return float(silverman)  # a single fold: nothing is held out
    count = (~same).sum(1).clamp_min(1).log()
    scores = [
        (torch.logsumexp(-0.5 * distance / h**2, 1) - count - dim * math.log(h)).mean() for h in candidates.tolist()
    ]
    return float(candidates[int(torch.stack(scores).argmax())])
