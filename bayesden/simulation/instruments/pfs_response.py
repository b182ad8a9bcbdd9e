r"""Electrons per flux and electrons of sky, as sums of few spectra.

Whatever a model of telescope and sky looks like inside, the instrument needs two spectra for given conditions: the conversion
:math:`c_d` from flux to electrons and the sky :math:`K_d`. Both are written as

.. math:: c_{bd} = \sum_r u_{br}\, U_{rd}, \qquad K_{bd} = \sum_r w_{br}\, W_{rd}

with fixed spectra :math:`U, W` and a few weights that depend on the conditions: two small matrix products for a batch. The
embedded model is a polynomial of degree 4 in airmass and 2 in wavelength (for the fibre's share of the light) between exact
spectra; the calculator's tables are interpolated multilinearly.
"""

from dataclasses import dataclass, replace
from typing import Protocol, Self

import numpy as np
import torch
from numpy.polynomial import chebyshev
from numpy.typing import NDArray
from torch import Tensor

from ...errors import InputError
from ...io.etc_table import EtcGrid
from . import pfs_optics as optics
from . import sky
from .moonlight import moonlight_brightness, moonlight_colours, moonlight_factors, scattered

__all__ = ["EmbeddedResponse", "Response", "TableResponse", "electrons_per_flux"]

SKY_CROSSTALK = 1.006  # sky of the neighbouring fibres' wings within the extraction width
HC = 1.986445857148929e-16  # Planck's constant times the speed of light, erg cm
UNIT = 1e-17  # erg/s/cm²/Å
ANGSTROM_PER_S = 2.99792458e18
SECANT = (1.0, 2.0)  # airmass that the embedded model covers
ZENITH_DEG = (0.0, 60.0)
MOON = {"moon_zenith_angle_deg": (0.0, 180.0), "moon_target_angle_deg": (0.0, 180.0), "moon_phase": (0.0, 1.0)}


def electrons_per_flux(exposure_s: float) -> float:
    """Electrons a pixel, m² of mirror and nm of wavelength for 1e-17 erg/s/cm²/Å."""
    return UNIT * exposure_s * (10 * optics.STEP_NM) * 1e4 * 1e-7 / HC


class Response(Protocol):
    r"""Electrons of an exposure under given conditions.

    Attributes:
        conversion: Spectra :math:`U`, shape :math:`(R, D)`, e per 1e-17 erg/s/cm²/Å.
        sky: Spectra :math:`W`, shape :math:`(R', D)`, e.
        limits: Name and range of each condition: seeing, zenith angle, field angle, then `MOON`.
        floor: Uncertainty of the sky's subtraction as a fraction of the sky.
        stray: Diffuse light as a fraction of the mean sky.
    """

    conversion: Tensor
    sky: Tensor
    limits: dict[str, tuple[float, float]]
    floor: float
    stray: float

    def weights(self, conditions: Tensor) -> tuple[Tensor, Tensor]:
        """Weights of both, shapes (B, R) and (B, R'), double precision, from conditions, shape (B, 6)."""
        ...

    def to(self, device: torch.device | str) -> Self:
        """The same on a device."""
        ...


def _lagrange(nodes: tuple[float, ...], x: Tensor) -> Tensor:
    """Polynomials that are 1 at one node and 0 at the others, shape (B, n)."""
    terms = []
    for j, node in enumerate(nodes):
        others = [other for i, other in enumerate(nodes) if i != j]
        terms.append(torch.stack([(x - other) / (node - other) for other in others]).prod(0))
    return torch.stack(terms, -1)


def _chebyshev(limits: tuple[float, float], x: Tensor, size: int) -> Tensor:
    """Chebyshev polynomials over a range, shape (B, size)."""
    t = (2 * x - limits[0] - limits[1]) / (limits[1] - limits[0])
    terms = [torch.ones_like(t), t]
    while len(terms) < size:
        terms.append(2 * t * terms[-1] - terms[-2])
    return torch.stack(terms[:size], -1)


