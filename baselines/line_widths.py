"""Equivalent widths of lines in denoised spectra: their bias, scatter, and how often the truth is within the error bar.

A denoiser that draws every line as its training set has it is right on average and wrong for the star at hand; what mean errors
of the flux hardly show, the width of a line does. Error bars come from draws of the posterior flux, covariance included where
a method has it; methods without error bars have none here. Where stars move, the windows move with them.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from bayesden.measurement import equivalent_width
from bayesden.posterior import Posterior

from .bootstrap import bootstrap, mean, median, scatter
from .tidy import write_rows

__all__ = ["PFS_LINES", "SDSS_LINES", "Width", "measure_widths", "width_table", "write_widths"]

Window = tuple[float, float]
Lines = Mapping[str, tuple[Window, tuple[Window, Window]]]  # the line, and the continuum at its sides; vacuum Å
SDSS_LINES: Lines = {
    "H delta": ((4083.0, 4123.0), ((4045.0, 4070.0), (4136.0, 4161.0))),
    "H beta": ((4842.0, 4884.0), ((4800.0, 4830.0), (4895.0, 4925.0))),
    "Mg b": ((5161.0, 5195.0), ((5119.0, 5144.0), (5205.0, 5235.0))),
    "Na D": ((5880.0, 5910.0), ((5845.0, 5870.0), (5920.0, 5945.0))),
    "H alpha": ((6544.0, 6586.0), ((6500.0, 6530.0), (6600.0, 6630.0))),
    "Ca II 8544": ((8526.0, 8563.0), ((8475.0, 8490.0), (8565.0, 8580.0))),
}
PFS_LINES: Lines = {
    "Na I 8191": ((8180.0, 8203.0), ((8150.0, 8175.0), (8207.0, 8230.0))),
    "Ca II 8500": ((8490.0, 8511.0), ((8470.0, 8486.0), (8572.0, 8580.0))),
    "Ca II 8544": ((8531.0, 8558.0), ((8470.0, 8486.0), (8572.0, 8580.0))),
    "Ca II 8664": ((8652.0, 8678.0), ((8620.0, 8646.0), (8700.0, 8725.0))),
    "Mg I 8809": ((8803.0, 8815.0), ((8780.0, 8798.0), (8818.0, 8828.0))),
}
DRAWS = 64
INSIDE = 0.9945  # standard deviations: half the central interval of 68 % of a normal


@dataclass(frozen=True)
class Width:
    """The equivalent width of one line of one star by one method, Å; `sigma` is NaN without error bars."""

    method: str
    snr: float
    line: str
    star: str
    truth: float
    found: float
    sigma: float


def measure_widths(
    method: str,
    posteriors: Sequence[Posterior],
    truth: NDArray,
    lines: Lines,
    *,
    snr: Sequence[float],
    star: Sequence[str],
    redshift: Sequence[float] | None = None,
) -> list[Width]:
    """The widths of lines in N posteriors and in the noiseless spectra (N, D).

    Arguments:
        method: Its name.
        posteriors: N of them.
        truth: Noiseless spectra, shape (N, D).
        lines: Windows at rest; a line with a window of fewer than two pixels is left out.
        snr: N signal-to-noise ratios, to note.
        star: N names: what belongs together.
        redshift: N Doppler shifts of the windows; 0 by default.
    """
    rows, lines = [], _resolved(posteriors[0].wavelength, lines)
    shifts = np.zeros(len(posteriors)) if redshift is None else redshift
    for post, clean, ratio, name, shift in zip(posteriors, truth, snr, star, shifts, strict=True):
        functions = [_moved(post.wavelength, *windows, 1 + shift) for windows in lines.values()]

        def measure(flux: NDArray, functions: list = functions) -> list[float]:
            return [function(flux) for function in functions]

        sigma = np.full(len(lines), np.nan)
        if np.isfinite(post.sigma).all():
            sigma = post.measure(measure, count=DRAWS).sigma
        columns = zip(lines, measure(clean), measure(post.flux), sigma.tolist(), strict=True)
        rows += [Width(method, ratio, line, name, *numbers) for line, *numbers in columns]
    return rows


def _resolved(wavelength: NDArray, lines: Lines) -> Lines:
    def pixels(window: Window) -> int:
        return int(((wavelength >= window[0]) & (wavelength <= window[1])).sum())

    return {name: (line, beside) for name, (line, beside) in lines.items() if min(map(pixels, (line, *beside))) > 1}


def _moved(wavelength: NDArray, line: Window, beside: tuple[Window, ...], factor: float) -> object:
    inside, *sides = (tuple(factor * end for end in window) for window in (line, *beside))
    return equivalent_width(wavelength, inside, tuple(sides))


def _cell(rows: Sequence[Width]) -> str:
    error = np.array([r.found - r.truth for r in rows])
    sigma, star, once = np.array([r.sigma for r in rows]), [r.star for r in rows], np.ones((1, len(rows)))
    low, high = bootstrap(error, star, median)
    cell = f"{median(error, once)[0]:+.2f} [{low:+.2f}, {high:+.2f}] ± {scatter(error, once)[0]:.2f}"
    if not np.isfinite(sigma).all():
        return cell
    inside = (np.abs(error) < INSIDE * sigma).astype(float)
    low, high = bootstrap(inside, star, mean)
    return f"{cell}; {100 * inside.mean():.0f} % [{100 * low:.0f}, {100 * high:.0f}]"


def width_table(rows: Sequence[Width]) -> list[str]:
    """Markdown: median error [95 %] ± robust scatter in Å; percent of truths within the interval of 68 % [95 %]."""
    lines = list(dict.fromkeys(r.line for r in rows))
    table = [f"| method | {' | '.join(lines)} |", "|---" * (len(lines) + 1) + "|"]
    for method in dict.fromkeys(r.method for r in rows):
        cells = (_cell([r for r in rows if (r.method, r.line) == (method, line)]) for line in lines)
        table.append(f"| {method} | {' | '.join(cells)} |")
    return table


def write_widths(rows: Sequence[Width], out: Path) -> None:
    """Write ``widths.csv``, a row for each width, and ``widths.md``."""
    write_rows(Width, rows, out / "widths.csv")
    (out / "widths.md").write_text("\n".join(width_table(rows)) + "\n")
