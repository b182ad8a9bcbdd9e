"""Chains of parameters, draw by draw, with what they are worth."""

import re
from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from numpy.typing import NDArray

from ..chains import LABELS, Chains
from ..errors import InputError
from ..io.inference_data import convergence
from ..posterior import Posterior
from .style import CHAINS, SMALL, TEXT, Size, dress, is_column, paper_figure

__all__ = ["plot_trace", "traced"]

FIRST = ("lp", "velocity_kms", "ebv", "log_amplitude", "z")  # what is drawn unless told
ROWS = 12  # of that, at most


def plot_trace(posterior: Posterior, names: Sequence[str] | None = None, *, size: Size = "page") -> Figure:
    r"""Draw chains of parameters and their marginal densities, with :math:`\hat R` and effective sample sizes.

    Chains that have converged look alike: they overlap, wander over the whole range again and again, and have one
    density. Divergent trajectories are ticks at the lower edge.

    Arguments:
        posterior: From a method that draws.
        names: Parameters or statistics, whole (`z`) or one number of them (`z[0]`, `calibration[1,0]`); by default log
            density, velocity, reddening, amplitude and latents, twelve at most.
        size: As wide as a journal's 'page' (180 mm) or 'column' (88 mm).

    Returns:
        A figure; `save_figure` writes it.

    Raises:
        InputError: if the posterior has no chains, none of that name, or there is no such size.

    Example:
        >>> from bayesden.report import plot_trace, save_figure
        >>> save_figure(plot_trace(post, ["velocity_kms", "z[0]"]), "trace.pdf").name
        'trace.pdf'
    """
    chains = posterior.chains
    if chains is None:
        raise InputError(
            f"{posterior.name}: expected a posterior with chains, from a method that draws, got {posterior.method!r}"
        )
    rows = traced(chains, names)
    worth = _worth(chains, np.stack([values for _, values in rows], -1))
    narrow = is_column(size)
    fig = paper_figure(size, 0.5 + 0.73 * len(rows), f"{posterior.name}: trace")
    _name_chains(fig, chains.shape[0], narrow)
    panels = fig.subplots(len(rows), 2, sharey="row", width_ratios=(1, 0.16), squeeze=False)
    for number, ((name, values), (left, right)) in enumerate(zip(rows, panels, strict=True)):
        _draw_chains(left, values, chains.stats.get("diverging"))
        _draw_marginals(right, values)
        left.set_title(worth[number], loc="right", fontsize=SMALL, color=TEXT, pad=2)
        left.set_title(LABELS.get(name, name), loc="left", fontsize=SMALL, fontweight="bold", color=TEXT, pad=2)
        dress(left, x="draw" if number == len(rows) - 1 else None)
    return fig


def traced(chains: Chains, names: Sequence[str] | None = None) -> list[tuple[str, NDArray]]:
    """Names and draws (C, S) of single numbers, of whole parameters all of them; see `plot_trace`.

    Raises:
        InputError: if there is none of that name.
    """
    known = {**chains.parameters, **chains.stats}
    if names is None:
        return [row for name in FIRST if name in known for row in _numbers(name, known[name])][:ROWS]
    rows = []
    for name in names:
        whole = re.sub(r"\[.*\]$", "", name)
        found = [row for row in _numbers(whole, known[whole]) if name in (whole, row[0])] if whole in known else []
        if not found:
            raise InputError(f"trace: expected names such as {', '.join(known)} or z[0], got {name!r}")
        rows += found
    return rows


def _numbers(name: str, values: NDArray) -> list[tuple[str, NDArray]]:
    """Every number of a parameter (C, S, ...), under its name and place."""
    if values.ndim == 2:
        return [(name, values)]
    places = np.ndindex(values.shape[2:])
    return [(f"{name}[{','.join(map(str, place))}]", values[:, :, *place]) for place in places]


def _worth(chains: Chains, values: NDArray) -> list[str]:
    """What is said of each row of the figure."""
    if chains.independent:
        return ["independent draws"] * values.shape[-1]
    moving = np.ptp(values, axis=(0, 1)) > 0
    found = convergence(values[:, :, moving].astype(float))
    words = iter(zip(*found, strict=True))
    return [_say(*next(words)) if moves else "constant" for moves in moving]


def _say(r_hat: float, bulk: float, tail: float) -> str:
    if not np.isfinite(r_hat):
        return "too few draws to judge"
    return f"$\\hat{{R}}$ = {r_hat:.3f}, ESS {bulk:.0f} bulk, {tail:.0f} tail"


def _name_chains(fig: Figure, count: int, narrow: bool) -> None:
    """A legend beside the title, or below the panels of a column, where the colours do not repeat."""
    if 1 < count <= len(CHAINS):
        lines = [Line2D([], [], color=colour, lw=1.5, label=f"chain {n}") for n, colour in enumerate(CHAINS[:count])]
        place = {"loc": "outside lower center"} if narrow else {"loc": "upper right", "borderaxespad": 0.1}
        place |= {"ncols": 4 if narrow else count, "handlelength": 1.2, "columnspacing": 1.2}
        fig.legend(handles=lines, fontsize=SMALL, frameon=False, labelcolor=TEXT, **place)


def _draw_chains(ax: Axes, values: NDArray, diverging: NDArray | None) -> None:
    for chain, draws in enumerate(values):
        ax.plot(draws, color=CHAINS[chain % len(CHAINS)], lw=0.35, rasterized=True)
    if diverging is not None and diverging.any():
        at = np.nonzero(diverging)[1]
        ax.plot(at, np.full(at.size, 0.04), "|", transform=ax.get_xaxis_transform(), color=TEXT, ms=5, mew=0.8)
    ax.set_xlim(0, max(1, values.shape[1] - 1))
    ax.locator_params(axis="y", nbins=4)


def _draw_marginals(ax: Axes, values: NDArray) -> None:
    edges = np.histogram_bin_edges(values.astype(float), 24)
    for chain, draws in enumerate(values):
        density = np.histogram(draws, edges, density=True)[0]
        ax.stairs(density, edges, orientation="horizontal", color=CHAINS[chain % len(CHAINS)], lw=0.8)
    ax.set_axis_off()
