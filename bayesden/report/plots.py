r"""One figure for one posterior: what was measured, what is believed, and where the two disagree.

Top: the exposures and their inverse-variance mean in greys, the denoised flux with its 50 % and 90 % bands, and the
class probabilities. Middle: residuals in units of the noise, exposure by exposure and stacked, with their histogram
beside the standard normal density, and the lines that the model lacks. Bottom: posterior over prior standard
deviation, 1 where the data said nothing. A column has room for the flux, the stacked residuals and the last of these.
"""

import numpy as np
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import NullLocator
from numpy.typing import NDArray

from ..posterior import Posterior
from .labels import draw_features, draw_lines, draw_title
from .style import (
    BANDS,
    COADD,
    DENOISED,
    DPI,
    EXPOSURE,
    FAINT,
    MARGINS,
    PATCH,
    SINGLE,
    SIZES,
    SMALL,
    SOFT,
    TEXT,
    TINTS,
    WARNING_TEXT,
    ShownFigure,
    Size,
    dress,
    is_column,
    mark_beyond,
    pretty_unit,
    shade_gaps,
)
from .view import FEW, View, Zoom

__all__ = ["plot_posterior"]

Z_LIMIT = 6.0  # residuals beyond are drawn as marks at the edge
HEIGHTS = {"flux": 2.35, "residuals": 0.85, "prior": 0.5}  # inches
SIDE = 0.13  # width of the panels at the side, over that of the main ones


def plot_posterior(
    posterior: Posterior, *, lines: bool = True, zoom: Zoom | None = None, size: Size = "page"
) -> Figure:
    """Draw a posterior over its data, with residuals and the share of the prior that is left.

    The flux axis follows the denoised flux and the bulk of the data, so that a cosmic ray does not squash the spectrum;
    pixels beyond it are marked by triangles at the edge. Stretches without data are shaded.

    Arguments:
        posterior: What to draw. Data, bands, residuals and prior fraction are drawn where they are finite.
        lines: Whether to name the main stellar lines, where they are at the star's velocity; at rest without one.
        zoom: First and last wavelength to show, in vacuum Å, or the name of one of `view.WINDOWS`; all by default.
        size: As wide as a journal's 'page' (180 mm) or 'column' (88 mm); a column has fewer panels.

    Returns:
        A figure that belongs to no window; `save_figure` writes it.

    Raises:
        InputError: if the zoom holds fewer than two pixels, or there is no such size.

    Example:
        >>> from bayesden.report import plot_posterior, save_figure
        >>> save_figure(plot_posterior(post, zoom="CaT", size="column"), "triplet.pdf").name
        'triplet.pdf'
    """
    view, narrow = View.of(posterior, zoom), is_column(size)
    rows = _rows(view, narrow)
    heights = [HEIGHTS[what] for what, *_ in rows]
    fig = ShownFigure(figsize=(SIZES[size], sum(heights) + 1.3), dpi=DPI, facecolor="white", layout="constrained")
    top = draw_title(fig, posterior, view, narrow=narrow) / fig.get_figheight()
    fig.get_layout_engine().set(**MARGINS, rect=(0, 0, 1, 1 - top))
    shape = {"height_ratios": heights, "width_ratios": [1] if narrow else [1, SIDE]}
    panels = fig.subplots(len(rows), 1 if narrow else 2, squeeze=False, gridspec_kw=shape)
    width = SIZES[size] * (0.77 if narrow else 0.72)  # of a panel, nearly
    for number, ((what, z, colour, name), row) in enumerate(zip(rows, panels, strict=True)):
        ax, side = row[0], None if narrow else row[1]
        if what == "flux":
            handles = _draw_flux(ax, view, posterior.flux_unit)
            _draw_classes(side, posterior)
        elif what == "residuals":
            _draw_residuals(ax, side, view, z, colour, name)
        else:
            _draw_prior_fraction(ax, side, view)
        dress(ax, x="vacuum wavelength  [Å]" if number == len(rows) - 1 else None)
        ax.set_xlim(view.wavelength[0], view.wavelength[-1])
        if number:
            ax.sharex(panels[0, 0])
        if lines:
            velocity = float(posterior.meta.get("velocity_kms", 0.0))
            draw_lines(ax, view, width, labels=number == 0, velocity_kms=velocity)
    last = max((number for number, row in enumerate(rows) if row[0] == "residuals"), default=None)
    if last is not None:
        draw_features(panels[last, 0], posterior.features, view, width)
    _draw_legend(fig, handles, 3 if narrow else len(handles))
    return fig


