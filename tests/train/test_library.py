"""Laws of the training library: split by object, drawn the same in any order, physics of what is drawn, files."""

import json
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from dust_extinction.parameter_averages import CCM89

from bayesden.errors import InputError, OutputError
from bayesden.io import ArmSpectrum, write_spec
from bayesden.model.class_prior import CLASSES
from bayesden.spectrum import Grid
from bayesden.train.library import Library, build_library, load_library
from bayesden.train.sources import SPLITS, Source, split_of
from bayesden.train.survey import class_of
from bayesden.train.templates import _Observer, read_templates, spectra_from_templates

GRID = Grid.uniform(4000.0, 9000.0, 256)
PER_CLASS = 30


@pytest.fixture(scope="module")
def built(templates: Path) -> Library:
    return build_library(templates, grid=GRID, per_class=PER_CLASS, seed=3)


def test_the_split_is_a_law_of_the_name() -> None:
    known = {"pyhammer/G2_+0.0_Dwarf": "train", "archetype/A/0001": "train", "star-28": "test", "star-17": "validation"}
    assert {name: split_of(name) for name in known} == known  # the same on any machine, for ever
    found = [split_of(f"object-{i}") for i in range(20000)]
    for split, share in zip(SPLITS, (0.8, 0.1, 0.1), strict=True):
        assert found.count(split) / 20000 == pytest.approx(share, abs=0.01)


def test_no_object_stands_on_two_sides(built: Library) -> None:
    names = [set(built.subset(split).name.tolist()) for split in SPLITS]
    assert not (names[0] & names[1] or names[0] & names[2] or names[1] & names[2])
    assert sum(len(built.subset(split)) for split in SPLITS) == len(built)
    with pytest.raises(InputError, match="split: expected one of train, validation, test, got 'all'"):
        built.subset("all")


def test_every_class_is_there_at_mean_flux_one(built: Library) -> None:
    counts = np.bincount(built.label, minlength=len(CLASSES))
    assert (counts == PER_CLASS).all()
    np.testing.assert_allclose(np.abs(built.flux).mean(1), 1, rtol=1e-5)
    assert built.flux.dtype == np.float32 and np.isfinite(built.flux).all()
    assert (np.abs(built.parameters["v_rad_kms"]) <= 300).all() and (built.parameters["ebv"] <= 0.5).all()
    assert sorted(s.name for s in built.sources) == ["archetypes.npz", "cv.npz", "elodie.npz", "pyhammer.npz"]
    assert all(len(s.sha256) == 64 and s.licence for s in built.sources)
    assert built.recipe["seed"] == 3 and built.recipe["source"] == "templates"


def test_the_same_seed_gives_the_same_library(templates: Path, built: Library) -> None:
    again = build_library(templates, grid=GRID, per_class=PER_CLASS, seed=3)
    assert np.array_equal(again.flux, built.flux) and np.array_equal(again.name, built.name)
    other = build_library(templates, grid=GRID, per_class=PER_CLASS, seed=4)
    assert not np.array_equal(other.flux, built.flux)


def test_a_draw_depends_on_its_object_and_not_on_the_others(templates: Path, built: Library) -> None:
    fewer = build_library(templates, grid=GRID, per_class=10, seed=3)
    mine = {(n, v): f for n, v, f in zip(built.name, built.parameters["v_rad_kms"], built.flux, strict=True)}
    shared = [(n, v) for n, v in zip(fewer.name, fewer.parameters["v_rad_kms"], strict=True) if (n, v) in mine]
    assert len(shared) > 0.5 * len(fewer)
    for n, v, f in zip(fewer.name, fewer.parameters["v_rad_kms"], fewer.flux, strict=True):
        if (n, v) in mine:
            np.testing.assert_array_equal(f, mine[n, v])


