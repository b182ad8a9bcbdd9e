r"""What is measured: a wavelength grid, and the exposures of one star on it.

An observation is :math:`E` exposures of one star on :math:`D` pixels, each with flux :math:`y_{ed}`, inverse variance
:math:`1/\sigma_{ed}^2` and a mask. Nothing is imputed: a pixel that is masked, not finite, or without a positive
inverse variance carries no information and never enters a likelihood.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from types import MappingProxyType

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .errors import InputError

__all__ = ["ARM_BLUE", "ARM_RED", "EXTREME", "Exposure", "Grid", "Observation", "usable"]

ARM_BLUE = 1  # bits of Observation.arm
ARM_RED = 2
EXTREME = 1e100  # in any unit of flux; products of what is below stay finite


def _frozen(values: ArrayLike, dtype: type = np.float64) -> NDArray:
    array = np.array(values, dtype=dtype)
    array.setflags(write=False)
    return array


def _check_wavelength(wavelength: NDArray) -> None:
    if wavelength.ndim != 1 or wavelength.size < 2:
        raise InputError(f"wavelength: expected shape (D,) with D >= 2, got {wavelength.shape}")
    if not np.isfinite(wavelength).all() or wavelength[0] <= 0:
        raise InputError("wavelength: expected finite, positive vacuum wavelengths in Angstrom")
    step = np.diff(wavelength)
    if not (step > 0).all():
        kind = "duplicate" if (step == 0).any() else "descending"
        where = int(np.argmax(step <= 0))
        raise InputError(f"wavelength: expected strictly ascending values, got {kind} ones at index {where}")


def usable(flux: NDArray, ivar: NDArray) -> NDArray:
    """True where there are a flux and an inverse variance to compute with: finite, positive `ivar`, neither absurd.

    Arguments:
        flux: Flux density, any shape.
        ivar: Its inverse variance, same shape.
    """
    flux, ivar = np.asarray(flux, np.float64), np.asarray(ivar, np.float64)
    return (np.abs(flux) <= EXTREME) & (ivar >= 1 / EXTREME) & (ivar <= EXTREME)


@dataclass(frozen=True, eq=False)
class Grid:
    """The pixels that a model lives on.

    Arguments:
        wavelength: Pixel centres, shape :math:`(D,)`, in vacuum Å, strictly ascending.

    Raises:
        InputError: if the wavelengths are not finite, positive and strictly ascending.

    Example:
        >>> Grid.uniform(4000.0, 9000.0, 2048).size
        2048
    """

    wavelength: NDArray

    def __post_init__(self) -> None:
        object.__setattr__(self, "wavelength", _frozen(self.wavelength))
        _check_wavelength(self.wavelength)

    @classmethod
    def uniform(cls, start_A: float = 4000.0, stop_A: float = 9000.0, size: int = 2048) -> "Grid":
        """A uniform grid; the default is that of Kang et al. (2021), section 2.

        Arguments:
            start_A, stop_A: Centres of the first and the last pixel, vacuum Å.
            size: Number of pixels D.

        Returns:
            The grid.

        Raises:
            InputError: if the last pixel is not beyond the first, or there is one only.

        Example:
            >>> Grid.uniform(8400.0, 8800.0, 5).wavelength.tolist()
            [8400.0, 8500.0, 8600.0, 8700.0, 8800.0]
        """
        return cls(np.linspace(start_A, stop_A, size))

    @property
    def size(self) -> int:
        """The number of pixels :math:`D`."""
        return self.wavelength.size

    @property
    def edges(self) -> NDArray:
        """Pixel boundaries, shape :math:`(D + 1,)`, in Å: halfway between the centres."""
        middle = (self.wavelength[1:] + self.wavelength[:-1]) / 2
        first = 2 * self.wavelength[0] - middle[0]
        last = 2 * self.wavelength[-1] - middle[-1]
        return np.concatenate([[first], middle, [last]])

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Grid) and np.array_equal(self.wavelength, other.wavelength)

    def __hash__(self) -> int:
        return hash(self.wavelength.tobytes())


@dataclass(frozen=True)
class Exposure:
    """Where one exposure came from.

    Arguments:
        name: The exposure's number, as the survey writes it.
        arms: The names of the spectra that were joined, such as ``("b1-00131838", "r1-00131838")``.

    Example:
        >>> [exposure.name for exposure in obs.exposures]
        ['00100001', '00100002', '00100003', '00100004']
    """

    name: str
    arms: tuple[str, ...] = ()


@dataclass(frozen=True, eq=False)
class Observation:
    r"""E exposures of one star on one wavelength grid.

    Pixels that are not finite, have no positive inverse variance, are beyond 1e±100, or are masked in a NumPy masked array
    are masked; their flux and inverse variance are stored as zero, so that no arithmetic on them can spread a NaN. All of them
    may be: `denoise` then answers with the prior. (Files without a good pixel are refused by `read`.)

    Arguments:
        wavelength: Pixel centres, shape :math:`(D,)`, vacuum Å, strictly ascending.
        flux: Flux density, shape :math:`(D,)` or :math:`(E, D)`, in `flux_unit`.
        ivar: Inverse variance of the flux, same shape, in `flux_unit` to the power -2.
        mask: True where a pixel is bad, same shape; none by default.
        arm: Bits of the arms that each pixel was made from (`ARM_BLUE`, `ARM_RED`; 0 = not known), same shape.
        sky: Sky brightness that the pipeline took off, same shape, in `flux_unit`; 0 where not known, None if nowhere.
        correlation: Correlation of each pixel's error with that of the pixel before, as resampling makes it, same shape;
            None if not known.
        exposures: Provenance of each exposure.
        name: What to call the object in messages and file names.
        flux_unit: Unit of the flux, as FITS writes it.
        meta: Further facts from the file (strings and numbers), such as the survey's class and redshift.

    Raises:
        InputError: if shapes disagree or there is no exposure.

    Example:
        >>> obs = Observation(wavelength=[4000, 4001], flux=[1.0, np.nan], ivar=[4.0, 4.0])
        >>> obs.mask.tolist()
        [[False, True]]
    """

    wavelength: NDArray
    flux: NDArray
    ivar: NDArray
    mask: NDArray | None = None
    arm: NDArray | None = None
    sky: NDArray | None = None
    correlation: NDArray | None = None
    exposures: tuple[Exposure, ...] = ()
    name: str = "spectrum"
    flux_unit: str = ""
    meta: Mapping[str, str | int | float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        wavelength = _frozen(self.wavelength)
        try:
            _check_wavelength(wavelength)
        except InputError as error:
            raise InputError(f"{self.name}: {error}") from None
        flux, ivar = np.atleast_2d(_frozen(self.flux)), np.atleast_2d(_frozen(self.ivar))
        if flux.shape[0] == 0:
            raise InputError(f"{self.name}: expected at least one exposure, got none")
        mask = self._like(self.mask, flux, "mask", bool)
        arm = self._like(self.arm, flux, "arm", np.uint8)
        if flux.ndim != 2 or flux.shape[1] != wavelength.size:
            raise InputError(f"{self.name}: flux: expected shape (E, {wavelength.size}), got {flux.shape}")
        if ivar.shape != flux.shape:
            raise InputError(f"{self.name}: ivar: expected the shape of flux, {flux.shape}, got {ivar.shape}")
        masked = np.ma.getmaskarray(self.flux) | np.ma.getmaskarray(self.ivar)
        bad = mask | np.atleast_2d(masked) | ~usable(flux, ivar)
        optional = {key: self._optional(key, flux, bad) for key in ("sky", "correlation")}
        exposures = self.exposures or tuple(Exposure(str(e)) for e in range(flux.shape[0]))
        if len(exposures) != flux.shape[0]:
            raise InputError(f"{self.name}: expected {flux.shape[0]} exposures' provenance, got {len(exposures)}")
        values = {
            "wavelength": wavelength,
            "flux": _frozen(np.where(bad, 0.0, flux)),
            "ivar": _frozen(np.where(bad, 0.0, ivar)),
            "mask": _frozen(bad, bool),
            "arm": _frozen(arm, np.uint8),
            **optional,
            "exposures": tuple(exposures),
            "meta": MappingProxyType(dict(self.meta)),
        }
        for key, value in values.items():
            object.__setattr__(self, key, value)

    def _like(self, values: ArrayLike | None, flux: NDArray, what: str, dtype: type) -> NDArray:
        if values is None:
            return np.zeros(flux.shape, dtype)
        array = np.atleast_2d(np.asarray(values)).astype(dtype)
        if array.shape != flux.shape:
            raise InputError(f"{self.name}: {what}: expected the shape of flux, {flux.shape}, got {array.shape}")
        return array

    def _optional(self, what: str, flux: NDArray, bad: NDArray) -> NDArray | None:
        values = getattr(self, what)
        if values is None:
            return None
        values = self._like(values, flux, what, np.float64)
        return _frozen(np.where(bad | ~np.isfinite(values), 0.0, values))

    @property
    def n_exposures(self) -> int:
        """The number of exposures :math:`E`."""
        return self.flux.shape[0]

    @property
    def grid(self) -> Grid:
        """The wavelengths as a `Grid`."""
        return Grid(self.wavelength)

    @property
    def snr(self) -> float:
        """Median over pixels of the flux over its standard deviation, all exposures together; 0 without a pixel."""
        flux, ivar = self.coadd()
        good = ivar > 0
        return float(np.median(flux[good] * np.sqrt(ivar[good]))) if good.any() else 0.0

    def coadd(self) -> tuple[NDArray, NDArray]:
        """The inverse-variance mean over exposures.

        Returns:
            Flux, in `flux_unit`, and its inverse variance, each of shape :math:`(D,)`; both 0 where no exposure is good.

        Example:
            >>> Observation([4000, 4001], flux=[[1, 2], [3, np.nan]], ivar=[[1, 1], [3, 1]]).coadd()
            (array([2.5, 2. ]), array([4., 1.]))
        """
        ivar = self.ivar.sum(0)
        flux = (self.flux * self.ivar).sum(0) / np.where(ivar > 0, ivar, 1.0)
        return flux, ivar

    def select(self, exposures: slice | list[int]) -> "Observation":
        """The same star with only some of its exposures.

        Arguments:
            exposures: Which, by number from 0.

        Returns:
            An observation of shape (E', D).

        Raises:
            InputError: if there is none among them.

        Example:
            >>> obs.flux.shape, obs.select([0, 2]).flux.shape
            ((4, 2048), (2, 2048))
        """
        index = np.arange(self.n_exposures)[exposures]
        return replace(
            self,
            flux=self.flux[index],
            ivar=self.ivar[index],
            mask=self.mask[index],
            arm=self.arm[index],
            sky=None if self.sky is None else self.sky[index],
            correlation=None if self.correlation is None else self.correlation[index],
            exposures=tuple(self.exposures[i] for i in index),
        )
