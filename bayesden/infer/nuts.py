"""Pyro's No-U-Turn sampler on the same target, one star and one chain after the other: the reference, and slow.

Positions are whitened by the posterior in closed form (`hmc.Whitening`), a linear map that changes no answer; Pyro adapts its
step size and diagonal metric from there.

References:
    Hoffman & Gelman (2014), JMLR 15, arXiv:1111.4246; Bingham et al. (2019), JMLR 20 (Pyro).
"""

from collections.abc import Sequence

import pyro
import torch
from pyro.infer import MCMC, NUTS
from torch import Tensor

from ..model.joint import SpectrumModel
from .draws import Draws, with_classes
from .hmc import Whitening, whitening
from .located import Located
from .proposal import Proposal
from .seeds import random_of
from .target import Target

__all__ = ["sample_nuts"]

WARMUP = 300


def sample_nuts(
    model: SpectrumModel,
    stars: Sequence[Located],
    *,
    samples: int = 1000,
    chains: int = 4,
    seed: int = 0,
    warmup: int = WARMUP,
) -> list[Draws]:
    """Draws of every star's parameters; arguments as in `sample_ensemble`.

    Arguments:
        model: The joint density.
        stars: What `locate` found.
        samples: Draws of each star, at least; the same number from each chain.
        chains: Chains of each star.
        seed: Seed of the draws; a star's do not depend on the others.
        warmup: Iterations of each chain that adapt and are thrown away.
    """
    return [_sample(Target(model, [star]), star, -(-samples // chains), chains, seed, warmup) for star in stars]


def _sample(target: Target, star: Located, each: int, chains: int, seed: int, warmup: int) -> Draws:
    random, white = random_of(star, seed), whitening([star])
    first, _ = Proposal(star.likely, star.free, star.velocity).sample(chains, random)
    runs = [_chain(target, white, theta, each, warmup, random) for theta in first]
    theta = white.forward(torch.stack([position for position, _ in runs])[:, None])[:, 0]
    stats = {name: torch.stack([run[name] for _, run in runs]) for name in runs[0][1]}
    stats["lp"] = target.evaluate(theta.flatten(0, 1)[None])[0].reshape(theta.shape[:2])
    return with_classes(target, 0, theta, stats, random)


def _chain(
    target: Target, white: Whitening, first: Tensor, each: int, warmup: int, random: torch.Generator
) -> tuple[Tensor, dict[str, Tensor]]:
    """Positions (S, n) of one chain and what the sampler says of it."""

    def potential(position: dict[str, Tensor]) -> Tensor:
        theta = white.forward(position["x"].reshape(1, 1, -1))
        return -torch.logsumexp(target.log_joint(theta), -1)[0, 0]

    state = torch.random.get_rng_state()
    try:
        pyro.set_rng_seed(int(torch.randint(2**31, (), generator=random)))
        kernel = _Recorder(potential_fn=potential)
        start = {"x": white.inverse(first.reshape(1, 1, -1))[0, 0]}
        mcmc = MCMC(kernel, num_samples=each, warmup_steps=warmup, initial_params=start, disable_progbar=True)
        mcmc.run()
        position = mcmc.get_samples()["x"]
        diverged = torch.zeros(each, dtype=torch.bool)
        diverged[mcmc.diagnostics()["divergences"]["chain 0"]] = True
    finally:
        torch.random.set_rng_state(state)
    energy = torch.tensor(kernel.energies[-each:], dtype=torch.double)
    step = torch.full((each,), float(kernel.step_size), dtype=torch.double)
    return position, {"energy": energy, "diverging": diverged, "step_size": step}


class _Recorder(NUTS):
    """NUTS that keeps the energy at the start of every trajectory."""

    def __init__(self, **options: object) -> None:
        super().__init__(**options)
        self.energies: list[float] = []

    def _sample_r(self, name: str) -> tuple[dict, dict]:
        momentum, unscaled = super()._sample_r(name)
        potential = self._fetch_from_cache()[1]
        if potential is not None:  # there is none yet when the first step size is sought
            self.energies.append(float(self._kinetic_energy(unscaled) + potential))
        return momentum, unscaled
