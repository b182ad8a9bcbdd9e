r"""A sampler for many spectra at once: chains in lock-step that jump by the closed form and walk by the gradient.

Two moves leave the target of `target.py` invariant and take turns:

- *Jump*: the posterior in closed form (`proposal.py`) is an independence proposal: a draw :math:`\theta' \sim q` is accepted
  with probability :math:`\min\{1, \pi(\theta')\, q(\theta) / (\pi(\theta)\, q(\theta'))\}`. It crosses between classes and
  kernels; and as proposals do not depend on the chain, their densities are one batch, computed before the chain begins.
- *Walk*: a Hamiltonian trajectory (`hmc.py`) now and then, so that no chain stays where q undervalues the posterior.

Before they begin, the proposal of each star is made as good as it needs to be (`adapt.py`). A warm-up, whose draws are thrown
away, settles the step sizes. Chains that do not agree, or whose draws are worth too little (`settled`), run again where that is
cheap (`MOST`): with a proposal that has parts where the chains were held up, and with more jumps between two draws.

That jumps do most of the work was chosen by measurement: a trajectory costs as much as some thirty jumps, and kernels of the
latent prior keep its steps short (docs/benchmarks.md).

References:
    Tierney (1994), Ann. Statist. 22, 1701 (independence chains, cycles of kernels); Neal (2011), arXiv:1206.1901.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from ..io.inference_data import convergence
from ..model.joint import SpectrumModel
from .adapt import DRAWS, PLACES, Adapted, adapt
from .draws import Draws, with_classes
from .hmc import DualAveraging, hmc_move, whitening
from .located import Located
from .proposal import Proposal
from .seeds import random_of
from .target import Target, alike

__all__ = ["Schedule", "sample_ensemble", "settled"]

BLOCK = 256  # iterations, of all chains of a star, whose proposals are drawn together: bounds the memory
MOST = 90_000  # likelihoods of an exposure that one more run may cost: chains of many exposures do not run again
R_HAT, WORTH = 0.01, 400.0  # above one at most, and effective draws at least: Vehtari et al. (2021)


@dataclass(frozen=True)
class Schedule:
    """How long chains run, how often they jump and walk.

    Arguments:
        warmup: Iterations that adapt and are thrown away.
        jumps: Jumps of an iteration, by the effective share of the proposal's draws: at least that of `good`, or less.
        good: Those shares.
        again: How many times as many jumps each next attempt has, of chains that have not settled.
        often: Iterations between walks in the warm-up.
        rare: Iterations between walks thereafter.
        leaps: Leapfrog steps of a walk at most.
    """

    warmup: int = 40
    jumps: tuple[int, ...] = (2, 3, 6)
    good: tuple[float, ...] = (0.75, 0.5)
    again: tuple[int, ...] = (1, 2, 4)
    often: int = 4
    rare: int = 40
    leaps: int = 4

    def jumps_at(self, efficiency: float) -> int:
        """Jumps of an iteration with such a proposal."""
        return self.jumps[sum(efficiency < share for share in self.good)]

    def cost(self, star: Located, adapted: Adapted, shape: tuple[int, int], effort: int) -> int:
        """Likelihoods of an exposure in one run of (C, S) draws with so many times the jumps."""
        iterations, exposures = self.warmup + shape[1], star.data.flux.shape[1]
        return shape[0] * iterations * effort * self.jumps_at(adapted.efficiency) * exposures


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
    schedule, shape = schedule or Schedule(), (chains, -(-samples // chains))
    random = [random_of(star, seed) for star in stars]
    adapted = [adapt(model, star, r) for star, r in zip(stars, random, strict=True)]
    runs = _sample(model, stars, adapted, random, shape, schedule, 1)
    for effort in schedule.again:
        poor = [
            i
            for i, run in enumerate(runs)
            if not settled(run.draws.theta) and schedule.cost(stars[i], adapted[i], shape, effort) <= MOST
        ]
        for i in poor:
            adapted[i] = adapted[i].with_parts(runs[i].missed).drawn(DRAWS, random[i]).improved(random[i])
        some = ([column[i] for i in poor] for column in (stars, adapted, random))
        for i, run in zip(poor, _sample(model, *some, shape, schedule, effort), strict=True):
            runs[i] = run
    return [run.draws for run in runs]


def settled(theta: Tensor) -> bool:
    r"""Whether chains (C, S, n) agree and are worth enough, in every parameter that moves.

    R-hat of independent draws scatters too, by about the inverse of their number: of few more is allowed. So few that there is
    nothing to tell count as settled.
    """
    count = theta.shape[0] * theta.shape[1]
    found = convergence(theta[..., theta.flatten(0, 1).std(0) > 0].cpu().numpy())
    apart = found.r_hat > 1 + max(R_HAT, 20 / count)
    poor = np.minimum(found.ess_bulk, found.ess_tail) < min(WORTH, count / 4)
    return not (apart | poor).any()


@dataclass(frozen=True, eq=False)
class _Sampled:
    """Draws of a star, and the states (J, n) of its chains that the proposal undervalues most."""

    draws: Draws
    missed: Tensor


def _sample(
    model: SpectrumModel,
    stars: Sequence[Located],
    adapted: Sequence[Adapted],
    random: Sequence[torch.Generator],
    shape: tuple[int, int],
    schedule: Schedule,
    effort: int,
) -> list[_Sampled]:
    """One run of the chains of every star."""
    jumps = [effort * schedule.jumps_at(one.efficiency) for one in adapted]
    out: dict[int, _Sampled] = {}
    for group in alike(stars, jumps):
        rows = [(stars[i], adapted[i].proposal, random[i]) for i in group]
        run = _Run(Target(model, [star for star, _, _ in rows]), rows, shape, schedule, jumps[group[0]])
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
        shape: tuple[int, int],
        schedule: Schedule,
        jumps: int,
    ) -> None:
        self.target, self.schedule, self.jumps = target, schedule, jumps
        self.chains, self.each = shape
        self.block = max(1, BLOCK // self.chains)
        stars, self.proposals, self.random = (list(column) for column in zip(*rows, strict=True))
        self.white = whitening(stars)
        self.step = DualAveraging(torch.full((len(stars),), 0.7, dtype=torch.double, device=self.white.centre.device))

    def sample(self) -> list[_Sampled]:
        """Run the warm-up, then the chains."""
        total, kept = self.schedule.warmup + self.each, []
        for t in range(total):
            if t % self.block == 0:
                jumps = self._propose(min(self.block, total - t))
            if t == 0:
                self.theta, self.share = jumps.theta[:, 0, 0].clone(), jumps.share[:, 0, 0].clone()
                self.log_prob, self.log_q = jumps.log_prob[:, 0, 0].clone(), jumps.log_q[:, 0, 0].clone()
                self.energy = torch.full_like(self.log_prob, torch.nan)
            diverged, accepted = self._iterate(t, jumps)
            if t >= self.schedule.warmup:
                state = (self.theta, self.share, self.log_prob - self.log_q, self.log_prob)
                kept.append((*state, accepted, self.energy, diverged))
        theta, share, weight, *stats = (torch.stack(parts, 2) for parts in zip(*kept, strict=True))
        names = ("lp", "acceptance_rate", "energy", "diverging")
        draws = self._finish(theta, share, dict(zip(names, stats, strict=True)))
        return [_Sampled(one, _heaviest(*state)) for one, *state in zip(draws, theta, weight, strict=True)]

    def _propose(self, iterations: int) -> _Jumps:
        """All jumps of all chains in some iterations, with their densities."""
        shape = (iterations, self.jumps, self.chains)
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
        row = t % self.block
        there, there_q = jumps.log_prob[:, row, j], jumps.log_q[:, row, j]
        gain = (there - there_q) - (self.log_prob - self.log_q)
        taken = self._uniform().log() < gain
        self.theta = torch.where(taken.unsqueeze(-1), jumps.theta[:, row, j], self.theta)
        self.share = torch.where(taken.unsqueeze(-1), jumps.share[:, row, j], self.share)
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


def _heaviest(theta: Tensor, weight: Tensor) -> Tensor:
    """The states (J, n) of chains (C, S, n) that weigh most, each once."""
    _, first = np.unique(weight.flatten().cpu().numpy(), return_index=True)  # sorted: the heaviest last
    return theta.flatten(0, 1)[torch.from_numpy(first[-PLACES:]).to(theta.device)]
