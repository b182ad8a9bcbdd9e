r"""Reads the spec files of SDSS-I to SDSS-V, coadd or single exposures.

A "full" file holds the coadd in HDU 1, facts on the object in HDU 2, and after those one table per exposure and arm
(SDSS-I to SDSS-IV) or per exposure (SDSS-V); a "lite" file ends before them. Tables are recognised by their columns
`flux`, `loglam` and `ivar` in upper or lower case, and paired by exposure number and camera, which come from the
extension's name (``B1-00131838-00131836-00131835``), else from its header (``CAMERAS``, ``EXPOSURE``), else from the
primary header's list (``EXPID01`` ...). Wavelengths are vacuum and heliocentric as the survey writes them.

References:
    https://data.sdss.org/datamodel/files/BOSS_SPECTRO_REDUX/RUN2D/spectra/PLATE4/spec.html (SDSS-I to SDSS-IV);
    https://github.com/sdss/idlspec2d, the pipeline that writes them (SDSS-V: HDUs ``MJD_EXP_59146-00`` ...).
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from astropy.io import fits
from numpy.typing import NDArray

from ..errors import InputError
from ..spectrum import ARM_BLUE, ARM_RED, Exposure, Grid, Observation
from .files import is_table, open_fits
from .resample import overlap_matrix, resample_arrays, resampling_correlation
from .sppixmask import BAD, MASK_POLICIES

__all__ = ["read_sdss"]

FLUX_UNIT = "1E-17 erg/cm^2/s/Ang"
COLUMNS = ("flux", "loglam", "ivar")
BLUE_UNTIL_A, RED_FROM_A = 6400.0, 5600.0  # no SDSS or BOSS camera sees beyond these

_CAMERA = re.compile(r"(?:sdr-)?([br])([12])-0*(\d+)", re.IGNORECASE)
_SDSS_V = re.compile(r"MJD_EXP_0*(\d+)-(\d+)", re.IGNORECASE)


@dataclass(frozen=True)
class _Spectrum:
    """One table of flux on its own pixels."""

    name: str
    exposure: str  # as the survey writes it
    key: tuple  # spectra of one key are arms of one exposure; keys sort by exposure number
    arm: int | None  # None: arms are already joined
    native: Grid
    flux: NDArray
    ivar: NDArray
    bad: NDArray
    sky: NDArray  # 0 where the file does not say


def read_sdss(path: str | Path, *, grid: Grid | None = None, mask_policy: str = "and") -> Observation:
    r"""Read one SDSS spec file onto a wavelength grid.

    Each arm of each exposure is resampled with its variance; where both arms are good they are joined by inverse
    variance. A new pixel that a bad native pixel touches is masked, never imputed. A file without single exposures
    gives its coadd, :math:`E = 1`.

    Always bad: ivar that is 0 or not finite, flux that is not finite. Further, by `mask_policy`, pixels whose SPPIXMASK
    has one of NOPLUG, BADTRACE, BADFLAT, BADARC, FULLREJECT, NOSKY, NODATA, BADFLUXFACTOR, COMBINEREJ (cosmic rays),
    BADSKYCHI or REDMONSTER; the other bits, such as BRIGHTSKY, warn of noise that ivar already describes.

    Arguments:
        path: The file.
        grid: Wavelengths of the result; by default that of Kang et al. (2021).
        mask_policy: For tables with two masks (coadds; SDSS-V exposures) `and` takes the mask of what is bad in all of
            the spectra that were combined, `or` that of what is bad in any of them. A single exposure of SDSS-I to
            SDSS-IV has one mask, which both take. `none` goes by ivar alone. (The default leaves the 5577 Å residual in
            many coadds; `or` masks it, and with it a tenth of an SDSS-I coadd and over a third of a BOSS one.)

    Returns:
        The exposures in the order of their numbers; those without a good pixel on the grid are left out.

    Raises:
        InputError: if the file is not a sound SDSS spec file, or has no good pixel on the grid.

    Example:
        >>> read_sdss("data/example-spec.fits", grid=Grid.uniform(8000.0, 9000.0, 500)).flux.shape
        (4, 500)
    """
    path, grid = Path(path), grid or Grid.uniform()
    if mask_policy not in MASK_POLICIES:
        raise InputError(f"mask policy: expected one of {', '.join(MASK_POLICIES)}, got {mask_policy!r}")
    with open_fits(path) as (hdus, sha256):
        coadd = _coadd(path, hdus, mask_policy)
        spectra = list(_exposures(path, hdus, mask_policy)) or [coadd]
        meta = {"file": path.name, "sha256": sha256, "mask_policy": mask_policy, **_facts(hdus)}
        meta["velocity_frame"] = "heliocentric"  # the survey has shifted its wavelengths
        if hdus[0].header.get("VACUUM", True) in (False, "F"):
            raise InputError(f"{path}: expected vacuum wavelengths, got VACUUM = F in the primary header")
        unit = str(hdus[0].header.get("BUNIT", FLUX_UNIT)).strip() or FLUX_UNIT
    joined = _join(path, spectra, grid)
    rows = {key: np.stack([values[key] for _, values in joined]) for key in joined[0][1]}
    if not rows["sky"].any():
        del rows["sky"]
    return Observation(
        wavelength=grid.wavelength,
        **rows,
        exposures=tuple(exposure for exposure, _ in joined),
        name=path.name.removesuffix(".gz").removesuffix(".fits") or path.name,
        flux_unit=unit,
        meta=meta,
    )


def _coadd(path: Path, hdus: fits.HDUList, policy: str) -> _Spectrum:
    wanted = f"{path}: expected an SDSS spec file with columns flux, loglam, ivar in HDU 1"
    if len(hdus) < 2:
        raise InputError(f"{wanted}, found only the primary HDU")
    if not is_table(hdus[1]):
        raise InputError(f"{wanted}, found an image")
    missing = [name for name in COLUMNS if name not in _columns(hdus[1])]
    if missing:
        found = ", ".join(hdus[1].columns.names)[:200] or "none"
        raise InputError(f"{path}: HDU 1 has no column '{missing[0]}' (found: {found})")
    name = hdus[1].name or "COADD"
    return _spectrum(path, hdus, 1, policy, name=name, exposure="coadd", key=(0,), arm=None)


def _exposures(path: Path, hdus: fits.HDUList, policy: str) -> Iterator[_Spectrum]:
    """The tables after HDU 1 that are spectra."""
    numbers = [i for i in range(2, len(hdus)) if is_table(hdus[i]) and set(COLUMNS) <= set(_columns(hdus[i]))]
    header = hdus[0].header
    listed = [str(header[key]) for key in sorted(header) if re.fullmatch(r"EXPID\d+", key)]
    seen: dict[tuple, int] = {}
    for place, number in enumerate(numbers):
        label = listed[place] if len(listed) == len(numbers) else ""
        identity = _identify(hdus[number], label)
        spectrum = _spectrum(path, hdus, number, policy, **identity or _unnamed(hdus[number], number))
        twin = seen.setdefault((spectrum.key, spectrum.arm), number)
        if twin != number:
            raise InputError(f"{path}: HDU {number} ({spectrum.name}): expected a new exposure, got that of HDU {twin}")
        yield spectrum


def _identify(hdu: fits.BinTableHDU, listed: str) -> dict | None:
    """Exposure and arm of a table, from the first of its names that tells."""
    header = hdu.header
    in_header = f"{header.get('CAMERAS', '')}-{header.get('EXPOSURE', '')}".replace(" ", "")
    for name in (hdu.name, in_header, listed):
        if match := _SDSS_V.match(name):
            mjd, count = match.groups()
            return {"name": name, "exposure": f"{mjd}-{count}", "key": (int(mjd), int(count)), "arm": None}
        if match := _CAMERA.match(name):
            camera, spectrograph, number = match.groups()
            arm = ARM_BLUE if camera.lower() == "b" else ARM_RED
            key = (int(number), int(spectrograph))
            return {"name": name.lower(), "exposure": f"{int(number):08d}", "key": key, "arm": arm}
    return None


def _unnamed(hdu: fits.BinTableHDU, number: int) -> dict:
    """A table that nothing names stands for itself; what it covers tells its arm."""
    loglam = np.asarray(hdu.data[_columns(hdu)["loglam"]], dtype=np.float64)
    arm = ARM_BLUE if loglam.max(initial=0.0) < np.log10(BLUE_UNTIL_A) else ARM_RED
    if loglam.size and loglam.min() < np.log10(RED_FROM_A) and arm == ARM_RED:
        arm = None
    return {"name": f"HDU {number}", "exposure": f"HDU {number}", "key": (number,), "arm": arm}


def _spectrum(path: Path, hdus: fits.HDUList, number: int, policy: str, *, name: str, **identity: object) -> _Spectrum:
    where = f"{path}: HDU {number} ({name})"
    columns, data = _columns(hdus[number]), hdus[number].data
    values = {}
    for column in COLUMNS:
        values[column] = np.asarray(data[columns[column]])
        if values[column].ndim != 1 or values[column].dtype.kind not in "fiu":
            got = f"{values[column].dtype} of shape {values[column].shape}"
            raise InputError(f"{where}: column '{columns[column]}': expected one number per pixel, got {got}")
    flux, loglam, ivar = (values[column].astype(np.float64) for column in COLUMNS)
    bad = np.zeros(flux.shape, bool)
    mask = {"none": None, "and": columns.get("and_mask"), "or": columns.get("or_mask")}[policy]
    mask = columns.get("mask") if mask is None and policy != "none" else mask
    if mask is not None:
        bits = np.asarray(data[mask])
        if bits.shape != flux.shape or bits.dtype.kind not in "iub":
            raise InputError(f"{where}: column '{mask}': expected one integer per pixel, got {bits.dtype}")
        bad |= (bits.astype(np.int64) & BAD) != 0
    sky = np.asarray(data[columns["sky"]], np.float64) if "sky" in columns else np.zeros(flux.shape)
    # SDSS-I wrote its blue cameras in the order of the CCD, from red to blue.
    if hdus[2:3] and hdus[2].name.upper() == "SPECOBJ" and number > 1 and (np.diff(loglam) < 0).all():
        flux, loglam, ivar, bad, sky = (array[::-1].copy() for array in (flux, loglam, ivar, bad, sky))
    with np.errstate(over="ignore"):
        wavelength = 10.0**loglam
    try:
        native = Grid(wavelength)
    except InputError as error:
        raise InputError(f"{where}: column '{columns['loglam']}': {error}") from None
    sky = np.where(np.isfinite(sky), sky, 0.0) if sky.shape == flux.shape else np.zeros(flux.shape)
    return _Spectrum(name=name, native=native, flux=flux, ivar=ivar, bad=bad, sky=sky, **identity)


def _join(path: Path, spectra: list[_Spectrum], grid: Grid) -> list[tuple[Exposure, dict[str, NDArray]]]:
    """Resample every arm, and join the arms of each exposure by inverse variance."""
    exposures: dict[tuple, list[_Spectrum]] = {}
    for spectrum in sorted(spectra, key=lambda s: (s.key, s.arm or 0)):
        exposures.setdefault(spectrum.key, []).append(spectrum)
    joined = []
    for arms in exposures.values():
        values = _merge(arms, grid)
        if not values["mask"].all():
            joined.append((Exposure(arms[0].exposure, tuple(spectrum.name for spectrum in arms)), values))
    if not joined:
        raise InputError(f"{path}: {_why_empty(spectra, grid)}")
    return joined


def _merge(arms: list[_Spectrum], grid: Grid) -> dict[str, NDArray]:
    """The arms of one exposure on the grid, joined by inverse variance, as arguments of `Observation`."""
    flux, weight, sky, covariance = (np.zeros(grid.size) for _ in range(4))
    bits = np.zeros(grid.size, np.uint8)
    for spectrum in arms:
        native, noise = spectrum.native, (spectrum.ivar[None], spectrum.bad[None])
        resampled = resample_arrays(native, spectrum.flux[None], *noise, grid)
        mean, ivar, mask = (value[0] for value in resampled)
        flux += mean * ivar
        weight += ivar
        sky += ivar * (overlap_matrix(native, grid) @ spectrum.sky)
        correlation = resampling_correlation(native, *noise, grid, resampled[1])[0]
        covariance[1:] += correlation[1:] * np.sqrt(ivar[1:] * ivar[:-1])  # of the weighted sums
        bits |= np.where(mask, 0, _arm_bits(spectrum.arm, grid)).astype(np.uint8)
    safe = np.where(weight > 0, weight, 1.0)
    covariance[1:] /= np.sqrt(safe[1:] * safe[:-1])
    values = {"flux": flux / safe, "ivar": weight, "mask": ~(weight > 0), "arm": bits}
    return values | {"sky": sky / safe, "correlation": covariance}


def _arm_bits(arm: int | None, grid: Grid) -> NDArray:
    """The bits of a named arm; for joined arms, those of the cameras that see the wavelength."""
    if arm is not None:
        return np.full(grid.size, arm)
    blue = np.where(grid.wavelength < BLUE_UNTIL_A, ARM_BLUE, 0)
    return blue | np.where(grid.wavelength > RED_FROM_A, ARM_RED, 0)


def _why_empty(spectra: list[_Spectrum], grid: Grid) -> str:
    start, stop = (f(s.native.wavelength[i] for s in spectra) for f, i in ((min, 0), (max, -1)))
    first, last = grid.wavelength[[0, -1]]
    if stop < first or start > last:
        return f"expected wavelengths within {first:.1f} to {last:.1f} Angstrom, got {start:.1f} to {stop:.1f}"
    good = sum(int((np.isfinite(s.flux) & np.isfinite(s.ivar) & (s.ivar > 0) & ~s.bad).sum()) for s in spectra)
    total = sum(s.flux.size for s in spectra)
    return f"expected at least one good pixel on the grid, got none ({good} of {total} native pixels are good)"


def _columns(hdu: fits.BinTableHDU) -> dict[str, str]:
    """Column names as written, by their lower-case names."""
    return {name.lower(): name for name in hdu.columns.names}


def _facts(hdus: fits.HDUList) -> dict[str, str | int | float]:
    """What the survey says of the object, from HDU 2's single row and the primary header; absent facts are left out."""
    header = hdus[0].header
    facts: dict[str, object] = {"wavelength_frame": "vacuum, heliocentric"}
    for key, card in (("plate", "PLATEID"), ("mjd", "MJD"), ("fiber", "FIBERID"), ("run2d", "RUN2D")):
        facts[key] = header.get(card)
    facts["ra_deg"], facts["dec_deg"] = header.get("PLUG_RA"), header.get("PLUG_DEC")
    facts["helio_rv_kms"] = header.get("HELIO_RV")
    if hdus[2:3] and is_table(hdus[2]) and len(hdus[2].data) and "flux" not in _columns(hdus[2]):
        facts["survey_hdu"] = hdus[2].name
        columns, row = _columns(hdus[2]), hdus[2].data[0]
        for key, names in _ROW.items():
            found = [row[columns[name]] for name in names if name in columns]
            facts[key] = found[0] if found else facts.get(key)
        if "sn_median" in columns and np.size(row[columns["sn_median"]]) == 5:
            facts["snr_r"] = row[columns["sn_median"]][2]
    return {key: value for key, value in ((k, _plain(v)) for k, v in facts.items()) if value is not None}


_ROW = {
    "class": ("class",),
    "subclass": ("subclass",),
    "z": ("z",),
    "z_err": ("z_err",),
    "zwarning": ("zwarning",),
    "plate": ("plate", "field"),
    "mjd": ("mjd",),
    "fiber": ("fiberid",),
    "object_id": ("catalogid", "thing_id", "specobjid", "objid"),
    "survey": ("survey",),
    "instrument": ("instrument",),
    "snr": ("sn_median_all",),
}


def _plain(value: object) -> str | int | float | None:
    """A header or table value as a plain Python one; None if it is not a scalar."""
    value = value.item() if isinstance(value, np.generic | np.ndarray) and np.size(value) == 1 else value
    if isinstance(value, bytes):
        value = value.decode("ascii", "replace")
    if isinstance(value, str):
        return value.strip()
    return value if isinstance(value, int | float) else None
