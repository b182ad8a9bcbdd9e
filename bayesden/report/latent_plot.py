"""The latents of one star among those of the training library."""

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patheffects import withStroke
from numpy.typing import NDArray

from ..errors import InputError
from ..model.joint import SpectrumModel
from ..posterior import Posterior
from .style import SINGLE, SIZES, SMALL, TEXT, Size, dress, is_column, paper_figure

__all__ = ["class_styles", "plot_latents"]

SEQUENCE = "OBAFGKM"  # one scale of colours, hot to cool; others have colours and marks of their own
OTHERS = (("#D55E00", "^"), ("#CC79A7", "s"), ("#E69F00", "D"), (SINGLE, "v"))
LIBRARY = 400  # latents of each class that are drawn
DRAWN = 1000  # draws
REACH = 5.0  # half width of the close view, in standard deviations of the draws
PANELS = {"page": 4, "column": 2}  # pairs in a row


def plot_latents(posterior: Posterior, model: SpectrumModel, *, size: Size = "page") -> Figure:
    """Draw pairs of latents: above the star among the library's spectra, below the same from nearby.

    Every latent is in one pair. Classes O to M are one scale of colours; names stand at the classes' medians. Draws are
    black with a white edge; a method without draws has one point.

    Arguments:
        posterior: From a method with latents.
        model: The model that it was made with.
        size: As wide as a journal's 'page' (180 mm) or 'column' (88 mm).

    Returns:
        A figure; `save_figure` writes it.

    Raises:
        InputError: if there are no latents, fewer than two, others than the model's, or there is no such size.

    Example:
        >>> from bayesden.report import plot_latents, save_figure
        >>> save_figure(plot_latents(post, model), "latents.pdf").name
        'latents.pdf'
    """
    draws = _latents(posterior, model)
    library = {name: model.latent_prior.latents(k).cpu().numpy() for k, name in enumerate(model.classes)}
    pairs = _pairs(draws.shape[1])
    narrow = is_column(size)
    columns = min(PANELS[size], len(pairs))
    bands, side = -(-len(pairs) // columns), SIZES[size] / max(columns, 1 if narrow else 2.6)
    fig = paper_figure(size, 2 * bands * 0.95 * side + (0.9 if narrow else 0.7), f"{posterior.name}: latents")
    fig.get_layout_engine().set(wspace=0.08)  # so that the name of an axis stands at its own panel
    panels = fig.subplots(2 * bands, columns, squeeze=False)
    for ax in panels.flat:
        ax.set_visible(False)
    for number, pair in enumerate(pairs):
        row, column = divmod(number, columns)
        _draw_pair(panels[2 * row, column], library, draws, pair, near=False)
        _draw_pair(panels[2 * row + 1, column], library, draws, pair, near=True)
    _draw_legend(fig, tuple(library), posterior.name, 4 if narrow else 11)
    return fig


def _pairs(size: int) -> list[tuple[int, int]]:
    """Pairs that have every latent once; the last pair of an odd number shares one."""
    return [(min(i, size - 2), min(i, size - 2) + 1) for i in range(0, size, 2)]


def class_styles(classes: tuple[str, ...], scale_ends: tuple[float, float] = (0.0, 0.92)) -> dict[str, tuple[str, str]]:
    """Colour and mark of each class: O to M on a scale that readers with any colour vision can follow.

    Arguments:
        classes: Their names.
        scale_ends: The part of the scale that stands out from the page, 0 dark to 1 bright.
    """
    scale = mpl.colormaps["viridis"]
    ordered = [name for name in classes if name in SEQUENCE]
    others = [name for name in classes if name not in SEQUENCE]
    place = {name: i / max(len(ordered) - 1, 1) for i, name in enumerate(ordered)}
    low, high = scale_ends
    styles = {name: (mpl.colors.to_hex(scale(low + (high - low) * place[name])), "o") for name in ordered}
    styles |= {name: OTHERS[i % len(OTHERS)] for i, name in enumerate(others)}
    return {name: styles[name] for name in classes}


def _draw_legend(fig: Figure, classes: tuple[str, ...], name: str, columns: int) -> None:
    style = {"ls": "", "ms": 4}
    handles = [
        Line2D([], [], marker=m, mec="none", color=c, label=n, **style) for n, (c, m) in class_styles(classes).items()
    ]
    handles.append(Line2D([], [], marker="o", mfc="black", mec="white", label=name[:24], **style))
    legend = fig.legend(handles=handles, loc="outside lower center", ncols=min(columns, len(handles)), fontsize=SMALL,
                        frameon=False, handletextpad=0.1, columnspacing=1.0, labelcolor=TEXT)  # fmt: skip
    for words in legend.get_texts():
        words.set_parse_math(False)


def _latents(posterior: Posterior, model: SpectrumModel) -> NDArray:
    """Draws, shape (S, L)."""
    if posterior.latent is None:
        raise InputError(f"{posterior.name}: expected latents, got method {posterior.method!r} without")
    made_with, offered = posterior.meta.get("model_sha256"), model.card.get("sha256")
    if made_with and offered and made_with != offered:
        raise InputError(f"{posterior.name}: expected the model that made it, {posterior.meta.get('model')}, "
                         f"SHA-256 {made_with[:12]}..., got {model.card.get('name')}, {offered[:12]}...")  # fmt: skip
    draws, size = np.atleast_2d(posterior.latent), model.generator.latent_dim
    if draws.shape[1] != size:
        raise InputError(f"{posterior.name}: expected the model's {size} latents, got {draws.shape[1]}: another model")
    if size < 2:
        raise InputError(f"{posterior.name}: expected two latents or more to draw pairs of, got {size}")
    return draws[np.linspace(0, len(draws) - 1, min(DRAWN, len(draws))).round().astype(int)]


def _draw_pair(ax: Axes, library: dict[str, NDArray], draws: NDArray, pair: tuple[int, int], *, near: bool) -> None:
    ax.set_visible(True)
    limits = [_close(draws[:, i]) if near else _wide(np.concatenate([*library.values(), draws])[:, i]) for i in pair]
    ax.set(xlim=limits[0], ylim=limits[1])
    for name, (colour, mark) in class_styles(tuple(library)).items():
        points = library[name] if near else library[name][:LIBRARY]
        x, y = points[:, pair].T
        ax.plot(x, y, ls="", marker=mark, ms=3.5 if near else 1.6, mec="none", color=colour, rasterized=True)
    if not near:
        _name_classes(
            ax, {name: np.median(points[:, pair], axis=0) for name, points in library.items()}, draws[:, pair]
        )
    x, y = draws[:, pair].T
    ms = 5 if len(draws) == 1 else 1.5 if near else 3
    style = {"ls": "", "marker": "o", "ms": ms, "rasterized": len(draws) > 1}
    if near or len(draws) == 1:
        ax.plot(x, y, mfc="black", mec="white", mew=0.15 if near else 0.6, zorder=9, **style)
    else:
        ax.plot(x.mean(), y.mean(), mfc="black", mec="white", mew=0.8, zorder=9, **style | {"ms": 5})
    ax.locator_params(nbins=4)
    if pair[0] == 0:
        ax.set_title(
            "nearby, with draws" if near else "among the library", loc="left", fontsize=SMALL, color=TEXT, pad=3
        )
    dress(ax, x=f"z[{pair[0]}]", y=f"z[{pair[1]}]")


def _name_classes(ax: Axes, places: dict[str, NDArray], draws: NDArray) -> None:
    """Names of classes at their medians, as far as they do not meet the star or each other; the legend has them all."""
    taken = [ax.transLimits.transform(draws.mean(0))]
    for name, place in places.items():
        at = ax.transLimits.transform(place)
        if all(np.hypot(*((at - other) / (0.05 + 0.05 * len(name), 0.09))) > 1 for other in taken):
            taken.append(at)
            ax.annotate(name, place, ha="center", va="center", fontsize=SMALL, color=TEXT, zorder=8, parse_math=False,
                        path_effects=[withStroke(linewidth=2, foreground="white")])  # fmt: skip


def _close(values: NDArray) -> tuple[float, float]:
    """Limits about the draws."""
    half = REACH * max(float(values.std()), 0.02) if len(values) > 1 else 0.5
    return values.mean() - half, values.mean() + half


def _wide(values: NDArray) -> tuple[float, float]:
    """Limits about nearly all of the library."""
    low, high = np.percentile(values, [0.2, 99.8])
    low, high = min(low, values[-1]), max(high, values[-1])
    return low - 0.05 * (high - low), high + 0.05 * (high - low)
