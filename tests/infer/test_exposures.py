"""What exposures of different quality are worth: a posterior uses each for that, and no ruined one moves it."""

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter1d

from bayesden.errors import InputError
from bayesden.infer.denoise import denoise
from bayesden.model.joint import SpectrumModel
from bayesden.posterior import Posterior
from bayesden.spectrum import Observation

PIXELS = 96
X = np.linspace(-1, 1, PIXELS)


@pytest.fixture(scope="module")
def model(moving_model: Callable) -> SpectrumModel:
    """Stars that move, whose exposures may differ in arms and wavelengths."""
    model = moving_model()
    model.nuisance = replace(model.nuisance, arm_sd=0.02, shift_sd_kms=5.0)
    return model


@pytest.fixture(scope="module")
def star(moving_model: Callable, draw: Callable, arms: Callable) -> Observation:
    """Four sound exposures."""
    sound = moving_model()
    sound.nuisance = replace(sound.nuisance, calibration_sd=0.01)
    observation = draw(sound, [1], exposures=4, snr=25.0, seed=3)[0]
    return replace(observation, arm=arms(observation.flux.shape))


def change(star: Observation, exposure: int, **values: np.ndarray | float) -> Observation:
    """The star with one exposure's flux, ivar or mask replaced."""
    arrays = {name: getattr(star, name).copy() for name in values}
    for name, value in values.items():
        arrays[name][exposure] = value
    return replace(star, **arrays)


def distance(post: Posterior, other: Posterior) -> float:
    """The largest distance of two fluxes, in the other's error bars."""
    return float(np.max(np.abs(post.flux - other.flux) / other.sigma))


def noise(seed: int = 5) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=PIXELS)


WORTHLESS = {
    "no weight": lambda flux, ivar: {"flux": flux + 1e4 * noise() / ivar**0.5, "ivar": 1e-8 * ivar},
    "fibre lost": lambda flux, ivar: {"flux": noise() / ivar**0.5},
    "all masked": lambda flux, ivar: {"mask": True},
    "all cosmic rays": lambda flux, ivar: {"flux": 200 + 100 * noise() ** 2},
}


@pytest.mark.parametrize("case", WORTHLESS)
def test_a_worthless_exposure_leaves_the_posterior_as_it_was(
    model: SpectrumModel, star: Observation, case: str
) -> None:
    spoilt = change(star, 3, **WORTHLESS[case](star.flux[3], star.ivar[3]))
    post, three = denoise([spoilt, star.select([0, 1, 2])], model)
    assert distance(post, three) < 0.1
    np.testing.assert_allclose(post.sigma, three.sigma, rtol=0.05)
    assert post.flags == three.flags
    for key in ("velocity_kms", "ebv"):
        assert abs(post.meta[key] - three.meta[key]) < 0.25 * three.meta[key.replace("_kms", "") + "_sigma" + key[8:]]


RUINED = {
    "fibre dropped": lambda flux, side: 0.3 * flux,
    "tilted": lambda flux, side: (1 + 0.3 * X) * flux,
    "too bright": lambda flux, side: 1.3 * flux,
    "blue arm too bright": lambda flux, side: (1 + 0.15 * (1 + side)) * flux,
    "wavelengths off": lambda flux, side: np.interp(X, X + 10 / 299792 * 6150 / 300 * 2, flux),
    "wider lines": lambda flux, side: gaussian_filter1d(flux, 0.7),
}


@pytest.mark.parametrize("case", RUINED)
def test_a_ruined_exposure_moves_nothing_by_much_more_than_an_error_bar(
    model: SpectrumModel, star: Observation, case: str
) -> None:
    side = (star.arm[3] == 1).astype(float) - (star.arm[3] == 2)
    ruined = change(star, 3, flux=RUINED[case](star.flux[3], side))
    post, four = denoise([ruined, star], model)
    assert distance(post, four) < 1.2
    assert abs(post.meta["velocity_kms"] - four.meta["velocity_kms"]) < four.meta["velocity_sigma_kms"]


