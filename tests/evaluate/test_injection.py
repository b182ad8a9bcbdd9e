"""Laws of the injection test bed: lines of the strength that was asked for, before the noise, and things that are no stars."""

from dataclasses import replace

import numpy as np
import pytest

from bayesden.errors import InputError
from bayesden.evaluate.injection import Injection, flat_lamp, inject_lines, quasar, rates, recovered, voigt
from bayesden.evaluate.testbed import TestBed, white_noise_bed
from bayesden.posterior import Feature, Posterior
from bayesden.spectrum import Grid
from bayesden.train.library import Library

GRID = Grid.uniform()


@pytest.fixture(scope="module")
def bed() -> TestBed:
    """Spectra with H alpha and H beta in absorption, at S/N 20."""
    w = GRID.wavelength
    lines = 0.5 * np.exp(-0.5 * ((w - 6564.6) / 8) ** 2) + 0.3 * np.exp(-0.5 * ((w - 4862.7) / 8) ** 2)
    flux = np.tile((w / 6000) * (1 - lines), (9, 1))
    flux /= np.abs(flux).mean(1, keepdims=True)
    library = Library(GRID, flux.astype(np.float32), np.zeros(9, int), np.array(["star"] * 9), classes=("A",))
    return white_noise_bed(library, snr=20.0, exposures=2, per_class=9)


def test_a_line_has_the_significance_that_was_asked_for(bed: TestBed) -> None:
    changed, lines = inject_lines(bed, 8.0, seed=1)
    for old, new, before, after, line in zip(
        bed.observations, changed.observations, bed.truth, changed.truth, lines, strict=True
    ):
        added = after - before
        np.testing.assert_allclose(new.flux - old.flux, np.tile(added, (2, 1)), atol=1e-12)  # the noise stays as it was
        assert np.sqrt((added**2 * old.ivar).sum()) == pytest.approx(8.0, rel=1e-6)
        assert np.abs(GRID.wavelength[np.abs(added).argmax()] / line.wavelength_A - 1) < 2e-3
        assert (added.sum() > 0) == (line.kind == "emission") and (after > 0).all()
    assert {line.kind for line in lines} == {"absorption", "emission", "deepened"}
    deepened = [line.wavelength_A for line in lines if line.kind == "deepened"]
    assert all(min(abs(at - 6564.6), abs(at - 4862.7)) < 5 for at in deepened)


def test_places_depend_on_the_seed_alone(bed: TestBed) -> None:
    assert inject_lines(bed, 8.0, seed=1)[1] == inject_lines(bed, 8.0, seed=1)[1] != inject_lines(bed, 8.0, seed=2)[1]
    with pytest.raises(InputError, match="expected a positive significance, got 0"):
        inject_lines(bed, 0.0)


def test_a_voigt_profile_has_height_one_and_its_width() -> None:
    w = np.linspace(6000, 6100, 20001)
    profile = voigt(w, 6050.0, 500.0, lorentz=1e-6)
    above = w[profile > 0.5]
    assert profile.max() == pytest.approx(1.0) and np.ptp(above) == pytest.approx(6050 * 500 / 299792.458, rel=1e-2)
    assert voigt(w, 6050.0, 500.0)[0] > 10 * profile[0]  # wings


def test_a_line_counts_as_found_at_its_place_and_with_the_flag_only() -> None:
    line, one = Injection(6000.0, 300.0, "emission", 8.0), np.ones(4)
    found = Feature(6003.0, 1.0, 0.1, 8.0, 1e-9, 200.0, "emission")
    flagged = {"flags": frozenset({"FEATURE_NOT_IN_MODEL"}), "features": (found,)}
    post = Posterior(np.arange(4.0), one, one, one[None], one, **flagged)
    elsewhere = replace(post, features=(replace(found, wavelength_A=6300.0),))
    posts = [post, elsewhere, replace(post, flags=frozenset()), replace(post, features=())]
    assert [recovered(p, line) for p in posts] == [True, False, False, False]
    assert rates(posts, [line, line, line, replace(line, kind="absorption")]) == {
        "all": 0.25,
        "absorption": 0.0,
        "emission": pytest.approx(1 / 3),
    }


def test_a_quasar_has_broad_lines_on_a_power_law_and_a_lamp_has_nothing() -> None:
    w = GRID.wavelength
    flux = quasar(w, 1.4, slope=-1.0)
    assert np.abs(flux).mean() == pytest.approx(1.0)
    bare = flux * w
    assert abs(w[bare.argmax()] / (2.4 * 2798.8) - 1) < 0.01  # Mg II, or C III] beside it
    assert np.median(bare) < 0.9 * bare.max()
    assert np.ptp(flat_lamp(w)) == 0
