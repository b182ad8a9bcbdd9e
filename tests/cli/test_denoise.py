"""`bayesden denoise`: what good files give, and that no bad one costs a good one its result."""

import gzip
import json
import struct
from pathlib import Path

import numpy as np
import pytest
from astropy.io import fits
from safetensors.numpy import load, save

import bayesden as bd
from bayesden.model.checkpoint import save_part
from bayesden.model.noiseflow import NoiseFlow


def results(folder: Path) -> list[str]:
    """Names of results and figures, without what a run keeps of itself."""
    return sorted(path.name for path in folder.iterdir() if path.suffix in (".fits", ".png")) if folder.is_dir() else []


def test_results_are_those_of_the_library_call(bayesden, star, model_file, tmp_path):
    paths = [star("spec-1.fits", label=6), star("spec-2.fits.gz", label=2, exposures=1)]
    paths[1].write_bytes(gzip.compress(paths[1].read_bytes()))
    ran = bayesden("denoise", *paths, "--map", "--model", model_file, "--out", tmp_path / "new" / "out", "--seed", 3)
    assert (ran.status, ran.err) == (0, "")
    assert results(tmp_path / "new" / "out") == ["spec-1.fits", "spec-2.fits"]
    model = bd.load_model(model_file)
    expected = [bd.denoise(one, model, method="map", seed=3) for one in bd.read(paths, grid=model.grid)]
    for post, word, line in zip(expected, ("M", "A"), ran.out.splitlines(), strict=False):
        written = bd.read_posterior(tmp_path / "new" / "out" / f"{post.name}.fits")
        np.testing.assert_array_equal(written.flux, post.flux)
        assert line.split()[:2] == [post.name, word] == [post.name, written.best_class]
        assert f"{post.class_prob[word]:.2f}" in line and "S/N" in line and str(tmp_path / "new" / "out") in line
    assert "2 exposures" in ran.out and "1 exposure " in ran.out
    assert ran.out.splitlines()[-1].startswith("2 of 2 spectra denoised")


def test_plot_writes_a_figure_beside_the_result(bayesden, star, model_file, tmp_path):
    ran = bayesden("denoise", star("a.b.fits"), "--plot", "--model", model_file, "--out", tmp_path / "out")
    assert ran.status == 0
    assert results(tmp_path / "out") == ["a.b.fits", "a.b.png"]
    assert (tmp_path / "out" / "a.b.png").read_bytes().startswith(b"\x89PNG")


def table(path: Path, size: int = 400, **changes: np.ndarray | None) -> Path:
    values = {"flux": np.ones(size), "loglam": np.linspace(3.6, 3.95, size), "ivar": np.ones(size)} | changes
    columns = [fits.Column(name, "E", array=value) for name, value in values.items() if value is not None]
    fits.HDUList([fits.PrimaryHDU(), fits.BinTableHDU.from_columns(columns)]).writeto(path)
    return path


def _image(path: Path) -> None:
    fits.PrimaryHDU(np.zeros((5, 5))).writeto(path)


BAD = {
    "missing": (lambda path: None, "found nothing"),
    "directory": (lambda path: path.mkdir(), "got a directory"),
    "not FITS": (lambda path: path.write_text("flux 1 2 3"), "expected a FITS file"),
    "empty": (lambda path: path.touch(), "an empty file"),
    "image only": (_image, "found only the primary HDU"),
    "no flux": (lambda path: table(path, flux=None), "no column 'flux' (found: loglam, ivar)"),
    "no loglam": (lambda path: table(path, loglam=None), "no column 'loglam'"),
    "no ivar": (lambda path: table(path, ivar=None), "no column 'ivar'"),
    "all ivar 0": (lambda path: table(path, ivar=np.zeros(400)), "expected at least one good pixel"),
    "NaN flux": (lambda path: table(path, flux=np.full(400, np.nan)), "expected at least one good pixel"),
    "infinite flux": (lambda path: table(path, flux=np.full(400, np.inf)), "expected at least one good pixel"),
    "infrared": (lambda path: table(path, loglam=np.linspace(4.2, 4.23, 400)), "expected wavelengths within 4000"),
    "descending": (lambda path: table(path, loglam=np.linspace(3.95, 3.6, 400)), "descending"),
    "duplicate": (lambda path: table(path, loglam=np.repeat(np.linspace(3.6, 3.9, 200), 2)), "duplicate"),
    "no exposure": (lambda path: table(path, 0, flux=np.ones(0), loglam=np.ones(0), ivar=np.ones(0)), "HDU 1"),
}


