r"""Tables of the PFS exposure-time calculator, medium-resolution arm.

The calculator (`pfsspecsim` 2, github.com/Subaru-PFS/spt_ExposureTimeCalculator, MIT licence) writes for each run an ECSV file
of the continuum's signal-to-noise ratio, `ref.snc.ecsv`, with the columns

    arm, pixel, wavelength [nm, vacuum], noise_variance [electron2], conversion_factor [e per erg/s/cm2/Hz], sky [electron]

among others, and its parameters in the header. Runs under different conditions make a grid, `EtcGrid`; so does an npz file with
the arrays `seeing_arcsec`, `zenith_ang_deg`, `field_ang_deg`, `moon_zenith_ang_deg`, `moon_target_ang_deg`, `moon_phase`,
`wavelength_nm`, `conversion_factor`, `sky_e` and `noise_variance_e2`, the last three with the axes (seeing, zenith angle, field
angle, moon, pixel), length 1 where a quantity does not depend on one.
"""

import warnings
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path

import numpy as np
from astropy.table import Table
from numpy.typing import ArrayLike, NDArray

from ..errors import BayesdenError, InputError
from .files import read_bytes

__all__ = ["MR_WAVELENGTH_NM", "EtcGrid", "read_etc"]

MR_ARM = 3
MR_WAVELENGTH_NM = 710.0 + 0.042724609375 * np.arange(4096)
UNITS = {"wavelength": "nm", "noise_variance": "electron2", "sky": "electron"}
COLUMNS = ("arm", "pixel", "wavelength", "noise_variance", "conversion_factor", "sky")
PARAMETERS = ("seeing", "zenith_ang", "field_ang", "moon_zenith_ang", "moon_target_ang", "moon_phase")
ARRAYS = {
    "seeing_arcsec": 1,
    "zenith_ang_deg": 1,
    "field_ang_deg": 1,
    "moon_zenith_ang_deg": 1,
    "moon_target_ang_deg": 1,
    "moon_phase": 1,
    "wavelength_nm": 1,
    "conversion_factor": 5,
    "sky_e": 5,
    "noise_variance_e2": 5,
}


@dataclass(frozen=True, eq=False)
class EtcGrid:
    """What the calculator says under a grid of conditions.

    Arguments:
        name: Of the file or folder, for messages.
        seeing_arcsec, zenith_deg, field_deg: Axes, ascending, shapes (S,), (Z,), (F,).
        moon: Cases of zenith angle and angle to the target in degrees and phase, shape (M, 3).
        wavelength_nm: Pixel centres, shape (D,), vacuum.
        conversion: e per erg/s/cm²/Hz, shape (S, Z, F, D).
        sky_e: Sky, e per pixel, shape (Z, F, M, D).
        variance_e2: Variance without the object's photons, e², shape (Z, F, M, D).
        exposure_s, count: Exposure time, and how many exposures the variance was made for.
        floor, stray: Sky-subtraction error and diffuse light, as fractions of the sky.
    """

    name: str
    seeing_arcsec: NDArray
    zenith_deg: NDArray
    field_deg: NDArray
    moon: NDArray
    wavelength_nm: NDArray
    conversion: NDArray
    sky_e: NDArray
    variance_e2: NDArray
    exposure_s: float = 900.0
    count: int = 20
    floor: float = 0.01
    stray: float = 0.02


def read_etc(path: Path | str) -> EtcGrid:
    """Read one ECSV table, a folder of them, or an npz file of arrays.

    Raises:
        InputError: for a file that is none of these, lacks a column or has other units or wavelengths, for negative or
            missing values, and for tables that do not make a full grid.
    """
    path = Path(path)
    if path.is_dir():
        files = sorted(path.glob("*.ecsv"))
        if not files:
            raise InputError(f"{path}: expected *.ecsv tables of the exposure-time calculator, found none")
        return _assemble(str(path), [_read_run(file) for file in files])
    if path.suffix == ".npz":
        return _read_arrays(path)
    return _assemble(str(path), [_read_run(path)])


