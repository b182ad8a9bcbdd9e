"""Residuals of the data under the fitted model: exposure by exposure, and whether they are normal and independent."""

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray
from scipy.special import ndtri

from ..errors import InputError
from ..posterior import Posterior
from .style import (
    COADD,
    DENOISED,
    FAINT,
    PATCH,
    SINGLE,
    SMALL,
    SOFT,
    TEXT,
    TINTS,
    Size,
    dress,
    is_column,
    mark_beyond,
    paper_figure,
    shade_gaps,
)
from .view import View, Zoom

__all__ = ["autocorrelation", "plot_residuals"]

Z_LIMIT = 5.0
LAGS = 30


def plot_residuals(posterior: Posterior, *, zoom: Zoom | None = None, size: Size = "page") -> Figure:
    """Draw the residuals in units of the noise: each exposure, all stacked, their quantiles and their correlation.

    If the model is right they are standard normal numbers, each independent of its neighbours: points on the diagonal, and
    nearly all correlations inside of the grey band, which is that of independent pixels.

    Arguments:
        posterior: With residuals.
        zoom: First and last wavelength to use, in vacuum Å, or the name of one of `view.WINDOWS`; all by default.
        size: As wide as a journal's 'page' (180 mm) or 'column' (88 mm).

    Returns:
        A figure; `save_figure` writes it.

    Raises:
        InputError: if no pixel was observed, the zoom holds fewer than two, or there is no such size.

    Example:
        >>> from bayesden.report import plot_residuals, save_figure
        >>> save_figure(plot_residuals(post, zoom="Halpha"), "residuals.pdf").name
        'residuals.pdf'
    """
    view = View.of(posterior, zoom)
    if not np.isfinite(view.z).any():
        raise InputError(f"{posterior.name}: residuals: expected observed pixels, found none")
    rows = [(f"exposure {number}", row, SINGLE) for number, row in enumerate(view.z)]
    if len(rows) > 1:
        rows.append(("stacked", view.stacked_z, DENOISED))
    height = float(np.clip(6.0 / len(rows), 0.38, 0.75))
    fig = paper_figure(size, height * len(rows) + 2.7, f"{posterior.name}: residuals over noise")
    upper, lower = fig.subfigures(2, 1, height_ratios=(height * len(rows) + 0.4, 2.1))
    shape = {"width_ratios": (1, 0.25 if is_column(size) else 0.14)}
    panels = upper.subplots(len(rows), 2, sharex="col", sharey=True, squeeze=False, gridspec_kw=shape)
    for number, (pair, row) in enumerate(zip(panels, rows, strict=True)):
        _draw_row(*pair, view, *row, last=number == len(rows) - 1)
    quantiles, lags = lower.subplots(1, 2)
    _draw_quantiles(quantiles, rows)
    _draw_correlation(lags, view.z)
    return fig


def autocorrelation(rows: NDArray, lags: int) -> NDArray:
    """Correlation of pixels with those 1, 2, ... further on, pooled over the rows (E, D), NaN left out; shape (lags,)."""
    variance = np.nanmean(rows**2)
    found = np.full(lags, np.nan)
    for lag in range(1, lags + 1):
        product = rows[:, :-lag] * rows[:, lag:]
        if (known := np.isfinite(product)).any():
            found[lag - 1] = product[known].mean() / variance
    return found


