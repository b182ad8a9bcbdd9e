"""Numerical health: no unit of flux is too small or too large, no value spreads a NaN, and the same seed gives the same bytes."""

import os
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest
import torch

import bayesden as bd
from bayesden.model.agreement import agreement, rough_scale
from bayesden.model.checkpoint import save_model
from bayesden.model.data import Data
from bayesden.spectrum import EXTREME, Observation, usable


@pytest.fixture(scope="module")
def model(toy_model):
    return toy_model()


@pytest.fixture(scope="module")
def star(model, draw):
    (one,) = draw(model, [1], exposures=3, snr=30.0, seed=4)
    return one


def scaled(obs, factor):
    return Observation(obs.wavelength, obs.flux * factor, obs.ivar / factor**2, mask=obs.mask, name=obs.name)


@pytest.mark.parametrize("power", [-100, -66, -1, 1, 66, 100])
def test_the_unit_of_flux_changes_no_bit(model, star, power):
    """By a power of two; 2**66 is 7e19, 2**100 is 1e30."""
    one, other = bd.denoise([star, scaled(star, 2.0**power)], model)
    np.testing.assert_array_equal(one.flux * 2.0**power, other.flux)
    np.testing.assert_array_equal(one.sigma * 2.0**power, other.sigma)
    np.testing.assert_array_equal(one.latent, other.latent)
    assert (one.class_prob, one.flags) == (other.class_prob, other.flags)


@pytest.mark.parametrize("factor", [1e-30, 1e-20, 1e-17, 1e20, 1e30])
def test_the_unit_of_flux_changes_nothing(model, star, factor):
    one, other = bd.denoise([star, scaled(star, factor)], model)
    np.testing.assert_allclose(one.flux * factor, other.flux, rtol=1e-3)
    np.testing.assert_allclose(one.sigma * factor, other.sigma, rtol=2e-2)
    assert one.best_class == other.best_class and one.flags == other.flags


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf, 1e101, -1e308, 1e300])
@pytest.mark.parametrize("key", ["flux", "ivar"])
def test_a_value_that_is_none_is_as_if_masked(model, star, key, value):
    flux, ivar = star.flux.copy(), star.ivar.copy()
    mask = np.zeros(flux.shape, bool)
    mask[1, 10:14] = True
    (flux if key == "flux" else ivar)[mask] = value
    spoilt = Observation(star.wavelength, flux, ivar, name="star")
    masked = Observation(star.wavelength, star.flux, star.ivar, mask=mask, name="star")
    np.testing.assert_array_equal(spoilt.flux, masked.flux)
    np.testing.assert_array_equal(spoilt.mask, masked.mask)
    a, b = bd.denoise([spoilt, masked], model)
    np.testing.assert_array_equal(a.flux, b.flux)


@pytest.mark.parametrize("ivar", [1e-50, 1e-30, 1e30, 1e99])
@pytest.mark.parametrize("share", [0.02, 1.0])
def test_weights_that_are_hardly_possible_give_finite_answers(model, star, ivar, share):
    chosen = np.random.default_rng(0).random(star.ivar.shape) < share
    post = bd.denoise(replace(star, ivar=np.where(chosen, ivar, star.ivar)), model)
    for values in (post.flux, post.sigma, post.prior_fraction, post.latent):
        assert np.isfinite(values).all()
    assert np.isclose(sum(post.class_prob.values()), 1.0)


def test_a_flux_that_is_hardly_possible_touches_no_other_pixel_much(model, star):
    flux = star.flux.copy()
    flux[0, 20] = 1e99
    plain, spoilt = bd.denoise([star, replace(star, flux=flux)], model)
    far = np.abs(np.arange(flux.shape[1]) - 20) > 10
    assert (np.abs(spoilt.flux - plain.flux)[far] < plain.sigma[far]).all()


def test_what_is_usable():
    values = [0.0, -5.0, EXTREME, 2 * EXTREME, np.nan, np.inf]
    assert usable(np.array(values), np.ones(6)).tolist() == [True, True, True, False, False, False]
    weights = [0.0, -5.0, 1.0, 0.5 / EXTREME, np.nan, np.inf]
    assert usable(np.ones(6), np.array(weights)).tolist() == [False, False, True, False, False, False]
    assert usable(np.ones(1, np.float32), np.full(1, 3e38, np.float32)).all()


def test_single_and_double_precision_of_the_input_give_one_answer(model, star):
    flux, ivar = (getattr(star, key).astype(np.float32) for key in ("flux", "ivar"))
    one, other = (
        Observation(star.wavelength, flux.astype(kind), ivar.astype(kind)) for kind in (np.float32, np.float64)
    )
    np.testing.assert_array_equal(one.flux, other.flux)
    assert one.flux.dtype == np.float64
    np.testing.assert_array_equal(bd.denoise(one, model).flux, bd.denoise(other, model).flux)


def test_types_on_the_way(model, star):
    """Data and networks in float32, of order 1; scales, sums of log-densities and results in float64."""
    data = Data.stack([scaled(star, 1e-30)])
    assert (data.flux.dtype, data.ivar.dtype, data.scale.dtype) == (torch.float32, torch.float32, torch.float64)
    assert 0.1 < float(data.flux.abs().mean()) < 10.0
    post = bd.denoise(star, model)
    assert {getattr(post, key).dtype for key in ("flux", "sigma", "prior_fraction", "latent")} == {np.dtype(np.float64)}


def test_exposures_whose_median_is_zero_can_be_compared():
    flux, ivar = np.ones((3, 256)), np.full((3, 256), 4.0)
    flux[:2] = 0.0
    trust = agreement(flux, ivar)
    assert np.isfinite(trust).all() and (trust >= 0).all()
    assert np.isfinite(rough_scale(flux, ivar, trust))
    assert np.isfinite(agreement(np.zeros((3, 256)), ivar)).all()


SCRIPT = """
import sys, bayesden as bd, numpy as np
model = bd.load_model(sys.argv[1])
values = np.load(sys.argv[2], allow_pickle=False)
obs = bd.Observation(values["wavelength"], values["flux"], values["ivar"], name="star")
bd.write_posterior(bd.denoise(obs, model, seed=7), sys.argv[3])
"""


def test_the_same_seed_gives_the_same_bytes(model, star, tmp_path):
    """In one process, and in another one whose sets and dictionaries of texts have another order."""
    save_model(model, tmp_path / "model.safetensors")
    np.savez(tmp_path / "star.npz", wavelength=star.wavelength, flux=star.flux, ivar=star.ivar)
    loaded, obs = bd.load_model(tmp_path / "model.safetensors"), replace(star, name="star")
    for name in ("a", "b"):
        torch.rand(len(name) + 5)  # what others draw from the global generator in between makes no difference
        bd.write_posterior(bd.denoise(obs, loaded, seed=7), tmp_path / f"{name}.fits")
    words = [tmp_path / "model.safetensors", tmp_path / "star.npz", tmp_path / "c.fits"]
    environment = os.environ | {"PYTHONHASHSEED": "12345", "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-c", SCRIPT, *map(str, words)]
    subprocess.run(command, check=True, env=environment, timeout=300)
    first = (tmp_path / "a.fits").read_bytes()
    assert first == (tmp_path / "b.fits").read_bytes() == (tmp_path / "c.fits").read_bytes()
