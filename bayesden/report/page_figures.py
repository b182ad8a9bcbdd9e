"""The empty figures of the page, which its script fills with the chosen spectrum.

Bokeh describes figures here and draws them in the browser. Sources, glyphs and figures have the names by which
`page/figures.js` finds them; it sets the colours too, which are the page's.
"""

import json
from itertools import count

from bokeh.embed import json_item
from bokeh.layouts import gridplot
from bokeh.models import (
    BoxZoomTool,
    ColumnDataSource,
    CrosshairTool,
    FixedTicker,
    HoverTool,
    Model,
    PanTool,
    Range1d,
    SaveTool,
    Span,
    WheelZoomTool,
)
from bokeh.plotting import figure
from bokeh.resources import Resources

__all__ = ["bokeh_script", "latent_figures", "spectrum_figures"]

TOP, LEFT = 1.0, 66  # of a unit axis; pixels for the labels of the flux
CLEAR = {
    "background_fill_color": None,
    "border_fill_color": None,
    "toolbar_location": None,
    "lod_threshold": None,
    "tools": [],
}
SOURCES = {
    "core": ("wavelength", "rest", "flux", "wide_low", "wide_high", "narrow_low", "narrow_high", "mean", "stacked", "fraction"),
    "exposures": ("x", "y"),
    "residuals": ("x", "y"),
    "beyond": ("x", "y", "mark"),
    "beyond_each": ("x", "y", "mark"),
    "beyond_stacked": ("x", "y", "mark"),
    "gaps": ("left", "right"),
    "partial": ("left", "right"),
    "air": ("left", "right"),
    "lines": ("x",),
    "sky": ("x",),
    "names": ("x", "text", "alpha"),
    "features": ("x", "color"),
    "feature_names": ("x", "y", "text", "color"),
}  # fmt: skip
TOOLTIPS = [("wavelength", "@wavelength{0.0} Å"), ("at rest", "@rest{0.0} Å"), ("denoised", "@flux{0.000a}"),
            ("90 % band", "@wide_low{0.000a} to @wide_high{0.000a}"), ("mean of data", "@mean{0.000a}"),
            ("residual", "@stacked{0.0} σ")]  # fmt: skip


def bokeh_script() -> str:
    """BokehJS without widgets, tables and mathematics."""
    return "\n".join(Resources(mode="inline", components=["bokeh"], log_level="warn").js_raw)


def spectrum_figures() -> dict:
    """Names of lines, flux, residuals of each exposure and stacked, share of the prior, one below the other."""
    x_range = Range1d(0, 1, name="x")
    sources = {name: ColumnDataSource({key: [] for key in keys}, name=f"data_{name}") for name, keys in SOURCES.items()}
    draw = (_names, _flux, _residuals, _stacked, _fraction)
    figures = [one(x_range, sources) for one in draw]
    crosshair = CrosshairTool(overlay=Span(dimension="height", line_color="#808080", line_width=1))
    for fig in figures[1:]:
        fig.add_tools(crosshair)
    tools = {"merge_tools": True, "toolbar_location": "right", "toolbar_options": {"logo": None}}
    grid = gridplot([[fig] for fig in figures], sizing_mode="stretch_width", **tools)
    return _item(grid)


def latent_figures(size: int) -> list[dict]:
    """A figure for each pair of latents, that every latent is in one."""
    return [_item(_pair(min(i, size - 2), min(i, size - 2) + 1)) for i in range(0, size, 2)]


def _item(model: Model) -> dict:
    """The model as BokehJS reads it, numbered by itself: the same page, the same bytes."""
    item = json_item(model)
    numbers, names = count(1), {}

    def renumber(value: object) -> object:
        if isinstance(value, dict):
            return {key: name(v) if key in ("id", "root_id") else renumber(v) for key, v in value.items()}
        return [renumber(v) for v in value] if isinstance(value, list) else value

    def name(old: object) -> object:
        return names.setdefault(old, f"m{next(numbers)}") if isinstance(old, str) else renumber(old)

    return renumber(json.loads(json.dumps(item)))


def _panel(name: str, x_range: Range1d, height: int, label: str | None, y: tuple[float, float]) -> figure:
    fig = figure(name=f"panel_{name}", height=height, sizing_mode="stretch_width", x_range=x_range, y_range=Range1d(*y),
                 min_border_left=LEFT, min_border_right=8, min_border_top=3,
                 min_border_bottom=3, **CLEAR)  # fmt: skip
    zoom = BoxZoomTool(dimensions="width")
    fig.add_tools(zoom, PanTool(dimensions="width"), WheelZoomTool(dimensions="width"), SaveTool())
    fig.toolbar.active_drag, fig.toolbar.active_scroll = zoom, None
    fig.xaxis.visible = False
    fig.yaxis.axis_label = label
    fig.axis.axis_label_text_font_style = "normal"
    fig.axis.axis_label_text_font_size = "12px"
    fig.xgrid.grid_line_color = None
    fig.extra_y_ranges = {"unit": Range1d(0, TOP)}
    return fig


def _names(x_range: Range1d, sources: dict[str, ColumnDataSource]) -> figure:
    """Names of lines at their places, on end."""
    fig = _panel("names", x_range, 92, None, (0, TOP))
    fig.axis.visible = False
    fig.grid.visible = False
    fig.outline_line_color = None
    fig.text("x", 0.03, "text", source=sources["names"], name="line_names", y_range_name="unit", angle=1.5708,
             text_align="left", text_baseline="middle", text_font_size="11px", text_alpha="alpha")  # fmt: skip
    return fig


