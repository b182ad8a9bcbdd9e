"""Laws of the residuals of repeated exposures, of the fit, and of the table of noise models."""

from functools import cache
from pathlib import Path

import numpy as np
import pytest
import torch

from bayesden.errors import InputError
from bayesden.io import read
from bayesden.spectrum import ARM_BLUE, ARM_RED, Observation
from bayesden.train.noise import NoiseSamples, _star_weight, fit_noise, residuals, scale_profile, scale_ratio
from bayesden.train.noise_models import MODELS, compare_noise_models, leave_one_star_out

SIZE = 400
STAR = 10 + 3 * np.sin(np.arange(SIZE) / 9.0)


def star(
    seed: int = 0, n: int = 4, sigma: float | np.ndarray = 0.5, noise: np.ndarray | None = None, **keys: object
) -> Observation:
    """Exposures of one star with white noise of the stated errors."""
    ivar = np.broadcast_to(1 / np.square(sigma), (n, SIZE)).copy()
    z = np.random.default_rng(seed).normal(size=(n, SIZE)) if noise is None else noise
    options = {"wavelength": 4000.0 + np.arange(SIZE), "name": f"star-{seed}"} | keys
    return Observation(flux=STAR + z / np.sqrt(ivar), ivar=ivar, **options)


def correlated(seed: int, n: int, rho: float = 0.6) -> np.ndarray:
    z = np.random.default_rng(seed).normal(size=(n, SIZE))
    for d in range(1, SIZE):
        z[:, d] = rho * z[:, d - 1] + np.sqrt(1 - rho**2) * z[:, d]
    return z


@pytest.mark.parametrize("n", [2, 3, 6])
def test_equal_exposures_are_rescaled_by_the_square_root_of_n_over_n_minus_1(n: int) -> None:
    obs = star(n=n)
    found = residuals(obs, calibration_order=None)
    amplitude = np.abs(obs.coadd()[0]).mean()
    expected = (obs.flux - obs.flux.mean(0)) * np.sqrt(n / (n - 1)) / amplitude
    np.testing.assert_allclose(found.eps, expected, atol=1e-12)


def test_unequal_exposures_have_the_variance_of_the_exposure() -> None:
    sigma = np.array([0.2, 0.5, 1.5])[:, None] * (1 + 0.5 * np.sin(np.arange(SIZE) / 5))
    parts = [residuals(star(seed=s, n=3, sigma=sigma), calibration_order=None) for s in range(30)]
    white = np.concatenate([p.eps * np.sqrt(p.ivar) for p in parts]).reshape(-1, 3, SIZE)
    np.testing.assert_allclose(white.std((0, 2)), 1, atol=0.02)
    uncorrected = white * np.sqrt(1 - sigma**-2 / (sigma**-2).sum(0))
    assert uncorrected.std((0, 2))[0] < 0.6


@pytest.mark.parametrize("n", [2, 3, 5])
def test_a_cosmic_ray_stays_in_its_own_exposure(n: int) -> None:
    clean = star(n=n)
    flux = clean.flux.copy()
    flux[1, 200] += 100.0
    hit = Observation(wavelength=clean.wavelength, flux=flux, ivar=clean.ivar)
    found = residuals(hit, calibration_order=None)
    white = np.where(found.mask, 0, found.eps * np.sqrt(found.ivar))[:, 200]
    assert white[1] > 50
    assert np.abs(np.delete(white, 1)).max() < 5
    leaked = residuals(hit, calibration_order=None, outlier_sigma=np.inf)
    assert np.abs(np.delete(leaked.eps * np.sqrt(leaked.ivar), 1, 0)[:, 200]).max() > 20


def test_calibration_is_divided_out_and_nothing_else() -> None:
    clean = star(n=4, sigma=0.1)
    x = np.linspace(-1, 1, SIZE)
    tilt = 1 + np.array([[0.1], [-0.1], [0.05], [0.0]]) * x
    tilted = Observation(wavelength=clean.wavelength, flux=clean.flux * tilt, ivar=clean.ivar / tilt**2)
    scatter = [
        np.std(p.eps * np.sqrt(p.ivar))
        for p in (residuals(clean), residuals(tilted), residuals(tilted, calibration_order=None))
    ]
    assert scatter[0] == pytest.approx(1, abs=0.05)
    assert scatter[1] == pytest.approx(scatter[0], rel=0.02)
    assert scatter[2] > 2


