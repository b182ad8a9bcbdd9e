"""Names of spectra, their addresses in the archives, and what the catalogue's answers may hold."""

import gzip
from pathlib import Path

import pytest

from bayesden.errors import FetchError, InputError
from bayesden.io.bosz import parse_bosz
from bayesden.io.download.archives import archive
from bayesden.io.download.bosz import bosz_downloads, check_text
from bayesden.io.download.sdss import SpectrumId, parse_id, read_ids, spec_download
from bayesden.io.download.skyserver import SELECTIONS, near_sql, query, selection_sql
from tests.webserver import answer, status

FOLDER = Path("spectra")
SAS = "https://data.sdss.org/sas"


@pytest.mark.parametrize(
    "text",
    [
        "4961-55719-378",
        "4961 55719 378",
        "4961,55719,378",
        "4961, 55719, 378",
        "spec-4961-55719-0378.fits",
        " 4961-55719-0378\n",
    ],
)
def test_a_spectrum_has_many_names(text):
    assert parse_id(text) == SpectrumId(4961, 55719, 378)


@pytest.mark.parametrize(
    "text",
    ["", "4961", "4961-55719", "4961-55719-378-1", "-4961-55719-378", "../4961-55719-378", "4961-55719-378/../x", "a-b-c",
     "4961-55719-1e3", "٤٩٦١-55719-378", "spec-4961-55719-0378.fits.exe", "4961-55719-378\x00", "1" * 5000],
)  # fmt: skip
def test_what_names_no_spectrum_is_refused_in_a_line(text):
    with pytest.raises(InputError, match="expected PLATE-MJD-FIBER") as caught:
        parse_id(text)
    assert "\n" not in str(caught.value) and "\0" not in str(caught.value) and len(str(caught.value)) < 300


def test_a_list(tmp_path):
    path = tmp_path / "stars.txt"
    path.write_text("plate,mjd,fiberid\n4961,55719,378\n\n# the best\n618-52049-372  # a G star\n")
    assert read_ids(path) == [SpectrumId(4961, 55719, 378), SpectrumId(618, 52049, 372)]
    path.write_text(f"{'AB' * 32}  folder/spec-0618-52049-0372.fits\n")
    assert read_ids(path) == [SpectrumId(618, 52049, 372, sha256="ab" * 32)]
    path.write_text("1-55555-1\nrubbish\n")
    with pytest.raises(InputError, match=r"stars\.txt: line 2: 'rubbish': expected PLATE-MJD-FIBER"):
        read_ids(path)
    path.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(InputError, match=r"stars\.txt: expected text"):
        read_ids(path)


def test_addresses_of_the_science_archive():
    (boss,) = spec_download(parse_id("4961-55719-378"), FOLDER).urls
    assert boss == f"{SAS}/dr17/eboss/spectro/redux/v5_13_2/spectra/full/4961/spec-4961-55719-0378.fits"
    legacy = spec_download(parse_id("618-52049-372"), FOLDER).urls
    assert legacy[0] == f"{SAS}/dr17/sdss/spectro/redux/26/spectra/0618/spec-0618-52049-0372.fits"
    assert [url.split("/")[8] for url in legacy] == ["26", "104", "103"]
    assert len(spec_download(SpectrumId(618, 52049, 372, run2d="103"), FOLDER).urls) == 1
    (five,) = spec_download(parse_id("15000-59146-4375924756"), FOLDER, release=19).urls
    name = "spec-015000-59146-4375924756.fits"
    assert five == f"{SAS}/dr19/spectro/boss/redux/v6_1_3/spectra/full/015000/59146/{name}"
    (mirror,) = spec_download(parse_id("4961-55719-378"), FOLDER, server="http://here/").urls
    assert mirror.startswith("http://here/dr17/eboss/")
    with pytest.raises(InputError, match="release: expected 18 or 19 for spectra of SDSS-V, got 17"):
        spec_download(parse_id("15000-59146-4375924756"), FOLDER, release=17)


def test_a_reduction_from_a_catalogue_is_never_part_of_an_address():
    evil = SpectrumId(4961, 55719, 378, run2d="../../../etc")
    assert ".." not in spec_download(evil, FOLDER).urls[0]


def test_models_of_a_part_of_the_grid():
    ranges = {"teff_K": (7250, 8250), "logg": (3, 3.5), "feh": (-0.25, 0), "alpha_fe": (0, 0)}
    wave, *models = bosz_downloads(FOLDER, 10000, ranges)
    base = "https://archive.stsci.edu/hlsps/bosz/bosz2024"
    assert wave.urls == (f"{base}/wavelength_grids/bosz2024_wave_r10000.txt",)
    assert len(models) == 5 * 2 * 2
    name = "bosz2024_ms_t7250_g%2B3.0_m%2B0.00_a%2B0.00_c%2B0.00_v0_r10000_resam.txt.gz"
    assert f"{base}/r10000/m%2B0.00/{name}" in [model.urls[0] for model in models]
    codes = {}
    for model in models:
        files = [parse_bosz(model.target(url)) for url in model.urls]
        codes[files[0].teff_K, files[0].logg] = "".join(file.atmosphere for file in files)
        assert all(file.path.parent == FOLDER for file in files)
    assert [codes[teff, 3.0] for teff in (7250, 7500, 8000, 8250)] == ["ms", "msap", "msap", "ap"]
    assert codes[7250, 3.5] == "mp"
    assert all(
        "_v2_" in d.urls[0] for d in bosz_downloads(FOLDER, 500, {"vturb_kms": (2, 2), "teff_K": (4000, 4000)})[1:]
    )


