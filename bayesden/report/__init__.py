"""Figures for people: a posterior beside the data that it explains."""

from .plots import plot_posterior, save_figure

__all__ = ["plot_posterior", "save_figure"]
