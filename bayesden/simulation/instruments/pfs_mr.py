r"""The red medium-resolution arm of the Subaru Prime Focus Spectrograph.

In an exposure a star of flux :math:`f` gives :math:`S = c f` electrons in a pixel and the sky :math:`K`, both in the five
rows that are extracted. The variance of :math:`N` exposures made into one spectrum is

.. math::

    \mathrm{var}(f) &= \frac{V_1 + S + N F}{N c^2}, \\
    V_1 &= 1.015\, \{K + 0.02 \cdot 0.75\, \bar K + 5\,(10^{-4} t + 4^2)\}, \qquad
    F = 1.015\, (0.01\, \max(K_{d-1}, K_d, K_{d+1}))^2 :

photons of sky and star, diffuse light (2 % of the mean sky), dark current and read noise of 4 e; and the error of the sky's
subtraction, 1 % of the sky, which is the same in each exposure and does not average out. The formulas are the exposure-time
calculator's; :math:`c` and :math:`K` come from its tables or from the embedded model (`bayesden.simulation.instruments.sky`,
`pfs_optics`).

Separate exposures share the error of the sky's subtraction and have everything else for themselves, so that their mean has
the variance above.

References:
    Pál & Dobos 2024, section 2 and tables 1 to 3; Tamura et al. 2016, arXiv:1608.01075.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Self

import numpy as np
import torch
from torch import Tensor

from ...errors import InputError
from ...io.etc_table import EtcGrid, read_etc
from ..random import Random
from . import pfs_optics as optics
from .pfs_response import EmbeddedResponse, Response, TableResponse
from .protocol import Detector, Exposures

__all__ = ["TABLE_1", "PfsMr", "pfs_mr"]

TABLE_1 = {  # Pál & Dobos 2024: drawn uniformly
    "seeing_arcsec": (0.5, 1.5),
    "zenith_angle_deg": (0.0, 45.0),
    "field_angle_deg": (0.0, 0.65),
    "moon_zenith_angle_deg": (30.0, 90.0),
    "moon_target_angle_deg": (60.0, 180.0),
    "moon_phase": (0.0, 0.25),
}
ADJUST = 1.015  # the calculator's empirical factor of this arm
ROWS_EXTRACTED, READ_NOISE_E, DARK_E_S = 5, 4.0, 1e-4
STRAY_SHARE = 0.75  # five rows of 15 µm out of 100 µm between fibres
ROWS = 64  # spectra at a time: what fits a core's cache
TABLE_TOLERANCE = 1e-3  # of a table's own variance, by the formula above


@dataclass(frozen=True, eq=False)
class PfsMr:
    r"""The instrument; `pfs_mr` makes one.

    Arguments:
        response: Electrons of star and sky for given conditions.
        detectors: One detector, `mr`.
        wavelength: Its pixel centres, shape :math:`(D,)`, Å.
        ranges: From where to where each condition is drawn.
        exposure_s, exposure_count: Length of an exposure, and :math:`N`.
        stacked: Whether the output is one spectrum of all exposures, or each of them.
    """

    response: Response
    detectors: tuple[Detector, ...]
    wavelength: Tensor
    ranges: Mapping[str, tuple[float, float]]
    exposure_s: float = 900.0
    exposure_count: int = 20
    stacked: bool = True
    name: str = "pfs-mr"

    @property
    def exposures(self) -> int:
        """Spectra in the output: 1, or all exposures where they are not stacked."""
        return 1 if self.stacked else self.exposure_count

    @property
    def conditions(self) -> tuple[str, ...]:
        """Names of the columns of the condition table."""
        return tuple(self.ranges)

    @property
    def uniforms(self) -> int:
        """How many uniform numbers a draw of conditions takes."""
        return len(self.ranges)

    def draw(self, uniform: Tensor) -> Tensor:
        """Conditions, uniform in their ranges: (B, 6) to (B, 6), double precision."""
        limits = torch.tensor(list(self.ranges.values()), dtype=torch.float64, device=uniform.device)
        return limits[:, 0] + (limits[:, 1] - limits[:, 0]) * uniform.double()

    def project(self, arms: Sequence[Tensor]) -> Tensor:
        """The noiseless spectrum of the only arm, shape (B, D)."""
        return arms[0]

    def counts(self, flux: Tensor, conditions: Tensor) -> Tensor:
        """Electrons of the star in an exposure, shape (B, D); `flux` in 1e-17 erg/s/cm²/Å, shape (B, D)."""
        star, _ = self._weights(conditions, flux.dtype)
        return flux * (star @ self.response.conversion.to(flux.dtype))

    def background(self, conditions: Tensor) -> tuple[Tensor, Tensor]:
        r"""Variance without the star's photons, of one exposure, e².

        Arguments:
            conditions: Shape :math:`(B, 6)`.

        Returns:
            What averages out, :math:`V_1`, and the error of the sky's subtraction, :math:`F`, each :math:`(B, D)`. The
            calculator's `noise_variance` for :math:`N` exposures is :math:`V_1 + N F`.
        """
        _, light = self._weights(conditions, torch.float32)
        own, residual = self._background(light)
        return own, residual.square()

    def variance(self, flux: Tensor, conditions: Tensor) -> Tensor:
        r"""Variance of the spectrum of all exposures.

        Arguments:
            flux: Noiseless flux, shape :math:`(B, D)`, 1e-17 erg/s/cm²/Å.
            conditions: Shape :math:`(B, 6)`.

        Returns:
            Shape :math:`(B, D)`, the flux's unit squared; differentiable in flux and conditions.
        """
        star, light = self._weights(conditions, flux.dtype)
        rows = ROWS if flux.device.type == "cpu" else max(len(flux), 1)
        batches = zip(flux.split(rows), star.split(rows), light.split(rows), strict=True)
        return torch.cat([self._stack(*batch) for batch in batches])

    def expose(self, arms: Sequence[Tensor], conditions: Tensor, random: Random, index: Tensor) -> Exposures:
        """Exposures of noiseless spectra: see `Instrument`. Noise is normal and independent from pixel to pixel."""
        clean = arms[0]
        if self.stacked:
            sigma = self.variance(clean, conditions).sqrt()[:, None]
            noise = sigma * random.normal(f"{self.name}/noise", index, clean.shape[1])[:, None]
        else:
            own, shared = self._separate(clean, conditions)
            sigma = torch.hypot(own, shared).expand(-1, self.exposure_count, -1)
            size = self.exposure_count * clean.shape[1]
            noise = own * random.normal(f"{self.name}/noise", index, size).view(sigma.shape)
            noise = noise + shared * random.normal(f"{self.name}/sky", index, clean.shape[1])[:, None]
        mask = torch.zeros(sigma.shape, dtype=torch.bool, device=sigma.device)
        return Exposures(clean[:, None] + noise, sigma.reciprocal().square(), mask, sigma)

    def to(self, device: torch.device | str) -> Self:
        """The same instrument with its tensors on a device."""
        detectors = tuple(
            replace(detector, edges=detector.edges.to(device), sigma=detector.sigma.to(device))
            for detector in self.detectors
        )
        response, wavelength = self.response.to(device), self.wavelength.to(device)
        return replace(self, response=response, detectors=detectors, wavelength=wavelength)

    def _background(self, light: Tensor) -> tuple[Tensor, Tensor]:
        """Variance that averages out, e², and standard deviation of the sky's subtraction, e, of one exposure."""
        light, spectra = ADJUST * light, self.response.sky.to(light.dtype)
        sky = light @ spectra
        mean = light @ spectra.mean(1)
        detector = ROWS_EXTRACTED * (DARK_E_S * self.exposure_s + READ_NOISE_E**2)
        level = self.response.stray * STRAY_SHARE * mean + ADJUST * detector
        brightest = torch.nn.functional.max_pool1d(sky[:, None], 3, 1, 1)[:, 0]
        return sky + level[:, None], self.response.floor * ADJUST**-0.5 * brightest

    def _stack(self, flux: Tensor, star: Tensor, light: Tensor) -> Tensor:
        own, residual = self._background(light)
        conversion = star @ self.response.conversion.to(flux.dtype)
        total = torch.addcmul(own, residual, residual, value=self.exposure_count)
        total = torch.addcmul(total, conversion, flux.clamp_min(0))
        return total / (self.exposure_count * conversion).mul(conversion)

    def _separate(self, flux: Tensor, conditions: Tensor) -> tuple[Tensor, Tensor]:
        """Standard deviations in one exposure: its own, and what all share, each (B, 1, D), the flux's unit."""
        star, light = self._weights(conditions, flux.dtype)
        own, residual = self._background(light)
        conversion = star @ self.response.conversion.to(flux.dtype)
        own = torch.addcmul(own, conversion, flux.clamp_min(0)).sqrt()
        return (own / conversion)[:, None], (residual / conversion)[:, None]

    def _weights(self, conditions: Tensor, dtype: torch.dtype) -> list[Tensor]:
        return [part.to(dtype) for part in self.response.weights(self._check(conditions))]

    def _check(self, conditions: Tensor) -> Tensor:
        """Conditions in double precision, within what the response covers."""
        if conditions.ndim != 2 or conditions.shape[1] != self.uniforms:
            raise InputError(f"conditions: expected shape (B, {self.uniforms}), got {tuple(conditions.shape)}")
        conditions = conditions.double()
        limits = torch.tensor([self.response.limits[name] for name in self.ranges], dtype=torch.float64)
        low, high = limits.to(conditions.device).T
        slack = 1e-6 * (1 + high.abs())  # tables in single precision
        good = (conditions >= low - slack) & (conditions <= high + slack)
        if not good.all():
            row, column = (~good).nonzero()[0].tolist()
            name, (first, last) = list(self.response.limits.items())[column]
            raise InputError(
                f"{name}: expected {first:g} to {last:g}, got {conditions[row, column]:g} (spectrum {row})"
            )
        return torch.minimum(torch.maximum(conditions, low), high)


