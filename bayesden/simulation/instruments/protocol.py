r"""What every instrument offers.

The simulator integrates a spectrum onto the pixels of each detector (line-spread function and pixel box included); the
instrument turns that into exposures: counts, variance, noise, masks.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol, Self

import torch
from torch import Tensor

from ..random import Random

__all__ = ["Detector", "Exposures", "Instrument"]


@dataclass(frozen=True, eq=False)
class Detector:
    r"""The pixels of one arm and its line-spread function.

    Arguments:
        name: Such as `mr`, `b1`, `r1`.
        edges: Pixel boundaries, shape :math:`(D + 1,)`, vacuum Å, ascending, double precision.
        sigma: Standard deviation of the Gaussian line-spread function at each pixel, *without* the pixel box, shape
            :math:`(D,)`, Å.
    """

    name: str
    edges: Tensor
    sigma: Tensor

    @property
    def wavelength(self) -> Tensor:
        """Pixel centres, shape (D,), Å."""
        return (self.edges[1:] + self.edges[:-1]) / 2


@dataclass(frozen=True, eq=False)
class Exposures:
    """Noisy exposures on the instrument's output grid.

    Arguments:
        flux: Shape :math:`(B, E, D)`, 1e-17 erg/s/cm²/Å.
        ivar: Its inverse variance as a pipeline would report it, same shape; 0 where rejected.
        mask: True where a pixel is rejected, same shape.
        sigma: True standard deviation of the noise, same shape (differs from `ivar` where the pipeline is wrong).
    """

    flux: Tensor
    ivar: Tensor
    mask: Tensor
    sigma: Tensor


class Instrument(Protocol):
    r"""A spectrograph under drawn observing conditions.

    Attributes:
        name: Short name, as on the command line.
        detectors: Its arms.
        wavelength: Pixel centres of the output grid, shape :math:`(D,)`, vacuum Å, double precision.
        exposures: How many exposures :math:`E` a spectrum has in the output.
        conditions: Names of the columns of the condition table, units in them (`seeing_arcsec`, `zenith_angle_deg`).
        uniforms: How many uniform numbers a draw of conditions takes.
    """

    name: str
    detectors: tuple[Detector, ...]
    wavelength: Tensor
    exposures: int
    conditions: tuple[str, ...]
    uniforms: int

    def draw(self, uniform: Tensor) -> Tensor:
        """Conditions from uniform numbers: (B, uniforms) to (B, Q), double precision."""
        ...

    def project(self, arms: Sequence[Tensor]) -> Tensor:
        """The noiseless spectrum on the output grid from that on each detector: each (B, D_arm) to (B, D)."""
        ...

    def expose(self, arms: Sequence[Tensor], conditions: Tensor, random: Random, index: Tensor) -> Exposures:
        r"""Exposures of noiseless spectra.

        Arguments:
            arms: Flux density on each detector's pixels, each :math:`(B, D_\mathrm{arm})`, 1e-17 erg/s/cm²/Å.
            conditions: Shape :math:`(B, Q)`.
            random: Where the noise comes from; streams begin with the instrument's name.
            index: Numbers of the spectra, shape :math:`(B,)`: noise depends on them, not on the batch.
        """
        ...

    def to(self, device: torch.device | str) -> Self:
        """The same instrument with its tensors on a device."""
        ...
