"""Kang et al. (2021), figure 10: loss, and DER_SNR after denoising, against DER_SNR before."""

from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path

import numpy as np

from ..conditions import Row
from .palette import style_of

__all__ = ["snr_losses"]

EDGES = 2.0 ** np.arange(0.25, 8.0, 0.75)  # of DER_SNR


def snr_losses(rows: Sequence[Row], path: Path) -> None:
    """Draw medians and quartiles of each method; the paper has boxes of its own method alone."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(13, 5), layout="constrained")
    axes = figure.subplots(1, 2, sharex=True)
    styles = style_of(dict.fromkeys(r.method for r in rows))
    for number, (method, style) in enumerate(styles.items()):
        mine = [r for r in rows if r.method == method]
        for axis, key in zip(axes, ("loss", "der_snr_denoised"), strict=True):
            boxes = []
            for low, high in pairwise(EDGES):
                some = [getattr(r, key) for r in mine if low <= r.der_snr < high]
                if some:
                    place = np.sqrt(low * high) * 1.012 ** (number - len(styles) / 2)  # side by side
                    boxes.append((place, *np.percentile(some, (25, 50, 75))))
            x, low, middle, high = np.array(boxes).T
            bars = (middle - low, high - middle)
            axis.errorbar(x, middle, bars, ms=4, lw=1.2, elinewidth=0.8, label=method, **style)
    axes[0].set(xscale="log", yscale="log", ylabel="reconstruction loss")
    axes[0].axhline(1e-3, color="0.5", lw=0.8, ls="--")
    axes[1].set(yscale="log", ylabel="DER_SNR after denoising")
    for axis in axes:
        axis.set(xlabel="DER_SNR before denoising")
        axis.set_xticks([3, 5, 10, 20, 50], ["3", "5", "10", "20", "50"])
        axis.xaxis.minorticks_off()
        axis.grid(alpha=0.25)
    figure.legend(*axes[0].get_legend_handles_labels(), loc="outside right", frameon=False)
    figure.savefig(path, dpi=100)