def test_calibration_of_a_faint_star_is_not_biased_low() -> None:
    faint = star(n=4, sigma=10.0)
    eps, plain = residuals(faint).eps, residuals(faint, calibration_order=None).eps
    slope = (eps * STAR).sum() / (STAR**2).sum() * np.abs(faint.coadd()[0]).mean()
    assert abs(slope) < 0.1
    assert np.std(eps) == pytest.approx(np.std(plain), rel=0.1)


def test_a_pixel_that_no_other_exposure_has_is_masked() -> None:
    mask = np.zeros((3, SIZE), bool)
    mask[:2, 50] = mask[0, 60] = True
    found = residuals(star(n=3, mask=mask))
    assert found.mask[:, 50].all()
    assert found.mask[:, 60].tolist() == [True, False, False]
    assert (found.eps[found.mask] == 0).all()
    assert (found.ivar[found.mask] == 0).all()


def test_one_exposure_has_no_residuals() -> None:
    with pytest.raises(InputError, match="star-0: noise needs at least two exposures"):
        residuals([star(seed=1), star(n=1)])


def test_exposures_on_two_grids_cannot_be_joined() -> None:
    with pytest.raises(InputError, match="wavelength grid"):
        residuals([star(seed=1), star(seed=2, wavelength=5000.0 + np.arange(SIZE))])


def test_no_star_at_all_is_named() -> None:
    with pytest.raises(InputError, match="got none"):
        residuals([])


@cache
def coloured() -> tuple[NoiseSamples, NoiseSamples]:
    train, test = (residuals([star(s, 12, noise=correlated(s, 12)) for s in seeds]) for seeds in ((1, 2), (3,)))
    return train, test


def test_the_fit_is_deterministic_and_stops_early() -> None:
    train, _ = coloured()
    calls = []
    fits = [
        fit_noise(train, seed=s, epochs=4, channels=4, hidden=2, progress=lambda *a: calls.append(a)) for s in (3, 3, 4)
    ]
    states = [list(noise.state_dict().values()) for noise, _ in fits]
    assert all(torch.equal(a, b) for a, b in zip(states[0], states[1], strict=True))
    assert not all(torch.equal(a, b) for a, b in zip(states[0], states[2], strict=True))
    assert fits[0][1] == fits[1][1]
    assert [c[0] for c in calls[:4]] == [1, 2, 3, 4]
    _, history = fit_noise(train, epochs=50, patience=1, learning_rate=0.3, channels=4, hidden=2)
    assert len(history) < 50


def test_the_global_generator_is_left_alone() -> None:
    train, _ = coloured()
    before = torch.get_rng_state()
    fit_noise(train, epochs=1)
    assert torch.equal(before, torch.get_rng_state())


def test_correlated_noise_is_described_as_well_as_by_the_true_model() -> None:
    train, test = coloured()
    rows = dict(compare_noise_models(train, test, names=["gaussian", "student", "gaussian-ar", "maf", "robust"]))
    assert rows["gaussian"] - rows["gaussian-ar"] == pytest.approx(-0.5 * np.log(1 - 0.6**2), abs=0.05)
    assert rows["student"] == pytest.approx(rows["gaussian"], abs=0.02)
    assert rows["robust"] == pytest.approx(rows["gaussian-ar"], abs=0.03)
    assert rows["maf"] == pytest.approx(rows["gaussian-ar"], abs=0.05)


def test_white_noise_leaves_nothing_to_learn() -> None:
    train, test = residuals([star(1, 12), star(2, 12)]), residuals(star(3, 8))
    rows = dict(compare_noise_models(train, test, names=["gaussian", "robust"]))
    assert rows["robust"] == pytest.approx(rows["gaussian"], abs=0.02)
    truth = 0.5 * np.log(2 * np.pi * np.e) - np.log(np.sqrt(test.ivar)).mean()
    assert rows["gaussian"] == pytest.approx(truth, abs=0.03)


def test_every_model_is_scored_finitely_on_a_spectrum_with_a_gap_and_a_cosmic_ray() -> None:
    train, test = coloured()
    eps, mask = test.eps.copy(), test.mask.copy()
    eps[0, 50], mask[1, 100:150] = 5.0, True
    clean = NoiseSamples(test.wavelength, np.where(mask, 0.0, eps), test.ivar, mask, test.arm, test.star)
    assert np.isfinite([row.nats_per_pixel for row in compare_noise_models(train, clean, names=list(MODELS))]).all()


