"""Statistics with intervals: whole stars are drawn anew, with replacement."""

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

__all__ = ["Statistic", "bootstrap", "interval", "mean", "median", "resample", "rms", "scatter"]

DRAWS = 1000
LEVELS = (2.5, 97.5)  # percent: of the intervals
ROBUST = 1.4826  # standard deviations of a normal in its median absolute deviation

Statistic = Callable[[NDArray, NDArray], NDArray]  # values (N,), how often each is there (R, N), to (R,)


def resample(groups: int, *, seed: int = 0) -> NDArray:
    """How often each group is in each of `DRAWS` samples of as many: (R, groups)."""
    return np.random.default_rng(seed).multinomial(groups, np.full(groups, 1 / groups), size=DRAWS)


def mean(values: NDArray, weight: NDArray) -> NDArray:
    """Means of values (N,) of which each is there as often as `weight` (R, N) says: (R,)."""
    return weight @ values / weight.sum(1)


def rms(values: NDArray, weight: NDArray) -> NDArray:
    """Roots of mean squares: see `mean`."""
    return np.sqrt(mean(values**2, weight))


def median(values: NDArray, weight: NDArray) -> NDArray:
    """Medians, the lower of two: see `mean`."""
    order = np.argsort(values)
    total = weight[:, order].cumsum(1)
    return values[order][(2 * total >= total[:, -1:]).argmax(1)]


def scatter(values: NDArray, weight: NDArray) -> NDArray:
    """Median absolute deviations in units of a normal's standard deviation: see `mean`."""
    distance = np.abs(values - median(values, weight)[:, None])
    order = distance.argsort(1)
    total = np.take_along_axis(weight, order, 1).cumsum(1)
    middle = np.take_along_axis(order, (2 * total >= total[:, -1:]).argmax(1)[:, None], 1)
    return ROBUST * np.take_along_axis(distance, middle, 1)[:, 0]


def interval(drawn: NDArray) -> tuple[float, float]:
    """The central 95 % of drawn values."""
    low, high = np.percentile(drawn, LEVELS)
    return float(low), float(high)


def bootstrap(values: NDArray, group: Sequence[str], statistic: Statistic, *, seed: int = 0) -> tuple[float, float]:
    """Interval of 95 % of a statistic.

    Arguments:
        values: Shape (N,).
        group: What belongs together, such as the spectra of one star, N of them.
        statistic: Of the values.
        seed: Seed of the draws.
    """
    _, member = np.unique(np.asarray(group), return_inverse=True)
    return interval(statistic(values, resample(member.max() + 1, seed=seed)[:, member]))
