r"""A proposal for each star that is as good as it needs to be: parts are added where it undervalues the posterior.

How good it is, is told by the importance weights :math:`w = p(y, \theta) / q(\theta)` of some draws of it: by their effective
share :math:`(\sum w)^2 / (n \sum w^2)`. About a mode the likelihood of a bright star is normal over all kernels of the latent
prior that count. That of a faint one is wide, and the generator bends within it, most where the velocity is uncertain too.
Then the likelihood is expanded again at the draws that weigh most, and the posterior in closed form about each (kernels and
normal nuisances, `mixture.py`) becomes a part of the proposal.

References:
    Raftery & Bao (2010), Biometrics 66, 1162 (incremental mixture importance sampling).
"""

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from ..model.joint import SpectrumModel
from .draws import shares
from .located import Located
from .mixture import Row, expansions, normal_of
from .proposal import Proposal
from .target import Target, as_parameters

__all__ = ["PLACES", "Adapted", "adapt", "improve"]

PILOT = 128  # draws that tell whether one expansion of each class will do
DRAWS = 384  # that tell how good a richer proposal is
GOOD = 0.8  # effective share at which no more is done
ROUNDS = 3  # of new parts, at most
PLACES = 16  # new parts of a round
SHARE = 0.3  # of the draws that come from them
MISSED = 0.15  # of those that come from parts where chains were held up
FAR = 3.0  # standard deviations from where the likelihood is expanded to the kernels that it speaks of, at most
FAINT = 6.0  # nats below the heaviest of them at which a new part leaves them out


@dataclass(frozen=True, eq=False)
class Adapted:
    """A proposal with some of its draws, parameters (S, n), and their weights (S,), whose sum is one."""

    proposal: Proposal
    theta: Tensor
    weight: Tensor

    @property
    def efficiency(self) -> float:
        """Effective share of the draws."""
        return float(1 / (len(self.weight) * self.weight.square().sum()))


def adapt(model: SpectrumModel, star: Located, random: torch.Generator) -> Adapted:
    """Make the proposal of one star.

    Arguments:
        model: The joint density.
        star: The spectrum.
        random: Source of randomness, on the CPU.
    """
    target = Target(model, [star])
    best = _try(target, Proposal(star.likely, star.free, star.velocity), PILOT, random)
    for _ in range(ROUNDS):
        if best.efficiency >= GOOD:
            break
        heaviest = best.theta[best.weight.topk(PLACES).indices]
        richer = _try(target, _with_parts(target, best.proposal, heaviest, SHARE), DRAWS, random)
        if richer.efficiency < best.efficiency:
            break
        best = richer
    return best


def improve(
    model: SpectrumModel, star: Located, proposal: Proposal, missed: Tensor, random: torch.Generator
) -> Adapted:
    """A proposal with parts at places (J, n) that were found to be undervalued; other arguments as in `adapt`."""
    target = Target(model, [star])
    return _try(target, _with_parts(target, proposal, missed, MISSED), DRAWS, random)


def _with_parts(target: Target, proposal: Proposal, places: Tensor, share: float) -> Proposal:
    """A proposal with a part for each of the places (J, n), all of one weight, which together have a share of the draws."""
    star = target.stars[0]
    at = as_parameters(star, places, star.labels[shares(target, 0, places).argmax(1)])
    rows = expansions(target.model, star.data.expand(len(places)), at)
    normals = normal_of([_near(row) for row in rows], at)
    normals = replace(normals, log_evidence=torch.zeros_like(normals.log_evidence))
    return proposal.joined(Proposal(normals, star.free, star.velocity), share)


def _near(row: Row) -> Row:
    """A row with the heavy kernels alone whose posterior means lie where its expansion holds: few deviations from there."""
    away = row.latent.means - row.theta[: row.latent.means.shape[1]]
    distance = (away * torch.linalg.solve(row.latent.covariance, away.mT).mT).sum(1)
    weight = row.latent.log_weight.where(distance <= distance.min().clamp_min(FAR**2), -torch.inf)
    return replace(row, latent=row.latent.take(torch.nonzero(weight > weight.max() - FAINT).flatten()))


def _try(target: Target, proposal: Proposal, count: int, random: torch.Generator) -> Adapted:
    theta, _ = proposal.sample(count, random)
    log_prob, _ = target.evaluate(theta[None])
    return Adapted(proposal, theta, torch.softmax(log_prob[0] - proposal.log_prob(theta), 0))
