"""Spectra of specutils go in, in any unit, and posteriors come out, without loss."""

import sys

import numpy as np
import pytest

from bayesden.errors import InputError
from bayesden.io import resample, write_posterior
from bayesden.io.bosz import vacuum_wavelength
from bayesden.io.spectrum1d import from_spectrum, to_spectrum
from bayesden.spectrum import Grid, Observation
from tests.twin import twin

specutils = pytest.importorskip("specutils")
from astropy import units as u  # noqa: E402
from astropy.nddata import InverseVariance, StdDevUncertainty, VarianceUncertainty  # noqa: E402
from specutils import Spectrum, SpectrumCollection, SpectrumList  # noqa: E402

UNIT = u.Unit("1e-17 erg / (s cm2 Angstrom)")
W = np.linspace(5000.0, 5100.0, 40)


def made(**changes: object) -> Spectrum:
    """A spectrum of rising flux with standard deviation 0.5, the third pixel masked."""
    fields = {
        "flux": (1 + W / 5000) * UNIT,
        "spectral_axis": W * u.AA,
        "uncertainty": StdDevUncertainty(np.full(W.size, 0.5), unit=UNIT),
        "mask": np.arange(W.size) == 2,
    }
    return Spectrum(**(fields | changes))


@pytest.fixture
def observation() -> Observation:
    rng = np.random.default_rng(0)
    ivar = rng.uniform(0.5, 2, (3, W.size))
    ivar[1, 5] = 0
    return Observation(W, rng.normal(3, 1, (3, W.size)), ivar, name="star", flux_unit="1E-17 erg/cm^2/s/Ang")


def test_an_observation_goes_and_comes_back(observation):
    again = from_spectrum(to_spectrum(observation))
    for key in ("wavelength", "flux", "mask"):
        assert np.array_equal(getattr(again, key), getattr(observation, key)), key
    np.testing.assert_allclose(again.ivar, observation.ivar, rtol=1e-14)  # units are multiplied
    assert (again.name, again.flux_unit) == ("star", observation.flux_unit)
    several = SpectrumList(to_spectrum(observation.select([n])) for n in range(3))
    assert np.array_equal(from_spectrum(several).flux, observation.flux)
    assert [exposure.name for exposure in from_spectrum(several).exposures] == ["0", "1", "2"]


def test_a_posterior_is_a_file_that_specutils_reads(tmp_path):
    post = twin(meta={"model": "sdss-10class", "seed": 3})
    spectrum = to_spectrum(post)
    assert spectrum.flux.unit == UNIT and spectrum.spectral_axis.unit == u.AA and not spectrum.mask.any()
    spectrum.write(tmp_path / "star.fits", format="tabular-fits")
    again = Spectrum.read(tmp_path / "star.fits")
    assert np.array_equal(again.flux.value, post.flux) and np.array_equal(again.uncertainty.array, post.sigma)
    assert again.meta["header"]["METHOD"] == "ensemble" and again.meta["header"]["MODEL"] == "sdss-10class"


def test_a_result_file_opens_as_it_is(tmp_path):
    post = twin()
    write_posterior(post, tmp_path / "result.fits")
    for options in ({}, {"format": "tabular-fits"}, {"format": "tabular-fits", "hdu": 1}):
        again = Spectrum.read(tmp_path / "result.fits", **options)
        assert np.array_equal(again.spectral_axis.to_value(u.AA), post.wavelength) and again.flux.unit == UNIT
        assert np.array_equal(again.flux.value, post.flux) and np.array_equal(again.uncertainty.array, post.sigma)


def test_a_method_without_error_bars_has_no_uncertainty():
    assert to_spectrum(twin(sigma=np.full(380, np.nan))).uncertainty is None


@pytest.mark.parametrize("unit", [u.nm, u.micron, u.GHz, u.eV, 1 / u.cm])
def test_units_of_the_axis(unit):
    axis = (W * u.AA).to(unit, u.spectral())
    found, plain = from_spectrum(made(spectral_axis=axis)), from_spectrum(made())
    np.testing.assert_allclose(found.wavelength, W, rtol=1e-12)
    for key in ("flux", "ivar", "mask"):  # a descending axis is turned round with all that is on it
        np.testing.assert_allclose(getattr(found, key), getattr(plain, key), rtol=1e-12)
    assert "vacuum" in found.meta["wavelengths"]


