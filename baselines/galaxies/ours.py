"""Posterior means and draws of our model, as the engine `laplace` makes them, without what it adds for reports."""

from collections.abc import Iterator, Sequence

import numpy as np
import torch
from numpy.typing import NDArray

from bayesden.infer.draws import flux_of_draws
from bayesden.infer.laplace import sample_laplace
from bayesden.infer.located import Located, locate
from bayesden.infer.seeds import random_of
from bayesden.infer.summary import mixed_flux
from bayesden.model.data import Data
from bayesden.model.joint import SpectrumModel
from bayesden.spectrum import Observation

__all__ = ["posterior_flux"]

CHUNK = 32


def posterior_flux(
    model: SpectrumModel, observations: Sequence[Observation], draws: int, *, seed: int = 0
) -> tuple[NDArray, NDArray, NDArray]:
    """Mean and standard deviation of the flux, both (N, D), and draws of it (N, S, D)."""
    found = [_flux(model, star, draws, seed) for star in _located(model, observations, seed)]
    return tuple(np.stack(part) for part in zip(*found, strict=True))


def _located(model: SpectrumModel, observations: Sequence[Observation], seed: int) -> Iterator[Located]:
    for first in range(0, len(observations), CHUNK):
        data = Data.stack(observations[first : first + CHUNK], model.device, model.spread.dtype)
        yield from locate(model, data, seed=seed)


@torch.no_grad()
def _flux(model: SpectrumModel, star: Located, draws: int, seed: int) -> tuple[NDArray, NDArray, NDArray]:
    exact, scale = mixed_flux(model, star.normals), float(star.data.scale[0])
    (drawn,) = sample_laplace(model, [star], samples=draws, seed=seed)
    flux = flux_of_draws(model, star, drawn, random_of(star, seed + 1)).draws
    return tuple(scale * values.double().cpu().numpy() for values in (exact.mean, exact.sigma, flux))
