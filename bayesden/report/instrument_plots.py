"""Two models of one instrument side by side: throughput, variance, S/N, and their ratios; and what a simulator makes of stars."""

from dataclasses import dataclass

import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray
from torch import Tensor

from ..simulation.instruments.pfs_mr import PfsMr
from ..simulation.simulator import Simulation
from .style import DPI, PAGE, SMALL, TEXT, TEXT_SIZE, ShownFigure, dress

__all__ = ["Comparison", "compare", "flat_spectrum", "plot_comparison", "plot_simulation"]

REFERENCE, MODEL, FAINT = "#ABABAB", "#0072B2", "#6E6E6E"
LABELS = ("conversion, e per 1e-17 cgs/Å", "variance, no star, e²", "S/N a pixel, AB 22.5")
ZOOM_NM = (838.0, 854.0)


def flat_spectrum(wavelength: Tensor, ab_mag: float) -> Tensor:
    """Flux of a source of constant AB magnitude, 1e-17 erg/s/cm²/Å, shape of the wavelengths in Å."""
    return 1e17 * 3.631e-20 * 10 ** (-0.4 * ab_mag) * 2.99792458e18 / wavelength.square()


@dataclass(frozen=True, eq=False)
class Comparison:
    """What a model and its reference say, each with shape (2, B, D), reference first.

    Arguments:
        conversion: Electrons of an exposure for 1e-17 erg/s/cm²/Å.
        variance: Variance of an exposure without the star's photons, e².
        snr: Signal-to-noise ratio of all exposures together.
    """

    wavelength_nm: NDArray
    conversion: NDArray
    variance: NDArray
    snr: NDArray


def compare(reference: PfsMr, model: PfsMr, conditions: Tensor, ab_mag: float) -> Comparison:
    """Evaluate two instruments under the same conditions, shape (B, 6), for a flat source."""
    flux = flat_spectrum(model.wavelength, ab_mag).float().expand(len(conditions), -1)
    columns = []
    for instrument in (reference, model):
        own, floor = instrument.background(conditions)
        conversion = instrument.counts(torch.ones_like(flux), conditions)
        snr = flux / instrument.variance(flux, conditions).sqrt()
        columns.append((conversion, own + instrument.exposure_count * floor, snr))
    stacked = [torch.stack(pair).double().numpy() for pair in zip(*columns, strict=True)]
    return Comparison(model.wavelength.numpy() / 10, *stacked)


def plot_comparison(typical: Comparison, every: Comparison) -> Figure:
    """Draw a typical case and the ratios of all.

    Arguments:
        typical: One condition.
        every: All conditions.
    """
    figure = ShownFigure(figsize=(11, 10.5), layout="constrained")
    axes = figure.subplots(4, 2, width_ratios=(1.9, 1))
    for row, name in enumerate(("conversion", "variance", "snr")):
        for axis, limits in zip(axes[row], (None, ZOOM_NM), strict=True):
            _curves(axis, typical.wavelength_nm, getattr(typical, name)[:, 0], limits)
        axes[row, 0].set_ylabel(LABELS[row])
        if name == "variance":
            for axis in axes[row]:
                axis.set_yscale("log")
    axes[0, 0].legend(loc="lower center", ncols=2, frameon=False)
    for axis in axes[2]:
        axis.set_xlabel("vacuum wavelength, nm")
    _ratios(axes[3, 0], every.variance[1] / every.variance[0], "variance, each pixel", 0.2)
    medians = np.median(every.snr, -1)
    _ratios(axes[3, 1], medians[1] / medians[0], "median S/N", 0.1)
    axes[3, 0].set_ylabel("share")
    return figure


def _curves(axis: Axes, wavelength: NDArray, pair: NDArray, limits: tuple[float, float] | None) -> None:
    inside = slice(None) if limits is None else (wavelength > limits[0]) & (wavelength < limits[1])
    axis.plot(wavelength[inside], pair[0][inside], color=REFERENCE, lw=2.2, label="exposure-time calculator")
    axis.plot(wavelength[inside], pair[1][inside], color=MODEL, lw=0.6, label="embedded model")
    axis.margins(x=0)


def _ratios(axis: Axes, ratio: NDArray, what: str, allowed: float) -> None:
    bins = np.linspace(1 - 1.5 * allowed, 1 + 1.5 * allowed, 61)
    weights = np.full(ratio.size, 1 / ratio.size)
    axis.hist(ratio.ravel().clip(bins[0], bins[-1]), bins, weights=weights, color=MODEL)
    for edge in (1 - allowed, 1 + allowed):
        axis.axvline(edge, color=FAINT, ls=":")
    axis.set_yscale("log")
    axis.set_xlabel(f"embedded over calculator: {what}")


def plot_simulation(simulation: Simulation, *, zoom_A: tuple[float, float]) -> Figure:
    """Draw the first exposure of simulated stars, noiseless over noisy, each in a row of its own.

    Arguments:
        simulation: A few stars.
        zoom_A: What the column on the right shows, Å.
    """
    wavelength = simulation.wavelength.cpu().numpy()
    figure = ShownFigure(figsize=(PAGE, 0.6 + 1.25 * len(simulation)), dpi=DPI, facecolor="white", layout="constrained")
    axes = figure.subplots(len(simulation), 2, width_ratios=(1.9, 1), squeeze=False)
    unit = "flux  [10$^{-17}$ erg/s/cm²/Å]" if (simulation.parameters["scale"] == 1).all() else "flux, scaled"
    for row, pair in enumerate(axes):
        mask = simulation.mask[row, 0].cpu().numpy()
        clean = simulation.clean[row].cpu().numpy()
        noisy = np.where(mask, np.nan, simulation.flux[row, 0].cpu().numpy())
        for axis, limits in zip(pair, ((wavelength[0], wavelength[-1]), zoom_A), strict=True):
            inside = (wavelength >= limits[0]) & (wavelength <= limits[1])
            axis.plot(wavelength[inside], noisy[inside], color=REFERENCE, lw=0.4, label="noisy")
            axis.plot(wavelength[inside], clean[inside], color=MODEL, lw=0.7, label="noiseless")
            spread = np.nanpercentile(noisy[inside], [1, 99])
            low, high = min(spread[0], clean[inside].min()), max(spread[1], clean[inside].max())
            axis.set(xlim=limits, ylim=(low - 0.15 * (high - low), high + 0.15 * (high - low)))
            dress(axis, x="")
        pair[0].set_title(_caption(simulation.parameters[row]), loc="left", fontsize=SMALL, color=TEXT, pad=3)
    axes[0, 1].legend(loc="lower right", ncols=2, frameon=False, fontsize=SMALL, bbox_to_anchor=(1.0, 1.0))
    figure.supylabel(unit, fontsize=TEXT_SIZE, color=TEXT)
    figure.supxlabel("vacuum wavelength  [Å]", fontsize=TEXT_SIZE, color=TEXT)
    return figure


def _caption(star: np.void) -> str:
    names = star.dtype.names
    words = {
        "teff_K": "$T_\\mathrm{{eff}}$ = {:.0f} K",
        "logg": "log g = {:.1f}",
        "feh": "[Fe/H] = {:.2g}",
        "magnitude": "AB {:.1f}",
        "snr": "S/N {:.0f}",
    }
    return ", ".join(text.format(star[name]) for name, text in words.items() if name in names)
