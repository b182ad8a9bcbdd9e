"""Laws that hold for whatever goes in: reading, masks, resampling, result files."""

import tempfile
from dataclasses import fields
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from bayesden.errors import InputError
from bayesden.io import ArmSpectrum, read, read_posterior, resample, write_posterior, write_spec
from bayesden.io.download.sdss import SpectrumId, parse_id
from bayesden.io.resample import resample_arrays
from bayesden.io.sppixmask import BAD, SPPIXMASK
from bayesden.posterior import Feature, Posterior
from bayesden.spectrum import Grid, Observation, usable

law = settings(derandomize=True, deadline=None, database=None, max_examples=40)
GRID = Grid.uniform(4000.0, 9000.0, 64)
NATIVE = Grid(10.0 ** np.arange(3.59, 3.97, 2e-3))
N = NATIVE.size
IN_GRID = (NATIVE.edges[:-1] > GRID.edges[0]) & (NATIVE.edges[1:] < GRID.edges[-1])
any_number = st.floats(allow_nan=True, allow_infinity=True)
single = st.floats(width=32, allow_nan=True, allow_infinity=True)
moderate = st.integers(-(10**9), 10**9).map(lambda number: number / 1024)  # far from underflow
weights = st.integers(1, 10**9).map(lambda number: number / 1024)
texts = st.text(max_size=40)


def arm(values, ivar, mask):
    """One exposure of a spectrograph of one arm, which sees the whole grid."""
    return ArmSpectrum("r1", 7, np.log10(NATIVE.wavelength), values, ivar, mask=np.asarray(mask, np.int32))


def written_and_read(spectrum, **options):
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "spec-1-2-3.fits"
        write_spec(path, [spectrum])
        return read(path, grid=GRID, **options)


@law
@given(arrays(np.float64, N, elements=single), arrays(np.float64, N, elements=single), st.integers(0, 2**31 - 1))
def test_whatever_a_file_holds_an_observation_is_sound(flux, ivar, seed):
    bits = np.where(np.random.default_rng(seed).random(N) < 0.1, 1 << SPPIXMASK["COMBINEREJ"], 0)
    try:
        obs = written_and_read(arm(flux, ivar, bits))
    except InputError as error:
        assert "spec-1-2-3.fits" in str(error) and "\n" not in str(error)
        return
    for values in (obs.flux, obs.ivar, obs.sky, obs.correlation):
        assert values is None or np.isfinite(values).all()
    assert ((obs.ivar > 0) == ~obs.mask).all() and (obs.flux[obs.mask] == 0).all()
    bad = ~usable(flux.astype(np.float32), ivar.astype(np.float32)) | (bits != 0)
    low, high = NATIVE.edges[:-1], NATIVE.edges[1:]
    for pixel in np.flatnonzero(~obs.mask[0]):
        touched = (high > GRID.edges[pixel] * (1 + 1e-9)) & (low < GRID.edges[pixel + 1] * (1 - 1e-9))
        assert not (touched & bad).any()


@law
@given(st.integers(0, 2**31 - 1), st.sampled_from(np.flatnonzero(IN_GRID).tolist()))
def test_a_pixel_is_bad_exactly_when_one_of_its_bits_says_so(bits, where):
    mask = np.zeros(N, np.int32)
    mask[where] = bits
    ones = np.ones(N)
    whole = written_and_read(arm(ones, ones, np.zeros(N)))
    obs = written_and_read(arm(ones, ones, mask))
    assert (obs.mask.sum() > whole.mask.sum()) == bool(bits & BAD)
    assert (written_and_read(arm(ones, ones, mask), mask_policy="none").mask == whole.mask).all()


@law
@given(
    arrays(np.float64, (2, N), elements=moderate), arrays(np.float64, (2, N), elements=weights), st.integers(-60, 60)
)
def test_resampling_knows_no_units(flux, ivar, power):
    """Scaled by a power of two, the same bits."""
    mask, scale = np.zeros(flux.shape, bool), 2.0**power
    one = resample_arrays(NATIVE, flux, ivar, mask, GRID)
    other = resample_arrays(NATIVE, flux * scale, ivar / scale**2, mask, GRID)
    np.testing.assert_array_equal(one[0] * scale, other[0])
    np.testing.assert_array_equal(one[1] / scale**2, other[1])
    np.testing.assert_array_equal(one[2], other[2])


@law
@given(arrays(np.float64, (1, N), elements=moderate), arrays(np.bool_, (1, N)), arrays(np.bool_, (1, N)))
def test_more_bad_pixels_only_mask_more_and_change_no_other(flux, bad, more):
    ivar = np.ones(flux.shape)
    one, other = (resample_arrays(NATIVE, flux, ivar, mask, GRID) for mask in (bad, bad | more))
    assert not (one[2] & ~other[2]).any()
    for before, after in zip(one[:2], other[:2], strict=True):
        np.testing.assert_array_equal(before[~other[2]], after[~other[2]])


