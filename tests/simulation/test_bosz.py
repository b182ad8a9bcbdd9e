"""Laws of the BOSZ reader: both releases' files, made here, give the spectra that they hold; each bad file is named."""

import bz2
import gzip
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from astropy.io import fits

from bayesden.errors import InputError
from bayesden.io.bosz import find_bosz, parse_bosz, read_bosz_spectrum, vacuum_wavelength
from bayesden.simulation.grids.bosz import read_bosz

TEFF, LOGG, FEH = (4000, 4250, 4500, 5000), (1.0, 2.5), (-1.25, -0.75, 0.0)
START, STOP, STEP = 7100.0, 7200.0, 2e-5
WAVELENGTH = np.round(6900 * np.exp(1e-5 * np.arange(7000)), 3)  # as the files round them
LINE = 7150.0


def spectrum(teff: float, logg: float, feh: float, wavelength: np.ndarray = WAVELENGTH) -> np.ndarray:
    line = np.exp(-0.5 * ((wavelength - LINE) / 0.5) ** 2)
    return 1e6 * (teff / 4000) ** 2 * (1 + 0.1 * logg) * (1 - 0.5 * 10 ** (0.2 * feh) * line)


def name_2017(teff: float, logg: float, feh: float, ending: str = "fits", carbon: str = "cp00", b: int = 50000) -> str:
    metals = f"m{'m' if feh < 0 else 'p'}{int(abs(feh) * 10 + 0.5):02d}"
    return f"a{metals}{carbon}op00t{teff}g{round(10 * logg):02d}v20modrt0b{b}rs.{ending}"


def name_2024(teff: float, logg: float, feh: float, atmosphere: str = "mp", alpha: float = 0.0) -> str:
    values = f"m{feh:+.2f}_a{alpha:+.2f}_c+0.00_v2_r50000"
    return f"bosz2024_{atmosphere}_t{teff}_g{logg:+.1f}_{values}_resam.txt.gz"


def write_fits(
    path: Path, flux: np.ndarray, wavelength: np.ndarray = WAVELENGTH, name: str = "SpecificIntensity"
) -> None:
    columns = [("Wavelength", wavelength), (name, flux), ("Continuum", np.ones(len(flux)))]
    table = fits.BinTableHDU.from_columns([fits.Column(n, "D", unit="", array=x) for n, x in columns])
    fits.HDUList([fits.PrimaryHDU(), table]).writeto(path, overwrite=True)


def write_text(path: Path, *columns: np.ndarray) -> None:
    opener = {".gz": gzip.open, ".bz2": bz2.open}.get(path.suffix, open)
    with opener(path, "wt") as file:
        np.savetxt(file, np.column_stack(columns), fmt="%.8e" if len(columns) > 1 else "%.3f")


def write_2017(folder: Path) -> Path:
    for teff in TEFF:
        for logg in LOGG:
            for feh in FEH:
                place = folder / f"metal_{feh:+.2f}"
                place.mkdir(exist_ok=True)
                write_fits(place / name_2017(teff, logg, feh), spectrum(teff, logg, feh))
    (folder / "README.txt").write_text("not a spectrum")
    return folder


def write_2024(folder: Path) -> Path:
    air = WAVELENGTH
    write_text(folder / "bosz2024_wave_r50000.txt", air)
    flux = {(t, g): spectrum(t, g, 0.0, vacuum_wavelength(air)) for t in TEFF for g in LOGG}
    for (teff, logg), values in flux.items():
        write_text(folder / name_2024(teff, logg, 0.0, "ms" if logg < 2 else "mp"), values, np.ones_like(values))
    return folder


@pytest.fixture
def release_2017(tmp_path: Path) -> Path:
    return write_2017(tmp_path)


@pytest.fixture
def release_2024(tmp_path: Path) -> Path:
    return write_2024(tmp_path)


