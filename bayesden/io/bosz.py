r"""Files of the BOSZ grids of synthetic stellar spectra, as the MAST archive distributes them.

2017 release: one spectrum per file, wavelengths inside, in vacuum throughout.

- ``amm13cp00op00t3500g45v20modrt0b50000rs.fits``: [M/H] = -1.25, [C/M] = 0, [α/M] = 0 (one decimal, the quarters rounded
  up), T_eff, 10 log g, 10 × microturbulence in km/s, rotation, R. A binary table in HDU 1 with the columns ``Wavelength``
  (Å), ``SpecificIntensity`` and ``Continuum``.
- The same name with ``.asc.bz2``: those three columns as text.

2024 release: ``bosz2024_mp_t5000_g+5.0_m+0.00_a+0.00_c+0.00_v0_r50000_resam.txt.gz``, two columns of text without a header:
Eddington flux H and its continuum, erg/s/cm²/Å/sr (4π H leaves the surface). The wavelengths are in one file per resolution,
``bosz2024_wave_r50000.txt``: Å, in *air* above 2000 Å. The first letters are the model atmosphere: ``mp`` and ``ms`` MARCS,
plane-parallel and spherical (up to 8000 K), ``ap`` ATLAS9 (from 7500 K).

Names, columns and layout are those that readers of both releases by others agree on. That the 2024 wavelengths are in air
is not in the files: it is Synspec's convention, and what measured line cores give (the 2017 ones give vacuum). The
wavelengths of 2017 are rounded to 0.001 Å. Whether 2017's ``SpecificIntensity`` needs the same 4π is not confirmed here;
nothing that scales spectra to a magnitude depends on it.

References:
    Bohlin et al. (2017), AJ 153, 234, appendix; Mészáros et al. (2024), A&A 688, A197; doi:10.17909/T95G68, CC BY 4.0.
    Air to vacuum: Ciddor (1996), Applied Optics 35, 1566.
"""

import bz2
import gzip
import re
import warnings
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ..errors import InputError
from .files import is_table, open_fits

__all__ = ["BoszFile", "find_bosz", "parse_bosz", "read_bosz_spectrum", "read_bosz_wavelength", "vacuum_wavelength"]

MEDIA = {"2017": "vacuum", "2024": "air"}  # above 2000 Å
ENDINGS = (".fits", ".asc.bz2", ".txt.gz")
NAME_2017 = re.compile(
    r"a(?P<feh>m[mp]\d\d)(?P<carbon>c[mp]\d\d)(?P<alpha>o[mp]\d\d)t(?P<teff>\d{4,5})g(?P<logg>\d\d)v(?P<vturb>\d\d)"
    r"modrt(?P<rotation>\d+)b(?P<resolution>\d+)rs\.(fits|asc\.bz2)"
)
NAME_2024 = re.compile(
    r"bosz2024_(?P<atmosphere>ap|mp|ms)_t(?P<teff>\d{4,5})_g(?P<logg>[+-]\d\.\d)_m(?P<feh>[+-]\d\.\d\d)"
    r"_a(?P<alpha>[+-]\d\.\d\d)_c(?P<carbon>[+-]\d\.\d\d)_v(?P<vturb>\d)_r(?P<resolution>\d+)_resam\.txt\.gz"
)
EXAMPLES = (
    "amm13cp00op00t3500g45v20modrt0b50000rs.fits",
    "bosz2024_mp_t5000_g+5.0_m+0.00_a+0.00_c+0.00_v0_r50000_resam.txt.gz",
)
DAMAGE = (OSError, EOFError, ValueError, zlib.error)  # what decompressing and parsing a damaged text raise


@dataclass(frozen=True)
class BoszFile:
    """What the name of a spectrum's file says.

    Arguments:
        path: The file.
        release: `2017` or `2024`.
        teff_K, logg, feh, alpha_fe, carbon_fe: Of the model; [M/H], [α/M] and [C/M].
        vturb_kms: Microturbulence.
        resolution: R.
        atmosphere: `ap`, `mp` or `ms`.
    """

    path: Path
    release: str
    teff_K: float
    logg: float
    feh: float
    alpha_fe: float
    carbon_fe: float
    vturb_kms: float
    resolution: int
    atmosphere: str


def _quarter(code: str) -> float:
    """The abundance of a code such as `mm13` (-1.25): a multiple of 0.25, rounded up to one decimal."""
    return (-1 if code[1] == "m" else 1) * round(int(code[2:]) / 2.5) / 4


def parse_bosz(path: Path) -> BoszFile:
    """Read a file's name.

    Raises:
        InputError: if it is not that of a resampled BOSZ spectrum.
    """
    if match := NAME_2017.fullmatch(path.name):
        abundances = [_quarter(match[key]) for key in ("feh", "alpha", "carbon")]
        tenths = int(match["logg"]) / 10, int(match["vturb"]) / 10
        return BoszFile(
            path, "2017", float(match["teff"]), tenths[0], *abundances, tenths[1], int(match["resolution"]), "ap"
        )
    if match := NAME_2024.fullmatch(path.name):
        values = [float(match[key]) for key in ("teff", "logg", "feh", "alpha", "carbon", "vturb")]
        return BoszFile(path, "2024", *values, int(match["resolution"]), match["atmosphere"])
    raise InputError(f"{path}: expected the name of a BOSZ spectrum such as {' or '.join(EXAMPLES)}, got another")


