r"""The null test: does denoising help to measure a star? (Gebran et al. 2025; stars of test bed B3)

    bayesden simulate pfs-mr --mode multilinear -n 2000 --seed 10 --out train.h5
    bayesden simulate pfs-mr --mode multilinear -n 1000 --seed 11 --out labels.h5
    bayesden simulate pfs-mr --mode multilinear -n 400 --seed 12 --out test.h5
    python -m baselines simulated-model --simulation train.h5 labels.h5 --out pfs-null.safetensors
    python -m baselines null-test --simulation train.h5 labels.h5 test.h5 --model pfs-null.safetensors --out out/null

Temperature, gravity, [Fe/H] and velocity of stars whose parameters are known, by four ways: *fit*, maximum likelihood with the
simulator itself (`label_fit`), on the noisy spectrum and on each denoiser's output, with the noisy spectrum's inverse
variances; *regressor*, a network trained on `labels.h5` (`label_regressor`), noisy or denoised; and *latents*, what our model
knows without looking at the flux again: the velocity of its fit, and the labels of its latents by a smooth interpolation
among the encoded noiseless stars of `train.h5`. The closed forms are fitted on `train.h5`.

``null.csv`` has a row for each star and way; ``null.md`` bias and scatter of each label by S/N with bootstrap intervals of
95 %, ``verdict.md`` the scatter against the fit of the noisy spectrum, and ``null.png`` a picture of it.

References:
    Gebran et al. 2025, on denoising and stellar parameters.
"""

from argparse import ArgumentParser, Namespace
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.interpolate import RBFInterpolator

from bayesden.errors import InputError
from bayesden.model.checkpoint import load_model
from bayesden.model.joint import SpectrumModel
from bayesden.model.rest_frame import LIGHT_KMS
from bayesden.posterior import Posterior
from bayesden.simulation.build import build_simulator
from bayesden.simulation.simulator import Simulation, Simulator
from bayesden.simulation.stored import read_simulation
from bayesden.spectrum import Grid

from .arguments import add_seed
from .bootstrap import rms, scatter
from .figures.label_errors import label_errors
from .label_fit import LABELS, LabelFit
from .methods import Method, coadd, fit_wiener, moments, networks, ours
from .null_tables import NOISY, Row, error_tables, ratio_table
from .simulated_bed import clean_spectra, observations
from .simulated_model import rest_library
from .tidy import write_rows

__all__ = ["add_arguments", "labels_of", "run"]

NEIGHBOURS, SMOOTHING = 64, 1e-3  # of the interpolation among latents


def labels_of(simulation: Simulation) -> NDArray:
    """The true labels of a simulation, (N, 4)."""
    table = simulation.parameters
    return np.column_stack([*(table[name] for name in LABELS[:3]), LIGHT_KMS * table["redshift"]])


def latent_labels(
    model: SpectrumModel, stars: Simulation, simulator: Simulator
) -> Callable[[Sequence[Posterior]], NDArray]:
    """From a model's posteriors to labels (N, 4): the velocity of the fit, and what stars with such latents are."""
    library = rest_library(stars, simulator, model.frame)
    with torch.no_grad():
        known = model.generator.encode(torch.from_numpy(library.flux)).double().numpy()
    mean, scale, truth = known.mean(0), known.std(0), labels_of(stars)[:, :3]
    options = {"neighbors": NEIGHBOURS, "smoothing": SMOOTHING}
    interpolate = RBFInterpolator((known - mean) / scale, truth / truth.std(0), **options)

    def labels(posteriors: Sequence[Posterior]) -> NDArray:
        latent = np.array([np.atleast_2d(p.latent).mean(0) for p in posteriors])
        found = interpolate((latent - mean) / scale) * truth.std(0)
        found = found.clip(truth.min(0), truth.max(0))  # as the fit, which ends at the grid's limits
        return np.column_stack([found, [p.meta["velocity_kms"] for p in posteriors]])

    return labels


