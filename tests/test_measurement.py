"""Laws of equivalent widths and colours, and of the posterior of any quantity."""

import numpy as np
import pytest
from scipy.stats import norm

from bayesden.errors import InputError
from bayesden.measurement import Measurement, colour, equivalent_width

WAVE = np.linspace(6400.0, 6700.0, 601)
LINE, BESIDE = (6530.0, 6600.0), ((6420.0, 6500.0), (6620.0, 6690.0))
HALPHA = equivalent_width(WAVE, LINE, BESIDE)


def profile(depth: float) -> np.ndarray:
    return 1 - depth * np.exp(-0.5 * ((WAVE - 6564.6) / 4.0) ** 2)


@pytest.mark.parametrize("depth", [0.5, -2.0])
def test_width_of_a_gaussian_line_is_exact_in_absorption_and_emission(depth):
    assert HALPHA(profile(depth)) == pytest.approx(depth * 4.0 * np.sqrt(2 * np.pi), rel=1e-5)


@pytest.mark.parametrize("scale", [1e-17, 3.0, 1e6])
def test_width_knows_neither_the_unit_nor_a_slope_of_the_continuum(scale):
    slope = 1 + 2e-3 * (WAVE - 6564.6)
    assert HALPHA(scale * profile(0.3)) == pytest.approx(HALPHA(profile(0.3)), rel=1e-9)
    assert HALPHA(scale * slope * profile(0.3)) == pytest.approx(HALPHA(profile(0.3)), rel=1e-5)
    assert HALPHA(scale * slope) == pytest.approx(0.0, abs=1e-9)


def test_width_is_the_same_on_an_uneven_grid():
    wave = np.sort(np.concatenate([WAVE, np.arange(6540.0, 6600.0, 0.37)]))
    flux = np.interp(wave, WAVE, profile(0.5))
    assert equivalent_width(wave, LINE, BESIDE)(flux) == pytest.approx(HALPHA(profile(0.5)), rel=1e-3)


def test_colour_of_a_ratio():
    wave = np.linspace(4000.0, 9000.0, 1001)
    bluer = colour(wave, (4000, 5000), (8000, 9000))
    flux = np.where(wave < 6000, 10.0, 1.0)
    assert bluer(flux) == pytest.approx(-2.5) and bluer(7 * flux) == pytest.approx(-2.5)
    assert colour(wave, (8000, 9000), (4000, 5000))(flux) == pytest.approx(2.5)
    assert np.isnan(bluer(np.where(wave < 6000, -1.0, 1.0)))


def test_windows_outside_of_the_spectrum_are_refused():
    with pytest.raises(InputError, match=r"window: expected at least two of the pixels from 6400 to 6700 Å in it, got"):
        equivalent_width(WAVE, (7000, 7100), BESIDE)
    with pytest.raises(InputError, match="at least two continuum windows, got 1"):
        equivalent_width(WAVE, LINE, BESIDE[:1])
    with pytest.raises(InputError, match="window"):
        colour(WAVE, (4000, 5000), LINE)


def test_intervals_of_normal_draws():
    found = Measurement(np.random.default_rng(0).normal(5.0, 2.0, 40_000))
    assert found.value == pytest.approx(5, abs=0.05) and found.sigma == pytest.approx(2, rel=0.02)
    for probability in (0.5, 0.68, 0.9):
        half = 2 * norm.ppf(0.5 + probability / 2)
        np.testing.assert_allclose(found.interval(probability), (5 - half, 5 + half), atol=0.06)
    low, high = found.interval()
    assert np.mean((found.draws > low) & (found.draws < high)) == pytest.approx(0.68, abs=1e-3)
    for wrong in (0, 1, -0.1, 68):
        with pytest.raises(InputError, match="probability: expected a number between 0 and 1"):
            found.interval(wrong)


def test_words_of_a_measurement():
    assert repr(Measurement(np.array([1.0, 2.0, 3.0]))) == "2 ± 1"
    assert repr(Measurement(np.zeros((9, 4)))) == "Measurement of shape (4,) from 9 draws"
