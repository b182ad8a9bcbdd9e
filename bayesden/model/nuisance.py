r"""What an exposure adds to the star: amplitude, and a smooth flux-calibration error of its own.

.. math:: m_e(\lambda) = \exp\Big(a + \sum_{j=0}^{P} \tilde c_{ej}\,T_j(x_\lambda)\Big)\, G(z)_\lambda, \qquad
          a \sim \mathcal N(0, \sigma_a^2), \quad c_{ej} \sim \mathcal N(0, \sigma_c^2), \quad
          \tilde c_e = c_e - \sum_{e'} w_{e'} c_{e'}

:math:`a` belongs to the star: dividing faint data by their mean |flux| would bias it, so it is a parameter. The
:math:`c_e` belong to the exposures; only their differences count (:math:`w_e` are the exposures' shares in the
information), for an error common to all exposures cannot be told from the star. :math:`T_j` are Chebyshev polynomials
over the grid.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

__all__ = ["Nuisance"]


@dataclass(frozen=True)
class Nuisance:
    r"""Priors of the nuisance parameters.

    Arguments:
        amplitude_sd: :math:`\sigma_a`, in natural logarithm, about a scale estimated from the data.
        calibration_sd: :math:`\sigma_c`, in natural logarithm; 0 takes the calibration terms out.
        calibration_order: Highest polynomial order :math:`P`.
    """

    amplitude_sd: float = 0.5
    calibration_sd: float = 0.05
    calibration_order: int = 2

    @property
    def terms(self) -> int:
        """Calibration coefficients of each exposure, :math:`P + 1`."""
        return self.calibration_order + 1 if self.calibration_sd > 0 else 0

    def polynomials(self, size: int, like: Tensor) -> Tensor:
        r"""Chebyshev polynomials on D pixels, shape :math:`(P + 1, D)`, in the dtype and on the device of `like`."""
        x = torch.linspace(-1, 1, size, dtype=like.dtype, device=like.device)
        rows = [torch.ones_like(x), x]
        while len(rows) < self.terms:
            rows.append(2 * x * rows[-1] - rows[-2])
        return torch.stack(rows[: self.terms]) if self.terms else x.new_zeros(0, size)
