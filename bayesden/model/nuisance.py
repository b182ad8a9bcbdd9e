r"""What stands between the star and the exposure: amplitude, velocity, dust, and smooth flux-calibration errors.

.. math:: m_e(\lambda) = \exp\Big(a + \sum_j \tilde c_{ej}\,B_{ej}(\lambda)\Big)\, (1 + w_e \mathcal D)\, G(z)_\lambda,
          \qquad a \sim \mathcal N(0, \sigma_a^2), \qquad \tilde c_e = c_e - \sum_{e'} q_{e'} c_{e'}

:math:`a` belongs to the star: dividing faint data by their mean |flux| would bias it, so it is a parameter. The
:math:`c_e` belong to the exposures; only their differences count, for an error common to all exposures cannot be told from
the star. The :math:`q_e` are the exposures' shares in what the star's calibration is (`agreement.py`); where the arms have
polynomials of their own, an exposure with one arm has none. Terms of an exposure:

- Chebyshev polynomials :math:`T_0 \dots T_P` over the grid, of scale :math:`\sigma_c`;
- the same times +1 in the blue arm and -1 in the red one, :math:`T_0 \dots T_Q`, of scale :math:`\sigma_b`: with the former,
  a polynomial for each arm. Where both were joined the factor runs from +1 to -1, as their weights do; where the arm is not
  known it is 0;
- a shift :math:`w_e` of the wavelength solution, of scale :math:`\sigma_w`, to first order: :math:`\mathcal D = \partial /
  \partial v` on the pixels (`PixelShift`). Wavelengths have a zero point, so nothing is taken out of the shifts: the star's
  velocity is as uncertain as they leave it.

Each is normal, or with :math:`\nu` degrees of freedom Student-t, so that a ruined exposure (a dropped fibre, a tilt of
30 %) is taken for what it is: a Gaussian would rather bend the star.

Models of stars at rest (`rest_frame.py`) also have a radial velocity, a reddening, and a calibration error that all
exposures share, a factor :math:`\exp(\sum_{j \ge 1} t_j T_j)` of the flux as the survey sees it,

.. math:: v = \sigma_v f_1, \qquad E(B-V) = \mu_E + \sigma_E f_2, \qquad t_j = \sigma_t f_{2 + j}, \qquad
          f \sim \mathcal N(0, I).

A reddening may come out below zero: it takes up whatever colour star and library differ by.
"""

import math
from collections.abc import Iterable
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from ..errors import InputError
from ..spectrum import Grid
from .local_network import shift
from .rest_frame import LIGHT_KMS

__all__ = ["REMOVABLE", "Nuisance", "PixelShift", "chebyshev"]

