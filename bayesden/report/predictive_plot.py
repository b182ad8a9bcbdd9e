"""Posterior predictive check: exposures of the same star with new noise, beside those that were taken."""

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from ..errors import InputError
from ..posterior import Posterior
from .style import (
    BANDS,
    DENOISED,
    PATCH,
    SMALL,
    TEXT,
    TEXT_SIZE,
    WARNING,
    Size,
    dress,
    mark_beyond,
    paper_figure,
    pretty_unit,
    shade_gaps,
)
from .view import View, Zoom, zoomed

__all__ = ["plot_predictive"]

LEVELS = (0.05, 0.25, 0.5, 0.75, 0.95)


def plot_predictive(posterior: Posterior, *, zoom: Zoom | None = None, size: Size = "page") -> Figure:
    """Draw each exposure over the 50 and 90 % bands that the posterior predicts for it, noise and calibration included.

    Ten per cent of the pixels are outside the 90 % band if the model is right; those are coloured, and counted.

    Arguments:
        posterior: From a method that draws, with predictions.
        zoom: First and last wavelength to show, in vacuum Å, or the name of one of `view.WINDOWS`; all by default.
        size: As wide as a journal's 'page' (180 mm) or 'column' (88 mm).

    Returns:
        A figure; `save_figure` writes it.

    Raises:
        InputError: if there are no predictions, the zoom holds fewer than two pixels, or there is no such size.

    Example:
        >>> from bayesden.report import plot_predictive, save_figure
        >>> save_figure(plot_predictive(post, zoom="CaT"), "predictive.pdf").name
        'predictive.pdf'
    """
    chains = posterior.chains
    if chains is None or chains.predictive is None:
        raise InputError(f"{posterior.name}: expected chains with predictions, got method {posterior.method!r}")
    view, inside = View.of(posterior, zoom), zoomed(posterior, zoom)
    draws = chains.predictive[..., inside].reshape(-1, view.n_exposures, view.wavelength.size)
    bands = np.stack([_quantiles(draws[:, e]) for e in range(view.n_exposures)], 1)
    height = float(np.clip(8.4 / view.n_exposures, 0.5, 1.5))
    fig = paper_figure(size, height * view.n_exposures + 0.9, f"{posterior.name}: prediction of exposures")
    panels = fig.subplots(view.n_exposures, 1, sharex=True, sharey=True, squeeze=False)[:, 0]
    limits = _limits(bands)
    for number, ax in enumerate(panels):
        _draw_exposure(ax, view, number, bands[:, number], limits)
        dress(ax, x="vacuum wavelength  [Å]" if ax is panels[-1] else None)
    unit = f"flux  [{pretty_unit(posterior.flux_unit)}]" if posterior.flux_unit else "flux"
    fig.supylabel(unit, fontsize=TEXT_SIZE, color=TEXT)
    return fig


def _quantiles(draws: NDArray) -> NDArray:
    """Quantiles at `LEVELS` of draws (S, D), NaN where there are none; shape (5, D)."""
    found = np.full((len(LEVELS), draws.shape[1]), np.nan)
    seen = np.isfinite(draws).all(0)
    found[:, seen] = np.quantile(draws[:, seen], LEVELS, axis=0)
    return found


def _limits(bands: NDArray) -> tuple[float, float]:
    """Ends of the flux axis: nearly all of the 90 % bands, with room."""
    low, high = bands[0][np.isfinite(bands[0])], bands[-1][np.isfinite(bands[-1])]
    if not low.size:
        return 0.0, 1.0
    first, last = np.percentile(low, 1), np.percentile(high, 99)
    room = 0.25 * (last - first) or 1.0
    return first - room, last + room


def _draw_exposure(ax: Axes, view: View, number: int, bands: NDArray, limits: tuple[float, float]) -> None:
    w, flux = view.wavelength, view.exposures[number]
    ax.fill_between(w, bands[0], bands[4], color=BANDS[0], lw=0, label="90 %")
    ax.fill_between(w, bands[1], bands[3], color=BANDS[1], lw=0, label="50 %")
    ax.plot(w, bands[2], color=DENOISED, lw=0.7)
    outside = (flux < bands[0]) | (flux > bands[4])
    size = float(np.clip(1.8 * np.sqrt(2048 / w.size), 1.8, 5))
    style = {"ls": "", "marker": ".", "ms": size, "mec": "none", "rasterized": w.size > 500}
    within = (flux >= limits[0]) & (flux <= limits[1])
    ax.plot(w, np.where(within & ~outside, flux, np.nan), color=TEXT, **style)
    ax.plot(w, np.where(within & outside, flux, np.nan), color=WARNING, **style)
    mark_beyond(ax, w, flux[None], limits, size=3.0)
    shade_gaps(ax, view)
    ax.set(xlim=w[[0, -1]], ylim=limits)
    seen = np.isfinite(flux) & np.isfinite(bands[2])
    share = f"{100 * outside[seen].mean():.1f} % outside the 90 % band" if seen.any() else "no data"
    words = {"transform": ax.transAxes, "va": "top", "fontsize": SMALL, "color": TEXT, "bbox": PATCH, "zorder": 7}
    ax.text(0.012, 0.95, f"exposure {number}", **words)
    ax.text(0.984, 0.95, share, ha="right", **words)