def pfs_mr(
    etc: Path | str | None = None,
    *,
    stacked: bool = True,
    exposure_s: float = 900.0,
    exposure_count: int = 20,
    ranges: Mapping[str, tuple[float, float]] | None = None,
) -> PfsMr:
    """The instrument, with the calculator's tables or with the embedded model.

    Arguments:
        etc: Table, folder of tables or npz file of the exposure-time calculator (`bayesden.io.etc_table`); the embedded
            model by default.
        stacked: One spectrum of all exposures; or each of them.
        exposure_s: Length of an exposure in seconds.
        exposure_count: How many.
        ranges: Where conditions are drawn, by name, in place of `TABLE_1`. By default they are kept within the tables.

    Raises:
        InputError: if a file is not usable, or a range is unknown or not covered.

    Example:
        >>> instrument = pfs_mr()
        >>> conditions = instrument.draw(torch.full((1, 6), 0.5))
        >>> instrument.variance(torch.ones(1, 4096), conditions).shape
        torch.Size([1, 4096])
    """
    if not exposure_s > 0 or exposure_count < 1:
        raise InputError(f"exposures: expected at least one of a positive time, got {exposure_count} of {exposure_s} s")
    grid = None if etc is None else read_etc(etc)
    response = EmbeddedResponse.build(exposure_s) if grid is None else TableResponse.build(grid, exposure_s)
    wavelength = torch.from_numpy(10 * optics.WAVELENGTH_NM)
    edges = torch.from_numpy(10 * (optics.WAVELENGTH_NM[0] + optics.STEP_NM * (np.arange(optics.PIXELS + 1) - 0.5)))
    detector = Detector("mr", edges, torch.from_numpy(10 * optics.lsf_sigma(optics.WAVELENGTH_NM)))
    drawn = _ranges(response, ranges or {})
    if grid is not None:
        _check_table(
            grid, PfsMr(TableResponse.build(grid, grid.exposure_s), (detector,), wavelength, drawn, grid.exposure_s)
        )
    return PfsMr(response, (detector,), wavelength, drawn, exposure_s, exposure_count, stacked)


