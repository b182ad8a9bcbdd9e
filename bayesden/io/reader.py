"""One call for one file or many, whatever the survey."""

from collections.abc import Iterable
from os import PathLike
from typing import overload

from ..spectrum import Grid, Observation
from .sdss import read_sdss

__all__ = ["read"]


@overload
def read(path: str | PathLike, *, grid: Grid | None = None, mask_policy: str = "and") -> Observation: ...
@overload
def read(
    path: Iterable[str | PathLike], *, grid: Grid | None = None, mask_policy: str = "and"
) -> list[Observation]: ...
def read(
    path: str | PathLike | Iterable[str | PathLike], *, grid: Grid | None = None, mask_policy: str = "and"
) -> Observation | list[Observation]:
    """Read a spectrum file, or several, onto a wavelength grid.

    Formats: SDSS-I to SDSS-V spec files, "full" (single exposures) and "lite" (coadd only); see `read_sdss`.

    Arguments:
        path: A file, or several.
        grid: Wavelengths of the result; by default `Grid.uniform()`.
        mask_policy: Which of a table's two masks to take: `and`, `or` or `none`; see `read_sdss`.

    Returns:
        An observation, or a list of them in the order of the paths.

    Raises:
        InputError: naming the file, what was expected and what came.

    Example:
        >>> obs = bd.read("data/example-spec.fits")
        >>> obs.flux.shape, obs.flux_unit
        ((4, 2048), '1E-17 erg/cm^2/s/Ang')
    """
    if isinstance(path, str | PathLike):
        return read_sdss(path, grid=grid, mask_policy=mask_policy)
    return [read_sdss(one, grid=grid, mask_policy=mask_policy) for one in path]
