"""Tables of test bed B1: medians, coverage, wins with bootstrap intervals, and cost."""

import csv
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from bayesden.evaluate.testbed import GAPS

from .conditions import Condition, Row
from .methods import Method

__all__ = ["bootstrap", "cost_table", "score", "summary", "win_table", "write_rows", "write_tables"]

DRAWS = 1000
LEVELS = (2.5, 97.5)  # percent: of the intervals


def bootstrap(
    values: NDArray, group: Sequence[str], statistic: Literal["mean", "median"], *, seed: int = 0
) -> tuple[float, float]:
    """Interval of 95 % of a mean or median when whole groups are drawn anew, with replacement.

    Arguments:
        values: Shape (N,).
        group: What belongs together, such as the spectra of one star, N of them.
        statistic: Of the values.
        seed: Seed of the draws.
    """
    _, member = np.unique(np.asarray(group), return_inverse=True)
    groups = member.max() + 1
    times = np.random.default_rng(seed).multinomial(groups, np.full(groups, 1 / groups), size=DRAWS)
    order = np.argsort(values)
    values, weight = values[order], times[:, member[order]]
    if statistic == "mean":
        found = weight @ values / weight.sum(1)
    else:
        total = weight.cumsum(1)
        found = values[(2 * total >= total[:, -1:]).argmax(1)]
    low, high = np.percentile(found, LEVELS)
    return float(low), float(high)


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
                interval = bootstrap(losses, stars, "median")
                table.append([str(condition), method, name, len(some), float(np.median(losses)), *interval])
    return table


def win_table(rows: Sequence[Row], champion: str, classes: Sequence[str]) -> list[str]:
    """Percent of spectra for which one method has the lower loss, against each other one, as Markdown.

    The column `all` has the interval of a bootstrap over stars. A line `all` of conditions sums up what an opponent was
    run under.
    """
    lines = [f"| against | condition | all | {' | '.join(classes)} |", "|---" * (len(classes) + 3) + "|"]
    ours = {(r.condition, r.name): r.loss for r in rows if r.method == champion}
    for opponent in dict.fromkeys(r.method for r in rows if r.method != champion):
        theirs = [r for r in rows if r.method == opponent]
        conditions = _by_condition(theirs)
        for condition in (*conditions, None):
            some = theirs if condition is None else conditions[condition]
            won = np.array([float(ours[r.condition, r.name] < r.loss) for r in some])
            low, high = bootstrap(won, [r.star for r in some], "mean")
            cells = [won[np.array([r.spectral_class == c for r in some])].mean() for c in classes]
            words = " | ".join(f"{100 * x:.0f}" for x in cells)
            name = "all" if condition is None else str(condition)
            lines.append(
                f"| {opponent} | {name} | {100 * won.mean():.0f} [{100 * low:.0f}, {100 * high:.0f}] | {words} |"
            )
    return lines


def cost_table(rows: Sequence[Row], methods: Mapping[str, Method]) -> list[str]:
    """Cost as Markdown: numbers that a method holds and their memory in single precision, training, spectra per second."""
    lines = ["| method | numbers | MB | training, s | spectra/s | remark |", "|---|---|---|---|---|---|"]
    for name, method in methods.items():
        seconds = np.median([r.seconds for r in rows if r.method == name])
        training = "-" if np.isnan(method.training_s) else f"{method.training_s:.0f}"
        size = f"{method.numbers:,} | {4e-6 * method.numbers:.3g}"
        lines.append(f"| {name} | {size} | {training} | {1 / seconds:.3g} | {method.remark} |")
    return lines


def _plot_gaps(rows: Sequence[Row], path: Path) -> None:
    from matplotlib.figure import Figure

    whole = {(r.snr, r.exposures) for r in rows if r.width}  # the same without a gap is the curves' first point
    rows = [r for r in rows if (r.snr, r.exposures) in whole]
    figure = Figure(figsize=(11, 3.8), layout="constrained")
    axes = figure.subplots(1, len(GAPS), sharey=True)
    for axis, gap in zip(axes, GAPS, strict=True):
        for method in dict.fromkeys(r.method for r in rows if r.method != "coadd"):
            mine = [r for r in rows if r.method == method and (r.gap == gap or not r.width)]
            if not mine:
                continue
            widths = sorted({r.width for r in mine})
            quartiles = np.array([np.percentile([r.loss for r in mine if r.width == w], [25, 50, 75]) for w in widths])
            (line,) = axis.semilogy(widths, quartiles[:, 1], marker="o", label=method)
            axis.fill_between(widths, quartiles[:, 0], quartiles[:, 2], color=line.get_color(), alpha=0.15, lw=0)
        axis.axhline(1e-3, color="0.5", lw=0.8, ls="--")
        axis.set(title=f"missing: {gap} end" if gap != "middle" else "missing: middle", xlabel="missing pixels of 2048")
    axes[0].set_ylabel("reconstruction loss (median, quartiles)")
    max(axes, key=lambda axis: len(axis.lines)).legend(frameon=False, fontsize="small")
    figure.savefig(path, dpi=150)


def write_rows(rows: Sequence[Row], path: Path) -> None:
    """The tidy table as CSV: a row for each method, condition and spectrum."""
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(Row.__dataclass_fields__)
        writer.writerows(vars(row).values() for row in rows)


def write_tables(
    rows: Sequence[Row], classes: Sequence[str], out: Path, methods: Mapping[str, Method], champion: str | None = None
) -> None:
    """Write ``summary.csv``, ``b1.md``, ``coverage.md``, ``cost.md``; ``wins.md`` if there is a champion; ``gaps.png``."""
    with (out / "summary.csv").open("w", newline="") as file:
        csv.writer(file).writerows(summary(rows))
    tables = {"b1": _table(rows, classes, _loss), "coverage": _table(rows, classes, _coverage)}
    tables["cost"] = cost_table(rows, methods)
    if champion is not None:
        tables["wins"] = win_table(rows, champion, classes)
    for name, lines in tables.items():
        (out / f"{name}.md").write_text("\n".join(lines) + "\n")
    if any(row.width for row in rows):
        _plot_gaps(rows, out / "gaps.png")
