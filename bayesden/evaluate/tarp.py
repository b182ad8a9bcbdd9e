r"""Tests of accuracy with random points: coverage of a posterior of any dimension, by distances alone.

For a reference r, drawn without knowledge of the truth, the share of draws that are nearer to it than the truth is,

.. math:: f = \frac1S\, \#\{s:\; \lVert \theta_s - r \rVert < \lVert \theta^* - r \rVert\},

is uniform over simulations if and, over all references, only if the posterior is right. A reference far outside looks at
the posterior along one direction. Two kinds are used for the flux: other stars, in all directions; and other stars dimmed,
which are always on the same side, so that a common bias does not cancel over simulations.

References:
    Lemos, Coogan, Hezaveh & Perreault-Levasseur (2023), *Sampling-based accuracy testing of posterior estimators for general
    inference*, arXiv:2302.03026.
"""

import numpy as np
from numpy.typing import NDArray

from .sbc import ranks

__all__ = ["REFERENCES", "expected_coverage", "references", "tarp"]

REFERENCES = ("other stars", "dimmed stars")
DIMMEST = 0.3


def tarp(draws: NDArray, truth: NDArray, reference: NDArray, rng: np.random.Generator) -> NDArray:
    """The share f of draws nearer to each reference than the truth.

    Arguments:
        draws: Shape (S, D).
        truth: Shape (D,).
        reference: Shape (R, D).
        rng: Breaks ties.

    Returns:
        Shape (R,).
    """
    away = np.stack([np.linalg.norm(draws - r, axis=1) for r in reference], 1)
    return ranks(away, np.linalg.norm(truth - reference, axis=1), rng)


def references(others: NDArray, rng: np.random.Generator) -> NDArray:
    """A reference of each of `REFERENCES` from the true fluxes of other stars (N, D): shape (2, D)."""
    one, another = others[rng.integers(len(others), size=2)]
    return np.stack([one, rng.uniform(0, DIMMEST) * another])


def expected_coverage(f: NDArray, levels: NDArray) -> NDArray:
    """Expected coverage probability at credibility levels: the share of simulations with f below each."""
    return np.searchsorted(np.sort(f), levels, side="right") / len(f)
