"""Tables of test bed B4."""

from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ..bootstrap import bootstrap, mean
from .measures import WINDOWS_A
from .rows import Row

__all__ = ["LINES", "SHOWN", "groups", "rms_table", "share_table", "window_table", "write_tables"]

LINES = dict(zip(("ca_h", "h_delta", "fe_4383", "h_beta", "mg_b", "na_d"), WINDOWS_A, strict=True))  # columns of `Row`
SHOWN = ("smooth", 5.0)  # prior and S/N where one condition stands for all
LAST = "bound"  # row of every table


def groups(rows: Iterable[Row]) -> dict[tuple[str, float], dict[str, list[Row]]]:
    """Rows by prior and S/N, then by method, the bound last."""
    found: dict[tuple[str, float], dict[str, list[Row]]] = {}
    for row in sorted(rows, key=lambda r: r.method == LAST):
        found.setdefault((row.prior, row.snr), {}).setdefault(row.method, []).append(row)
    return found


def _with_interval(values: NDArray, rows: Sequence[Row], form: Callable[[float], str]) -> str:
    if np.isnan(values).any():
        return "-"
    low, high = bootstrap(values, [str(r.galaxy) for r in rows], mean)
    return f"{form(values.mean())} [{form(low)}, {form(high)}]"


def rms_table(rows: Sequence[Row]) -> list[str]:
    """Root mean square errors of log age and [M/H] in dex with intervals of 95 %, and mean errors, as Markdown."""
    head = "| galaxies | method | N | log age, rms | [M/H], rms | log age, mean error | [M/H], mean error |"
    lines = [head, "|---" * 7 + "|"]
    for (prior, snr), table in groups(rows).items():
        for method, mine in table.items():
            errors = [np.array([getattr(r, k) - getattr(r, f"true_{k}") for r in mine]) for k in ("age", "metallicity")]
            if np.isnan(errors[0]).any():
                continue
            cells = [_with_interval(e**2, mine, lambda x: f"{np.sqrt(x):.3f}") for e in errors]
            cells += [f"{e.mean():+.3f}" for e in errors]
            lines.append(f"| {prior}, S/N {snr:g} | {method} | {len(mine)} | {' | '.join(cells)} |")
    return lines


def share_table(rows: Sequence[Row]) -> list[str]:
    """By how many percent the residuals fell, with its interval, and the correlation in percent, as Markdown."""
    lines = ["| galaxies | method | N | residuals reduced by, % | Pearson r, % |", "|---" * 5 + "|"]
    for (prior, snr), table in groups(rows).items():
        for method, mine in table.items():
            reduced, r = np.array([(row.reduction, row.pearson) for row in mine]).T
            if np.isnan(reduced).any():
                continue
            cell = _with_interval(reduced, mine, lambda x: f"{x:.2f}")
            lines.append(f"| {prior}, S/N {snr:g} | {method} | {len(mine)} | {cell} | {r.mean():.2f} |")
    return lines


def window_table(rows: Sequence[Row]) -> list[str]:
    """Reduction of the residuals within each line, percent: mean ± standard deviation over galaxies, as Markdown."""
    lines = [f"| method | {' | '.join(LINES.values())} |", "|---" * (len(LINES) + 1) + "|"]
    for method, mine in groups(rows).get(SHOWN, {}).items():
        values = np.array([[getattr(r, key) for key in LINES] for r in mine])
        if np.isnan(values).any():
            continue
        cells = [f"{mean:.1f} ± {sd:.1f}" for mean, sd in zip(values.mean(0), values.std(0), strict=True)]
        lines.append(f"| {method} | {' | '.join(cells)} |")
    return lines


def write_tables(rows: Sequence[Row], out: Path) -> None:
    """Write ``ages.md``, ``residuals.md`` and ``lines.md``."""
    for name, lines in {"ages": rms_table(rows), "residuals": share_table(rows), "lines": window_table(rows)}.items():
        (out / f"{name}.md").write_text("\n".join(lines) + "\n")
