"""Words in the figure of a spectrum: its title, the names of lines, and the lines that the model lacks."""

import textwrap
from collections.abc import Sequence
from itertools import pairwise

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.font_manager import FontProperties, findfont, get_font

from ..infer.line_table import LIGHT_KMS, STELLAR
from ..posterior import FLAGS, Feature, Posterior
from .style import FAINT, PATCH, SMALL, SOFT, TEXT, TEXT_SIZE, WARNING, WARNING_TEXT
from .view import View

__all__ = ["draw_features", "draw_lines", "draw_title"]

# Rest wavelengths in vacuum, Å; the members of a group share one label.
STELLAR_LINES = {
    "Hα": (6564.61,),
    "Ca II triplet": (8500.36, 8544.44, 8664.52),
    "Na D": (5891.58, 5897.56),
    "Hβ": (4862.68,),
    "Mg b": (5168.76, 5174.13, 5185.05),
    "Hδ": (4102.89,),
    "Hγ": (4341.68,),
    "Ca II K, H": (3934.78, 3969.59),
}
NAMES = {line: name for name, line in STELLAR.items()}  # of the members, where there is room for each
SKY_LINES = {"sky": (5578.89,)}  # [O I], the line that most often leaves a residual

LETTER = 0.057  # width of a small letter, inches
ROWS = 3  # of labels of lines that the model lacks
ROOM = {"column": 58, "page": 112}  # small letters in a line


class _Row:
    """Labels side by side that do not meet."""

    def __init__(self) -> None:
        self.taken: list[tuple[float, float]] = []

    def has_room(self, start: float, end: float) -> bool:
        """Whether a label fits between two places, which are then taken."""
        free = all(end < first or start > last for first, last in self.taken)
        if free:
            self.taken.append((start, end))
        return free


def draw_lines(ax: Axes, view: View, width: float, *, labels: bool, velocity_kms: float = 0.0) -> None:
    """Upright lines where the star has its main lines, and above the axes their names as far as they do not meet.

    Arguments:
        ax: The panel.
        view: What it shows.
        width: Of the panel, inches.
        labels: Whether to write the names.
        velocity_kms: Of the star; lines of the night sky stay where they are.
    """
    first, last = view.wavelength[[0, -1]]
    row = _Row()
    for group, style, shift in ((STELLAR_LINES, "-", 1 + velocity_kms / LIGHT_KMS), (SKY_LINES, ":", 1.0)):
        for name, members in group.items():
            inside = {line * shift: line for line in members if first <= line * shift <= last}
            for line in inside:
                ax.axvline(line, color=SOFT, lw=0.5, ls=style, zorder=0)
            if not (labels and inside):
                continue
            each = [(NAMES.get(rest, name), at) for at, rest in inside.items()]
            for word, at in _fitting(each, (name, np.mean(list(inside))), (last - first) / width):
                middle, half = (at - first) / (last - first), _half(word) / width
                if row.has_room(middle - half, middle + half):
                    ax.text(middle, 1.01, word, transform=ax.transAxes, ha="center", va="bottom", fontsize=SMALL,
                            color=TEXT if style == "-" else FAINT)  # fmt: skip


def _half(word: str) -> float:
    """Half the width of a label, with the room beside it, inches."""
    return 0.5 * (len(word) + 1.5) * LETTER


def _fitting(each: list[tuple[str, float]], together: tuple[str, float], scale: float) -> list[tuple[str, float]]:
    """Labels of the members of a group, or the one that they share if theirs would meet; `scale` in Å an inch."""
    each = sorted(each, key=lambda label: label[1])
    meet = any(b - a < (_half(one) + _half(two)) * scale for (one, a), (two, b) in pairwise(each))
    return [together] if meet or len(each) == 1 else each