def test_without_its_calibration_terms_a_tilt_does_move_the_answer(model: SpectrumModel, star: Observation) -> None:
    """Control: the test above can fail."""
    tilted = change(star, 3, flux=RUINED["tilted"](star.flux[3], 0))
    post, four = denoise([tilted, star], model, without=["calibration"])
    assert distance(post, four) > 1.5


def test_an_exposure_without_its_blue_arm_counts_in_the_red(model: SpectrumModel, star: Observation) -> None:
    blue = star.arm[3] == 1
    cut = change(star, 3, mask=blue, flux=np.where(blue, 0.0, star.flux[3]))
    post, three, four = denoise([cut, star.select([0, 1, 2]), star], model)
    assert distance(post, four) < 1 and distance(post, three) < 1
    red = np.abs(X - 0.6) < 0.3
    assert (post.sigma[red] < three.sigma[red]).all()
    assert (post.sigma < 1.03 * three.sigma).all() and (post.sigma > 0.97 * four.sigma).all()


def test_the_order_of_exposures_changes_nothing(model: SpectrumModel, star: Observation) -> None:
    ruined = change(star, 1, flux=0.3 * star.flux[1])
    post, permuted = denoise([ruined, ruined.select([3, 1, 0, 2])], model)
    assert distance(permuted, post) < 0.02
    np.testing.assert_allclose(permuted.sigma, post.sigma, rtol=1e-2)


def test_unknown_arms_are_one_polynomial(moving_model: Callable, model: SpectrumModel, star: Observation) -> None:
    plain = moving_model()
    plain.nuisance = replace(model.nuisance, arm_sd=0.0)
    blind = replace(star, arm=None)
    post, expected = denoise(blind, model), denoise(blind, plain)
    assert distance(post, expected) < 1e-2


def test_what_is_left_out_is_absent_and_the_model_stays_as_it_was(model: SpectrumModel, star: Observation) -> None:
    before = model.nuisance
    post = denoise(star, model, without="velocity, reddening")
    assert (
        not {"velocity_kms", "velocity_frame", "ebv"} & set(post.meta) and post.meta["without"] == "velocity,reddening"
    )
    assert model.nuisance is before and "velocity_kms" in denoise(star, model).meta
    with pytest.raises(InputError, match="without: expected some of velocity"):
        denoise(star, model, without=["dust"])


def test_the_frame_of_a_velocity_is_that_of_the_input(model: SpectrumModel, star: Observation) -> None:
    known = replace(star, meta={"velocity_frame": "heliocentric"})
    frames = [post.meta["velocity_frame"] for post in denoise([star, known], model)]
    assert frames == ["as the input", "heliocentric"]


@pytest.mark.parametrize("order", [30, 200])
def test_more_terms_than_the_data_can_carry_are_held_by_their_prior(
    moving_model: Callable, star: Observation, order: int
) -> None:
    model = moving_model()
    usual = denoise(star.select([0, 1]), model)
    model.nuisance = replace(model.nuisance, calibration_order=order, calibration_sd=0.005)
    post = denoise(star.select([0, 1]), model)
    assert np.isfinite(post.flux).all() and np.isfinite(post.sigma).all()
    assert distance(post, usual) < 2


def test_exposures_of_different_stars_are_fitted_as_one_if_they_are_called_one(
    moving_model: Callable, draw: Callable, star: Observation
) -> None:
    """In a list each star is fitted by itself; in one observation they cannot be, and what is common to them is found."""
    model = moving_model()
    other = draw(model, [2], exposures=2, snr=25.0, seed=9)[0]
    mixed = replace(star, flux=np.concatenate([star.flux[:2], other.flux]))
    both, first, second = denoise([mixed, star, other], model), denoise(star, model), denoise(other, model)
    assert np.isfinite(both[0].flux).all() and np.isfinite(both[0].sigma).all()
    assert distance(both[1], first) < 0.02 and distance(both[2], second) < 0.02
