"""A model whose posterior has a closed form: a linear generator, Gaussian classes, white noise of known variance."""

import math
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from bayesden.model.class_prior import ClassPrior
from bayesden.model.data import Data
from bayesden.model.generator import Generator
from bayesden.model.joint import SpectrumModel
from bayesden.model.kernel_prior import KDEPrior
from bayesden.model.linearization import Linearization
from bayesden.model.nuisance import Nuisance
from bayesden.spectrum import Grid


class LinearGenerator(Generator):
    """s = mean + z A."""

    kind = "linear"
    config = {}  # noqa: RUF012

    def __init__(self, mean: Tensor, rows: Tensor) -> None:
        super().__init__(rows.shape[1], rows.shape[0])
        self.register_buffer("mean", mean)
        self.register_buffer("rows", rows)

    def project(self, flux: Tensor) -> Tensor:
        return flux

    unproject = project

    def encode_projected(self, projected: Tensor) -> Tensor:
        return (projected - self.mean) @ torch.linalg.pinv(self.rows)

    def decode_projected(self, z: Tensor) -> Tensor:
        return self.mean + z @ self.rows

    def jacobian_projected(self, z: Tensor) -> tuple[Tensor, Tensor]:
        return self.decode_projected(z), self.rows.expand(*z.shape, self.size)

    value_and_jacobian = jacobian_projected


class WhiteNoise(nn.Module):
    """Independent Gaussian noise with the pipeline's variances."""

    fisher_share = 1.0

    def log_prob(self, eps: Tensor, ivar: Tensor, mask: Tensor, context: Tensor | None = None) -> Tensor:
        normal = 0.5 * torch.log(torch.where(mask, 1.0, ivar) / (2 * math.pi)) - 0.5 * eps.square() * ivar
        return torch.where(mask, 0.0, normal)

    def linearize(self, eps: Tensor, ivar: Tensor, mask: Tensor, context: Tensor | None = None) -> Linearization:
        good = (~mask).to(eps.dtype)
        root = good * ivar.sqrt()
        return Linearization(self.log_prob(eps, ivar, mask), -good * eps * ivar, eps * root, good, root.unsqueeze(-1))


def gaussian_prior(mean: Tensor, covariance: Tensor) -> KDEPrior:
    """Two kernels in one place are one Gaussian; for K classes, mean (K, L) and covariance (K, L, L)."""
    prior = KDEPrior([2] * len(mean), mean.shape[1]).double()
    for k, (centre, spread) in enumerate(zip(mean, covariance, strict=True)):
        whitener = torch.linalg.inv(torch.linalg.cholesky(spread))
        prior.whitener[k] = whitener
        prior.points[2 * k : 2 * k + 2] = whitener @ centre
    return prior


class Linear:
    """The model, one batch of data from it (B spectra, two exposures, gaps), and the closed form."""

    def __init__(self, spectra: int = 5, size: int = 64, dim: int = 3, classes: int = 3) -> None:
        random = torch.Generator().manual_seed(7)

        def normal(*shape: int) -> Tensor:
            return torch.randn(*shape, generator=random, dtype=torch.float64)

        factor = 0.4 * normal(classes, dim, dim) + 0.5 * torch.eye(dim, dtype=torch.float64)
        self.mean, self.covariance = 0.2 * normal(classes, dim), factor @ factor.mT
        self.generator = LinearGenerator(1 + 0.2 * normal(size), 0.3 * normal(dim, size))
        self.model = SpectrumModel(
            Grid.uniform(size=size),
            ClassPrior(tuple("ABCDE"[:classes])),
            self.generator,
            gaussian_prior(self.mean, self.covariance),
            WhiteNoise(),
            Nuisance(amplitude_sd=1e-6, calibration_sd=0.0),  # the amplitude is known
            torch.zeros(classes, size, dtype=torch.float64),
            torch.ones(classes, size, dtype=torch.float64),
        ).double()
        self.label = torch.arange(spectra) % classes
        self.z = self.mean[self.label] + (factor[self.label] @ normal(spectra, dim, 1))[..., 0]
        ivar = 2 + 5 * torch.rand(spectra, 2, size, generator=random, dtype=torch.float64)
        mask = torch.rand(ivar.shape, generator=random) < 0.2
        flux = self.generator(self.z).unsqueeze(1) + normal(spectra, 2, size) / ivar.sqrt()
        ivar = torch.where(mask, 0.0, ivar)
        share, scale = torch.full((spectra, 2), 0.5, dtype=torch.float64), torch.ones(spectra, dtype=torch.float64)
        self.data = Data(torch.where(mask, 0.0, flux), ivar, mask, share, scale)

    def posterior(self, b: int, k: int) -> tuple[Tensor, Tensor, Tensor]:
        """Mean and covariance of z, and the log evidence, of spectrum b in class k."""
        rows, prior = self.generator.rows, torch.linalg.inv(self.covariance[k])
        good = ~self.data.mask[b].flatten()
        flux, ivar = self.data.flux[b].flatten()[good], self.data.ivar[b].flatten()[good]
        design, offset = rows.repeat(1, 2)[:, good], self.generator.mean.repeat(2)[good]
        covariance = torch.linalg.inv(prior + (design * ivar) @ design.T)
        mean = covariance @ (prior @ self.mean[k] + (design * ivar) @ (flux - offset))
        spread = design.T @ self.covariance[k] @ design + torch.diag(1 / ivar)
        evidence = torch.distributions.MultivariateNormal(offset + self.mean[k] @ design, spread).log_prob(flux)
        return mean, covariance, evidence


@pytest.fixture(scope="session")
def linear() -> Callable[..., Linear]:
    return Linear