NAMES = {
    "amm13cp00op00t3500g45v20modrt0b50000rs.fits": ("2017", 3500, 4.5, -1.25, 0.0, 0.0, 2.0, 50000, "ap"),
    "amp05cm08op03t35000g00v20modrt0b200rs.asc.bz2": ("2017", 35000, 0.0, 0.5, 0.25, -0.75, 2.0, 200, "ap"),
    "amm23cp03om03t3750g05v20modrt0b5000rs.fits": ("2017", 3750, 0.5, -2.25, -0.25, 0.25, 2.0, 5000, "ap"),
    "bosz2024_ms_t2800_g-0.5_m-2.50_a-0.25_c-0.75_v0_r10000_resam.txt.gz": (
        *("2024", 2800, -0.5, -2.5, -0.25, -0.75, 0.0, 10000, "ms"),
    ),
}


@pytest.mark.parametrize("name", NAMES)
def test_a_name_says_what_the_model_is(name: str) -> None:
    file = parse_bosz(Path(name))
    found = (file.release, file.teff_K, file.logg, file.feh, file.alpha_fe, file.carbon_fe, file.vturb_kms)
    assert (*found, file.resolution, file.atmosphere) == NAMES[name]


def test_air_becomes_vacuum() -> None:
    # H-alpha, Na D2 and H-delta: air and vacuum as NIST gives them
    air, vacuum = np.array([6562.79, 5889.950, 4101.734]), np.array([6564.60, 5891.583, 4102.892])
    np.testing.assert_allclose(vacuum_wavelength(air), vacuum, atol=0.006)
    assert vacuum_wavelength(np.array([1500.0, 1999.0])).tolist() == [1500, 1999]


def test_the_2017_release_becomes_a_grid(release_2017: Path) -> None:
    seen = []
    grid = read_bosz(release_2017, START, STOP, step=STEP, progress=lambda done, of: seen.append((done, of)))
    assert {n: a.tolist() for n, a in grid.axes.items()} == {
        **{"teff_K": list(TEFF), "logg": list(LOGG)},
        **{"feh": list(FEH), "alpha_fe": [0.0]},
    }
    assert grid.unit == "erg/s/cm2/A/sr" and grid.missing() == [] and seen[-1] == (24, 24)
    assert grid.label.startswith("BOSZ 2017 (Bohlin et al. 2017): ATLAS9 LTE, R = 50000, v_turb = 2 km/s")
    wavelength = 10 ** grid.loglam.numpy()
    assert wavelength[0] == pytest.approx(START) and wavelength[-1] >= STOP
    expected = spectrum(4250, 2.5, -0.75, wavelength)  # 0.14 Å pixels: the line is wide beside them
    np.testing.assert_allclose(grid.nodes[1, 1, 1, 0].numpy(), expected, rtol=3e-3)
    flux = grid.flux(grid.draw(torch.rand(16, grid.uniforms)))
    assert torch.isfinite(flux).all()


def test_averaging_keeps_the_integral_of_the_flux(release_2017: Path) -> None:
    grid = read_bosz(release_2017, START, STOP, step=1.3e-4)  # pixels of 13 samples
    native = spectrum(4000, 1.0, -1.25)
    wavelength = 10 ** grid.loglam.numpy()
    step = np.diff(wavelength)
    edges = np.concatenate([[wavelength[0] - step[0] / 2], wavelength[:-1] + step / 2, [wavelength[-1] + step[-1] / 2]])
    total = (grid.nodes[0, 0, 0, 0].double().numpy() * np.diff(edges)).sum()
    border = np.concatenate([[0], WAVELENGTH[:-1] + np.diff(WAVELENGTH) / 2, [0]])
    cumulative = np.concatenate([[0], np.cumsum((native * np.diff(border))[1:-1])])
    assert total == pytest.approx(np.diff(np.interp(edges[[0, -1]], border[1:-1], cumulative))[0], rel=1e-6)


def test_text_and_fits_hold_the_same(tmp_path: Path) -> None:
    flux = spectrum(4000, 1.0, 0.0)
    write_fits(tmp_path / name_2017(4000, 1.0, 0.0), flux)
    write_text(tmp_path / name_2017(4000, 1.0, -0.75, "asc.bz2"), WAVELENGTH, flux, flux)
    first, second = (read_bosz_spectrum(f, START, STOP) for f in find_bosz(tmp_path))
    np.testing.assert_allclose(first[0], second[0], rtol=1e-7)
    np.testing.assert_allclose(first[1], second[1], rtol=1e-7)
    assert (first[0][1] < START <= first[0][2]) and (first[0][-3] < STOP <= first[0][-2])


