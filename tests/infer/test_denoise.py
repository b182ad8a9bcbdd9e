"""Laws of `denoise` on difficult data: units, masks, outliers, little information; and what it refuses."""

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
import torch

from bayesden.errors import InputError
from bayesden.infer.denoise import denoise
from bayesden.model.data import Data
from bayesden.model.joint import SpectrumModel
from bayesden.model.noiseflow import NoiseFlow
from bayesden.posterior import Posterior
from bayesden.spectrum import Observation


def assert_finite(post: Posterior) -> None:
    for values in (post.flux, post.sigma, post.prior_fraction):
        assert np.isfinite(values).all()
    assert (post.sigma > 0).all() and sum(post.class_prob.values()) == pytest.approx(1)
    assert np.array_equal(np.isnan(post.residual_z), ~np.isfinite(post.residual_z))


def test_the_order_and_the_number_come_back_as_they_went_in(toy_model: Callable, draw: Callable) -> None:
    model = toy_model()
    observations = [o for i in range(8) for o in draw(model, [i % 3], exposures=1 + 5 * (i % 4), seed=i)]
    observations = [replace(o, name=f"s{i}") for i, o in enumerate(observations)]
    posts = denoise(observations, model)
    assert [p.name for p in posts] == [f"s{i}" for i in range(8)]
    assert [p.residual_z.shape[0] for p in posts] == [o.n_exposures for o in observations]
    assert denoise([], model) == []
    assert isinstance(denoise(observations[0], model), Posterior)


