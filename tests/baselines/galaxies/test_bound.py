import numpy as np
import pytest

from baselines.galaxies.bound import PriorDraws, draw_prior, posterior_means


@pytest.fixture(scope="module")
def gaussian() -> PriorDraws:
    """One direction that all share, which tells the amplitude, and two with standard normal coefficients."""
    u = np.random.default_rng(0).standard_normal((200_000, 2))
    basis = np.linalg.qr(np.random.default_rng(1).standard_normal((40, 3)))[0].T
    coefficients = np.concatenate([np.full((len(u), 1), 2000.0), u], 1).astype(np.float32)
    return PriorDraws(np.linspace(2.0, 1.0, 40), basis, coefficients, u)


def test_importance_sampling_is_the_closed_form_where_there_is_one(gaussian):
    scale, true = np.array([0.5, 1.0, 2.0]), np.array([[0.5, -1.0], [1.0, 0.3], [-0.7, 0.2]])
    clean = np.concatenate([np.full((3, 1), 2000.0), true], 1)
    noise = scale[:, None] * np.random.default_rng(2).standard_normal((3, 40))
    flux = (clean @ gaussian.basis + noise) * gaussian.curve
    found = posterior_means(gaussian, flux, scale)
    data = (flux / gaussian.curve) @ gaussian.basis.T
    exact = data[:, 1:] / (1 + scale[:, None] ** 2)  # the posterior mean of a normal prior of unit variance
    np.testing.assert_allclose(found.quantities, exact, atol=0.02)
    spectrum = np.concatenate([data[:, :1], exact], 1) @ gaussian.basis * gaussian.curve
    np.testing.assert_allclose(found.flux, spectrum, atol=0.03)
    assert (np.diff(found.effective) > 0).all()  # the noisier, the more draws count


def test_the_amplitude_does_not_matter(gaussian):
    flux = (
        np.random.default_rng(3).standard_normal((1, 40)) * gaussian.curve + 2000 * gaussian.basis[:1] * gaussian.curve
    )
    one, ten = (posterior_means(gaussian, a * flux, np.array([float(a)])) for a in (1, 10))
    np.testing.assert_allclose(one.quantities, ten.quantities, atol=1e-3)
    np.testing.assert_allclose(10 * one.flux, ten.flux, rtol=1e-4, atol=0.1)  # single precision


def test_draws_of_a_prior_are_galaxies_of_it(small_bed):
    draws = draw_prior(small_bed, "smooth", 500, seed=3)
    flux = draws.coefficients @ draws.basis * draws.curve
    np.testing.assert_allclose(flux.mean(1), 1.0, atol=2e-3)
    galaxies = small_bed.draw("smooth", 500, seed=3)
    np.testing.assert_allclose(flux.mean(0), galaxies.flux.mean(0), atol=0.02)
    ages = galaxies.weight @ small_bed.templates.log_age
    assert abs(draws.quantities[:, 0].mean() - ages.mean()) < 0.1