REMOVABLE = {  # name: what is set to 0
    "velocity": ("velocity_sd_kms",),
    "reddening": ("ebv_sd",),
    "tilt": ("tilt_sd",),
    "calibration": ("calibration_sd", "arm_sd"),
    "arms": ("arm_sd",),
    "shifts": ("shift_sd_kms",),
}


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
        calibration_dof: :math:`\nu` of all terms of an exposure; 0 for normal ones.
        arm_sd: :math:`\sigma_b`, in natural logarithm; 0 for one polynomial over both arms.
        arm_order: Highest polynomial order :math:`Q` in which the arms differ.
        shift_sd_kms: :math:`\sigma_w`; 0 leaves the exposures' wavelengths as they are.

    Raises:
        InputError: if a width or order is negative or not finite.
    """

    amplitude_sd: float = 0.5
    calibration_sd: float = 0.05
    calibration_order: int = 2
    velocity_sd_kms: float = 0.0
    ebv_mean: float = 0.0
    ebv_sd: float = 0.0
    tilt_sd: float = 0.0
    tilt_order: int = 3
    calibration_dof: float = 10.0
    arm_sd: float = 0.0
    arm_order: int = 1
    shift_sd_kms: float = 0.0

    def __post_init__(self) -> None:
        for name, value in vars(self).items():
            if not math.isfinite(value) or (value < 0 and name != "ebv_mean"):
                raise InputError(f"nuisance: {name}: expected a finite number of at least 0, got {value}")

    @property
    def polynomial_terms(self) -> int:
        """Polynomials of each exposure over the grid, :math:`P + 1`."""
        return self.calibration_order + 1 if self.calibration_sd > 0 else 0

    @property
    def arm_terms(self) -> int:
        """Polynomials of each exposure in which its arms differ, :math:`Q + 1`."""
        return self.arm_order + 1 if self.arm_sd > 0 else 0

    @property
    def terms(self) -> int:
        """Coefficients of each exposure, n: polynomials, differences of the arms, shift."""
        return self.polynomial_terms + self.arm_terms + int(self.shift_sd_kms > 0)

    def without(self, names: Iterable[str]) -> "Nuisance":
        """The same with some priors of no width, by the names in `REMOVABLE`; a reddening stays at its mean.

        Raises:
            InputError: if a name is not known.
        """
        names = list(names)
        for name in names:
            if name not in REMOVABLE:
                raise InputError(f"without: expected some of {', '.join(REMOVABLE)}, got {name!r}")
        return replace(self, **{field: 0.0 for name in names for field in REMOVABLE[name]})

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

    def smooth_slopes(self, extinction: Tensor, like: Tensor) -> Tensor:
        """Derivatives of the logarithm of the star by reddening and shared calibration terms: (F', D)."""
        rows = []
        if self.ebv_sd > 0:
            rows.append(-0.4 * math.log(10) * self.ebv_sd * extinction.to(like.dtype)[None])
        if self.tilts:
            rows.append(self.tilt_sd * chebyshev(len(extinction), self.tilts, like)[1:])
        return torch.cat(rows) if rows else like.new_zeros(0, len(extinction))

    def polynomials(self, size: int, like: Tensor) -> Tensor:
        r"""Chebyshev polynomials on D pixels, shape :math:`(P + 1, D)`, in the dtype and on the device of `like`."""
        return chebyshev(size, self.calibration_order, like)[: self.polynomial_terms]

    def basis(self, side: Tensor | None, size: int, like: Tensor) -> Tensor:
        """What the exposures' terms multiply in the logarithm of the gain: (n', D), or (B, E, n', D) with arms.

        Arguments:
            side: +1 in the blue arm, -1 in the red one (`Data.side`), shape (B, E, D); None where it is not known.
            size: Pixels D.
            like: Of the dtype and on the device that the result shall have.
        """
        whole = self.polynomials(size, like)
        if not self.arm_terms:
            return whole
        rows = chebyshev(size, self.arm_order, like)
        if side is None:
            return torch.cat([whole, torch.zeros_like(rows)])
        arms = side.to(like.dtype).unsqueeze(2) * rows
        return torch.cat([whole.expand(*arms.shape[:2], -1, -1), arms], 2)

    def centring(self, share: Tensor, mean_share: Tensor) -> Tensor:
        """For each term the map that takes the exposures' mean out, but not of shifts: (B, n, E, E) from (B, E).

        Arguments:
            share: Above 0 for exposures that have terms.
            mean_share: Shares in the mean.
        """
        free = share > 0
        own = torch.diag_embed(free.to(share.dtype))
        smooth = own - free.unsqueeze(-1) * mean_share.unsqueeze(-2)
        shifts = int(self.shift_sd_kms > 0)
        return torch.stack([smooth] * (self.terms - shifts) + [own] * shifts, 1)

    def log_gain(self, side: Tensor | None, size: int, centred: Tensor) -> Tensor:
        """Logarithm of the exposures' gain on D pixels from centred terms (B, E, n): (B, E, D), or (B, E, 1) if n is 0."""
        if not centred.shape[-1]:
            return centred.new_zeros(*centred.shape[:2], 1)
        basis = self.basis(side, size, centred)
        return (centred[..., : basis.shape[-2]].unsqueeze(-2) @ basis).squeeze(-2)

    def shifts(self, centred: Tensor) -> Tensor | None:
        """Shifts of the exposures' wavelengths from centred terms (B, E, n): (B, E, 1), km/s; None if there are none."""
        return centred[..., -1:] if self.shift_sd_kms > 0 and centred.shape[-1] else None

    def widths(self, like: Tensor) -> Tensor:
        """Scales of the terms of an exposure, shape (n,)."""
        widths = [self.calibration_sd] * self.polynomial_terms + [self.arm_sd] * self.arm_terms
        widths += [self.shift_sd_kms] if self.shift_sd_kms > 0 else []
        return torch.tensor(widths, dtype=like.dtype, device=like.device)

    def precision(self, calibration: Tensor) -> Tensor:
        """Minus the slope of the log prior over the terms themselves, (B, E, n): the weight of reweighted least squares."""
        widths = self.widths(calibration)[: calibration.shape[-1]]
        if not self.calibration_dof:
            return (widths**-2).expand_as(calibration)
        return (self.calibration_dof + 1) / (self.calibration_dof * widths**2 + calibration.square())


class PixelShift:
    r"""The derivative of a spectrum by velocity on its pixels, :math:`\mathcal D = -\frac{\lambda}{c} \partial_\lambda`.

    Seven-point differences; 0 for the outermost three pixels. A linear map, so it is its own derivative.

    Arguments:
        grid: The pixels.
    """

    TAPS = (3 / 4, -3 / 20, 1 / 60)

    def __init__(self, grid: Grid) -> None:
        rate = -grid.wavelength / (LIGHT_KMS * np.gradient(grid.wavelength))  # pixels per km/s
        rate[: len(self.TAPS)] = rate[-len(self.TAPS) :] = 0.0
        self.rate = torch.from_numpy(rate)

    def __call__(self, spectra: Tensor) -> Tensor:
        """Derivatives (*, D), per km/s."""
        slope = sum(tap * (shift(spectra, -k) - shift(spectra, k)) for k, tap in enumerate(self.TAPS, 1))
        return slope * self.rate.to(spectra)

    def transpose(self, spectra: Tensor) -> Tensor:
        """The adjoint map, (*, D)."""
        scaled = spectra * self.rate.to(spectra)
        return sum(tap * (shift(scaled, k) - shift(scaled, -k)) for k, tap in enumerate(self.TAPS, 1))


def chebyshev(size: int, order: int, like: Tensor) -> Tensor:
    """Chebyshev polynomials of orders 0 to P on D pixels, shape (P + 1, D), in the dtype and on the device of `like`."""
    x = torch.linspace(-1, 1, size, dtype=like.dtype, device=like.device)
    rows = [torch.ones_like(x), x]
    while len(rows) <= order:
        rows.append(2 * x * rows[-1] - rows[-2])
    return torch.stack(rows[: order + 1])
