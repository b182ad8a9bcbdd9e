"""One colour and one marker for each method, the same in every figure."""

from collections.abc import Iterable

__all__ = ["OURS", "TRUTH", "style_of"]

OURS, TRUTH = "#c44601", "#1b1b1b"
COLOURS = {  # Okabe & Ito's and Tol's, so that no pair is lost on those who see fewer colours
    "coadd": "#bbbbbb",
    "noisy": "#999999",
    "smoothing": "#999933",
    "wavelet": "#ddaa33",
    "empca": "#88ccee",
    "wiener": "#0072b2",
    "mppca": "#332288",
    "conv_dae": "#117733",
    "dense_dae": "#cc79a7",
    "unet": "#44aa99",
    "eut": "#882255",
    "bayesden": OURS,
}
MARKERS = "os^vD"


def style_of(names: Iterable[str]) -> dict[str, dict[str, str]]:
    """Matplotlib's colour and marker for each name; variants of one method differ by marker."""
    styles, used = {}, {}
    for name in names:
        method = name.split()[0]
        count = used[method] = used.get(method, -1) + 1
        styles[name] = {"color": COLOURS.get(method, "#555555"), "marker": MARKERS[count % len(MARKERS)]}
    return styles