@pytest.mark.parametrize("factor", [1e-17, 1e4])
def test_the_posterior_has_the_unit_of_the_flux(toy_model: Callable, draw: Callable, factor: float) -> None:
    model = toy_model()
    obs = draw(model, [1], exposures=2)[0]
    scaled = replace(obs, flux=factor * obs.flux, ivar=obs.ivar / factor**2)
    one, other = denoise([obs, scaled], model)
    np.testing.assert_allclose(other.flux / factor, one.flux, rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose(other.sigma / factor, one.sigma, rtol=1e-3)
    np.testing.assert_allclose(other.prior_fraction, one.prior_fraction, rtol=1e-3)
    assert dict(other.class_prob) == pytest.approx(dict(one.class_prob), abs=1e-3)
    assert other.meta["amplitude"] / factor == pytest.approx(one.meta["amplitude"], rel=1e-4)


def test_masked_values_have_no_influence(toy_model: Callable, draw: Callable) -> None:
    model = toy_model()
    obs = draw(model, [0], exposures=2)[0]
    mask = np.zeros(obs.flux.shape, bool)
    mask[0, 20:30] = mask[1, 40] = True
    wild = obs.flux.copy()
    wild[mask] = 1e30
    tame, other = (denoise(replace(obs, flux=f, mask=mask), model) for f in (obs.flux, wild))
    assert np.array_equal(tame.flux, other.flux) and np.array_equal(tame.sigma, other.sigma)
    assert np.isnan(tame.residual_z[mask]).all()


def test_an_empty_exposure_has_no_influence(toy_model: Callable, draw: Callable) -> None:
    model = toy_model()
    obs = draw(model, [0], exposures=3)[0]
    mask = np.zeros(obs.flux.shape, bool)
    mask[1] = True
    with_empty, without = denoise(replace(obs, mask=mask), model), denoise(obs.select([0, 2]), model)
    np.testing.assert_allclose(with_empty.flux, without.flux, rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose(with_empty.sigma, without.sigma, rtol=1e-3)
    assert with_empty.residual_z.shape == (3, 64) and np.isnan(with_empty.residual_z[1]).all()
    assert dict(with_empty.class_prob) == pytest.approx(dict(without.class_prob), abs=1e-3)


def by_importance(model: SpectrumModel, obs: Observation, n: int = 40_000) -> tuple[np.ndarray, np.ndarray]:
    """Posterior mean and standard deviation of the flux by weighing draws from the prior."""
    data, random = Data.stack([obs]), torch.Generator().manual_seed(0)
    z = model.latent_prior.sample(torch.arange(n) % len(model.classes), random)
    amplitude = model.nuisance.amplitude_sd * torch.randn(n, 1, generator=random)
    flux = amplitude.exp() * model.generator(z)
    rest = data.flux - flux.unsqueeze(1)
    weight = model.noise.log_prob(rest, data.ivar, data.mask).sum((1, 2)).double().softmax(0).unsqueeze(1)
    mean = (weight * flux).sum(0)
    sigma = (weight * (flux - mean).square()).sum(0).sqrt()
    return tuple(float(data.scale[0]) * x.double().numpy() for x in (mean, sigma))


@pytest.mark.parametrize("exposures", [1, 2])
@pytest.mark.parametrize("pixel", [0, 30, 63])
def test_one_observed_pixel_gives_the_prior_with_a_scale(
    toy_model: Callable, draw: Callable, pixel: int, exposures: int
) -> None:
    model = toy_model()
    obs = draw(model, [0], exposures=exposures)[0]
    mask = np.ones(obs.flux.shape, bool)
    mask[0, pixel] = False
    post = denoise(replace(obs, mask=mask), model)
    assert_finite(post)
    if pixel == 0:  # it counts, as it needs no predecessors
        mean, sigma = by_importance(model, replace(obs, mask=mask))
        assert np.median(post.sigma / sigma) == pytest.approx(1, abs=0.1)
        assert np.median(np.abs(post.flux - mean) / sigma) < 0.1
    else:
        assert np.median(post.prior_fraction) == 1


@pytest.mark.parametrize("snr", [0.001, 0.1, 1e4])
@pytest.mark.parametrize("exposures", [1, 4])
def test_any_signal_to_noise_ratio_gives_numbers(
    toy_model: Callable, draw: Callable, snr: float, exposures: int
) -> None:
    model = toy_model()
    for post in denoise(draw(model, [0, 1, 2], snr=snr, exposures=exposures), model):
        assert_finite(post)


def test_negative_flux_gives_numbers(toy_model: Callable, draw: Callable) -> None:
    model = toy_model()
    obs = draw(model, [0])[0]
    assert_finite(denoise(replace(obs, flux=-obs.flux), model))
    assert_finite(denoise(replace(obs, flux=0 * obs.flux), model))


@pytest.mark.parametrize("value", [1e5, 1e12, 1e20, 1e30, -1e30])
def test_an_absurd_value_costs_no_more_than_itself(toy_model: Callable, draw: Callable, value: float) -> None:
    model = toy_model()
    clean, other = draw(model, [0, 1], exposures=2)
    flux = clean.flux.copy()
    flux[0, 33] = value
    hit, neighbour = denoise([replace(clean, flux=flux), other], model)
    assert_finite(hit)
    np.testing.assert_allclose(hit.flux, denoise(clean, model).flux, atol=0.05)
    np.testing.assert_allclose(neighbour.flux, denoise(other, model).flux, rtol=1e-4, atol=1e-4)


def with_cosmic_ray(obs: Observation, sigmas: float) -> Observation:
    flux = obs.flux.copy()
    flux[0, 33] += sigmas / np.sqrt(obs.ivar[0, 33])
    return replace(obs, flux=flux)


def moved_by_a_cosmic_ray(model: SpectrumModel, observations: list[Observation]) -> np.ndarray:
    """By how many posterior sigmas, in the median over spectra of the largest over pixels."""
    clean = denoise(observations, model)
    hit = denoise([with_cosmic_ray(o, 1000.0) for o in observations], model)
    return np.array([np.max(np.abs(a.flux - b.flux) / a.sigma) for a, b in zip(hit, clean, strict=True)])


def test_a_cosmic_ray_does_not_move_the_answer(toy_model: Callable, draw: Callable) -> None:
    robust = toy_model(256)
    observations = draw(robust, [0, 1, 2, 0, 1, 2], snr=20.0)
    assert np.median(moved_by_a_cosmic_ray(robust, observations)) < 0.3
    gaussian = NoiseFlow("kang2021", size=256)
    torch.nn.init.constant_(gaussian.network.heads.bias[1:], -3.0)  # white, sigma = exp(-3) = 1/20
    torch.nn.init.constant_(gaussian.network.edge_alpha, -3.0)
    control = toy_model(256, noise=gaussian)
    assert np.median(moved_by_a_cosmic_ray(control, observations)) > 5


def test_other_grids_are_resampled(toy_model: Callable, draw: Callable) -> None:
    model = toy_model()
    obs = draw(model, [0], snr=100.0)[0]
    fine = np.linspace(3990, 9010, 300)
    flux = np.interp(fine, obs.wavelength, obs.flux[0])
    other = Observation(fine, flux, np.full(300, obs.ivar[0, 0]))
    post = denoise(other, model)
    assert np.array_equal(post.wavelength, model.grid.wavelength)
    np.testing.assert_allclose(post.flux, denoise(obs, model).flux, atol=0.1)


def test_what_cannot_be_done_is_refused(toy_model: Callable, draw: Callable) -> None:
    model = toy_model()
    obs = draw(model, [0])[0]
    with pytest.raises(InputError, match="method: expected one of map, laplace, svi, nuts, ensemble, got 'guess'"):
        denoise(obs, model, method="guess")
    for device in ("toaster", "cuda:99", "meta7", ""):
        with pytest.raises(InputError, match="device: expected one that torch can use here"):
            denoise(obs, model, device=device)
    far = Observation(np.linspace(100, 200, 50), np.ones(50), np.ones(50), name="far")
    with pytest.raises(InputError, match="far"):
        denoise([obs, far], model)


def test_the_signal_to_noise_ratio_is_that_of_what_was_fitted(toy_model: Callable, draw: Callable) -> None:
    model = toy_model()
    obs = replace(draw(model, [0], exposures=2)[0], meta={"snr": 99.0})  # a survey's, of its own coadd
    assert denoise(obs, model).meta["snr"] == obs.snr != 99.0
