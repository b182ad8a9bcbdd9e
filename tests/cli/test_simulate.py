"""`bayesden simulate`."""

import numpy as np
import pytest

from bayesden.simulation.stored import read_simulation

SMALL = ("simulate", "sdss", "--grid", "generator", "--exposures", "2")


def test_writes_a_file_and_says_so(bayesden, tmp_path):
    out = tmp_path / "sim.h5"
    ran = bayesden(*SMALL, "-n", 3, "--range", "magnitude=17:18", "--out", out)
    assert (ran.status, ran.err) == (0, "")
    assert ran.out.startswith("3 stars seen by sdss (Ancestral draws of sdss-10class")
    table = read_simulation(out).parameters
    assert len(table) == 3 and ((table["magnitude"] >= 17) & (table["magnitude"] <= 18)).all()
    assert [p.name for p in tmp_path.iterdir()] == ["sim.h5"]


def test_resumes_and_does_not_replace_unasked(bayesden, tmp_path):
    out = tmp_path / "sim.h5"
    assert bayesden(*SMALL, "-n", 3, "--out", out).status == 0
    flux = read_simulation(out).flux
    again = bayesden(*SMALL, "-n", 3, "--out", out)
    assert again.status == 2 and f"{out}: expected a new name" in again.err
    out.write_bytes(out.read_bytes()[:-2000])
    assert bayesden(*SMALL, "-n", 3, "--out", out, "--resume").status == 0
    assert np.array_equal(read_simulation(out).flux, flux)


def test_a_file_that_exists_is_refused_before_anything_is_computed(bayesden, tmp_path, monkeypatch):
    out = tmp_path / "sim.h5"
    out.write_bytes(b"mine")
    monkeypatch.setattr("bayesden.simulation.build.build_simulator", lambda *_, **__: pytest.fail("computed"))
    ran = bayesden("simulate", "pfs-mr", "--out", out)
    assert ran.status == 2 and f"{out}: expected a new name" in ran.err


def test_says_once_that_the_embedded_grid_is_computed_and_where_it_is_kept(bayesden, tmp_path, monkeypatch):
    monkeypatch.setenv("BAYESDEN_CACHE", str(tmp_path / "cache"))
    few = {"teff_K": (4000, 5000), "logg": (2.0,), "feh": (0.0,), "alpha_fe": (0.0,)}
    monkeypatch.setattr("bayesden.simulation.build.PFS_AXES", few)
    line = f"computing the 2 spectra of the embedded grid, once: they are kept in {tmp_path / 'cache'}"
    ran = bayesden("simulate", "pfs-mr", "-n", 2, "--range", "seeing_arcsec=0.6:0.7", "--out", tmp_path / "a.h5")
    assert ran.status == 0 and ran.out.splitlines()[0] == line
    ran = bayesden("simulate", "pfs-mr", "-n", 2, "--out", tmp_path / "b.h5")
    assert ran.status == 0 and line not in ran.out
    seeing = read_simulation(tmp_path / "a.h5").parameters["seeing_arcsec"]
    assert ((seeing >= 0.6) & (seeing <= 0.7)).all()


def test_writes_spec_files_that_denoise_reads(bayesden, tmp_path):
    ran = bayesden(*SMALL, "-n", 1, "--format", "sdss", "--out", tmp_path / "stars")
    assert (ran.status, ran.err) == (0, "")
    ran = bayesden("inspect", tmp_path / "stars" / "spec-sim-000000.fits")
    assert ran.status == 0 and "2 exposures" in " ".join(ran.out.split())


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("simulate", "hires"), "hires"),
        ((*SMALL, "-n", "0"), "--number"),
        ((*SMALL, "--range", "magnitude"), "expected NAME=LOW:HIGH, such as magnitude=19:22.5, got 'magnitude'"),
        (
            (*SMALL, "--range", "teff_K=1:2"),
            "range: expected one of redshift, ebv, magnitude with the grid generator, got teff_K",
        ),
        ((*SMALL, "--range", "ebv=2:1"), "ebv: expected a range from low to high, got 2.0 to 1.0"),
        (("simulate", "pfs-mr", "--format", "sdss"), "--format sdss: expected the instrument sdss, got pfs-mr"),
        ((*SMALL, "--device", "nowhere"), "device: expected one that torch can use here, got 'nowhere'"),
        ((*SMALL, "--grid", "nothing"), "nothing"),
        (("simulate", "pfs-mr", "--etc", "none.npz"), "none.npz"),
    ],
)
def test_bad_input_is_one_line(bayesden, tmp_path, words, message):
    ran = bayesden(*words, "--out", tmp_path / "out.h5")
    assert ran.status == 2
    assert message in ran.err and ran.err.count("\n") == 1
    assert not list(tmp_path.iterdir())


def test_inspect_says_what_was_simulated(bayesden, tmp_path):
    out = tmp_path / "sim.h5"
    assert bayesden(*SMALL, "-n", 3, "--out", out).status == 0
    ran = bayesden("inspect", out)
    assert (ran.status, ran.err) == (0, "")
    for text in ("3 simulated stars", "sdss, 2 exposures", "S/N per pixel", "magnitude"):
        assert text in ran.out
    out.write_bytes(out.read_bytes()[:3000])
    ran = bayesden("inspect", out)
    assert ran.status == 2 and "expected 'bayesden simulation 1'" in ran.err
