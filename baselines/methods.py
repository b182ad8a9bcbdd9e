"""Every denoiser under one roof, with what it costs."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from bayesden.errors import InputError, ModelError
from bayesden.infer.denoise import denoise
from bayesden.model.checkpoint import load_model
from bayesden.model.joint import SpectrumModel
from bayesden.posterior import Posterior
from bayesden.spectrum import Grid, Observation
from bayesden.train.library import Library

from .empca import Empca
from .mppca import MixturePPCA
from .network_denoiser import NetworkDenoiser
from .point_estimate import point_estimate
from .smoothing import Smoothing
from .wavelet import Wavelet
from .weights import load_weights
from .wiener import Wiener

__all__ = [
    "Method",
    "Run",
    "closed_forms",
    "coadd",
    "fit_empca",
    "fit_wiener",
    "load_fitting",
    "methods",
    "moments",
    "networks",
    "ours",
]

Run = Callable[[list[Observation]], list[Posterior]]


@dataclass(frozen=True, eq=False)
class Method:
    """A denoiser and its cost.

    Arguments:
        run: Observations to their posteriors.
        numbers: How many numbers it holds: parameters, means, factors.
        training_s: Seconds of a processor that its fit or training took; NaN where not known.
        remark: What is special about it.
    """

    run: Run
    numbers: int = 0
    training_s: float = float("nan")
    remark: str = ""

    def __call__(self, observations: Sequence[Observation]) -> tuple[NDArray, NDArray]:
        """Flux and standard deviation, each of shape (N, D)."""
        return moments(self.run(list(observations)))


def moments(posteriors: Sequence[Posterior]) -> tuple[NDArray, NDArray]:
    """Mean and standard deviation of N posteriors, each of shape (N, D)."""
    return np.array([p.flux for p in posteriors]), np.array([p.sigma for p in posteriors])


def coadd(observations: Sequence[Observation]) -> list[Posterior]:
    """Do nothing: the inverse-variance mean of the exposures."""
    found = []
    for each in observations:
        flux, ivar = each.coadd()
        sigma = 1 / np.sqrt(np.where(ivar > 0, ivar, np.nan))
        found.append(replace(point_estimate(each, flux, "coadd"), sigma=sigma))
    return found


def _timed(fit: Callable[[], object], arrays: Callable[[object], list[NDArray]]) -> Method:
    start = time.process_time()
    fitted = fit()
    spent = time.process_time() - start
    return Method(fitted.denoise, sum(a.size for a in arrays(fitted)), spent)


def fit_empca(flux: NDArray, held: NDArray, grid: Grid) -> Method:
    """Components of clean spectra (N, D), their number chosen on others."""
    return _timed(lambda: Empca.fit(flux, grid, validation=held), lambda m: [m.mean, m.components])


def fit_wiener(flux: NDArray, held: NDArray, grid: Grid) -> Method:
    """The Wiener filter of clean spectra (N, D), its rank chosen on others."""
    return _timed(
        lambda: Wiener.fit(flux, grid, validation=held), lambda m: [m.prior.mean, m.prior.factor, m.prior.psi]
    )


def closed_forms(library: Library) -> dict[str, Method]:
    """Do nothing, smoothing, wavelets, and what linear algebra does with a library's training and validation split."""
    train, held, grid = library.subset("train"), library.subset("validation"), library.grid
    table = {"coadd": Method(coadd), "smoothing": Method(Smoothing(grid).denoise)}
    for threshold in ("universal", "bayes"):
        table[f"wavelet {threshold}"] = Method(Wavelet(grid, threshold).denoise)
    table["empca"] = fit_empca(train.flux, held.flux, grid)
    table["wiener"] = fit_wiener(train.flux, held.flux, grid)
    pair = (held.flux, held.label)
    table["mppca"] = _timed(
        lambda: MixturePPCA.fit(train.flux, train.label, library.classes, grid, validation=pair),
        lambda m: [a for p in m.priors for a in (p.mean, p.factor, p.psi)],
    )
    return table


def networks(paths: Sequence[str], grid: Grid) -> dict[str, Method]:
    """Trained networks by name.

    Raises:
        InputError: if a file is missing, its training unfinished, or two have the same name.
        ModelError: if a file is no network's, or for another grid.
    """
    table = {}
    for path in map(Path, paths):
        weights = load_weights(path)
        if weights.grid != grid:
            ours, theirs = (f"{g.size} pixels from {g.wavelength[0]:.6g} A" for g in (grid, weights.grid))
            raise ModelError(
                f"{path}: expected a network for the bed's grid ({ours}), got one for {weights.instrument} ({theirs})"
            )
        if weights.name in table:
            raise InputError(f"{path}: expected networks of different kinds, got {weights.name} twice")
        numbers = sum(p.numel() for p in weights.network.parameters())
        facts = weights.training
        spent = float(facts.get("cpu_s", facts["seconds"]))
        table[weights.name] = Method(NetworkDenoiser(weights).denoise, numbers, spent, str(facts["remark"]))
    return table


def load_fitting(name: str, grid: Grid) -> SpectrumModel:
    """A model of this package, by its name or path, for a bed's pixels.

    Raises:
        ModelError: if it is for another grid.
    """
    model = load_model(name)
    if model.grid != grid:
        raise ModelError(f"{name}: expected a model for the bed's {grid.size} pixels, got one for another grid")
    return model


def ours(names: Sequence[str], grid: Grid) -> dict[str, Method]:
    """Models of this package by name.

    Raises:
        ModelError: if one is for another grid.
    """
    table = {}
    for name in names:
        model = load_fitting(name, grid)
        numbers = sum(t.numel() for t in model.state_dict().values())
        table[f"bayesden {Path(name).stem}"] = Method(partial(denoise, model=model), numbers)
    return table


def methods(library: Library, models: Sequence[str], weights: Sequence[str] = ()) -> dict[str, Method]:
    """All methods of test bed B1 by name.

    Arguments:
        library: Its training split fits the closed forms, its validation split chooses their dimensions.
        models: Names or paths of models of this package.
        weights: Files of trained networks.
    """
    table = networks(weights, library.grid)  # first: what is wrong with a file shows before minutes of fits
    trained = ours(models, library.grid)
    return closed_forms(library) | table | trained
