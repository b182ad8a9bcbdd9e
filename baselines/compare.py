r"""Every method on the same spectra with the same noise and seeds, as tidy tables and figures.

    python -m baselines compare --library LIBRARY --noise spec-1.fits --noise spec-2.fits --model sdss-10class \
        --network conv_dae.safetensors --out out/b1

is test bed B1. It writes ``b1.csv`` (a row for each method, condition and spectrum), ``summary.csv`` (medians with bootstrap
intervals), ``b1.md`` (medians by class), ``coverage.md`` (percent of pixels within the intervals of 50 and 90 %), ``wins.md``
and ``wins.csv`` (percent of spectra for which the first model has the lower loss), ``widths.md`` and ``widths.csv`` (errors
and coverage of equivalent widths), ``cost.md``, and the figures 6 to 15 of Kang et al. (2021) for all methods: ``gaps.png``,
``examples.png``, ``losses.png``, ``snr.png``, ``low-snr.png``, ``gap-examples.png``, ``gap-losses.png``. A network that was
not trained with missing flux sits out where there is a gap.

    python -m baselines compare --bed B3 --simulation train.h5 validation.h5 test.h5 --network unet.safetensors --out out/b3

is test bed B3, simulated stars seen by pfs-mr: see `baselines.simulated_bed`. `--bed B4` is galaxies: see
`baselines.galaxies.comparison`. `--bed B5` is about lines that no training set has, in the stars of B3 if `--simulation` is
given and in those of B1 if not: see `python -m baselines lines --help`.

To choose between models, score them on other stars and other noise than they are tested with: `--split validation
--conditions choice`. `--quick` shows in half a minute, with stars that the shipped model makes up, that all of it runs.
"""

import time
from argparse import ArgumentParser
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
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

from . import lost_lines, simulated_bed
from .arguments import add_bed, add_models, add_seed
from .conditions import CONDITIONS, Condition, Row
from .der_snr import der_snr
from .figures.class_losses import class_losses
from .figures.examples import Example, examples
from .figures.gap_loss import gap_loss
from .figures.snr_losses import snr_losses
from .galaxies import comparison
from .line_widths import SDSS_LINES, Width, measure_widths, write_widths
from .methods import Method, methods, moments
from .quick import made_up_library
from .tables import score, write_tables
from .tidy import write_rows

__all__ = ["Compared", "add_arguments", "compare", "run"]

LEVELS = (0.5, 0.9)
QUICK_MODELS, QUICK_CLASSES = (DEFAULT_MODEL,), ("A", "K", "M", "CV")


def _within(flux: NDArray, sigma: NDArray, truth: NDArray) -> NDArray:
    """Share of each spectrum's pixels inside the central intervals of `LEVELS`, shape (2, N)."""
    z = np.abs(flux - truth) / sigma
    return np.array([np.where(np.isnan(z), np.nan, z < ndtri(0.5 + level / 2)).mean(1) for level in LEVELS])


@dataclass(frozen=True, eq=False)
class Compared:
    """What a comparison gives: a row for each method, condition and spectrum, widths of lines, and spectra to look at."""

    rows: list[Row]
    widths: list[Width]
    examples: list[Example]


def _rows(
    name: str, flux: NDArray, sigma: NDArray, bed: TestBed, before: NDArray, condition: Condition, spent: float
) -> list[Row]:
    place = (name, condition.snr, condition.exposures, condition.gap, condition.width)
    found = (reconstruction_loss(flux, bed.truth), *_within(flux, sigma, bed.truth), before, der_snr(flux))
    columns = zip(bed.observations, bed.label, *(x.tolist() for x in found), strict=True)
    return [Row(*place, bed.classes[k], o.name, *x, spent) for o, k, *x in columns]


def _run(table: Mapping[str, Method], bed: TestBed, condition: Condition, report: Callable[[str], None]) -> Compared:
    """Every method on one bed; one that cannot take the spectra sits out."""
    data = np.array([o.coadd()[0] for o in bed.observations])
    before, first = der_snr(data), [int(np.flatnonzero(bed.label == k)[0]) for k in np.unique(bed.label)]
    rows, widths, shown = [], [], {i: {} for i in first}
    for name, method in table.items():
        start = time.process_time()
        try:
            posteriors = method.run(list(bed.observations))
        except InputError as error:
            report(f"{condition}: {name}: sits out: {error}")
            continue
        spent = (time.process_time() - start) / len(bed.truth)
        flux, sigma = moments(posteriors)
        found = _rows(name, flux, sigma, bed, before, condition, spent)
        loss = np.median([r.loss for r in found])
        report(f"{condition}: {name}: median loss {loss:.2e}, {1e3 * spent:.1f} CPU ms a spectrum")
        rows += found
        if not condition.width:
            stars = {"snr": [condition.snr] * len(found), "star": [r.star for r in found]}
            widths += measure_widths(name, posteriors, bed.truth, SDSS_LINES, **stars)
        for i in first:
            shown[i][name] = flux[i]
    wavelength = bed.observations[0].wavelength
    kept = [Example(condition, bed.classes[bed.label[i]], wavelength, bed.truth[i], data[i], shown[i]) for i in first]
    return Compared(rows, widths, kept)