def _draw_legend(fig: Figure, handles: list[Artist], columns: int) -> None:
    """Below all panels, where it hides nothing; its lines are thicker than those that it explains."""
    legend = fig.legend(handles=handles, loc="outside lower center", ncols=columns, fontsize=SMALL, frameon=False,
                        labelcolor=TEXT, handlelength=1.2, columnspacing=0.9, handletextpad=0.5)  # fmt: skip
    for line in legend.get_lines():
        line.set_linewidth(1.6)


def _rows(view: View, narrow: bool) -> list[tuple[str, NDArray | None, str, str]]:
    """Panels from top to bottom: what each shows, and for residuals which, their colour and name."""
    rows = [("flux", None, "", "")]
    if len(view.z) > 1:
        stacked = ("residuals", view.stacked_z[None], DENOISED, "stacked")
        rows += [stacked] if narrow else [("residuals", view.z, SINGLE, "each exposure"), stacked]
    else:
        rows.append(("residuals", view.z, SINGLE, "one exposure"))
    if np.isfinite(view.prior_fraction).any():
        rows.append(("prior", None, "", ""))
    return rows


def _draw_flux(ax: Axes, view: View, unit: str) -> list[Artist]:
    """The upper panel; the legend's entries."""
    n, w = view.n_exposures, view.wavelength
    steps = {"drawstyle": "steps-mid"} if w.size < FEW else {}
    handles = ax.plot(w, view.flux, color=DENOISED, lw=0.9 if w.size < FEW else 0.7, zorder=4)
    handles[0].set_label("denoised")
    for (name, edges), colour, order in zip(view.bands.items(), BANDS, (2, 2.1), strict=False):
        handles.append(ax.fill_between(w, *edges, color=colour, lw=0, label=name, zorder=order))
    if n:
        name, colour = (f"mean of {n}", COADD) if n > 1 else ("one exposure", SINGLE)
        handles += ax.plot(w, view.coadd, color=colour, lw=0.4, zorder=3, label=name, **steps)
    if n > 1:
        style = {"color": EXPOSURE, "lw": 0.3, "zorder": 1, **steps}
        each = [ax.plot(w, row, rasterized=n > 4 and w.size > FEW, **style)[0] for row in view.exposures]
        each[0].set_label("each exposure")
        handles.append(each[0])
    low, high = view.flux_limits()
    handles += mark_beyond(ax, w, view.exposures, (low, high))
    handles += shade_gaps(ax, view, words=True)
    ax.set_ylim(low, high)
    if low < 0 < high:
        ax.axhline(0, color=FAINT, lw=0.4, zorder=0)
    dress(ax, y=f"flux  [{pretty_unit(unit)}]" if unit else "flux")
    return handles


def _draw_residuals(ax: Axes, side: Axes | None, view: View, rows: NDArray, colour: str, name: str) -> None:
    """Residuals against wavelength, and beside them their histogram with the density that they have if all is right."""
    for level, style in ((0, "-"), (3, ":"), (-3, ":")):
        ax.axhline(level, color=FAINT, lw=0.6, ls=style, zorder=3)
    size = float(np.clip(1.5 * np.sqrt(2048 / view.wavelength.size), 1.5, 4))
    for row in rows:
        shown = np.where(np.abs(row) <= Z_LIMIT, row, np.nan)
        ax.plot(view.wavelength, shown, ls="", marker=".", ms=size, mec="none", color=colour, rasterized=True, zorder=1)
    mark_beyond(ax, view.wavelength, rows, (-Z_LIMIT, Z_LIMIT))
    shade_gaps(ax, view)
    ax.set(ylim=(-Z_LIMIT, Z_LIMIT), yticks=(-3, 0, 3))
    dress(ax, y=f"residual/noise\n{name}")
    if side is not None:
        _draw_histogram(side, rows[np.isfinite(rows)], colour)


