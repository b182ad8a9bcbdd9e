"""Single stellar populations: what galaxies of test bed B4 are mixed of.

The E-MILES populations come with `ppxf` 8.2.6, the optional extra `galaxy`. Their licence allows non-commercial use and no
redistribution: they are read from the user's own installation, and neither they nor what is made of them is in this
repository.

References:
    Vazdekis et al. 2016, MNRAS 463, 3409 (E-MILES); Cappellari 2017, MNRAS 466, 798 (pPXF).
"""

import re
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path

import numpy as np
from astropy.io import fits
from numpy.typing import NDArray

from bayesden.errors import InputError
from bayesden.io.bosz import vacuum_wavelength

__all__ = ["Templates", "ppxf_folder", "read_emiles"]

VERSION = "8.2.6"  # later ones come without the populations
RANGE_A = (3500.0, 7300.0)  # in air; room for velocities beside the bed's pixels
NAME = re.compile(r"Z([mp])(\d\.\d\d)T(\d\d\.\d{4})")
FWHM_A = 2.51


@dataclass(frozen=True, eq=False)
class Templates:
    """Spectra of T single populations, each of one solar mass at birth.

    Arguments:
        wavelength: Equidistant in air but for the conversion, shape (M,), vacuum Å.
        flux: Shape (T, M).
        log_age: Decimal logarithm of the age in years, shape (T,).
        metallicity: [M/H], shape (T,).
        fwhm_A: Resolution, full width at half maximum.
    """

    wavelength: NDArray
    flux: NDArray
    log_age: NDArray
    metallicity: NDArray
    fwhm_A: float = FWHM_A

    def __len__(self) -> int:
        return len(self.flux)


def ppxf_folder() -> Path:
    """Where ppxf is installed.

    Raises:
        InputError: if it is not there, or another version.
    """
    hint = f"pip install 'bayesden[galaxy]' (ppxf {VERSION}; its licence allows non-commercial use only)"
    try:
        found = version("ppxf")
    except PackageNotFoundError:
        raise InputError(f"galaxies: expected the extra 'galaxy', got no ppxf: {hint}") from None
    if found != VERSION:
        raise InputError(f"galaxies: expected ppxf {VERSION}, got {found}: {hint}")
    return Path(find_spec("ppxf").origin).parent


def read_emiles() -> Templates:
    """The 150 E-MILES populations of the installed ppxf, sorted by metallicity, then age.

    Raises:
        InputError: if ppxf or its populations are not there.
    """
    folder = ppxf_folder() / "miles_models"
    keyed = sorted((_key(path), path) for path in folder.glob("Eun1.30*.fits"))
    if not keyed:
        raise InputError(f"{folder}: expected E-MILES populations, found none")
    rows = []
    for _, path in keyed:
        with fits.open(path) as hdus:
            header, flux = hdus[0].header, hdus[0].data
            air = header["CRVAL1"] + header["CDELT1"] * np.arange(header["NAXIS1"])
            inside = (air >= RANGE_A[0]) & (air <= RANGE_A[1])
            rows.append(flux[inside].astype(float))
    metallicity, age_gyr = np.array([key for key, _ in keyed]).T
    return Templates(vacuum_wavelength(air[inside]), np.array(rows), np.log10(age_gyr) + 9, metallicity)


def _key(path: Path) -> tuple[float, float]:
    """Metallicity and age in Gyr from a file's name."""
    sign, metallicity, age = NAME.search(path.name).groups()
    return float(metallicity) * (-1 if sign == "m" else 1), float(age)
