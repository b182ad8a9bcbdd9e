"""Leave-exposures-out against closed forms: the density of known Gaussians, the PIT of right and wrong posteriors."""

import math
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy.stats import multivariate_normal
from torch import Tensor

from baselines.exposures import score_star, table
from bayesden.errors import InputError
from bayesden.evaluate.exposures import LEVELS, Estimate, leave_out, mean_estimate, noise_ratio, pit_shares, predict
from bayesden.model.data import Data
from bayesden.model.linearization import Linearization
from bayesden.model.noiseflow import NoiseFlow
from bayesden.model.nuisance import Nuisance
from bayesden.spectrum import Grid, Observation

SIZE = 400
GRID = Grid.uniform(size=SIZE)
NONE = Nuisance(calibration_sd=0.0)
EVERYWHERE = np.ones(SIZE, bool)


class White:
    """Independent Gaussian noise with the pipeline's variances, as `NoiseFlow` shows itself."""

    kind, nu = "robust", math.inf

    def linearize(self, eps: Tensor, ivar: Tensor, mask: Tensor, context: Tensor | None = None) -> Linearization:
        good = (~mask & (ivar > 0)).to(eps.dtype)
        root = good * ivar.sqrt()
        log_prob = good * (0.5 * torch.log(ivar.clamp_min(1e-30) / (2 * math.pi)) - 0.5 * eps.square() * ivar)
        return Linearization(log_prob, -good * eps * ivar, eps * root, good, root.unsqueeze(-1))


def star(exposures: int = 6, sigma: float = 0.1, seed: int = 0, level: float = 1.0) -> tuple[np.ndarray, Observation]:
    """A known flux, and exposures with white noise."""
    rng = np.random.default_rng(seed)
    truth = level * (1 + 0.2 * np.sin(np.arange(SIZE) / 9.0))
    noise = level * sigma * rng.normal(size=(exposures, SIZE))
    return truth, Observation(GRID.wavelength, truth + noise, np.full((exposures, SIZE), (level * sigma) ** -2.0))


def believed(truth: np.ndarray, sigma: float, seed: int = 1, error: float | None = None) -> Estimate:
    """A flux that is off by `error` where it says `sigma`."""
    rng = np.random.default_rng(seed)
    flux = truth + (sigma if error is None else error) * rng.normal(size=SIZE)
    return Estimate(flux, np.full(SIZE, sigma), 2)


@pytest.mark.parametrize("width", [0.0, 0.02])
@pytest.mark.parametrize("level", [1.0, 300.0])
def test_the_density_is_that_of_a_gaussian_with_both_variances(width: float, level: float) -> None:
    truth, observation = star(exposures=2, level=level)
    nuisance = Nuisance(calibration_sd=width)
    estimate = believed(truth, 0.05 * level)
    where = np.arange(SIZE) % 7 > 0
    found = predict(White(), nuisance, observation, estimate, 1.0, where)
    scale = float(Data.stack([observation]).scale[0])
    rows = nuisance.polynomials(SIZE, torch.zeros(1).double()).numpy() * estimate.flux
    covariance = np.diag(np.full(SIZE, (0.1 * level) ** 2 + (0.05 * level) ** 2))
    covariance += 1.5 * width**2 * rows.T @ rows  # the calibration of one exposure against the mean of two
    parts = (estimate.flux[where], covariance[np.ix_(where, where)])
    expected = multivariate_normal(*parts).logpdf(observation.flux[:, where]) + where.sum() * np.log(scale)
    np.testing.assert_allclose(found.log_density, expected, atol=0.5 if width else 2e-2)
    assert found.pixels.tolist() == [where.sum()] * 2 and np.isnan(found.pit[:, ~where]).all()


def test_the_ratio_gives_the_flux_its_own_variance() -> None:
    """Where noise has half of the pipeline's error, a flux's variance counts fourfold beside the pipeline's."""
    truth, observation = star(exposures=1)
    estimate, ratio = believed(truth, 0.05), 0.5
    found = predict(White(), NONE, observation, estimate, ratio, EVERYWHERE)
    expected = predict(White(), NONE, observation, replace(estimate, sigma=estimate.sigma / ratio), 1.0, EVERYWHERE)
    np.testing.assert_allclose(found.log_density, expected.log_density)


