r"""Whether left-out pixels are where the posterior expects them: leave-one-out probability integral transforms.

The difference between their empirical distribution and the uniform one has a simultaneous band, within which all of it lies
with 95 % probability if the model is right: pointwise binomial intervals, wide enough for all points together, as found
by simulation (Säilynoja, Bürkner & Vehtari 2022, Statistics and Computing 32, 32). Neighbouring pixels share noise, so that n
of them are worth :math:`n / (1 + 2 \sum_k \rho_k)`, with the correlations :math:`\rho_k` of their normal scores.
"""

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray
from scipy.special import ndtri
from scipy.stats import binom

from ..errors import InputError
from ..io.inference_data import loo_pit
from ..posterior import Posterior
from .residual_plot import autocorrelation
from .style import DENOISED, SMALL, SOFT, TEXT, Size, dress, is_column, paper_figure

__all__ = ["effective_count", "plot_loo_pit", "uniform_band"]

BINS = 20
POINTS = 99  # where the distribution is compared
LAGS = 30  # beyond which noise is independent


def plot_loo_pit(posterior: Posterior, *, size: Size = "column") -> Figure:
    """Draw the histogram of the LOO-PIT and the difference of its distribution to the uniform one.

    Uniform if the model is right. A hump, or a difference that falls below and then rises above zero: predictions are too
    wide. A bowl, or the opposite: too narrow. A slope: too high or too low.

    Arguments:
        posterior: From a method that draws, with predictions.
        size: As wide as a journal's 'column' (88 mm), one panel above the other, or 'page' (180 mm), side by side.

    Returns:
        A figure; `save_figure` writes it.

    Raises:
        InputError: if there are no predictions, no pixel was observed, or there is no such size.

    Example:
        >>> from bayesden.report import plot_loo_pit, save_figure
        >>> save_figure(plot_loo_pit(post), "loo-pit.pdf").name
        'loo-pit.pdf'
    """
    rows = loo_pit(posterior)
    pit = rows[np.isfinite(rows)]
    if not pit.size:
        raise InputError(f"{posterior.name}: LOO-PIT: expected observed pixels, found none")
    worth = effective_count(rows)
    narrow = is_column(size)
    fig = paper_figure(size, 4.0 if narrow else 2.4, f"{posterior.name}: left-out pixels")
    upper, lower = fig.subplots(2, 1, sharex=True) if narrow else fig.subplots(1, 2)
    _draw_histogram(upper, pit, worth)
    dress(upper, x=None if narrow else "LOO-PIT", y="density")
    _draw_difference(lower, pit, worth)
    upper.set_title(f"{pit.size} pixels, worth {worth} independent ones", loc="right", fontsize=SMALL, color=TEXT)
    return fig


def effective_count(rows: NDArray) -> int:
    """How many independent pixels the transforms (E, D) are worth; NaN where nothing was observed."""
    count = int(np.isfinite(rows).sum())
    scores = ndtri(np.clip(rows, 1e-3, 1 - 1e-3))
    found = autocorrelation(scores - np.nanmean(scores), min(LAGS, rows.shape[1] - 1))
    below = np.flatnonzero(~(found > 0))  # from there on it is chance
    return max(1, round(count / (1 + 2 * found[: below[0] if below.size else None].sum())))


def uniform_band(count: int, points: NDArray, probability: float = 0.95, seed: int = 0) -> tuple[NDArray, NDArray]:
    """Edges between which the whole empirical distribution of uniform numbers lies with some probability.

    Arguments:
        count: How many numbers.
        points: Where the distribution is evaluated, ascending, between 0 and 1, exclusive.
        probability: That the distribution is inside at all points.
        seed: Of the simulation that finds how wide.
    """
    shares = np.diff(points, prepend=0, append=1)
    drawn = np.random.default_rng(seed).multinomial(count, shares, size=2000)[:, :-1].cumsum(1)
    tail = np.minimum(binom.cdf(drawn, count, points), binom.sf(drawn - 1, count, points)).min(1)
    level = np.quantile(tail, 1 - probability)
    return binom.ppf(level, count, points) / count, binom.isf(level, count, points) / count


def _draw_histogram(ax: Axes, pit: NDArray, worth: int) -> None:
    edge = 0.025 / BINS  # all bins inside with 95 %, by Bonferroni
    low, high = (BINS * binom.ppf(p, worth, 1 / BINS) / worth for p in (edge, 1 - edge))
    ax.axhspan(low, high, color=SOFT, lw=0, label="95 % if right")
    ax.axhline(1, color=TEXT, lw=0.6)
    density, edges = np.histogram(pit, BINS, (0, 1), density=True)
    ax.stairs(density, edges, color=DENOISED, lw=1.2, fill=False)
    ax.set(xlim=(0, 1), ylim=(0, max(1.3 * density.max(), 1.2 * high)))
    ax.legend(loc="upper right", fontsize=SMALL, frameon=False, labelcolor=TEXT)


def _draw_difference(ax: Axes, pit: NDArray, worth: int) -> None:
    points = np.arange(1, POINTS + 1) / (POINTS + 1)
    low, high = uniform_band(worth, points)
    difference = np.searchsorted(np.sort(pit), points, side="right") / pit.size - points
    ax.fill_between(points, low - points, high - points, color=SOFT, lw=0)
    ax.axhline(0, color=TEXT, lw=0.6)
    ax.plot(points, difference, color=DENOISED, lw=1.2)
    reach = 1.2 * max(np.abs(difference).max(), (high - points).max())
    ax.set_ylim(-reach, reach)
    dress(ax, x="LOO-PIT", y="ECDF − uniform")