@pytest.mark.parametrize("case", BAD)
def test_a_bad_file_gets_one_line_and_the_others_their_results(bayesden, star, model_file, tmp_path, case):
    spoil, expected = BAD[case]
    first, last, bad = star("first.fits"), star("last.fits", seed=1), tmp_path / "bad.fits"
    spoil(bad)
    ran = bayesden("denoise", first, bad, last, "--model", model_file, "--out", tmp_path / "out")
    assert ran.status == 1
    assert results(tmp_path / "out") == ["first.fits", "last.fits"]
    line, summary = ran.err.splitlines()
    assert line.startswith(f"error: {bad}: ") and expected in line
    assert summary == "error: 1 of 3 files failed: bad.fits"
    assert "2 of 3 spectra denoised" in ran.out


def test_truncated_files_are_refused_and_some_bad_pixels_are_not(bayesden, star, model_file, tmp_path):
    good = star("good.fits")
    cut = tmp_path / "cut.fits"
    cut.write_bytes(good.read_bytes()[:-3000])
    flux = np.ones(400)
    flux[::7], flux[3::7] = np.nan, np.inf
    spotted = table(tmp_path / "spotted.fits", flux=flux, loglam=np.linspace(3.55, 4.0, 400))
    ran = bayesden("denoise", cut, good, spotted, "--model", model_file, "--out", tmp_path / "out")
    assert ran.status == 1 and "cut.fits: " in ran.err and "truncated" in ran.err
    assert results(tmp_path / "out") == ["good.fits", "spotted.fits"]
    assert np.isfinite(bd.read_posterior(tmp_path / "out" / "spotted.fits").flux).all()


def test_two_inputs_of_one_name_do_not_share_a_result(bayesden, star, model_file, tmp_path):
    first, second = star("one/spec.fits"), star("two/spec.fits", label=1)
    ran = bayesden("denoise", first, second, first, "--model", model_file, "--out", tmp_path / "out", "--overwrite")
    assert ran.status == 1 and len(ran.err.splitlines()) == 2
    assert f"{second}: expected a name of its own" in ran.err and f"is that of {first}" in ran.err
    assert bd.read_posterior(tmp_path / "out" / "spec.fits").best_class == "M"
    # a name is free again if the file that came first gave nothing
    ran = bayesden("denoise", tmp_path / "none" / "spec.fits", second, "--model", model_file, "--out", tmp_path / "new")
    assert ran.status == 1 and results(tmp_path / "new") == ["spec.fits"]


def test_a_result_is_replaced_only_if_asked_for(bayesden, star, model_file, tmp_path):
    words = ("denoise", star("spec.fits"), "--model", model_file, "--out", tmp_path / "out")
    assert bayesden(*words).status == 0
    before = (tmp_path / "out" / "spec.fits").read_bytes()
    star("spec.fits", label=1, overwrite=True)
    ran = bayesden(*words)
    assert ran.status == 1 and "exists already; --overwrite replaces it" in ran.err
    assert (tmp_path / "out" / "spec.fits").read_bytes() == before
    assert bayesden(*words, "--overwrite").status == 0
    assert (tmp_path / "out" / "spec.fits").read_bytes() != before
    (tmp_path / "out" / "spec.fits").unlink()
    (tmp_path / "out" / "spec.png").touch()
    assert "spec.png exists already" in bayesden(*words, "--plot").err


def test_an_input_is_never_replaced(bayesden, star, model_file, tmp_path):
    one, two = star("one/spec.fits"), star("two/spec.fits", seed=1)
    before = one.read_bytes(), two.read_bytes()
    ran = bayesden("denoise", one, two, "--model", model_file, "--out", tmp_path / "one", "--overwrite")
    assert ran.status == 1 and ran.err.count("is an input") == 2
    assert (one.read_bytes(), two.read_bytes()) == before


def header_changed(content: bytes, **changes: object) -> bytes:
    size = struct.unpack("<Q", content[:8])[0]
    metadata = json.loads(content[8 : 8 + size])["__metadata__"]
    document = json.loads(metadata["bayesden"]) | changes
    return save(load(content), metadata={"bayesden": json.dumps(document)})


