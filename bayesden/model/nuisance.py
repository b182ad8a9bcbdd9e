r"""What stands between the star and the exposure: amplitude, velocity, dust, and a smooth flux-calibration error.

.. math:: m_e(\lambda) = \exp\Big(a + \sum_{j=0}^{P} \tilde c_{ej}\,T_j(x_\lambda)\Big)\, G(z)_\lambda, \qquad
          a \sim \mathcal N(0, \sigma_a^2), \quad c_{ej} \sim \mathcal N(0, \sigma_c^2), \quad
          \tilde c_e = c_e - \sum_{e'} w_{e'} c_{e'}

:math:`a` belongs to the star: dividing faint data by their mean |flux| would bias it, so it is a parameter. The
:math:`c_e` belong to the exposures; only their differences count (:math:`w_e` are the exposures' shares in the
information), for an error common to all exposures cannot be told from the star. :math:`T_j` are Chebyshev polynomials
over the grid.

Models of stars at rest (`rest_frame.py`) also have a radial velocity, a reddening, and a calibration error that all
exposures share, a factor :math:`\exp(\sum_{j \ge 1} t_j T_j)` of the flux as the survey sees it,

.. math:: v = \sigma_v f_1, \qquad E(B-V) = \mu_E + \sigma_E f_2, \qquad t_j = \sigma_t f_{2 + j}, \qquad
          f \sim \mathcal N(0, I).

A reddening may come out below zero: it takes up whatever colour star and library differ by.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

__all__ = ["Nuisance", "chebyshev"]


@dataclass(frozen=True)
class Nuisance:
    r"""Priors of the nuisance parameters.

    Arguments:
        amplitude_sd: :math:`\sigma_a`, in natural logarithm, about a scale estimated from the data.
        calibration_sd: :math:`\sigma_c`, in natural logarithm; 0 takes the calibration terms out.
        calibration_order: Highest polynomial order :math:`P`.
        velocity_sd_kms: :math:`\sigma_v`; 0 leaves the star at rest.
        ebv_mean: :math:`\mu_E`, mag.
        ebv_sd: :math:`\sigma_E`, mag; 0 fixes the reddening at its mean.
        tilt_sd: :math:`\sigma_t`, in natural logarithm; 0 leaves the shared calibration error out.
        tilt_order: Highest polynomial order of the shared calibration error.
    """

    amplitude_sd: float = 0.5
    calibration_sd: float = 0.05
    calibration_order: int = 2
    velocity_sd_kms: float = 0.0
    ebv_mean: float = 0.0
    ebv_sd: float = 0.0
    tilt_sd: float = 0.0
    tilt_order: int = 3

    @property
    def terms(self) -> int:
        """Calibration coefficients of each exposure, :math:`P + 1`."""
        return self.calibration_order + 1 if self.calibration_sd > 0 else 0

    @property
    def foreground(self) -> int:
        """How many of velocity, reddening and shared calibration terms are free, F."""
        return int(self.velocity_sd_kms > 0) + int(self.ebv_sd > 0) + self.tilts

    @property
    def tilts(self) -> int:
        """Terms of the shared calibration error."""
        return self.tilt_order if self.tilt_sd > 0 else 0

    def velocity_kms(self, foreground: Tensor) -> Tensor:
        """Radial velocities of standardised parameters (B, F): (B,)."""
        moves = self.velocity_sd_kms > 0
        return self.velocity_sd_kms * foreground[:, 0] if moves else foreground.new_zeros(len(foreground))

    def ebv(self, foreground: Tensor) -> Tensor:
        """Reddenings of standardised parameters (B, F): (B,), mag."""
        column = int(self.velocity_sd_kms > 0)
        drawn = self.ebv_sd * foreground[:, column] if self.ebv_sd > 0 else foreground.new_zeros(len(foreground))
        return self.ebv_mean + drawn

    def tilt(self, foreground: Tensor, size: int) -> Tensor:
        """Factors of the shared calibration error, of standardised parameters (B, F), on D pixels: (B, D) or (B, 1)."""
        if not self.tilts:
            return foreground.new_ones(len(foreground), 1)
        return (self.tilt_sd * foreground[:, -self.tilts :] @ chebyshev(size, self.tilts, foreground)[1:]).exp()

    def polynomials(self, size: int, like: Tensor) -> Tensor:
        r"""Chebyshev polynomials on D pixels, shape :math:`(P + 1, D)`, in the dtype and on the device of `like`."""
        return chebyshev(size, self.calibration_order, like)[: self.terms]


def chebyshev(size: int, order: int, like: Tensor) -> Tensor:
    """Chebyshev polynomials of orders 0 to P on D pixels, shape (P + 1, D), in the dtype and on the device of `like`."""
    x = torch.linspace(-1, 1, size, dtype=like.dtype, device=like.device)
    rows = [torch.ones_like(x), x]
    while len(rows) <= order:
        rows.append(2 * x * rows[-1] - rows[-2])
    return torch.stack(rows[: order + 1])
