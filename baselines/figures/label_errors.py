"""The null test: scatter of stellar labels against S/N, by way and input."""

from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path

import numpy as np

from ..bootstrap import interval, resample, scatter
from ..label_fit import LABELS
from ..null_tables import EDGES, Row, errors_of, ways
from .palette import style_of

__all__ = ["label_errors"]

NAMES = {"teff_K": "effective temperature, K", "logg": "log g", "feh": "[Fe/H]", "velocity_kms": "velocity, km/s"}
DASHES = {"fit": "-", "regressor": ":", "latents": "--"}


def label_errors(rows: Sequence[Row], path: Path) -> None:
    """Draw robust scatter with intervals of 95 % in bins of S/N, a panel for each label."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(10.5, 7), layout="constrained")
    axes, styles = figure.subplots(2, 2), style_of(dict.fromkeys(source for _, source in ways(rows)))
    bins = [ends for ends in pairwise(EDGES) if any(ends[0] <= r.snr < ends[1] for r in rows)]
    place = [np.median([r.snr for r in rows if low <= r.snr < high]) for low, high in bins]
    for axis, label in zip(axes.flat, LABELS, strict=True):
        for number, way in enumerate(ways(rows)):
            values = [errors_of(rows, way, label, ends) for ends in bins]
            found = [scatter(v, np.ones((1, len(v))))[0] for v in values]
            limits = np.array([interval(scatter(v, resample(len(v)))) for v in values]).T
            x = np.array(place) * 1.012 ** (number - len(ways(rows)) / 2)  # side by side, not on each other
            bars = np.abs(limits - found)
            style = {"ls": DASHES[way[0]], "ms": 4, "lw": 1.3, "elinewidth": 0.8, **styles[way[1]]}
            axis.errorbar(x, found, bars, label=f"{way[0]}: {way[1]}", **style)
        axis.set(xscale="log", yscale="log", title=NAMES[label])
        axis.set_xticks([2, 5, 10, 20, 50], ["2", "5", "10", "20", "50"])
        axis.xaxis.minorticks_off()
        axis.grid(alpha=0.25)
    for axis in axes[1]:
        axis.set_xlabel("S/N")
    for axis in axes[:, 0]:
        axis.set_ylabel("robust scatter of found - true")
    figure.legend(*axes[0, 0].get_legend_handles_labels(), loc="outside right", frameon=False)
    figure.savefig(path, dpi=130)