def observe(flux: np.ndarray, wavelength: np.ndarray, grid: Grid, v: float = 0.0, ebv: float = 0.0) -> np.ndarray:
    return _Observer(wavelength, grid)(flux, v, ebv, np.zeros(3))


FINE = 10 ** np.arange(np.log10(3970), np.log10(9060), 0.5e-4)


@pytest.mark.parametrize("v", [-300.0, 0.0, 250.0])
def test_a_line_moves_by_v_over_c(v: float) -> None:
    grid = Grid.uniform(6400, 6700, 600)
    flux = 1 - 0.8 * np.exp(-0.5 * ((FINE - 6562.8) / 4) ** 2)
    depth = 1 - observe(flux, FINE, grid, v=v) / np.median(observe(flux, FINE, grid, v=v))
    inside = depth > 0.05
    centroid = np.average(grid.wavelength[inside], weights=depth[inside])
    assert centroid == pytest.approx(6562.8 * (1 + v / 299792.458), abs=0.05)


@pytest.mark.parametrize("ebv", [0.1, 0.5])
def test_extinction_is_the_curve_of_cardelli(ebv: float) -> None:
    from astropy import units

    grid = Grid.uniform(4000, 9000, 500)
    reddened = observe(np.ones_like(FINE), FINE, grid, ebv=ebv) / observe(np.ones_like(FINE), FINE, grid)
    magnitudes = -2.5 * np.log10(reddened)
    curve = 3.1 * ebv * CCM89(Rv=3.1)(grid.wavelength * units.AA)
    np.testing.assert_allclose(magnitudes - magnitudes.mean(), curve - curve.mean(), atol=2e-3)
    assert magnitudes[0] > magnitudes[-1]


def test_pixels_conserve_flux() -> None:
    coarse, fine = Grid.uniform(5000, 6000, 40), Grid.uniform(5000, 6000, 39 * 8 + 1)
    flux = 1 + 0.5 * np.sin(FINE / 30)
    edges = np.array([5487.2, 5512.8])  # of one coarse pixel, within the fine ones
    low, high = (observe(flux, FINE, g) for g in (coarse, fine))
    low, high = low / np.sum(low * np.diff(coarse.edges)), high / np.sum(high * np.diff(fine.edges))
    pixel = np.searchsorted(coarse.edges, edges.mean()) - 1
    inside = np.clip(
        np.minimum(fine.edges[1:], coarse.edges[pixel + 1]) - np.maximum(fine.edges[:-1], coarse.edges[pixel]), 0, None
    )
    assert low[pixel] * np.diff(coarse.edges)[pixel] == pytest.approx(np.sum(high * inside), rel=0.02)


def test_archetypes_are_their_coefficients_times_basis(templates: Path) -> None:
    found = read_templates(templates, GRID)
    basis, coefficients = found.bases["A"]
    assert coefficients.shape == (50, 2) and basis.shape[1] == found.wavelength.size
    blue = (found.wavelength > 4500) & (found.wavelength < 6000)
    np.testing.assert_allclose(basis[0][blue], (found.wavelength[blue] / 6000) ** -2, rtol=2e-3)


def test_held_out_templates_do_not_enter_mixtures_of_training_ones(templates: Path) -> None:
    draws = spectra_from_templates(
        templates, GRID, per_class=60, seed=0, velocity_kms=0.0, ebv_max=0.0, calibration=0.0
    )
    still = read_templates(templates, GRID)
    observe_ = _Observer(still.wavelength, GRID)
    for k, spectral_class in enumerate(("G", "K")):
        own = [t for t in still.of_class(spectral_class) if split_of(t.name) == "train"]
        span = np.array([observe_(t.flux, 0.0, 0.0, np.zeros(3)) for t in own])
        rows = (draws.label == CLASSES.index(spectral_class)) & np.array([split_of(n) == "train" for n in draws.name])
        empirical = rows & np.char.startswith(draws.name, "pyhammer")
        assert empirical.any(), k
        solution = np.linalg.lstsq(span.T, draws.flux[empirical].T.astype(float), rcond=None)[0]
        np.testing.assert_allclose(span.T @ solution, draws.flux[empirical].T, atol=1e-4)