def _rows(way: str, source: str, found: NDArray, test: Simulation) -> list[Row]:
    table = test.parameters
    place = zip(table["index"].tolist(), table["snr"].tolist(), (found - labels_of(test)).tolist(), strict=True)
    return [Row(way, source, star, snr, *error) for star, snr, error in place]


def _fit(fit: LabelFit, flux: NDArray, test: Simulation) -> NDArray:
    """Labels of spectra (N, D) in the simulation's unit, with the inverse variances of its noise."""
    scale = test.parameters["scale"][:, None]
    return fit(flux / scale, test.ivar[:, 0].double().numpy() * scale**2)


def _write(rows: Sequence[Row], out: Path) -> None:
    write_rows(Row, rows, out / "null.csv")
    written = {
        "null": error_tables(rows, scatter),
        "null-rms": error_tables(rows, rms),
        "verdict": ratio_table(rows),
    }
    for name, lines in written.items():
        (out / f"{name}.md").write_text("\n".join(lines) + "\n")
    label_errors(rows, out / "null.png")


def add_arguments(parser: ArgumentParser) -> None:
    """The command's own arguments."""
    text = "simulations of pfs-mr, mode multilinear: to fit closed forms on, to train regressors on, and the test"
    parser.add_argument("--simulation", nargs=3, metavar="FILE", required=True, help=text)
    parser.add_argument("--model", action="append", default=[], help="our model, made by `simulated-model`")
    parser.add_argument("--network", action="append", default=[], help="weights that `train` wrote; may be repeated")
    parser.add_argument("--stars", type=int, help="of the test; all by default")
    parser.add_argument("--out", default="out/null", help="folder for the tables and the figure")
    add_seed(parser)


def _read(arguments: Namespace) -> list[Simulation]:
    ends = (None, None, arguments.stars)
    found = [read_simulation(path, stop=end) for path, end in zip(arguments.simulation, ends, strict=True)]
    for path, stars in zip(arguments.simulation, found, strict=True):
        if (stars.parameters["axis"] >= 0).any():
            raise InputError(
                f"{path}: expected stars of `bayesden simulate --mode multilinear`, got some of mode spline"
            )
    return found


def _pointwise(table: Mapping[str, Method], known: Simulation, test: Simulation, fit: LabelFit, out: Path) -> list[Row]:
    """The fit and the regressor on each method's output."""
    from .label_regressor import LabelRegressor  # here: it needs the extra

    rows, seen = [], (observations(known), observations(test))
    for name, method in table.items():
        shown, flux = (method(part)[0] for part in seen)
        rows += _rows("fit", name, _fit(fit, flux, test), test)
        regressor = LabelRegressor.fit(shown, labels_of(known), out / f"regressor {name}")
        rows += _rows("regressor", name, regressor(flux), test)
        print(f"{name}: fitted and regressed", flush=True)
    return rows


def run(arguments: Namespace) -> None:
    """The command: see `python -m baselines null-test --help`."""
    train, known, test = _read(arguments)
    grid, out = Grid(train.wavelength.numpy()), Path(arguments.out)
    out.mkdir(parents=True, exist_ok=True)
    table = {NOISY: Method(coadd), "wiener": fit_wiener(*clean_spectra(train, known), grid)}
    table |= networks(arguments.network, grid)
    simulator = build_simulator("pfs-mr", mode="multilinear")
    fit = LabelFit(simulator)
    rows = _pointwise(table, known, test, fit, out)
    for (name, method), path in zip(ours(arguments.model, grid).items(), arguments.model, strict=True):
        posteriors = method.run(observations(test))
        rows += _rows("fit", name, _fit(fit, moments(posteriors)[0], test), test)
        rows += _rows("latents", name, latent_labels(load_model(path), train, simulator)(posteriors), test)
    _write(rows, out)
    print("\n".join(ratio_table(rows)))
    print(f"wrote {out}/null.csv, null.md, null-rms.md, verdict.md and null.png")
