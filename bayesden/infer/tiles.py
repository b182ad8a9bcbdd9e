r"""The posterior in closed form from many expansions: where the generator bends, one quadratic is not the likelihood.

About a mode the likelihood of a bright star is normal over all kernels of the latent prior that count. That of a faint one
is wide, and the generator bends within it. Then the likelihood is expanded at several places, *tiles*, and every kernel is
integrated with the expansion that lies nearest to its own posterior mean. The result is again classes, kernels and normal
nuisances (`mixture.py`), one row for each tile instead of one for each class.
"""

from collections.abc import Sequence
from dataclasses import replace

import torch
from torch import Tensor

from ..model.data import Data
from ..model.joint import Parameters, SpectrumModel
from .mixture import Normal, Row, expansions, marginal, normal_of
from .newton import Newton, flatten, unflatten

__all__ = ["tile"]

MOST = (16, 64)  # tiles of a class, round by round
NEAR = 0.5  # standard deviations between tiles at least
FAR = 3.0  # standard deviations from a missed mode to the kernels that it speaks of, at most
CLIMB = 12  # Newton steps from a place that was undervalued to its mode
LIGHT = 9.0  # nats below the heaviest kernel at which none gets a tile of its own


@torch.no_grad()
def tile(
    model: SpectrumModel, data: Data, normals: Normal, most: Sequence[int] = MOST, missed: Parameters | None = None
) -> Normal:
    """The posterior of one spectrum from several expansions of each class.

    Arguments:
        model: The joint density.
        data: One row.
        normals: The posterior about each mode.
        most: Tiles of a mode in every round; a round chooses its tiles among the kernels that the last one found heavy.
        missed: Places that earlier tiles undervalue; the modes that are reached from there are tiles besides the others.

    Returns:
        One row for each tile; the evidence of a class is the sum over its rows, if there were no missed places.
    """
    parts = [normals.take(slice(i, i + 1)) for i in range(len(normals.log_evidence))]
    for count in most:
        parts = [_tile(model, data, part, count) for part in parts]
    return Normal.join(parts if missed is None else [*parts, _about(model, data, missed)])


def _tile(model: SpectrumModel, data: Data, normal: Normal, most: int) -> Normal:
    """Tiles of one mode from the kernels of earlier ones."""
    dim, white = normal.at.z.shape[1], _whitener(normal)
    places = _places(normal, white, most)
    like = normal.at.take(torch.zeros(len(places), dtype=torch.long, device=places.device))
    found = expansions(model, data.expand(len(places)), unflatten(places, like))
    means = torch.stack([row.latent.means for row in found])  # tiles, kernels, L
    owner = ((means - places[:, None, :dim]) @ white.mT).square().sum(-1).argmin(0)
    own = []
    for j, row in enumerate(found):
        mine = torch.nonzero(owner == j).flatten()
        if len(mine):
            own.append(replace(row, latent=row.latent.take(mine)))
    return normal_of(own, like.take(slice(0, len(own))))


def _about(model: SpectrumModel, data: Data, missed: Parameters) -> Normal:
    """The posterior about the modes that are reached from some places; of one mode once."""
    fit = Newton(model, iterations=CLIMB).maximise(data.expand(len(missed.z)), missed)
    best = fit.objective.argsort(descending=True)
    white = torch.linalg.cholesky(fit.precision).mT
    theta, kept = flatten(fit.at), []
    for row in best.tolist():
        if all(float((white[row] @ (theta[row] - theta[other])).norm()) > NEAR for other in kept):
            kept.append(row)
    chosen = torch.tensor(kept, device=theta.device)
    rows = expansions(model, data.expand(len(kept)), fit.at.take(chosen))
    return normal_of([_near(row, fit.precision[i]) for row, i in zip(rows, kept, strict=True)], fit.at.take(chosen))


def _near(row: Row, precision: Tensor) -> Row:
    """A row with the kernels alone whose posterior means lie where its expansion holds: few deviations from the mode."""
    dim = row.latent.means.shape[1]
    away = row.latent.means - row.theta[:dim]
    distance = ((away @ marginal(precision, dim)[0]) * away).sum(1)
    return replace(row, latent=row.latent.take(torch.nonzero(distance <= distance.min().clamp_min(FAR**2)).flatten()))


def _whitener(normal: Normal) -> Tensor:
    """Inverse of the Cholesky factor of z's covariance in all rows together, (L, L)."""
    share, dim = torch.softmax(normal.log_evidence, 0), normal.at.z.shape[1]
    mean = normal.at.z.double()
    apart = mean - (share.unsqueeze(-1) * mean).sum(0)
    covariance = (share[:, None, None] * normal.covariance[:, :dim, :dim]).sum(0) + apart.mT @ (share[:, None] * apart)
    return torch.linalg.inv(torch.linalg.cholesky(covariance))


def _places(normal: Normal, white: Tensor, most: int) -> Tensor:
    """Where to expand, parameters (J, n): the heaviest kernel's mean, then always the one farthest from those chosen."""
    kernels, dim = normal.kernels, normal.at.z.shape[1]
    weight = normal.log_evidence.unsqueeze(1) + kernels.log_weight
    heavy = torch.nonzero(weight > weight.max() - LIGHT)
    row, kernel = heavy[weight[heavy[:, 0], heavy[:, 1]].argsort(descending=True)].unbind(1)
    z = kernels.mean[row, kernel]
    position = z @ white.mT
    chosen, away = [0], (position - position[0]).norm(dim=1)
    while len(chosen) < most and float(away.max()) > NEAR:
        chosen.append(int(away.argmax()))
        away = torch.minimum(away, (position - position[chosen[-1]]).norm(dim=1))
    rows = torch.tensor(chosen, device=z.device)
    row, z = row[rows], z[rows]
    origin = kernels.origin[row]
    moved = (z - origin[:, :dim]).unsqueeze(-1)
    return torch.cat([z, origin[:, dim:] - (kernels.across[row] @ moved)[..., 0]], 1)
