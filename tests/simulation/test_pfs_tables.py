"""Tables of the PFS exposure-time calculator: reproduced at their nodes, interpolated between, refused where unusable."""

import itertools
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from astropy import units
from astropy.table import Table, vstack

from bayesden.errors import InputError
from bayesden.io.etc_table import MR_WAVELENGTH_NM, read_etc
from bayesden.simulation.instruments.moonlight import moonlight_brightness
from bayesden.simulation.instruments.pfs_mr import pfs_mr
from bayesden.simulation.random import Random

from .conftest import C_A_S, FLUX_AB, TYPICAL, conditions, flat, varied


def calculator_variance(sky_e: np.ndarray, count: int, time: float = 900.0) -> np.ndarray:
    """The calculator's formula, written as its documentation has it."""
    around = np.stack([np.roll(sky_e, shift, -1) for shift in (-1, 0, 1)])
    around[0, ..., -1], around[2, ..., 0] = sky_e[..., -1], sky_e[..., 0]
    stray = 0.02 * 0.75 * sky_e.mean(-1, keepdims=True)
    return 1.015 * (sky_e + stray + 5 * (1e-4 * time + 16) + count * (0.01 * around.max(0)) ** 2)


def run_table(count: int = 20, time: float = 900.0, **parameters: float) -> Table:
    """A table like the calculator's: smooth throughput, a sky with lines, and rows of another arm."""
    given = {"seeing": 0.8, "zenith_ang": 30.0, "field_ang": 0.45, "moon_zenith_ang": 90.0}
    given |= {"moon_target_ang": 60.0, "moon_phase": 0.125} | parameters
    x = np.arange(4096)
    moon = 40.0 if given["moon_zenith_ang"] < 90 else 0.0
    sky_e = (
        (100 + moon + 3000 * np.exp(-0.5 * ((x % 400 - 200) / 1.4) ** 2)) * (1 + given["zenith_ang"] / 100) * time / 900
    )
    conversion = 6e29 * (1 + 1e-5 * x) / (0.5 + given["seeing"]) * (1 - 0.1 * given["field_ang"]) * time / 900
    mr = {
        "arm": np.full(4096, 3),
        "pixel": x,
        "wavelength": MR_WAVELENGTH_NM * units.nm,
        "noise_variance": calculator_variance(sky_e, count, time) * units.electron**2,
        "conversion_factor": conversion,
        "sky": sky_e * units.electron,
    }
    table = vstack([Table(mr), Table(mr)[:5]])
    table["arm"][-5:] = 0
    settings = {"exp_time": time, "exp_num": count, "sky_sub_floor": 0.01, "diffuse_stray": 0.02, "mag_file": None}
    table.meta["params"] = given | settings
    return table


