"""Every kind of bad file gets one line that names it, and nothing of the parser's own errors or warnings."""

import gzip
import os

import numpy as np
import pytest
from astropy.io import fits

from bayesden.errors import InputError, OutputError
from bayesden.io import read, read_posterior, write_spec


def refused(path, *expected, **options):
    with pytest.raises(InputError) as caught:
        read(path, **options)
    message = str(caught.value)
    assert "\n" not in message
    assert len(message) < 500
    assert caught.value.__cause__ is None
    assert caught.value.__suppress_context__ or caught.value.__context__ is None
    for text in expected:
        assert text in message
    return message


def table(path, columns, extra=()):
    made = [fits.Column(name, form, array=array) for name, form, array in columns]
    fits.HDUList([fits.PrimaryHDU(), fits.BinTableHDU.from_columns(made), *extra]).writeto(path)
    return path


def spectrum(size=500, **changes):
    values = {"flux": np.ones(size), "loglam": np.linspace(3.6, 3.9, size), "ivar": np.ones(size)} | changes
    return [(key, "E", value) for key, value in values.items() if value is not None]


def test_a_missing_file_a_folder_and_a_device(tmp_path):
    refused(tmp_path / "none.fits", "none.fits", "found nothing of that name")
    refused(tmp_path, str(tmp_path), "got a directory")
    refused("/dev/zero", "/dev/zero", "special file")
    refused("a\0b.fits", "expected a")


@pytest.mark.skipif(os.name != "posix" or os.geteuid() == 0, reason="the superuser may read everything")
def test_a_file_that_may_not_be_read(spec):
    path = spec()
    path.chmod(0)
    refused(path, path.name, "Permission denied")


@pytest.mark.parametrize(
    "content",
    [b"", b"hello", b"\x89PNG\r\n", b"SIMPLE", b"\x1f\x8bnonsense", b"\0" * 5760, b"SIMPLE  =" + b"\xff" * 9000],
)
def test_not_fits(tmp_path, content):
    path = tmp_path / "x.fits"
    path.write_bytes(content)
    refused(path, "x.fits", "expected")


def test_every_truncation_is_noticed(spec, tmp_path):
    """Whatever is cut off, short of a whole number of HDUs, is an error."""
    content = spec().read_bytes()
    with fits.open(tmp_path / "spec-1-2-3.fits") as hdus:
        places = [hdu.fileinfo() for hdu in hdus]
        whole = {place["datLoc"] + place["datSpan"] for place in places}
        padding = [
            range(p["datLoc"] + hdu.size, p["datLoc"] + p["datSpan"]) for p, hdu in zip(places, hdus, strict=True)
        ]
    path = tmp_path / "cut.fits"
    cuts = [
        *np.linspace(1, len(content) - 1, 60).astype(int),
        *(p["datLoc"] - 80 for p in places),
        whole and max(whole) - 2881,
    ]
    checked = 0
    for cut in cuts:
        if cut in whole or any(cut in part for part in padding):
            continue  # all that is announced is there
        path.write_bytes(content[:cut])
        refused(path, "cut.fits")
        checked += 1
    assert checked > 40


def test_an_absurd_size_is_refused_without_allocating_it(spec):
    path = spec()
    content = path.read_bytes()
    at = content.index(b"NAXIS2  =", 2880)
    card = b"NAXIS2  =" + b"9999999999999999".rjust(21)
    path.write_bytes(content[:at] + card + content[at + len(card) :])
    refused(path, "HDU 1", "truncated")


def test_noise_in_the_headers_is_one_line(spec):
    path = spec()
    content, rng = path.read_bytes(), np.random.default_rng(0)
    for _ in range(40):
        spoilt = bytearray(content)
        for at in rng.integers(0, 2880 * 8, 12):
            spoilt[at] = rng.integers(0, 256)
        path.write_bytes(bytes(spoilt))
        try:
            read(path)
        except InputError as error:
            assert "\n" not in str(error)
            assert path.name in str(error)


def test_an_image_only_file(tmp_path):
    path = tmp_path / "image.fits"
    fits.PrimaryHDU(np.zeros((5, 5))).writeto(path)
    refused(path, "image.fits", "flux, loglam, ivar", "only the primary HDU")
    fits.HDUList([fits.PrimaryHDU(), fits.ImageHDU(np.zeros(5))]).writeto(path, overwrite=True)
    refused(path, "image.fits", "found an image")


