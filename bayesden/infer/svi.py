r"""Stochastic variational inference in Pyro: a normal guide for every star and class that is possible, all in one plate.

Positions are whitened by the posterior in closed form (`hmc.Whitening` of each class), where a mean-field guide
(`AutoNormal`) has the covariance of the closed form from the start and learns by how much it is off. Classes compete by their
evidence lower bounds, so the answer has as many modes as there are possible classes.

References:
    Kucukelbir et al. (2017), JMLR 18, arXiv:1603.00788; Bingham et al. (2019), JMLR 20 (Pyro).
"""

from collections.abc import Sequence

import pyro
import pyro.distributions as dist
import torch
from pyro.infer import SVI, Trace_ELBO
from pyro.infer.autoguide import AutoNormal, init_to_value
from pyro.optim import ClippedAdam
from torch import Tensor

from ..model.joint import SpectrumModel
from .draws import Draws
from .hmc import Whitening, whitening
from .located import Located
from .seeds import random_of
from .target import Target, alike

__all__ = ["sample_svi"]

STEPS = 200
RATE, DECAY = 0.05, 0.02  # learning rate of the first step, and the last one's share of it
PARTICLES = 8  # draws of a step, evaluated together: of few rows eight cost little more than one
BOUND = 32  # draws that tell a class's evidence


def sample_svi(
    model: SpectrumModel,
    stars: Sequence[Located],
    *,
    samples: int = 1000,
    chains: int = 1,
    seed: int = 0,
    steps: int = STEPS,
) -> list[Draws]:
    """Independent draws of every star's parameters from the guides.

    Arguments:
        model: The joint density.
        stars: What `locate` found.
        samples: Draws of each star, at least.
        chains: Groups that they come in.
        seed: Seed of steps and draws.
        steps: Steps of the optimiser.
    """
    out: dict[int, Draws] = {}
    for group in alike(stars):
        out |= dict(zip(group, _fit(model, [stars[i] for i in group], samples, chains, seed, steps), strict=True))
    return [out[i] for i in range(len(stars))]


def _fit(model: SpectrumModel, stars: list[Located], samples: int, chains: int, seed: int, steps: int) -> list[Draws]:
    """Guides of stars with the same parameters."""
    rows = [star.only(label) for star in stars for label in star.labels.tolist()]
    guide = _Guide(Target(model, rows), whitening(rows), [random_of(row, seed) for row in rows], seed, steps)
    first, draws = 0, []
    for star in stars:
        own = slice(first, first + len(star.labels))
        first = own.stop
        draws.append(_draws(model, guide, own, star.labels, (chains, -(-samples // chains))))
    return draws


def _draws(model: SpectrumModel, guide: "_Guide", own: slice, labels: Tensor, shape: tuple[int, int]) -> Draws:
    """Of one star, whose classes are some rows of the guide."""
    share, random = torch.softmax(guide.bound[own], 0), guide.random[own.start]
    chosen = torch.multinomial(share.cpu(), shape[0] * shape[1], replacement=True, generator=random).to(share.device)
    rows = own.start + chosen
    theta, log_q = guide.sample(rows, random)
    probability = share.new_zeros(len(model.classes)).index_add(0, labels, share)
    stats = {"lp": log_q.reshape(shape)}
    return Draws(theta.reshape(*shape, -1), labels[chosen].reshape(shape), probability, stats, independent=True)


class _Guide:
    """Normal guides of B rows, a star's class each: centres and scales (B, n) of whitened positions, and bounds (B,)."""

    def __init__(self, target: Target, white: Whitening, random: list[torch.Generator], seed: int, steps: int) -> None:
        self.target, self.white, self.random = target, white, random
        self.shape, self.device = (len(target.stars), target.size), white.centre.device
        self.centre, self.scale = self._climb(seed, steps)
        self.bound = self._bounds()

    def _density(self) -> None:
        """The target as a Pyro model."""
        zero = torch.zeros(self.shape, dtype=torch.double, device=self.device)
        with pyro.plate("spectra", self.shape[0]):
            x = pyro.sample("x", dist.Normal(zero, 1.0).to_event(1).mask(False))
            draws = x.reshape(-1, *self.shape).movedim(0, 1)  # (B, particles, n)
            log_joint = self.target.log_joint(self.white.forward(draws))[..., 0]
            pyro.factor("target", log_joint.mT.reshape(x.shape[:-1]))

    def _climb(self, seed: int, steps: int) -> tuple[Tensor, Tensor]:
        """Fit Pyro's automatic guide."""
        zero = torch.zeros(self.shape, dtype=torch.double, device=self.device)
        state = torch.random.get_rng_state()
        try:
            pyro.set_rng_seed(seed)
            with pyro.get_param_store().scope():  # nothing of ours stays in the global store, nothing of it comes in
                guide = AutoNormal(self._density, init_loc_fn=init_to_value(values={"x": zero}), init_scale=1.0)
                rate = {"lr": RATE, "lrd": DECAY ** (1 / steps)}
                elbo = Trace_ELBO(num_particles=PARTICLES, vectorize_particles=True, max_plate_nesting=1)
                svi = SVI(self._density, guide, ClippedAdam(rate), elbo)
                past = []
                for step in range(steps):
                    svi.step()
                    if step >= steps // 2:  # the mean over them has less of the steps' noise than the last
                        past.append((guide.locs.x.detach().clone(), guide.scales.x.detach().log()))
                centre, log_scale = (torch.stack(values).mean(0) for values in zip(*past, strict=True))
                return centre, log_scale.exp()
        finally:
            torch.random.set_rng_state(state)

    @torch.no_grad()
    def _bounds(self) -> Tensor:
        """Evidence lower bounds (B,), up to a constant, from draws of each row's own."""
        normal = torch.stack([torch.randn(BOUND, self.shape[1], generator=r, dtype=torch.double) for r in self.random])
        normal = normal.to(self.device)
        x = self.centre.unsqueeze(1) + self.scale.unsqueeze(1) * normal
        log_prob, _ = self.target.evaluate(self.white.forward(x))
        volume = self.white.factor.diagonal(dim1=1, dim2=2).log().sum(1) + self.scale.log().sum(1)
        return log_prob.mean(1) + volume

    def sample(self, rows: Tensor, random: torch.Generator) -> tuple[Tensor, Tensor]:
        """Parameters (S, n) of some rows (S,), and their log-density up to a constant (S,)."""
        normal = torch.randn(len(rows), self.shape[1], generator=random, dtype=torch.double).to(self.device)
        x = self.centre[rows] + self.scale[rows] * normal
        theta = self.white.take(rows).forward(x.unsqueeze(1))[:, 0]
        return theta, self.bound[rows] - 0.5 * normal.square().sum(1)
