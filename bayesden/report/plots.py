r"""One figure for one posterior: what was measured, what is believed, and where the two disagree.

Top: the exposures and their inverse-variance mean in greys, the denoised flux with its 50 % and 90 % bands, and the
class probabilities. Middle: residuals in units of the noise, exposure by exposure and stacked, with their histogram
beside the standard normal density, and the lines that the model lacks. Bottom: posterior over prior standard
deviation, 1 where the data said nothing.
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.font_manager import FontProperties, findfont, get_font
from matplotlib.ticker import AutoMinorLocator
from numpy.typing import NDArray

from ..errors import OutputError
from ..io.files import replace_file
from ..posterior import FLAGS, Feature, Posterior
from .style import (
    COADD,
    DENOISED,
    EXPOSURE,
    FAINT,
    PATCH,
    SINGLE,
    TEXT,
    WARNING,
    WARNING_TEXT,
    ShownFigure,
    mark_beyond,
    pretty_unit,
    shade_gaps,
)
from .view import View, Zoom

__all__ = ["plot_posterior", "save_figure"]

# Rest wavelengths in vacuum, Å; the members of a group share one label.
STELLAR_LINES = {
    "Ca II K, H": (3934.78, 3969.59),
    "Hδ": (4102.89,),
    "Hγ": (4341.68,),
    "Hβ": (4862.68,),
    "Mg b": (5168.76, 5174.13, 5185.05),
    "Na D": (5891.58, 5897.56),
    "Hα": (6564.61,),
    "Ca II triplet": (8500.36, 8544.44, 8664.52),
}
SKY_LINES = {"sky": (5578.89,)}  # [O I], the line that most often leaves a residual

LETTER = 0.0053  # width of a small letter, as a part of the wavelength axis
Z_LIMIT = 6.0  # residuals beyond are drawn as marks at the edge
FORMATS = {".png": {}, ".pdf": {"CreationDate": None}, ".svg": {"Date": None}}  # undated: same figure, same bytes


def plot_posterior(posterior: Posterior, *, lines: bool = True, zoom: Zoom | None = None) -> Figure:
    """Draw a posterior over its data, with residuals and the share of the prior that is left.

    The flux axis follows the denoised flux and the bulk of the data, so that a cosmic ray does not squash the spectrum;
    pixels beyond it are marked by triangles at the edge. Stretches without data are shaded.

    Arguments:
        posterior: What to draw. Data, bands, residuals and prior fraction are drawn where they are finite.
        lines: Whether to name the main stellar lines (rest wavelengths in vacuum).
        zoom: First and last wavelength to show, in vacuum Å, or the name of one of `view.WINDOWS`; all by default.

    Returns:
        A figure that belongs to no window; `save_figure` writes it.

    Raises:
        InputError: if the zoom holds fewer than two pixels.

    Example:
        >>> from bayesden.report import plot_posterior, save_figure
        >>> save_figure(plot_posterior(post, zoom="CaT"), "triplet.png").name
        'triplet.png'
    """
    view = View.of(posterior, zoom)
    heights = [3.1, *([1.0] * (2 if view.z.shape[0] > 1 else 1)), *([0.5] if _has_any(view.prior_fraction) else [])]
    fig = ShownFigure(figsize=(15, 9.5), dpi=130, facecolor="white")
    grid = fig.add_gridspec(len(heights), 2, height_ratios=heights, width_ratios=[1, 0.14], hspace=0.07, wspace=0.02)
    fig.subplots_adjust(left=0.055, right=0.985, bottom=0.065, top=0.87)
    panels = [fig.add_subplot(grid[0, 0])]
    panels += [fig.add_subplot(grid[row, 0], sharex=panels[0]) for row in range(1, len(heights))]
    _draw_flux(panels[0], view, posterior.flux_unit)
    _draw_classes(fig.add_subplot(grid[0, 1]), posterior)
    several = view.z.shape[0] > 1
    colour, name = (EXPOSURE, "each exposure") if several else (SINGLE, "one exposure")
    _draw_residuals(panels[1], fig.add_subplot(grid[1, 1]), view, view.z, colour, name)
    if several:
        _draw_residuals(
            panels[2], fig.add_subplot(grid[2, 1]), view, view.stacked_z[None], DENOISED, "exposures stacked"
        )
    if _has_any(view.prior_fraction):
        _draw_prior_fraction(panels[-1], view)
    _draw_features(panels[2] if several else panels[1], posterior.features, view)
    for panel in panels:
        _finish(panel, view, last=panel is panels[-1])
        if lines:
            _draw_lines(panel, view, labels=panel is panels[0])
    _draw_title(fig, posterior, view)
    return fig


def save_figure(fig: Figure, path: str | Path) -> Path:
    """Write a figure, whole or not at all, in the format that the name's ending says.

    Arguments:
        fig: The figure.
        path: Where to; ends in .png, .pdf or .svg. An existing file is replaced.

    Returns:
        The path.

    Raises:
        OutputError: if the ending is another, or the place cannot be written.

    Example:
        >>> from bayesden.report import plot_classes, save_figure
        >>> save_figure(plot_classes(post), "classes.svg").name
        'classes.svg'
    """
    path = Path(path)
    suffix = path.suffix.lower()
    if suffix not in FORMATS:
        raise OutputError(f"{path}: expected a name ending in {', '.join(FORMATS)}, got {suffix or 'no ending'}")
    with replace_file(path, overwrite=True) as temporary:
        fig.savefig(temporary, format=suffix[1:], metadata=FORMATS[suffix])
    return path


def _draw_flux(ax: Axes, view: View, unit: str) -> None:
    n, w = view.n_exposures, view.wavelength
    handles = ax.plot(w, view.flux, color=DENOISED, lw=1.5, label="denoised", zorder=4)
    for (name, edges), alpha in zip(view.bands.items(), (0.22, 0.38), strict=False):
        handles.append(ax.fill_between(w, *edges, color=DENOISED, alpha=alpha, lw=0, label=name, zorder=3))
    if n:
        name = f"mean of the {n} exposures" if n > 1 else "one exposure"
        colour = COADD if n > 1 else SINGLE
        ax.plot(w, view.coadd, color=colour, lw=0.7, alpha=0.85, zorder=2)
        handles += ax.plot([], [], color=colour, lw=2, label=name)
    if n > 1:
        style = {"color": EXPOSURE, "lw": 0.5, "rasterized": n > 4, "zorder": 1}
        for row in view.exposures:
            ax.plot(w, row, alpha=max(0.35, n**-0.5), **style)
        handles += ax.plot([], [], color=EXPOSURE, lw=2, label="each exposure")
    low, high = view.flux_limits()
    handles += mark_beyond(ax, w, view.exposures, (low, high))
    handles += shade_gaps(ax, view, words=True)
    ax.set_ylim(low, high)
    if low < 0 < high:
        ax.axhline(0, color=FAINT, lw=0.6, zorder=0)
    ax.set_ylabel(f"flux  [{pretty_unit(unit)}]" if unit else "flux", fontsize=12, color=TEXT)
    place = _emptiest(view, (low, high))
    ax.legend(handles=handles, loc=place, fontsize=10, framealpha=0.9, borderpad=0.5, labelcolor=TEXT).set_zorder(8)


def _emptiest(view: View, limits: tuple[float, float], width: float = 0.22, height: float = 0.42) -> str:
    """The place for a legend of this size (parts of the axes) that hides the fewest pixels."""
    x = (view.wavelength - view.wavelength[0]) / np.ptp(view.wavelength)
    y = (np.stack([view.flux, view.coadd]) - limits[0]) / (limits[1] - limits[0])
    down = {"upper": y > 1 - height, "lower": y < height}
    across = {"right": x > 1 - width, "center": np.abs(x - 0.5) < width / 2, "left": x < width}
    hidden = {f"{v} {h}": int((down[v] & across[h]).sum()) for v in down for h in across}
    return min(hidden, key=hidden.__getitem__)


def _has_any(values: NDArray) -> bool:
    return bool(np.isfinite(values).any())


def _draw_residuals(ax: Axes, side: Axes, view: View, rows: NDArray, colour: str, name: str) -> None:
    """Residuals against wavelength, and beside them their histogram with the density that they have if all is right."""
    for level, style in ((0, "-"), (1, "--"), (-1, "--"), (3, ":"), (-3, ":")):
        ax.axhline(level, color=TEXT, lw=0.8, ls=style, alpha=0.6, zorder=3)
    size = float(np.clip(3 * np.sqrt(2048 / view.wavelength.size), 3, 7))
    for row in rows:
        shown = np.where(np.abs(row) <= Z_LIMIT, row, np.nan)
        ax.plot(view.wavelength, shown, ls="", marker=".", ms=size, mec="none", color=colour, rasterized=True, zorder=1)
    mark_beyond(ax, view.wavelength, rows, (-Z_LIMIT, Z_LIMIT))
    shade_gaps(ax, view)
    ax.set_ylim(-Z_LIMIT, Z_LIMIT)
    ax.set_yticks([-3, -1, 1, 3], ["−3", "−1", "1", "3"])
    ax.set_ylabel(f"residual / noise\n{name}", fontsize=10, color=TEXT)
    _draw_histogram(side, rows[np.isfinite(rows)], colour)


def _draw_features(ax: Axes, features: Sequence[Feature], view: View) -> None:
    """A tick and a label for each line that the model lacks; grey where it is of the Earth."""
    first, last = view.wavelength[[0, -1]]
    ends = [-1.0] * 3  # of the labels in each row, as parts of the axis
    for feature in sorted(features, key=lambda f: f.wavelength_A):
        at = (feature.wavelength_A - first) / (last - first)
        if not 0 <= at <= 1:
            continue
        words = f"{feature.wavelength_A:.0f} {feature.kind}, {feature.significance:.1f} σ"
        words += f" ({feature.near})" if feature.near else ""
        width = LETTER * len(words)
        start = float(np.clip(at - width / 2, 0.002, max(0.002, 0.998 - width)))
        row = next((i for i, end in enumerate(ends) if start > end), int(np.argmin(ends)))
        ends[row] = start + width
        colour, height = (FAINT if feature.terrestrial else WARNING_TEXT), 0.97 - 0.15 * row
        style = {"transform": ax.get_xaxis_transform(), "color": colour, "lw": 1.6}
        ax.plot([feature.wavelength_A] * 2, [0.5, height - 0.1], **style)
        ax.text(start, height, words, transform=ax.transAxes, ha="left", va="top", fontsize=8.5, color=colour,
                bbox=PATCH | {"pad": 0.6}, zorder=7, parse_math=False)  # fmt: skip


def _draw_histogram(ax: Axes, z: NDArray, colour: str) -> None:
    grid = np.linspace(-Z_LIMIT, Z_LIMIT, 241)
    if z.size:
        edges = np.linspace(-Z_LIMIT, Z_LIMIT, 49)
        ax.hist(np.clip(z, -Z_LIMIT, Z_LIMIT), edges, density=True, orientation="horizontal", color=colour, alpha=0.75)
        scatter = 1.4826 * np.median(np.abs(z - np.median(z)))
        style = {"transform": ax.transAxes, "ha": "right", "fontsize": 9.5, "color": TEXT, "bbox": PATCH}
        ax.text(0.98, 0.96, f"scatter {scatter:.2f}\n|z| > 3: {100 * np.mean(np.abs(z) > 3):.1f} %", va="top", **style)
        if beyond := int((np.abs(z) > Z_LIMIT).sum()):
            ax.text(0.98, 0.08, f"|z| > {Z_LIMIT:.0f}: {beyond} px", va="bottom", **style | {"color": WARNING_TEXT})
    ax.plot(np.exp(-(grid**2) / 2) / np.sqrt(2 * np.pi), grid, color=TEXT, lw=1.1)
    ax.set_xlim(0, None)
    ax.set_ylim(-Z_LIMIT, Z_LIMIT)
    _strip(ax)


def _strip(ax: Axes) -> None:
    """Leave only the left line of a side panel."""
    ax.tick_params(left=False, labelleft=False, bottom=False, labelbottom=False)
    ax.spines[["top", "right", "bottom"]].set_visible(False)


def _draw_prior_fraction(ax: Axes, view: View) -> None:
    ax.fill_between(view.wavelength, 0, view.prior_fraction, color=DENOISED, alpha=0.3, lw=0)
    ax.plot(view.wavelength, view.prior_fraction, color=DENOISED, lw=0.9)
    shade_gaps(ax, view)
    ax.set_ylim(0, 1.08)
    ax.set_yticks([0, 1], ["0", "1"])
    ax.get_yticklabels()[0].set_verticalalignment("bottom")  # else it meets the first wavelength
    ax.set_ylabel("prior\nleft", fontsize=11.5, color=TEXT)


def _draw_classes(ax: Axes, posterior: Posterior) -> None:
    """Bars of the class probabilities; the panel stays empty for methods without classes."""
    if not posterior.class_prob:
        ax.set_axis_off()
        return
    names, values = list(posterior.class_prob), list(posterior.class_prob.values())
    rows = np.arange(len(names))
    best = posterior.best_class
    ax.barh(rows, values, height=0.62, color=[DENOISED if name == best else EXPOSURE for name in names])
    for row, (name, value) in enumerate(zip(names, values, strict=True)):
        words = f"{name}  {value:.2f}" if value >= 0.005 else name
        ax.text(0.015, row - 0.34, words, ha="left", va="bottom", fontsize=9.5, color=TEXT, parse_math=False,
                fontweight="bold" if name == best else "normal")  # fmt: skip
    ax.set_xlim(0, 1.02)
    ax.set_ylim(len(names) - 0.5, -0.9)
    ax.set_title("class probability", fontsize=10.5, color=TEXT, pad=4)
    _strip(ax)


def _finish(ax: Axes, view: View, *, last: bool) -> None:
    ax.set_xlim(view.wavelength[0], view.wavelength[-1])
    ax.xaxis.set_minor_locator(AutoMinorLocator())
    ax.tick_params(which="both", direction="in", top=True, right=True, labelsize=11, labelcolor=TEXT, labelbottom=last)
    if last:
        ax.set_xlabel("vacuum wavelength  [Å]", fontsize=12, color=TEXT)


def _draw_lines(ax: Axes, view: View, *, labels: bool) -> None:
    first, last = view.wavelength[[0, -1]]
    for group, style in ((STELLAR_LINES, "-"), (SKY_LINES, ":")):
        for name, members in group.items():
            inside = [line for line in members if first <= line <= last]
            for line in inside:
                ax.axvline(line, color=FAINT, lw=0.6, ls=style, alpha=0.35, zorder=0)
            if labels and inside:
                ax.text(np.mean(inside), 1.008, name, transform=ax.get_xaxis_transform(), ha="center", va="bottom",
                        fontsize=10, color=TEXT if style == "-" else FAINT)  # fmt: skip


def _drawable(text: str) -> str:
    """A text with a question mark for each letter that the font lacks; a file's name may hold anything."""
    font = get_font(findfont(FontProperties()))
    return "".join(c if c.isprintable() and font.get_char_index(ord(c)) else "?" for c in text)


