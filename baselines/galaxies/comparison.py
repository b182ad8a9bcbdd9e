r"""Test bed B4: galaxies with noise, denoised, and their ages and metallicities by pPXF.

    python -m baselines compare --bed B4 --library galaxies.npz --model galaxies.safetensors --network eut.safetensors \
        --per-class 1000 --out out/b4

Every method sees the same galaxies, drawn anew from the trained prior `smooth` and from the shifted ones, and the same noise;
the same fit takes ages and metallicities from what it gives. Rows that are in the tidy table already are kept, so that an
interrupted comparison goes on. Of our model the posterior mean is scored, and `draws`: the mean of the ages of several
draws. `bound` is the posterior mean under the very prior that the galaxies are drawn from.
"""

from argparse import Namespace
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from bayesden.errors import InputError
from bayesden.model.joint import SpectrumModel
from bayesden.spectrum import Observation
from bayesden.train.library import Library

from ..methods import Method, fit_wiener, load_fitting, networks
from ..tidy import write_rows
from .bed import Bed, Galaxies
from .bound import PriorDraws, draw_prior, posterior_means
from .figures import Shown, write_figures
from .library import load_galaxies
from .measures import pearson, reduction, window_reductions
from .ours import posterior_flux
from .populations import Populations
from .rows import Row, read_rows
from .tables import SHOWN, write_tables
from .templates import read_emiles

__all__ = ["CONDITIONS", "Condition", "Denoised", "compare", "methods", "one_galaxy", "run"]

DRAWS = 3  # of our posterior, each fitted
PRIOR_DRAWS = 200_000  # that the bound is made of
TESTED_SEED = 1_000_000  # added to the seed, so that no galaxy is one of the training set


@dataclass(frozen=True)
class Condition:
    """Where galaxies come from, their S/N, how many there are, whether populations are fitted, and to draws of how many."""

    prior: str
    snr: float
    count: int
    fitted: bool = True
    drawn: int = 0

    def __str__(self) -> str:
        return f"{self.prior}, S/N {self.snr:g}"


CONDITIONS = (
    Condition("smooth", 5.0, 1000, drawn=200),
    Condition("smooth", 10.0, 300),
    Condition("smooth", 20.0, 300, fitted=False),
    Condition("burst", 5.0, 300),
    Condition("burst_old", 5.0, 300),
)


@dataclass(frozen=True, eq=False)
class Denoised:
    """What a method gives of N spectra: flux (N, D), and draws (N, S, D) if it has some."""

    flux: NDArray
    draws: NDArray | None = None


Run = Callable[[Sequence[Observation]], Denoised]


def _noisy(observations: Sequence[Observation]) -> NDArray:
    return np.array([o.flux[0] for o in observations])


def methods(library: Library, models: Sequence[str] = (), weights: Sequence[str] = ()) -> dict[str, Run]:
    """The denoisers by name.

    Raises:
        InputError: if the training of a network is unfinished, or two have the same name.
        ModelError: if a model or network is not one for a library's pixels.
    """
    trained = networks(weights, library.grid)  # first: what is wrong with a file shows before the fits
    ours = {
        f"bayesden {Path(path).stem}" if len(models) > 1 else "bayesden": load_fitting(path, library.grid)
        for path in models
    }
    train, held = (library.subset(split).flux.astype(float) for split in ("train", "validation"))
    points = {"wiener": fit_wiener(train, held, library.grid), **trained}
    table: dict[str, Run] = {"noisy": lambda observations: Denoised(_noisy(observations))}
    table |= {name: partial(_point, method) for name, method in points.items()}
    return table | {name: partial(_posterior, model) for name, model in ours.items()}


def _point(method: Method, observations: Sequence[Observation]) -> Denoised:
    return Denoised(method(observations)[0])


def _posterior(model: SpectrumModel, observations: Sequence[Observation]) -> Denoised:
    flux, _, draws = posterior_flux(model, observations, DRAWS)
    return Denoised(flux, draws)


@dataclass(frozen=True, eq=False)
class _Bench:
    """One condition: galaxies, their true populations, and what was seen of them."""

    condition: Condition
    fits: Populations
    galaxies: Galaxies
    observations: list[Observation]

    @classmethod
    def of(cls, fits: Populations, condition: Condition, seed: int) -> "_Bench":
        galaxies = fits.bed.draw(condition.prior, condition.count, seed=TESTED_SEED + seed)
        return cls(condition, fits, galaxies, fits.bed.observe(galaxies, condition.snr, seed=seed))

    def ages(self, flux: NDArray) -> NDArray:
        """Log age and [M/H] of the first n galaxies' spectra (n, D), (n, 2); NaN where the condition has no fits."""
        if not self.condition.fitted:
            return np.full((len(flux), 2), np.nan)
        return self.fits.fit(flux, np.array([o.ivar[0] for o in self.observations[: len(flux)]]) ** -0.5)

    def rows(self, method: str, flux: NDArray | None, ages: NDArray) -> Iterator[Row]:
        """The rows of one method for the first n galaxies; without a flux what is measured of the spectra is NaN."""
        truth, wavelength = self.galaxies.flux[: len(ages)], self.fits.bed.grid.wavelength
        noisy = _noisy(self.observations[: len(ages)])
        if flux is None:
            measures = [np.full(len(truth), np.nan)] * 8
        else:
            windows = window_reductions(flux, truth, noisy, wavelength).values()
            measures = [reduction(flux, truth, noisy), pearson(flux, truth), *windows]
        columns = np.stack([*measures, *ages.T, *self.fits.means(self.galaxies.weight[: len(ages)]).T], 1).tolist()
        for i, column in enumerate(columns):
            yield Row(method, self.condition.prior, self.condition.snr, i, *column)