def _check_values(name: str, what: str, values: NDArray, *, positive: bool = False) -> None:
    bad = ~np.isfinite(values) | (values <= 0 if positive else values < 0)
    if bad.any():
        where = np.unravel_index(int(bad.argmax()), values.shape)
        expected = "positive" if positive else "not negative"
        raise InputError(
            f"{name}: {what}: expected values that are {expected}, got {values[where]} at pixel {where[-1]}"
        )


def _check_wavelength(name: str, wavelength_nm: NDArray) -> None:
    got = f"{len(wavelength_nm)} pixels"
    if len(wavelength_nm):
        got += f" from {wavelength_nm.min():g} to {wavelength_nm.max():g}"
    if len(wavelength_nm) != len(MR_WAVELENGTH_NM) or not np.allclose(wavelength_nm, MR_WAVELENGTH_NM, 0, 1e-3):
        raise InputError(f"{name}: wavelength: expected 4096 pixels from 710 to 884.957 nm, got {got}")


def _read_arrays(path: Path) -> EtcGrid:
    try:
        with np.load(BytesIO(read_bytes(path)), allow_pickle=False) as arrays:
            missing = ARRAYS.keys() - set(arrays.files)
            if missing:
                raise InputError(f"{path}: expected an array {sorted(missing)[0]!r}, found: {', '.join(arrays.files)}")
            table = {name: arrays[name].astype(float) for name in ARRAYS}
    except BayesdenError:
        raise
    except (ValueError, OSError, EOFError, KeyError, zipfile.BadZipFile) as error:
        raise InputError(f"{path}: expected a sound npz file, got: {' '.join(str(error).split())[:200]}") from None
    for name, ndim in ARRAYS.items():
        if table[name].ndim != ndim:
            raise InputError(f"{path}: {name}: expected {ndim} axes, got shape {table[name].shape}")
    axes = [table[name] for name in ("seeing_arcsec", "zenith_ang_deg", "field_ang_deg")]
    moon = [table[name] for name in ("moon_zenith_ang_deg", "moon_target_ang_deg", "moon_phase")]
    shape = (*(len(axis) for axis in axes), len(moon[0]), len(table["wavelength_nm"]))
    if any(len(column) != shape[3] for column in moon):
        raise InputError(f"{path}: moon: expected three columns of one length, got {[len(c) for c in moon]}")
    cubes = {}
    for name in ("conversion_factor", "sky_e", "noise_variance_e2"):
        try:
            cubes[name] = np.broadcast_to(table[name], shape)
        except ValueError:
            raise InputError(
                f"{path}: {name}: expected a shape that broadcasts to {shape}, got {table[name].shape}"
            ) from None
    return _grid(str(path), axes, np.stack(moon, 1), table["wavelength_nm"], cubes, {})


def _read_run(path: Path) -> tuple[Mapping[str, float], dict[str, NDArray]]:
    """Parameters and columns of one ECSV table, rows of the medium-resolution arm in the order of their pixels."""
    content = read_bytes(path)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            table = Table.read(content.decode("utf-8").splitlines(), format="ascii.ecsv")
    # The parser meets arbitrary text here, YAML included, and raises whatever it leads it to.
    except Exception as error:
        reason = " ".join(str(error).split())[:160]
        raise InputError(f"{path}: expected an ECSV table, got: {reason}") from None
    missing = [name for name in COLUMNS if name not in table.colnames]
    if missing:
        found = ", ".join(table.colnames)
        raise InputError(f"{path}: expected a column {missing[0]!r} (the calculator's snc table), found: {found}")
    for name, unit in UNITS.items():
        if str(table[name].unit).replace(" ", "") != unit:
            raise InputError(f"{path}: {name}: expected unit {unit}, got {table[name].unit}")
    arm = np.asarray(table["arm"])
    if not (arm == MR_ARM).any():
        found = ", ".join(str(a) for a in np.unique(arm))
        raise InputError(f"{path}: expected rows of arm {MR_ARM} (medium resolution), found arms {found}")
    table = table[arm == MR_ARM]
    table.sort("pixel")
    try:
        columns = {name: np.ma.filled(np.ma.asarray(table[name], dtype=float), np.nan) for name in COLUMNS[2:]}
    except (TypeError, ValueError) as error:
        raise InputError(f"{path}: expected columns of numbers, got: {' '.join(str(error).split())[:160]}") from None
    parameters = table.meta.get("params")
    keys = (*PARAMETERS, "exp_time", "exp_num", "sky_sub_floor", "diffuse_stray")
    if not isinstance(parameters, dict) or any(not isinstance(parameters.get(k), int | float) for k in keys):
        raise InputError(f"{path}: expected the run's parameters in the header (params: {', '.join(keys[:4])} ...)")
    return {key: float(parameters[key]) for key in keys}, columns


