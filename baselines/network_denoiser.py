"""A trained network as a denoiser of observations."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from bayesden.errors import InputError
from bayesden.posterior import Posterior
from bayesden.spectrum import Observation

from .denoiser import Denoiser
from .point_estimate import check_grid, point_estimate
from .preparation import LONGEST_GAP, bridge, longest_gap
from .weights import Weights

__all__ = ["NetworkDenoiser"]


@dataclass(frozen=True, eq=False)
class NetworkDenoiser(Denoiser):
    """The network sees the inverse-variance mean of the exposures, and no inverse variance.

    Arguments:
        weights: The trained network.
    """

    weights: Weights
    chunk = 128

    @torch.no_grad()
    def _denoise(self, observations: Sequence[Observation]) -> list[Posterior]:
        weights = self.weights
        for each in observations:
            check_grid(each, weights.grid, f"the wavelength grid of {weights.name}")
        flux, ivar = (np.stack(part) for part in zip(*(each.coadd() for each in observations), strict=True))
        seen = torch.from_numpy(ivar > 0)
        self._check_gaps(observations, seen)
        unit = torch.from_numpy(np.abs(flux).max(1, keepdims=True))  # single precision holds no 1e-17 squared
        noisy = (torch.from_numpy(flux) / unit).float()
        scale = weights.unit.scale(noisy, seen)
        shown = noisy.where(seen, torch.zeros_like(noisy)) if weights.missing else bridge(noisy, seen)
        clean = (weights.network(shown / scale) * scale).double() * unit
        pairs = zip(observations, clean.numpy(), strict=True)
        return [point_estimate(each, values, weights.name) for each, values in pairs]

    def _check_gaps(self, observations: Sequence[Observation], seen: Tensor) -> None:
        if self.weights.missing:
            return
        for each, width in zip(observations, longest_gap(seen).tolist(), strict=True):
            if width > LONGEST_GAP:
                raise InputError(
                    f"{each.name}: expected no gap of more than {LONGEST_GAP} pixels with {self.weights.name}, "
                    f"which was not trained with missing flux, got {width}"
                )