@pytest.mark.parametrize("column", ["flux", "loglam", "ivar"])
def test_a_missing_column(tmp_path, column):
    path = table(tmp_path / "spec-1.fits", spectrum(**{column: None}))
    found = ", ".join(name for name in ("flux", "loglam", "ivar") if name != column)
    assert refused(path, "spec-1.fits").endswith(f"HDU 1 has no column '{column}' (found: {found})")


def test_columns_that_hold_no_numbers(tmp_path):
    columns = [*spectrum(flux=None), ("flux", "3A", np.array(["a"] * 500))]
    refused(table(tmp_path / "text.fits", columns), "HDU 1", "'flux': expected one number per pixel")
    columns = [*spectrum(flux=None), ("flux", "2E", np.ones((500, 2)))]
    refused(table(tmp_path / "vector.fits", columns), "HDU 1", "'flux': expected one number per pixel")


@pytest.mark.parametrize(
    ("loglam", "kind"),
    [
        (np.linspace(3.9, 3.6, 500), "descending"),
        (np.repeat(np.linspace(3.6, 3.9, 250), 2), "duplicate"),
        (np.full(500, 3.7), "duplicate"),
        (np.full(500, np.nan), "finite"),
        (np.linspace(4000, 9000, 500), "finite"),  # Angstrom where log10 is meant
        (np.zeros(1) + 3.7, "D >= 2"),
        (np.zeros(0), "D >= 2"),
    ],
)
def test_wavelengths_that_make_no_grid(tmp_path, loglam, kind):
    path = table(tmp_path / "w.fits", spectrum(loglam.size, loglam=loglam))
    refused(path, "w.fits", "HDU 1", kind)


def test_wavelengths_of_an_exposure_that_make_no_grid(spec):
    path = spec()
    with fits.open(path, memmap=False) as hdus:
        hdus[5].data["loglam"] = hdus[5].data["loglam"][::-1].copy()
        hdus.writeto(path, overwrite=True)
    refused(path, "HDU 5", "b1-00000103", "descending")


def test_wavelengths_outside_the_grid(tmp_path):
    path = table(tmp_path / "ir.fits", spectrum(loglam=np.linspace(4.2, 4.23, 500)))
    refused(path, "ir.fits", "within 4000.0 to 9000.0 Angstrom, got 15848.9 to 16982.4")


@pytest.mark.parametrize("spoilt", [{"ivar": np.zeros(500)}, {"flux": np.full(500, np.nan)}, {"ivar": -np.ones(500)}])
def test_no_good_pixel(tmp_path, spoilt):
    path = table(tmp_path / "dead.fits", spectrum(**spoilt))
    refused(path, "dead.fits", "at least one good pixel", "0 of 500")


def test_a_truncated_gzip_file(spec, tmp_path):
    content = gzip.compress(spec().read_bytes())
    path = tmp_path / "spec.fits.gz"
    for cut in (3, 20, len(content) // 2, len(content) - 1):
        path.write_bytes(content[:cut])
        refused(path, "spec.fits.gz", "expected a sound gzip file")


def test_air_wavelengths_are_not_taken_for_vacuum(spec):
    refused(spec(cards={"VACUUM": False}), "expected vacuum wavelengths")


def test_an_unknown_mask_policy(spec):
    refused(spec(), "one of and, or, none, got 'xor'", mask_policy="xor")


def test_a_place_that_cannot_be_written(tmp_path, arms, spec):
    path = spec()
    for place, text in (
        (path, "exists"),
        (tmp_path / "no" / "a.fits", "existing folder"),
        (tmp_path, "directory"),
        (path / "a.fits", "expected"),
        (tmp_path / ("x" * 300), "name too long"),
    ):
        with pytest.raises(OutputError, match=text) as caught:
            write_spec(place, arms)
        assert "\n" not in str(caught.value)
    before = path.read_bytes()
    write_spec(path, arms, overwrite=True)
    assert path.read_bytes() == before
    assert [entry.name for entry in tmp_path.iterdir()] == [path.name]  # nothing temporary is left


def test_a_spec_file_is_no_result(spec):
    with pytest.raises(InputError, match="expected a result file with an HDU META"):
        read_posterior(spec())
