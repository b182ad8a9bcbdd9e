"""Every method on the same spectra with the same noise and seeds: test bed B1, as a tidy table and figures.

    python -m baselines compare --library LIBRARY --noise spec-1.fits --noise spec-2.fits --out out/b1

writes ``b1.csv`` (a row for each method, condition and spectrum), ``b1.md`` (medians by class), ``coverage.md`` (percent of
pixels within the intervals of 50 and 90 %) and ``gaps.png`` (the loss against the width of the gap, figure 6 of Kang et al.
2021). To choose between models, score them on other stars and other noise
than they are tested with, under the few conditions that the choice is about: `--split validation --conditions choice`.
"""

import csv
import time
from argparse import ArgumentParser
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtri

from bayesden.evaluate.testbed import GAPS, TestBed, cut_gap, real_noise_bed, reconstruction_loss, white_noise_bed
from bayesden.infer.denoise import denoise
from bayesden.model.checkpoint import load_model
from bayesden.posterior import Posterior
from bayesden.spectrum import Observation
from bayesden.train.library import Library, load_library
from bayesden.train.noise import NoiseSamples
from bayesden.train.workflow import noise_samples

from .arguments import add_bed, add_models, add_seed
from .mppca import MixturePPCA
from .wiener import Wiener

__all__ = ["CONDITIONS", "Condition", "Row", "compare", "methods", "score", "write_tables"]

Method = Callable[[Sequence[Observation]], tuple[NDArray, NDArray]]  # observations to flux and sigma, each (N, D)
LEVELS = (0.5, 0.9)


@dataclass(frozen=True)
class Condition:
    """What is done to the clean spectra: S/N of each exposure, exposures, and where how many pixels are missing."""

    snr: float
    exposures: int = 1
    gap: str = "none"
    width: int = 0

    def __str__(self) -> str:
        missing = f", {self.width} px missing ({self.gap})" if self.width else ""
        return f"S/N {self.snr:g}, E = {self.exposures}{missing}"

    def apply(self, make: Callable[..., TestBed]) -> TestBed:
        """The bed of this condition, given how to make one without gaps."""
        bed = make(snr=self.snr, exposures=self.exposures)
        return cut_gap(bed, self.gap, self.width) if self.width else bed


@dataclass(frozen=True)
class Row:
    """One spectrum under one condition by one method."""

    method: str
    snr: float
    exposures: int
    gap: str
    width: int
    spectral_class: str
    name: str
    loss: float
    within_50: float = float("nan")
    within_90: float = float("nan")


CONDITIONS = {
    "all": (
        *(Condition(snr, exposures) for snr in (5.0, 10.0, 20.0) for exposures in (1, 4)),
        Condition(15.0),
        *(Condition(15.0, 1, gap, width) for gap in GAPS for width in (200, 400, 600, 800, 1000)),
    ),
    "plain": tuple(Condition(snr, exposures) for snr in (5.0, 10.0, 20.0) for exposures in (1, 4)),
    "choice": (Condition(10.0), Condition(20.0), *(Condition(15.0, 1, gap, 800) for gap in GAPS)),
}


def _coadd(observations: Sequence[Observation]) -> tuple[NDArray, NDArray]:
    flux, ivar = np.array([o.coadd() for o in observations]).swapaxes(0, 1)
    return flux, 1 / np.sqrt(np.where(ivar > 0, ivar, np.nan))


def _moments(infer: Callable[[list[Observation]], list[Posterior]]) -> Method:
    def run(observations: Sequence[Observation]) -> tuple[NDArray, NDArray]:
        posteriors = infer(list(observations))
        return np.array([p.flux for p in posteriors]), np.array([p.sigma for p in posteriors])

    return run


def _within(flux: NDArray, sigma: NDArray, truth: NDArray) -> NDArray:
    """Share of each spectrum's pixels inside the central intervals of `LEVELS`, shape (2, N)."""
    z = np.abs(flux - truth) / sigma
    return np.array([np.where(np.isnan(z), np.nan, z < ndtri(0.5 + level / 2)).mean(1) for level in LEVELS])


def methods(library: Library, models: Sequence[str]) -> dict[str, Method]:
    """Do nothing; the closed forms, fitted on the training split with dimensions by the validation split; trained models."""
    train, validation = library.subset("train"), library.subset("validation")
    held = (validation.flux, validation.label)
    wiener = Wiener.fit(train.flux, library.grid, validation=validation.flux)
    mixture = MixturePPCA.fit(train.flux, train.label, library.classes, library.grid, validation=held)
    table = {"coadd": _coadd, "wiener": _moments(wiener.denoise), "mppca": _moments(mixture.denoise)}
    for name in models:
        table[f"bayesden {Path(name).stem}"] = _moments(partial(denoise, model=load_model(name)))
    return table


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
            start = time.perf_counter()
            flux, sigma = method(bed.observations)
            loss, within = reconstruction_loss(flux, bed.truth), _within(flux, sigma, bed.truth)
            spent = (time.perf_counter() - start) / len(loss)
            report(f"{condition}: {name}: median loss {np.median(loss):.2e}, {1e3 * spent:.1f} ms a spectrum")
            place = (name, condition.snr, condition.exposures, condition.gap, condition.width)
            rows += [
                Row(*place, bed.classes[k], o.name, *x)
                for o, k, *x in zip(bed.observations, bed.label, loss.tolist(), *within.tolist(), strict=True)
            ]
    return rows