@pytest.mark.parametrize(
    ("resolution", "ranges", "expected"),
    [
        (300, {}, "expected one of 500"),
        (500, {"mass": (1, 2)}, "'mass'"),
        (500, {"logg": (1.1, 1.2)}, "between its models"),
    ],
)
def test_models_that_there_cannot_be(resolution, ranges, expected):
    with pytest.raises(InputError, match=expected):
        bosz_downloads(FOLDER, resolution, ranges)


def test_every_archive_names_its_licence():
    assert "SDSS" in archive("sdss")["licence"] and "CC BY" in archive("bosz")["licence"]


def test_text_files_are_checked(tmp_path):
    path, columns = tmp_path / "a.txt", b"1.0 2.0\n" * 5000
    for good in (columns, gzip.compress(columns)):
        path.write_bytes(good)
        check_text(path)
    for bad in (
        b"",
        b"<html>",
        b"\n1 2",
        gzip.compress(columns)[:-9],
        gzip.compress(columns)[:100],
        b"\x1f\x8bxx",
        b"x" * 10**6,
    ):
        path.write_bytes(bad)
        with pytest.raises(InputError) as caught:
            check_text(path)
        assert "\n" not in str(caught.value) and len(str(caught.value)) < 1500


@pytest.mark.parametrize("name", SELECTIONS)
def test_the_samples_of_the_paper(name):
    sql = selection_sql(name, top=7)
    low, high, skip = SELECTIONS[name]
    assert f"BETWEEN {low:g} AND {high:g}" in sql and f"place > {skip} AND place <= {skip + 7}" in sql
    assert sql.count("(") == sql.count(")") and "--" not in sql and "\n" not in sql
    with pytest.raises(InputError, match="expected one of training, test"):
        selection_sql("'; DROP TABLE SpecObj")


def test_positions():
    assert "fGetNearbySpecObjAllEq(184.03490000, 33.71050000, 0.05000000)" in near_sql(184.0349, 33.7105, 3.0)
    for ra, dec, radius in (
        (float("nan"), 0, 1),
        (0, 91, 1),
        (361, 0, 1),
        (0, 0, 0),
        (0, 0, 1e9),
        (0, 0, float("nan")),
    ):
        with pytest.raises(InputError):
            near_sql(ra, dec, radius)


ANSWER = "/dr17/en/tools/search/x_results.aspx"


@pytest.fixture
def skyserver(site):
    """What the catalogue answers."""
    conf = pytest.importorskip("astroquery.sdss").conf
    with conf.set_temp("skyserver_baseurl", site.url):
        yield lambda text: site.put(ANSWER[1:], answer(200, text.encode(), Content_Type="text/plain"))


def test_a_query(skyserver, site):
    skyserver("#Table1\nplate,mjd,fiberID,run2d\n618,52049,372,26\n4961,55719,378,v5_13_2\n618,52049,372,26\n")
    found = query("SELECT plate, mjd, fiberID, run2d FROM SpecObj")
    assert found == [SpectrumId(618, 52049, 372, "26"), SpectrumId(4961, 55719, 378, "v5_13_2")]
    assert len(site.seen) == 1
    skyserver("#Table1\nfield,mjd,catalogid\n15000,59146,4375924756\n")
    assert query("SELECT ...") == [SpectrumId(15000, 59146, 4375924756)]
    skyserver("#Table1\nplate,mjd,fiberID\n")
    assert query("SELECT ...") == []


@pytest.mark.parametrize(
    ("text", "error"),
    [
        ("#Table1\nz,ra\n1,2\n", InputError),
        ("#Table1\nplate,mjd,fiberID\n../..,55555,1\n", InputError),
        ("#Table1\nplate,mjd,fiberID\n1,55555,NaN\n", InputError),
        ("#Table1\nplate,mjd,fiberID\n1,,\n", InputError),
        ("<html><body>\nerror_message: syntax error near 'FORM'\n</body></html>", FetchError),
        ("", FetchError),
        ("\0\1\2", (FetchError, InputError)),
        ("<!DOCTYPE html>\n<p>\n<p a='b,c'>\n", (FetchError, InputError)),
    ],
)
def test_an_answer_that_is_no_list_of_spectra(skyserver, text, error):
    skyserver(text)
    with pytest.raises(error) as caught:
        query("SELECT ...")
    assert "\n" not in str(caught.value) and len(str(caught.value)) < 500


def test_a_catalogue_that_is_down(skyserver, site):
    site.put(ANSWER[1:], status(503))
    with pytest.raises(FetchError, match="SkyServer DR17: expected a table"):
        query("SELECT ...")
    with pytest.raises(InputError, match="17 or later"):
        query("SELECT ...", release=16)
