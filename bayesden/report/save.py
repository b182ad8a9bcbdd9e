"""Figures as files that a journal takes: vectors, fonts embedded, text as text, the same bytes for the same figure."""

import re
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
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
    an inch within PDF and SVG, all else is vectors. EPS knows no transparency; the figures of this package use none.

    Arguments:
        fig: The figure.
        path: Where to; ends in .png, .pdf, .svg or .eps. An existing file is replaced.

    Returns:
        The path.

    Raises:
        OutputError: if the ending is another, or the place cannot be written.

    Example:
        >>> from bayesden.report import plot_classes, save_figure
        >>> save_figure(plot_classes(post), "classes.svg").name
        'classes.svg'
    """
    path, content = Path(path), BytesIO()
    suffix = path.suffix.lower()
    if suffix not in FORMATS:
        raise OutputError(f"{path}: expected a name ending in {', '.join(FORMATS)}, got {suffix or 'no ending'}")
    dpi = "figure" if suffix == ".png" else RASTER_DPI
    with mpl.rc_context(SETTINGS), nullcontext() if suffix != ".eps" else _without_bitmaps(fig):
        fig.savefig(content, format=suffix[1:], metadata=FORMATS[suffix], dpi=dpi)
    write_bytes(path, _timeless(content.getvalue(), suffix), overwrite=True)
    return path


def _timeless(content: bytes, suffix: str) -> bytes:
    """A file without what differs between runs: EPS's date, and SVG's names of clips, which hang on the last bit of a place."""
    if suffix == ".eps":
        return re.sub(rb"%%CreationDate: .*\n", b"", content, count=1)
    if suffix == ".svg":
        clips = re.findall(rb'<clipPath id="(\w+)"', content)
        names = {clip: b"clip%d" % number for number, clip in enumerate(dict.fromkeys(clips))}
        return re.sub(rb"\bp[0-9a-f]{10}\b", lambda found: names.get(found[0], found[0]), content)
    return content


@contextmanager
def _without_bitmaps(fig: Figure) -> Iterator[None]:
    """All as vectors: a bitmap in EPS is opaque where it is empty, and many megabytes of text."""
    clouds = [artist for artist in fig.findobj() if artist.get_rasterized()]
    try:
        for artist in clouds:
            artist.set_rasterized(False)
        yield
    finally:
        for artist in clouds:
            artist.set_rasterized(True)
