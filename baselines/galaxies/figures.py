"""Figures 3 to 8 of Kim, Lee & Rey (2026), for every method."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from ..figures.palette import TRUTH, style_of
from .measures import WINDOWS_A
from .rows import Row
from .tables import LINES, SHOWN, groups

if TYPE_CHECKING:  # drawing is the only thing here that needs it
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["Shown", "write_figures"]

LINE_STYLES = ("-", "--")


@dataclass(frozen=True, eq=False)
class Shown:
    """One galaxy at one S/N: the truth (D,), what was seen, and what each method made of it."""

    snr: float
    wavelength: NDArray
    truth: NDArray
    noisy: NDArray
    denoised: Mapping[str, NDArray]


def _figure(width: float, height: float) -> "Figure":
    from matplotlib.figure import Figure

    return Figure(figsize=(width, height), layout="constrained")


def _colours(names: Sequence[str]) -> dict[str, str]:
    return {name: style["color"] for name, style in style_of(names).items()}


def _spectra(shown: Sequence[Shown], path: Path) -> None:
    """Figure 3: a spectrum at each S/N, and residuals below."""
    figure = _figure(13, 3.2 * len(shown))
    axes = figure.subplots(2 * len(shown), 1, sharex=True, height_ratios=[2, 1] * len(shown))
    for upper, lower, each in zip(axes[::2], axes[1::2], shown, strict=True):
        upper.plot(each.wavelength, each.noisy, color="0.75", lw=0.5, label="seen")
        lower.plot(each.wavelength, each.noisy - each.truth, color="0.75", lw=0.5)
        for name, colour in _colours(list(each.denoised)).items():
            upper.plot(each.wavelength, each.denoised[name], color=colour, lw=0.9, label=name)
            lower.plot(each.wavelength, each.denoised[name] - each.truth, color=colour, lw=0.7)
        upper.plot(each.wavelength, each.truth, color=TRUTH, lw=0.7, label="truth")
        left = np.array([flux - each.truth for flux in each.denoised.values()])
        low, high = each.truth.min(), each.truth.max()
        upper.set(ylim=(low - 0.3 * (high - low), high + 0.4 * (high - low)), ylabel=f"S/N {each.snr:g}")
        lower.set(ylim=np.array([-6, 6]) * left.std(), ylabel="minus truth")
    axes[-1].set(xlabel="vacuum wavelength, Å", xlim=shown[0].wavelength[[0, -1]])
    axes[0].legend(loc="upper left", ncols=6, frameon=False)
    figure.savefig(path, dpi=100)


def _windows(shown: Sequence[Shown], path: Path) -> None:
    """Figure 5: six lines at the two lowest S/N, and residuals below."""
    figure = _figure(16, 5)
    axes = figure.subplots(2, len(WINDOWS_A), sharex="col", squeeze=False, height_ratios=[2, 1])
    for column, (line, (low, high)) in zip(axes.T, WINDOWS_A.items(), strict=True):
        for each, style in zip(shown, LINE_STYLES, strict=False):
            near = (each.wavelength > low - 25) & (each.wavelength < high + 25)
            x, truth = each.wavelength[near], each.truth[near]
            column[0].plot(x, each.noisy[near], style, color="0.8", lw=0.6)
            for name, colour in _colours(list(each.denoised)).items():
                options = {"color": colour, "lw": 1.0, "label": f"{name}, S/N {each.snr:g}"}
                column[0].plot(x, each.denoised[name][near], style, **options)
                column[1].plot(x, each.denoised[name][near] - truth, style, **options)
            column[0].plot(x, truth, color=TRUTH, lw=1.0)
        column[0].set_title(line)
        for axis in column:
            axis.axvspan(low, high, color="0.94", zorder=0)
        column[1].set_xlabel("vacuum wavelength, Å")
    axes[1, 0].set_ylabel("minus truth")
    handles, labels = axes[0, 0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=6, frameon=False)
    figure.savefig(path, dpi=100)


def _boxes(axis: "Axes", columns: Mapping[str, Mapping[str, NDArray]], colours: Mapping[str, str]) -> None:
    """Medians, quartiles, and 5 to 95 %, a group of boxes for each column."""
    width = 0.8 / len(colours)
    for i, table in enumerate(columns.values()):
        for j, (name, colour) in enumerate(colours.items()):
            if name in table:
                place = [i + (j - (len(colours) - 1) / 2) * width]
                style = {"boxprops": {"facecolor": colour}, "medianprops": {"color": TRUTH}, "patch_artist": True}
                axis.boxplot([table[name]], positions=place, widths=0.85 * width, whis=(5, 95), sym="", **style)
    axis.set_xticks(range(len(columns)), list(columns))
    axis.set(ylabel="residual left, % of the noisy rms", ylim=(0, None))
    axis.grid(axis="y", alpha=0.3)


def _residuals(rows: Sequence[Row], path: Path) -> None:
    """Figures 4 and 6: what is left of the residuals, at each S/N and in each line."""
    shown_prior, shown_snr = SHOWN
    known = {
        snr: {name: mine for name, mine in table.items() if name != "noisy" and np.isfinite(mine[0].reduction)}
        for (prior, snr), table in groups(rows).items()
        if prior == shown_prior
    }
    by_snr = {
        f"S/N {snr:g}": {name: 100 - np.array([r.reduction for r in mine]) for name, mine in table.items()}
        for snr, table in sorted(known.items())
    }
    by_line = {
        line: {name: 100 - np.array([getattr(r, key) for r in mine]) for name, mine in known[shown_snr].items()}
        for key, line in LINES.items()
    }
    colours = _colours(list(dict.fromkeys(name for table in known.values() for name in table)))
    figure = _figure(13, 4)
    left, right = figure.subplots(1, 2, width_ratios=[1, 2])
    _boxes(left, by_snr, colours)
    _boxes(right, by_line, colours)
    for name, colour in colours.items():
        left.plot([], [], "s", color=colour, label=name)
    left.legend(frameon=False)
    right.set_title(f"lines at S/N {shown_snr:g}", fontsize="medium")
    figure.savefig(path, dpi=120)


def _recovery(rows: Sequence[Row], path: Path) -> None:
    """Figures 7 and 8: recovered against true log age and [M/H], a column for each method."""
    table = groups(rows).get(SHOWN, {})
    figure = _figure(2.5 * len(table), 5.4)
    axes = figure.subplots(2, len(table), sharex="row", sharey="row", squeeze=False)
    names = {"age": "log age / yr", "metallicity": "[M/H]"}
    for column, (method, mine) in zip(axes.T, table.items(), strict=True):
        for axis, key in zip(column, names, strict=True):
            found, true = (np.array([getattr(r, name) for r in mine]) for name in (key, f"true_{key}"))
            ends = [true.min(), true.max()]
            axis.plot(true, found, ".", ms=3, alpha=0.35, mew=0)
            axis.plot(ends, ends, "k-", lw=0.8)
            axis.set(xlabel=f"true {names[key]}", ylim=(ends[0] - 0.3, ends[1] + 0.3))
            axis.text(
                0.04, 0.95, f"rms {np.sqrt(np.mean((found - true) ** 2)):.2f}", transform=axis.transAxes, va="top"
            )
        column[0].set_title(method, fontsize="medium")
    for axis, name in zip(axes[:, 0], names.values(), strict=True):
        axis.set_ylabel(name)
    figure.savefig(path, dpi=130)


def write_figures(rows: Sequence[Row], shown: Sequence[Shown], out: Path) -> None:
    """Draw ``spectra.png``, ``windows.png``, ``residuals.png`` and ``ages.png``.

    Arguments:
        rows: The tidy table.
        shown: One galaxy at each S/N, the lowest first.
        out: The folder.
    """
    _spectra(shown, out / "spectra.png")
    _windows(shown, out / "windows.png")
    _residuals(rows, out / "residuals.png")
    _recovery(rows, out / "ages.png")
