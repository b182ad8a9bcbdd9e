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
from .engines import ENGINES, check_draws, fit_draws
from .map import fit_map

__all__ = ["METHODS", "denoise"]

METHODS = ("map", *ENGINES)
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
    samples: int = 2000,
    chains: int = 4,
    rerun: str = "none",
    at_once: int = CHUNK_EXPOSURES,
) -> Posterior | list[Posterior]:
    """Infer the noise-free spectrum of each star from all of its exposures.

    Arguments:
        observation: One observation or several; on another grid than the model's they are resampled first.
        model: From `load_model`; the default model if None.
        method: 'map', the maximum a posteriori and the posterior about it in closed form, without draws; 'laplace', with
            draws from that; 'svi', Pyro's variational inference; 'ensemble', Markov chains of many spectra in lock-step;
            'nuts', Pyro's sampler, the slow reference.
        seed: Seed of the starting points and of all draws.
        device: Where to compute, such as 'cpu' or 'cuda'; the model is moved there and stays. By default where it is.
        without: Nuisances to leave out, their priors made of no width: 'velocity' (the star is at rest), 'reddening'
            (E(B-V) is the prior's mean), 'tilt' (the calibration error that all exposures share), 'calibration' (those of
            single exposures), 'arms' (their arms' differences alone), 'shifts' (of single exposures' wavelengths).
        samples: Draws of each spectrum, at least; as many from each chain. Not of 'map'.
        chains: Chains of each spectrum.
        rerun: What happens where chains do not converge: 'none' (the spectrum is flagged), 'longer' (once more with four
            times the draws) or 'nuts' (once more by Pyro's sampler).
        at_once: Exposures of all spectra that are fitted together: bounds the memory.

    Returns:
        One posterior, or a list in the order of the input.

    Raises:
        InputError: if the method, device, a nuisance or rerun is not known, there are fewer draws than chains or no chain,
            or an observation does not overlap the model's grid.

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
    draws = {"samples": samples, "chains": chains, "rerun": rerun}
    check_draws(**draws)
    with _full_precision():
        posteriors = _fit(model, observations, method, seed, at_once, draws)
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


def _fit(
    model: SpectrumModel,
    observations: list[Observation],
    method: str,
    seed: int,
    at_once: int,
    draws: dict[str, int | str],
) -> list[Posterior]:
    """Posteriors in the order of the observations, which are fitted by number of exposures: none is padded."""
    order = sorted(range(len(observations)), key=lambda i: observations[i].n_exposures)
    posteriors = {}
    for rows in _chunks([(i, observations[i].n_exposures) for i in order], at_once):
        chunk = [observations[i] for i in rows]
        posteriors |= dict(zip(rows, _fit_chunk(model, chunk, method, seed, draws), strict=True))
    return [posteriors[i] for i in range(len(observations))]


def _fit_chunk(
    model: SpectrumModel, chunk: list[Observation], method: str, seed: int, draws: dict[str, int | str]
) -> list[Posterior]:
    if method == "map":
        return fit_map(model, chunk, seed=seed)
    return fit_draws(model, chunk, method, seed=seed, **draws)


def _chunks(rows: list[tuple[int, int]], at_once: int) -> Iterator[list[int]]:
    """Runs of indices, given with their numbers of exposures, of one number and bounded size."""
    chunk: list[int] = []
    for i, (row, exposures) in enumerate(rows):
        chunk.append(row)
        if i + 1 == len(rows) or rows[i + 1][1] != exposures or exposures * (len(chunk) + 1) > at_once:
            yield chunk
            chunk = []
