"""`bayesden fetch`: what the archives have arrives whole, what they lack is named."""

import gzip
import hashlib

import pytest

from bayesden.io.download.archives import archive
from bayesden.io.download.skyserver import SELECTIONS
from tests.webserver import answer, serve, status, whole

BOSS = "dr17/eboss/spectro/redux/v5_13_2/spectra/full/4961/spec-4961-55719-0378.fits"
SEGUE = "dr17/sdss/spectro/redux/104/spectra/3000/spec-3000-54000-0001.fits"


@pytest.fixture
def site():
    with serve() as one:
        yield one


def test_spectra_by_name(bayesden, site, star, tmp_path):
    content = star().read_bytes()
    site.put(BOSS, whole(content))
    site.put(SEGUE, whole(content))
    words = ("fetch", "sdss", "4961-55719-378", "3000 54000 1", "--mirror", site.url, "--out", tmp_path / "out")
    ran = bayesden(*words)
    assert (ran.status, ran.err) == (0, "")
    assert ran.out.splitlines()[0] == f"2 files fetched into {tmp_path / 'out'}"
    assert ran.out.splitlines()[1] == f"licence: {archive('sdss')['licence']}"
    names = ["spec-3000-54000-0001.fits", "spec-4961-55719-0378.fits"]
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == names
    assert all((tmp_path / "out" / name).read_bytes() == content for name in names)
    assert "0 files fetched" in bayesden(*words).out and "2 there already" in bayesden(*words).out


def test_what_the_archive_lacks_is_named_and_the_rest_comes(bayesden, site, star, tmp_path):
    digest = hashlib.sha256(content := star().read_bytes()).hexdigest()
    site.put(BOSS, whole(content))
    (tmp_path / "SHA256SUMS").write_text(f"{digest}  spec-4961-55719-0378.fits\n{digest}  spec-4961-55719-0379.fits\n")
    words = ("fetch", "sdss", "--list", tmp_path / "SHA256SUMS", "--mirror", site.url, "--out", tmp_path / "out")
    ran = bayesden(*words)
    assert ran.status == 1
    assert "1 files fetched" in ran.out and "1 not in the archive" in ran.out
    (line,) = ran.err.splitlines()
    assert line.startswith(f"error: {site.url}/dr17") and "0379.fits: the archive has no such file" in line
    (tmp_path / "out" / "spec-4961-55719-0378.fits").write_bytes(b"damaged since")
    assert "expected the checksum" in bayesden(*words).err


def test_a_truncated_spectrum_gets_no_name(bayesden, site, star, tmp_path):
    site.put(BOSS, whole(star().read_bytes()[:-4000]))
    ran = bayesden("fetch", "sdss", "4961-55719-378", "--mirror", site.url, "--out", tmp_path / "out")
    assert ran.status == 1 and "came damaged twice" in ran.err and len(ran.err.splitlines()) == 1
    assert list((tmp_path / "out").iterdir()) == []


def test_spectra_from_the_catalogue(bayesden, site, star, tmp_path):
    conf = pytest.importorskip("astroquery.sdss").conf
    table = b"#Table1\nplate,mjd,fiberID,run2d\n4961,55719,378,v5_13_2\n"
    site.put("dr17/en/tools/search/x_results.aspx", answer(200, table))
    site.put(BOSS, whole(star().read_bytes()))
    with conf.set_temp("skyserver_baseurl", site.url):
        for number, words in enumerate((("--near", "184.0,33.7"), ("--sql", "SELECT ..."), ("--selection", "noise"))):
            ran = bayesden("fetch", "sdss", *words, "--mirror", site.url, "--out", tmp_path / f"out{number}")
            assert (ran.status, ran.err) == (0, "") and "1 spectra found in DR17\n1 files fetched" in ran.out


def test_models_of_bosz(bayesden, site, tmp_path):
    name = "bosz2024_mp_t5000_g%2B4.5_m%2B0.00_a%2B0.00_c%2B0.00_v0_r500_resam.txt.gz"
    site.put("wavelength_grids/bosz2024_wave_r500.txt", whole(b"500.0\n501.0\n"))
    site.put(f"r500/m%2B0.00/{name}", whole(gzip.compress(b"1.0 2.0\n1.0 2.0\n")))
    ranges = [w for r in ("teff_K=5000:5000", "logg=4:5", "feh=0:0", "alpha_fe=0:0") for w in ("--range", r)]
    ran = bayesden("fetch", "bosz", "--resolution", 500, *ranges, "--mirror", site.url, "--out", tmp_path / "out")
    assert (ran.status, ran.err) == (0, "")
    assert ran.out.startswith("2 files fetched into") and "2 gaps of the grid" in ran.out and "CC BY 4.0" in ran.out
    assert (tmp_path / "out" / name.replace("%2B", "+")).is_file()


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (("sdss",), "found none"),
        (("sdss", "4961"), "expected PLATE-MJD-FIBER"),
        (("sdss", "--near", "here"), "expected RA,DEC in degrees"),
        (("sdss", "--near", "1,99"), "expected right ascension and declination"),
        (("sdss", "1-55555-1", "--range", "feh=0:1"), "belongs to the other archive"),
        (("bosz", "1-55555-1"), "belongs to the other archive"),
        (("bosz", "--resolution", "7"), "resolution: expected one of 500"),
        (("bosz", "--range", "feh"), "expected NAME=LOW:HIGH"),
        (("desi",), "'desi' is not one of 'sdss', 'bosz'"),
        (("sdss", "1-55555-1", "--selection", "best"), "'best' is not one of"),
    ],
)
def test_a_wrong_command_line(bayesden, words, expected, tmp_path):
    ran = bayesden("fetch", *words, "--out", tmp_path / "out")
    assert (ran.status, ran.out) == (2, "")
    assert len(ran.err.splitlines()) == 1 and expected in ran.err
    assert not (tmp_path / "out").exists()


def test_offline_is_one_line(bayesden, tmp_path):
    ids = [f"4961-55719-{fiber}" for fiber in range(1, 100)]
    ran = bayesden("fetch", "sdss", *ids, "--mirror", "http://127.0.0.1:9", "--out", tmp_path / "out")
    assert (ran.status, ran.out) == (2, "")
    assert ran.err.startswith("error: http://127.0.0.1:9 cannot be reached: no network") and ran.err.count("\n") == 1


def test_a_server_that_refuses_everything(bayesden, site, tmp_path):
    site.answers |= {f"/{BOSS.replace('0378', f'{fiber:04d}')}": [status(403)] for fiber in range(1, 51)}
    ids = [f"4961-55719-{fiber}" for fiber in range(1, 51)]
    ran = bayesden("fetch", "sdss", *ids, "--mirror", site.url, "--out", tmp_path / "out")
    assert ran.status == 1 and "50 failed" in ran.out
    assert len(ran.err.splitlines()) == 20


def test_selections_are_those_of_the_library():
    from bayesden.cli.fetch import Selection

    assert [name.value for name in Selection] == list(SELECTIONS)
