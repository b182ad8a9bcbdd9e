"""`denoise`: from observations to posteriors, whatever the engine."""

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import overload

import torch

from ..device import torch_device
from ..errors import InputError
from ..io import resample
from ..model.checkpoint import load_model
from ..model.joint import SpectrumModel
from ..posterior import Posterior
from ..spectrum import Observation
from .map import fit_map

__all__ = ["METHODS", "denoise"]

METHODS = ("map",)
UNKNOWN_FRAME = "as the input"  # of the velocity, where the input does not say
CHUNK_EXPOSURES = 64  # of all spectra fitted together: bounds the memory, about 1 GB


@overload
def denoise(observation: Observation, model: SpectrumModel | None = None, **options: object) -> Posterior: ...
@overload
def denoise(
    observation: Sequence[Observation], model: SpectrumModel | None = None, **options: object
) -> list[Posterior]: ...
def denoise(
    observation: Observation | Sequence[Observation],
    model: SpectrumModel | None = None,
    *,
    method: str = "map",
    seed: int = 0,
    device: str | torch.device | None = None,
    without: Iterable[str] = (),
    at_once: int = CHUNK_EXPOSURES,
) -> Posterior | list[Posterior]:
    """Infer the noise-free spectrum of each star from all of its exposures.

    Arguments:
        observation: One observation or several; on another grid than the model's they are resampled first.
        model: From `load_model`; the default model if None.
        method: 'map', the maximum a posteriori and the posterior about it.
        seed: Seed of the starting points.
        device: Where to compute, such as 'cpu' or 'cuda'; the model is moved there and stays. By default where it is.
        without: Nuisances to leave out, their priors made of no width: 'velocity' (the star is at rest), 'reddening'
            (E(B-V) is the prior's mean), 'tilt' (the calibration error that all exposures share), 'calibration' (those of
            single exposures), 'arms' (their arms' differences alone), 'shifts' (of single exposures' wavelengths).
        at_once: Exposures of all spectra that are fitted together: bounds the memory.

    Returns:
        One posterior, or a list in the order of the input.

    Raises:
        InputError: if the method, device or a nuisance is not known, or an observation does not overlap the model's grid.

    Example:
        >>> import numpy as np
        >>> model = load_model()
        >>> w = model.grid.wavelength
        >>> obs = Observation(wavelength=w, flux=np.ones_like(w), ivar=np.full_like(w, 100.0))
        >>> denoise(obs, model).flux.shape
        (2048,)
    """
    if method not in METHODS:
        raise InputError(f"method: expected one of {', '.join(METHODS)}, got {method!r}")
    model = load_model() if model is None else model
    if device is not None:
        model = model.to(torch_device(device))
    if names := _names(without):
        model = model.without(names)
    several = not isinstance(observation, Observation)
    observations = [_on_grid(o, model) for o in (observation if several else [observation])]
    with _full_precision():
        posteriors = [p for chunk in _chunks(observations, at_once) for p in fit_map(model, chunk, seed=seed)]
    facts = {"seed": seed, "without": ",".join(names)} if names else {"seed": seed}
    posteriors = [replace(p, meta={**_frame(p), **p.meta, **facts}) for p in posteriors]
    return posteriors if several else posteriors[0]


def _frame(posterior: Posterior) -> dict[str, str]:
    """The frame of a velocity whose input does not say."""
    return {"velocity_frame": UNKNOWN_FRAME} if "velocity_kms" in posterior.meta else {}


def _names(without: Iterable[str]) -> list[str]:
    """Names of nuisances, from a list of them or one text with commas."""
    words = without.split(",") if isinstance(without, str) else without
    return [name for word in words if (name := word.strip())]


@contextmanager
def _full_precision() -> Iterator[None]:
    """Convolutions on a GPU in float32: torch's default there, TF32, keeps ten bits, too few for a line search in nats."""
    cudnn = torch.backends.cudnn
    as_set = {key: getattr(cudnn, key) for key in ("enabled", "benchmark", "benchmark_limit", "deterministic")}
    with cudnn.flags(**as_set, allow_tf32=False):
        yield


def _on_grid(observation: Observation, model: SpectrumModel) -> Observation:
    return observation if observation.grid == model.grid else resample(observation, model.grid)


def _chunks(observations: list[Observation], at_once: int) -> Iterator[list[Observation]]:
    """Runs of observations in order, each of bounded size once its exposures are padded to the most of any."""
    chunk: list[Observation] = []
    for observation in observations:
        most = max([observation.n_exposures, *(o.n_exposures for o in chunk)])
        if chunk and most * (len(chunk) + 1) > at_once:
            yield chunk
            chunk = []
        chunk.append(observation)
    if chunk:
        yield chunk
