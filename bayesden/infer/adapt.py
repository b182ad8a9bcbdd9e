r"""A proposal for each star that is as good as it needs to be: from one expansion of the likelihood, or from many.

How good it is, is told by the importance weights :math:`w = p(y, \theta) / q(\theta)` of some draws of it: by their effective
share :math:`(\sum w)^2 / (n \sum w^2)`.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from ..model.joint import SpectrumModel
from .draws import shares
from .located import Located
from .mixture import Normal
from .proposal import Proposal
from .target import Target, as_parameters
from .tiles import tile

__all__ = ["Adapted", "adapt"]

PILOT = 64  # draws that tell whether one expansion of each class will do
DRAWS = 256  # that tell how good many are
GOOD = 0.8  # effective share at which no more is done
POOR = 0.3  # below which the places that draws say are missed become tiles
HEAVIEST = 16  # draws that are such places


@dataclass(frozen=True, eq=False)
class Adapted:
    """A proposal, and the effective share of its draws."""

    proposal: Proposal
    efficiency: float


@dataclass(frozen=True, eq=False)
class _Tried:
    """A proposal with draws (S, n) and their weights (S,)."""

    proposal: Proposal
    theta: Tensor
    weight: Tensor

    @property
    def efficiency(self) -> float:
        return float(1 / (len(self.weight) * self.weight.square().sum()))


def adapt(model: SpectrumModel, star: Located, random: torch.Generator) -> Adapted:
    """Make the proposal of one star.

    Arguments:
        model: The joint density.
        star: The spectrum.
        random: Source of randomness, on the CPU.
    """
    target = Target(model, [star])
    best = _try(target, star.likely, PILOT, random)
    if best.efficiency < GOOD:
        best = _try(target, tile(model, star.data, star.likely), DRAWS, random)
    if best.efficiency < POOR:
        heavy = best.theta[best.weight.topk(HEAVIEST).indices]
        labels = star.labels[shares(target, 0, heavy).argmax(1)]
        missed = as_parameters(star, heavy, labels)
        other = _try(target, tile(model, star.data, star.likely, missed=missed), DRAWS, random)
        best = max(best, other, key=lambda tried: tried.efficiency)
    return Adapted(best.proposal, best.efficiency)


def _try(target: Target, normals: Normal, count: int, random: torch.Generator) -> _Tried:
    star = target.stars[0]
    proposal = Proposal(normals, star.free, star.velocity)
    theta, _ = proposal.sample(count, random)
    log_prob, _ = target.evaluate(theta[None])
    return _Tried(proposal, theta, torch.softmax(log_prob[0] - proposal.log_prob(theta), 0))
