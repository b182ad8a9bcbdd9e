r"""Writes spectra as SDSS's "full" spec files, so that simulations and examples look like the survey's own.

The inverse of `read_sdss`: arms of exposures on native log-wavelength pixels go in; a file in the format of SDSS-I/II
(`"sdss"`), BOSS and eBOSS (`"boss"`) or SDSS-V (`"sdss-v"`) comes out.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from io import BytesIO
from pathlib import Path

import numpy as np
from astropy.io import fits
from numpy.typing import NDArray

from ..errors import InputError
from ..spectrum import Grid
from .files import write_bytes
from .resample import resample_arrays
from .sppixmask import BAD, SPPIXMASK

__all__ = ["ArmSpectrum", "coadd_arms", "write_spec"]

STYLES = ("sdss", "boss", "sdss-v")
STEP = 1e-4  # log10 wavelength per pixel of the survey's coadds
FLUX_UNIT = "1E-17 erg/cm^2/s/Ang"


@dataclass(frozen=True, eq=False)
class ArmSpectrum:
    """What one camera saw in one exposure, on its own pixels.

    Arguments:
        camera: `b1`, `b2` (blue) or `r1`, `r2` (red).
        exposure: The exposure's number.
        loglam: log10 of the vacuum wavelength in Å, shape :math:`(N,)`, ascending.
        flux: Flux density, same shape, in 1e-17 erg/cm²/s/Å.
        ivar: Its inverse variance, same shape; 0 where rejected.
        mask: SPPIXMASK bits, same shape; none set by default.
        or_mask: For coadds, the bits that any of the spectra had, same shape; `mask` by default.
        model: For coadds, the noise-free spectrum, same shape; 0 by default.
    """

    camera: str
    exposure: int
    loglam: NDArray
    flux: NDArray
    ivar: NDArray
    mask: NDArray | None = None
    or_mask: NDArray | None = None
    model: NDArray | None = None

    def __post_init__(self) -> None:
        shape = np.shape(self.loglam)
        if self.mask is None:
            object.__setattr__(self, "mask", np.zeros(shape, np.int32))
        if self.or_mask is None:
            object.__setattr__(self, "or_mask", self.mask)
        if self.model is None:
            object.__setattr__(self, "model", np.zeros(shape))
        for key in ("flux", "ivar", "mask", "or_mask", "model"):
            if np.shape(getattr(self, key)) != shape or len(shape) != 1:
                came = f"{np.shape(getattr(self, key))} beside loglam of {shape}"
                raise InputError(f"{self.camera}-{self.exposure:08d}: {key}: expected shape (N,), got {came}")

    @property
    def size(self) -> int:
        """The number of pixels :math:`N`."""
        return len(self.loglam)


def coadd_arms(arms: Sequence[ArmSpectrum]) -> ArmSpectrum:
    """The inverse-variance mean of exposures and arms on the survey's common pixels, `STEP` apart.

    Arguments:
        arms: Any number of spectra.

    Returns:
        A spectrum whose `mask` has the bits that all of the spectra have at a pixel, `or_mask` those that any has.
    """
    first = np.ceil(min(arm.loglam[0] for arm in arms) / STEP - 1e-6)
    last = np.floor(max(arm.loglam[-1] for arm in arms) / STEP + 1e-6)
    loglam = np.arange(first, last + 1) * STEP
    grid = Grid(10.0**loglam)
    total, weight = np.zeros(grid.size), np.zeros(grid.size)
    every, some = np.full(grid.size, -1, np.int32), np.zeros(grid.size, np.int32)
    for arm in arms:
        bad = (np.asarray(arm.mask) & BAD) != 0
        values = (np.asarray(value)[None] for value in (arm.flux, arm.ivar, bad))
        flux, ivar, _ = (value[0] for value in resample_arrays(Grid(10.0 ** np.asarray(arm.loglam)), *values, grid))
        total += flux * ivar
        weight += ivar
        nearest = np.clip(np.searchsorted(arm.loglam, loglam - STEP / 2), 0, arm.size - 1)
        inside = (loglam >= arm.loglam[0] - STEP / 2) & (loglam <= arm.loglam[-1] + STEP / 2)
        bits = np.asarray(arm.mask, np.int32)[nearest]
        every[inside] &= bits[inside]
        some[inside] |= bits[inside]
    nodata = 1 << SPPIXMASK["NODATA"]
    every[every == -1] = nodata
    flux = total / np.where(weight > 0, weight, 1.0)
    return ArmSpectrum("b1", 0, loglam, flux, weight, mask=every, or_mask=some | (every & nodata))


def write_spec(
    path: str | Path,
    arms: Sequence[ArmSpectrum],
    *,
    coadd: ArmSpectrum | None = None,
    style: str = "boss",
    plate: int = 0,
    mjd: int = 0,
    fiber: int = 0,
    facts: Mapping[str, str | int | float] | None = None,
    cards: Mapping[str, str | int | float] | None = None,
    upper_case: bool | None = None,
    exposure_headers: bool = True,
    overwrite: bool = False,
) -> None:
    """Write one object's exposures and their coadd as a spec file, whole or not at all.

    Arguments:
        path: Where the file shall be.
        arms: One spectrum per exposure and arm, each exposure with one arm or both; none gives a "lite" file.
        coadd: The coadd; by default `coadd_arms(arms)`.
        style: `sdss` (SDSS-I/II: HDU 2 is SPECOBJ, blue arms run from red to blue), `boss` (BOSS and eBOSS: SPALL), or
            `sdss-v` (one table per exposure, its arms joined).
        plate: Plate number (SDSS-V: field).
        mjd: Modified Julian date.
        fiber: Fiber number (SDSS-V: written as the catalogue number too).
        facts: Columns of HDU 2, such as `CLASS`, `SUBCLASS`, `Z`; they replace the defaults.
        cards: Further cards of the primary header.
        upper_case: Whether column names are in upper case; by default as the style has them.
        exposure_headers: Whether exposures' tables keep their names and cards; some releases strip them.
        overwrite: Whether an existing file may be replaced.

    Raises:
        InputError: if the style is unknown, there is nothing to write, or an arm comes twice.
        OutputError: if the file exists, or its folder cannot be written.
    """
    if style not in STYLES:
        raise InputError(f"style: expected one of {', '.join(STYLES)}, got {style!r}")
    if not arms and coadd is None:
        raise InputError(f"{path}: expected at least one arm of one exposure, or a coadd, got neither")
    twice = {(arm.camera, arm.exposure) for arm in arms}
    if len(twice) != len(arms):
        raise InputError(f"{path}: expected each camera once per exposure, got one twice")
    coadd = coadd or coadd_arms(arms)
    upper = style == "sdss-v" if upper_case is None else upper_case
    primary = _primary(arms, coadd, {"PLATEID": plate, "MJD": mjd, "FIBERID": fiber, **(cards or {})})
    row = {"CLASS": "STAR", "SUBCLASS": "", "Z": 0.0, "Z_ERR": 0.0, "ZWARNING": 0, "PLATE": plate, "MJD": mjd}
    row |= {"FIELD": plate, "CATALOGID": fiber} if style == "sdss-v" else {"FIBERID": fiber}
    row |= {"SN_MEDIAN_ALL": _snr(coadd)} | dict(facts or {})
    hdus = [primary, _table(_coadd_columns(coadd, style), "COADD", upper)]
    hdus.append(_table({key: np.array([value]) for key, value in row.items()}, _FACTS_NAME[style], None))
    for name in {"sdss-v": ("ZALL", "ZLINE")}.get(style, ("SPZLINE",)):
        hdus.append(_table({"LINENAME": np.zeros(0, "U13"), "LINEWAVE": np.zeros(0)}, name, None))
    hdus.extend(_exposures(arms, style, mjd, upper, exposure_headers))
    content = BytesIO()
    fits.HDUList(hdus).writeto(content)
    write_bytes(Path(path), content.getvalue(), overwrite=overwrite)


_FACTS_NAME = {"sdss": "SPECOBJ", "boss": "SPALL", "sdss-v": "SPALL"}


def _primary(arms: Sequence[ArmSpectrum], coadd: ArmSpectrum, cards: Mapping) -> fits.PrimaryHDU:
    header = fits.Header()
    header["TELESCOP"] = "SDSS 2.5-M"
    header["NEXP"] = (len(arms), "number of exposures and arms")
    for number, arm in enumerate(_ordered(arms), 1):
        header[f"EXPID{number:02d}"] = _name(arm, arms)
    header["VACUUM"] = (True, "wavelengths are in vacuum")
    header["COEFF0"] = (float(coadd.loglam[0]), "log10 wavelength of the first pixel")
    header["COEFF1"] = (STEP, "log10 dispersion per pixel")
    header["BUNIT"] = FLUX_UNIT
    header.update(cards)
    return fits.PrimaryHDU(header=header)


def _exposures(
    arms: Sequence[ArmSpectrum], style: str, mjd: int, upper: bool, headers: bool
) -> Iterator[fits.BinTableHDU]:
    if style == "sdss-v":
        for count, number in enumerate(sorted({arm.exposure for arm in arms})):
            joined = coadd_arms([arm for arm in arms if arm.exposure == number])
            columns = _coadd_columns(joined, style)
            columns.pop("model")
            yield _table(columns, f"MJD_EXP_{mjd:05d}-{count:02d}" if headers else "", upper)
        return
    for arm in _ordered(arms):
        if style == "sdss" and arm.camera.startswith("b"):
            arm = _reversed(arm)
        columns = _common(arm) | {"mask": np.asarray(arm.mask, ">i4")}
        columns |= {key: np.ones(arm.size, ">f4") for key in ("wdisp", "sky", "calib")}
        if style == "boss":
            columns["x"] = np.arange(arm.size, dtype=">f4")
        cards = {"CAMERAS": arm.camera, "EXPOSURE": arm.exposure, "VACUUM": True} if headers else {}
        yield _table(columns, _name(arm, arms).upper() if headers else "", upper, cards)


def _ordered(arms: Sequence[ArmSpectrum]) -> list[ArmSpectrum]:
    return sorted(arms, key=lambda arm: (arm.camera, arm.exposure))


def _reversed(arm: ArmSpectrum) -> ArmSpectrum:
    keys = ("loglam", "flux", "ivar", "mask", "or_mask", "model")
    return replace(arm, **{key: np.asarray(getattr(arm, key))[::-1] for key in keys})


def _name(arm: ArmSpectrum, arms: Sequence[ArmSpectrum]) -> str:
    """Camera, exposure, and the numbers of its flat and arc, which are taken first."""
    first = min(other.exposure for other in arms)
    return f"{arm.camera}-{arm.exposure:08d}-{max(first - 2, 0):08d}-{max(first - 3, 0):08d}"


def _common(arm: ArmSpectrum) -> dict[str, NDArray]:
    return {key: _single(getattr(arm, key)) for key in ("flux", "loglam", "ivar")}


def _single(values: NDArray) -> NDArray:
    """As SDSS writes them; what single precision cannot hold is infinite, which readers take for bad."""
    with np.errstate(over="ignore"):
        return np.asarray(values, ">f4")


def _coadd_columns(coadd: ArmSpectrum, style: str) -> dict[str, NDArray]:
    columns = _common(coadd)
    columns |= {"and_mask": np.asarray(coadd.mask, ">i4"), "or_mask": np.asarray(coadd.or_mask, ">i4")}
    columns |= {"wdisp": np.ones(coadd.size, ">f4"), "sky": np.zeros(coadd.size, ">f4")}
    if style == "sdss-v":
        columns["wresl"] = np.ones(coadd.size, ">f4")
    return columns | {"model": _single(coadd.model)}


def _table(
    columns: Mapping[str, NDArray], name: str, upper: bool | None, cards: Mapping | None = None
) -> fits.BinTableHDU:
    if upper is not None:
        columns = {key.upper() if upper else key.lower(): value for key, value in columns.items()}
    made = [fits.Column(key, _form(np.asarray(value)), array=np.asarray(value)) for key, value in columns.items()]
    hdu = fits.BinTableHDU.from_columns(made, name=name or None)
    hdu.header.update(cards or {})
    return hdu


def _form(array: NDArray) -> str:
    """The FITS format of a column: SDSS writes single precision, except where the array is not."""
    if array.dtype.kind in "US":
        return f"{max(array.dtype.itemsize // (4 if array.dtype.kind == 'U' else 1), 1)}A"
    repeat = array.shape[1] if array.ndim == 2 else ""
    return f"{repeat}{ {'f4': 'E', 'f8': 'D', 'i4': 'J', 'i8': 'K'}[array.dtype.str[1:]] }"


def _snr(coadd: ArmSpectrum) -> float:
    good = coadd.ivar > 0
    return float(np.median(coadd.flux[good] * np.sqrt(coadd.ivar[good]))) if good.any() else 0.0