def test_flux_per_frequency_becomes_flux_per_wavelength():
    plain, axis = from_spectrum(made()), u.spectral_density(W * u.AA)
    flux = ((1 + W / 5000) * UNIT).to(u.mJy, axis)
    sigma = StdDevUncertainty((np.full(W.size, 0.5) * UNIT).to(u.mJy, axis))
    found = from_spectrum(made(flux=flux, uncertainty=sigma))
    np.testing.assert_allclose(found.flux, plain.flux, rtol=1e-12)
    np.testing.assert_allclose(found.ivar, plain.ivar, rtol=1e-12)
    assert found.flux_unit == "1E-17 erg/cm^2/s/Ang"
    counts = made(flux=np.ones(W.size) * u.ct, uncertainty=StdDevUncertainty(np.ones(W.size)))
    assert from_spectrum(counts).flux_unit == "count"


@pytest.mark.parametrize(
    "uncertainty",
    [
        StdDevUncertainty(np.full(W.size, 0.5), unit=UNIT),
        VarianceUncertainty(np.full(W.size, 0.25), unit=UNIT**2),
        InverseVariance(np.full(W.size, 4.0), unit=UNIT**-2),
        StdDevUncertainty(np.full(W.size, 0.5e-17), unit=u.Unit("erg / (s cm2 Angstrom)")),
    ],
)
def test_every_kind_of_uncertainty(uncertainty):
    found = from_spectrum(made(uncertainty=uncertainty))
    np.testing.assert_allclose(found.ivar[~found.mask], 4.0)
    assert found.mask.sum() == 1


def test_no_error_and_infinite_error_are_bad_pixels():
    sigma = np.full(W.size, 0.5)
    sigma[[4, 6]] = 0.0, np.inf
    found = from_spectrum(made(uncertainty=StdDevUncertainty(sigma, unit=UNIT)))
    assert np.flatnonzero(found.mask[0]).tolist() == [2, 4, 6]
    bits = np.zeros(W.size, int)
    bits[7] = 1 << 20
    assert np.flatnonzero(from_spectrum(made(mask=bits)).mask[0]).tolist() == [7]


@pytest.mark.parametrize("header", [{"VACUUM": False}, {"AIRORVAC": "air"}, {"CTYPE1": "AWAV"}])
def test_air_wavelengths_are_converted_and_it_is_said(header):
    found = from_spectrum(made(meta={"header": header}))
    np.testing.assert_allclose(found.wavelength, vacuum_wavelength(W))
    assert found.meta["wavelengths"] == "converted from air, in Angstrom"
    assert np.array_equal(from_spectrum(made(), medium="air").wavelength, found.wavelength)
    assert np.array_equal(from_spectrum(made(meta={"header": header}), medium="vacuum").wavelength, W)


def test_exposures_on_several_grids_are_resampled():
    other = made(spectral_axis=(W + 0.7) * u.AA)
    grid = Grid.uniform(5010.0, 5090.0, 20)
    found = from_spectrum([made(), other], grid=grid)
    assert found.flux.shape == (2, 20) and np.array_equal(found.wavelength, grid.wavelength)
    assert np.array_equal(found.flux[1], resample(from_spectrum(other), grid).flux[0])
    collection = SpectrumCollection.from_spectra([made(), other])
    assert np.array_equal(from_spectrum(collection, grid=grid).flux, found.flux)


@pytest.mark.parametrize(
    ("changes", "options", "expected"),
    [
        ({"uncertainty": None}, {}, "spectrum: expected a spectrum with uncertainties, got none"),
        (
            {"spectral_axis": np.linspace(0, 9, W.size) * u.pix},
            {},
            "expected wavelengths, frequencies or energies, got",
        ),
        ({}, {"medium": "water"}, "medium: expected air or vacuum, got 'water'"),
        ({"uncertainty": None}, {"name": "mine"}, "mine: expected a spectrum with uncertainties"),
    ],
)
def test_what_cannot_be_used_is_one_clear_line(changes, options, expected):
    with pytest.raises(InputError, match=expected) as caught:
        from_spectrum(made(**changes), **options)
    assert "\n" not in str(caught.value)


def test_other_things_than_spectra_are_refused():
    for wrong in ([], [1], "spec.fits"):
        with pytest.raises(InputError, match="expected spectra of specutils, got"):
            from_spectrum(wrong)
    cube = np.ones((2, 3, W.size))
    sigma = StdDevUncertainty(cube, unit=UNIT)
    with pytest.raises(InputError, match=r"expected flux of shape \(D,\) or \(E, D\), got \(2, 3, 40\)"):
        from_spectrum(made(flux=cube * UNIT, uncertainty=sigma, mask=None))
    counts = made(flux=np.ones(W.size) * u.ct, uncertainty=StdDevUncertainty(np.ones(W.size)))
    with pytest.raises(InputError, match="expected one flux unit, got 1E-17"):
        from_spectrum([made(), counts])


def test_without_the_extra_there_is_one_clear_line(monkeypatch):
    monkeypatch.setitem(sys.modules, "specutils", None)
    with pytest.raises(InputError, match=r"pip install 'bayesden\[specutils\]'"):
        to_spectrum(twin())
