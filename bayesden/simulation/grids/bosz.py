r"""The BOSZ grids of synthetic spectra, from a folder of the files that the MAST archive distributes.

LTE spectra of ATLAS9 (2017) or MARCS and ATLAS9 (2024) atmospheres. File names, columns, units and what is known of air and
vacuum are in `bayesden.io.bosz`. Spectra are averaged over pixels that are uniform in :math:`\ln\lambda`,

.. math:: f_j = \frac{1}{|j|} \int_j f(\lambda)\,d\lambda,

which keeps the integral of the flux. Only the files within the ranges are opened, one at a time, and of text files only
the rows within the wavelengths are read.

References:
    Bohlin et al. (2017), AJ 153, 234; Mészáros et al. (2024), A&A 688, A197; doi:10.17909/T95G68, CC BY 4.0.
"""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ...errors import InputError
from ...io.bosz import BoszFile, find_bosz, read_bosz_spectrum, read_bosz_wavelength
from ...io.resample import overlap_matrix
from ...spectrum import Grid
from .rectangular import RectangularGrid, covering, resolve_ranges

__all__ = ["AXES", "read_bosz"]

AXES = ("teff_K", "logg", "feh", "alpha_fe")
ATMOSPHERES = {"2017": "ATLAS9", "2024": "MARCS and ATLAS9"}
PAPERS = {"2017": "Bohlin et al. 2017", "2024": "Mészáros et al. 2024"}
UNIT = "erg/s/cm2/A/sr"  # of H as distributed; times 4 pi at the star's surface


def read_bosz(
    folder: Path,
    start_A: float,
    stop_A: float,
    *,
    step: float = 1e-5,
    ranges: Mapping[str, tuple[float, float]] | None = None,
    mode: str = "spline",
    resolution: int | None = None,
    vturb_kms: float | None = None,
    carbon_fe: float = 0.0,
    medium: str | None = None,
    complete: bool = False,
    progress: Callable[[int, int], None] | None = None,
) -> RectangularGrid:
    r"""Read the BOSZ spectra of a folder onto one wavelength grid.

    Arguments:
        folder: Where the files are, or the folders of them.
        start_A, stop_A: First and last wavelength, vacuum Å.
        step: Width of a pixel in :math:`\ln\lambda`; about the sampling of R = 50,000 by default.
        ranges: Lowest and highest value of parameters (`AXES`); by default those of Pál & Dobos (2024), Table 3, as far as
            the files reach. Nodes beyond them are not read.
        mode: How parameters are drawn; see `RectangularGrid`.
        resolution, vturb_kms: Which files to take, where the folder has several kinds.
        carbon_fe: [C/M] of the files to take.
        medium: `air` or `vacuum`, to overrule what the release is known for.
        complete: Whether a missing spectrum is an error; else it is left out of the draws, and `missing` names it.
        progress: Called with how many files are read, of how many.

    Raises:
        InputError: if the folder has no BOSZ spectra, several releases or kinds, a wrong name or a damaged file, or the
            files do not cover the wavelengths or the ranges.
    """
    files = _select(find_bosz(folder), folder, resolution, vturb_kms, carbon_fe)
    axes = {name: torch.tensor(sorted({getattr(f, name) for f in files})).double() for name in AXES}
    bounds = resolve_ranges("bosz", axes, ranges or {})
    axes = {name: axis[covering(axis, bounds[name])] for name, axis in axes.items()}
    place = _places(files, axes, folder)
    if complete and len(place) < _count(axes):
        lacking = _lacking(place, axes)
        some = "; ".join(lacking[:3]) + ("; ..." if len(lacking) > 3 else "")
        raise InputError(f"{folder}: expected {_count(axes)} spectra, found {len(place)}; missing: {some}")
    loglam, nodes = _read(place, axes, folder, _pixels(start_A, stop_A, step), medium, progress)
    first = files[0]
    kind = f"{ATMOSPHERES[first.release]} LTE, R = {first.resolution}, v_turb = {first.vturb_kms:g} km/s"
    gaps = f"; {_count(axes) - len(place)} of {_count(axes)} spectra missing" if len(place) < _count(axes) else ""
    label = f"BOSZ {first.release} ({PAPERS[first.release]}): {kind}, [C/M] = {carbon_fe:g}{gaps}"
    return RectangularGrid("bosz", label, UNIT, torch.from_numpy(loglam), axes, nodes, bounds, mode)


