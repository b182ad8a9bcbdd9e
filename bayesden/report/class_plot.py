"""Class probabilities of one star."""

import numpy as np
from matplotlib.figure import Figure

from ..errors import InputError
from ..posterior import Posterior
from .style import DENOISED, EXPOSURE, FAINT, SMALL, TEXT, TEXT_SIZE, Size, dress, paper_figure

__all__ = ["plot_classes"]


def plot_classes(posterior: Posterior, *, size: Size = "column") -> Figure:
    """Draw the probability of each class as a bar, with its number.

    Arguments:
        posterior: From a method with classes.
        size: As wide as a journal's 'column' (88 mm) or 'page' (180 mm).

    Returns:
        A figure; `save_figure` writes it.

    Raises:
        InputError: if the method has no classes, or there is no such size.

    Example:
        >>> from bayesden.report import plot_classes, save_figure
        >>> save_figure(plot_classes(post), "classes.pdf").name
        'classes.pdf'
    """
    if not posterior.class_prob:
        raise InputError(f"{posterior.name}: expected class probabilities, got method {posterior.method!r} without")
    names, values = list(posterior.class_prob), list(posterior.class_prob.values())
    rows, best = np.arange(len(names)), posterior.best_class
    fig = paper_figure(size, 0.75 + 0.2 * len(names), f"{posterior.name}: class")
    ax = fig.add_subplot()
    ax.barh(rows, values, height=0.66, color=[DENOISED if name == best else EXPOSURE for name in names])
    for row, (name, value) in enumerate(zip(names, values, strict=True)):
        weight = "bold" if name == best else "normal"
        colour = TEXT if value > 0 else FAINT
        ax.text(value + 0.015, row, _words(value), va="center", fontsize=SMALL, color=colour, fontweight=weight)
    ax.set(xlim=(0, 1.2), ylim=(len(names) - 0.5, -0.5), xticks=(0, 0.25, 0.5, 0.75, 1))
    dress(ax, x="probability")
    ax.set_xticks(np.arange(0, 1.01, 0.05), minor=True)
    ax.spines["bottom"].set_bounds(0, 1)  # beyond there is room for numbers only
    ax.set_yticks(rows, names, fontsize=TEXT_SIZE, parse_math=False)
    ax.tick_params(which="both", left=False, right=False, top=False)
    ax.spines[["top", "right"]].set_visible(False)
    return fig


def _words(probability: float) -> str:
    """A probability as the figure says it: neither 0 nor 1 unless it is."""
    if 0 < probability < 0.001:
        return "< 0.001"
    if 0.999 < probability < 1:
        return "> 0.999"
    return f"{probability:.3f}".rstrip("0").rstrip(".")
