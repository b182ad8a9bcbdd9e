"""Observations as tensors: scaled, stacked, and with what is known of each exposure's noise and worth."""

from collections.abc import Sequence
from dataclasses import dataclass, fields

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ..errors import InputError
from ..spectrum import ARM_BLUE, ARM_RED, Observation
from .agreement import agreement, mean_of_agreeing, rough_scale, shares
from .cosmic_rays import without_cosmic_rays
from .noise_context import CHANNELS, noise_context
from .views import repeated

__all__ = ["Data"]


@dataclass(frozen=True, eq=False)
class Data:
    r"""A batch of observations as tensors, each spectrum divided by a scale of its own.

    Arguments:
        flux, ivar: Shape :math:`(B, E, D)`, in units of `scale`; exposures that a spectrum lacks are masked.
        mask: True where bad, shape :math:`(B, E, D)`.
        share: Share of each exposure in the star's calibration, shape :math:`(B, E)`; zero for spectra with one exposure
            and for exposures that a spectrum lacks: those have no calibration terms.
        scale: The flux that counts as 1, shape :math:`(B,)`, in each observation's unit; about mean |flux|.
        context: What else is known of the noise (`noise_context.py`), shape :math:`(B, E, C, D)`; None if nothing.
        side: +1 in the blue arm, -1 in the red one, from one to the other where they were joined, 0 where unknown,
            :math:`(B, E, D)`; None if all are unknown.
    """

    flux: Tensor
    ivar: Tensor
    mask: Tensor
    share: Tensor
    scale: Tensor
    context: Tensor | None = None
    side: Tensor | None = None

    @classmethod
    def stack(
        cls,
        observations: Sequence[Observation],
        device: str | torch.device = "cpu",
        dtype: torch.dtype = torch.float32,
    ) -> "Data":
        """Put observations on one grid into tensors; pixels that a cosmic ray has hit are masked (`cosmic_rays.py`).

        Raises:
            InputError: if their grids differ.
        """
        first = observations[0]
        for obs in observations:
            if not np.array_equal(obs.wavelength, first.wavelength):
                raise InputError(f"{obs.name}: expected the wavelength grid of {first.name}, got another")
        observations = [without_cosmic_rays(obs) for obs in observations]
        shape = (len(observations), max(obs.n_exposures for obs in observations), first.wavelength.size)
        context = np.zeros((*shape[:2], len(CHANNELS), shape[2]), np.float32)
        flux, ivar, side = np.zeros((3, *shape), np.float32)
        share = np.zeros(shape[:2], np.float32)
        trust = [agreement(obs.flux, obs.ivar) for obs in observations]
        scale = np.array([rough_scale(o.flux, o.ivar, t) for o, t in zip(observations, trust, strict=True)])
        for b, obs in enumerate(observations):
            # beyond is an outlier whatever its value, or better than any spectrograph; squares must still be float32
            flux[b, : obs.n_exposures] = np.clip(obs.flux / scale[b], -1e6, 1e6)
            ivar[b, : obs.n_exposures] = np.minimum(obs.ivar * scale[b] ** 2, 1e8)
            share[b, : obs.n_exposures] = shares(obs.ivar, trust[b])
            context[b, : obs.n_exposures] = noise_context(obs)
            side[b, : obs.n_exposures] = _sides(obs.arm)
        known = bool(side.any())
        scale, mask = (torch.from_numpy(a).to(device) for a in (scale, ivar <= 0))
        tensors = (torch.from_numpy(a).to(device, dtype) for a in (flux, ivar, share, context, side))
        flux, ivar, share, context, side = tensors
        return cls(flux, ivar, mask, share, scale, context, side if known else None)

    @classmethod
    def join(cls, parts: Sequence["Data"]) -> "Data":
        """Batches with as many exposures, and the same of them known, as one."""
        columns = ([getattr(part, f.name) for part in parts] for f in fields(cls))
        return cls(*(None if values[0] is None else torch.cat(values) for values in columns))

    def take(self, rows: Tensor | slice) -> "Data":
        """The spectra at an index, with repetition where it repeats."""
        values = (getattr(self, f.name) for f in fields(self))
        return Data(*(None if value is None else value[rows] for value in values))

    def expand(self, count: int) -> "Data":
        """The only spectrum as that many rows, without copies."""
        values = (getattr(self, f.name) for f in fields(self))
        return Data(*(None if value is None else value.expand(count, *value.shape[1:]) for value in values))

    @property
    def shared(self) -> "Data":
        """The only spectrum where all rows are views of it (`expand`), else all."""
        return self.take(slice(0, 1)) if repeated(self.ivar, self.share, self.side) else self

    def __len__(self) -> int:
        return len(self.flux)

    def coadd(self) -> "Data":
        """The inverse-variance mean over exposures that agree, as a batch with E = 1."""
        flux, ivar = mean_of_agreeing(self.flux, self.ivar, self.share)
        return Data(flux, ivar, ivar <= 0, torch.zeros_like(self.share[:, :1]), self.scale)


def _sides(arm: NDArray) -> NDArray:
    """What `Data.side` holds, from bits of arms (E, D).

    In SDSS files the arms' shares of the inverse variance run from one end of their overlap to the other within 0.2 of a
    straight line, so that line stands for them.
    """
    blue, red = (arm & ARM_BLUE) > 0, (arm & ARM_RED) > 0
    side = blue.astype(np.float32) - red
    for row, both in zip(side, blue & red, strict=True):
        joined = np.flatnonzero(both)
        if joined.size:
            row[joined] = np.interp(joined, [joined[0] - 1, joined[-1] + 1], [1.0, -1.0])
    return side