def write(path: Path, table: Table) -> Path:
    table.write(path, format="ascii.ecsv")
    return path


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Eight runs: two seeings, two zenith angles, with and without moon."""
    path = tmp_path_factory.mktemp("etc")
    for i, (seeing, zenith, moon) in enumerate(itertools.product((0.6, 1.2), (0.0, 40.0), (90.0, 30.0))):
        write(path / f"run{i}.ecsv", run_table(seeing=seeing, zenith_ang=zenith, moon_zenith_ang=moon))
    return path


def test_reference_grid_is_reproduced_at_its_nodes(reference_grid: Path):
    instrument = pfs_mr(reference_grid)
    with np.load(reference_grid, allow_pickle=False) as arrays:
        axes = [arrays[name] for name in ("seeing_arcsec", "zenith_ang_deg", "field_ang_deg")]
        moon = np.stack([arrays[f"moon_{name}"] for name in ("zenith_ang_deg", "target_ang_deg", "phase")], 1)
        index = list(itertools.product(*(range(len(axis)) for axis in axes), range(len(moon))))
        nodes = conditions(*((*(a[i] for a, i in zip(axes, ijkm[:3], strict=True)), *moon[ijkm[3]]) for ijkm in index))
        i, j, k, m = np.array(index).T
        conversion = arrays["conversion_factor"][i, j, k, 0].astype(float)
        variance = arrays["noise_variance_e2"][0, j, k, m].astype(float)
        snr = arrays["snr_22p5_n20"][i, j, k, m].astype(float)
    own, floor = instrument.background(nodes)
    np.testing.assert_allclose((own + 20 * floor).numpy(), variance, 1e-6)
    flux = flat(instrument, 22.5, len(nodes))
    var = instrument.variance(flux, nodes)
    np.testing.assert_allclose((flux / var.sqrt()).numpy(), snr, 1e-6)
    f_nu = FLUX_AB * 10 ** (-0.4 * 22.5)
    unit = 1e17 * C_A_S / (10 * MR_WAVELENGTH_NM) ** 2
    np.testing.assert_allclose(var.numpy(), (variance + conversion * f_nu) / (20 * conversion**2) * unit**2, 1e-6)


def test_ecsv_tables_are_reproduced_at_their_nodes_and_interpolated_between(folder: Path):
    instrument = pfs_mr(folder)
    table = run_table(seeing=1.2, zenith_ang=40.0, moon_zenith_ang=30.0)
    node = conditions((1.2, 40.0, 0.45, 30.0, 60.0, 0.125))
    own, floor = instrument.background(node)
    np.testing.assert_allclose((own + 20 * floor)[0].numpy(), table["noise_variance"][:4096], 1e-6)
    flux = flat(instrument, 20)
    f_nu = FLUX_AB * 10 ** (-0.4 * 20)
    np.testing.assert_allclose(instrument.counts(flux, node)[0], f_nu * table["conversion_factor"][:4096], 1e-6)
    ends = instrument.counts(flux.expand(2, -1), conditions((0.6, 0, 0.45, 90, 60, 0.1), (1.2, 0, 0.45, 90, 60, 0.1)))
    half = instrument.counts(flux, conditions((0.9, 0, 0.45, 90, 60, 0.1)))
    torch.testing.assert_close(half[0], ends.mean(0))


def test_tables_are_linear_in_the_moons_brightness(folder: Path):
    instrument = pfs_mr(folder)
    cases = conditions(
        *((0.6, 0.0, 0.45, 30.0, target, phase) for target, phase in ((60, 0.125), (100, 0.2), (60, 0.25)))
    )
    bright = moonlight_brightness(cases[:, 3:])
    _, weights = instrument.response.weights(cases)
    light = (weights @ instrument.response.sky.double()).mean(1)
    dark = (instrument.response.weights(varied(3, 90.0) * 0 + conditions((0.6, 0, 0.45, 90, 60, 0)))[1]).double()
    dark = (dark @ instrument.response.sky.double()).mean()
    torch.testing.assert_close((light - dark) / bright, ((light - dark) / bright)[:1].expand(3))


def test_other_exposure_times_scale_the_tables(tmp_path: Path):
    long = pfs_mr(write(tmp_path / "long.ecsv", run_table()), exposure_s=450.0)
    short = pfs_mr(write(tmp_path / "short.ecsv", run_table(time=450.0, count=8)), exposure_s=450.0)
    flux, node = flat(long, 21), conditions(TYPICAL)
    torch.testing.assert_close(long.variance(flux, node), short.variance(flux, node))


def test_conditions_are_drawn_within_the_tables(folder: Path):
    drawn = pfs_mr(folder).draw(Random(0).uniform("conditions", torch.arange(100), 6))
    assert 0.6 <= drawn[:, 0].min() < drawn[:, 0].max() <= 1.2
    assert (drawn[:, 2] == 0.45).all()


BROKEN: dict[str, tuple[Callable[[Table], None], str]] = {
    "negative variance": (
        lambda t: t["noise_variance"].__setitem__(7, -3.0),
        "noise_variance: .*not negative, got -3.0 at pixel 7",
    ),
    "missing value": (lambda t: t["sky"].__setitem__(9, np.nan), "sky: expected .* got nan at pixel 9"),
    "no throughput": (
        lambda t: t["conversion_factor"].__setitem__(3, 0.0),
        "conversion_factor: .* positive, got 0.0 at pixel 3",
    ),
    "wavelengths": (
        lambda t: t["wavelength"].__iadd__(0.5),
        "expected 4096 pixels from 710 to 884.957 nm, got 4096 pixels from 710.5",
    ),
    "unit": (lambda t: setattr(t["wavelength"], "unit", "Angstrom"), "wavelength: expected unit nm, got Angstrom"),
    "unit of the sky": (lambda t: setattr(t["sky"], "unit", None), "sky: expected unit electron, got None"),
    "column": (
        lambda t: t.remove_column("conversion_factor"),
        "expected a column 'conversion_factor' .* found: arm, pixel",
    ),
    "arm": (
        lambda t: t["arm"].__setitem__(slice(None), 1),
        r"expected rows of arm 3 \(medium resolution\), found arms 1",
    ),
    "short": (lambda t: t.remove_row(5), "got 4095 pixels"),
    "parameters": (lambda t: t.meta.clear(), "expected the run's parameters in the header"),
    "another formula": (
        lambda t: t["noise_variance"].__imul__(0.7),
        "noise_variance: expected the medium-resolution formula",
    ),
}


@pytest.mark.parametrize("case", BROKEN)
def test_unusable_table_is_refused_in_one_line(tmp_path: Path, case: str):
    table = run_table()
    spoil, message = BROKEN[case]
    spoil(table)
    with pytest.raises(InputError, match=message) as caught:
        pfs_mr(write(tmp_path / "bad.ecsv", table))
    assert "bad.ecsv" in str(caught.value) and "\n" not in str(caught.value)


WORDS = b"""# %ECSV 1.0
# ---
# datatype:
# - {name: arm, datatype: int64}
# - {name: pixel, datatype: int64}
# - {name: wavelength, unit: nm, datatype: string}
# - {name: noise_variance, unit: electron2, datatype: float64}
# - {name: conversion_factor, datatype: float64}
# - {name: sky, unit: electron, datatype: float64}
arm pixel wavelength noise_variance conversion_factor sky
3 0 red 1.0 1.0 1.0
"""


def test_unusable_files_and_grids_are_refused(tmp_path: Path):
    for name, content, message in (
        ("no.ecsv", None, "expected a file, found nothing"),
        ("text.ecsv", b"hello\n", "expected an ECSV table"),
        ("words.ecsv", WORDS, "expected columns of numbers"),
        ("cut.npz", b"PK\x03\x04xx", "expected a sound npz file"),
    ):
        if content is not None:
            (tmp_path / name).write_bytes(content)
        with pytest.raises(InputError, match=message):
            read_etc(tmp_path / name)
    np.savez(tmp_path / "other.npz", flux=np.ones(3))
    with pytest.raises(InputError, match=r"expected an array 'conversion_factor', found: flux"):
        read_etc(tmp_path / "other.npz")
    (tmp_path / "runs").mkdir()
    with pytest.raises(InputError, match="found none"):
        read_etc(tmp_path / "runs")
    for i, (seeing, zenith) in enumerate(((0.6, 0.0), (0.6, 30.0), (1.0, 0.0))):
        write(tmp_path / "runs" / f"{i}.ecsv", run_table(seeing=seeing, zenith_ang=zenith))
    with pytest.raises(InputError, match="expected each of 2 x 2 x 1 x 1 combinations of conditions once, got 3"):
        read_etc(tmp_path / "runs")
