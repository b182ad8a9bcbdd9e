r"""Templates of stars from files: theoretical archetypes, empirical templates, eigenspectra.

A folder may hold, as NumPy ``.npz``, by the arrays in them:

- `wavelength_A`, and for each class X `basis_X` :math:`(R, P)` and `coeff_X` :math:`(n, R)`: archetypes, whose spectra are
  the products of the two (redrock-templates); convolved to R = 2000 here, as they are theoretical;
- `loglam`, `flux`, `name`, `spectral_class`: empirical templates with their classes (PyHammer);
- `loglam`, `flux`, `name`: empirical templates with their classes in the names (the Elodie stars of SDSS's idlspec2d);
- `loglam`, `eigenspectra`: the mean and eigenspectra of cataclysmic variables (idlspec2d).

Other ``.npz`` files are passed over. All wavelengths are in vacuum.
"""

import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from zipfile import BadZipFile

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter1d

from ...errors import InputError
from ...io.files import Source
from ...model.class_prior import CLASSES
from ...spectrum import Grid

__all__ = ["LOGLAM_STEP", "Template", "TemplateSet", "read_templates"]

RESOLUTION = 2000.0  # of SDSS, near the middle of its range
LOGLAM_STEP = 0.5e-4  # half a native SDSS pixel, so that shifting and rebinning stay sharp
LICENCES = {
    "pyhammer": "PyHammer, Kesseli et al. 2017, MIT",
    "elodie": "SDSS idlspec2d spEigenStar, Elodie stars (Prugniel & Soubiran 2001), BSD-3-Clause",
    "cv": "SDSS idlspec2d spEigenCVstar, BSD-3-Clause",
    "archetype": "redrock-templates, BSD-3-Clause",
}


@dataclass(frozen=True, eq=False)
class Template:
    """One rest-frame spectrum: its name, class, and flux on the fine grid of its set."""

    name: str
    spectral_class: str
    flux: NDArray


@dataclass(frozen=True, eq=False)
class TemplateSet:
    r"""All templates of a folder on one fine, logarithmic wavelength grid.

    Arguments:
        wavelength: Fine grid, shape :math:`(P,)`, vacuum Å.
        templates: Empirical templates.
        bases: Archetypes by class: basis vectors on the fine grid :math:`(R, P)` and coefficients :math:`(n, R)`.
        eigenspectra: Mean and eigenspectra of cataclysmic variables, shape :math:`(R, P)`, or None.
        sources: The files.
    """

    wavelength: NDArray
    templates: tuple[Template, ...]
    bases: dict[str, tuple[NDArray, NDArray]]
    eigenspectra: NDArray | None
    sources: tuple[Source, ...]

    def of_class(self, spectral_class: str) -> tuple[Template, ...]:
        """The empirical templates of a class."""
        return tuple(t for t in self.templates if t.spectral_class == spectral_class)

    @cached_property
    def classes(self) -> tuple[str, ...]:
        """The classes that something can be drawn for."""
        found = {t.spectral_class for t in self.templates} | set(self.bases)
        found |= {"CV"} if self.eigenspectra is not None else set()
        return tuple(c for c in CLASSES if c in found)


def _fine_wavelength(grid: Grid, step: float) -> NDArray:
    low, high = np.log10(grid.edges[[0, -1]]) + np.array([-1, 1]) * 0.0025  # room for 1700 km/s
    return 10 ** np.arange(low, high, step)


def _elodie_class(name: str) -> str | None:
    if "WD" in name:
        return "WD"
    if name == "Carbon":
        return "Carbon"
    name = name.removeprefix("sd:")
    return name[:1] if name[:1] in set("OBAFGKM") else None


def _read_empirical(path: Path, fine: NDArray) -> Iterator[Template]:
    with np.load(path, allow_pickle=False) as file:
        wavelength, flux, names = 10 ** file["loglam"], file["flux"].astype(float), file["name"].tolist()
        kind = "pyhammer" if "spectral_class" in file.files else "elodie"
        classes = file["spectral_class"].tolist() if kind == "pyhammer" else [_elodie_class(n) for n in names]
    for name, spectral_class, row in zip(names, classes, flux, strict=True):
        good = np.isfinite(row)
        if spectral_class in CLASSES and good.any():
            values = np.interp(fine, wavelength[good], row[good])
            yield Template(f"{kind}/{name}", spectral_class, values / np.abs(values).mean())


def _read_archetypes(path: Path, fine: NDArray) -> dict[str, tuple[NDArray, NDArray]]:
    with np.load(path, allow_pickle=False) as file:
        wavelength = file["wavelength_A"]
        step = LOGLAM_STEP / 4  # finer than the 0.1 Å of the files only at the red end; the LSF is far wider
        loglam = np.arange(np.log10(fine[0]) - 0.002, np.log10(fine[-1]) + 0.002, step)
        sigma = 1 / (RESOLUTION * np.sqrt(8 * np.log(2)) * np.log(10) * step)
        bases = {}
        for key in file.files:
            if not key.startswith("basis_"):
                continue
            spectral_class = key.removeprefix("basis_")
            rows = [gaussian_filter1d(np.interp(10**loglam, wavelength, row), sigma) for row in file[key].astype(float)]
            basis = np.array([np.interp(np.log10(fine), loglam, row) for row in rows])
            bases[spectral_class] = (basis, file[f"coeff_{spectral_class}"].astype(float))
    return bases


def read_templates(folder: Path, grid: Grid, step: float = LOGLAM_STEP) -> TemplateSet:
    """Read every template file of a folder: PyHammer, Elodie, CV eigenspectra and theoretical archetypes, as ``.npz``.

    Arguments:
        folder: Where the files are.
        grid: The pixels that spectra will be brought to; the fine grid covers them with some room.
        step: Of the fine grid, in log10 of the wavelength.

    Raises:
        InputError: if the folder holds none, or one that cannot be read.
    """
    fine = _fine_wavelength(grid, step)
    templates, bases, eigenspectra, sources = [], {}, None, []
    for path in sorted(folder.glob("*.npz")):
        try:
            with path.open("rb") as opened, np.load(opened, allow_pickle=False) as file:
                keys = set(file.files)
            if {"loglam", "eigenspectra"} <= keys:
                kind = "cv"
                with np.load(path, allow_pickle=False) as file:
                    eigenspectra = np.array(
                        [np.interp(fine, 10 ** file["loglam"], row) for row in file["eigenspectra"]]
                    )
            elif {"loglam", "flux", "name"} <= keys:
                kind = "pyhammer" if "spectral_class" in keys else "elodie"
                templates += _read_empirical(path, fine)
            elif "wavelength_A" in keys:
                kind = "archetype"
                bases = _read_archetypes(path, fine)
            else:
                continue
        except (OSError, ValueError, KeyError, TypeError, EOFError, BadZipFile, zlib.error) as error:
            raise InputError(f"{path}: expected a template file, got one that cannot be read ({error})") from None
        sources.append(Source.of(path, LICENCES[kind]))
    if not sources:
        raise InputError(f"{folder}: expected spec-*.fits or template .npz files, found neither")
    return TemplateSet(fine, tuple(templates), bases, eigenspectra, tuple(sources))