def test_a_library_file_round_trips(built: Library, tmp_path: Path) -> None:
    built.save(tmp_path / "library.npz")
    again = load_library(tmp_path / "library.npz")
    assert again.grid == built.grid and again.classes == built.classes and again.sources == built.sources
    assert dict(again.recipe) == dict(built.recipe)
    for key in ("flux", "label", "name"):
        assert np.array_equal(getattr(again, key), getattr(built, key))
    assert {k: v.tolist() for k, v in again.parameters.items()} == {k: v.tolist() for k, v in built.parameters.items()}
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError):
        built.save(tmp_path / "file" / "library.npz")


@pytest.mark.parametrize("share", [0.0, 0.01, 0.3, 0.9, 0.9999])
def test_a_truncated_library_is_refused(library: Callable, tmp_path: Path, share: float) -> None:
    path = tmp_path / "library.npz"
    library(20).save(path)
    content = path.read_bytes()
    path.write_bytes(content[: int(share * len(content))])
    with pytest.raises(InputError, match=r"library\.npz: expected a") as caught:
        load_library(path)
    assert "\n" not in str(caught.value)


def rewritten(path: Path, **changes: object) -> Path:
    with np.load(path, allow_pickle=False) as file:
        arrays = {key: file[key] for key in file.files}
    head = json.loads(str(arrays["head"])) | changes.pop("head", {})
    arrays = arrays | {"head": np.array(json.dumps(head))} | changes
    np.savez(path, **{k: v for k, v in arrays.items() if v is not None})
    return path


@pytest.mark.parametrize(
    "change",
    [
        {"head": {"format": 99}},
        {"head": {"sources": 3}},
        {"flux": np.zeros((3, 5), np.float32)},
        {"flux": np.full((20, 64), np.nan, np.float32)},
        {"flux": None},
        {"head": {"classes": ["A"]}},
        {"label": np.full(20, 7)},
        {"name": np.array(["a"] * 19)},
        {"wavelength": np.arange(64.0)[::-1]},
        {"flux": np.array([object()] * 20, dtype=object)},
    ],
    ids=lambda c: f"{next(iter(c))}",
)
def test_a_library_that_makes_no_sense_is_refused(library: Callable, tmp_path: Path, change: dict) -> None:
    library(20).save(tmp_path / "library.npz")
    with pytest.raises(InputError):
        load_library(rewritten(tmp_path / "library.npz", **change))


def test_what_is_no_library_is_refused(tmp_path: Path) -> None:
    (tmp_path / "text.npz").write_text("not an archive")
    with zipfile.ZipFile(tmp_path / "zip.npz", "w") as archive:
        archive.writestr("readme", "nothing")
    np.save(tmp_path / "array.npy", np.zeros(3))
    for name in ("text.npz", "zip.npz", "array.npy", "none.npz", "."):
        with pytest.raises(InputError, match="expected a"):
            load_library(tmp_path / name)


def test_folders_that_hold_nothing_useful_are_refused(tmp_path: Path, templates: Path) -> None:
    with pytest.raises(InputError, match="expected a folder of spec or template files, found nothing"):
        build_library(tmp_path / "none")
    with pytest.raises(InputError, match="found neither"):
        build_library(tmp_path)
    whole = (templates / "pyhammer.npz").read_bytes()
    for share in (0.0, 0.5, 0.999):
        (tmp_path / "broken.npz").write_bytes(whole[: int(share * len(whole))])
        with pytest.raises(InputError, match=r"broken\.npz: expected a template file"):
            build_library(tmp_path, grid=GRID, per_class=2)


# --- the survey's recipe ---