def score(rows: Sequence[Row]) -> dict[str, float]:
    """Each method's mean over conditions and classes of the decimal logarithm of its median loss; lower is better."""
    cells: dict[str, dict[tuple, list[float]]] = {}
    for r in rows:
        place = (r.snr, r.exposures, r.gap, r.width, r.spectral_class)
        cells.setdefault(r.method, {}).setdefault(place, []).append(r.loss)
    return {
        method: float(np.mean([np.log10(np.median(losses)) for losses in table.values()]))
        for method, table in cells.items()
    }


def _loss(rows: Sequence[Row]) -> str:
    return f"{np.median([r.loss for r in rows]):.1e}"


def _coverage(rows: Sequence[Row]) -> str:
    """Percent of all pixels within the intervals of 50 and 90 %."""
    shares = 100 * np.array([(r.within_50, r.within_90) for r in rows]).mean(0)
    return "/".join("-" if np.isnan(x) else f"{x:.0f}" for x in shares)


def _table(rows: Sequence[Row], classes: Sequence[str], cell: Callable[[Sequence[Row]], str]) -> list[str]:
    """Lines of a Markdown table: a row for each condition and method, a column for each class."""
    lines = [f"| condition | method | all | {' | '.join(classes)} |", "|---" * (len(classes) + 3) + "|"]
    conditions = list(dict.fromkeys(Condition(r.snr, r.exposures, r.gap, r.width) for r in rows))
    for condition in conditions:
        here = [r for r in rows if Condition(r.snr, r.exposures, r.gap, r.width) == condition]
        for method in dict.fromkeys(r.method for r in here):
            mine = [r for r in here if r.method == method]
            cells = [cell(mine), *(cell([r for r in mine if r.spectral_class == c]) for c in classes)]
            lines.append(f"| {condition} | {method} | {' | '.join(cells)} |")
    return lines


def _plot_gaps(rows: Sequence[Row], path: Path) -> None:
    from matplotlib.figure import Figure

    whole = {(r.snr, r.exposures) for r in rows if r.width}  # the same without a gap is the curves' first point
    rows = [r for r in rows if (r.snr, r.exposures) in whole]
    figure = Figure(figsize=(11, 3.8), layout="constrained")
    axes = figure.subplots(1, len(GAPS), sharey=True)
    for axis, gap in zip(axes, GAPS, strict=True):
        for method in dict.fromkeys(r.method for r in rows if r.method != "coadd"):
            mine = [r for r in rows if r.method == method and (r.gap == gap or not r.width)]
            if not mine:
                continue
            widths = sorted({r.width for r in mine})
            quartiles = np.array([np.percentile([r.loss for r in mine if r.width == w], [25, 50, 75]) for w in widths])
            (line,) = axis.semilogy(widths, quartiles[:, 1], marker="o", label=method)
            axis.fill_between(widths, quartiles[:, 0], quartiles[:, 2], color=line.get_color(), alpha=0.15, lw=0)
        axis.axhline(1e-3, color="0.5", lw=0.8, ls="--")
        axis.set(title=f"missing: {gap} end" if gap != "middle" else "missing: middle", xlabel="missing pixels of 2048")
    axes[0].set_ylabel("reconstruction loss (median, quartiles)")
    axes[0].legend(frameon=False)
    figure.savefig(path, dpi=150)


def write_tables(rows: Sequence[Row], classes: Sequence[str], out: Path) -> None:
    """Write ``b1.csv``, ``b1.md``, ``coverage.md`` and, if gaps were cut, ``gaps.png`` into a folder."""
    out.mkdir(parents=True, exist_ok=True)
    with (out / "b1.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(Row.__dataclass_fields__)
        writer.writerows(vars(row).values() for row in rows)
    for name, cell in (("b1", _loss), ("coverage", _coverage)):
        (out / f"{name}.md").write_text("\n".join(_table(rows, classes, cell)) + "\n")
    if any(row.width for row in rows):
        _plot_gaps(rows, out / "gaps.png")


def add_arguments(parser: ArgumentParser) -> None:
    """The command's own arguments."""
    add_bed(parser, split="test", per_class=30, white=True)
    add_models(parser)
    text = "S/N, exposures and gaps"
    parser.add_argument("--conditions", choices=tuple(CONDITIONS), default="all", help=text)
    parser.add_argument("--out", default="out/b1", help="folder for the tables and the figure")
    add_seed(parser)


def run(arguments: object) -> None:
    """The command: see `python -m baselines compare --help`."""
    library = load_library(arguments.library)
    options = {"split": arguments.split, "per_class": arguments.per_class, "seed": arguments.seed}
    conditions = CONDITIONS[arguments.conditions]
    noise = noise_samples(arguments.noise, library.grid) if arguments.noise else None
    rows = compare(library, noise, methods(library, arguments.model), conditions=conditions, **options)
    write_tables(rows, library.classes, Path(arguments.out))
    for method, value in score(rows).items():
        print(f"{method}: mean log10 of the median loss over conditions and classes {value:.3f}")
    print(f"wrote {arguments.out}/b1.csv, b1.md and gaps.png")
