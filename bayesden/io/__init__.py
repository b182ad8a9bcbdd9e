"""Files in and out: spectra as the surveys write them, posteriors as we write them."""

from .reader import read
from .resample import resample
from .result_table import read_posteriors, write_posteriors
from .results import read_posterior, write_posterior
from .sdss_write import ArmSpectrum, write_spec

__all__ = [
    "ArmSpectrum",
    "read",
    "read_posterior",
    "read_posteriors",
    "resample",
    "write_posterior",
    "write_posteriors",
    "write_spec",
]
