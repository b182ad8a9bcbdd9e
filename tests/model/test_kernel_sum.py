"""A sum of kernels as a matrix product against scipy's normal densities."""

import numpy as np
import pytest
import torch
from scipy.stats import multivariate_normal

from bayesden.model.kernel_sum import KernelSum, log_sum
from bayesden.model.local_kde import LocalKDEPrior


@pytest.fixture
def kernels() -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Log weights, means far from the origin, and narrow covariances."""
    random = torch.Generator().manual_seed(0)
    mean = 5 + torch.randn(12, 4, generator=random, dtype=torch.double)
    spread = 0.05 * torch.randn(12, 4, 6, generator=random, dtype=torch.double)
    weight = torch.log_softmax(torch.randn(12, generator=random, dtype=torch.double), 0)
    return weight, mean, spread @ spread.mT


def test_it_is_a_mixture_of_normals(kernels):
    weight, mean, covariance = kernels
    root = torch.linalg.solve_triangular(
        torch.linalg.cholesky(covariance), torch.eye(4, dtype=torch.double), upper=False
    )
    z = torch.cat([mean + 0.1, mean.mean(0, keepdim=True) + 3.0])
    exact = np.stack([multivariate_normal(m, c).logpdf(z) for m, c in zip(mean, covariance, strict=True)], 1)
    found = KernelSum.of(weight - 2 * np.log(2 * np.pi), mean, root).log_kernels(z)
    np.testing.assert_allclose(found, exact + weight.numpy(), rtol=1e-9, atol=1e-8)
    np.testing.assert_allclose(log_sum(found), torch.logsumexp(found, 1), rtol=0, atol=1e-12)


def test_its_slope_is_that_of_the_whole_sum(kernels):
    weight, mean, covariance = kernels
    root = torch.linalg.inv(torch.linalg.cholesky(covariance))
    sum_of = KernelSum.of(weight, mean, root)
    z = (mean + 0.03).requires_grad_()
    (found,) = torch.autograd.grad(log_sum(sum_of.log_kernels(z)).sum(), z)
    (exact,) = torch.autograd.grad(torch.logsumexp(sum_of.log_kernels(z), 1).sum(), z)
    torch.testing.assert_close(found, exact, rtol=0, atol=1e-12)


def test_a_prior_whose_kernels_change_does_not_keep_the_old_ones():
    random = torch.Generator().manual_seed(1)
    z, label = torch.randn(60, 3, generator=random), torch.arange(60) % 2
    one, other = LocalKDEPrior.fit(z, label, 2), LocalKDEPrior.fit(2 * z + 1, label, 2)
    before = one.log_prob(z, label)
    assert not torch.allclose(before, other.log_prob(z, label))
    one.load_state_dict(other.state_dict())
    torch.testing.assert_close(one.log_prob(z, label), other.log_prob(z, label), rtol=0, atol=0)
    torch.testing.assert_close(one.double().log_prob(z.double(), label).float(), other.log_prob(z, label))
