"""The noise of repeated exposures, under the name that it had before simulations drew from it too."""

from ..model.residuals import NoiseSamples, residuals

__all__ = ["NoiseSamples", "residuals"]