def _ranges(response: Response, given: Mapping[str, tuple[float, float]]) -> dict[str, tuple[float, float]]:
    """Where each condition is drawn: as given, else table 1 as far as the response covers it."""
    ranges = {}
    for name, (low, high) in TABLE_1.items():
        first, last = response.limits[name]
        ranges[name] = given.get(name, (min(max(low, first), last), max(min(high, last), first)))
        if not first <= ranges[name][0] <= ranges[name][1] <= last:
            raise InputError(f"{name}: expected a range within {first:g} to {last:g}, got {ranges[name]}")
    unknown = given.keys() - ranges.keys()
    if unknown:
        raise InputError(f"conditions: expected {', '.join(ranges)}; got {sorted(unknown)[0]!r}")
    return ranges


def _check_table(grid: EtcGrid, instrument: PfsMr) -> None:
    """Refuse tables whose variance is not what the formula makes of their sky: another arm, or another calculator."""
    points = [(z, f, *moon) for z in grid.zenith_deg for f in grid.field_deg for moon in grid.moon]
    rows = torch.tensor([(grid.seeing_arcsec[0], *point) for point in points], dtype=torch.float64)
    own, floor = instrument.background(rows)
    expected = torch.from_numpy(grid.variance_e2.reshape(len(rows), -1))
    off = float(((own + grid.count * floor) / expected - 1).abs().max())
    if not off < TABLE_TOLERANCE:
        raise InputError(f"{grid.name}: noise_variance: expected the medium-resolution formula, is off by {off:.1%}")