def worst(sigma: float, *, error: float, bias: float = 0.0) -> float:
    """The PIT's largest distance from uniform over stars whose fluxes are off by `error` and `bias`, and say `sigma`."""
    pits = []
    for seed in range(15):
        truth, observation = star(exposures=1, seed=seed)
        estimate = believed(truth + bias, sigma, seed=100 + seed, error=error)
        pits.append(predict(White(), NONE, observation, estimate, 1.0, EVERYWHERE).pit)
    return float(np.abs(pit_shares(np.concatenate(pits)) - LEVELS).max())


def test_a_right_posterior_passes_and_wrong_ones_fail() -> None:
    assert worst(0.2, error=0.2) < 0.02
    assert worst(0.2 / 3, error=0.2) > 0.05
    assert worst(0.02, error=0.02, bias=0.04) > 0.05
    assert worst(0.3, error=0.02) > 0.05


def test_a_better_estimate_scores_better() -> None:
    truth, observation = star()
    rest, fitted = observation.select([2, 3, 4, 5]), observation.select([0, 1])
    scores = [
        predict(White(), NONE, rest, estimate, 1.0, EVERYWHERE).log_density.sum()
        for estimate in (believed(truth, 0.01), mean_estimate(fitted, 1.0), mean_estimate(fitted.select([0]), 1.0))
    ]
    assert scores[0] > scores[1] > scores[2]


def test_an_exposures_calibration_error_is_not_held_against_the_estimate() -> None:
    truth, observation = star(exposures=2)
    tilted = replace(observation, flux=observation.flux * np.linspace(0.93, 1.07, SIZE))
    estimate = believed(truth, 0.001)
    blind, seeing = (predict(White(), nuisance, tilted, estimate, 1.0, EVERYWHERE) for nuisance in (NONE, Nuisance()))
    straight = predict(White(), Nuisance(), observation, estimate, 1.0, EVERYWHERE)
    assert (seeing.log_density > blind.log_density + 20).all()
    assert np.abs(seeing.log_density - straight.log_density).max() < 10


def test_the_mean_has_the_scale_of_the_noise_and_knows_nothing_where_there_are_no_data() -> None:
    _, observation = star(exposures=2)
    mask = np.zeros((2, SIZE), bool)
    mask[:, :5] = mask[0, 5:9] = True
    estimate = mean_estimate(replace(observation, mask=mask), 0.7)
    assert np.isinf(estimate.sigma[:5]).all()
    np.testing.assert_allclose(estimate.sigma[5:9], 0.07)
    np.testing.assert_allclose(estimate.sigma[9:], 0.07 / 2**0.5)


def test_choices_differ_are_seeded_and_leave_something_out() -> None:
    splits = leave_out(6, 2, 5, seed=3)
    assert len({s.fitted for s in splits}) == 5 and splits == leave_out(6, 2, 5, seed=3) != leave_out(6, 2, 5, seed=4)
    assert all(sorted(s.fitted + s.left) == list(range(6)) for s in splits)
    assert [s.fitted for s in leave_out(3, 1, 10)] == [(0,), (1,), (2,)]
    for wrong in (0, 3):
        with pytest.raises(InputError, match="expected to fit 1 to 2 of 3"):
            leave_out(3, wrong, 1)


def test_the_model_beats_the_mean_on_its_own_draws(toy_model: Callable, draw: Callable) -> None:
    model = toy_model()
    published = toy_model(noise=NoiseFlow("kang2021", size=64))
    observation = draw(model, [1], exposures=4, snr=15.0)[0]
    assert noise_ratio(published.noise, observation) == 1.0 != noise_ratio(model.noise, observation)
    rows = score_star(observation, {"ours": model, "published": published}, 1, choices=2)
    by_name = {row.method: row for row in rows}
    assert list(by_name) == ["ours", "published", "mean"] and len({row.pixels for row in rows}) == 1
    assert by_name["ours"].nats > by_name["mean"].nats and by_name["ours"].nats > by_name["published"].nats
    lines = table(rows).splitlines()
    assert len(lines) == 5 and f"{by_name['ours'].nats - by_name['mean'].nats:+.3f}" in lines[2]
