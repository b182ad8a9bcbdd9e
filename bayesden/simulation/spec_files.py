"""Simulated stars as SDSS spec files, one file each."""

from collections.abc import Callable
from pathlib import Path

import torch

from ..errors import InputError, OutputError
from .instruments.sdss import Sdss
from .random import Random
from .simulator import Simulator

__all__ = ["write_spec_files"]


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
        resume: Leave files that exist as they are: each was written whole.
        overwrite: Whether files that exist may be replaced.
        progress: Called with the number of stars that are done and n.

    Raises:
        InputError: if n is not positive, or the instrument has no files of this format.
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
        if not path.exists() or overwrite:
            index = torch.tensor([number], device=simulator.device)
            parameters = simulator.draw(index)
            values = dict(zip(simulator.parameters, parameters[0].tolist(), strict=True))
            names = {name: values[name] for name in simulator.grid.parameters if name in CARDS}
            cards = {CARDS[name]: value for name, value in names.items()} | {"SEED": simulator.seed, "NUMBER": number}
            cards |= {"EBV": values["ebv"], "MAG": values["magnitude"], "GRID": simulator.grid.name}
            arms, conditions = simulator.arms(parameters), simulator.conditions(parameters)
            facts = {"Z": values["redshift"]}
            options = {"facts": facts, "cards": cards, "overwrite": overwrite}
            simulator.instrument.write(path, arms, conditions, random, index, **options)
        if progress:
            progress(number + 1, n)


CARDS = {"teff_K": "TEFF", "logg": "LOGG", "feh": "FEH", "alpha_fe": "ALPHAFE", "class": "CLASSNO"}
