"""Tables of test bed B1: medians, coverage, wins with bootstrap intervals, and cost."""

import csv
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np

from .bootstrap import bootstrap, mean, median
from .conditions import Condition, Row
from .methods import Method

__all__ = ["cost_table", "score", "summary", "win_table", "wins", "write_tables"]


def score(rows: Sequence[Row]) -> dict[str, float]:
    """Each method's mean over conditions and classes of the decimal logarithm of its median loss; lower is better."""
    cells: dict[str, dict[tuple, list[float]]] = {}
    for r in rows:
        cells.setdefault(r.method, {}).setdefault((r.condition, r.spectral_class), []).append(r.loss)
    return {
        method: float(np.mean([np.log10(np.median(losses)) for losses in table.values()]))
        for method, table in cells.items()
    }


def _loss(rows: Sequence[Row]) -> str:
    return f"{np.median([r.loss for r in rows]):.1e}"


def _coverage(rows: Sequence[Row]) -> str:
    """Percent of all pixels within the intervals of 50 and 90 %."""
    shares = 100 * np.array([(r.within_50, r.within_90) for r in rows]).mean(0)
    return "/".join("-" if np.isnan(x) else f"{x:.0f}" for x in shares)


def _by_condition(rows: Sequence[Row]) -> dict[Condition, list[Row]]:
    table: dict[Condition, list[Row]] = {}
    for row in rows:
        table.setdefault(row.condition, []).append(row)
    return table


def _table(rows: Sequence[Row], classes: Sequence[str], cell: Callable[[Sequence[Row]], str]) -> list[str]:
    """Lines of a Markdown table: a row for each condition and method, a column for each class."""
    lines = [f"| condition | method | all | {' | '.join(classes)} |", "|---" * (len(classes) + 3) + "|"]
    for condition, here in _by_condition(rows).items():
        for method in dict.fromkeys(r.method for r in here):
            mine = [r for r in here if r.method == method]
            cells = [cell(mine), *(cell([r for r in mine if r.spectral_class == c]) for c in classes)]
            lines.append(f"| {condition} | {method} | {' | '.join(cells)} |")
    return lines


def summary(rows: Sequence[Row]) -> list[list[object]]:
    """Median loss with its interval for each condition, method and class, `all` among them; a header first."""
    table: list[list[object]] = [["condition", "method", "class", "spectra", "median_loss", "low", "high"]]
    for condition, here in _by_condition(rows).items():
        for method in dict.fromkeys(r.method for r in here):
            mine = [r for r in here if r.method == method]
            for name in ("all", *dict.fromkeys(r.spectral_class for r in mine)):
                some = [r for r in mine if name in ("all", r.spectral_class)]
                losses, stars = np.array([r.loss for r in some]), [r.star for r in some]
                interval = bootstrap(losses, stars, median)
                table.append([str(condition), method, name, len(some), float(np.median(losses)), *interval])
    return table


def wins(rows: Sequence[Row], champion: str) -> list[list[object]]:
    """The share of spectra for which one method has the lower loss, against each other one; a header first.

    For each condition and class, `all` among both, with the interval of 95 % of a bootstrap over stars.
    """
    table: list[list[object]] = [["against", "condition", "class", "spectra", "share", "low", "high"]]
    ours = {(r.condition, r.name): r.loss for r in rows if r.method == champion}
    for opponent in dict.fromkeys(r.method for r in rows if r.method != champion):
        theirs = [r for r in rows if r.method == opponent]
        for condition, some in {**_by_condition(theirs), "all": theirs}.items():
            for name in ("all", *dict.fromkeys(r.spectral_class for r in some)):
                mine = [r for r in some if name in ("all", r.spectral_class)]
                won = np.array([float(ours[r.condition, r.name] < r.loss) for r in mine])
                interval = bootstrap(won, [r.star for r in mine], mean)
                table.append([opponent, str(condition), name, len(mine), won.mean(), *interval])
    return table


def win_table(found: Sequence[Sequence[object]]) -> list[str]:
    """What `wins` found, in percent, as Markdown: a line for each opponent and condition; one interval, that of `all`."""
    cells: dict[tuple[object, object], dict[object, str]] = {}
    for opponent, condition, name, _, *numbers in found[1:]:
        share, low, high = (100 * x for x in numbers)
        words = f"{share:.0f} [{low:.0f}, {high:.0f}]" if name == "all" else f"{share:.0f}"
        cells.setdefault((opponent, condition), {})[name] = words
    names = list(dict.fromkeys(name for line in cells.values() for name in line))
    lines = [f"| against | condition | {' | '.join(names)} |", "|---" * (len(names) + 2) + "|"]
    for key, line in cells.items():
        lines.append(f"| {' | '.join([*key, *(line.get(name, '-') for name in names)])} |")
    return lines


def cost_table(rows: Sequence[Row], methods: Mapping[str, Method]) -> list[str]:
    """Cost as Markdown: numbers held and their memory in single precision, processor seconds of training, spectra a second."""
    lines = ["| method | numbers | MB | training, CPU s | spectra/CPU s | remark |", "|---|---|---|---|---|---|"]
    for name, method in methods.items():
        seconds = np.median([r.seconds for r in rows if r.method == name])
        training = "-" if np.isnan(method.training_s) else f"{method.training_s:.0f}"
        size = f"{method.numbers:,} | {4e-6 * method.numbers:.3g}"
        lines.append(f"| {name} | {size} | {training} | {1 / seconds:.3g} | {method.remark} |")
    return lines


def write_tables(
    rows: Sequence[Row], classes: Sequence[str], out: Path, methods: Mapping[str, Method], champion: str | None = None
) -> None:
    """Write ``summary.csv``, ``b1.md``, ``coverage.md``, ``cost.md``; ``wins.md`` and ``wins.csv`` if there is a champion."""
    sheets = {"summary": summary(rows)}
    tables = {"b1": _table(rows, classes, _loss), "coverage": _table(rows, classes, _coverage)}
    tables["cost"] = cost_table(rows, methods)
    if champion is not None:
        sheets["wins"] = wins(rows, champion)
        tables["wins"] = win_table(sheets["wins"])
    for name, lines in sheets.items():
        with (out / f"{name}.csv").open("w", newline="") as file:
            csv.writer(file).writerows(lines)
    for name, lines in tables.items():
        (out / f"{name}.md").write_text("\n".join(lines) + "\n")
