"""bayesden: the posterior of a star's noise-free spectrum, from all of its noisy exposures."""

from .infer.denoise import denoise
from .io import read, read_posterior, write_posterior
from .model.checkpoint import load_model
from .posterior import Posterior
from .spectrum import Grid, Observation

__all__ = ["Grid", "Observation", "Posterior", "denoise", "load_model", "read", "read_posterior", "write_posterior"]
__version__ = "0.1.0"
