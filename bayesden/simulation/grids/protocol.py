r"""What every source of noiseless spectra offers.

A grid turns a row of parameters into flux on vacuum wavelengths that are uniform in their logarithm, so that a Doppler shift
is a translation. It holds tensors on one device and draws its own parameters from uniform numbers, so that a draw depends on
the spectrum's number alone (`bayesden.simulation.random`).
"""

from typing import Protocol, Self

import torch
from torch import Tensor

__all__ = ["SpectralGrid"]


class SpectralGrid(Protocol):
    r"""A source of noiseless spectra.

    Attributes:
        name: Short name, as on the command line.
        label: One honest line: what it is, and what it is not for.
        unit: Unit of the flux; a flux density per wavelength up to a factor, as the simulator scales it to a magnitude.
        loglam: :math:`\log_{10}` of the vacuum wavelength in Å, shape :math:`(N,)`, double precision, uniform.
        parameters: Names of the columns of a parameter table, units in them (`teff_K`, `logg`, `feh`, `alpha_fe`, `axis`).
        uniforms: How many uniform numbers a draw takes.
    """

    name: str
    label: str
    unit: str
    loglam: Tensor
    parameters: tuple[str, ...]
    uniforms: int

    def draw(self, uniform: Tensor) -> Tensor:
        """Parameters from uniform numbers: (B, uniforms) to (B, P), double precision."""
        ...

    def flux(self, parameters: Tensor) -> Tensor:
        """Noiseless flux: (B, P) to (B, N), single precision; differentiable in what is continuous.

        Raises:
            InputError: if a parameter is outside the grid: its name, the range, what came.
        """
        ...

    def to(self, device: torch.device | str) -> Self:
        """The same grid with its tensors on a device."""
        ...
