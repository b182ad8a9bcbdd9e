r"""The part of a posterior that a figure shows, with what has to be computed for it.

The mean of the exposures weights them by inverse variance; the stacked residual is
:math:`z_d = \sum_e z_{ed} / \sqrt{n_d}` over the :math:`n_d` exposures with pixel :math:`d`, of unit variance if the
exposures' residuals are independent and have unit variance.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ..errors import InputError
from ..posterior import Posterior

__all__ = ["FEW", "WINDOWS", "View", "Zoom", "window", "zoomed"]

Zoom = tuple[float, float] | str  # first and last wavelength, vacuum Å, or the name of a window

GAP_SHARE = 1 / 400  # of the axis; shorter runs of masked pixels are not visible as a shade
FEW = 500  # fewer pixels than these are drawn as steps, and a line's core is more than a few percent of them
LEVELS = {"90 % band": (0.05, 0.95), "50 % band": (0.25, 0.75)}
WINDOWS = {  # vacuum Å, wide enough to see the continuum beside the lines
    "CaHK": (3880.0, 4020.0),
    "Hdelta": (4040.0, 4165.0),
    "Gband": (4240.0, 4400.0),
    "Hbeta": (4795.0, 4930.0),
    "Mgb": (5100.0, 5250.0),
    "NaD": (5830.0, 5960.0),
    "Halpha": (6490.0, 6640.0),
    "CaT": (8440.0, 8730.0),
}


def window(name: str) -> tuple[float, float]:
    """First and last wavelength around a named line, vacuum Å; capitals do not matter.

    Raises:
        InputError: if no window has that name.
    """
    found = {known.lower(): limits for known, limits in WINDOWS.items()}.get(name.lower())
    if found is None:
        raise InputError(f"zoom: expected two wavelengths or one of {', '.join(WINDOWS)}, got {name!r}")
    return found


def zoomed(posterior: Posterior, zoom: Zoom | None) -> NDArray:
    """Which pixels a zoom shows, shape (D,): between two wavelengths, in a named window, or all.

    Raises:
        InputError: if fewer than two pixels are inside, or no window has that name.
    """
    wavelength = posterior.wavelength
    first, last = window(zoom) if isinstance(zoom, str) else zoom or (wavelength[0], wavelength[-1])
    inside = (wavelength >= first) & (wavelength <= last)
    if inside.sum() < 2:
        span = f"{wavelength[0]:.0f} to {wavelength[-1]:.0f} Å"
        raise InputError(f"{posterior.name}: zoom: expected a part of {span}, got {first:g} to {last:g}")
    return inside


@dataclass(frozen=True, eq=False)
class View:
    """What is shown, cut to a wavelength range; NaN wherever there is nothing to draw.

    Arguments:
        wavelength: Pixel centres, shape :math:`(D,)`, vacuum Å.
        flux: Denoised flux, shape :math:`(D,)`.
        bands: Lower and upper edge of each credible band, shapes :math:`(D,)`, by name; the widest first.
        exposures: Measured flux, shape :math:`(E, D)`; no rows where the posterior has no data.
        ivar: Inverse variance, same shape; 0 where masked.
        z: Whitened residuals, shape :math:`(E, D)`.
        prior_fraction: Posterior over prior standard deviation, shape :math:`(D,)`.
    """

    wavelength: NDArray
    flux: NDArray
    bands: dict[str, tuple[NDArray, NDArray]]
    exposures: NDArray
    ivar: NDArray
    z: NDArray
    prior_fraction: NDArray

    @classmethod
    def of(cls, posterior: Posterior, zoom: Zoom | None = None) -> "View":
        """The part of a posterior that a zoom shows: from the first to the last wavelength (vacuum Å), or a window's name.

        Raises:
            InputError: as `zoomed`.
        """
        wavelength, inside = posterior.wavelength, zoomed(posterior, zoom)
        nothing = np.zeros((0, wavelength.size))
        has_data = posterior.data_flux is not None and posterior.data_ivar is not None
        flux, ivar = (posterior.data_flux, posterior.data_ivar) if has_data else (nothing, nothing)
        good = (ivar > 0) & np.isfinite(flux)
        bands = {}
        if posterior.draws is not None or np.isfinite(posterior.sigma).any():
            bands = {k: tuple(posterior.quantile(p)[inside] for p in pair) for k, pair in LEVELS.items()}
        return cls(
            wavelength=wavelength[inside],
            flux=posterior.flux[inside],
            bands=bands,
            exposures=np.where(good, flux, np.nan)[:, inside],
            ivar=np.where(good, ivar, 0.0)[:, inside],
            z=np.atleast_2d(posterior.residual_z)[:, inside],
            prior_fraction=posterior.prior_fraction[inside],
        )

    @property
    def n_exposures(self) -> int:
        """The number of exposures :math:`E`."""
        return self.exposures.shape[0]

    @property
    def coadd(self) -> NDArray:
        """The inverse-variance mean of the exposures, NaN where none is good."""
        weight = self.ivar.sum(0)
        total = np.nansum(self.exposures * self.ivar, axis=0)
        return np.where(weight > 0, total / np.where(weight > 0, weight, 1.0), np.nan)

    @property
    def snr(self) -> float:
        """Median over pixels of the mean flux over its standard deviation; NaN without data."""
        ratio = self.coadd * np.sqrt(self.ivar.sum(0))
        return float(np.nanmedian(ratio)) if np.isfinite(ratio).any() else float("nan")

    @property
    def stacked_z(self) -> NDArray:
        """The residuals of all exposures in one, NaN where there is none."""
        n = np.isfinite(self.z).sum(0)
        return np.where(n > 0, np.nansum(self.z, axis=0) / np.sqrt(np.maximum(n, 1)), np.nan)

    def gaps(self) -> Iterator[tuple[float, float]]:
        """First and last wavelength of each stretch that no exposure covers."""
        if self.n_exposures == 0:
            return
        empty = (self.ivar.sum(0) == 0).astype(int)
        edges = np.flatnonzero(np.diff(np.concatenate([[0], empty, [0]])))
        for start, stop in zip(edges[::2], edges[1::2], strict=True):
            if stop - start >= max(2, GAP_SHARE * empty.size):
                yield self.wavelength[start], self.wavelength[stop - 1]

    def flux_limits(self) -> tuple[float, float]:
        """Ends of a flux axis that outliers do not stretch.

        All of the denoised flux and of its 50 % band and the bulk of the mean of the exposures are inside; the bulk of
        the single exposures, and of the 90 % band, is too as far as it does not squash those. Where pixels are few, so is what
        of the mean is not far from all this, such as the core of a line.
        """
        core = [_range(self.flux, 0, 100), _range(self.coadd, 2, 98)]
        core += [_range(edge, 1, 99) for edge in self.bands.get("50 % band", ())]
        core = [pair for pair in core if pair is not None]
        if not core:
            return 0.0, 1.0
        low, high = min(pair[0] for pair in core), max(pair[1] for pair in core)
        room = 0.3 * (high - low)
        outer = [_range(self.exposures, 1, 99), *(_range(edge, 1, 99) for edge in self.bands.get("90 % band", ()))]
        if self.wavelength.size < FEW:
            outer.append(_range(self.coadd[(self.coadd > low - room) & (self.coadd < high + room)], 0, 100))
        for pair in outer:
            if pair is not None:
                low, high = min(low, max(pair[0], low - room)), max(high, min(pair[1], high + room))
        margin = 0.06 * (high - low) or max(abs(high), 1.0)
        return low - margin, high + margin


def _range(values: NDArray, low: float, high: float) -> tuple[float, float] | None:
    """Two percentiles of the finite values, or None where there is no finite value."""
    finite = values[np.isfinite(values)]
    return tuple(np.percentile(finite, [low, high]).tolist()) if finite.size else None