def test_the_2024_release_is_brought_to_vacuum(release_2024: Path) -> None:
    grid = read_bosz(release_2024, START, STOP, step=STEP)
    assert grid.label.startswith("BOSZ 2024 (Mészáros et al. 2024): MARCS and ATLAS9 LTE") and grid.shape == (
        4,
        2,
        1,
        1,
    )
    wavelength = 10 ** grid.loglam.numpy()
    for medium, shift in ((None, 0.0), ("air", 0.0), ("vacuum", -1.97)):  # what the refraction of air is there
        grid = read_bosz(release_2024, START, STOP, step=STEP, medium=medium)
        core = wavelength[grid.nodes[2, 0, 0, 0].argmin()]
        assert core - LINE == pytest.approx(shift, abs=0.1)


def test_where_atmospheres_overlap_marcs_is_taken(release_2024: Path) -> None:
    ones = np.ones_like(WAVELENGTH)
    write_text(release_2024 / name_2024(5000, 2.5, 0.0, "ap"), ones, ones)
    assert read_bosz(release_2024, START, STOP, step=STEP).nodes.min() > 1e5
    write_text(release_2024 / name_2024(5000, 2.5, 0.0, "ms"), ones, ones)
    with pytest.raises(InputError, match=r"expected each model once, got .*_mp_t5000.* and .*_ms_t5000"):
        read_bosz(release_2024, START, STOP, step=STEP)


def test_only_files_within_the_ranges_are_opened(release_2017: Path) -> None:
    for path in release_2017.rglob("*t5000*.fits"):
        path.write_bytes(b"not to be read")
    grid = read_bosz(release_2017, START, STOP, step=STEP, ranges={"teff_K": (4100.0, 4400.0)})
    assert grid.axes["teff_K"].tolist() == [4000, 4250, 4500] and grid.ranges["teff_K"] == (4100, 4400)
    with pytest.raises(InputError, match=r"t5000.*: expected a FITS file, got something else"):
        read_bosz(release_2017, START, STOP, step=STEP)


def test_missing_spectra_are_named_and_left_out_of_the_draws(release_2017: Path) -> None:
    for logg in LOGG:
        (release_2017 / "metal_+0.00" / name_2017(5000, logg, 0.0)).unlink()
    with pytest.raises(
        InputError, match=r"expected 24 spectra, found 22; missing: teff_K = 5000, logg = 1, feh = 0, a.*0; t"
    ):
        read_bosz(release_2017, START, STOP, step=STEP, complete=True)
    grid = read_bosz(release_2017, START, STOP, step=STEP)
    assert grid.label.endswith("2 of 24 spectra missing") and len(grid.missing()) == 2
    assert torch.isfinite(grid.flux(grid.draw(torch.rand(200, 3)))).all()


def _corrupt(name: str, how: Callable[[Path], object]) -> Callable[[Path], object]:
    return lambda folder: how(folder / "metal_+0.00" / name)


BAD_2017 = {
    "release": (lambda f: write_text(f / name_2024(4000, 1.0, 0.0), WAVELENGTH), "one BOSZ release, got 2017 and 2024"),
    "name": (
        lambda f: (f / "spec-1-2-3.fits").touch(),
        "spec-1-2-3.fits: expected the name of a BOSZ spectrum such as a",
    ),
    "raw": (lambda f: (f / "bosz2024_mp_t5000_rorig_noresam.txt.gz").touch(), "noresam.txt.gz: expected the name of"),
    "kinds": (
        lambda f: (f / name_2017(4000, 1.0, 0.0, b=500)).touch(),
        "resolution: expected a choice, .*: 500, 50000",
    ),
    "truncated": (
        _corrupt(name_2017(4000, 1.0, 0.0), lambda p: p.write_bytes(p.read_bytes()[:20000])),
        "t4000g10.*: HDU 1 .*: truncated: expected",
    ),
    "column": (
        _corrupt(name_2017(4000, 1.0, 0.0), lambda p: write_fits(p, WAVELENGTH, name="flux")),
        r"HDU 1 has no column 'specificintensity' \(found: Wavelength, flux, Continuum\)",
    ),
    "no table": (
        _corrupt(name_2017(4000, 1.0, 0.0), lambda p: fits.PrimaryHDU(WAVELENGTH).writeto(p, overwrite=True)),
        "t4000g10.*: expected a table in HDU 1, got none",
    ),
    "values": (
        _corrupt(name_2017(4000, 1.0, 0.0), lambda p: write_fits(p, WAVELENGTH * np.nan)),
        "t4000g10.*: expected finite flux, got nan",
    ),
    "wavelengths": (
        _corrupt(name_2017(4000, 1.0, 0.0), lambda p: write_fits(p, WAVELENGTH, WAVELENGTH[::-1])),
        "t4000g10.*: expected ascending wavelengths in Angstrom",
    ),
}


