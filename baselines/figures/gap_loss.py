"""Kang et al. (2021), figure 6: the loss against the width of the gap, at the blue end, in the middle, at the red end."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from bayesden.evaluate.testbed import GAPS

from ..conditions import Row
from .palette import style_of

__all__ = ["gap_loss"]


def gap_loss(rows: Sequence[Row], path: Path) -> None:
    """Draw medians and quartiles; the point without a gap has the same S/N and exposures as those with one."""
    from matplotlib.figure import Figure

    whole = {(r.snr, r.exposures) for r in rows if r.width}
    rows = [r for r in rows if (r.snr, r.exposures) in whole and r.method != "coadd"]
    figure = Figure(figsize=(10, 3.6), layout="constrained")
    axes = figure.subplots(1, len(GAPS), sharex=True, sharey=True)
    styles = style_of(dict.fromkeys(r.method for r in rows))
    for axis, gap in zip(axes, GAPS, strict=True):
        for method, style in styles.items():
            mine = [r for r in rows if r.method == method and (r.gap == gap or not r.width)]
            widths = sorted({r.width for r in mine})
            if not any(widths):
                continue
            quartiles = np.array([np.percentile([r.loss for r in mine if r.width == w], [25, 50, 75]) for w in widths])
            axis.semilogy(widths, quartiles[:, 1], ms=4, lw=1.2, label=method, **style)
            axis.fill_between(widths, quartiles[:, 0], quartiles[:, 2], color=style["color"], alpha=0.12, lw=0)
        axis.axhline(1e-3, color="0.5", lw=0.8, ls="--")
        axis.set(title=f"missing: {gap} end" if gap != "middle" else "missing: middle", xlabel="missing pixels of 2048")
        axis.grid(alpha=0.25)
    axes[0].set_ylabel("reconstruction loss (median, quartiles)")
    fullest = max(axes, key=lambda axis: len(axis.lines))
    figure.legend(*fullest.get_legend_handles_labels(), loc="outside right", frameon=False)
    figure.savefig(path, dpi=130)
