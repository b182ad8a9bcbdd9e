"""Laws of the maximum a posteriori: the Wiener filter on a linear model, as good as the reference, alone or in a batch."""

from collections.abc import Callable

import numpy as np
import pytest
import torch

from baselines.linear_gaussian import LowRankGaussian
from baselines.wiener import Wiener
from bayesden.infer.map import fit_map
from bayesden.infer.mixture import integrate
from bayesden.infer.modes import Settings, find_modes
from bayesden.infer.reference import fit_map_pyro
from bayesden.infer.summary import flux_moments
from bayesden.model.data import Data
from bayesden.spectrum import Observation


def best_rows(fit: object, spectrum: torch.Tensor, n: int) -> torch.Tensor:
    return torch.stack([max(torch.nonzero(spectrum == b).flatten(), key=lambda r: fit.objective[r]) for b in range(n)])


def test_a_linear_model_gives_the_wiener_filter(linear: Callable) -> None:
    twin = linear(classes=1)
    settings = Settings(tolerance=1e-9)
    fit, spectrum, _ = find_modes(twin.model, twin.data, settings)
    fit = fit.take(best_rows(fit, spectrum, 5))
    flux, sigma, _ = flux_moments(twin.model, integrate(twin.model, twin.data, fit.at))
    rows = twin.generator.rows
    factor = rows.T @ torch.linalg.cholesky(twin.covariance[0])
    mean = twin.generator.mean + twin.mean[0] @ rows
    prior = LowRankGaussian(mean.numpy(), factor.numpy(), np.zeros(64))
    wiener = Wiener(prior, twin.model.grid, amplitude="known")
    for b in range(5):
        data = twin.data.take(slice(b, b + 1))
        obs = Observation(twin.model.grid.wavelength, data.flux[0].numpy(), data.ivar[0].numpy(), data.mask[0].numpy())
        expected = wiener.denoise(obs)
        np.testing.assert_allclose(flux[b], expected.flux, rtol=1e-6, atol=1e-6)
        np.testing.assert_allclose(sigma[b], expected.sigma, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("exposures", [1, 3])
def test_it_is_as_good_as_the_pyro_reference(toy_model: Callable, draw: Callable, exposures: int) -> None:
    model = toy_model()
    data = Data.stack(draw(model, [0, 2], exposures=exposures, seed=3))
    fit, spectrum, _ = find_modes(model, data)
    best = fit.objective[best_rows(fit, spectrum, 2)]
    for b, k in enumerate((0, 2)):
        reference = fit_map_pyro(model, data.take(slice(b, b + 1)), classes=[k], steps=400)[1]
        assert best[b] >= reference - 0.01


def test_the_truth_is_found(toy_model: Callable, draw: Callable) -> None:
    model = toy_model()
    labels = [0, 1, 2] * 4
    observations = draw(model, labels, snr=50.0)
    clean = draw(model, labels, snr=1e6)
    right = 0
    for post, label, truth in zip(fit_map(model, observations), labels, clean, strict=True):
        right += post.best_class == model.classes[label]
        error = post.flux - truth.flux[0]
        assert np.sqrt(np.mean(error**2)) < 0.3 / 50 * np.abs(truth.flux).mean() * 3
        assert np.mean(np.abs(error) < 3 * post.sigma) > 0.95
        assert sum(post.class_prob.values()) == pytest.approx(1)
        assert "NOT_CONVERGED" not in post.flags and post.meta["converged"]
    assert right >= 10


def test_a_spectrum_alone_in_a_batch_or_in_another_order_is_the_same(toy_model: Callable, draw: Callable) -> None:
    model = toy_model()
    observations = [draw(model, [i % 3], exposures=1 + i % 3, seed=i)[0] for i in range(6)]
    batch = fit_map(model, observations)
    for i in (0, 2, 4):
        alone = fit_map(model, [observations[i]])[0]
        turned = fit_map(model, observations[::-1])[5 - i]
        for other in (alone, turned):
            np.testing.assert_allclose(other.flux, batch[i].flux, rtol=1e-4, atol=1e-4)
            np.testing.assert_allclose(other.sigma, batch[i].sigma, rtol=2e-3)
            assert other.meta["objective"] == pytest.approx(batch[i].meta["objective"], rel=1e-5, abs=1e-3)
            assert dict(other.class_prob) == pytest.approx(dict(batch[i].class_prob), abs=2e-3)


def test_the_same_call_gives_the_same_bits(toy_model: Callable, draw: Callable) -> None:
    model = toy_model()
    observations = draw(model, [0, 1], exposures=2)
    one, two = fit_map(model, observations), fit_map(model, observations)
    assert all(np.array_equal(a.flux, b.flux) and a.class_prob == b.class_prob for a, b in zip(one, two, strict=True))


def test_a_wider_search_finds_nothing_better(toy_model: Callable, draw: Callable) -> None:
    model = toy_model()
    data = Data.stack(draw(model, [0, 1, 2] * 5, snr=10.0))
    narrow, wide = Settings(), Settings(starts=6, keep=18, margin=1e9, iterations=100)
    found = [
        fit.objective[best_rows(fit, spectrum, 15)]
        for fit, spectrum, _ in (find_modes(model, data, settings) for settings in (narrow, wide))
    ]
    assert (found[0] >= found[1] - 0.01).double().mean() >= 0.99
