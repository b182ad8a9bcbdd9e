r"""How often intervals hold the truth: by level, class and signal-to-noise ratio.

From the relative ranks u of the truth in N simulations and M pixels (`sbc.py`), a central interval of level q holds it where
:math:`|2u - 1| < q`, and it is below the median where :math:`u < 1/2`: a bias of a third of a standard deviation hardly
shows in the former. Pixels of one star err together, so the uncertainty of a coverage is that of a mean over stars.

A posterior that is right covers what it states of any stars that are chosen by their data. Of those of one true class it need
not: faint stars of a class that looks like a more common one are pulled towards that, and their truth is in its posterior's
tails more often. So classes are the most probable ones.

A coverage fails if it is further than `TOLERANCE` from its level, by more than chance allows in all rows together.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.stats import t as student_t

from .sbc import LEVEL

__all__ = ["STATED", "TOLERANCE", "Coverage", "coverage", "coverage_curve", "covered", "groups_of"]

STATED = {"within 50 %": 0.5, "within 90 %": 0.9, "below median": 0.5}
TOLERANCE = 0.02
FEWEST = 8  # stars of a group, or nothing is said of it


@dataclass(frozen=True)
class Coverage:
    """Shares of a group of stars.

    Arguments:
        stars: How many.
        share: By the names of `STATED`.
        error: Standard error of each.
    """

    stars: int
    share: dict[str, float]
    error: dict[str, float]


def coverage(u: NDArray) -> Coverage:
    """Coverage from ranks (N, M) of N stars."""
    hits = {
        "within 50 %": np.abs(2 * u - 1) < 0.5,
        "within 90 %": np.abs(2 * u - 1) < 0.9,
        "below median": u < 0.5,
    }
    by_star = {name: hit.mean(1) for name, hit in hits.items()}
    error = {name: float(x.std(ddof=1) / np.sqrt(len(x))) for name, x in by_star.items()}
    return Coverage(len(u), {name: float(x.mean()) for name, x in by_star.items()}, error)


def coverage_curve(u: NDArray, levels: NDArray) -> NDArray:
    """Share of ranks (N, M) within the central interval of each level."""
    return np.searchsorted(np.sort(np.abs(2 * u - 1).ravel()), levels) / u.size


def covered(groups: Mapping[str, Coverage]) -> bool:
    """Whether no group's coverage is too far from what is stated."""
    tests = len(groups) * len(STATED)
    return all(
        abs(group.share[name] - level) <= TOLERANCE + _allowed(group, name, tests)
        for group in groups.values()
        for name, level in STATED.items()
    )


def _allowed(group: Coverage, name: str, tests: int) -> float:
    """What chance may add to a distance."""
    return float(student_t.isf(LEVEL / tests / 2, group.stars - 1)) * group.error[name]


def groups_of(u: NDArray, masks: Mapping[str, NDArray]) -> dict[str, Coverage]:
    """Coverage of each group that has enough stars.

    Arguments:
        u: Ranks, shape (N, M).
        masks: Who is in a group, by its name, each (N,).
    """
    return {name: coverage(u[mask]) for name, mask in masks.items() if mask.sum() >= FEWEST}
