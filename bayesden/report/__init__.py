"""Figures for people: a posterior beside the data that it explains."""

from .class_plot import plot_classes
from .latent_plot import plot_latents
from .loo_pit_plot import plot_loo_pit
from .pairs_plot import plot_pairs
from .plots import plot_posterior
from .predictive_plot import plot_predictive
from .residual_plot import plot_residuals
from .save import save_figure
from .trace_plot import plot_trace
from .view import WINDOWS

__all__ = [
    "WINDOWS",
    "plot_classes",
    "plot_latents",
    "plot_loo_pit",
    "plot_pairs",
    "plot_posterior",
    "plot_predictive",
    "plot_residuals",
    "plot_trace",
    "save_figure",
]