def _assemble(name: str, runs: list[tuple[Mapping[str, float], dict[str, NDArray]]]) -> EtcGrid:
    """One grid from runs under every combination of conditions."""
    points = [tuple(parameters[key] for key in PARAMETERS) for parameters, _ in runs]
    axes = [np.unique([point[i] for point in points]) for i in range(3)]
    moon = sorted({point[3:] for point in points})
    shape = (*(len(axis) for axis in axes), len(moon))
    if len(set(points)) != len(points) or len(points) != np.prod(shape):
        grid = " x ".join(str(n) for n in shape)
        raise InputError(f"{name}: expected each of {grid} combinations of conditions once, got {len(points)} tables")
    common = ("exp_time", "exp_num", "sky_sub_floor", "diffuse_stray")
    for key in common:
        values = {parameters[key] for parameters, _ in runs}
        if len(values) > 1:
            raise InputError(f"{name}: {key}: expected the same in all tables, got {sorted(values)}")
    first = runs[0][1]["wavelength"]
    cubes = {key: np.empty((*shape, len(first))) for key in ("conversion_factor", "sky", "noise_variance")}
    for point, (_, columns) in zip(points, runs, strict=True):
        _check_wavelength(name, columns["wavelength"])
        where = (
            *(int(np.searchsorted(axis, x)) for axis, x in zip(axes, point[:3], strict=True)),
            moon.index(point[3:]),
        )
        for key, cube in cubes.items():
            cube[where] = columns[key]
    named = {"sky_e": cubes["sky"], "noise_variance_e2": cubes["noise_variance"]}
    cubes = {"conversion_factor": cubes["conversion_factor"], **named}
    return _grid(name, axes, np.array(moon), first, cubes, {key: runs[0][0][key] for key in common})


def _grid(
    name: str,
    axes: list[NDArray],
    moon: ArrayLike,
    wavelength: NDArray,
    cubes: dict[str, NDArray],
    run: Mapping[str, float],
) -> EtcGrid:
    """Check arrays of shape (S, Z, F, M, D), and leave out the axes that a quantity does not depend on."""
    _check_wavelength(name, wavelength)
    for axis in axes:
        if not (np.diff(axis) > 0).all() or not len(axis):
            raise InputError(f"{name}: expected ascending seeing, zenith and field angles, got {axis.tolist()}")
    _check_values(name, "conversion_factor", cubes["conversion_factor"], positive=True)
    _check_values(name, "noise_variance", cubes["noise_variance_e2"])
    _check_values(name, "sky", cubes["sky_e"])
    reduced = {}
    for key, cube in cubes.items():
        axis = 3 if key == "conversion_factor" else 0
        reduced[key] = cube.take(0, axis)
        if not np.allclose(cube, np.expand_dims(reduced[key], axis), 1e-5, 0):
            raise InputError(f"{name}: {key}: expected no dependence on the {'moon' if axis else 'seeing'}, found one")
    options = {}
    if run:
        options = {
            "exposure_s": run["exp_time"],
            "count": int(run["exp_num"]),
            "floor": run["sky_sub_floor"],
            "stray": run["diffuse_stray"],
        }
    return EtcGrid(
        name,
        *axes,
        np.asarray(moon, dtype=float),
        wavelength,
        reduced["conversion_factor"],
        reduced["sky_e"],
        reduced["noise_variance_e2"],
        **options,
    )