def _nodes(limits: tuple[float, float], size: int) -> NDArray:
    middle, half = (limits[0] + limits[1]) / 2, (limits[1] - limits[0]) / 2
    return middle + half * np.cos(np.pi * (np.arange(size)[::-1] + 0.5) / size)


LOG_SEEING = tuple(np.log(optics.SEEING_ARCSEC))
COLOURS = tuple(_nodes((710.0, 885.0), 3))  # where the fibre's fraction is evaluated, nm
SHAPE = (12, 5)  # terms in log seeing and field angle


def _fibre_coefficients() -> NDArray:
    """Chebyshev coefficients of the log of the fibre's fraction at three wavelengths, shape (*SHAPE, 3)."""
    seeing, field = np.exp(_nodes(LOG_SEEING, SHAPE[0])), _nodes(optics.FIELD_DEG, SHAPE[1])
    mesh = np.meshgrid(seeing, field, COLOURS, indexing="ij")
    values = np.log(optics.fibre_fraction(*mesh)).reshape(SHAPE[0], -1)
    x, y = _nodes((-1, 1), SHAPE[0]), _nodes((-1, 1), SHAPE[1])
    along = chebyshev.chebfit(x, values, SHAPE[0] - 1).reshape(*SHAPE, 3)
    across = chebyshev.chebfit(y, along.transpose(1, 0, 2).reshape(SHAPE[1], -1), SHAPE[1] - 1)
    return across.reshape(SHAPE[1], SHAPE[0], 3).transpose(1, 0, 2)


@dataclass(frozen=True, eq=False)
class EmbeddedResponse:
    """The model of `pfs_optics` and `sky`: nothing external. Built by `build`."""

    conversion: Tensor
    sky: Tensor
    fibre: Tensor
    airmasses: tuple[float, ...]
    limits: dict[str, tuple[float, float]]
    floor: float = 0.01
    stray: float = 0.02

    @classmethod
    def build(cls, exposure_s: float = 900.0) -> Self:
        """The model for an exposure time in seconds."""
        airmasses = tuple(_nodes(SECANT, 5))
        angles = [float(np.degrees(np.arccos(1 / x))) for x in airmasses]
        eta = optics.efficiency(optics.WAVELENGTH_NM)
        share = _lagrange(COLOURS, torch.from_numpy(optics.WAVELENGTH_NM)).T.numpy()
        star = electrons_per_flux(exposure_s) * optics.WAVELENGTH_NM * eta
        conversion = [star * sky.transmission(angle) * part for angle in angles for part in share]
        light = [sky.night_sky(angle, optics.STEP_NM) for angle in angles]
        light += list(optics.STEP_NM * moonlight_colours(optics.WAVELENGTH_NM))
        limits = {
            "seeing_arcsec": optics.SEEING_ARCSEC,
            "zenith_angle_deg": ZENITH_DEG,
            "field_angle_deg": optics.FIELD_DEG,
            **MOON,
        }
        return cls(
            torch.from_numpy(np.stack(conversion)).float(),
            torch.from_numpy(np.stack(light) * exposure_s * eta * SKY_CROSSTALK).float(),
            torch.from_numpy(_fibre_coefficients()),
            airmasses,
            limits,
        )

    def weights(self, conditions: Tensor) -> tuple[Tensor, Tensor]:
        """See `Response`."""
        seeing, zenith, field = conditions[:, :3].unbind(1)
        height = _lagrange(self.airmasses, 1 / torch.deg2rad(zenith).cos())
        width = _chebyshev(LOG_SEEING, seeing.log(), SHAPE[0])
        place = _chebyshev(optics.FIELD_DEG, field, SHAPE[1])
        fraction = torch.einsum("bi,bj,ijk->bk", width, place, self.fibre).exp()
        area = optics.collecting_area(field)[:, None]
        star = area[..., None] * height[:, :, None] * fraction[:, None, :]
        moon = moonlight_factors(conditions[:, 3:]) * scattered(zenith)[:, None]
        light = area * optics.fibre_area(field)[:, None] * torch.cat([height, moon], 1)
        return star.flatten(1), light

    def to(self, device: torch.device | str) -> Self:
        """See `Response`."""
        moved = {name: getattr(self, name).to(device) for name in ("conversion", "sky", "fibre")}
        return replace(self, **moved)