BAD_MODELS = {
    "truncated": (lambda content: content[:-100], "expected a model file"),
    "nothing": (lambda content: b"", "expected a model file"),
    "another version": (lambda content: header_changed(content, format=99), "expected model format 2, got 99"),
    "wrong checksum": (lambda content: content[:-1] + bytes([content[-1] ^ 1]), "expected checksum"),
    "other tensors": (lambda content: save({"x": np.zeros(3)}), "without its header"),
}


@pytest.mark.parametrize("case", BAD_MODELS)
def test_a_bad_model_file_is_one_line_and_status_2(bayesden, star, model_file, tmp_path, case):
    spoil, expected = BAD_MODELS[case]
    model = tmp_path / "bad.safetensors"
    model.write_bytes(spoil(model_file.read_bytes()))
    ran = bayesden("denoise", star(), "--model", model, "--out", tmp_path / "out")
    assert (ran.status, ran.out) == (2, "")
    assert len(ran.err.splitlines()) == 1 and expected in ran.err and str(model) in ran.err
    assert results(tmp_path / "out") == []


def test_a_model_that_is_not_there_or_a_part(bayesden, star, tmp_path):
    part = tmp_path / "noise.safetensors"
    save_part("noise", NoiseFlow("robust", size=64), part)
    for model, expected in ((tmp_path / "none", "expected a model file"), (part, "expected a file that holds a model")):
        ran = bayesden("denoise", star(overwrite=True), "--model", model, "--out", tmp_path / "out")
        assert ran.status == 2 and len(ran.err.splitlines()) == 1 and expected in ran.err


def test_a_folder_that_cannot_be_written(bayesden, star, model_file, tmp_path):
    (tmp_path / "file").touch()
    for folder in (tmp_path / "file", tmp_path / "file" / "below", "/proc/none", tmp_path / ("x" * 300)):
        ran = bayesden("denoise", star(overwrite=True), "--model", model_file, "--out", folder)
        assert (ran.status, ran.out) == (2, "") and len(ran.err.splitlines()) == 1
        assert f"{folder}: expected a folder that can be written" in ran.err


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (("--mask-policy", "xor"), "'xor' is not one of 'and', 'or', 'none'"),
        (("--device", "abacus"), "device: expected one that torch can use here, got 'abacus'"),
        (("--seed", "three"), "--seed"),
        (("--seed", "-1"), "--seed"),
        (("--frobnicate",), "No such option: --frobnicate"),
    ],
)
def test_an_unknown_option_or_value(bayesden, star, model_file, tmp_path, words, expected):
    ran = bayesden("denoise", star(), "--model", model_file, "--out", tmp_path / "out", *words)
    assert (ran.status, ran.out) == (2, "")
    assert len(ran.err.splitlines()) == 1 and expected in ran.err
    assert results(tmp_path / "out") == []


def test_methods_that_draw(bayesden, star, model_file, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    path = star("star.fits")
    words = ["denoise", path, "--model", model_file, "--samples", 40, "--chains", 2, "--overwrite"]
    for flag, method in (("--laplace", "laplace"), ("--mcmc", "ensemble")):
        ran = bayesden(*words, flag, "--draws", 10, "--out", method)
        assert ran.status == 0, ran.err
        post = bd.read_posterior(tmp_path / method / "star.fits")
        assert post.method == method and post.draws.shape == (10, post.flux.size)
        assert post.chains.shape == (2, 20)
        assert (tmp_path / method / "star.nc").exists() == (method == "ensemble")
    ran = bayesden(*words, "--laplace", "--draws", 0, "--out", "none")
    post = bd.read_posterior(tmp_path / "none" / "star.fits")
    assert ran.status == 0 and post.draws is None and post.chains is None


def test_methods_exclude_each_other(bayesden, star, model_file):
    path = star("star.fits")
    for words, said in (
        (["--svi", "--mcmc"], "expected one of --map, --laplace, --svi and --mcmc, got --svi and --mcmc"),
        (["--laplace", "--engine", "nuts"], "expected --mcmc beside it, got --laplace"),
        (["--mcmc", "--samples", 3, "--chains", 4], "samples: expected at least one for each of the 4 chains, got 3"),
        (["--mcmc", "--samples", 0], "--samples"),
    ):
        ran = bayesden("denoise", path, "--model", model_file, *words)
        assert ran.status == 2 and said in ran.err, ran.err
