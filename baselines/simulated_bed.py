r"""Test bed B3: simulated stars seen by pfs-mr, scored as Pál & Dobos (2024) do.

With the denoised spectrum :math:`D_\lambda` and the noiseless one :math:`F_\lambda`, the errors of a spectrum are the mean and
the maximum over pixels of

.. math:: |E_\lambda| = |D_\lambda - F_\lambda|, \qquad |R_\lambda| = |D_\lambda - F_\lambda| / F_\lambda ,

in their unit, median flux 0.5; beside them the mean of R, the mean |R| within 15 Å of the calcium triplet's lines, and the
Kullback-Leibler divergence of the two spectra, each divided by its sum. The tables have S/N for rows; the figure shows the
errors against S/N, effective temperature, gravity and metallicity, as their figures 6 to 9.
"""

import csv
import time
from argparse import Namespace
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import pairwise
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from bayesden.errors import InputError, ModelError
from bayesden.infer.denoise import denoise
from bayesden.model.checkpoint import load_model
from bayesden.simulation.simulator import Simulation
from bayesden.simulation.stored import read_simulation
from bayesden.spectrum import Grid, Observation

from .empca import Empca
from .methods import Method, Run, coadd, moments, networks
from .smoothing import Smoothing
from .tables import bootstrap
from .wavelet import Wavelet
from .wiener import Wiener

__all__ = ["AXES", "Row", "errors", "methods", "observations", "run", "table"]

TRIPLET_A = (8500.4, 8544.4, 8664.5)  # vacuum
EDGES = (0.0, 5.0, 10.0, 20.0, 40.0, 120.0)  # of S/N
TICKS = (2.0, 5.0, 10.0, 20.0, 50.0)
AXES = {"snr": "S/N", "teff_K": "effective temperature, K", "logg": "log g", "feh": "[Fe/H]"}


@dataclass(frozen=True)
class Row:
    """One star by one method; `axis` is the parameter along which its spectrum lies between the grid's."""

    method: str
    star: int
    snr: float
    teff_K: float
    logg: float
    feh: float
    axis: float
    mean_e: float
    max_e: float
    mean_r: float
    max_r: float
    bias_r: float
    triplet_r: float
    divergence: float
    seconds: float


def errors(flux: NDArray, truth: NDArray, wavelength: NDArray) -> dict[str, NDArray]:
    """The measures of the module's docstring for spectra (N, D): each of shape (N,)."""
    difference = flux - truth
    relative = difference / truth
    triplet = np.any([np.abs(wavelength - line) < 15 for line in TRIPLET_A], axis=0)
    p, q = (np.clip(x, 1e-6, None) for x in (truth, flux))
    p, q = p / p.sum(1, keepdims=True), q / q.sum(1, keepdims=True)
    return {
        "mean_e": np.abs(difference).mean(1),
        "max_e": np.abs(difference).max(1),
        "mean_r": np.abs(relative).mean(1),
        "max_r": np.abs(relative).max(1),
        "bias_r": relative.mean(1),
        "triplet_r": np.abs(relative[:, triplet]).mean(1),
        "divergence": (p * np.log(p / q)).sum(1),
    }


def observations(simulation: Simulation) -> list[Observation]:
    """The noisy spectra of a simulation."""
    wavelength = simulation.wavelength.numpy()
    columns = zip(
        simulation.parameters["index"],
        *(getattr(simulation, key).double().numpy() for key in ("flux", "ivar")),
        simulation.mask.numpy(),
        strict=True,
    )
    return [Observation(wavelength, flux, ivar, mask, name=f"star {i}") for i, flux, ivar, mask in columns]


def _score(name: str, method: Run, simulation: Simulation, observed: Sequence[Observation]) -> list[Row]:
    start = time.perf_counter()
    flux, _ = method(observed)
    spent = (time.perf_counter() - start) / len(flux)
    found = errors(flux, simulation.clean.double().numpy(), simulation.wavelength.numpy())
    table = simulation.parameters
    keys = ("index", "snr", "teff_K", "logg", "feh", "axis")
    columns = zip(*(table[key].tolist() for key in keys), *(x.tolist() for x in found.values()), strict=True)
    return [Row(name, *column, spent) for column in columns]


