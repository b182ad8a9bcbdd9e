"""What the figures share: colours that every reader tells apart, sizes of a printed page, axes and their annotations."""

import io
import re

import numpy as np
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import AutoMinorLocator
from numpy.typing import NDArray

from .view import View

__all__ = [
    "CHAINS",
    "COADD",
    "COLUMN",
    "DENOISED",
    "EXPOSURE",
    "FAINT",
    "GAP",
    "MARGINS",
    "PAGE",
    "PATCH",
    "SINGLE",
    "SMALL",
    "TEXT",
    "TEXT_SIZE",
    "WARNING",
    "WARNING_TEXT",
    "ShownFigure",
    "dress",
    "mark_beyond",
    "paper_figure",
    "pretty_unit",
    "shade_gaps",
]

# Okabe & Ito's colours, which readers with any colour vision tell apart; the data are in greys.
DENOISED, WARNING, WARNING_TEXT = "#0072B2", "#D55E00", "#A34700"
EXPOSURE, SINGLE, COADD, TEXT, FAINT, GAP = "#ABABAB", "#8C8C8C", "#454545", "#222222", "#6E6E6E", "#F3E9CF"
CHAINS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#222222")
PATCH = {"facecolor": "white", "alpha": 0.85, "edgecolor": "none", "pad": 1.5}

COLUMN, PAGE = 3.5, 7.1  # widths of a journal's column and page, inches
TEXT_SIZE, SMALL = 8.0, 7.0  # points
SCREEN = 120  # dots per inch in a notebook
MARGINS = {"w_pad": 0.03, "h_pad": 0.03, "wspace": 0.02, "hspace": 0.02}


class ShownFigure(Figure):
    """A figure that belongs to no window, and that a notebook shows as a cell's value whether pyplot is imported or not."""

    def _repr_png_(self) -> bytes:
        picture = io.BytesIO()
        self.savefig(picture, format="png", dpi=SCREEN)
        return picture.getvalue()


def paper_figure(width: float, height: float, title: str) -> Figure:
    """An empty figure that is printed at its own size, inches, with a title that is text and not mathematics."""
    fig = ShownFigure(figsize=(width, height), dpi=200, facecolor="white", layout="constrained")
    fig.get_layout_engine().set(**MARGINS)
    title = title if len(title) <= 80 else f"{title[:38]} … {title[-38:]}"
    fig.suptitle(title, x=0.01, ha="left", fontsize=TEXT_SIZE, fontweight="bold", color=TEXT, parse_math=False)
    return fig


def dress(ax: Axes, *, x: str | None = None, y: str | None = None) -> None:
    """Ticks and labels of a printed panel; without a label for x its numbers are left out."""
    ax.tick_params(which="both", direction="in", top=True, right=True, labelsize=SMALL, labelcolor=TEXT, width=0.6)
    ax.tick_params(which="minor", length=1.5)
    ax.tick_params(which="major", length=3)
    for spine in ax.spines.values():
        spine.set_linewidth(0.6)
    if ax.get_xscale() == "linear":
        ax.xaxis.set_minor_locator(AutoMinorLocator())
    if x is None:
        ax.tick_params(labelbottom=False)
    else:
        ax.set_xlabel(x, fontsize=TEXT_SIZE, color=TEXT)
    if y is not None:
        ax.set_ylabel(y, fontsize=TEXT_SIZE, color=TEXT)


def pretty_unit(unit: str) -> str:
    """A unit as FITS writes it, for reading: 1E-17 erg/cm^2/s/Ang becomes 10⁻¹⁷ erg/cm²/s/Å."""
    unit = re.sub(r"\b1[eE]([-+]?\d+)\b", r"$10^{\1}$", unit.replace("$", r"\$"))
    return re.sub(r"\^(-?\d+)", r"$^{\1}$", re.sub(r"\b(Angstrom|Ang|AA)\b", "Å", unit))


def mark_beyond(
    ax: Axes, wavelength: NDArray, rows: NDArray, limits: tuple[float, float], size: float = 5.0
) -> list[Artist]:
    """Triangles at the edge where any row lies beyond the axis, and the legend's entry for them."""
    low, high = limits
    inset = 0.014 * (high - low)
    style = {"ls": "", "mec": "none", "color": WARNING, "alpha": 0.75, "clip_on": False, "in_layout": False}
    for beyond, edge, marker in ((rows > high, high - inset, "^"), (rows < low, low + inset, "v")):
        at = wavelength[beyond.any(0)]
        ax.plot(at, np.full(at.size, edge), marker=marker, ms=size, zorder=6, **style)
    count = int((rows > high).sum() + (rows < low).sum())
    name = f"{count} pixel{'s' * (count > 1)} beyond the axis"
    return ax.plot([], [], marker="^", ms=6, label=name, **style) if count else []


def shade_gaps(ax: Axes, view: View, *, words: bool = False) -> list[Artist]:
    """Stretches without data, and the legend's entry for them."""
    handles = [ax.axvspan(first, last, color=GAP, lw=0, zorder=0) for first, last in view.gaps()]
    if words and handles:
        handles[0].set_label("no data")
    return handles[:1]
