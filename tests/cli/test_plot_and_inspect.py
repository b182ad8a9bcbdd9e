"""`bayesden plot` and `bayesden inspect`."""

from dataclasses import replace

import numpy as np
import pytest
from astropy.io import fits

from bayesden.io import read_posterior, write_posterior, write_posteriors
from bayesden.io.inference_data import write_netcdf
from bayesden.model.checkpoint import save_part
from bayesden.model.noiseflow import NoiseFlow
from bayesden.posterior import Feature
from tests.twin import twin


@pytest.fixture
def result(bayesden, star, model_file, tmp_path):
    """The result file of a star."""
    assert bayesden("denoise", star("spec.fits"), "--model", model_file, "--out", tmp_path / "out").status == 0
    return tmp_path / "out" / "spec.fits"


def test_plot_beside_the_result_into_a_folder_and_to_a_name(bayesden, result, tmp_path):
    ran = bayesden("plot", result)
    figure = result.with_suffix(".png")
    assert ran == (0, f"{figure}\n", "") and figure.read_bytes().startswith(b"\x89PNG")
    assert bayesden("plot", result, "--out", tmp_path / "new" / "folder").status == 0
    assert (tmp_path / "new" / "folder" / "spec.png").read_bytes() == figure.read_bytes()
    ran = bayesden("plot", result, "--size", "column", "--format", "eps", "--out", tmp_path / "new")
    assert ran.status == 0 and (tmp_path / "new" / "spec.eps").read_bytes().startswith(b"%!PS-Adobe-3.0 EPSF")
    ran = bayesden("plot", result, "--zoom", "6000:7000", "--out", tmp_path / "zoom.pdf")
    assert ran.status == 0 and (tmp_path / "zoom.pdf").read_bytes().startswith(b"%PDF")
    whole = figure.read_bytes()
    for zoom, name in (("Halpha", "spec-Halpha.png"), ("6000:7000", "spec-6000-7000.png")):
        assert bayesden("plot", result, "--zoom", zoom) == (0, f"{result.with_name(name)}\n", "")
    assert figure.read_bytes() == whole


def test_plot_goes_on_after_a_bad_file(bayesden, result, tmp_path):
    (tmp_path / "text.fits").write_text("hello")
    twin = tmp_path / "twin" / "spec.fits"
    twin.parent.mkdir()
    twin.write_bytes(result.read_bytes())
    ran = bayesden("plot", tmp_path / "text.fits", tmp_path / "spec.fits", result, twin, "--out", tmp_path / "figures")
    assert ran.status == 1
    assert [path.name for path in (tmp_path / "figures").iterdir()] == ["spec.png"]
    text, raw, again, summary = ran.err.splitlines()
    assert "expected a FITS file" in text and "expected a result file" in raw and "a name of its own" in again
    assert summary == "error: 3 of 4 files failed"


@pytest.mark.parametrize("kind", ["residuals", "trace", "pairs", "latents", "classes", "predictive", "loo-pit"])
def test_every_kind_of_figure(bayesden, tmp_path, model_file, kind):
    star = twin(meta={})
    write_posterior(star, tmp_path / "a.fits")
    options = ("--model", model_file) if kind == "latents" else ()
    ran = bayesden("plot", tmp_path / "a.fits", "--kind", kind, *options)
    assert ran == (0, f"{tmp_path / f'a-{kind}.png'}\n", "")
    assert (tmp_path / f"a-{kind}.png").read_bytes().startswith(b"\x89PNG")


def test_parameters_of_a_trace_and_windows_by_name(bayesden, tmp_path):
    path, figure = tmp_path / "a.fits", tmp_path / "figure.svg"
    write_posterior(twin(), path)
    assert bayesden("plot", path, "--kind", "trace", "--parameters", "z[0], calibration[1,0]", "-o", figure).status == 0
    assert b">calibration[1,0]</text>" in figure.read_bytes()
    assert bayesden("plot", path, "--kind", "predictive", "--zoom", "cat", "--out", figure).status == 0
    ran = bayesden("plot", path, "--kind", "trace", "--parameters", "nothing")
    assert ran.status == 1 and "a.fits: trace: expected names such as z," in ran.err and len(ran.err.splitlines()) == 1


