r"""Every method on the same spectra with the same noise and seeds, as tidy tables and figures.

    python -m baselines compare --library LIBRARY --noise spec-1.fits --noise spec-2.fits --model sdss-10class \
        --network conv_dae.safetensors --out out/b1

is test bed B1. It writes ``b1.csv`` (a row for each method, condition and spectrum), ``summary.csv`` (medians with bootstrap
intervals), ``b1.md`` (medians by class), ``coverage.md`` (percent of pixels within the intervals of 50 and 90 %), ``wins.md``
(percent of spectra for which the first model has the lower loss), ``cost.md``, and ``gaps.png`` (the loss against the width
of the gap, figure 6 of Kang et al. 2021). A network that was not trained with missing flux sits out where there is a gap.

    python -m baselines compare --bed B3 --simulation train.h5 validation.h5 test.h5 --network unet.safetensors --out out/b3

is test bed B3, simulated stars seen by pfs-mr: see `baselines.simulated_bed`. `--bed B4` is galaxies: see
`baselines.galaxies.comparison`. To choose between models, score them on other
stars and other noise than they are tested with: `--split validation --conditions choice`. `--quick` shows in half a minute,
with stars that the shipped model makes up, that all of it runs.
"""

import time
from argparse import ArgumentParser
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtri

from bayesden.errors import InputError
from bayesden.evaluate.testbed import TestBed, real_noise_bed, reconstruction_loss, white_noise_bed
from bayesden.model.checkpoint import DEFAULT_MODEL
from bayesden.train.library import Library, load_library
from bayesden.train.noise import NoiseSamples
from bayesden.train.workflow import noise_samples

from . import simulated_bed
from .arguments import add_bed, add_models, add_seed
from .conditions import CONDITIONS, Condition, Row
from .galaxies import comparison
from .methods import Run, methods
from .quick import made_up_library
from .tables import score, write_rows, write_tables

__all__ = ["add_arguments", "compare", "run"]

LEVELS = (0.5, 0.9)
QUICK_MODELS = (DEFAULT_MODEL,)


def _within(flux: NDArray, sigma: NDArray, truth: NDArray) -> NDArray:
    """Share of each spectrum's pixels inside the central intervals of `LEVELS`, shape (2, N)."""
    z = np.abs(flux - truth) / sigma
    return np.array([np.where(np.isnan(z), np.nan, z < ndtri(0.5 + level / 2)).mean(1) for level in LEVELS])


def _run(name: str, method: Run, bed: TestBed, condition: Condition, report: Callable[[str], None]) -> list[Row]:
    """A method on one bed; no rows if it cannot take the spectra."""
    start = time.perf_counter()
    try:
        flux, sigma = method(bed.observations)
    except InputError as error:
        report(f"{condition}: {name}: sits out: {error}")
        return []
    spent = (time.perf_counter() - start) / len(bed.truth)
    loss, within = reconstruction_loss(flux, bed.truth), _within(flux, sigma, bed.truth)
    report(f"{condition}: {name}: median loss {np.median(loss):.2e}, {1e3 * spent:.1f} ms a spectrum")
    place = (name, condition.snr, condition.exposures, condition.gap, condition.width)
    columns = zip(bed.observations, bed.label, loss.tolist(), *within.tolist(), strict=True)
    return [Row(*place, bed.classes[k], o.name, *x, spent) for o, k, *x in columns]


def compare(
    library: Library,
    noise: NoiseSamples | None,
    table: Mapping[str, Run],
    *,
    split: str = "test",
    conditions: Sequence[Condition] = CONDITIONS["all"],
    per_class: int = 30,
    seed: int = 0,
    report: Callable[[str], None] = print,
) -> list[Row]:
    """Run every method under every condition.

    Arguments:
        library: Clean spectra.
        noise: Of stars that no method's noise was trained on; None for white Gaussian noise.
        table: The methods by name, as `methods` gives them.
        split: Which of the library's spectra are the truth.
        conditions: What to run.
        per_class: Spectra of each class.
        seed: Seed of spectra and noise.
        report: Called with a line for each condition and method.
    """
    truth, rows = library.subset(split), []

    def make(**options: float) -> TestBed:
        if noise is None:
            return white_noise_bed(truth, per_class=per_class, seed=seed, **options)
        return real_noise_bed(truth, noise, per_class=per_class, seed=seed, **options)

    for condition in conditions:
        bed = condition.apply(make)
        for name, method in table.items():
            rows += _run(name, method, bed, condition, report)
    return rows


def add_arguments(parser: ArgumentParser) -> None:
    """The command's own arguments."""
    text = "real noise, simulated stars of pfs-mr, or galaxies"
    parser.add_argument("--bed", choices=("B1", "B3", "B4"), default="B1", help=text)
    add_bed(parser, split="test", per_class=30, white=True, required=False)
    add_models(parser)
    text = "weights that `train` wrote; may be repeated"
    parser.add_argument("--network", action="append", default=[], help=text)
    text = "B3: simulations of pfs-mr that the closed forms are fitted on, chosen on, and all are tested on"
    parser.add_argument("--simulation", nargs=3, metavar="FILE", help=text)
    text = "S/N, exposures and gaps"
    parser.add_argument("--conditions", choices=tuple(CONDITIONS), default="all", help=text)
    parser.add_argument("--quick", action="store_true", help="few made-up stars: shows that it runs, and no more")
    parser.add_argument("--out", default="out/b1", help="folder for the tables and the figure")
    parser.add_argument("--csv", help="file for the tidy table; OUT/b1.csv, b3.csv or b4.csv by default")
    add_seed(parser)


def run(arguments: object) -> None:
    """The command: see `python -m baselines compare --help`."""
    out = Path(arguments.out)
    out.mkdir(parents=True, exist_ok=True)
    if arguments.bed == "B3":
        simulated_bed.run(arguments, out)
        return
    if arguments.bed == "B4":
        comparison.run(arguments, out)
        return
    if not arguments.library and not arguments.quick:
        raise InputError("compare: expected --library or --quick, got neither")
    library = load_library(arguments.library) if arguments.library else made_up_library(seed=arguments.seed)
    conditions = CONDITIONS["quick" if arguments.quick else arguments.conditions]
    per_class = min(arguments.per_class, 3) if arguments.quick else arguments.per_class
    noise = noise_samples(arguments.noise, library.grid) if arguments.noise else None
    models = arguments.model or (QUICK_MODELS if arguments.quick else ())
    table = methods(library, models, arguments.network)
    options = {"split": arguments.split, "per_class": per_class, "seed": arguments.seed}
    rows = compare(library, noise, table, conditions=conditions, **options)
    champion = next((name for name in table if name.startswith("bayesden ")), None)
    write_rows(rows, Path(arguments.csv or out / "b1.csv"))
    write_tables(rows, library.classes, out, table, champion)
    for method, value in score(rows).items():
        print(f"{method}: mean log10 of the median loss over conditions and classes {value:.3f}")
    print(f"wrote {arguments.csv or out / 'b1.csv'}, and tables in {out}")
