"""The page's colours in light and in dark, by the names that its style sheet and figures call them."""

from .style import COADD, DENOISED, EXPOSURE, FAINT, GAP, SINGLE, TEXT, WARNING, WARNING_TEXT

__all__ = ["DARK", "LIGHT"]

LIGHT = {
    "page": "#FFFFFF",
    "raised": "#F4F5F7",
    "chosen": "#D6E8F7",
    "border": "#C9CDD3",
    "control": "#767C85",
    "text": TEXT,
    "faint": "#5C5C5C",
    "link": "#005A8F",
    "warning-text": WARNING_TEXT,
    "warning-page": "#FDEDE2",
    "denoised": DENOISED,
    "exposure": EXPOSURE,
    "single": SINGLE,
    "mean": COADD,
    "line": FAINT,
    "warning": WARNING,
    "gap": GAP,
    "partial": "#D9BE7C",
    "air": "#9CC3DC",
    "grid": "#E6E8EB",
    "ink": "#000000",
}
DARK = {
    "page": "#14171B",
    "raised": "#1F242A",
    "chosen": "#1D3F5A",
    "border": "#3A424B",
    "control": "#87919D",
    "text": "#E8EAED",
    "faint": "#B0B7C0",
    "link": "#7CC4F5",
    "warning-text": "#FFB27A",
    "warning-page": "#3D2413",
    "denoised": "#56B4E9",
    "exposure": "#5E656E",
    "single": "#8A939D",
    "mean": "#C4CAD1",
    "line": "#9AA3AD",
    "warning": "#FF8A3D",
    "gap": "#332C1A",
    "partial": "#8A7336",
    "air": "#34617F",
    "grid": "#282E35",
    "ink": "#FFFFFF",
}
