"""Laws of a posterior's draws: they have its moments and its covariance, whichever way it holds them."""

from dataclasses import replace

import numpy as np
import pytest

from bayesden.errors import InputError
from bayesden.measurement import equivalent_width
from bayesden.posterior import Posterior

D = 40
WAVE = np.linspace(6400.0, 6700.0, D)


def normal(**changes: object) -> Posterior:
    """Flux 1 with a shared error of 0.3 and an error of its own of 0.4 in every pixel."""
    fields = {
        "wavelength": WAVE,
        "flux": np.ones(D),
        "sigma": np.full(D, 0.5),
        "residual_z": np.zeros((1, D)),
        "prior_fraction": np.ones(D),
        "factors": np.full((1, D), 0.3),
        "method": "map",
        "name": "made-up",
    }
    return Posterior(**(fields | changes))


def test_unshared_variance_is_what_the_factors_leave():
    np.testing.assert_allclose(normal().unshared_variance, 0.16)
    np.testing.assert_allclose(normal(factors=None).unshared_variance, 0.25)
    assert not normal(factors=np.full((1, D), 0.6)).unshared_variance.any()  # never below zero


def test_normal_draws_have_the_covariance():
    draws = normal().sample(20_000, seed=1)
    np.testing.assert_allclose(draws.mean(0), 1, atol=0.02)
    np.testing.assert_allclose(np.cov(draws.T), 0.09 + 0.16 * np.eye(D), atol=0.01)
    np.testing.assert_array_equal(normal().sample(3, seed=5), normal().sample(3, seed=5))
    independent = np.cov(normal(factors=None).sample(20_000).T)
    np.testing.assert_allclose(independent, 0.25 * np.eye(D), atol=0.02)


def test_draws_that_there_are_are_taken_and_repeated_only_if_too_few():
    own = np.arange(5.0)[:, None] * np.ones(D)
    post = normal(draws=own, method="nuts")
    assert sorted(post.sample(5)[:, 0]) == [0, 1, 2, 3, 4]
    assert len(set(post.sample(3)[:, 0])) == 3
    assert set(post.sample(200)[:, 0]) == {0, 1, 2, 3, 4}


def test_what_cannot_be_drawn_is_said():
    with pytest.raises(InputError, match="sample: expected at least one draw, got 0"):
        normal().sample(0)
    with pytest.raises(InputError, match="made-up: sample: expected a method with uncertainties, got wiener"):
        normal(sigma=np.full(D, np.nan), method="wiener").sample(1)


def test_a_measurement_has_the_covariance_of_pixels_in_it():
    mean = normal().measure(lambda flux: flux.mean(), count=20_000)
    assert mean.sigma == pytest.approx(np.sqrt(0.09 + 0.16 / D), rel=0.03)
    ratio = normal(sigma=np.full(D, 0.3), flux=np.full(D, 5.0)).measure(lambda flux: flux[0] / flux[-1])
    assert ratio.sigma < 1e-6  # a shared error leaves it alone
    both = normal().measure(lambda flux: flux[:2])
    assert both.draws.shape == (1000, 2) and both.value.shape == (2,)


def test_a_measurement_is_of_every_draw_that_there_is():
    own = 1 + 0.01 * np.random.default_rng(0).normal(size=(50, D))
    width = equivalent_width(WAVE, (6530, 6600), ((6420, 6500), (6620, 6690)))
    found = normal(draws=own).measure(width, count=7)
    np.testing.assert_array_equal(found.draws, [width(draw) for draw in own])


def test_thinned_keeps_evenly_spaced_draws_and_everything_else():
    post = normal(draws=np.arange(9.0)[:, None] * np.ones(D))
    np.testing.assert_array_equal(post.thinned(3).draws[:, 0], [0, 4, 8])
    np.testing.assert_array_equal(post.thinned(100).draws, post.draws)
    assert post.thinned(0).draws is None and post.thinned(2).chains is None
    assert normal().thinned(3).draws is None
    np.testing.assert_array_equal(post.thinned(3).sigma, post.sigma)


def test_quantiles_are_those_of_draws_where_there_are_some():
    skewed = np.random.default_rng(0).exponential(size=(4000, D))
    post = replace(normal(), draws=skewed)
    np.testing.assert_array_equal(post.quantile(0.05), np.quantile(skewed, 0.05, axis=0))
    np.testing.assert_allclose(normal().quantile(0.05), 1 - 0.5 * 1.6448536)
