"""Simulated stars as SDSS spec files, one file each; the truth is in the coadd's column `model` and in the primary header."""

import math
from collections.abc import Callable, Mapping
from pathlib import Path

import torch

from ..errors import InputError, OutputError
from ..io.files import open_fits
from .instruments.sdss import Sdss
from .random import Random
from .simulator import Simulator

__all__ = ["write_spec_files"]

CARDS = {"teff_K": "TEFF", "alpha_fe": "ALPHAFE", "class": "CLASSNO", "magnitude": "MAG", "redshift": "Z_TRUE"}


def write_spec_files(
    folder: str | Path,
    simulator: Simulator,
    n: int,
    *,
    resume: bool = False,
    overwrite: bool = False,
    progress: Callable[[int, int], None] | None = None,
) -> None:
    """Write stars 0 to n, with all exposures and the noiseless coadd, as `spec-sim-000000.fits` and so on.

    Arguments:
        folder: Where the files shall be; it exists.
        simulator: Whose instrument is `Sdss` with physical noise.
        n: How many.
        resume: Keep the whole files of an earlier run with the same stars, and make the others.
        overwrite: Whether files that exist may be replaced.
        progress: Called with the number of stars that are done and n.

    Raises:
        InputError: if n is not positive, the instrument has no files of this format, or `resume` meets another run's file.
        OutputError: if a file exists, or cannot be written.
    """
    if n < 1:
        raise InputError(f"n: expected at least one star, got {n}")
    if not isinstance(simulator.instrument, Sdss):
        raise InputError(f"spec files: expected the instrument sdss, got {simulator.instrument.name}")
    random = Random(simulator.seed)
    for number in range(n):
        path = Path(folder) / f"spec-sim-{number:06d}.fits"
        if path.exists() and not (resume or overwrite):
            raise OutputError(f"{path}: expected a new name, but the file exists (overwriting it must be asked for)")
        index = torch.tensor([number], device=simulator.device)
        parameters = simulator.draw(index)
        cards = _cards(simulator, parameters, number)
        if overwrite or not _is_whole(path, cards):
            arms, conditions = simulator.arms(parameters), simulator.conditions(parameters)
            options = {"facts": {"Z": cards["Z_TRUE"]}, "cards": cards, "overwrite": True}
            simulator.instrument.write(path, arms, conditions, random, index, **options)
        if progress:
            progress(number + 1, n)


def _cards(simulator: Simulator, parameters: torch.Tensor, number: int) -> dict[str, str | int | float]:
    """What the primary header says of a star: all its parameters, under names of at most eight letters."""
    values = dict(zip(simulator.parameters, parameters[0].tolist(), strict=True))
    named = {CARDS.get(name, name.partition("_arcsec")[0].upper()[:8]): value for name, value in values.items()}
    exposures = simulator.instrument.exposures
    return {"SEED": simulator.seed, "NUMBER": number, "NEXP": exposures, "GRID": simulator.grid.name, **named}


def _is_whole(path: Path, cards: Mapping[str, str | int | float]) -> bool:
    """Whether a star's file is there, undamaged; one of another star is refused."""
    if not path.exists():
        return False
    try:
        with open_fits(path) as (hdus, _):
            found = {card: hdus[0].header.get(card) for card in cards}
    except InputError:
        return False
    for card, value in cards.items():
        same = found[card] == value
        if isinstance(value, float) and isinstance(found[card], float | int):
            same = math.isclose(found[card], value, rel_tol=1e-6, abs_tol=1e-9)
        if not same:
            raise InputError(f"{path}: expected a star with {card} = {value} to resume, got {card} = {found[card]}")
    return True
