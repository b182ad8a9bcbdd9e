"""What the noise is conditioned on: it has no unit, does not see lines, and says 0 where it does not know."""

from dataclasses import replace

import numpy as np
import pytest

from bayesden.model.noise_context import CHANNELS, noise_context, smooth
from bayesden.spectrum import Observation

SIZE = 512
WAVELENGTH = np.linspace(5000, 6000, SIZE)


def observation(unit: float = 1.0, snr: float = 20.0, **options: object) -> Observation:
    rng = np.random.default_rng(0)
    flux = 3 + np.sin(WAVELENGTH / 200) + 3 / snr * rng.normal(size=(2, SIZE))
    sky = 1 + 10 * np.exp(-0.5 * ((WAVELENGTH - 5578.9) / 3) ** 2) + np.zeros((2, 1))
    known = {"sky": unit * sky, "correlation": np.full((2, SIZE), 0.2)} | options
    ivar = np.full((2, SIZE), (snr / 3) ** 2)
    return Observation(wavelength=WAVELENGTH, flux=unit * flux, ivar=ivar / unit**2, **known)


def test_a_change_of_the_flux_unit_changes_nothing() -> None:
    np.testing.assert_allclose(noise_context(observation()), noise_context(observation(1e-17)), rtol=1e-5, atol=1e-6)


def test_it_knows_signal_to_noise_correlation_and_sky_lines() -> None:
    faint, bright = (noise_context(observation(snr=snr)) for snr in (3.0, 40.0))
    assert faint.shape == (2, len(CHANNELS), SIZE) and np.abs(faint).max() <= 3
    assert (bright[:, 0] > faint[:, 0] + 0.5).all()
    np.testing.assert_allclose(bright[:, 2], 0.9, rtol=1e-6)
    line = np.abs(WAVELENGTH - 5578.9).argmin()
    assert (bright[:, 4].argmax(-1) == line).all() and np.abs(np.median(bright[:, 4])) < 0.1


def test_the_channels_of_correlation_are_its_neighbours() -> None:
    rho = 0.11 + 0.05 * np.random.default_rng(1).normal(size=(2, SIZE))
    before, here, after = np.moveaxis(noise_context(observation(correlation=rho))[:, 1:4], 1, 0)
    np.testing.assert_array_equal(before[:, 1:], here[:, :-1])
    np.testing.assert_array_equal(after[:, :-1], here[:, 1:])


def test_a_line_in_the_star_does_not_change_what_is_thought_of_its_noise() -> None:
    plain = observation()
    line = 1 - 0.7 * np.exp(-0.5 * ((WAVELENGTH - 5500) / 3) ** 2)
    star = plain.coadd()[0]
    changed = noise_context(replace(plain, flux=plain.flux + star * (line - 1))) - noise_context(plain)
    assert np.abs(changed).max() < 0.05


def test_what_is_not_known_or_masked_is_zero() -> None:
    mask = np.zeros((2, SIZE), bool)
    mask[0, 50:80] = True
    context = noise_context(observation(sky=None, correlation=None, mask=mask))
    assert (context[:, 1:5] == 0).all() and (context[0, :, 50:80] == 0).all()
    assert (context[1, 0] != 0).all()


def test_smooth_is_the_block_medians_of_what_is_good() -> None:
    values = np.random.default_rng(2).normal(size=(2, 256)) + np.arange(256) / 50
    good = np.random.default_rng(3).random((2, 256)) < 0.8
    good[1] = False
    found = smooth(np.where(good, values, 1e9), good)
    index = np.arange(64, 128)[good[0, 64:128]]
    expected = np.median(values[0, index])
    assert np.interp(index.mean(), np.arange(256), found[0]) == pytest.approx(expected, abs=0.05)
    assert (found[1] == 0).all()


def test_the_scatter_is_that_of_the_exposures_whatever_the_star() -> None:
    """A noise of twice the pipeline's error is told from one of its size, lines or not; one exposure tells nothing."""
    rng = np.random.default_rng(4)
    lines = 1 + 0.5 * rng.normal(size=SIZE)
    noise, ivar = rng.normal(size=(3, SIZE)) / 20, np.full((3, SIZE), 400.0)
    found = [
        noise_context(Observation(WAVELENGTH, star + factor * noise, ivar))[:, 5]
        for star in (np.ones(SIZE), lines)
        for factor in (1.0, 2.0)
    ]
    np.testing.assert_allclose(found[0], found[2], atol=1e-4)
    assert np.median(found[0]) == pytest.approx(5 * np.log(1 / 0.75), abs=0.5)
    np.testing.assert_allclose(np.minimum(found[0] + 5 * np.log(2), 3), found[1], atol=1e-3)
    assert (noise_context(Observation(WAVELENGTH, lines, ivar[0]))[:, 5] == 0).all()
