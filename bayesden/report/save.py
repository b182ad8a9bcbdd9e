"""Figures as files that a journal takes: vectors, fonts embedded, text as text, the same bytes for the same figure."""

import re
from io import BytesIO
from pathlib import Path

import matplotlib as mpl
from matplotlib.figure import Figure

from ..errors import OutputError
from ..io.files import write_bytes

__all__ = ["FORMATS", "save_figure"]

# Dates are left out: the same figure is the same bytes.
FORMATS = {".png": {}, ".pdf": {"CreationDate": None}, ".svg": {"Date": None}, ".eps": {}}
TYPE_42 = 42  # TrueType: journals refuse Type 3 fonts, and editors cannot change text in them
RASTER_DPI = 400  # of clouds of points within vectors
SETTINGS = {
    "pdf.fonttype": TYPE_42,
    "ps.fonttype": TYPE_42,
    "svg.fonttype": "none",  # text as text, not as its outlines
    "svg.hashsalt": "bayesden",  # else names of clips and marks are random
}


def save_figure(fig: Figure, path: str | Path) -> Path:
    """Write a figure, whole or not at all, in the format that the name's ending says.

    PDF and EPS have their fonts embedded as TrueType (type 42); SVG has text as text. Clouds of points are bitmaps of 400 dots
    an inch within them, all else is vectors. EPS knows no transparency; the figures of this package use none.

    Arguments:
        fig: The figure.
        path: Where to; ends in .png, .pdf, .svg or .eps. An existing file is replaced.

    Returns:
        The path.

    Raises:
        OutputError: if the ending is another, or the place cannot be written.
    """
    path, content = Path(path), BytesIO()
    suffix = path.suffix.lower()
    if suffix not in FORMATS:
        raise OutputError(f"{path}: expected a name ending in {', '.join(FORMATS)}, got {suffix or 'no ending'}")
    with mpl.rc_context(SETTINGS):
        dpi = "figure" if suffix == ".png" else RASTER_DPI
        fig.savefig(content, format=suffix[1:], metadata=FORMATS[suffix], dpi=dpi)
    written = content.getvalue()
    if suffix == ".eps":
        written = re.sub(rb"%%CreationDate: .*\n", b"", written, count=1)
    write_bytes(path, written, overwrite=True)
    return path