def _draw_row(ax: Axes, side: Axes, view: View, name: str, z: NDArray, colour: str, *, last: bool) -> None:
    for level, style in ((0, "-"), (3, ":"), (-3, ":")):
        ax.axhline(level, color=FAINT, lw=0.5, ls=style, zorder=3)
    size = float(np.clip(1.6 * np.sqrt(2048 / view.wavelength.size), 1.6, 5))
    shown = np.where(np.abs(z) <= Z_LIMIT, z, np.nan)
    ax.plot(view.wavelength, shown, ls="", marker=".", ms=size, mec="none", color=colour, rasterized=True)
    mark_beyond(ax, view.wavelength, z[None], (-Z_LIMIT, Z_LIMIT), size=3.0)
    shade_gaps(ax, view)
    ax.set(xlim=view.wavelength[[0, -1]], ylim=(-Z_LIMIT, Z_LIMIT), yticks=(-3, 0, 3))
    ax.text(0.006, 0.93, name, transform=ax.transAxes, va="top", fontsize=SMALL, color=TEXT, bbox=PATCH, zorder=7)
    dress(ax, x="vacuum wavelength  [Å]" if last else None)
    _draw_histogram(side, z[np.isfinite(z)], colour)


def _draw_histogram(ax: Axes, z: NDArray, colour: str) -> None:
    grid = np.linspace(-Z_LIMIT, Z_LIMIT, 201)
    edges = np.linspace(-Z_LIMIT, Z_LIMIT, 41)
    if z.size:
        ax.hist(np.clip(z, -Z_LIMIT, Z_LIMIT), edges, density=True, orientation="horizontal", color=TINTS[colour])
        scatter = 1.4826 * np.median(np.abs(z - np.median(z)))
        style = {"transform": ax.transAxes, "ha": "right", "va": "top", "fontsize": SMALL - 0.5, "color": TEXT}
        ax.text(0.99, 0.95, f"scatter {scatter:.2f}", **style)
    ax.plot(np.exp(-(grid**2) / 2) / np.sqrt(2 * np.pi), grid, color=TEXT, lw=0.8)
    ax.set_xlim(0, 0.75)
    ax.set_axis_off()


def _draw_quantiles(ax: Axes, rows: list[tuple[str, NDArray, str]]) -> None:
    """Quantiles of the exposures together, and of the stack, against those of the standard normal."""
    single = np.concatenate([z for _, z, colour in rows if colour == SINGLE])
    for z, name, colour in ((single, "single exposures", COADD), (rows[-1][1], "stacked", DENOISED)):
        if name == "stacked" and rows[-1][2] != DENOISED:
            continue
        z = np.sort(z[np.isfinite(z)])
        expected = ndtri((np.arange(z.size) + 0.5) / z.size)
        ax.plot(expected, np.clip(z, -8, 8), ls="", marker=".", ms=2.5, mec="none", color=colour, label=name,
                rasterized=True)  # fmt: skip
    ax.axline((0, 0), slope=1, color=TEXT, lw=0.7)
    ax.set(xlim=(-4.2, 4.2), ylim=(-6, 6), xticks=range(-4, 5, 2))
    ax.legend(loc="upper left", fontsize=SMALL, frameon=False, markerscale=3, labelcolor=TEXT)
    dress(ax, x="standard normal quantile", y="quantile of residuals")


def _draw_correlation(ax: Axes, rows: NDArray) -> None:
    lags = min(LAGS, rows.shape[1] - 1)
    found = autocorrelation(np.clip(rows, -Z_LIMIT, Z_LIMIT), lags)
    edge = 1.96 / np.sqrt(np.isfinite(rows).sum())
    ax.axhspan(-edge, edge, color=SOFT, lw=0, label="95 % if independent")
    ax.axhline(0, color=TEXT, lw=0.6)
    ax.vlines(np.arange(1, lags + 1), 0, found, color=DENOISED, lw=1.2)
    ax.plot(np.arange(1, lags + 1), found, ls="", marker="o", ms=2.5, color=DENOISED)
    reach = max(0.1, 1.25 * float(np.nanmax(np.abs(found), initial=0)), 1.5 * edge)
    ax.set(xlim=(0, lags + 1), ylim=(-reach, reach))
    ax.legend(loc="upper right", fontsize=SMALL - 0.5, frameon=False, labelcolor=TEXT, handlelength=1, borderpad=0)
    dress(ax, x="lag  [pixels]", y="correlation")
