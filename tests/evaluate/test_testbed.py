"""Laws of test bed B1: the truth is known, the noise is the noise that was asked for, a gap is a gap."""

import numpy as np
import pytest

from bayesden.errors import InputError
from bayesden.evaluate.testbed import GAPS, cut_gap, real_noise_bed, reconstruction_loss, white_noise_bed
from bayesden.spectrum import Grid, Observation
from bayesden.train.library import Library
from bayesden.train.noise import residuals

GRID = Grid.uniform(4000.0, 9000.0, 128)


@pytest.fixture(scope="module")
def library() -> Library:
    x = np.linspace(0, 1, GRID.size)
    flux = np.array([1 + 0.5 * np.cos((k + 1) * x + i) for k in range(2) for i in range(6)])
    flux /= np.abs(flux).mean(1, keepdims=True)
    names = np.array([f"star/{i}" for i in range(12)])
    return Library(GRID, flux.astype(np.float32), np.repeat([0, 1], 6), names, classes=("A", "M"))


@pytest.fixture(scope="module")
def noise():
    rng = np.random.default_rng(0)
    stars = []
    for s in range(2):
        sigma = 0.05 * (1 + s) * np.ones((5, GRID.size))
        mask = np.zeros(sigma.shape, bool)
        mask[:, 40:44] = s == 1
        flux = 1 + sigma * rng.normal(size=sigma.shape)
        stars.append(Observation(GRID.wavelength, flux, sigma**-2, mask, name=f"noise-{s}"))
    return residuals(stars)


@pytest.mark.parametrize("snr", [5.0, 20.0])
def test_real_noise_has_the_signal_to_noise_ratio_asked_for(library, noise, snr):
    bed = real_noise_bed(library, noise, snr=snr, exposures=3, per_class=5, seed=1)
    for truth, observation in zip(bed.truth, bed.observations, strict=True):
        for ivar in observation.ivar:
            good = ivar > 0
            assert np.median(truth[good] * np.sqrt(ivar[good])) == pytest.approx(snr, rel=1e-6)
        assert observation.n_exposures == 3


def test_real_noise_whitens_to_unit_scatter(library, noise):
    bed = real_noise_bed(library, noise, snr=10.0, exposures=4, per_class=6)
    z = [((o.flux - t) * np.sqrt(o.ivar))[~o.mask] for o, t in zip(bed.observations, bed.truth, strict=True)]
    assert np.std(np.concatenate(z)) == pytest.approx(1.0, abs=0.1)


def test_exposures_are_independent(library, noise):
    """The mean of E exposures has 1/E of the variance of one; residuals as they are would cancel."""
    n = 4
    bed = real_noise_bed(library, noise, snr=10.0, exposures=n, per_class=300, seed=3)
    z = np.array([((o.flux - t) * np.sqrt(o.ivar)) for o, t in zip(bed.observations, bed.truth, strict=True)])
    good = np.array([o.ivar > 0 for o in bed.observations]).all(1)
    assert n * np.var(z.mean(1)[good]) == pytest.approx(np.var(z[:, 0][good]), rel=0.05)
    stars = {
        name: noise.eps[np.array(noise.star) == name] * np.sqrt(noise.ivar[np.array(noise.star) == name])
        for name in noise.star
    }
    as_they_are = np.concatenate([each[:n].mean(0) for each in stars.values()])
    assert n * np.var(as_they_are) < 0.5  # control


def test_white_noise_is_white_and_of_the_size_asked_for(library):
    bed = white_noise_bed(library, snr=10.0, exposures=8, per_class=6)
    z = np.array([(o.flux - t) * np.sqrt(o.ivar) for o, t in zip(bed.observations, bed.truth, strict=True)])
    assert np.std(z) == pytest.approx(1.0, abs=0.02)
    assert np.mean(z[..., 1:] * z[..., :-1]) == pytest.approx(0.0, abs=0.03)


@pytest.mark.parametrize("where", GAPS)
def test_a_gap_masks_its_pixels_and_no_others(library, where):
    bed = white_noise_bed(library, snr=10.0, per_class=1)
    cut = cut_gap(bed, where, 50)
    start = {"blue": 0, "middle": 39, "red": 78}[where]
    for before, after in zip(bed.observations, cut.observations, strict=True):
        assert np.flatnonzero(after.mask[0]).tolist() == list(range(start, start + 50))
        assert np.array_equal(before.flux[~after.mask], after.flux[~after.mask])


def test_same_seed_same_bed_and_other_seed_another(library, noise):
    first, second, other = (real_noise_bed(library, noise, snr=9.0, seed=s).observations[0].flux for s in (3, 3, 4))
    assert np.array_equal(first, second)
    assert not np.array_equal(first, other)


def test_loss_is_the_mean_squared_error_over_pixels():
    assert reconstruction_loss(np.array([[1.0, 3.0]]), np.array([[1.0, 1.0]])).tolist() == [2.0]


def test_bad_input_is_named(library, noise):
    bed = white_noise_bed(library, snr=10.0, per_class=1)
    with pytest.raises(InputError, match="expected blue, middle or red"):
        cut_gap(bed, "left", 3)
    with pytest.raises(InputError, match="class M"):
        real_noise_bed(library.take(library.label == 0), noise, snr=5.0)
