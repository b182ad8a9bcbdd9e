r"""Flux-conserving resampling with its variance, and without imputation.

A spectrograph's pixel holds the mean flux density over its bin, so the mean over a new bin :math:`d` is the
overlap-weighted mean of the native bins :math:`n`,

.. math:: y_d = \sum_n W_{dn}\, f_n, \qquad \operatorname{Var} y_d = \sum_n W_{dn}^2\, \sigma_n^2, \qquad
          W_{dn} = |d \cap n|\, / \sum_m |d \cap m|,

which keeps the integral of the flux and leaves a constant constant. Bins end halfway between pixel centres.
A new pixel that any bad native pixel touches, or that the native pixels do not cover, is masked. Neighbouring new
pixels that share a native pixel are correlated,

.. math:: \operatorname{Cov}(y_d, y_{d-1}) = \sum_n W_{dn} W_{d-1,n}\, \sigma_n^2,

by up to a third where pixels of both grids are of one size, and hardly where the new ones are wide. This correlation is
carried on too, as `Observation.correlation`; native pixels count as independent.

References:
    Carnall (2017), SpectRes, arXiv:1705.05165.
"""

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array

from ..errors import InputError
from ..spectrum import ARM_BLUE, ARM_RED, Grid, Observation, usable

__all__ = ["overlap_matrix", "resample", "resample_arrays", "resampling_correlation"]

TOLERANCE = 1e-6  # share of a new pixel that may be uncovered or bad: rounding of the edges, not data


def overlap_matrix(native: Grid, grid: Grid) -> csr_array:
    r"""The share of each new bin that each native bin covers.

    Arguments:
        native: The pixels of the data, :math:`N` of them.
        grid: The new pixels, :math:`D` of them.

    Returns:
        Shape :math:`(D, N)`, sparse; a row sums to 1 where the native bins cover the new one, to less elsewhere.
    """
    source, target = native.edges, grid.edges
    start, stop = max(source[0], target[0]), min(source[-1], target[-1])
    if not start < stop:
        return csr_array((grid.size, native.size))
    # Between two consecutive edges of either grid lies exactly one pair of bins.
    edges = np.unique(np.clip(np.concatenate([source, target]), start, stop))
    middle = (edges[1:] + edges[:-1]) / 2
    row = np.clip(np.searchsorted(target, middle) - 1, 0, grid.size - 1)
    column = np.clip(np.searchsorted(source, middle) - 1, 0, native.size - 1)
    share = np.diff(edges) / np.diff(target)[row]
    return csr_array((share, (row, column)), shape=(grid.size, native.size))


def resample_arrays(
    native: Grid, flux: NDArray, ivar: NDArray, mask: NDArray, grid: Grid
) -> tuple[NDArray, NDArray, NDArray]:
    """Resample spectra that share one set of native pixels.

    Arguments:
        native: The pixels of the data, :math:`N` of them.
        flux: Flux density, shape :math:`(E, N)`.
        ivar: Its inverse variance, same shape.
        mask: True where a pixel is bad, same shape. Pixels that are not `usable` are bad too.
        grid: The new pixels, :math:`D` of them.

    Returns:
        flux, ivar and mask, each :math:`(E, D)`; flux and ivar are 0 where masked.
    """
    if native == grid:
        mask = mask | ~usable(flux, ivar)
        return np.where(mask, 0.0, flux), np.where(mask, 0.0, ivar), mask
    good = ~mask & usable(flux, ivar)
    variance = 1.0 / np.where(good, ivar, 1.0).astype(np.float64)
    share = overlap_matrix(native, grid)
    covered = (share @ good.T.astype(np.float64)).T
    mean = (share @ np.where(good, flux, 0.0).T).T
    spread = (share.power(2) @ np.where(good, variance, 0.0).T).T
    bad = ~(covered > 1.0 - TOLERANCE)
    safe = np.where(bad, 1.0, covered)
    return (
        np.where(bad, 0.0, mean / safe),
        np.where(bad, 0.0, safe**2 / np.where(bad, 1.0, spread)),
        bad,
    )


def resampling_correlation(native: Grid, ivar: NDArray, mask: NDArray, grid: Grid, resampled_ivar: NDArray) -> NDArray:
    """Correlation of each new pixel's error with that of the pixel before it, for independent native errors.

    Arguments:
        native, ivar, mask, grid: As in `resample_arrays`.
        resampled_ivar: What it gave for them, shape :math:`(E, D)`.

    Returns:
        Shape :math:`(E, D)`; 0 for the first pixel and where either of the two is masked.
    """
    correlation = np.zeros(resampled_ivar.shape)
    if native == grid:
        return correlation
    good = ~mask & usable(np.zeros_like(ivar), ivar)
    variance = np.where(good, 1.0 / np.where(good, ivar, 1.0), 0.0)
    share = overlap_matrix(native, grid)
    covariance = (share[1:].multiply(share[:-1]).tocsr() @ variance.T).T
    correlation[:, 1:] = covariance * np.sqrt(resampled_ivar[:, 1:] * resampled_ivar[:, :-1])
    return correlation


def resample(observation: Observation, grid: Grid) -> Observation:
    """The same exposures on another wavelength grid.

    Arguments:
        observation: Exposures on their own pixels.
        grid: The new pixels.

    Returns:
        An observation on `grid`. A new pixel carries the arm bits of every native pixel that it was made from.

    Raises:
        InputError: if the wavelengths do not overlap.

    Example:
        >>> obs = Observation(wavelength=[1, 2, 3, 4], flux=[1.0, 3.0, 5.0, 7.0], ivar=[1.0, 1.0, 1.0, 1.0])
        >>> resample(obs, Grid([1.5, 3.5])).flux.tolist()
        [[2.0, 6.0]]
    """
    native = observation.grid
    (start, stop), (first, last) = native.wavelength[[0, -1]], grid.wavelength[[0, -1]]
    if stop < first or start > last:
        came = f"{first:.1f} to {last:.1f} Angstrom, got {start:.1f} to {stop:.1f}"
        raise InputError(f"{observation.name}: expected wavelengths within {came}")
    flux, ivar, mask = resample_arrays(native, observation.flux, observation.ivar, observation.mask, grid)
    share = overlap_matrix(native, grid)
    arm = np.zeros(flux.shape, np.uint8)
    for bit in (ARM_BLUE, ARM_RED):
        touched = (share @ ((observation.arm & bit) > 0).T.astype(np.float64)).T > TOLERANCE
        arm[touched & ~mask] |= bit
    correlation = resampling_correlation(native, observation.ivar, observation.mask, grid, ivar)
    sky = None if observation.sky is None else (share @ observation.sky.T).T
    changed = {"flux": flux, "ivar": ivar, "mask": mask, "arm": arm, "sky": sky, "correlation": correlation}
    return replace(observation, wavelength=grid.wavelength, **changed)
