"""Laws of the fits: the closed form of Tipping and Bishop, the rank that the data have, clear errors."""

import numpy as np
import pytest

from baselines.linear_gaussian import LowRankGaussian
from baselines.low_rank_fit import fit_low_rank
from baselines.mppca import MixturePPCA
from baselines.wiener import Wiener
from bayesden.errors import InputError
from bayesden.spectrum import Grid, Observation

D = 120
GRID = Grid.uniform(4000.0, 9000.0, D)


def library(seed=0, n=400, rank=3, noise=0.01, phase=0.0, scale=0.2):
    rng = np.random.default_rng(seed)
    x = np.linspace(0, 1, D)
    basis = np.stack([np.sin((k + 1) * 3 * x + phase) for k in range(rank)])
    flux = 2 + rng.standard_normal((n, rank)) * scale @ basis + noise * rng.standard_normal((n, D))
    return flux / np.abs(flux).mean(1, keepdims=True)


@pytest.mark.parametrize("n", [60, 900])
def test_isotropic_is_the_closed_form_of_tipping_and_bishop(n):
    flux, rank = library(n=n), 2
    values, vectors = np.linalg.eigh(np.cov(flux.T, bias=True))
    values, vectors = values[::-1], vectors[:, ::-1]
    sigma2 = values[rank:].mean()
    signal = (vectors[:, :rank] * (values[:rank] - sigma2)) @ vectors[:, :rank].T
    prior = fit_low_rank(flux, rank=rank, noise="isotropic")
    np.testing.assert_allclose(prior.psi, sigma2, rtol=1e-6)
    np.testing.assert_allclose(prior.factor @ prior.factor.T, signal, atol=1e-7)
    np.testing.assert_allclose(prior.mean, flux.mean(0), rtol=1e-12)


def test_pixel_noise_keeps_the_variance_of_each_pixel_roughly():
    flux = library() + np.random.default_rng(1).standard_normal((400, D)) * np.linspace(0.001, 0.05, D)
    prior = fit_low_rank(flux, rank=3, noise="pixel")
    np.testing.assert_allclose(prior.variance, flux.var(0), rtol=0.1)
    assert prior.psi[-20:].mean() > 20 * prior.psi[:20].mean()


@pytest.mark.parametrize("noise", ["isotropic", "pixel"])
@pytest.mark.parametrize("rank", [1, 3, 5])
def test_held_out_likelihood_finds_the_rank(rank, noise):
    # small scatter: else the normalisation to mean |flux| = 1 bends the subspace, and more components are found
    found = fit_low_rank(library(rank=rank, n=600, scale=0.05), noise=noise)
    assert rank <= found.rank <= rank + 2
    assert 0.5 < found.psi.mean() / (0.005**2) < 2.0


def test_validation_spectra_inflate_what_copies_would_not():
    rng = np.random.default_rng(3)
    copies = library(n=5)[rng.integers(5, size=200)] + 1e-4 * rng.standard_normal((200, D))
    blind = fit_low_rank(copies)
    wary = fit_low_rank(copies, validation=library(seed=4, n=50))
    assert wary.psi.mean() > 100 * blind.psi.mean()


def test_seed_decides_everything():
    flux = library(n=700)
    one, other = (fit_low_rank(flux, seed=5) for _ in range(2))
    np.testing.assert_array_equal(one.factor, other.factor)
    np.testing.assert_array_equal(one.psi, other.psi)


@pytest.mark.parametrize("n", [2, 3, 4])
def test_very_few_spectra_are_enough(n):
    flux = library(n=n).astype(np.float32)
    for rank in (None, 10):
        prior = fit_low_rank(flux, rank=rank)
        assert isinstance(prior, LowRankGaussian)
        assert (prior.psi > 0).all()
        assert prior.rank < n


def test_fitted_mixture_tells_classes_apart_and_denoises():
    training = [library(seed, phase=phase) for seed, phase in ((0, 0.0), (1, 2.0))]
    label = np.repeat([0, 1], 400)
    mixture = MixturePPCA.fit(np.concatenate(training), label, ("X", "Y"), GRID)
    wiener = Wiener.fit(np.concatenate(training), GRID)
    rng = np.random.default_rng(6)
    for k, phase in enumerate((0.0, 2.0)):
        truth = library(7 + k, n=20, phase=phase)
        noisy = 50 * (truth + 0.05 * rng.standard_normal(truth.shape))
        obs = [Observation(GRID.wavelength, f, np.full(D, (50 * 0.05) ** -2)) for f in noisy]
        posts = mixture.denoise(obs)
        assert np.mean([p.best_class == "XY"[k] for p in posts]) > 0.9
        for each in (posts, wiener.denoise(obs)):
            assert np.mean((np.array([p.flux for p in each]) / 50 - truth) ** 2) < 0.2 * 0.05**2
    assert posts[0].method == "mppca"
    assert wiener.denoise(obs[0]).method == "wiener"


@pytest.mark.parametrize(
    ("flux", "message"),
    [
        (np.ones((5, D + 1)), rf"^flux: expected shape \(N, {D}\) with N >= 2, got \(5, {D + 1}\)"),
        (np.ones((1, D)), "^flux: expected shape"),
        (np.full((5, D), np.nan), "^flux: expected finite values, got 600 that are not"),
        (np.full((5, D), 2.0), r"^flux: expected mean \|flux\| = 1 in each row, got 2 to 2"),
    ],
)
def test_unusable_libraries_are_one_clear_line(flux, message):
    with pytest.raises(InputError, match=message):
        Wiener.fit(flux, GRID)


def test_a_class_without_spectra_is_named():
    with pytest.raises(InputError, match=r"^label: expected at least two spectra of class Carbon, got 0"):
        MixturePPCA.fit(library(), np.zeros(400, int), ("A", "Carbon"), GRID)
    with pytest.raises(InputError, match=r"^label: expected shape \(400,\), got \(3,\)"):
        MixturePPCA.fit(library(), [0, 1, 0], ("A", "Carbon"), GRID)
