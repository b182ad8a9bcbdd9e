"""Galaxies of test bed B4 to train on, as a library.

    python -m baselines galaxies --prior smooth -n 12500 --seed 0 --out galaxies.npz

The file is derived from the E-MILES populations, whose licence allows no redistribution: it is for the user's own work.
"""

from argparse import ArgumentParser, Namespace
from pathlib import Path

import numpy as np

from bayesden.errors import InputError
from bayesden.train.library import Library, load_library

from ..arguments import add_seed
from .bed import Bed
from .histories import PRIORS
from .templates import read_emiles

__all__ = ["add_arguments", "galaxy_library", "load_galaxies", "run"]

LICENCE = "derived from E-MILES (ppxf 8.2.6): non-commercial use, no redistribution"


def galaxy_library(bed: Bed, prior: str, n: int, *, seed: int = 0) -> Library:
    """Galaxies of a prior, split by their numbers."""
    galaxies = bed.draw(prior, n, seed=seed)
    name = np.array([f"galaxy/{prior}/{seed}/{i}" for i in range(n)])
    recipe = {"galaxies": prior, "seed": seed, "licence": LICENCE}
    flux, label = galaxies.flux.astype(np.float32), np.zeros(n, int)
    parameters = {"dispersion_kms": galaxies.dispersion_kms}
    return Library(bed.grid, flux, label, name, parameters, recipe=recipe, classes=("galaxy",))


def load_galaxies(path: str | Path) -> Library:
    """Read a library of galaxies.

    Raises:
        InputError: if it is none, or one of something else.
    """
    library = load_library(path)
    if "galaxies" not in library.recipe:
        raise InputError(f"{path}: expected a library made by `python -m baselines galaxies`, got one of stars")
    return library


def add_arguments(parser: ArgumentParser) -> None:
    """The command's own arguments."""
    parser.add_argument("--prior", choices=tuple(PRIORS), default="smooth", help="of the star-formation histories")
    text = "galaxies; a tenth of them is for validation, a tenth is held back"
    parser.add_argument("-n", type=int, default=12_500, dest="count", help=text)
    parser.add_argument("--out", default="galaxies.npz", help="file for the library")
    add_seed(parser)


def run(arguments: Namespace) -> None:
    """The command: see `python -m baselines galaxies --help`."""
    bed = Bed.of(read_emiles())
    galaxy_library(bed, arguments.prior, arguments.count, seed=arguments.seed).save(arguments.out)
    print(f"wrote {arguments.out}: {arguments.count} galaxies, {LICENCE}")