@pytest.mark.parametrize(
    ("words", "status", "expected"),
    [
        (("--kind", "trace"), 1, "expected a posterior with chains, from a method that draws, got 'map'"),
        (("--kind", "predictive"), 1, "expected chains with predictions, got method 'map'"),
        (("--kind", "loo-pit"), 1, "expected chains with predictions, got method 'map'"),
        (("--kind", "latents"), 1, "expected the model that made it, small, SHA-256"),
        (("--kind", "latents", "--model", "none"), 2, "none: expected a model file"),
        (
            ("--kind", "trace", "--zoom", "CaT"),
            2,
            "--zoom: expected with --kind spectrum or residuals or predictive, got",
        ),
        (("--parameters", "z"), 2, "--parameters: expected with --kind trace or pairs, got --kind spectrum"),
        (("--model", "sdss-10class"), 2, "--model: expected with --kind latents"),
        (("--kind", "corner"), 2, "corner"),
        (("--zoom", "Halfa"), 2, "zoom: expected two wavelengths or one of CaHK"),
        (("--zoom", "8400"), 2, "expected FIRST:LAST in Angstrom, such as 8400:8900, got '8400'"),
        (("--zoom", "9000:8000"), 2, "expected FIRST:LAST"),
        (("--zoom", "nan:8000"), 2, "expected FIRST:LAST"),
        (("--zoom", "100:200"), 1, "expected a part of 4000 to 9000"),
        (("--out", "figure.jpg"), 1, "expected a name ending in .png, .pdf, .svg, .eps, got .jpg"),
        (("--out", "/proc/none"), 2, "expected a folder that can be written"),
    ],
)
def test_plot_refuses(bayesden, result, monkeypatch, tmp_path, words, status, expected):
    monkeypatch.chdir(tmp_path)
    ran = bayesden("plot", result, *words)
    assert (ran.status, ran.out) == (status, "") and len(ran.err.splitlines()) == 1 and expected in ran.err


def test_one_name_for_two_figures_is_refused(bayesden, result, tmp_path):
    ran = bayesden("plot", result, result, "--out", tmp_path / "figure.png")
    assert ran.status == 2 and "expected a folder for 2 results" in ran.err and not (tmp_path / "figure.png").exists()


def test_inspect_a_spec_file(bayesden, star):
    ran = bayesden("inspect", star(exposures=3))
    assert (ran.status, ran.err) == (0, "")
    for words in ("an SDSS spec file with 3 exposures", "STAR M1", "S/N", "00000102", "blue+red", "r1-00000103"):
        assert words in ran.out
    lite = star("lite.fits", exposures=0)
    assert "a coadd only" in bayesden("inspect", lite).out


def test_inspect_a_result(bayesden, result):
    ran = bayesden("inspect", result)
    assert (ran.status, ran.err) == (0, "")
    for words in ("a result of bayesden", "spec.fits", "method", "map", "M ", "exposures", "small ", "flags"):
        assert words in ran.out


def test_inspect_names_the_lines_that_the_model_lacks(bayesden, result, tmp_path):
    plain = read_posterior(result)
    line = Feature(6565.2, 1.234, 0.1, 12.3, 1e-9, 210.0, "emission", "Hα")
    air = replace(line, wavelength_A=7620.0, near="air O2 (A)", terrestrial=True)
    write_posterior(replace(plain, features=(line, air)), tmp_path / "lines.fits")
    ran = bayesden("inspect", tmp_path / "lines.fits")
    assert (ran.status, ran.err) == (0, "")
    for words in (
        "lines that the model lacks: 2",
        "6565",
        "1.23 ± 0.10",
        "12.3",
        "Hα",
        "air O2 (A) (the Earth's)",
        "p = ",
    ):
        assert words in ran.out, ran.out
    write_posterior(replace(plain, features=()), tmp_path / "none.fits")
    assert "lines that the model lacks" not in bayesden("inspect", tmp_path / "none.fits").out