def test_scale_ratio_is_the_error_of_the_errors() -> None:
    arm = np.where(np.arange(SIZE) < 200, ARM_BLUE, ARM_RED) * np.ones((12, 1), int)
    noisy = [star(s, 12, noise=1.5 * np.random.default_rng(s).normal(size=(12, SIZE)), arm=arm) for s in (1, 2)]
    samples = residuals(noisy)
    found = scale_ratio(fit_noise(samples)[0], samples)
    assert found.keys() == {"all", "blue", "red"}
    assert found["blue"] == pytest.approx(1.5, rel=0.05)


def test_scale_profile_follows_wavelength_and_arm() -> None:
    arm = np.where(np.arange(SIZE) < 200, ARM_BLUE, ARM_RED) * np.ones((12, 1), int)
    factor = np.where(np.arange(SIZE) < 200, 0.7, 1.4)
    noisy = [star(s, 12, noise=factor * np.random.default_rng(s).normal(size=(12, SIZE)), arm=arm) for s in (1, 2)]
    samples = residuals(noisy)
    noise, _ = fit_noise(samples, epochs=5)
    found = scale_profile(noise, samples, bins=8)
    assert found.keys() == {"blue", "red"}
    assert found["blue"].wavelength.tolist() == pytest.approx(4000 + 399 / 8 * (np.arange(4) + 0.5))
    np.testing.assert_allclose(found["blue"].scatter, 0.7, rtol=0.1)
    np.testing.assert_allclose(found["red"].scatter[1:], 1.4, rtol=0.1)
    assert (found["red"].scale[1:] > found["blue"].scale.max()).all()  # the flow sees the scatter of the pixels before
    nameless = NoiseSamples(samples.wavelength, samples.eps, samples.ivar, samples.mask, 0 * samples.arm, samples.star)
    assert scale_profile(noise, nameless).keys() == {"all"}


def test_stars_of_different_signal_to_noise_have_noise_of_different_scale() -> None:
    def of(seed: int, sigma: float, factor: float) -> Observation:
        return star(seed, 8, sigma, noise=factor * np.random.default_rng(seed).normal(size=(8, SIZE)))

    train = residuals([of(1, 0.25, 0.6), of(2, 0.25, 0.6), of(3, 5.0, 1.0), of(4, 5.0, 1.0)])
    noise, _ = fit_noise(train, epochs=40)
    bright, faint = (scale_ratio(noise, residuals(of(5, *pair)))["all"] for pair in ((0.25, 0.6), (5.0, 1.0)))
    assert bright == pytest.approx(0.6, rel=0.1)
    assert faint == pytest.approx(1.0, rel=0.1)


def test_residuals_of_different_stars_in_one_list_are_those_of_each_by_itself() -> None:
    stars = [star(1, 3), star(2, 4)]
    together, alone = residuals(stars), [residuals(obs) for obs in stars]
    for key in ("eps", "ivar", "context"):
        np.testing.assert_array_equal(getattr(together, key), np.concatenate([getattr(p, key) for p in alone]))
    assert together.select([3, 4]).context.shape == (2, 6, SIZE)


def test_a_star_of_many_exposures_counts_no_more_than_one_of_few() -> None:
    samples = residuals([star(1, 4), star(2, 20)])
    weight = _star_weight(samples)
    assert weight.mean() == pytest.approx(1)
    assert weight[:4].sum() == pytest.approx(weight[4:].sum())


def test_unknown_model_and_lone_star_are_named() -> None:
    train, test = coloured()
    with pytest.raises(InputError, match="got cauchy"):
        compare_noise_models(train, test, names=["cauchy"])
    with pytest.raises(InputError, match="at least two stars"):
        leave_one_star_out([test])
    with pytest.raises(InputError, match="at least two exposures"):
        fit_noise(test.select(np.array([0])))


def test_real_stars_that_were_not_seen_are_described_better_than_by_iid_student_noise(sdss_files: list[Path]) -> None:
    stars = [residuals(read(path)) for path in sdss_files]
    table = leave_one_star_out(stars, names=["student", "robust", "robust-profile"])
    mean = dict(table["mean"])
    assert all(np.isfinite(row.nats_per_pixel) for rows in table.values() for row in rows)
    assert mean["robust"] < mean["student"] - 0.035
    assert mean["robust-profile"] < mean["student"] - 0.07
    assert all(dict(rows)["robust-profile"] < dict(rows)["student"] for rows in table.values())
