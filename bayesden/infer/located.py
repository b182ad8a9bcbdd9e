"""What is known of one star's posterior in closed form, before any sampling: where it is and how wide."""

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from ..model.data import Data
from ..model.joint import Parameters, SpectrumModel
from .finite import check_finite
from .mixture import Normal, integrate
from .modes import Settings, best_of, class_evidence, distinct, find_modes
from .newton import Fit

__all__ = ["Located", "locate"]

NEGLIGIBLE = 12.0  # nats that a class may be below the likeliest: one in 160,000


@dataclass(frozen=True, eq=False)
class Located:
    r"""One star.

    Arguments:
        data: One row.
        fit: The best mode; one row.
        normals: The posterior about the best mode of each class that was refined, and about modes at other velocities.
        log_evidence: Of every class, up to a constant, shape :math:`(K,)`.
        moving: Whether its velocity is a parameter.
    """

    data: Data
    fit: Fit
    normals: Normal
    log_evidence: Tensor
    moving: bool = False

    @property
    def like(self) -> Parameters:
        """Parameters of the right shape, one row."""
        return self.fit.at

    @property
    def size(self) -> int:
        """All parameters, the free ones and the others."""
        return self.normals.covariance.shape[-1]

    @property
    def free(self) -> Tensor:
        """Indices of the parameters that the data or a prior speak of: calibration terms only where there are some."""
        calibration = self.like.calibration[0]
        known = (self.data.share[0] > 0).unsqueeze(-1).expand_as(calibration).flatten()
        others = known.new_ones(self.size - len(known))
        return torch.nonzero(torch.cat([others, known])).flatten()

    @property
    def velocity(self) -> int | None:
        """Which of the parameters but z is the velocity; None if there is none."""
        return self.like.detail.shape[1] if self.moving else None

    @property
    def likely(self) -> Normal:
        """The rows of `normals` whose class is possible."""
        evidence = self.normals.log_evidence
        return self.normals.take(torch.nonzero(evidence > evidence.max() - NEGLIGIBLE).flatten())

    def only(self, label: int) -> "Located":
        """The same with one class alone."""
        return replace(self, normals=self.normals.take(torch.nonzero(self.normals.at.label == label).flatten()))

    @property
    def labels(self) -> Tensor:
        """Indices of the possible classes, (k,)."""
        return self.likely.at.label.unique()


def locate(model: SpectrumModel, data: Data, *, seed: int = 0, settings: Settings | None = None) -> list[Located]:
    """Find the modes of each spectrum and the posterior about them.

    Arguments:
        model: The joint density.
        data: B spectra.
        seed: Seed of the starts.
        settings: Choices of the search.

    Raises:
        NumericalError: if something in it is no number.
    """
    fit, spectrum, coarse = find_modes(model, data, settings, seed)
    rows = distinct(model, fit, spectrum)
    owner = spectrum[rows]
    normals = integrate(model, data.take(owner), fit.at.take(rows))
    check_finite("the posterior about the modes", normals.covariance, normals.log_evidence)
    evidence = class_evidence(coarse, normals, owner)
    best = best_of(fit, spectrum)
    return [
        Located(
            data.take(slice(b, b + 1)),
            fit.take(best[b : b + 1]),
            normals.take(torch.nonzero(owner == b).flatten()),
            evidence[b],
            moving=model.foreground > 0 and model.nuisance.velocity_sd_kms > 0,
        )
        for b in range(len(data))
    ]
