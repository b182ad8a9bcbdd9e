r"""Priors of what galaxies are made of: the mass that formed in each single population.

- `smooth`, the prior that methods are trained on: star formation that declined exponentially since it began,
  :math:`\propto e^{t/\tau}` in look-back time t, with none to two bursts, and a metallicity that grew in time;
- `burst` and `burst_old`, shifted priors to test on: one to four single populations, their ages uniform in the logarithm,
  or uniform in time (mostly old).

The paper does not say how histories are drawn; these are ours.
"""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from .templates import Templates

__all__ = ["PRIORS", "draw_histories"]

BEGAN_GYR = (1.0, 13.8)
TAU_GYR = (0.3, 20.0)  # uniform in the logarithm
BURSTS = 2
BURST_MASS = (0.01, 1.0)  # of the rest, uniform in the logarithm
METALLICITY_SD = 0.15  # of the stars of one age
TREND = (-0.5, 0.0)  # dex in [M/H] for a dex in age
FINAL = (-1.2, 0.22)  # [M/H] of the stars of PIVOT
PIVOT = 9.5  # log age / yr


def _axes(templates: Templates) -> tuple[NDArray, NDArray]:
    return np.unique(templates.log_age), np.unique(templates.metallicity)


def _edges(axis: NDArray) -> NDArray:
    inner = (axis[1:] + axis[:-1]) / 2
    return np.concatenate([[2 * axis[0] - inner[0]], inner, [2 * axis[-1] - inner[-1]]])


def _log_uniform(rng: np.random.Generator, low: float, high: float, size: int | tuple) -> NDArray:
    return np.exp(rng.uniform(np.log(low), np.log(high), size))


def _declining(rng: np.random.Generator, n: int, ages: NDArray) -> NDArray:
    """Mass by age (n, ages) of an exponentially declining history; it sums to one."""
    began, tau = rng.uniform(*BEGAN_GYR, (n, 1)), _log_uniform(rng, *TAU_GYR, (n, 1))
    edges = 10 ** (_edges(ages) - 9)
    edges[0] = 0.0  # the youngest population stands for all that is younger
    upto = np.exp((np.minimum(edges, began) - began) / tau)
    return np.diff(upto, axis=1) / (upto[:, -1:] - upto[:, :1])


def _near(values: NDArray, axis: NDArray) -> NDArray:
    """Linear shares of values (*,) in the two grid points beside them: (*, axis)."""
    return np.maximum(0.0, 1 - np.abs(_place(values, axis)[..., None] - np.arange(len(axis))))


def _place(values: NDArray, axis: NDArray) -> NDArray:
    return np.interp(values, axis, np.arange(len(axis)))


def _smooth(rng: np.random.Generator, n: int, templates: Templates) -> NDArray:
    ages, metals = _axes(templates)
    mass = _declining(rng, n, ages)
    count = rng.integers(0, BURSTS + 1, n)
    for k in range(BURSTS):
        size = np.where(count > k, _log_uniform(rng, *BURST_MASS, n), 0.0)
        mass = mass + size[:, None] * _near(rng.uniform(ages[0], 10.0, n), ages)
    final, trend = rng.uniform(*FINAL, (n, 1)), rng.uniform(*TREND, (n, 1))
    centre = np.clip(final + trend * (ages - PIVOT), metals[0], metals[-1])
    spread = np.exp(-0.5 * ((metals - centre[..., None]) / METALLICITY_SD) ** 2) * np.diff(_edges(metals))
    spread /= spread.sum(-1, keepdims=True)
    return np.swapaxes(mass[..., None] * spread, 1, 2).reshape(n, -1)


def _bursts(rng: np.random.Generator, n: int, templates: Templates, *, linear: bool) -> NDArray:
    ages, metals = _axes(templates)
    count, most = rng.integers(1, 5, n), 4
    if linear:
        log_age = np.log10(rng.uniform(10 ** ages[0], 10 ** ages[-1], (n, most)))
    else:
        log_age = rng.uniform(ages[0], ages[-1], (n, most))
    age = np.abs(log_age[..., None] - ages).argmin(-1)
    metal = rng.integers(0, len(metals), (n, most))
    mass = rng.dirichlet(np.ones(most), n) * (np.arange(most) < count[:, None])
    weight = np.zeros((n, len(metals) * len(ages)))
    np.add.at(weight, (np.arange(n)[:, None], metal * len(ages) + age), mass)
    return weight


PRIORS: dict[str, Callable[[np.random.Generator, int, Templates], NDArray]] = {
    "smooth": _smooth,
    "burst": lambda rng, n, templates: _bursts(rng, n, templates, linear=False),
    "burst_old": lambda rng, n, templates: _bursts(rng, n, templates, linear=True),
}


def draw_histories(prior: str, n: int, templates: Templates, rng: np.random.Generator) -> NDArray:
    """Shares of the mass that formed in each population, shape (n, T); rows sum to one.

    Arguments:
        prior: One of `PRIORS`.
        n: Galaxies.
        templates: On a rectangular grid of metallicity and age, sorted so.
        rng: Source of the draws.
    """
    weight = PRIORS[prior](rng, n, templates)
    return weight / weight.sum(1, keepdims=True)
