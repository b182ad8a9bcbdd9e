"""The engines by name: each draws from the same target, with the same arguments."""

import os
from collections.abc import Sequence

from ..errors import InputError
from ..model.data import Data
from ..model.joint import SpectrumModel
from ..posterior import Posterior
from ..spectrum import Observation
from .ensemble import sample_ensemble
from .laplace import sample_laplace
from .located import locate
from .nuts import sample_nuts
from .sampled import posteriors_of_draws
from .svi import sample_svi

__all__ = ["ENGINES", "RERUNS", "check_draws", "fit_draws"]

ENGINES = {"laplace": sample_laplace, "svi": sample_svi, "nuts": sample_nuts, "ensemble": sample_ensemble}
RERUNS = ("none", "longer", "nuts")
LONGER = 4  # times as many draws, of a spectrum whose chains did not converge
BYTES = 64  # of memory for each draw of each pixel, while the moments of the flux are taken


def fit_draws(
    model: SpectrumModel,
    observations: Sequence[Observation],
    method: str,
    *,
    samples: int,
    chains: int,
    seed: int = 0,
    rerun: str = "none",
) -> list[Posterior]:
    """Posteriors from draws of one engine.

    Arguments:
        model: The joint density.
        observations: On the model's grid, all with as many exposures.
        method: One of `ENGINES`.
        samples: Draws of each star, at least; the same number from each chain.
        chains: Chains of each star.
        seed: Seed of starts and draws.
        rerun: What happens to a spectrum whose chains do not converge: 'none', it is flagged; 'longer', once more with
            four times the draws; 'nuts', once more by Pyro's sampler.

    Raises:
        InputError: if the draws of one star would not fit into this machine's memory.
    """
    _check_memory(samples, model.grid.size)
    stars = locate(model, Data.stack(observations, model.device, model.spread.dtype), seed=seed)
    options = {"samples": samples, "chains": chains, "seed": seed}
    draws = ENGINES[method](model, stars, **options)
    posteriors = posteriors_of_draws(model, observations, stars, draws, method, seed=seed)
    again = [i for i, post in enumerate(posteriors) if "r_hat" in post.meta and "NOT_CONVERGED" in post.flags]
    if rerun == "none" or not again:
        return posteriors
    second, options["samples"] = (method, LONGER * samples) if rerun == "longer" else ("nuts", samples)
    some, known = [stars[i] for i in again], [observations[i] for i in again]
    better = posteriors_of_draws(model, known, some, ENGINES[second](model, some, **options), second, seed=seed)
    for i, post in zip(again, better, strict=True):
        posteriors[i] = post
    return posteriors


def check_draws(samples: int, chains: int, rerun: str) -> None:
    """Refuse what no engine can do.

    Raises:
        InputError: if there are fewer draws than chains, no chain, or rerun is not known.
    """
    for name, value in (("samples", samples), ("chains", chains)):
        if value < 1:
            raise InputError(f"{name}: expected at least 1, got {value}")
    if samples < chains:
        raise InputError(f"samples: expected at least one for each of the {chains} chains, got {samples}")
    if rerun not in RERUNS:
        raise InputError(f"rerun: expected one of {', '.join(RERUNS)}, got {rerun!r}")


def _check_memory(samples: int, pixels: int) -> None:
    """Refuse more draws than half of this machine's memory holds, before hours go into them."""
    if not hasattr(os, "sysconf"):
        return
    most = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // 2 // (BYTES * pixels)
    if samples > most:
        raise InputError(f"samples: expected at most {most} draws of {pixels} pixels in this memory, got {samples}")