def spec(folder: Path, name: str, subclass: str, snr: float, *, kind: str = "STAR", gap: bool = False) -> None:
    loglam = np.arange(3.59, 3.97, 1e-4)
    flux = 10 * (1 + 0.1 * np.sin(loglam * 300))
    ivar = np.full(loglam.size, (snr / 10.0) ** 2)
    if gap:
        ivar[1000:2500] = 0
    arm = ArmSpectrum("r1", 1, loglam, flux, ivar)
    facts = {"CLASS": kind, "SUBCLASS": subclass, "SN_MEDIAN": np.array([1.0, 2.0, snr, 4.0, 5.0])}
    write_spec(folder / f"{name}.fits", [arm], facts=facts)


def test_the_best_spectra_of_each_subclass_are_kept(tmp_path: Path) -> None:
    (tmp_path / "deep").mkdir()
    for i, snr in enumerate((5.0, 50.0, 20.0, 30.0)):
        spec(tmp_path, f"spec-1-1-000{i}", "F5", snr)
        spec(tmp_path / "deep", f"spec-2-1-000{i}", "F9", 2 * snr)
    spec(tmp_path, "spec-3-1-0001", "WDmagnetic", 7.0)
    spec(tmp_path, "spec-3-1-0002", "L5", 100.0)
    spec(tmp_path, "spec-3-1-0003", "G2", 100.0, gap=True)
    spec(tmp_path, "spec-3-1-0004", "BROADLINE", 100.0, kind="QSO")
    spec(tmp_path, "spec-3-1-0005", "AGN", 100.0, kind="GALAXY")
    (tmp_path / "spec-4-1-0001.fits").write_bytes(b"damaged")
    library = build_library(tmp_path, grid=GRID, top=2)
    expected = {"1-1-0001": 50.0, "1-1-0003": 30.0, "2-1-0001": 100.0, "2-1-0003": 60.0, "3-1-0001": 7.0}
    found = dict(zip(library.name.tolist(), library.parameters["snr_r"].tolist(), strict=True))
    assert found == {f"sdss/spec-{name}": snr for name, snr in expected.items()}
    labels = dict(zip(library.name.tolist(), (CLASSES[k] for k in library.label), strict=True))
    assert labels["sdss/spec-3-1-0001"] == "WD" and labels["sdss/spec-1-1-0001"] == "F"
    np.testing.assert_allclose(np.abs(library.flux).mean(1), 1, rtol=1e-5)
    assert len(library.sources) == 5 and library.recipe == {"source": "survey", "top": 2, "rest": False}


def test_a_survey_without_stars_is_refused(tmp_path: Path) -> None:
    spec(tmp_path, "spec-3-1-0005", "AGN", 100.0, kind="GALAXY")
    with pytest.raises(InputError, match="expected spec files of stars that cover the grid, found none in 1 files"):
        build_library(tmp_path, grid=GRID)


def test_every_file_is_reported_as_progress(tmp_path: Path) -> None:
    spec(tmp_path, "spec-1-1-0001", "F5", 20.0)
    (tmp_path / "spec-4-1-0001.fits").write_bytes(b"damaged")
    seen = []
    build_library(tmp_path, grid=GRID, progress=lambda i, n: seen.append((i, n)))
    assert seen == [(1, 2), (2, 2)]


SUBCLASSES = {
    "F3/F5V (30743)": "F",
    "CalciumWD": "WD",
    "CarbonWD": "WD",
    "Carbon_lines": "Carbon",
    "CV": "CV",
    "M0V (sd)": "M",
    "sd:F0": "F",
    "OB": "O",
    **dict.fromkeys(("L1", "T2", "", "STARFORMING")),
}


@pytest.mark.parametrize(("subclass", "expected"), SUBCLASSES.items())
def test_subclasses_have_a_class(subclass: str, expected: str | None) -> None:
    assert class_of(subclass) == expected


def test_a_source_has_its_files_checksum(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"abc")
    assert Source.of(tmp_path / "a").sha256 == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
