"""Tables of test bed B3: errors and efficiency by method and S/N, with bootstrap intervals."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from .bootstrap import bootstrap, interval, mean, resample

__all__ = ["EDGES", "Row", "efficiency_cell", "percent", "table"]

EDGES = (0.0, 5.0, 10.0, 20.0, 40.0, 120.0)  # of S/N


@dataclass(frozen=True)
class Row:
    """One star by one method; `axis` is the parameter along which its spectrum lies between the grid's."""

    method: str
    star: int
    snr: float
    teff_K: float
    logg: float
    feh: float
    axis: float
    mean_e: float
    max_e: float
    mean_r: float
    max_r: float
    bias_r: float
    triplet_r: float
    divergence: float
    square: float
    bound: float
    seconds: float


def percent(key: str) -> Callable[[Sequence[Row]], str]:
    """A table's cell: the mean of a relative error in percent, with the bootstrap's interval of 95 %."""

    def cell(rows: Sequence[Row]) -> str:
        values = 100 * np.array([getattr(r, key) for r in rows])
        low, high = bootstrap(values, [str(r.star) for r in rows], mean)
        return f"{values.mean():.2f} [{low:.2f}, {high:.2f}]"

    return cell


def efficiency_cell(rows: Sequence[Row]) -> str:
    """A table's cell: mean bound over mean squared error, with the bootstrap's interval of 95 %."""
    bound, square = (np.array([getattr(r, key) for r in rows]) for key in ("bound", "square"))
    drawn = np.vstack([np.ones(len(rows), int), resample(len(rows))])
    ratio = mean(bound, drawn) / mean(square, drawn)
    return "{:.3f} [{:.3f}, {:.3f}]".format(ratio[0], *interval(ratio[1:]))


def table(rows: Sequence[Row], cell: Callable[[Sequence[Row]], str]) -> list[str]:
    """What a cell says of the spectra of each method and range of S/N, as Markdown."""
    bins = list(pairwise(EDGES))
    head = " | ".join(f"S/N {low:g} to {high:g}" for low, high in bins)
    lines = [f"| method | {head} | all |", "|---" * (len(bins) + 2) + "|"]
    for method in dict.fromkeys(r.method for r in rows):
        groups = ([r for r in rows if r.method == method and a <= r.snr < b] for a, b in (*bins, (0.0, np.inf)))
        lines.append(f"| {method} | {' | '.join(cell(some) if some else '-' for some in groups)} |")
    return lines
