r"""A proposal for each star that is as good as it needs to be: parts are added where it undervalues the posterior.

How good it is, is told by the importance weights :math:`w = p(y, \theta) / q(\theta)` of draws of it: a chain that jumps
stays at one for about as long as it weighs more than the mean. About a mode the likelihood of a bright star is normal over all
kernels of the latent prior that count. That of a faint one is wide, and the generator bends within it, most where the
velocity is uncertain too. Then the likelihood is expanded again at the draws that weigh most, and the posterior in closed form
about each (kernels and normal nuisances, `mixture.py`) becomes a part of the proposal. All draws so far count in the next round,
for heavy ones are rare.

References:
    Raftery & Bao (2010), Biometrics 66, 1162 (incremental mixture importance sampling).
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import torch
from torch import Tensor

from ..model.joint import SpectrumModel
from .draws import shares
from .located import Located
from .mixture import Normal, Row, expansions, normal_of
from .proposal import Proposal
from .target import Target, as_parameters

__all__ = ["DRAWS", "PILOT", "PLACES", "TOP", "Adapted", "adapt"]

PILOT = 256  # draws that tell whether one expansion of each class will do
DRAWS = 384  # that tell how good a richer proposal is
TOP = 6.0  # times the mean: no more is done where no draw weighs more
HEAVY = 3.0  # times the mean: draws that get a part
ROUNDS = 4  # of new parts, at most
PLACES = 16  # new parts of a round, at most
SHARE = 0.4  # of the draws that come from all parts
FAR = 3.0  # standard deviations from where the likelihood is expanded to the kernels that it speaks of, at most
FAINT = 6.0  # nats below the heaviest of them at which a new part leaves them out


@dataclass(frozen=True, eq=False)
class Adapted:
    """A proposal with all draws that were made to find it.

    Arguments:
        target: The star's.
        closed: The posterior in closed form.
        parts: That about places which it undervalues.
        proposal: The closed form, joined with the parts, all of one weight.
        theta: Draws, shape (S, n).
        log_prob: Their log-density in the target, shape (S,).
    """

    target: Target
    closed: Proposal
    parts: Sequence[Normal]
    proposal: Proposal
    theta: Tensor
    log_prob: Tensor

    @classmethod
    def of(cls, model: SpectrumModel, star: Located) -> "Adapted":
        """The posterior in closed form, of which nothing was drawn yet."""
        none = torch.zeros(0, len(star.free), dtype=torch.double, device=star.data.flux.device)
        closed = Proposal(star.likely, star.free, star.velocity)
        return cls(Target(model, [star]), closed, (), closed, none, none[:, 0])

    @cached_property
    def weight(self) -> Tensor:
        """Of the draws, in units of their mean, (S,)."""
        return len(self.theta) * torch.softmax(self.log_prob - self.proposal.log_prob(self.theta), 0)

    @property
    def efficiency(self) -> float:
        """Effective share of the draws."""
        return float(1 / self.weight.square().mean())

    def drawn(self, count: int, random: torch.Generator) -> "Adapted":
        """With that many more draws of the proposal."""
        theta, _ = self.proposal.sample(count, random)
        log_prob, _ = self.target.evaluate(theta[None])
        return replace(self, theta=torch.cat([self.theta, theta]), log_prob=torch.cat([self.log_prob, log_prob[0]]))

    def with_parts(self, places: Tensor) -> "Adapted":
        """With a part for each of the places (J, n)."""
        star, model = self.target.stars[0], self.target.model
        at = as_parameters(star, places, star.labels[shares(self.target, 0, places).argmax(1)])
        rows = expansions(model, star.data.expand(len(places)), at)
        parts = (*self.parts, normal_of([_near(row) for row in rows], at))
        normals = Normal.join(parts)
        normals = replace(normals, log_evidence=torch.zeros_like(normals.log_evidence))
        proposal = self.closed.joined(Proposal(normals, star.free, star.velocity), SHARE)
        return replace(self, parts=parts, proposal=proposal)

    def improved(self, random: torch.Generator) -> "Adapted":
        """With parts where draws weigh most, until none weighs much."""
        now = self
        for _ in range(ROUNDS):
            if not float(now.weight.max()) > TOP:  # nor where none is a number
                break
            weight, index = now.weight.topk(min(PLACES, len(now.weight)))
            now = now.with_parts(now.theta[index[weight > HEAVY]]).drawn(DRAWS, random)
        return now


def adapt(model: SpectrumModel, star: Located, random: torch.Generator) -> Adapted:
    """Make the proposal of one star.

    Arguments:
        model: The joint density.
        star: The spectrum.
        random: Source of randomness, on the CPU.
    """
    return Adapted.of(model, star).drawn(PILOT, random).improved(random)


def _near(row: Row) -> Row:
    """A row with the heavy kernels alone whose posterior means lie where its expansion holds: few deviations from there."""
    away = row.latent.means - row.theta[: row.latent.means.shape[1]]
    distance = (away * torch.linalg.solve(row.latent.covariance, away.mT).mT).sum(1)
    weight = row.latent.log_weight.where(distance <= distance.min().clamp_min(FAR**2), -torch.inf)
    return replace(row, latent=row.latent.take(torch.nonzero(weight > weight.max() - FAINT).flatten()))