def _hats(nodes: Tensor, x: Tensor) -> Tensor:
    """Weights of linear interpolation between ascending nodes, continued beyond the last, shape (B, n)."""
    if len(nodes) == 1:
        return torch.ones(len(x), 1, dtype=x.dtype, device=x.device)
    upper = torch.searchsorted(nodes, x.detach().contiguous()).clamp(1, len(nodes) - 1)
    share = (x - nodes[upper - 1]) / (nodes[upper] - nodes[upper - 1])
    rows = torch.nn.functional.one_hot(torch.stack([upper - 1, upper]), len(nodes)).to(x)
    return (1 - share)[:, None] * rows[0] + share[:, None] * rows[1]


def _outer(*parts: Tensor) -> Tensor:
    """Products of one weight of each axis, the last axis fastest, shape (B, n1 * n2 * ...)."""
    weights = parts[0]
    for part in parts[1:]:
        weights = (weights[:, :, None] * part[:, None, :]).flatten(1)
    return weights


@dataclass(frozen=True, eq=False)
class TableResponse:
    r"""The exposure-time calculator's tables between their grid points. Built by `build`.

    Seeing, zenith angle and field angle are interpolated linearly; so is the moon, in the brightness of its light at 800 nm
    above the target before the factor of the target's zenith angle (`moonlight.moonlight_brightness`), in which the sky is
    linear: :math:`K = K_0 + K_1 b` up to a slight change of colour. An axis with one value is taken as constant.
    """

    conversion: Tensor
    sky: Tensor
    axes: tuple[Tensor, Tensor, Tensor, Tensor]
    limits: dict[str, tuple[float, float]]
    floor: float
    stray: float

    @classmethod
    def build(cls, grid: EtcGrid, exposure_s: float = 900.0) -> Self:
        """From the calculator's grid; counts scale with the exposure time."""
        time = exposure_s / grid.exposure_s
        flux = UNIT * (10 * grid.wavelength_nm) ** 2 / ANGSTROM_PER_S
        bright = moonlight_brightness(torch.from_numpy(grid.moon))
        order = bright.argsort()
        if len(bright) > 1 and (bright[order].diff() <= 0).any():
            raise InputError(f"{grid.name}: moon: expected cases of different brightness, got two alike")
        names = ("seeing_arcsec", "zenith_angle_deg", "field_angle_deg")
        axes = (grid.seeing_arcsec, grid.zenith_deg, grid.field_deg)
        pixels = len(grid.wavelength_nm)
        one = {name: (float(x), float(x)) for name, x in zip(MOON, grid.moon[0], strict=True)}
        limits = {name: (float(axis[0]), float(axis[-1])) for name, axis in zip(names, axes, strict=True)}
        return cls(
            torch.from_numpy((grid.conversion * flux * time).reshape(-1, pixels)).float(),
            torch.from_numpy((grid.sky_e * time)[:, :, order.numpy()].reshape(-1, pixels)).float(),
            (*(torch.from_numpy(axis) for axis in axes), bright[order]),
            limits | (MOON if len(bright) > 1 else one),
            grid.floor,
            grid.stray,
        )

    def weights(self, conditions: Tensor) -> tuple[Tensor, Tensor]:
        """See `Response`."""
        hats = [_hats(nodes, x) for nodes, x in zip(self.axes, conditions[:, :3].T, strict=False)]
        moon = _hats(self.axes[3], moonlight_brightness(conditions[:, 3:]))
        return _outer(*hats), _outer(hats[1], hats[2], moon)

    def to(self, device: torch.device | str) -> Self:
        """See `Response`."""
        axes = tuple(axis.to(device) for axis in self.axes)
        return replace(self, conversion=self.conversion.to(device), sky=self.sky.to(device), axes=axes)
