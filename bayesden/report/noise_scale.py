"""How large noise is by the pipeline's measure: the flow's scale and the residuals' scatter, by arm and wavelength."""

from collections.abc import Mapping

from matplotlib.figure import Figure

from ..train.noise import ScaleProfile
from .style import ShownFigure

__all__ = ["plot_noise_scale"]

COLOURS = {"blue": "#0072B2", "red": "#D55E00", "both": "#454545", "all": "#454545"}
NAMES = {"blue": "blue arm", "red": "red arm", "both": "overlap of both", "all": "all pixels"}


def plot_noise_scale(profiles: Mapping[str, ScaleProfile], title: str = "") -> Figure:
    """Draw the noise's scale over the pipeline's error against wavelength.

    Arguments:
        profiles: Of each arm, from `train.noise.scale_profile`.
        title: Above the figure.

    Returns:
        A figure that belongs to no window; `save_figure` writes it.
    """
    fig = ShownFigure(figsize=(9, 4.5), dpi=130, facecolor="white")
    ax = fig.add_subplot()
    fig.subplots_adjust(left=0.09, right=0.98, bottom=0.13, top=0.9)
    ax.axhline(1.0, color="#222222", lw=0.8, ls="--")
    for arm, profile in profiles.items():
        style = {"color": COLOURS[arm], "marker": "o", "ms": 4}
        ax.plot(profile.wavelength, profile.scale, lw=1.6, label=f"{NAMES[arm]}: flow", **style)
        ax.plot(profile.wavelength, profile.scatter, lw=0.8, ls=":", mfc="white", label="its residuals", **style)
    ax.set_xlabel("vacuum wavelength  [Å]", fontsize=12)
    ax.set_ylabel("noise / pipeline's error", fontsize=12)
    ax.set_ylim(0, 1.05 * ax.get_ylim()[1])
    ax.tick_params(which="both", direction="in", top=True, right=True)
    ax.set_title(title, fontsize=12, parse_math=False)
    ax.legend(fontsize=8.5, ncols=max(1, len(profiles)), loc="lower center", framealpha=0.9)
    return fig
