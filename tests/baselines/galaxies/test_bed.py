import numpy as np
import pytest

from baselines.galaxies.bed import SNR_WINDOW_A, Bed, noise_curve
from baselines.galaxies.histories import PRIORS, draw_histories
from baselines.galaxies.templates import Templates
from bayesden.model.rest_frame import LIGHT_KMS


def test_noise_curve_has_the_paper_s_points_and_is_flat_in_the_red():
    points = np.array([3700.0, 3850.0, 4000.0, 4529.0, 5500.0, 7000.0])
    np.testing.assert_allclose(noise_curve(points), [3.0, 2.35, 1.7, 1.0, 0.8, 0.8])


def test_noise_is_in_the_galaxies_unit_at_the_snr_asked_for(bed):
    galaxies = bed.draw("smooth", 20)
    np.testing.assert_allclose(galaxies.flux.mean(1), 1.0)
    w = bed.grid.wavelength
    inside = (w > SNR_WINDOW_A[0]) & (w < SNR_WINDOW_A[1])
    seen = bed.observe(galaxies, 10.0)
    sigma = np.array([o.ivar[0] for o in seen]) ** -0.5
    level = galaxies.flux[:, inside].mean(1) / sigma[:, np.abs(w - 4529).argmin()]
    np.testing.assert_allclose(level, 10.0, rtol=1e-3)
    z = (np.array([o.flux[0] for o in seen]) - galaxies.flux) / sigma
    assert abs(z.mean()) < 5 / np.sqrt(z.size) and abs(z.std() - 1) < 5 / np.sqrt(2 * z.size)


def test_noise_belongs_to_seed_and_snr(bed):
    galaxies = bed.draw("smooth", 2)
    first, same, other = (bed.observe(galaxies, 5.0, seed=seed)[0].flux for seed in (1, 1, 2))
    assert np.array_equal(first, same) and not np.array_equal(first, other)


@pytest.mark.parametrize("dispersion", [60.0, 200.0])
def test_a_line_has_the_width_of_resolution_dispersion_and_pixel(dispersion):
    wavelength, centre = np.arange(3500.0, 7300.0, 0.9), 5000.3
    sigma = 2.51 / np.sqrt(8 * np.log(2))
    flux = np.exp(-0.5 * ((wavelength - centre) / sigma) ** 2)[None]
    line = Bed.of(Templates(wavelength, flux, np.array([9.0]), np.array([0.0])))
    seen = line.spectra(np.ones((1, 1)), np.array([dispersion]))[0]
    w = line.grid.wavelength
    mean = (seen * w).sum() / seen.sum()
    variance = (seen * (w - mean) ** 2).sum() / seen.sum()
    wanted = (2.65**2) / (8 * np.log(2)) + (centre * dispersion / LIGHT_KMS) ** 2 + 1.05**2 / 12
    assert np.sqrt(variance) == pytest.approx(np.sqrt(wanted), rel=0.01)
    assert mean == pytest.approx(centre, abs=0.3)
    assert (seen * 1.05).sum() == pytest.approx(sigma * np.sqrt(2 * np.pi), rel=2e-3)


def test_galaxies_are_sums_of_their_populations(bed):
    weight = np.random.default_rng(0).dirichlet(np.ones(len(bed.templates)), 3)
    one = bed.spectra(np.eye(len(bed.templates)), np.full(len(bed.templates), 120.0))
    np.testing.assert_allclose(bed.spectra(weight, np.full(3, 120.0)), weight @ one, rtol=1e-9)


@pytest.mark.parametrize("prior", PRIORS)
def test_histories_are_shares_of_mass(prior, templates):
    weight = draw_histories(prior, 300, templates, np.random.default_rng(0))
    assert weight.shape == (300, len(templates)) and (weight >= 0).all()
    np.testing.assert_allclose(weight.sum(1), 1.0)
    if prior != "smooth":
        assert set(np.unique((weight > 0).sum(1))) == {1, 2, 3, 4}


def test_bursts_uniform_in_time_are_older(templates):
    young, old = (
        draw_histories(prior, 500, templates, np.random.default_rng(0)) @ templates.log_age
        for prior in ("burst", "burst_old")
    )
    assert old.mean() > young.mean() + 0.4