def methods(train: Simulation, held: Simulation, models: Sequence[str], weights: Sequence[str]) -> dict[str, Method]:
    """All methods of test bed B3 by name: the closed forms fitted on one simulation, their dimensions chosen on another."""
    grid = Grid(train.wavelength.numpy())
    trained = networks(weights, grid)
    for name in models:
        model = load_model(name)
        if model.grid != grid:
            raise ModelError(f"{name}: expected a model for the {grid.size} pixels of pfs-mr, got one for another grid")
        trained[f"bayesden {Path(name).stem}"] = Method(moments(partial(denoise, model=model)))
    clean = [s.clean.double().numpy() for s in (train, held)]
    library, validation = (x / np.abs(x).mean(1, keepdims=True) for x in clean)
    fitted = {
        "empca": Empca.fit(library, grid, validation=validation),
        "wiener": Wiener.fit(library, grid, validation=validation),
    }
    return {
        "coadd": Method(coadd),
        "smoothing": Method(moments(Smoothing(grid).denoise)),
        "wavelet bayes": Method(moments(Wavelet(grid).denoise)),
        **{name: Method(moments(method.denoise)) for name, method in fitted.items()},
        **trained,
    }


def table(rows: Sequence[Row], value: Callable[[Row], float] = lambda row: 100 * row.mean_r) -> list[str]:
    """Mean |R| in percent by S/N, over spectra, with the bootstrap's interval of 95 %, as Markdown."""
    bins = list(pairwise(EDGES))
    head = " | ".join(f"S/N {low:g} to {high:g}" for low, high in bins)
    lines = [f"| method | {head} | all |", "|---" * (len(bins) + 2) + "|"]
    for method in dict.fromkeys(r.method for r in rows):
        mine = [r for r in rows if r.method == method]
        cells = []
        for low, high in (*bins, (0.0, np.inf)):
            some = [r for r in mine if low <= r.snr < high]
            values = np.array([value(r) for r in some])
            if not some:
                cells.append("-")
                continue
            interval = bootstrap(values, [str(r.star) for r in some], "mean")
            cells.append(f"{values.mean():.2f} [{interval[0]:.2f}, {interval[1]:.2f}]")
        lines.append(f"| {method} | {' | '.join(cells)} |")
    return lines


def _plot(rows: Sequence[Row], path: Path) -> None:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(13, 6), layout="constrained")
    axes = figure.subplots(2, len(AXES), sharey="row")
    for key, label, column in zip(AXES, AXES.values(), axes.T, strict=True):
        values = np.array([getattr(r, key) for r in rows])
        edges = np.quantile(values, np.linspace(0, 1, 11))
        for method in dict.fromkeys(r.method for r in rows if r.method != "coadd"):
            mine = [r for r in rows if r.method == method]
            place = np.clip(np.searchsorted(edges, [getattr(r, key) for r in mine], "right") - 1, 0, 9)
            for axis, measure in zip(column, ("mean_r", "max_r"), strict=True):
                found = np.array([getattr(r, measure) for r in mine])
                full = [k for k in range(10) if (place == k).any()]
                means = [found[place == k].mean() for k in full]
                axis.semilogy(((edges[1:] + edges[:-1]) / 2)[full], means, marker=".", label=method)
        column[1].set(xlabel=label)
    axes[0, 0].set_ylabel("mean |R|")
    axes[1, 0].set_ylabel("maximum |R|")
    for axis in axes[:, 0]:
        axis.set_xscale("log")
        axis.set_xticks(TICKS, labels=[f"{snr:g}" for snr in TICKS])
        axis.xaxis.minorticks_off()
    figure.legend(*axes[0, 0].get_legend_handles_labels(), loc="outside right", frameon=False, fontsize="small")
    figure.savefig(path, dpi=150)


def _write(rows: Sequence[Row], out: Path, tidy: Path, denoisers: Mapping[str, Method]) -> None:
    with tidy.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(Row.__dataclass_fields__)
        writer.writerows(vars(row).values() for row in rows)
    (out / "b3.md").write_text("\n".join(table(rows)) + "\n")
    (out / "triplet.md").write_text("\n".join(table(rows, lambda row: 100 * row.triplet_r)) + "\n")
    remarks = [f"- {name}: {method.remark}" for name, method in denoisers.items() if method.remark]
    (out / "remarks.md").write_text("\n".join(remarks) + "\n")
    _plot(rows, out / "b3.png")


def run(arguments: Namespace, out: Path) -> None:
    """Score all methods on a simulation and write tables and figure; see `compare`."""
    if not arguments.simulation:
        raise InputError("compare: expected --simulation with three files for test bed B3, got none")
    train, held, test = map(read_simulation, arguments.simulation)
    observed, rows = observations(test), []
    table_of = methods(train, held, arguments.model, arguments.network)
    for name, method in table_of.items():
        rows += _score(name, method, test, observed)
        mine = [r.mean_r for r in rows if r.method == name]
        print(f"{name}: mean |R| {100 * np.mean(mine):.2f} %, {1e3 * rows[-1].seconds:.1f} ms a spectrum", flush=True)
    _write(rows, out, Path(arguments.csv or out / "b3.csv"), table_of)
    print(f"wrote {arguments.csv or out / 'b3.csv'}, and tables in {out}")