def _pixels(start_A: float, stop_A: float, step: float) -> Grid:
    if not (0 < start_A < stop_A < np.inf and 0 < step < np.log(stop_A / start_A)):
        raise InputError(f"bosz: expected wavelengths in steps within them, got {start_A} to {stop_A} by {step}")
    size = int(np.ceil(np.log(stop_A / start_A) / step - 1e-6)) + 1
    return Grid(start_A * np.exp(step * np.arange(size)))


def _select(
    files: Sequence[BoszFile], folder: Path, resolution: int | None, vturb_kms: float | None, carbon_fe: float
) -> list[BoszFile]:
    """The files of one kind."""
    releases = sorted({f.release for f in files})
    if len(releases) > 1:
        raise InputError(f"{folder}: expected files of one BOSZ release, got {' and '.join(releases)}")
    for name, asked in (("resolution", resolution), ("vturb_kms", vturb_kms), ("carbon_fe", carbon_fe)):
        found = sorted({getattr(f, name) for f in files})
        came = ", ".join(f"{x:g}" for x in found)
        if asked is None and len(found) > 1:
            raise InputError(f"{folder}: {name}: expected a choice, as there are spectra of several: {came}")
        if asked is not None and asked not in found:
            raise InputError(f"{folder}: {name}: expected one of {came}, got {asked:g}")
        files = [f for f in files if asked is None or getattr(f, name) == asked]
    return list(files)


def _places(files: Sequence[BoszFile], axes: Mapping[str, Tensor], folder: Path) -> dict[tuple[int, ...], BoszFile]:
    """The file of each node, by its index along the axes. Where MARCS and ATLAS9 overlap, MARCS, as below."""
    index = {name: {x: i for i, x in enumerate(axis.tolist())} for name, axis in axes.items()}
    place: dict[tuple[int, ...], BoszFile] = {}
    for file in files:
        where = tuple(index[name].get(getattr(file, name)) for name in AXES)
        if None in where:
            continue  # beyond the ranges
        other = place.get(where)
        if other is not None and (file.atmosphere == "ap") == (other.atmosphere == "ap"):
            raise InputError(f"{folder}: expected each model once, got {other.path.name} and {file.path}")
        if other is None or other.atmosphere == "ap":
            place[where] = file
    return place


def _count(axes: Mapping[str, Tensor]) -> int:
    return int(np.prod([len(axis) for axis in axes.values()]))


def _lacking(place: Mapping[tuple[int, ...], BoszFile], axes: Mapping[str, Tensor]) -> list[str]:
    values = [axis.tolist() for axis in axes.values()]
    absent = [where for where in np.ndindex(*map(len, values)) if where not in place]
    named = [[f"{n} = {v[i]:g}" for n, v, i in zip(AXES, values, where, strict=True)] for where in absent]
    return [", ".join(parts) for parts in named]


def _read(
    place: Mapping[tuple[int, ...], BoszFile],
    axes: Mapping[str, Tensor],
    folder: Path,
    pixels: Grid,
    medium: str | None,
    progress: Callable[[int, int], None] | None,
) -> tuple[NDArray, Tensor]:
    """log10 of the wavelengths, and the nodes; NaN where there is no file."""
    shared = None
    nodes = torch.full((*(len(axis) for axis in axes.values()), pixels.size), torch.nan)
    low, high = pixels.edges[[0, -1]]
    seen, share = np.empty(0), None
    for done, (where, file) in enumerate(sorted(place.items(), key=lambda item: item[0]), 1):
        if file.release == "2024" and shared is None:
            shared = read_bosz_wavelength(folder, file.resolution, medium)
        wavelength, flux = read_bosz_spectrum(file, low, high, shared, medium)
        if not np.array_equal(wavelength, seen):  # files of one kind share their wavelengths
            seen, share = wavelength, overlap_matrix(Grid(wavelength), pixels)
        nodes[where] = torch.from_numpy(share @ flux).float()
        if progress:
            progress(done, len(place))
    return np.log10(pixels.wavelength), nodes
