r"""A sampler for many spectra at once: chains in lock-step that jump by the closed form and walk by the gradient.

Two moves leave the target of `target.py` invariant and take turns:

- *Jump*: the posterior in closed form (`proposal.py`) is an independence proposal: a draw :math:`\theta' \sim q` is accepted
  with probability :math:`\min\{1, \pi(\theta')\, q(\theta) / (\pi(\theta)\, q(\theta'))\}`. It crosses between classes and
  kernels; and as proposals do not depend on the chain, their densities are one batch, computed before the chain begins.
- *Walk*: a Hamiltonian trajectory (`hmc.py`), where q is a poor likeness or a chain would stick at a place that q undervalues.

Most spectra accept more than half of the jumps and walk now and then only; those that accept few walk every time. That is
settled, with the step size of each spectrum, in a warm-up whose draws are thrown away.

References:
    Tierney (1994), Ann. Statist. 22, 1701 (independence chains, cycles of kernels); Neal (2011), arXiv:1206.1901.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from ..model.joint import SpectrumModel
from .draws import Draws, shares, with_classes
from .hmc import DualAveraging, hmc_move, whitening
from .located import Located
from .proposal import Proposal
from .seeds import random_of
from .target import Target, alike, as_parameters
from .tiles import tile

__all__ = ["Schedule", "sample_ensemble"]

HEAVIEST = 16  # jumps that get tiles of their own, of a star whose proposal lacks places


@dataclass(frozen=True)
class Schedule:
    """How long chains run, and when they walk.

    Arguments:
        warmup: Iterations that adapt and are thrown away.
        jumps: Jumps of an iteration.
        often: Iterations between walks in the warm-up.
        rare: Iterations between walks of chains that jump well; others walk every time.
        enough: Share of jumps that is accepted by chains that jump well.
        leaps: Leapfrog steps of a walk at most, of chains that jump well and of others.
        pilot: Draws that tell whether one expansion of the likelihood is proposal enough.
        efficient: Effective share of the pilot, below which there shall be more (`tiles.py`).
        rounds: Times that tiles are added where all jumps together tell that they lack.
        poor: Effective share of the jumps, below which they do.
    """

    warmup: int = 60
    jumps: int = 2
    often: int = 4
    rare: int = 20
    enough: float = 0.3
    leaps: tuple[int, int] = (6, 12)
    pilot: int = 64
    efficient: float = 0.8
    rounds: int = 1
    poor: float = 0.2


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
        schedule: How long chains run, and when they walk.
    """
    schedule, each = schedule or Schedule(), -(-samples // chains)
    out: dict[int, Draws] = {}
    for group in alike(stars):
        run = _Run(model, [stars[i] for i in group], chains, each, seed, schedule)
        out |= dict(zip(group, run.sample(), strict=True))
    return [out[i] for i in range(len(stars))]


@dataclass(frozen=True, eq=False)
class _Jumps:
    """Proposals of B stars, T iterations, J jumps, C chains: parameters (B, T, J, C, n); densities (B, T, J, C)."""

    theta: Tensor
    log_prob: Tensor
    log_q: Tensor


class _Run:
    """Chains of B stars with the same parameters."""

    def __init__(
        self, model: SpectrumModel, stars: list[Located], chains: int, each: int, seed: int, schedule: Schedule
    ) -> None:
        self.stars, self.schedule, self.chains, self.each = stars, schedule, chains, each
        self.target = Target(model, stars)
        self.random = [random_of(star, seed) for star in stars]
        self.proposals = [_proposal(model, s, r, schedule) for s, r in zip(stars, self.random, strict=True)]
        self.white = whitening(stars)
        self.step = DualAveraging(torch.full((len(stars),), 0.7, dtype=torch.double, device=self.white.centre.device))

    def sample(self) -> list[Draws]:
        """Run the warm-up, then the chains."""
        jumps = self._propose()
        self.theta = jumps.theta[:, 0, 0].clone()
        self.log_prob, self.log_q = jumps.log_prob[:, 0, 0].clone(), jumps.log_q[:, 0, 0].clone()
        self.energy = torch.full_like(self.log_prob, torch.nan)
        self.period = torch.full((len(self.stars),), self.schedule.often)
        self.jumped = torch.zeros(len(self.stars), dtype=torch.double, device=self.theta.device)
        kept = []
        for t in range(self.schedule.warmup + self.each):
            diverged, accepted = self._iterate(t, jumps)
            if t >= self.schedule.warmup:
                kept.append((self.theta, self.log_prob, accepted, self.energy, diverged))
        theta, *stats = (torch.stack(parts, 2) for parts in zip(*kept, strict=True))
        return self._finish(theta, dict(zip(("lp", "acceptance_rate", "energy", "diverging"), stats, strict=True)))

    def _propose(self) -> _Jumps:
        """All jumps of all chains, with their densities; once more of stars whose first ones tell that q lacks places."""
        jumps, schedule = self._draw(range(len(self.stars))), self.schedule
        for _ in range(schedule.rounds):
            weight = torch.softmax((jumps.log_prob - jumps.log_q).flatten(1), 1)
            poor = torch.nonzero(1 / weight.square().sum(1) < schedule.poor * weight.shape[1]).flatten().tolist()
            if not poor:
                break
            for b in poor:
                self.proposals[b] = self._refined(b, jumps.theta[b].flatten(0, 2), weight[b])
            for whole, part in zip(vars(jumps).values(), vars(self._draw(poor)).values(), strict=True):
                whole[poor] = part
        return jumps

    def _draw(self, rows: Sequence[int]) -> _Jumps:
        """Jumps of some stars."""
        iterations = self.schedule.warmup + self.each
        shape = (iterations, self.schedule.jumps, self.chains)
        count = iterations * self.schedule.jumps * self.chains
        some = [(self.proposals[b], self.random[b]) for b in rows]
        theta = torch.stack([proposal.sample(count, random)[0] for proposal, random in some])
        log_q = torch.stack([proposal.log_prob(own) for (proposal, _), own in zip(some, theta, strict=True)])
        log_prob, _ = self.target.take(rows).evaluate(theta)
        return _Jumps(*(x.unflatten(1, shape) for x in (theta, log_prob, log_q)))

    def _refined(self, b: int, theta: Tensor, weight: Tensor) -> Proposal:
        """The proposal of one star with tiles where its draws (S, n) weigh most."""
        star = self.stars[b]
        heavy = theta[weight.topk(min(HEAVIEST, len(weight))).indices]
        label = star.labels[shares(self.target, b, heavy).argmax(1)]
        missed = as_parameters(star, heavy, label)
        return Proposal(tile(self.target.model, star.data, star.likely, missed=missed), star.free, star.velocity)

    def _iterate(self, t: int, jumps: _Jumps) -> tuple[Tensor, Tensor]:
        """One iteration of every chain: whether its walk diverged and the share of its jumps taken, each (B, C)."""
        warm = t < self.schedule.warmup
        accepted = torch.zeros_like(self.log_prob)
        for j in range(self.schedule.jumps):
            accepted = accepted + self._jump(jumps, t, j) / self.schedule.jumps
        if warm:
            self.jumped += accepted.mean(1)
            if t == self.schedule.warmup - 1:
                well = self.jumped / (t + 1) >= self.schedule.enough
                self.period = torch.where(well.cpu(), self.schedule.rare, 1)
        due = torch.nonzero(t % self.period == 0).flatten().to(self.theta.device)
        diverged = torch.zeros_like(self.log_prob, dtype=torch.bool)
        if len(due):
            diverged[due] = self._walk(due, warm)
        return diverged, accepted

    def _jump(self, jumps: _Jumps, t: int, j: int) -> Tensor:
        """Propose to leave for a place of the closed form; whether the chains did, (B, C)."""
        there, there_q = jumps.log_prob[:, t, j], jumps.log_q[:, t, j]
        gain = (there - there_q) - (self.log_prob - self.log_q)
        taken = self._uniform().log() < gain
        self.theta = torch.where(taken.unsqueeze(-1), jumps.theta[:, t, j], self.theta)
        self.log_prob = torch.where(taken, there, self.log_prob)
        self.log_q = torch.where(taken, there_q, self.log_q)
        return taken.double()

    def _walk(self, due: Tensor, warm: bool) -> Tensor:
        """A trajectory of the chains of some stars; whether it diverged, (b, C)."""
        every = len(due) == len(self.stars)
        target = self.target if every else self.target.take(due.tolist())
        step = self.step.step(final=not warm)[due] * self._jitter()[due]
        momentum = self._normal(due)
        leaps = self.schedule.leaps[int(not warm and int(self.period[due[0]]) == 1)]
        move = hmc_move(target, self.white.take(due), self.theta[due], step, momentum, self._uniform()[due], leaps)
        if warm:
            self.step.update(due, move.acceptance.mean(1))
        self.theta, self.log_prob = self.theta.clone(), self.log_prob.index_copy(0, due, move.log_prob)
        self.theta[due] = move.theta
        log_q = [self.proposals[i].log_prob(rows) for i, rows in zip(due.tolist(), move.theta, strict=True)]
        self.log_q = self.log_q.index_copy(0, due, torch.stack(log_q))
        self.energy = self.energy.index_copy(0, due, move.energy)
        return move.diverged

    def _uniform(self) -> Tensor:
        """Uniform numbers (B, C), of each star its own."""
        return torch.stack([torch.rand(self.chains, generator=r, dtype=torch.double) for r in self.random]).to(
            self.theta.device
        )

    def _jitter(self) -> Tensor:
        """Factors (B,) of the step sizes that keep trajectories from closing on themselves."""
        return 0.8 + 0.4 * self._uniform()[:, 0]

    def _normal(self, due: Tensor) -> Tensor:
        """Unit normal numbers (b, C, n)."""
        shape = (self.chains, self.target.size)
        rows = [torch.randn(shape, generator=self.random[i], dtype=torch.double) for i in due.tolist()]
        return torch.stack(rows).to(self.theta.device)

    def _finish(self, theta: Tensor, stats: dict[str, Tensor]) -> list[Draws]:
        """What the chains gave, star by star."""
        draws = []
        for b, random in enumerate(self.random):
            own = {name: values[b] for name, values in stats.items()}
            own["step_size"] = torch.full_like(own["lp"], float(self.step.step(final=True)[b]))
            draws.append(with_classes(self.target, b, theta[b], own, random))
        return draws


def _proposal(model: SpectrumModel, star: Located, random: torch.Generator, schedule: Schedule) -> Proposal:
    """The closed form of one star from one expansion for each class, or from many where that is no good likeness."""
    proposal = Proposal(star.likely, star.free, star.velocity)
    theta, _ = proposal.sample(schedule.pilot, random)
    log_prob, _ = Target(model, [star]).evaluate(theta[None])
    weight = torch.softmax(log_prob[0] - proposal.log_prob(theta), 0)
    if 1 / (schedule.pilot * weight.square().sum()) > schedule.efficient:
        return proposal
    return Proposal(tile(model, star.data, star.likely), star.free, star.velocity)