def compare(
    library: Library,
    noise: NoiseSamples | None,
    table: Mapping[str, Method],
    *,
    split: str = "test",
    conditions: Sequence[Condition] = CONDITIONS["all"],
    per_class: int = 30,
    seed: int = 0,
    report: Callable[[str], None] = print,
) -> Compared:
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
    truth = library.subset(split)

    def make(**options: float) -> TestBed:
        if noise is None:
            return white_noise_bed(truth, per_class=per_class, seed=seed, **options)
        return real_noise_bed(truth, noise, per_class=per_class, seed=seed, **options)

    parts = [_run(table, condition.apply(make), condition, report) for condition in conditions]
    return Compared(*([x for part in parts for x in getattr(part, key)] for key in ("rows", "widths", "examples")))


def add_arguments(parser: ArgumentParser) -> None:
    """The command's own arguments."""
    text = "B1: real noise; B3: simulated stars of pfs-mr; B4: galaxies; B5: lines that no training set has"
    parser.add_argument("--bed", choices=("B1", "B3", "B4", "B5"), default="B1", help=text)
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


def _draw(found: Compared, out: Path, champion: str | None) -> None:
    """The figures of Kang et al. (2021)."""
    parts = {gap: [r for r in found.rows if bool(r.width) == gap] for gap in (False, True)}
    snr_losses(parts[False], out / "snr.png")
    if parts[True]:
        gap_loss(found.rows, out / "gaps.png")
    for gap, prefix in ((False, ""), (True, "gap-")):
        some = [e for e in found.examples if bool(e.condition.width) == gap]
        if some:
            typical = some[len(some) // 2].condition
            examples([e for e in some if e.condition == typical], out / f"{prefix}examples.png")
        rivals = [r.method for r in parts[gap] if r.method != champion]
        if champion and rivals:
            rival = next((name for name in rivals if name.startswith("conv_dae")), rivals[-1])
            class_losses(parts[gap], champion, rival, out / f"{prefix}losses.png")
    whole = [e for e in found.examples if not e.condition.width]
    ratio = der_snr(np.array([e.data for e in whole]))
    examples([whole[i] for i in np.argsort(ratio)[:2]], out / "low-snr.png")


def run(arguments: object) -> None:
    """The command: see `python -m baselines compare --help`."""
    out = Path(arguments.out)
    out.mkdir(parents=True, exist_ok=True)
    if arguments.bed == "B3":
        return simulated_bed.run(arguments, out)
    if arguments.bed == "B4":
        return comparison.run(arguments, out)
    if arguments.bed == "B5":
        arguments.bed = "B3" if arguments.simulation else "B1"
        return lost_lines.run(arguments)
    if not arguments.library and not arguments.quick:
        raise InputError("compare: expected --library or --quick, got neither")
    library = (
        load_library(arguments.library)
        if arguments.library
        else made_up_library(classes=QUICK_CLASSES, seed=arguments.seed)
    )
    conditions = CONDITIONS["quick" if arguments.quick else arguments.conditions]
    per_class = 1 if arguments.quick else arguments.per_class
    noise = noise_samples(arguments.noise, library.grid) if arguments.noise else None
    models = arguments.model or (QUICK_MODELS if arguments.quick else ())
    table = methods(library, models, arguments.network)
    options = {"split": arguments.split, "per_class": per_class, "seed": arguments.seed}
    found = compare(library, noise, table, conditions=conditions, **options)
    champion = next((name for name in table if name.startswith("bayesden ")), None)
    write_rows(Row, found.rows, Path(arguments.csv or out / "b1.csv"))
    write_tables(found.rows, library.classes, out, table, champion)
    write_widths(found.widths, out)
    _draw(found, out, champion)
    for method, value in score(found.rows).items():
        print(f"{method}: mean log10 of the median loss over conditions and classes {value:.3f}")
    print(f"wrote {arguments.csv or out / 'b1.csv'}, and tables and figures in {out}")
