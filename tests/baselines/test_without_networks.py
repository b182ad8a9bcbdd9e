"""Laws of smoothing, wavelets and weighted components: noise goes; masked pixels and units do not matter; exact limits."""

import numpy as np
import pytest

from baselines.empca import Empca, components
from baselines.smoothing import Smoothing
from baselines.wavelet import Wavelet
from bayesden.errors import InputError
from bayesden.spectrum import Grid, Observation

D = 256
GRID = Grid.uniform(size=D)
X = np.linspace(0, 1, D)


def library(n: int = 200, rank: int = 3, seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    basis = np.stack([np.sin((k + 1) * 3 * X) for k in range(rank)])
    flux = 2 + 0.2 * rng.normal(size=(n, rank)) @ basis
    return flux / np.abs(flux).mean(1, keepdims=True)


METHODS = [
    Smoothing(GRID),
    Wavelet(GRID, "universal"),
    Wavelet(GRID, "bayes"),
    Empca.fit(library(), GRID, validation=library(seed=1)),
]


def names(method) -> str:
    return f"{type(method).__name__}-{getattr(method, 'threshold', '')}"


def observation(truth: np.ndarray, snr: float = 20.0, unit: float = 1.0, seed: int = 0) -> Observation:
    rng = np.random.default_rng(seed)
    sigma = np.linspace(0.5, 2.0, D) * np.ones((2, 1)) / snr
    flux, mask = truth + sigma * rng.normal(size=(2, D)), np.zeros((2, D), bool)
    mask[:, 100:106] = True
    return Observation(GRID.wavelength, unit * flux, sigma**-2 / unit**2, mask, name="star")


@pytest.mark.parametrize("method", METHODS, ids=names)
def test_noise_goes(method):
    truth = library(n=20, seed=2)
    noisy = [observation(t, seed=i) for i, t in enumerate(truth)]
    error = np.mean((np.array([p.flux for p in method.denoise(noisy)]) - truth) ** 2)
    assert error < 0.3 * np.mean([(o.coadd()[0] - t)[~o.mask[0]] ** 2 for o, t in zip(noisy, truth, strict=True)])


@pytest.mark.parametrize("unit", [1e-17, 1e9])
@pytest.mark.parametrize("method", METHODS, ids=names)
def test_flux_unit_and_masked_values_change_nothing(method, unit):
    truth = library(n=1)[0]
    post = method.denoise(observation(truth))
    np.testing.assert_allclose(method.denoise(observation(truth, unit=unit)).flux / unit, post.flux, rtol=1e-6)
    noisy = observation(truth)
    garbage = Observation(noisy.wavelength, np.where(noisy.mask, 1e9, noisy.flux), noisy.ivar, noisy.mask)
    np.testing.assert_array_equal(method.denoise(garbage).flux, post.flux)
    assert np.isnan(post.sigma).all() and np.isfinite(post.flux).all()


@pytest.mark.parametrize("method", METHODS, ids=names)
def test_another_grid_is_one_clear_line(method):
    other = Observation(GRID.wavelength + 1, np.ones(D), np.ones(D), name="star")
    with pytest.raises(InputError, match=r"^star: expected the wavelength grid of"):
        method.denoise(other)


def test_the_width_follows_the_noise():
    truth = 1 + 0.3 * np.sin(20 * X)
    width = [Smoothing(GRID).denoise(observation(truth, snr)).meta["width"] for snr in (300.0, 30.0, 3.0)]
    assert width[0] < width[1] < width[2]


def test_thresholds_have_names():
    with pytest.raises(InputError, match=r"^threshold: expected one of universal, bayes, got 'hard'"):
        Wavelet(GRID, "hard")


def test_components_of_equal_weights_are_principal_components():
    flux = library() + 0.01 * np.random.default_rng(3).normal(size=(200, D))
    mean, found = components(flux, 3, iterations=100)
    expected = np.linalg.svd(flux - flux.mean(0), full_matrices=False)[2][:3]
    np.testing.assert_allclose(mean, flux.mean(0))
    np.testing.assert_allclose(np.abs(found @ expected.T), np.eye(3), atol=1e-3)


def test_weights_find_the_subspace_through_holes_that_zeros_spoil():
    rng, flux = np.random.default_rng(4), library()
    seen = rng.random(flux.shape) > 0.3
    centred = flux - flux.mean(0)
    spoilt = np.where(seen, flux, 5.0)
    truth = np.linalg.svd(centred, full_matrices=False)[2][:3]
    left = []
    for weight in (seen * 1.0, None):  # the second is the control
        _, found = components(spoilt, 3, weight=weight, iterations=60)
        left.append(np.abs(truth - truth @ found.T @ found).max())
    assert left[0] < 0.02 < left[1]


def test_noiseless_spectra_of_the_library_come_back():
    method, truth = METHODS[-1], library(n=5, seed=5)
    assert 3 <= len(method.components) <= 5
    for t in truth:
        np.testing.assert_allclose(
            method.denoise(Observation(GRID.wavelength, 7 * t, np.ones(D))).flux, 7 * t, atol=0.01
        )


@pytest.mark.parametrize(
    ("rank", "weight", "message"),
    [
        (0, None, "expected 1 to 4 components"),
        (5, None, "expected 1 to 4 components"),
        (2, 0.0, "expected data in every"),
    ],
)
def test_impossible_components_are_one_clear_line(rank, weight, message):
    flux = library()[:5]
    with pytest.raises(InputError, match=f"^empca: {message}"):
        components(flux, rank, weight=None if weight is None else np.full(flux.shape, weight))
