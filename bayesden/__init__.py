"""bayesden: the posterior of a star's noise-free spectrum, from all of its noisy exposures.

The public names are imported when they are first used (PEP 562), so that `bayesden --help` does not wait for PyTorch.
"""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .chains import Chains
    from .infer.denoise import denoise
    from .io import read, read_posterior, write_posterior
    from .io.inference_data import labeller, loo_pit, to_inference_data, write_netcdf
    from .io.spectrum1d import from_spectrum, to_spectrum
    from .measurement import Measurement, colour, equivalent_width
    from .model.checkpoint import load_model
    from .posterior import Posterior
    from .simulation.build import simulate
    from .spectrum import Grid, Observation

__all__ = [
    "Chains",
    "Grid",
    "Measurement",
    "Observation",
    "Posterior",
    "colour",
    "denoise",
    "equivalent_width",
    "from_spectrum",
    "labeller",
    "load_model",
    "loo_pit",
    "read",
    "read_posterior",
    "simulate",
    "to_inference_data",
    "to_spectrum",
    "write_netcdf",
    "write_posterior",
]
__version__ = "0.1.0"

_HOME = {
    "Chains": ".chains",
    "Grid": ".spectrum",
    "Measurement": ".measurement",
    "Observation": ".spectrum",
    "Posterior": ".posterior",
    "colour": ".measurement",
    "denoise": ".infer.denoise",
    "equivalent_width": ".measurement",
    "from_spectrum": ".io.spectrum1d",
    "labeller": ".io.inference_data",
    "load_model": ".model.checkpoint",
    "loo_pit": ".io.inference_data",
    "read": ".io",
    "read_posterior": ".io",
    "simulate": ".simulation.build",
    "to_inference_data": ".io.inference_data",
    "to_spectrum": ".io.spectrum1d",
    "write_netcdf": ".io.inference_data",
    "write_posterior": ".io",
}


def __getattr__(name: str) -> object:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = globals()[name] = getattr(import_module(_HOME[name], __name__), name)
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
