"""Pál & Dobos (2024), figures 6 to 9, and (2025), figure 2: errors against S/N, temperature, gravity and metallicity."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from ..simulated_tables import Row
from .palette import style_of

__all__ = ["parameter_errors"]

ALONG = {"snr": "S/N", "teff_K": "effective temperature, K", "logg": "log g", "feh": "[Fe/H]"}
MEASURES = {
    "mean_e": "mean |E|",
    "max_e": "maximum |E|",
    "mean_r": "mean |R|",
    "max_r": "maximum |R|",
    "divergence": "Kullback-Leibler divergence",
}
BINS = 10  # of as many spectra each
TICKS = (2, 5, 10, 20, 50)


def parameter_errors(rows: Sequence[Row], path: Path) -> None:
    """Draw means over spectra in bins of each parameter: a column for each parameter, a row for each measure.

    As in the paper, spectra count for a parameter of the star if they lie between the grid's values of it.
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=(11, 12), layout="constrained")
    axes = figure.subplots(len(MEASURES), len(ALONG), sharey="row", sharex="col")
    styles = style_of(dict.fromkeys(r.method for r in rows if r.method != "coadd"))
    for number, (key, column) in enumerate(zip(ALONG, axes.T, strict=True)):
        some = [r for r in rows if key == "snr" or r.axis in (number - 1, -1)]
        values = np.array([getattr(r, key) for r in some])
        edges = np.unique(np.quantile(values, np.linspace(0, 1, BINS + 1)))
        for method, style in styles.items():
            mine = [r for r in some if r.method == method]
            place = np.clip(np.searchsorted(edges, [getattr(r, key) for r in mine], "right") - 1, 0, len(edges) - 2)
            full = [k for k in range(len(edges) - 1) if (place == k).any()]
            x = ((edges[1:] + edges[:-1]) / 2)[full]
            for axis, measure in zip(column, MEASURES, strict=True):
                found = np.array([getattr(r, measure) for r in mine])
                axis.semilogy(x, [found[place == k].mean() for k in full], ms=4, lw=1.2, label=method, **style)
        column[-1].set_xlabel(ALONG[key])
    for axis, name in zip(axes[:, 0], MEASURES.values(), strict=True):
        axis.set_ylabel(name)
    axes[0, 0].set_xscale("log")
    axes[0, 0].set_xticks(TICKS, labels=map(str, TICKS))
    axes[0, 0].xaxis.minorticks_off()
    for axis in axes.flat:
        axis.grid(alpha=0.25)
    figure.legend(*axes[0, 0].get_legend_handles_labels(), loc="outside upper center", ncols=5, frameon=False)
    figure.savefig(path, dpi=120)
