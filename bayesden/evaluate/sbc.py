r"""Simulation-based calibration: where the truth stands among the draws of its posterior.

If :math:`\theta^* \sim p(\theta)`, :math:`y \sim p(y \mid \theta^*)` and :math:`\theta_1 \dots \theta_S` are draws of
:math:`p(\theta \mid y)`, then for every function q of the parameters, with
:math:`q_s = q(\theta_s)` and :math:`q^* = q(\theta^*)`,

.. math:: u = \frac{\#\{s: q_s < q^*\} + v\,(1 + \#\{s: q_s = q^*\})}{S + 1}, \qquad v \sim U(0, 1),

is uniform over simulations; v breaks ties, as among class numbers. Uniformity is tested twice by Kolmogorov and Smirnov: of
u, which shows a bias, and of :math:`|2u - 1|`, which shows error bars of a wrong size, to which the first is nearly blind.

References:
    Talts et al. (2018), arXiv:1804.06788; Modrák et al. (2023), arXiv:2211.02383.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.stats import kstest

__all__ = ["LEVEL", "Uniformity", "ranks", "uniformity"]

LEVEL = 0.01  # of all tests of one kind together


@dataclass(frozen=True)
class Uniformity:
    """Tests of uniformity, each a probability after Bonferroni's correction for all of them.

    Arguments:
        p_bias: Of u by name.
        p_spread: Of |2u - 1| by name.
    """

    p_bias: dict[str, float]
    p_spread: dict[str, float]

    @property
    def worst(self) -> tuple[str, float]:
        """The name with the smallest probability."""
        least = {name: min(p, self.p_spread[name]) for name, p in self.p_bias.items()}
        return min(least.items(), key=lambda item: item[1])

    @property
    def passed(self) -> bool:
        """Whether none is below `LEVEL`."""
        return self.worst[1] > LEVEL


def ranks(draws: NDArray, truth: NDArray, rng: np.random.Generator) -> NDArray:
    """Relative ranks u of true values (P,) among draws (S, P): shape (P,)."""
    below, tied = (draws < truth).sum(0), (draws == truth).sum(0)
    return (below + rng.random(truth.shape) * (1 + tied)) / (len(draws) + 1)


def uniformity(u: NDArray, names: Sequence[str]) -> Uniformity:
    """Test ranks for uniformity.

    Arguments:
        u: Of N independent simulations, shape (N, P).
        names: Of the P quantities.
    """
    tests = 2 * len(names)
    raw = [[kstest(column, "uniform").pvalue for column in values.T] for values in (u, np.abs(2 * u - 1))]
    bias, spread = (dict(zip(names, np.minimum(1.0, tests * np.array(p)).tolist(), strict=True)) for p in raw)
    return Uniformity(bias, spread)