def _bound(bench: _Bench, draws: PriorDraws, report: Callable[[str], None]) -> list[Row]:
    scale = np.array([o.ivar[0, -1] for o in bench.observations]) ** -0.5 / draws.curve[-1]
    found = posterior_means(draws, _noisy(bench.observations), scale)
    report(f"{bench.condition}: bound: {np.median(found.effective):.0f} effective draws (median)")
    return list(bench.rows("bound", found.flux, found.quantities))


def _denoise(bench: _Bench, name: str, method: Run) -> list[Row]:
    found = method(bench.observations)
    rows = list(bench.rows(name, found.flux, bench.ages(found.flux)))
    if found.draws is not None and bench.condition.drawn:
        some = found.draws[: bench.condition.drawn].swapaxes(0, 1)
        ages = np.mean([bench.ages(flux) for flux in some], 0)
        rows += bench.rows(f"{name} draws", None, ages)
    return rows


def compare(
    bed: Bed,
    table: Mapping[str, Run],
    *,
    conditions: Sequence[Condition] = CONDITIONS,
    seed: int = 0,
    done: Sequence[Row] = (),
    save: Callable[[list[Row]], None] = lambda rows: None,
    report: Callable[[str], None] = print,
) -> list[Row]:
    """Run every method and the bound under every condition.

    Arguments:
        bed: Pixels and populations.
        table: The methods by name.
        conditions: What to run.
        seed: Of galaxies and noise.
        done: Rows that need not be made again.
        save: Called with all rows after each method.
        report: Called with a line for each condition and method.
    """
    rows, fits = list(done), Populations(bed)
    known = {(r.method, r.prior, r.snr) for r in done}
    for condition in conditions:
        bench = _Bench.of(fits, condition, seed)
        for name in (*table, "bound"):
            if (name, condition.prior, condition.snr) in known:
                continue
            if name == "bound":
                rows += _bound(bench, draw_prior(bed, condition.prior, PRIOR_DRAWS, seed=seed), report)
            else:
                rows += _denoise(bench, name, table[name])
            mine = [r for r in rows if (r.method, r.prior, r.snr) == (name, condition.prior, condition.snr)]
            age = np.sqrt(np.mean([(r.age - r.true_age) ** 2 for r in mine]))
            reduced = np.mean([r.reduction for r in mine])
            report(f"{condition}: {name}: residuals down by {reduced:.2f} %, rms of log age {age:.3f}")
            save(rows)
    return rows


def one_galaxy(bed: Bed, table: Mapping[str, Run], *, seed: int = 0) -> list[Shown]:
    """What each method makes of a galaxy of the trained prior at each S/N, the lowest first; `noisy` is left out."""
    fits, shown = Populations(bed), []
    for condition in (c for c in CONDITIONS if c.prior == SHOWN[0]):
        bench = _Bench.of(fits, replace(condition, count=1), seed)
        denoised = {name: method(bench.observations).flux[0] for name, method in table.items() if name != "noisy"}
        seen = (bench.galaxies.flux[0], _noisy(bench.observations)[0])
        shown.append(Shown(condition.snr, bed.grid.wavelength, *seen, denoised))
    return shown


def run(arguments: Namespace, out: Path) -> None:
    """Score all methods and write tables and figures; see `compare`."""
    if not arguments.library:
        raise InputError("compare: expected --library made by `python -m baselines galaxies` for test bed B4, got none")
    bed, library = Bed.of(read_emiles()), load_galaxies(arguments.library)
    tidy = Path(arguments.csv or out / "b4.csv")
    conditions = [replace(each, count=min(each.count, arguments.per_class)) for each in CONDITIONS]
    options = {"seed": arguments.seed, "done": read_rows(tidy) if tidy.exists() else ()}
    table = methods(library, arguments.model, arguments.network)
    rows = compare(bed, table, conditions=conditions, save=lambda rows: write_rows(Row, rows, tidy), **options)
    write_rows(Row, rows, tidy)
    write_tables(rows, out)
    write_figures(rows, one_galaxy(bed, table, seed=arguments.seed), out)
    print(f"wrote {tidy}, and tables and figures in {out}")
