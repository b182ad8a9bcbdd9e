"""A library from a folder of SDSS spec files, by the recipe of Kang, He & Zhang (2021), section 2."""

from collections import defaultdict
from collections.abc import Callable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ..errors import InputError
from ..io import read
from ..model.class_prior import CLASSES
from ..spectrum import Grid, Observation
from .sources import Draws, Source

__all__ = ["class_of", "spectra_from_survey"]

LICENCE = "SDSS public data"
MAX_BAD_PIXELS = 0.05  # of the grid; a spectrum with more is no training spectrum


def class_of(subclass: str) -> str | None:
    """The class of a survey's subclass: ``'F3/F5V (30743)'`` is F; None where it is none of the ten.

    Example:
        >>> [class_of(s) for s in ("F3/F5V (30743)", "CalciumWD", "Carbon_lines", "CV", "L5")]
        ['F', 'WD', 'Carbon', 'CV', None]
    """
    text = subclass.strip().removeprefix("sd:")
    if "WD" in text:
        return "WD"
    for name in ("Carbon", "CV"):
        if text.startswith(name):
            return name
    return text[0] if text and text[0] in "OBAFGKM" else None


def _clean(observation: Observation) -> NDArray | None:
    """The coadd at mean |flux| = 1, short gaps bridged; None where too much is missing. For training only."""
    flux, ivar = observation.coadd()
    good = ivar > 0
    if good.mean() < 1 - MAX_BAD_PIXELS:
        return None
    flux = np.interp(observation.wavelength, observation.wavelength[good], flux[good])
    return (flux / np.abs(flux).mean()).astype(np.float32)


def _object(observation: Observation) -> str:
    """A name that all spectra of one star share: its position to 0.36 arcsec where known, so that no split divides it."""
    position = [observation.meta.get(key) for key in ("ra_deg", "dec_deg")]
    if None in position:
        return f"sdss/{observation.name}"
    return "sdss/{:.4f}{:+.4f}".format(*position)


def spectra_from_survey(
    folder: Path, grid: Grid, *, top: int, rest: bool = False, progress: Callable[[int, int], None] | None = None
) -> Draws:
    """The `top` spectra of highest r-band signal-to-noise ratio in each subclass of the ten classes.

    Arguments:
        folder: Searched for ``spec-*.fits`` with all its sub-folders.
        grid: The pixels.
        top: Spectra to keep of each subclass.
        rest: Whether to undo the shift that the survey measured; dust and calibration stay.
        progress: Called with (done, total).

    Raises:
        InputError: if no file holds a star of the ten classes that covers the grid.
    """
    paths = sorted(folder.rglob("spec-*.fits*"))
    ranked = defaultdict(list)
    for done, path in enumerate(paths, 1):
        if progress:
            progress(done, len(paths))
        try:
            observation = read(path, grid=grid)
            if rest:
                moving = Grid(grid.wavelength * (1 + float(observation.meta.get("z", 0.0))))
                observation = read(path, grid=moving)
        except InputError:
            continue  # one damaged file of a survey costs itself and no other
        is_star = str(observation.meta.get("class", "STAR")).upper() == "STAR"  # galaxies have an 'AGN', a 'BROADLINE'
        subclass, flux = str(observation.meta.get("subclass", "")), _clean(observation)
        if is_star and class_of(subclass) and flux is not None:
            snr = float(observation.meta.get("snr_r", observation.snr))
            ranked[subclass].append((-snr, path.name, flux, path, _object(observation)))
    kept = [
        (subclass, row) for subclass in sorted(ranked) for row in sorted(ranked[subclass], key=lambda r: r[:2])[:top]
    ]
    if not kept:
        raise InputError(
            f"{folder}: expected spec files of stars that cover the grid, found none in {len(paths)} files"
        )
    return Draws(
        flux=np.array([row[2] for _, row in kept]),
        label=np.array([CLASSES.index(class_of(subclass)) for subclass, _ in kept]),
        name=np.array([row[4] for _, row in kept]),
        sources=tuple(Source.of(row[3], LICENCE) for _, row in kept),
        parameters={"snr_r": np.array([-row[0] for _, row in kept])},
    )
