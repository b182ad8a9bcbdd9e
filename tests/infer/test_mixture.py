"""Laws of the posterior about a mode: exact on linear models, for one Gaussian and for a mixture of kernels."""

from collections.abc import Callable

import numpy as np
import pytest
import torch

from bayesden.infer.map import fit_map
from bayesden.infer.mixture import integrate, marginal
from bayesden.infer.modes import Settings, find_modes
from bayesden.model.data import Data
from bayesden.model.joint import Parameters
from bayesden.model.kernel_prior import KDEPrior
from bayesden.model.latent_prior import LatentPrior
from bayesden.model.noiseflow import NoiseFlow


def centred(twin: object, kernels: torch.Tensor, width: float) -> KDEPrior:
    """Kernels (K, n, L) of one round shape."""
    prior = KDEPrior([kernels.shape[1]] * len(kernels), kernels.shape[2]).double()
    prior.whitener[:] = torch.eye(kernels.shape[2], dtype=torch.double) / width
    prior.points[:] = kernels.flatten(0, 1) / width
    return prior


def at_zero(twin: object, labels: list[int]) -> Parameters:
    n, zero = len(labels), twin.data.flux.new_zeros
    return Parameters(zero(n, 3), zero(n), zero(n, 2, 0), torch.tensor(labels))


def test_the_kernels_of_a_linear_model_are_summed_exactly(linear: Callable) -> None:
    """Means, covariances and evidence are those of the mixture of Wiener filters, one for each kernel."""
    twin = linear(spectra=1)
    random = torch.Generator().manual_seed(3)
    kernels = twin.z[0] + 0.1 * torch.randn(3, 5, 3, generator=random, dtype=torch.double)
    twin.model.latent_prior, width = centred(twin, kernels, 0.15), 0.15
    twin.covariance = width**2 * torch.eye(3, dtype=torch.double).expand(5, 3, 3)
    for k in range(3):
        twin.mean = kernels[k]
        means, covariances, evidence = (
            torch.stack(x) for x in zip(*(twin.posterior(0, i) for i in range(5)), strict=True)
        )
        share = torch.softmax(evidence, 0)
        assert share.max() < 0.99  # several kernels count
        mean = share @ means
        apart = means - mean
        covariance = (share[:, None, None] * covariances).sum(0) + apart.mT @ (share[:, None] * apart)
        found = integrate(twin.model, twin.data, at_zero(twin, [k]))
        torch.testing.assert_close(found.at.z[0], mean, rtol=1e-5, atol=1e-6)
        torch.testing.assert_close(found.covariance[0, :3, :3], covariance, rtol=1e-4, atol=1e-7)
        total = torch.logsumexp(evidence, 0) - torch.tensor(5.0).log() + twin.model.class_prior.log_prob[k]
        assert float(found.log_evidence[0]) == pytest.approx(float(total), abs=1e-3)


def test_a_prior_without_kernels_is_expanded_about_the_mode(linear: Callable) -> None:
    """For a Gaussian, Laplace's approximation is exact: the same as the sum over its (equal) kernels."""
    prior = linear(spectra=2).model.latent_prior
    random = torch.Generator().manual_seed(1)
    root, shift, z = (torch.randn(*shape, generator=random, dtype=torch.double) for shape in ((3, 3), (3,), (3,)))
    exact = prior.posterior(1, z, shift, root @ root.mT)
    found = LatentPrior.posterior(prior, 1, z, shift, root @ root.mT)
    for name in ("log_evidence", "mean", "covariance"):
        torch.testing.assert_close(getattr(found, name), getattr(exact, name), rtol=1e-4, atol=1e-5)


def test_class_probabilities_of_linear_models_are_exact(linear: Callable) -> None:
    twin = linear(spectra=6)
    fit, spectrum, _ = find_modes(twin.model, twin.data, Settings(tolerance=1e-9, margin=1e9))
    assert fit.converged.all()
    normals = integrate(twin.model, twin.data.take(spectrum), fit.at)
    for b in range(6):
        exact = torch.stack([twin.posterior(b, k)[2] for k in range(3)])
        rows = torch.nonzero(spectrum == b).flatten()
        found = torch.stack([normals.log_evidence[rows[normals.at.label[rows] == k]][0] for k in range(3)])
        torch.testing.assert_close(found - found.max(), exact - exact.max(), rtol=1e-5, atol=1e-4)


def test_the_marginal_information_is_that_of_the_covariance() -> None:
    root = torch.randn(7, 7, generator=torch.Generator().manual_seed(0), dtype=torch.double)
    information = root @ root.mT + torch.eye(7)
    precision, across = marginal(information, 3)
    torch.testing.assert_close(torch.linalg.inv(precision), torch.linalg.inv(information)[:3, :3])
    torch.testing.assert_close(across, torch.linalg.solve(information[3:, 3:], information[3:, :3]))


def test_the_fisher_share_is_that_of_student_t() -> None:
    """Minus the mean curvature of the log-density over the mean of the weights, by quadrature."""
    noise = NoiseFlow("robust", size=16)
    x = torch.linspace(-400, 400, 2_000_001, dtype=torch.double).requires_grad_()
    log_density = noise.log_density(x)
    (slope,) = torch.autograd.grad(log_density.sum(), x)
    density = log_density.detach().exp() * (x[1] - x[0]).item()
    fisher = float((density * slope.square()).sum())  # its mean is minus that of the curvature
    weights = float((density * (noise.nu + 1) / (noise.nu + x.detach().square())).sum())
    assert noise.fisher_share == pytest.approx(fisher / weights, rel=1e-3)
    assert NoiseFlow("kang2021", size=16).fisher_share == 1.0


def test_error_bars_of_draws_from_the_model_cover(toy_model: Callable, draw: Callable) -> None:
    """Stars, noise and all drawn from the model itself; a third of the error bar is the control."""
    model = toy_model()
    labels = [i % 3 for i in range(60)]
    noisy, clean = draw(model, labels, snr=8.0), draw(model, labels, snr=1e6)
    posts = fit_map(model, noisy)
    z = np.abs([(p.flux - c.flux[0]) / p.sigma for p, c in zip(posts, clean, strict=True)])
    assert np.mean(z < 0.6745) == pytest.approx(0.5, abs=0.12)
    assert np.mean(z < 1.645) == pytest.approx(0.9, abs=0.07)
    assert np.mean(3 * z < 1.645) < 0.6


def test_a_data_row_alone_is_the_same_as_in_a_batch(toy_model: Callable, draw: Callable) -> None:
    model = toy_model()
    data = Data.stack(draw(model, [0, 1, 2], snr=10.0))
    fit, spectrum, _ = find_modes(model, data)
    all_rows = integrate(model, data.take(spectrum), fit.at)
    one = integrate(model, data.take(spectrum[1:2]), fit.at.take(slice(1, 2)))
    torch.testing.assert_close(one.covariance[0], all_rows.covariance[1], rtol=1e-3, atol=1e-6)
