"""The posterior of a method that gives a spectrum and no error bar."""

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from bayesden.errors import InputError
from bayesden.posterior import Posterior
from bayesden.spectrum import Grid, Observation

__all__ = ["check_grid", "point_estimate"]


def check_grid(observation: Observation, grid: Grid, name: str) -> None:
    """Refuse a spectrum on other pixels than a method's, whose grid has a name for the message.

    Raises:
        InputError: if the grids differ.
    """
    if np.array_equal(observation.wavelength, grid.wavelength):
        return
    ours, theirs = (f"{w.size} pixels, {w[0]:.6g} to {w[-1]:.6g} A" for w in (grid.wavelength, observation.wavelength))
    raise InputError(f"{observation.name}: expected {name} ({ours}), got another ({theirs})")


def point_estimate(
    observation: Observation, flux: NDArray, method: str, meta: Mapping[str, str | float] | None = None
) -> Posterior:
    """A posterior without spread: `sigma` and `prior_fraction` are NaN.

    Arguments:
        observation: What was denoised.
        flux: The estimate, shape (D,), in its unit.
        method: The method's name.
        meta: Further facts.
    """
    unknown = np.full(flux.shape, np.nan)
    return Posterior(
        wavelength=observation.wavelength,
        flux=flux,
        sigma=unknown,
        residual_z=np.where(observation.ivar > 0, (observation.flux - flux) * np.sqrt(observation.ivar), np.nan),
        prior_fraction=unknown,
        data_flux=observation.flux,
        data_ivar=observation.ivar,
        method=method,
        name=observation.name,
        flux_unit=observation.flux_unit,
        meta=meta or {},
    )
