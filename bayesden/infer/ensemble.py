r"""A sampler for many spectra at once: chains in lock-step that jump by the closed form and walk by the gradient.

Two moves leave the target of `target.py` invariant and take turns:

- *Jump*: the posterior in closed form (`proposal.py`) is an independence proposal: a draw :math:`\theta' \sim q` is accepted
  with probability :math:`\min\{1, \pi(\theta')\, q(\theta) / (\pi(\theta)\, q(\theta'))\}`. It crosses between classes and
  kernels; and as proposals do not depend on the chain, their densities are one batch, computed before the chain begins.
- *Walk*: a Hamiltonian trajectory (`hmc.py`) now and then, so that no chain stays where q undervalues the posterior.

Before they begin, the proposal of each star is made as good as it needs to be (`adapt.py`). A warm-up, whose draws are thrown
away, settles the step sizes. That jumps do most of the work was chosen by measurement: a trajectory costs as much as some
thirty jumps, and kernels of the latent prior keep its steps short (docs/benchmarks.md).

References:
    Tierney (1994), Ann. Statist. 22, 1701 (independence chains, cycles of kernels); Neal (2011), arXiv:1206.1901.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from ..model.joint import SpectrumModel
from .adapt import adapt
from .draws import Draws, with_classes
from .hmc import DualAveraging, hmc_move, whitening
from .located import Located
from .proposal import Proposal
from .seeds import random_of
from .target import Target, alike

__all__ = ["Schedule", "sample_ensemble"]


@dataclass(frozen=True)
class Schedule:
    """How long chains run, how often they jump and walk.

    Arguments:
        warmup: Iterations that adapt and are thrown away.
        jumps: Jumps of an iteration, of stars whose proposal is good, and of others.
        good: Effective share of a proposal's draws from which on it is good.
        often: Iterations between walks in the warm-up.
        rare: Iterations between walks thereafter.
        leaps: Leapfrog steps of a walk at most.
    """

    warmup: int = 60
    jumps: tuple[int, int] = (2, 8)
    good: float = 0.3
    often: int = 4
    rare: int = 20
    leaps: int = 4


def sample_ensemble(
    model: SpectrumModel,
    stars: Sequence[Located],
    *,
    samples: int = 2000,
    chains: int = 4,
    seed: int = 0,
    schedule: Schedule | None = None,
) -> list[Draws]:
    """Draws of every star's parameters.

    Arguments:
        model: The joint density.
        stars: What `locate` found.
        samples: Draws of each star, at least; the same number from each chain.
        chains: Chains of each star.
        seed: Seed of the draws; a star's do not depend on the others.
        schedule: How long chains run, how often they jump and walk.
    """
    schedule, each = schedule or Schedule(), -(-samples // chains)
    random = [random_of(star, seed) for star in stars]
    adapted = [adapt(model, star, r) for star, r in zip(stars, random, strict=True)]
    jumps = [schedule.jumps[one.efficiency < schedule.good] for one in adapted]
    out: dict[int, Draws] = {}
    for group in alike(stars, jumps):
        rows = [(stars[i], adapted[i].proposal, random[i]) for i in group]
        run = _Run(Target(model, [star for star, _, _ in rows]), rows, chains, each, schedule, jumps[group[0]])
        out |= dict(zip(group, run.sample(), strict=True))
    return [out[i] for i in range(len(stars))]


@dataclass(frozen=True, eq=False)
class _Jumps:
    """Proposals of B stars, T iterations, J jumps, C chains: parameters (B, T, J, C, n), densities (B, T, J, C), and the
    classes' responsibilities (B, T, J, C, k).
    """

    theta: Tensor
    log_prob: Tensor
    log_q: Tensor
    share: Tensor


class _Run:
    """Chains of B stars with the same parameters."""

    def __init__(
        self,
        target: Target,
        rows: Sequence[tuple[Located, Proposal, torch.Generator]],
        chains: int,
        each: int,
        schedule: Schedule,
        jumps: int,
    ) -> None:
        self.target, self.schedule, self.chains, self.each, self.jumps = target, schedule, chains, each, jumps
        stars, self.proposals, self.random = (list(column) for column in zip(*rows, strict=True))
        self.white = whitening(stars)
        self.step = DualAveraging(torch.full((len(stars),), 0.7, dtype=torch.double, device=self.white.centre.device))

    def sample(self) -> list[Draws]:
        """Run the warm-up, then the chains."""
        jumps, kept = self._propose(), []
        self.theta, self.share = jumps.theta[:, 0, 0].clone(), jumps.share[:, 0, 0].clone()
        self.log_prob, self.log_q = jumps.log_prob[:, 0, 0].clone(), jumps.log_q[:, 0, 0].clone()
        self.energy = torch.full_like(self.log_prob, torch.nan)
        for t in range(self.schedule.warmup + self.each):
            diverged, accepted = self._iterate(t, jumps)
            if t >= self.schedule.warmup:
                kept.append((self.theta, self.share, self.log_prob, accepted, self.energy, diverged))
        theta, share, *stats = (torch.stack(parts, 2) for parts in zip(*kept, strict=True))
        names = ("lp", "acceptance_rate", "energy", "diverging")
        return self._finish(theta, share, dict(zip(names, stats, strict=True)))

    def _propose(self) -> _Jumps:
        """All jumps of all chains, with their densities."""
        shape = (self.schedule.warmup + self.each, self.jumps, self.chains)
        count = shape[0] * shape[1] * shape[2]
        theta = torch.stack([q.sample(count, random)[0] for q, random in zip(self.proposals, self.random, strict=True)])
        log_q = torch.stack([q.log_prob(own) for q, own in zip(self.proposals, theta, strict=True)])
        log_prob, share = self.target.evaluate(theta)
        return _Jumps(*(x.unflatten(1, shape) for x in (theta, log_prob, log_q, share)))

    def _iterate(self, t: int, jumps: _Jumps) -> tuple[Tensor, Tensor]:
        """One iteration of every chain: whether its walk diverged and the share of its jumps taken, each (B, C)."""
        warm = t < self.schedule.warmup
        accepted = torch.zeros_like(self.log_prob)
        for j in range(self.jumps):
            accepted = accepted + self._jump(jumps, t, j) / self.jumps
        if t % (self.schedule.often if warm else self.schedule.rare) == 0:
            return self._walk(warm), accepted
        return torch.zeros_like(self.log_prob, dtype=torch.bool), accepted

    def _jump(self, jumps: _Jumps, t: int, j: int) -> Tensor:
        """Propose to leave for a place of the closed form; whether the chains did, (B, C)."""
        there, there_q = jumps.log_prob[:, t, j], jumps.log_q[:, t, j]
        gain = (there - there_q) - (self.log_prob - self.log_q)
        taken = self._uniform().log() < gain
        self.theta = torch.where(taken.unsqueeze(-1), jumps.theta[:, t, j], self.theta)
        self.share = torch.where(taken.unsqueeze(-1), jumps.share[:, t, j], self.share)
        self.log_prob = torch.where(taken, there, self.log_prob)
        self.log_q = torch.where(taken, there_q, self.log_q)
        return taken.double()

    def _walk(self, warm: bool) -> Tensor:
        """A trajectory of every chain; whether it diverged, (B, C)."""
        step = self.step.step(final=not warm) * (0.8 + 0.4 * self._uniform()[:, 0])  # no trajectory closes on itself
        shape = (self.chains, self.target.size)
        momentum = torch.stack([torch.randn(shape, generator=random, dtype=torch.double) for random in self.random])
        momentum = momentum.to(self.theta.device)
        move = hmc_move(self.target, self.white, self.theta, step, momentum, self._uniform(), self.schedule.leaps)
        if warm:
            self.step.update(move.acceptance.mean(1))
        self.theta, self.log_prob, self.energy = move.theta, move.log_prob, move.energy
        self.log_q = torch.stack([q.log_prob(own) for q, own in zip(self.proposals, self.theta, strict=True)])
        _, self.share = self.target.evaluate(self.theta)
        return move.diverged

    def _uniform(self) -> Tensor:
        """Uniform numbers (B, C), of each star its own."""
        rows = [torch.rand(self.chains, generator=random, dtype=torch.double) for random in self.random]
        return torch.stack(rows).to(self.theta.device)

    def _finish(self, theta: Tensor, share: Tensor, stats: dict[str, Tensor]) -> list[Draws]:
        """What the chains gave, star by star."""
        draws = []
        for b, random in enumerate(self.random):
            own = {name: values[b] for name, values in stats.items()}
            own["step_size"] = torch.full_like(own["lp"], float(self.step.step(final=True)[b]))
            known = share[b, ..., : self.target.counts[b]].flatten(0, 1)
            draws.append(with_classes(self.target, b, theta[b], own, random, known))
        return draws
