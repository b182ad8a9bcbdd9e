r"""Hamiltonian Monte Carlo for many targets at once, with a step size for each.

Positions :math:`x` are whitened, :math:`\theta = \mu + F x` with :math:`F F^\top` the covariance of the posterior in closed
form, so that the mass matrix is the identity. Step sizes follow the dual averaging of Hoffman & Gelman (2014).

References:
    Neal (2011), arXiv:1206.1901; Hoffman & Gelman (2014), JMLR 15, arXiv:1111.4246.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from .located import Located
from .newton import flatten
from .target import Target

__all__ = ["DualAveraging", "Move", "Whitening", "hmc_move", "whitening"]

LENGTH = math.pi / 2  # of a trajectory: a quarter of the period of a unit normal forgets where it began
DIVERGED = 50.0  # nats of energy that a trajectory gains, beyond which its step was too long


@dataclass(frozen=True, eq=False)
class Whitening:
    """Positions of B stars: centres (B, n) and Cholesky factors (B, n, n) of their covariances."""

    centre: Tensor
    factor: Tensor

    def forward(self, x: Tensor) -> Tensor:
        """Parameters (B, C, n) of positions."""
        return self.centre.unsqueeze(1) + x @ self.factor.mT

    def inverse(self, theta: Tensor) -> Tensor:
        """Positions (B, C, n) of parameters."""
        away = (theta - self.centre.unsqueeze(1)).mT
        return torch.linalg.solve_triangular(self.factor, away, upper=False).mT

    def take(self, rows: Tensor) -> "Whitening":
        """Those of some of the stars."""
        return Whitening(self.centre[rows], self.factor[rows])


@dataclass(frozen=True, eq=False)
class Move:
    """Where a trajectory leads: parameters (B, C, n), log-density (B, C); energy at its start, acceptance, divergence (B, C)."""

    theta: Tensor
    log_prob: Tensor
    energy: Tensor
    acceptance: Tensor
    diverged: Tensor


def whitening(stars: Sequence[Located]) -> Whitening:
    """The whitening of stars with the same parameters, by their likeliest classes."""
    centres, factors = [], []
    for star in stars:
        best = star.normals.take(star.normals.log_evidence.argmax().reshape(1))
        centres.append(flatten(best.at)[0, star.free])
        factors.append(torch.linalg.cholesky(best.covariance[0][star.free][:, star.free]))
    return Whitening(torch.stack(centres), torch.stack(factors))


class DualAveraging:
    """Step sizes (B,) that bring the acceptance to a target.

    Arguments:
        first: Step sizes to begin with, shape (B,).
        target: Mean acceptance of the chains of a star.
    """

    def __init__(self, first: Tensor, target: float = 0.8) -> None:
        self.target, self.anchor = target, (2 * first).log()
        self.log_step, self.log_mean = first.log(), first.log()
        self.error, self.count = torch.zeros_like(first), 0

    def update(self, acceptance: Tensor) -> None:
        """Learn from the acceptance (B,) of a move."""
        self.count += 1
        rate = 1 / (self.count + 10)
        self.error = (1 - rate) * self.error + rate * (self.target - acceptance)
        self.log_step = (self.anchor - self.count**0.5 / 0.1 * self.error).clamp(-7.0, 0.7)
        weight = self.count**-0.75
        self.log_mean = weight * self.log_step + (1 - weight) * self.log_mean

    def step(self, *, final: bool) -> Tensor:
        """Step sizes (B,): the present ones, or their mean over the past."""
        return (self.log_mean if final else self.log_step).exp()


def hmc_move(
    target: Target, white: Whitening, theta: Tensor, step: Tensor, momentum: Tensor, uniform: Tensor, most: int = 12
) -> Move:
    """One trajectory of every chain, accepted or not.

    Arguments:
        target: Of B stars.
        white: Their whitening.
        theta: Where the chains are, shape (B, C, n).
        step: Step sizes, shape (B,).
        momentum: Unit normal numbers, shape (B, C, n).
        uniform: Uniform numbers, shape (B, C).
        most: Leapfrog steps at most.
    """
    start, value, gradient = white.inverse(theta), *target.slope(theta)
    x, p, here = start, momentum, value
    slope = gradient @ white.factor
    energy = -value + 0.5 * p.square().sum(-1)
    count = (LENGTH / step).ceil().clamp(1, most).long()
    step = step[:, None, None]
    for i in range(int(count.max())):
        on = torch.nonzero(count > i).flatten()
        p = p.index_add(0, on, 0.5 * step[on] * slope[on])
        x = x.index_add(0, on, step[on] * p[on])
        some = target if len(on) == len(x) else target.take(on.tolist())
        new, gradient = some.slope(white.take(on).forward(x[on]))
        here, slope = here.index_copy(0, on, new), slope.index_copy(0, on, gradient @ white.factor[on])
        slope = slope.nan_to_num(nan=0.0, posinf=0.0, neginf=0.0)  # the energy tells that the trajectory is lost
        p = p.index_add(0, on, 0.5 * step[on] * slope[on])
    gain = -here + 0.5 * p.square().sum(-1) - energy
    gain = gain.nan_to_num(nan=torch.inf, posinf=torch.inf, neginf=torch.inf)
    acceptance = (-gain).exp().clamp_max(1.0)
    taken = uniform < acceptance
    theta = torch.where(taken.unsqueeze(-1), white.forward(x), theta)
    return Move(theta, torch.where(taken, here, value), energy, acceptance, gain > DIVERGED)