def find_bosz(folder: Path) -> list[BoszFile]:
    """The spectra of a folder and the folders in it, sorted by name; none of them is opened.

    Raises:
        InputError: if there are none, or a FITS, ``.asc.bz2`` or ``.txt.gz`` file has another name.
    """
    if not folder.is_dir():
        raise InputError(
            f"{folder}: expected a folder of BOSZ spectra, got {'a file' if folder.exists() else 'nothing'}"
        )
    paths = sorted(p for p in folder.rglob("*") if p.name.endswith(ENDINGS) and not p.name.startswith("bosz2024_wave_"))
    if not paths:
        raise InputError(f"{folder}: expected BOSZ spectra ({', '.join(f'*{e}' for e in ENDINGS)}), found none")
    return [parse_bosz(path) for path in paths]


def vacuum_wavelength(air_A: NDArray) -> NDArray:
    """Vacuum wavelengths of air wavelengths above 2000 Å (Ciddor 1996); those below are vacuum already."""
    vacuum = air_A
    for _ in range(3):  # the index wants the vacuum wavelength; converges by 1e-4 each time
        wavenumber = (1e4 / vacuum) ** 2
        index = 1 + 5.792105e-2 / (238.0185 - wavenumber) + 1.67917e-3 / (57.362 - wavenumber)
        vacuum = np.where(air_A > 2000, air_A * index, air_A)
    return vacuum


def _columns(path: Path, rows: slice | None = None, columns: tuple[int, ...] | None = None) -> NDArray:
    """Columns of a text file, compressed or not, shape (rows, columns); only what is asked for is read."""
    openers = {".gz": gzip.open, ".bz2": bz2.open}
    try:
        with openers.get(path.suffix, open)(path, "rt", encoding="ascii") as handle, warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)  # of no rows: the caller counts
            lines: Iterator[str] = handle if rows is None else islice(handle, rows.start, rows.stop)
            return np.loadtxt(lines, usecols=columns, ndmin=2)
    except DAMAGE as error:
        raise InputError(f"{path}: expected a sound text file of columns, got: {error}") from None


def read_bosz_wavelength(folder: Path, resolution: int, medium: str | None = None) -> NDArray:
    """The wavelengths that spectra of the 2024 release share, vacuum Å.

    Arguments:
        folder: Where their file is looked for, and in the folders in it.
        resolution: R.
        medium: `air` or `vacuum`: what the file holds; air by default.

    Raises:
        InputError: if they are missing, damaged or not ascending.
    """
    name = f"bosz2024_wave_r{resolution}.txt"
    found = sorted(folder.rglob(name))
    if not found:
        raise InputError(f"{folder}: expected the wavelengths of the 2024 release, {name}, found none")
    return _in_vacuum(_ascending(_columns(found[0])[:, 0], found[0]), medium or MEDIA["2024"])


def read_bosz_spectrum(
    file: BoszFile, low_A: float, high_A: float, shared: NDArray | None = None, medium: str | None = None
) -> tuple[NDArray, NDArray]:
    """Wavelengths (vacuum Å) and flux of a spectrum, from two samples below to two above a range.

    Arguments:
        file: The spectrum.
        low_A, high_A: The range, vacuum Å.
        shared: Those of the 2024 release, from `read_bosz_wavelength`.
        medium: `air` or `vacuum`: what wavelengths inside the file are; vacuum by default.

    Raises:
        InputError: if the file is damaged, does not cover the range, or holds values that are not finite.
    """
    if shared is not None:
        table, wavelength = None, shared
    else:
        if file.path.suffix == ".fits":
            table = _fits_columns(file.path, ("wavelength", "specificintensity"))
        else:
            table = _columns(file.path, columns=(0, 1))
        wavelength = _in_vacuum(_ascending(table[:, 0], file.path), medium or MEDIA["2017"])
    start, stop = np.searchsorted(wavelength, low_A) - 2, np.searchsorted(wavelength, high_A) + 2
    if start < 0 or stop > len(wavelength):
        span = f"{wavelength[0]:.2f} to {wavelength[-1]:.2f}"
        raise InputError(f"{file.path}: expected wavelengths around {low_A:.2f} to {high_A:.2f} Angstrom, got {span}")
    flux = _columns(file.path, slice(start, stop), (0,))[:, 0] if table is None else table[start:stop, 1]
    if len(flux) != stop - start:
        raise InputError(f"{file.path}: truncated: expected {stop:,} rows, got {start + len(flux):,}")
    if not np.isfinite(flux).all():
        raise InputError(f"{file.path}: expected finite flux, got {flux[~np.isfinite(flux)][0]}")
    return wavelength[start:stop], flux


def _in_vacuum(wavelength: NDArray, medium: str) -> NDArray:
    if medium not in ("air", "vacuum"):
        raise InputError(f"medium: expected air or vacuum, got {medium!r}")
    return vacuum_wavelength(wavelength) if medium == "air" else wavelength


def _ascending(wavelength: NDArray, path: Path) -> NDArray:
    if len(wavelength) < 2 or not (np.diff(wavelength) > 0).all() or wavelength[0] <= 0:
        raise InputError(f"{path}: expected ascending wavelengths in Angstrom, got others")
    return wavelength


def _fits_columns(path: Path, names: tuple[str, ...]) -> NDArray:
    """Columns of HDU 1, whatever the case of their names, shape (rows, columns)."""
    with open_fits(path) as (hdus, _):
        table = hdus[1] if len(hdus) > 1 else None
        if not is_table(table):
            raise InputError(f"{path}: expected a table in HDU 1, got {'none' if table is None else 'an image'}")
        found = {column.lower(): column for column in table.columns.names}
        for name in names:
            if name not in found:
                raise InputError(f"{path}: HDU 1 has no column {name!r} (found: {', '.join(table.columns.names)})")
        return np.array([np.ravel(table.data[found[name]]) for name in names], dtype=float).T