def _flux(x_range: Range1d, sources: dict[str, ColumnDataSource]) -> figure:
    fig, core = _panel("flux", x_range, 340, "flux", (0, 1)), sources["core"]
    unit = {"y_range_name": "unit"}
    _shade(fig, sources)
    fig.quad("left", "right", 0.03, 0.0, source=sources["partial"], name="partial", line_color=None, **unit)
    fig.quad("left", "right", TOP, 0.97, source=sources["air"], name="air", line_color=None, **unit)
    fig.multi_line("x", "y", source=sources["exposures"], name="exposures", line_width=1)
    fig.line("wavelength", "mean", source=core, name="mean", line_width=1)
    fig.varea("wavelength", "wide_low", "wide_high", source=core, name="wide", fill_alpha=0.25)
    fig.varea("wavelength", "narrow_low", "narrow_high", source=core, name="narrow", fill_alpha=0.4)
    line = fig.line("wavelength", "flux", source=core, name="denoised", line_width=1.8)
    fig.scatter("x", "y", source=sources["beyond"], name="beyond", marker="mark", size=8, line_color=None,
                fill_alpha=0.8, **unit)  # fmt: skip
    fig.add_tools(HoverTool(renderers=[line], mode="vline", tooltips=TOOLTIPS, point_policy="follow_mouse"))
    return fig


def _residual_panel(name: str, label: str, x_range: Range1d, sources: dict[str, ColumnDataSource]) -> figure:
    fig = _panel(name, x_range, 132, label, (-6.5, 6.5))
    fig.yaxis.ticker = FixedTicker(ticks=[-6, -3, 0, 3, 6])
    _shade(fig, sources)
    return fig


def _residuals(x_range: Range1d, sources: dict[str, ColumnDataSource]) -> figure:
    fig = _residual_panel("each", "each, σ", x_range, sources)
    fig.scatter("x", "y", source=sources["residuals"], name="residuals", size=2.5, line_color=None)
    _beyond(fig, sources, "beyond_each")
    return fig


def _stacked(x_range: Range1d, sources: dict[str, ColumnDataSource]) -> figure:
    fig = _residual_panel("stacked", "stacked, σ", x_range, sources)
    fig.vspan("x", source=sources["features"], name="features", line_color="color", line_width=2)
    fig.scatter("wavelength", "stacked", source=sources["core"], name="stacked", size=2.5, line_color=None)
    _beyond(fig, sources, "beyond_stacked")
    fig.text("x", "y", "text", source=sources["feature_names"], name="feature_names", y_range_name="unit", x_offset=4,
             text_baseline="top", text_font_size="11px", text_color="color", background_fill_alpha=0.85)  # fmt: skip
    return fig


def _fraction(x_range: Range1d, sources: dict[str, ColumnDataSource]) -> figure:
    """The decimal logarithm: most pixels have a hundredth left, and the few with much are what one looks for."""
    fig = _panel("fraction", x_range, 128, "prior left", (-3, 0.3))
    fig.yaxis.ticker = FixedTicker(ticks=[-3, -2, -1, 0])
    fig.yaxis.major_label_overrides = {-3: "0.001", -2: "0.01", -1: "0.1", 0: "1"}
    fig.xaxis.visible = True
    fig.xaxis.axis_label = "vacuum wavelength, Å"
    _shade(fig, sources)
    fig.line("wavelength", "fraction", source=sources["core"], name="fraction", line_width=1.4)
    return fig


def _shade(fig: figure, sources: dict[str, ColumnDataSource]) -> None:
    """Stretches without data, and lines of stars and of the night sky."""
    where = {"y_range_name": "unit"}
    fig.quad("left", "right", TOP, 0, source=sources["gaps"], name=f"gaps_{fig.name}", line_color=None, **where)
    fig.vspan("x", source=sources["lines"], name=f"lines_{fig.name}", line_width=1, line_alpha=0.45)
    fig.vspan("x", source=sources["sky"], name=f"sky_{fig.name}", line_width=1, line_dash="dotted", line_alpha=0.8)


def _beyond(fig: figure, sources: dict[str, ColumnDataSource], name: str) -> None:
    """Marks at the edge for what is beyond."""
    fig.scatter("x", "y", source=sources[name], name=name, marker="mark", size=7, line_color=None, fill_alpha=0.8,
                y_range_name="unit")  # fmt: skip


def _pair(i: int, j: int) -> figure:
    """Two latents: the library's points, the posterior's draws and its mean."""
    fig = figure(name="latents", height=230, sizing_mode="stretch_width", x_range=Range1d(0, 1), y_range=Range1d(0, 1),
                 min_border=2, **CLEAR)  # fmt: skip
    zoom = BoxZoomTool()
    fig.add_tools(zoom, PanTool(), WheelZoomTool())
    fig.toolbar.active_drag, fig.toolbar.active_scroll = zoom, None
    fig.xaxis.axis_label, fig.yaxis.axis_label = f"z[{i}]", f"z[{j}]"
    fig.axis.axis_label_text_font_style = "normal"
    fig.tags = [i, j]
    library = ColumnDataSource({"x": [], "y": [], "mark": [], "light": [], "dark": []}, name="library")
    star, draws = (ColumnDataSource({"x": [], "y": []}, name=name) for name in ("star", "draws"))
    fig.scatter("x", "y", source=library, name="library_points", marker="mark", size=4, line_color=None,
                fill_color="light", fill_alpha=0.6)  # fmt: skip
    fig.scatter("x", "y", source=draws, name="draw_points", size=3, line_color=None, fill_alpha=0.7)
    fig.scatter("x", "y", source=star, name="star_point", size=11, line_width=2)
    return fig
