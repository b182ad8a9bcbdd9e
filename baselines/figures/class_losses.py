"""Kang et al. (2021), figures 9 and 15: our loss against others', spectrum by spectrum, a panel for each class."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from ..conditions import Row
from .palette import style_of

__all__ = ["class_losses"]


def class_losses(rows: Sequence[Row], ours: str, rival: str, path: Path) -> None:
    """Draw every spectrum; points below the line are ours. A title's share is that of wins against the rival, in front."""
    from matplotlib.figure import Figure

    mine = {(r.condition, r.name): r.loss for r in rows if r.method == ours}
    rows = [r for r in rows if r.method not in (ours, "coadd") and (r.condition, r.name) in mine]
    classes = list(dict.fromkeys(r.spectral_class for r in rows))
    others = sorted(dict.fromkeys(r.method for r in rows), key=lambda name: name == rival)
    losses = [*mine.values(), *(r.loss for r in rows)]
    ends, styles = (0.7 * min(losses), 1.4 * max(losses)), style_of(others)
    columns = min(5, len(classes))
    lines = -(-len(classes) // columns)
    figure = Figure(figsize=(3.1 * columns, 3.2 * lines + 0.6), layout="constrained")
    axes = figure.subplots(lines, columns, sharex=True, sharey=True, squeeze=False)
    for axis, name in zip(axes.flat, classes, strict=False):
        for other in others:
            some = [r for r in rows if (r.spectral_class, r.method) == (name, other)]
            ours_too = [mine[r.condition, r.name] for r in some]
            look = {"alpha": 0.9, "s": 14, "lw": 0} if other == rival else {"alpha": 0.35, "s": 7, "lw": 0}
            axis.scatter([r.loss for r in some], ours_too, label=other, **look, **styles[other])
            if other == rival:
                share = np.mean([a < r.loss for a, r in zip(ours_too, some, strict=True)])
                axis.set_title(f"{name}: {100 * share:.0f} %")
        axis.plot(ends, ends, color="#0072b2", lw=1)
        axis.set(xscale="log", yscale="log", xlim=ends, ylim=ends)
        axis.grid(alpha=0.2)
    for axis in axes.flat[len(classes) :]:
        axis.remove()
    figure.supxlabel("loss of the other method")
    figure.supylabel(f"loss of {ours}")
    figure.suptitle(f"percent of spectra with a lower loss than {rival}")
    figure.legend(*axes[0, 0].get_legend_handles_labels(), loc="outside right", frameon=False, markerscale=1.6)
    figure.savefig(path, dpi=100)