def draw_features(ax: Axes, features: Sequence[Feature], view: View, width: float) -> None:
    """A tick for each line that the model lacks, and a label for as many as there is room for, the most significant first.

    Those of the Earth are grey.
    """
    first, last = view.wavelength[[0, -1]]
    rows = [_Row() for _ in range(ROWS)]
    for feature in sorted(features, key=lambda f: -f.significance):
        at = (feature.wavelength_A - first) / (last - first)
        if not 0 <= at <= 1:
            continue
        words = f"{feature.wavelength_A:.0f} {feature.near or feature.kind}, {feature.significance:.1f} σ"
        half = 0.5 * len(words) * LETTER / width
        middle = float(np.clip(at, half + 0.004, max(half + 0.004, 0.996 - half)))
        row = next((i for i in range(ROWS) if rows[i].has_room(middle - half, middle + half)), None)
        colour, top = (FAINT if feature.terrestrial else WARNING_TEXT), 0.97 - 0.15 * (row or 0)
        end = 0.62 if row is None else top - 0.13
        style = {"transform": ax.get_xaxis_transform(), "color": colour, "lw": 1.1}
        ax.plot([feature.wavelength_A] * 2, [0.5, end], **style)
        if row is not None:
            ax.text(middle, top, words, transform=ax.transAxes, ha="center", va="top", fontsize=SMALL - 0.5,
                    color=colour, bbox=PATCH | {"pad": 0.3}, zorder=7, parse_math=False)  # fmt: skip


def _drawable(text: str) -> str:
    """A text with a question mark for each letter that the font lacks; a file's name may hold anything."""
    font = get_font(findfont(FontProperties()))
    return "".join(c if c.isprintable() and font.get_char_index(ord(c)) else "?" for c in text)


def facts(posterior: Posterior, view: View) -> list[str]:
    """What was found, in a few words each."""
    found = []
    if posterior.class_prob:
        (best, probability), *others = sorted(posterior.class_prob.items(), key=lambda item: -item[1])
        others = ", ".join(f"{name} {value:.2f}" for name, value in others[:2] if value >= 0.005)
        found.append(f"class {best}, probability {probability:.2f}" + (f" ({others})" if others else ""))
    if view.n_exposures:
        here = " here" if view.wavelength.size < posterior.wavelength.size else ""
        found += [f"S/N {view.snr:.1f} per pixel{here}", f"{view.n_exposures} exposure{'s' * (view.n_exposures > 1)}"]
    if "velocity_kms" in posterior.meta:
        velocity, sigma = (posterior.meta[key] for key in ("velocity_kms", "velocity_sigma_kms"))
        found.append(f"{velocity:+.0f} ± {sigma:.0f} km/s".replace("-", "−"))
    if posterior.method:
        found.append(f"method {posterior.method}")
    return found


def draw_title(fig: Figure, posterior: Posterior, view: View, *, narrow: bool) -> float:
    """Name, facts and flags above the panels.

    Returns:
        The height that they take, inches.
    """
    height, room = fig.get_figheight(), ROOM["column" if narrow else "page"]
    name = posterior.name if len(posterior.name) <= 46 else f"{posterior.name[:22]} … {posterior.name[-20:]}"
    lines = textwrap.wrap("  ·  ".join(fact.replace(" ", "\0") for fact in facts(posterior, view)), room)
    lines = [line.strip(" ·").replace("\0", " ") for line in lines]
    flags = [flag.replace("_", " ").lower() for flag in FLAGS if flag in posterior.flags]
    flagged = textwrap.wrap(f"flagged: {', '.join(flags)}" if flags else "no flags", 40 if narrow else 60)
    left, top, step = 0.012, 0.1, 0.125  # the last two in inches
    at = {"transform": fig.transFigure, "parse_math": False, "in_layout": False}
    fig.text(left, 1 - top / height, _drawable(name), fontsize=TEXT_SIZE + 1.5, fontweight="bold", va="center",
             color=TEXT, **at)  # fmt: skip
    for number, line in enumerate(lines, 1):
        fig.text(left, 1 - (top + 0.03 + number * step) / height, line, fontsize=SMALL, va="center", color=TEXT, **at)
    style = {"color": FAINT} if not flags else {
        "color": WARNING_TEXT, "fontweight": "bold",
        "bbox": {"boxstyle": "round,pad=0.3", "facecolor": "#FDEDE2", "edgecolor": WARNING, "lw": 0.8},
    }  # fmt: skip
    if narrow:  # below the facts, where the name leaves no room
        down = top + 0.075 + (len(lines) + 0.5) * step
        fig.text(left + 0.012 * bool(flags), 1 - down / height, "\n".join(flagged), ha="left", va="top",
                 fontsize=SMALL, **at, **style)  # fmt: skip
        return down + 0.02 + step * len(flagged) + 0.04 * bool(flags)
    fig.text(0.988, 1 - 0.06 / height, "\n".join(flagged), ha="right", va="top", fontsize=SMALL, **at, **style)
    return max(top + 0.12 + step * len(lines), 0.16 + step * len(flagged))