@law
@given(arrays(np.float64, (1, N), elements=moderate), arrays(np.float64, (1, N), elements=moderate), moderate)
def test_resampling_is_linear_and_stays_between_its_pixels(flux, other, factor):
    ivar, mask = np.ones(flux.shape), np.zeros(flux.shape, bool)
    a, b, both = (resample_arrays(NATIVE, x, ivar, mask, GRID)[0] for x in (flux, other, flux + factor * other))
    size = np.abs(flux).max() + abs(factor) * np.abs(other).max()
    np.testing.assert_allclose(both, a + factor * b, rtol=0, atol=1e-9 * size + 1e-300)
    good = ~resample_arrays(NATIVE, flux, ivar, mask, GRID)[2]
    assert (a[good] <= flux.max() + 1e-9 * size).all() and (a[good] >= flux.min() - 1e-9 * size).all()


@law
@given(arrays(np.float64, (3, N), elements=any_number), arrays(np.float64, (3, N), elements=any_number))
def test_an_observation_is_sound_or_refused_and_exposures_know_no_order(flux, ivar):
    ivar[:, 30:60], flux[:, 30:60] = 1.0, 1.0
    obs = Observation(NATIVE.wavelength, flux, ivar)
    assert np.isfinite(obs.flux).all() and np.isfinite(obs.ivar).all() and (obs.ivar >= 0).all()
    assert np.isfinite(obs.coadd()).all() and np.isfinite(obs.snr)
    there = resample(obs, GRID)
    assert np.isfinite(there.flux).all() and np.isfinite(there.ivar).all() and np.isfinite(there.correlation).all()
    turned = resample(obs.select([2, 0, 1]), GRID)
    np.testing.assert_array_equal(there.flux[[2, 0, 1]], turned.flux)
    np.testing.assert_array_equal(there.ivar[[2, 0, 1]], turned.ivar)


@law
@given(st.binary(max_size=6000), st.sampled_from([b"", b"SIMPLE  =                    T", b"\x1f\x8b\x08\0"]))
def test_any_bytes_are_refused_in_a_line(noise, start):
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "noise.fits"
        path.write_bytes(start.ljust(80) + noise if start.startswith(b"SIMPLE") else start + noise)
        for reader in (read, read_posterior):
            with pytest.raises(InputError) as caught:
                reader(path)
            assert "noise.fits" in str(caught.value) and "\n" not in str(caught.value)


scalars = st.one_of(texts, st.integers(-(2**80), 2**80), st.floats(allow_nan=False), st.booleans())
features = st.builds(Feature, *[any_number] * 6, st.sampled_from(["emission", "absorption"]), texts, st.booleans())
D, E, S = 8, 2, 3


@st.composite
def posteriors(draw):
    floats = st.sampled_from([np.float32, np.float64])

    def array(*shape):
        kind = draw(floats)
        width = {"width": 8 * np.dtype(kind).itemsize}
        return draw(arrays(kind, shape, elements=st.floats(allow_nan=True, allow_infinity=True, **width)))

    classes = draw(st.dictionaries(texts, any_number, max_size=4))
    return Posterior(
        wavelength=np.sort(draw(arrays(np.float64, D, elements=st.floats(1, 1e5), unique=True))),
        flux=array(D),
        sigma=array(D),
        residual_z=array(E, D),
        prior_fraction=array(D),
        class_prob=classes,
        latent=draw(st.sampled_from([None, array(3), array(S, 3)])),
        draws=draw(st.sampled_from([None, array(S, D)])),
        flags=draw(st.frozensets(st.sampled_from(["NOT_CONVERGED", "LOW_INFORMATION"]))),
        features=tuple(draw(st.lists(features, max_size=2))),
        data_flux=array(E, D),
        data_ivar=array(E, D),
        method=draw(texts),
        name=draw(texts),
        flux_unit=draw(texts),
        meta=draw(st.dictionaries(texts, scalars, max_size=4)),
    )


@law
@given(posteriors())
def test_any_posterior_comes_back_bit_by_bit(post):
    with tempfile.TemporaryDirectory() as folder, np.errstate(all="ignore"):
        path = Path(folder) / "out.fits"
        write_posterior(post, path)
        again = read_posterior(path)
    for field in fields(Posterior):
        before, after = getattr(post, field.name), getattr(again, field.name)
        if isinstance(before, np.ndarray):
            assert (before.dtype, before.shape, before.tobytes()) == (after.dtype, after.shape, after.tobytes())
        elif field.name in ("meta", "class_prob"):
            assert repr(dict(before)) == repr(dict(after))
        elif field.name == "flags":
            assert before == after  # a set's order is not its own
        else:
            assert repr(before) == repr(after)


@law
@given(st.integers(1, 999_999), st.integers(10_000, 99_999), st.integers(1, 2**63 - 1), st.sampled_from("-, "))
def test_names_of_spectra_come_back(plate, mjd, fiber, mark):
    assert parse_id(mark.join(map(str, (plate, mjd, fiber)))) == SpectrumId(plate, mjd, fiber)
    assert parse_id(f"spec-{plate:04d}-{mjd}-{fiber:04d}.fits") == SpectrumId(plate, mjd, fiber)


@law
@given(st.text(max_size=60))
def test_any_text_names_a_spectrum_or_is_refused_in_a_line(text):
    try:
        spectrum = parse_id(text)
    except InputError as error:
        assert "\n" not in str(error)
    else:
        assert all(isinstance(value, int) for value in (spectrum.plate, spectrum.mjd, spectrum.fiber))