def test_inspect_a_model_a_part_and_a_library(bayesden, model_file, library_file, tmp_path):
    ran = bayesden("inspect", model_file)
    assert (ran.status, ran.err) == (0, "")
    for words in ("a model", "O B A F G K M CV Carbon WD", "latents L", "256, 4000 to 9000", "(verified)"):
        assert words in ran.out
    part = tmp_path / "noise.safetensors"
    save_part(
        "noise", NoiseFlow("kang2021", size=64), part, {"licence": "free", "scores": {"noise_nats_per_pixel": -1.5}}
    )
    ran = bayesden("inspect", part)
    for words in ("one part of a model, its noise flow", "kang2021, size 64", "free", "-1.500 nats per pixel"):
        assert words in ran.out
    ran = bayesden("inspect", library_file)
    assert (ran.status, ran.err) == (0, "")
    for words in ("a training library", "400", "Carbon", "validation"):
        assert words in ran.out


def test_inspect_what_it_does_not_know(bayesden, star, model_file, library_file, tmp_path):
    unknown = {
        "text": b"hello, world of stars",
        "empty": b"",
        "cut.fits": star().read_bytes()[:-3000],
        "cut.safetensors": model_file.read_bytes()[:-10],
        "wrong.safetensors": model_file.read_bytes()[:-1] + b"!",
        "spoilt.npz": library_file.read_bytes().replace(b"wavelength", b"wavelenght"),
    }
    for name, content in unknown.items():
        path = tmp_path / name
        path.write_bytes(content)
        ran = bayesden("inspect", path)
        assert (ran.status, ran.out) == (2, "") and len(ran.err.splitlines()) == 1 and str(path) in ran.err, ran
    assert "got a text file" in bayesden("inspect", tmp_path / "text").err
    for path in (tmp_path, tmp_path / "none"):
        ran = bayesden("inspect", path)
        assert (ran.status, ran.out) == (2, "") and len(ran.err.splitlines()) == 1 and str(path) in ran.err, ran


def test_inspect_a_folder_of_results_and_its_manifests(bayesden, star, model_file, tmp_path):
    star("b.fits", label=5)
    (tmp_path / "bad.fits").write_text("hello")
    files = [star("a.fits"), tmp_path / "b.fits", tmp_path / "bad.fits"]
    assert bayesden("denoise", *files, "--model", model_file, "--out", tmp_path / "out").status == 1
    shown = [bayesden("inspect", tmp_path / "out" / name) for name in ("", "manifest.jsonl", "manifest.parquet")]
    for ran in shown:
        assert (ran.status, ran.err) == (0, "")
        for words in ("3 spectra", "2 done, 1 failed", "K 1, M 1", "small", "1 x expected a FITS file"):
            assert words in ran.out, ran.out
    assert len({ran.out.partition("\n")[2] for ran in shown}) == 1
    assert "timing of a run, 3 spectra" in bayesden("inspect", tmp_path / "out" / "timing.parquet").out


def test_inspect_a_table_of_results(bayesden, tmp_path):
    posts = [twin(name="one"), twin(name="two", flags=frozenset({"NOT_CONVERGED"}))]
    write_posteriors([replace(post, chains=None) for post in posts], tmp_path / "table.fits")
    ran = bayesden("inspect", tmp_path / "table.fits")
    assert (ran.status, ran.err) == (0, "")
    for words in ("a table of 2 results", "A 2", "NOT_CONVERGED 1", "380, 4000 to 9000", "ensemble"):
        assert words in ran.out, ran.out


def test_inspect_chains(bayesden, tmp_path):
    write_netcdf(twin(), tmp_path / "star.nc")
    ran = bayesden("inspect", tmp_path / "star.nc")
    assert (ran.status, ran.err) == (0, "")
    for words in ("chains of twin, for ArviZ", "4 of 200 draws", "velocity_kms", "posterior_predictive", "ensemble"):
        assert words in ran.out, ran.out
    (tmp_path / "bad.nc").write_bytes((tmp_path / "star.nc").read_bytes()[:2000])
    ran = bayesden("inspect", tmp_path / "bad.nc")
    assert ran.status == 2 and "expected chains in a netCDF file" in ran.err and len(ran.err.splitlines()) == 1


def test_inspect_says_what_another_fits_file_has(bayesden, tmp_path):
    column = fits.Column("x", "D", array=np.arange(3.0))
    table = fits.BinTableHDU.from_columns([column], name="T")
    fits.HDUList([fits.PrimaryHDU(np.zeros((10, 20))), table]).writeto(tmp_path / "other.fits")
    ran = bayesden("inspect", tmp_path / "other.fits")
    assert ran.status == 2 and "the FITS file has PRIMARY (20 x 10), T (table of x)" in ran.err
