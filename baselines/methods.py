"""Every denoiser under one roof, with what it costs."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from bayesden.errors import InputError, ModelError
from bayesden.infer.denoise import denoise
from bayesden.model.checkpoint import load_model
from bayesden.posterior import Posterior
from bayesden.spectrum import Grid, Observation
from bayesden.train.library import Library

from .empca import Empca
from .mppca import MixturePPCA
from .network_denoiser import NetworkDenoiser
from .smoothing import Smoothing
from .wavelet import Wavelet
from .weights import load_weights
from .wiener import Wiener

__all__ = ["Method", "closed_forms", "coadd", "methods", "moments", "networks"]

Run = Callable[[Sequence[Observation]], tuple[NDArray, NDArray]]  # observations to flux and sigma, each (N, D)


@dataclass(frozen=True, eq=False)
class Method:
    """A denoiser and its cost.

    Arguments:
        run: Observations to flux and standard deviation, each of shape (N, D).
        numbers: How many numbers it holds: parameters, means, factors.
        training_s: Seconds that its fit or training took; NaN where not known.
        remark: What is special about it.
    """

    run: Run
    numbers: int = 0
    training_s: float = float("nan")
    remark: str = ""

    def __call__(self, observations: Sequence[Observation]) -> tuple[NDArray, NDArray]:
        """Flux and standard deviation, each of shape (N, D)."""
        return self.run(observations)


def coadd(observations: Sequence[Observation]) -> tuple[NDArray, NDArray]:
    """Do nothing: the inverse-variance mean of the exposures."""
    flux, ivar = np.array([o.coadd() for o in observations]).swapaxes(0, 1)
    return flux, 1 / np.sqrt(np.where(ivar > 0, ivar, np.nan))


def moments(infer: Callable[[list[Observation]], list[Posterior]]) -> Run:
    """Mean and standard deviation of a denoiser's posteriors."""

    def run(observations: Sequence[Observation]) -> tuple[NDArray, NDArray]:
        posteriors = infer(list(observations))
        return np.array([p.flux for p in posteriors]), np.array([p.sigma for p in posteriors])

    return run


def _timed(fit: Callable[[], object], arrays: Callable[[object], list[NDArray]]) -> Method:
    start = time.perf_counter()
    fitted = fit()
    spent = time.perf_counter() - start
    return Method(moments(fitted.denoise), sum(a.size for a in arrays(fitted)), spent)


def closed_forms(library: Library) -> dict[str, Method]:
    """Do nothing, smoothing, wavelets, and what linear algebra does with a library's training and validation split."""
    train, held, grid = library.subset("train"), library.subset("validation"), library.grid
    table = {"coadd": Method(coadd), "smoothing": Method(moments(Smoothing(grid).denoise))}
    for threshold in ("universal", "bayes"):
        table[f"wavelet {threshold}"] = Method(moments(Wavelet(grid, threshold).denoise))
    table["empca"] = _timed(lambda: Empca.fit(train.flux, grid, validation=held.flux), lambda m: [m.mean, m.components])
    table["wiener"] = _timed(
        lambda: Wiener.fit(train.flux, grid, validation=held.flux),
        lambda m: [m.prior.mean, m.prior.factor, m.prior.psi],
    )
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
        table[weights.name] = Method(
            moments(NetworkDenoiser(weights).denoise), numbers, float(facts["seconds"]), str(facts["remark"])
        )
    return table


def methods(library: Library, models: Sequence[str], weights: Sequence[str] = ()) -> dict[str, Method]:
    """All methods of test bed B1 by name.

    Arguments:
        library: Its training split fits the closed forms, its validation split chooses their dimensions.
        models: Names or paths of models of this package.
        weights: Files of trained networks.
    """
    table = networks(weights, library.grid)  # first: what is wrong with a file shows before minutes of fits
    trained = {}
    for name in models:
        model = load_model(name)
        numbers = sum(t.numel() for t in model.state_dict().values())
        trained[f"bayesden {Path(name).stem}"] = Method(moments(partial(denoise, model=model)), numbers)
    return closed_forms(library) | table | trained