def _draw_histogram(ax: Axes, z: NDArray, colour: str) -> None:
    grid = np.linspace(-Z_LIMIT, Z_LIMIT, 241)
    if z.size:
        edges = np.linspace(-Z_LIMIT, Z_LIMIT, 49)
        ax.hist(np.clip(z, -Z_LIMIT, Z_LIMIT), edges, density=True, orientation="horizontal", color=TINTS[colour])
        scatter = 1.4826 * np.median(np.abs(z - np.median(z)))
        style = {"transform": ax.transAxes, "ha": "right", "fontsize": SMALL - 0.5, "color": TEXT, "bbox": PATCH}
        ax.text(1, 0.98, f"scatter {scatter:.2f}\n|z| > 3: {100 * np.mean(np.abs(z) > 3):.1f} %", va="top", **style)
        if beyond := int((np.abs(z) > Z_LIMIT).sum()):
            ax.text(1, 0.02, f"|z| > {Z_LIMIT:.0f}: {beyond} px", va="bottom", **style | {"color": WARNING_TEXT})
    ax.plot(np.exp(-(grid**2) / 2) / np.sqrt(2 * np.pi), grid, color=TEXT, lw=0.7)
    ax.set(xlim=(0, 0.55), ylim=(-Z_LIMIT, Z_LIMIT))
    ax.set_axis_off()


def _draw_prior_fraction(ax: Axes, side: Axes | None, view: View) -> None:
    """On a logarithmic axis: at 1 the data said nothing, at 0.01 they narrowed the prior by a hundred."""
    least = float(np.nanmin(view.prior_fraction))
    low = 10.0 ** np.clip(np.floor(np.log10(max(least, 1e-4))), -4, -2)
    share = np.maximum(view.prior_fraction, low)
    ax.fill_between(view.wavelength, low, share, color=BANDS[0], lw=0)
    ax.plot(view.wavelength, share, color=DENOISED, lw=0.6)
    ax.axhline(1, color=FAINT, lw=0.6, ls=":", zorder=0)
    shade_gaps(ax, view)
    ax.set(yscale="log", ylim=(low, 2.5))
    ax.set_yticks([0.01, 0.1, 1] if low == 0.01 else [0.01, 1])
    ax.yaxis.set_major_formatter(lambda value, _: f"{value:g}")
    ax.yaxis.set_minor_locator(NullLocator())
    dress(ax, y="prior\nleft")
    if side is not None:
        words = "1: the data\nsaid nothing"
        side.text(0, 1, words, transform=side.transAxes, fontsize=SMALL - 0.5, color=FAINT, va="top")
        side.set_axis_off()


def _draw_classes(ax: Axes | None, posterior: Posterior) -> None:
    """Bars of the class probabilities; the panel stays empty for methods without classes."""
    if ax is None:
        return
    if not posterior.class_prob:
        ax.set_axis_off()
        return
    names, values = list(posterior.class_prob), list(posterior.class_prob.values())
    rows, best = np.arange(len(names)), posterior.best_class
    ax.barh(rows, values, height=0.6, color=[DENOISED if name == best else TINTS[SINGLE] for name in names])
    for row, (name, value) in enumerate(zip(names, values, strict=True)):
        if value >= 0.005:
            inside = value > 0.55
            ax.text(value + (-0.04 if inside else 0.04), row, f"{value:.2f}", ha="right" if inside else "left",
                    va="center", fontsize=SMALL - 0.5, color="white" if inside and name == best else TEXT)  # fmt: skip
    ax.set(xlim=(0, 1), ylim=(len(names) - 0.5, -0.5))
    ax.set_yticks(rows, names, fontsize=SMALL, color=TEXT, parse_math=False)
    ax.get_yticklabels()[names.index(best)].set_fontweight("bold")
    ax.set_title("probability", fontsize=SMALL, color=TEXT, pad=3)
    ax.tick_params(left=False, bottom=False, labelbottom=False, pad=2)
    ax.spines[["top", "right", "bottom"]].set_visible(False)
    ax.spines["left"].set(lw=0.6, color=SOFT)
