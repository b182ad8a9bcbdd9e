"""Independent draws from the posterior in closed form (`mixture.py`): the cheapest of the engines."""

from collections.abc import Sequence

import torch

from ..model.joint import SpectrumModel
from .draws import Draws
from .located import Located
from .proposal import Proposal
from .seeds import random_of

__all__ = ["sample_laplace"]


def sample_laplace(
    model: SpectrumModel, stars: Sequence[Located], *, samples: int = 1000, chains: int = 1, seed: int = 0
) -> list[Draws]:
    """Draws of every star's parameters.

    Arguments:
        model: The joint density.
        stars: What `locate` found.
        samples: Draws of each star, at least.
        chains: Groups that they come in.
        seed: Seed of the draws; a star's do not depend on the others.
    """
    return [_sample(star, samples, chains, seed) for star in stars]


def _sample(star: Located, samples: int, chains: int, seed: int) -> Draws:
    proposal, each = Proposal(star.likely, star.free, wide=False), -(-samples // chains)
    theta, label = proposal.sample(chains * each, random_of(star, seed))
    stats = {"lp": proposal.log_prob(theta).reshape(chains, each)}
    theta, label = theta.reshape(chains, each, -1), label.reshape(chains, each)
    return Draws(theta, label, torch.softmax(star.log_evidence, 0), stats, independent=True)
