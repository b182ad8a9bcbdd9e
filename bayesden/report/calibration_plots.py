"""A calibration card as a figure: for every engine what the four tests found, beside the posteriors that are wrong on purpose.

Each panel shows a distance from what a calibrated posterior would have, in points: of the cumulative ranks of every scalar
(SBC), of the share of pixels within central intervals (coverage), of the expected coverage of the flux as a vector (TARP), and
of the cumulative transforms of left-out exposures (PIT). The shade holds 99 % of single calibrated curves, of as many
independent stars.
"""

from collections.abc import Mapping

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from scipy.stats import norm

from .style import ShownFigure

__all__ = ["plot_calibration"]

FOUND, WRONG, EACH, SHADE, TEXT = "#0072B2", "#D55E00", "#8C8C8C", "#E4ECF2", "#222222"
STYLES = {
    "posterior": {"color": FOUND, "lw": 1.8, "zorder": 4},
    "overconfident": {"color": WRONG, "lw": 1.1, "ls": "--", "zorder": 3},
    "biased": {"color": WRONG, "lw": 1.1, "ls": ":", "zorder": 3},
}
TITLES = {
    "sbc": "ranks of each parameter (SBC)",
    "coverage": "central intervals of the flux",
    "tarp": "flux as a vector (TARP)",
    "pit": "left-out exposures (PIT)",
}
LIMIT = 22  # points


def plot_calibration(card: Mapping) -> Figure:
    """Draw a card.

    Arguments:
        card: As `evaluate.certificate.certificate` makes it.

    Returns:
        A figure that belongs to no window; `save_figure` writes it.
    """
    engines = card["engines"]
    figure = ShownFigure(figsize=(15, 0.9 + 3.5 * len(engines)), dpi=130, facecolor="white", layout="constrained")
    axes = figure.subplots(len(engines), 4, squeeze=False, sharey=True)
    for row, (method, engine) in zip(axes, engines.items(), strict=True):
        for axis, test in zip(row, TITLES, strict=True):
            _frame(axis, card["simulations"], test, engine["passed"][test])
        _draw_ranks(row[0], engine["sbc"])
        _draw_curves(row[1], engine["coverage"]["levels"], engine["coverage"]["within"])
        for name in engine["tarp"]["p_bias"]:
            curves = {version: by_name[name] for version, by_name in engine["tarp"]["coverage"].items()}
            _draw_curves(row[2], engine["tarp"]["levels"], curves)
        _draw_curves(row[3], engine["coverage"]["levels"], engine["pit"]["curve"])
        row[0].set_ylabel(f"{method}\npoints above calibrated")
    axes[0, 1].legend(frameon=False, fontsize="small", loc="lower left")
    for axis in axes[-1]:
        axis.set_xlabel("level")
    figure.suptitle(_title(card), color=TEXT)
    return figure


def _title(card: Mapping) -> str:
    snr = ", ".join(f"{value:g}" for value in card["snr"])
    what = f"{card['simulations']} stars drawn from the model {card.get('model', '')}".rstrip()
    return f"{what}: S/N {snr}, {card['exposures']} exposure{'s' * (card['exposures'] > 1)}, seed {card['seed']}"


def _frame(axis: Axes, stars: int, test: str, passed: bool) -> None:
    """Title, and what chance does to a calibrated curve."""
    level = np.linspace(0, 1, 101)
    width = 100 * norm.isf(0.005) * np.sqrt(level * (1 - level) / stars)
    axis.fill_between(level, -width, width, color=SHADE, lw=0, zorder=1)
    axis.axhline(0, color=TEXT, lw=0.7, zorder=2)
    axis.set(xlim=(0, 1), ylim=(-LIMIT, LIMIT))
    axis.set_title(
        f"{TITLES[test]}: {'passed' if passed else 'failed'}", fontsize="medium", color=TEXT if passed else WRONG
    )


def _draw_ranks(axis: Axes, sbc: Mapping) -> None:
    """Cumulative histograms, the worst one in colour."""
    for name, counts in sbc["histogram"].items():
        total = np.concatenate([[0.0], np.cumsum(counts)]) / max(sum(counts), 1)
        level = np.linspace(0, 1, len(total))
        worst = name == sbc["worst"]
        style = (
            STYLES["posterior"] | {"label": name} if worst else {"color": EACH, "lw": 0.5, "alpha": 0.6, "zorder": 3}
        )
        axis.plot(level, 100 * (total - level), **style)
    axis.legend(frameon=False, fontsize="small", loc="lower left", title="furthest", title_fontsize="small")


def _draw_curves(axis: Axes, levels: list[float], curves: Mapping[str, list[float]]) -> None:
    level = np.asarray(levels)
    for version, share in curves.items():
        axis.plot(level, 100 * (np.asarray(share) - level), label=version, **STYLES[version])