def _draw_title(fig: Figure, posterior: Posterior, view: View) -> None:
    name = posterior.name if len(posterior.name) <= 46 else f"{posterior.name[:22]} … {posterior.name[-20:]}"
    fig.text(0.055, 0.965, _drawable(name), fontsize=17, fontweight="bold", color=TEXT, va="center", parse_math=False)
    facts = []
    if posterior.class_prob:
        (best, probability), *others = sorted(posterior.class_prob.items(), key=lambda item: -item[1])
        others = ", ".join(f"{name} {value:.2f}" for name, value in others[:2] if value >= 0.005)
        facts.append(f"class {best}, probability {probability:.2f}" + (f" ({others})" if others else ""))
    if view.n_exposures:
        facts += [f"S/N {view.snr:.1f} per pixel", f"{view.n_exposures} exposure{'s' * (view.n_exposures > 1)}"]
    if "velocity_kms" in posterior.meta:
        velocity, sigma = (posterior.meta[key] for key in ("velocity_kms", "velocity_sigma_kms"))
        facts.append(f"{velocity:+.0f} ± {sigma:.0f} km/s")
    if posterior.method:
        facts.append(f"method {posterior.method}")
    fig.text(0.055, 0.926, "   ·   ".join(facts), fontsize=12.5, color=TEXT, va="center", parse_math=False)
    style = {"ha": "right", "va": "top", "fontsize": 12}
    if not posterior.flags:
        fig.text(0.98, 0.974, "no flags", color=FAINT, **style)
        return
    flags = [flag.replace("_", " ").lower() for flag in FLAGS if flag in posterior.flags]
    rows = [", ".join(flags[:2]), ", ".join(flags[2:])]
    box = {"boxstyle": "round,pad=0.4", "facecolor": "#FDEDE2", "edgecolor": WARNING}
    words = "flagged: " + ",\n".join(row for row in rows if row)
    fig.text(0.98, 0.974, words, fontweight="bold", color=WARNING_TEXT, bbox=box, linespacing=1.3, **style)
