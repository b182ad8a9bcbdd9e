"""Tables of the null test: errors of stellar labels by way, input and S/N, and against the fit of the noisy spectrum."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from .bootstrap import Statistic, interval, median, resample, scatter
from .label_fit import LABELS

__all__ = ["EDGES", "NOISY", "Row", "error_tables", "errors_of", "ratio_table", "ways"]

EDGES = (0.0, 5.0, 10.0, 20.0, 120.0)  # of S/N
NOISY = "noisy"
DIGITS = dict(zip(LABELS, (0, 2, 2, 1), strict=True))


@dataclass(frozen=True)
class Row:
    """The errors, found minus true, of one star's labels by one way from one input."""

    way: str
    source: str
    star: int
    snr: float
    teff_K: float
    logg: float
    feh: float
    velocity_kms: float


def ways(rows: Sequence[Row]) -> list[tuple[str, str]]:
    """Every pair of way and input, in order."""
    return list(dict.fromkeys((r.way, r.source) for r in rows))


def errors_of(
    rows: Sequence[Row], way: tuple[str, str], label: str, ends: tuple[float, float] = (0.0, np.inf)
) -> NDArray:
    """Errors of one label by one way within limits of S/N, by star."""
    return np.array([getattr(r, label) for r in rows if (r.way, r.source) == way and ends[0] <= r.snr < ends[1]])


def _cell(values: NDArray, statistic: Statistic, digits: int) -> str:
    """A statistic with its interval of 95 %, and the median."""
    if not len(values):
        return "-"
    whole = np.ones((1, len(values)))
    low, high = interval(statistic(values, resample(len(values))))
    found, bias = statistic(values, whole)[0], median(values, whole)[0]
    return f"{found:.{digits}f} [{low:.{digits}f}, {high:.{digits}f}], {bias:+.{digits}f}"


def error_tables(rows: Sequence[Row], statistic: Statistic) -> list[str]:
    """For each label a Markdown table by way, input and S/N: the statistic with its interval of 95 %, and the median."""
    bins, lines = list(pairwise(EDGES)), []
    for label in LABELS:
        heads = " | ".join(f"S/N {a:g} to {b:g}" for a, b in bins)
        lines += [f"| {label}: way | from | {heads} |", "|---" * (len(bins) + 2) + "|"]
        for way in ways(rows):
            cells = (_cell(errors_of(rows, way, label, ends), statistic, DIGITS[label]) for ends in bins)
            lines.append(f"| {' | '.join(way)} | {' | '.join(cells)} |")
        lines.append("")
    return lines[:-1]


def ratio_table(rows: Sequence[Row], ends: tuple[float, float] = (0.0, np.inf)) -> list[str]:
    """Markdown: each way's scatter over that of the fit to the noisy spectra of the same stars, with its interval of 95 %."""
    lines = [f"| way | from | {' | '.join(LABELS)} |", "|---" * (len(LABELS) + 2) + "|"]
    for way in ways(rows):
        cells = []
        for label in LABELS:
            mine, plain = (errors_of(rows, each, label, ends) for each in (way, ("fit", NOISY)))
            drawn = np.vstack([np.ones(len(plain), int), resample(len(plain))])
            ratio = scatter(mine, drawn) / scatter(plain, drawn)
            cells.append("{:.2f} [{:.2f}, {:.2f}]".format(ratio[0], *interval(ratio[1:])))
        lines.append(f"| {' | '.join(way)} | {' | '.join(cells)} |")
    return lines
