r"""Test bed B3: simulated stars seen by pfs-mr, scored as Pál & Dobos (2024) do.

With the denoised spectrum :math:`D_\lambda` and the noiseless one :math:`F_\lambda`, the errors of a spectrum are the mean and
the maximum over pixels of

.. math:: |E_\lambda| = |D_\lambda - F_\lambda|, \qquad |R_\lambda| = |D_\lambda - F_\lambda| / F_\lambda ,

in their unit, median flux 0.5; beside them the mean of R, the mean |R| within 15 Å of the calcium triplet's lines, and the
Kullback-Leibler divergence of the two spectra, each divided by its sum. What no paper has: *efficiency*, the Cramér-Rao bound
of the flux (`bayesden.evaluate.efficiency`, all seven parameters of a star unknown) over the mean squared error, and the bias
and coverage of equivalent widths (`line_widths`). Figures are those of Pál & Dobos (2024, 4 to 9; 2025, 2).
"""

import time
from argparse import Namespace
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from bayesden.errors import InputError
from bayesden.simulation.build import build_simulator
from bayesden.simulation.simulator import Simulation
from bayesden.simulation.stored import read_simulation
from bayesden.spectrum import Grid, Observation

from .figures.loss_curves import loss_curves
from .figures.one_star import describe, one_star
from .figures.parameter_errors import parameter_errors
from .line_widths import PFS_LINES, Width, measure_widths, write_widths
from .methods import Method, Run, coadd, fit_empca, fit_wiener, moments, networks, ours
from .simulated_bounds import bounds
from .simulated_tables import Row, efficiency_cell, percent, table
from .smoothing import Smoothing
from .tables import cost_table
from .tidy import write_rows
from .wavelet import Wavelet

__all__ = ["clean_spectra", "errors", "methods", "observations", "run"]


TRIPLET_A = (8500.4, 8544.4, 8664.5)  # vacuum
GIANT = {"teff_K": (4900.0, 200.0), "logg": (1.5, 1.0), "feh": (-0.5, 0.5), "snr": (15.0, 5.0)}  # value, and how near


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
        "square": np.square(difference).mean(1),
    }


def clean_spectra(*simulations: Simulation) -> list[NDArray]:
    """The noiseless spectra of simulations, each (N, D), mean |flux| = 1."""
    clean = [s.clean.double().numpy() for s in simulations]
    return [x / np.abs(x).mean(1, keepdims=True) for x in clean]


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


def _score(name: str, method: Run, simulation: Simulation, bound: NDArray) -> tuple[list[Row], list[Width], NDArray]:
    """Rows, line widths, and the denoised spectra of one method."""
    observed, table = observations(simulation), simulation.parameters
    start = time.process_time()
    posteriors = method(observed)
    spent = (time.process_time() - start) / len(observed)
    (flux, _), truth = moments(posteriors), simulation.clean.double().numpy()
    found = errors(flux, truth, simulation.wavelength.numpy()) | {"bound": bound}
    keys = ("index", "snr", "teff_K", "logg", "feh", "axis")
    columns = zip(*(table[key].tolist() for key in keys), *(x.tolist() for x in found.values()), strict=True)
    stars = {"snr": table["snr"].tolist(), "star": [o.name for o in observed], "redshift": table["redshift"]}
    widths = measure_widths(name, posteriors, truth, PFS_LINES, **stars)
    return [Row(name, *column, spent) for column in columns], widths, flux


def methods(train: Simulation, held: Simulation, models: Sequence[str], weights: Sequence[str]) -> dict[str, Method]:
    """All methods of test bed B3 by name: the closed forms fitted on one simulation, their dimensions chosen on another."""
    grid = Grid(train.wavelength.numpy())
    trained = networks(weights, grid) | ours(models, grid)  # first: what is wrong with a file shows at once
    library, validation = clean_spectra(train, held)
    return {
        "coadd": Method(coadd),
        "smoothing": Method(Smoothing(grid).denoise),
        "wavelet bayes": Method(Wavelet(grid).denoise),
        "empca": fit_empca(library, validation, grid),
        "wiener": fit_wiener(library, validation, grid),
        **trained,
    }


def _write(rows: Sequence[Row], out: Path, tidy: Path, denoisers: Mapping[str, Method]) -> None:
    write_rows(Row, rows, tidy)
    written = {
        "b3": table(rows, percent("mean_r")),
        "triplet": table(rows, percent("triplet_r")),
        "efficiency": table(rows, efficiency_cell),
        "cost": cost_table(rows, denoisers),
    }
    for name, lines in written.items():
        (out / f"{name}.md").write_text("\n".join(lines) + "\n")
    parameter_errors(rows, out / "b3.png")


def _typical(simulation: Simulation) -> int:
    """The star nearest to the giant of figure 4 of Pál & Dobos (2024) whose S/N is near theirs."""
    distance = [((simulation.parameters[key] - value) / scale) ** 2 for key, (value, scale) in GIANT.items()]
    return int(np.sum(distance, 0).argmin())


def run(arguments: Namespace, out: Path) -> None:
    """Score all methods on a simulation and write tables and figures; see `compare`."""
    if not arguments.simulation:
        raise InputError("compare: expected --simulation with three files for test bed B3, got none")
    train, held, test = map(read_simulation, arguments.simulation)
    denoisers = methods(train, held, arguments.model, arguments.network)
    bound = bounds(test, build_simulator("pfs-mr"))
    star, rows, widths, shown = _typical(test), [], [], {}
    for name, method in denoisers.items():
        found, lines, flux = _score(name, method.run, test, bound)
        rows, widths, shown[name] = rows + found, widths + lines, flux[star]
        error = 100 * np.mean([r.mean_r for r in found])
        print(f"{name}: mean |R| {error:.2f} %, {1e3 * found[-1].seconds:.1f} CPU ms a spectrum", flush=True)
    tidy = Path(arguments.csv or out / "b3.csv")
    _write(rows, out, tidy, denoisers)
    write_widths(widths, out)
    one = (x[star].double().numpy() for x in (test.clean, test.flux[:, 0]))
    one_star(test.wavelength.numpy(), *one, shown, describe(test.parameters[star]), out / "star.png")
    loss_curves([Path(path).with_suffix(".csv") for path in arguments.network], out / "training.png")
    print(f"wrote {tidy}, and tables and figures in {out}")