@pytest.mark.parametrize("case", BAD_2017)
def test_bad_files_of_2017_are_named(release_2017: Path, case: str) -> None:
    spoil, message = BAD_2017[case]
    spoil(release_2017)
    with pytest.raises(InputError, match=message):
        read_bosz(release_2017, START, STOP, step=STEP)


def _cut(path: Path, share: float) -> None:
    path.write_bytes(path.read_bytes()[: int(share * path.stat().st_size)])


BAD_2024 = {
    "no wavelengths": (
        lambda f: (f / "bosz2024_wave_r50000.txt").unlink(),
        "expected .* bosz2024_wave_r50000.txt, found",
    ),
    "cut": (lambda f: _cut(f / name_2024(4000, 2.5, 0.0), 0.3), "t4000_g.2.5.*: expected a sound text file of columns"),
    "short": (
        lambda f: write_text(f / name_2024(4000, 2.5, 0.0), np.ones(9), np.ones(9)),
        "truncated: expected .* rows",
    ),
    "text": (lambda f: write_text(f / "bosz2024_wave_r50000.txt", -WAVELENGTH), "expected ascending wavelengths"),
    "no gzip": (
        lambda f: (f / name_2024(4000, 2.5, 0.0)).write_text("1 2"),
        "expected a sound text file of columns, got",
    ),
}


@pytest.mark.parametrize("case", BAD_2024)
def test_bad_files_of_2024_are_named(release_2024: Path, case: str) -> None:
    spoil, message = BAD_2024[case]
    spoil(release_2024)
    with pytest.raises(InputError, match=message):
        read_bosz(release_2024, START, STOP, step=STEP)


BAD_OPTIONS = {
    "wavelengths": ({"stop_A": 9000.0}, "expected wavelengths around 7099.93 to 9000.* Angstrom, got 6901.90 to 7402"),
    "reversed": ({"stop_A": 7000.0}, "bosz: expected wavelengths in steps within them, got 7100.0 to 7000.0 by 2e-05"),
    "range": ({"ranges": {"logg": (0.0, 5.0)}}, "logg: expected a range within 1 to 2.5, got 0 to 5"),
    "carbon": ({"carbon_fe": 0.25}, "carbon_fe: expected one of 0, got 0.25"),
    "resolution": ({"resolution": 300}, "resolution: expected one of 50000, got 300"),
    "medium": ({"medium": "water"}, "medium: expected air or vacuum, got 'water'"),
}


@pytest.mark.parametrize("case", BAD_OPTIONS)
def test_bad_options_are_named(release_2024: Path, case: str) -> None:
    options, message = BAD_OPTIONS[case]
    with pytest.raises(InputError, match=message):
        read_bosz(release_2024, **({"start_A": START, "stop_A": STOP, "step": STEP} | options))


def test_an_empty_folder_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"expected BOSZ spectra \(\*\.fits, \*\.asc\.bz2, \*\.txt\.gz\), found none"):
        read_bosz(tmp_path, START, STOP)
    with pytest.raises(InputError, match="nowhere: expected a folder of BOSZ spectra, got nothing"):
        read_bosz(tmp_path / "nowhere", START, STOP)
