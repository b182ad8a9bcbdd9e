"""Pairs of parameters: what the posterior says of two numbers at once, the figure that others call a corner plot."""

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter

from ..chains import LABELS, Chains
from ..errors import InputError
from ..posterior import Posterior
from .style import BANDS, DENOISED, FAINT, SINGLE, SMALL, TEXT, Size, dress, is_column, paper_figure
from .trace_plot import traced

__all__ = ["joint_density", "plot_pairs", "within"]

LEVELS = (0.9, 0.5)  # of the draws, within the contours
BINS, SMOOTH = 48, 1.6  # of the histogram whose contours are drawn, and its smoothing, bins
MOST = {"column": 4, "page": 6}  # parameters, unless they are named
SKIPPED = "lp"  # of what a trace shows; it is no parameter
SIDE = {"column": 0.84, "page": 1.16}  # of a panel, at most, inches


def plot_pairs(posterior: Posterior, names: Sequence[str] | None = None, *, size: Size = "page") -> Figure:
    """Draw each parameter's marginal density, and for each two of them contours that hold 50 and 90 % of the draws.

    Titles are medians with the distances to the 16 and 84 % quantiles.

    Arguments:
        posterior: From a method that draws.
        names: Parameters, whole (`z`) or one number of them (`z[0]`); by default velocity, reddening, amplitude and latents as
            far as there is room. Those that do not vary are left out.
        size: As wide as a journal's 'page' (180 mm) or 'column' (88 mm).

    Returns:
        A figure; `save_figure` writes it.

    Raises:
        InputError: if the posterior has no chains, fewer than two of the parameters vary, none has that name, or there is no
            such size.

    Example:
        >>> from bayesden.report import plot_pairs, save_figure
        >>> save_figure(plot_pairs(post, ["velocity_kms", "ebv"]), "pairs.pdf").name
        'pairs.pdf'
    """
    narrow = is_column(size)
    if posterior.chains is None:
        raise InputError(
            f"{posterior.name}: expected a posterior with chains, from a method that draws, got {posterior.method!r}"
        )
    rows = _varying(posterior.chains, names)
    if names is None:
        rows = rows[: MOST[size]]
    if len(rows) < 2:
        found = ", ".join(name for name, _ in rows) or "none"
        raise InputError(f"{posterior.name}: pairs: expected two parameters or more that vary, got {found}")
    fig = paper_figure(size, 0.45 + len(rows) * min(SIDE[size], 8.8 / len(rows)), f"{posterior.name}: pairs")
    panels = fig.subplots(len(rows), len(rows), squeeze=False)
    for below, (y_name, y) in enumerate(rows):
        for across, (x_name, x) in enumerate(rows):
            ax = panels[below, across]
            ax.set_visible(across <= below)
            if across > below:
                continue
            ax.locator_params(nbins=3, prune="both" if narrow else None)
            if across == below:
                _draw_marginal(ax, x_name, x, alone=len(rows) > MOST["column"] or narrow)
            else:
                _draw_joint(ax, x, y)
            dress(ax, x=LABELS.get(x_name, x_name) if below == len(rows) - 1 else None)
            ax.tick_params(labelleft=across == 0 < below)
            ax.tick_params(axis="x", labelrotation=45 if narrow else 0)  # a panel of a column is as wide as two numbers
            if across == 0 < below:
                ax.set_ylabel(LABELS.get(y_name, y_name), fontsize=SMALL, color=TEXT)
            ax.xaxis.label.set_size(SMALL)
    fig.align_labels()
    return fig


def _varying(chains: Chains, names: Sequence[str] | None) -> list[tuple[str, NDArray]]:
    rows = [(name, values.ravel().astype(float)) for name, values in traced(chains, names)]
    return [(name, values) for name, values in rows if np.ptp(values) > 0 and (names or name != SKIPPED)]


def joint_density(x: NDArray, y: NDArray) -> tuple[NDArray, tuple[NDArray, NDArray]]:
    """A smooth histogram of draws of two numbers, and the edges of its bins."""
    ends = [(v.min() - 0.08 * np.ptp(v), v.max() + 0.08 * np.ptp(v)) for v in (x, y)]
    counts, *edges = np.histogram2d(x, y, BINS, ends)
    return gaussian_filter(counts, SMOOTH), tuple(edges)


def within(density: NDArray, edges: tuple[NDArray, NDArray], x: NDArray, y: NDArray) -> NDArray:
    """The density in the bin of each draw."""
    places = (np.searchsorted(edge, v, side="right") - 1 for edge, v in zip(edges, (x, y), strict=True))
    return density[tuple(place.clip(0, BINS - 1) for place in places)]


def _draw_joint(ax: Axes, x: NDArray, y: NDArray) -> None:
    density, edges = joint_density(x, y)
    at_draws = within(density, edges, x, y)
    levels = np.quantile(at_draws, [1 - share for share in LEVELS])  # so that these shares of the draws are inside
    outside = at_draws < levels[0]
    across, up = ((edge[1:] + edge[:-1]) / 2 for edge in edges)
    ax.plot(x[outside], y[outside], ls="", marker=".", ms=1.2, mec="none", color=SINGLE, rasterized=True)
    ax.contourf(across, up, density.T, [*levels, density.max() * 1.01], colors=BANDS)
    ax.contour(across, up, density.T, levels, colors=DENOISED, linewidths=0.5)
    ax.set(xlim=edges[0][[0, -1]], ylim=edges[1][[0, -1]])


def _draw_marginal(ax: Axes, name: str, values: NDArray, *, alone: bool) -> None:
    """Histogram, median and 68 % interval; the title has the name too where the panel is wide enough."""
    low, middle, high = np.quantile(values, (0.16, 0.5, 0.84))
    reach = 0.08 * np.ptp(values)
    density, edges = np.histogram(values, 30, density=True)
    ax.axvspan(low, high, color=BANDS[0], lw=0)
    ax.axvline(middle, color=FAINT, lw=0.6)
    ax.stairs(density, edges, color=DENOISED, lw=0.8)
    ax.set(xlim=(values.min() - reach, values.max() + reach), ylim=(0, 1.15 * density.max()), yticks=())
    digits = max(0, 1 - int(np.floor(np.log10(high - low))))
    numbers = f"${middle:.{digits}f}^{{+{high - middle:.{digits}f}}}_{{-{middle - low:.{digits}f}}}$"
    name = LABELS.get(name, name).partition("  [")[0]
    ax.set_title(f"{name}\n{numbers}" if alone else f"{name} = {numbers}", fontsize=SMALL, color=TEXT, pad=4)
