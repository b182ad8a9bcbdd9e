r"""Noise that was not computed: drawn from a fitted `NoiseFlow`, or taken from real exposures.

Both replace the noise of a simulated exposure on the output grid and keep its star, its conditions and its calibration
errors. A flow gives residuals for the simulated inverse variances and masks. Real residuals come with their own inverse
variances and masks: those of E exposures of one star (`bayesden.model.residuals`, so with the :math:`\sqrt{n/(n-1)}` of a
residual against the mean), scaled together until the median signal-to-noise ratio of each exposure is the simulated one.
The truth about such noise is not known; `sigma` is then what the pipeline says.
"""

import copy
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Protocol, Self

import torch
from torch import Tensor

from ...errors import InputError
from ...io.reader import read
from ...model.checkpoint import load_model, load_part, read_header
from ...model.local_autoregressive import LocalAutoregressive
from ...model.noiseflow import NoiseFlow
from ...model.residuals import NoiseSamples, residuals
from ...spectrum import Grid
from ..random import Random
from .protocol import Exposures

__all__ = ["FlowNoise", "NoiseSource", "RealNoise"]


class NoiseSource(Protocol):
    """Adds noise to exposures that have none."""

    def __call__(self, seen: Exposures, random: Random, index: Tensor) -> Exposures:
        """The same exposures with noise."""
        ...

    def to(self, device: torch.device | str) -> Self:
        """The same source on a device."""
        ...


def _pipeline_sigma(ivar: Tensor, mask: Tensor, fallback: Tensor) -> Tensor:
    return torch.where(mask, fallback, ivar.clamp(min=1e-30).rsqrt())


@dataclass(frozen=True, eq=False)
class FlowNoise:
    """Residuals drawn from a fitted flow.

    Arguments:
        noise: The flow.
    """

    noise: NoiseFlow

    @classmethod
    def of(cls, noise: NoiseFlow | str | Path, size: int) -> Self:
        """From a flow, or from a file with a flow (`bayesden fit-noise`) or a whole model.

        Raises:
            InputError: if the flow is for another number of pixels.
            ModelError: if the file holds neither.
        """
        if not isinstance(noise, NoiseFlow):
            whole = read_header(noise).get("content") == "model"
            noise = load_model(noise).noise if whole else load_part("noise", noise)
        if noise.size != size:
            raise InputError(f"sdss noise: expected a noise flow of {size} pixels, got one of {noise.size}")
        return cls(copy.deepcopy(noise).eval().requires_grad_(False))

    def to(self, device: torch.device | str) -> Self:
        """The same source on a device."""
        return FlowNoise(copy.deepcopy(self.noise).to(device))

    def _base(self, random: Random, index: Tensor, size: int) -> Tensor:
        """Draws of the flow's base density; Student's by the polar method of Bailey (1994)."""
        if math.isinf(nu := self.noise.nu):
            return random.normal("sdss/flow", index, size)
        radius = random.uniform("sdss/flow/radius", index, size).double()
        angle = random.uniform("sdss/flow/angle", index, size).double()
        return (torch.sqrt(nu * torch.expm1(-2.0 / nu * radius.log())) * torch.cos(2 * math.pi * angle)).float()

    @torch.no_grad()
    def __call__(self, seen: Exposures, random: Random, index: Tensor) -> Exposures:
        """Exposures with the flow's noise for their inverse variances."""
        level = seen.flux.abs().mean(-1, keepdim=True)  # the flow's unit is mean |flux| = 1
        xi = self._base(random, index, seen.flux[0].numel()).view(-1, self.noise.size)
        ivar, bad = (seen.ivar * level**2).view(xi.shape), seen.mask.view(xi.shape)
        white, _ = LocalAutoregressive(self.noise.network).inverse(xi, ivar, bad)
        eps = level * white.view(seen.flux.shape)
        return replace(
            seen,
            flux=torch.where(seen.mask, 0.0, seen.flux + eps),
            sigma=_pipeline_sigma(seen.ivar, seen.mask, seen.sigma),
        )


@dataclass(frozen=True, eq=False)
class RealNoise:
    """Residuals of real exposures.

    Arguments:
        eps: Noise of R exposures, sorted by star, shape (R, D).
        ivar: Their inverse variances, 0 where masked, same shape.
        first: The first exposure of each star, shape (S,).
        count: How many it has, shape (S,).
    """

    eps: Tensor
    ivar: Tensor
    first: Tensor
    count: Tensor

    @classmethod
    def of(cls, files: Sequence[str | Path] | NoiseSamples, grid: Grid) -> Self:
        """From files with several exposures each, or from their residuals.

        Raises:
            InputError: if there is no file, one has a single exposure, or the residuals are on another grid.
        """
        if not isinstance(files, NoiseSamples):
            if not files:
                raise InputError("sdss noise: expected files with real exposures, got none")
            files = NoiseSamples.concatenate(residuals(read(path, grid=grid)) for path in files)
        if Grid(files.wavelength) != grid:
            raise InputError("sdss noise: expected residuals on the instrument's grid, got another")
        samples = files.select(~files.mask.all(1))
        names: Iterable[str] = dict.fromkeys(samples.star)
        rows = [torch.tensor([i for i, star in enumerate(samples.star) if star == name]) for name in names]
        count = torch.tensor([len(r) for r in rows])
        order = torch.cat(rows)
        eps, ivar, mask = samples.tensors()
        return cls(eps[order], torch.where(mask, 0.0, ivar)[order], count.cumsum(0) - count, count)

    def to(self, device: torch.device | str) -> Self:
        """The same source on a device."""
        return RealNoise(*(x.to(device) for x in (self.eps, self.ivar, self.first, self.count)))

    def rows(self, random: Random, index: Tensor, exposures: int) -> Tensor:
        """Exposures of one star for each spectrum, each once as long as there are enough, shape (B, E)."""
        star = (random.uniform("sdss/real/star", index, 1)[:, 0] * len(self.count)).long()
        count = self.count[star][:, None]
        most = int(self.count.max())
        order = random.uniform("sdss/real/exposure", index, most)
        order = torch.where(torch.arange(most, device=index.device) < count, order, 2.0).argsort(1)
        return self.first[star][:, None] + order.gather(1, torch.arange(exposures, device=index.device) % count)

    def __call__(self, seen: Exposures, random: Random, index: Tensor) -> Exposures:
        """Exposures with real noise, inverse variances and masks."""
        rows = self.rows(random, index, seen.flux.shape[1])
        eps, ivar = self.eps[rows], self.ivar[rows]
        factor = _snr(seen.flux, ivar) / _snr(seen.flux, seen.ivar)
        mask = ~(ivar > 0)
        scaled = torch.where(mask, 0.0, ivar / factor**2)
        flux = torch.where(mask, 0.0, seen.flux + factor * eps)
        return Exposures(flux, scaled, mask, _pipeline_sigma(scaled, mask, seen.sigma))


def _snr(flux: Tensor, ivar: Tensor) -> Tensor:
    """Median signal-to-noise ratio over the pixels that have one and a flux, shape (B, E, 1)."""
    ratio = flux.abs() * ivar.sqrt()
    return torch.where(ratio > 0, ratio, torch.nan).nanmedian(-1, keepdim=True).values
