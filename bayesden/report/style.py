"""What the figures share: colours that every reader tells apart, sizes of a printed page, axes and their annotations.

Nothing is transparent, so that EPS, which knows no transparency, and a printing press show what the screen does.
"""

import io
import re
from typing import Literal

import numpy as np
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.backend_bases import RendererBase
from matplotlib.figure import Figure
from matplotlib.ticker import AutoMinorLocator
from matplotlib.transforms import Bbox
from numpy.typing import NDArray

from ..errors import InputError
from .view import View

__all__ = [
    "BANDS",
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
    "SIZES",
    "SMALL",
    "SOFT",
    "TEXT",
    "TEXT_SIZE",
    "TINTS",
    "WARNING",
    "WARNING_TEXT",
    "ShownFigure",
    "Size",
    "dress",
    "is_column",
    "mark_beyond",
    "paper_figure",
    "pretty_unit",
    "shade_gaps",
]

# Okabe & Ito's colours, which readers with any colour vision tell apart; the data are in greys, lighter than what is denoised.
DENOISED, WARNING, WARNING_TEXT = "#0072B2", "#D55E00", "#A34700"
EXPOSURE, SINGLE, COADD, TEXT, FAINT, GAP = "#D0D0D0", "#929292", "#949494", "#222222", "#6E6E6E", "#F3E9CF"
BANDS = ("#C7E0EE", "#7BB6D7")  # wide and narrow, tints of the denoised flux
SOFT = "#DCDCDC"  # where chance alone may lead, and lines to read by
TINTS = {
    DENOISED: "#4095C5",
    EXPOSURE: "#C6C6C6",
    SINGLE: "#B3B3B3",
}  # of histograms, so that a curve over them is seen
CHAINS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#222222")
PATCH = {"facecolor": "white", "edgecolor": "none", "pad": 0.8}

Size = Literal["column", "page"]
COLUMN, PAGE = 88 / 25.4, 180 / 25.4  # inches: 88 and 180 mm, what A&A prints and, to a millimetre, ApJ and MNRAS
SIZES = {"column": COLUMN, "page": PAGE}
TEXT_SIZE, SMALL = 8.0, 7.0  # points
DPI = 300
SCREEN = 120  # dots per inch in a notebook
MARGINS = {"w_pad": 0.03, "h_pad": 0.03, "wspace": 0.02, "hspace": 0.02}


class ShownFigure(Figure):
    """A figure that belongs to no window, and that a notebook shows as a cell's value whether pyplot is imported or not."""

    def _repr_png_(self) -> bytes:
        picture = io.BytesIO()
        self.savefig(picture, format="png", dpi=SCREEN)
        return picture.getvalue()

    def get_tightbbox(
        self, renderer: RendererBase | None = None, bbox_extra_artists: list[Artist] | None = None
    ) -> Bbox:
        """All of the figure, inches: IPython crops it to this, and titles lie outside of the layout."""
        return self.bbox_inches


def is_column(size: str) -> bool:
    """Whether a figure shall be as narrow as a column.

    Raises:
        InputError: if there is no such size.
    """
    if size not in SIZES:
        raise InputError(f"size: expected {' or '.join(SIZES)}, got {size!r}")
    return size == "column"


def paper_figure(size: str, height: float, title: str) -> Figure:
    """An empty figure that is printed at its own size, with a title that is text and not mathematics.

    Arguments:
        size: Which of `SIZES` it is as wide as.
        height: Inches.
        title: Shortened in the middle where the figure is too narrow for it.
    """
    room = 50 if is_column(size) else 100  # letters
    fig = ShownFigure(figsize=(SIZES[size], height), dpi=DPI, facecolor="white", layout="constrained")
    fig.get_layout_engine().set(**MARGINS)
    title = title if len(title) <= room else f"{title[: room // 2 - 2]} … {title[-room // 2 + 2 :]}"
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
    ax.tick_params(labelbottom=x is not None)
    if x is not None:
        ax.set_xlabel(x, fontsize=TEXT_SIZE, color=TEXT)
    if y is not None:
        ax.set_ylabel(y, fontsize=TEXT_SIZE, color=TEXT)


def pretty_unit(unit: str) -> str:
    """A unit as FITS writes it, for reading: 1E-17 erg/cm^2/s/Ang becomes 10⁻¹⁷ erg/cm²/s/Å, 10**-17 erg s-1 10⁻¹⁷ erg s⁻¹."""
    unit = re.sub(r"\b(?:1[eE]|10\*\*)([-+]?\d+)\b", r"$10^{\1}$", unit.replace("$", r"\$"))
    unit = re.sub(r"\b([A-Za-z]+)\^?([-+]?\d+)\b", r"\1$^{\2}$", unit)
    return re.sub(r"\b(Angstrom|Ang|AA)(?![a-z])", "Å", unit)


def mark_beyond(
    ax: Axes, wavelength: NDArray, rows: NDArray, limits: tuple[float, float], size: float = 3.0
) -> list[Artist]:
    """Triangles at the edge where any row lies beyond the axis, and the legend's entry for them."""
    low, high = limits
    inset = 0.014 * (high - low)
    style = {"ls": "", "mec": "none", "color": WARNING, "clip_on": False, "in_layout": False}
    for beyond, edge, marker in ((rows > high, high - inset, "^"), (rows < low, low + inset, "v")):
        at = wavelength[beyond.any(0)]
        ax.plot(at, np.full(at.size, edge), marker=marker, ms=size, zorder=6, **style)
    count = int((rows > high).sum() + (rows < low).sum())
    name = f"{count} pixel{'s' * (count > 1)} beyond"
    return ax.plot([], [], marker="^", ms=4, label=name, **style) if count else []


def shade_gaps(ax: Axes, view: View, *, words: bool = False) -> list[Artist]:
    """Stretches without data, and the legend's entry for them."""
    handles = [ax.axvspan(first, last, color=GAP, lw=0, zorder=0) for first, last in view.gaps()]
    if words and handles:
        handles[0].set_label("no data")
    return handles[:1]
