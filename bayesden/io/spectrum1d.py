"""Spectra of specutils, and so of Specviz: from them and to them. The one file that knows specutils.

Their wavelengths may be in any unit that astropy converts to Å, ascending or descending, or be frequencies or energies; their
flux is turned into flux density per wavelength where it is one per frequency or energy. Air wavelengths, as the header or
`medium` says, are converted to vacuum (Ciddor 1996), and `meta["wavelengths"]` says so.
"""

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING

import numpy as np
from astropy import units
from astropy.io import fits
from astropy.nddata import InverseVariance, StdDevUncertainty
from astropy.units import Quantity
from numpy.typing import NDArray

from ..errors import InputError
from ..posterior import Posterior
from ..spectrum import Exposure, Grid, Observation
from .bosz import vacuum_wavelength
from .resample import resample
from .results import fits_unit, header_of

if TYPE_CHECKING:
    from specutils import Spectrum

__all__ = ["from_spectrum", "to_spectrum"]

MEDIA = ("air", "vacuum")
SDSS_UNIT = "1E-17 erg/cm^2/s/Ang"  # as the survey writes what astropy calls 1e-17 erg / (Angstrom s cm2)
PER_WAVELENGTH = units.Unit("1e-17 erg / (s cm2 Angstrom)")


def _spectrum_class() -> "type[Spectrum]":
    try:
        from specutils import Spectrum
    except ImportError:
        raise InputError(
            "specutils: expected to be installed, got no specutils 2 or later: pip install 'bayesden[specutils]'"
        ) from None
    return Spectrum


def to_spectrum(source: Posterior | Observation) -> "Spectrum":
    """A posterior, or an observation, as specutils sees it; `.write(name)` makes a file that Specviz opens.

    Arguments:
        source: Of a posterior the flux, shape :math:`(D,)`, with its standard deviation, masked where it is not finite; of an
            observation all exposures, shape :math:`(E, D)`, with inverse variances and mask.

    Returns:
        A `specutils.Spectrum` on vacuum wavelengths in Å, in the flux unit of the source (none where that cannot be read).
        `meta["header"]` has the cards of a result file: object, method, model, class, flags.

    Raises:
        InputError: if specutils is not installed.

    Example:
        >>> spectrum = bd.to_spectrum(post)
        >>> spectrum.flux.shape, str(spectrum.spectral_axis.unit)
        ((2048,), 'Angstrom')
        >>> spectrum.write("star.fits", format="tabular-fits")
    """
    spectrum, unit = _spectrum_class(), units.Unit(fits_unit(source.flux_unit))
    axis = source.wavelength * units.AA
    if isinstance(source, Observation):
        ivar = InverseVariance(np.array(source.ivar), unit=unit**-2)
        header = fits.Header({"OBJECT": source.name.encode("ascii", "replace").decode()})
        facts = {"name": source.name, **source.meta, "header": header}
        mask = np.array(source.mask)
        return spectrum(flux=np.array(source.flux) * unit, spectral_axis=axis, uncertainty=ivar, mask=mask, meta=facts)
    sigma = StdDevUncertainty(np.array(source.sigma), unit=unit) if np.isfinite(source.sigma).any() else None
    facts = {"name": source.name, "method": source.method, **source.meta, "header": header_of(source)}
    mask = ~np.isfinite(source.flux)
    return spectrum(flux=np.array(source.flux) * unit, spectral_axis=axis, uncertainty=sigma, mask=mask, meta=facts)


def from_spectrum(
    spectrum: "Spectrum | Iterable[Spectrum]",
    *,
    medium: str | None = None,
    name: str | None = None,
    grid: Grid | None = None,
) -> Observation:
    """The exposures of one star, from specutils.

    Arguments:
        spectrum: A `Spectrum` of flux (D,), or of flux (E, D): E exposures; or several of them, such as a `SpectrumList` or
            `SpectrumCollection`, each of which is one exposure or more. Each needs an uncertainty, of any kind. A mask that is
            not 0 is bad.
        medium: 'air' or 'vacuum': what the wavelengths are; by default what the header says (`VACUUM`, `AIRORVAC`, `CTYPE1`),
            else vacuum.
        name: What to call the object; by default what the meta data call it.
        grid: Where spectra that do not share their wavelengths are resampled to; by default that of Kang et al. (2021).
            Those that do keep theirs.

    Returns:
        An observation on ascending vacuum wavelengths, Å.

    Raises:
        InputError: if a spectrum has no uncertainty, its axis is no wavelength, its flux has more than two dimensions, units
            differ, or specutils is not installed.

    Example:
        >>> bd.from_spectrum(bd.to_spectrum(obs)).flux.shape
        (4, 2048)
    """
    if medium not in (None, *MEDIA):
        raise InputError(f"medium: expected air or vacuum, got {medium!r}")
    kind = _spectrum_class()
    given = [spectrum] if isinstance(spectrum, kind) else list(spectrum)
    if not given or not all(isinstance(one, kind) for one in given):
        came = ", ".join(sorted({type(one).__name__ for one in given})) or "none"
        raise InputError(f"from_spectrum: expected spectra of specutils, got {came}")
    observations = [_observation(one, medium, name) for one in given]
    if len({o.flux_unit for o in observations}) > 1:
        found = ", ".join(dict.fromkeys(o.flux_unit or "none" for o in observations))
        raise InputError(f"{observations[0].name}: expected one flux unit, got {found}")
    if len({o.grid for o in observations}) > 1:
        observations = [resample(o, grid or Grid.uniform()) for o in observations]
    return _joined(observations)


def _observation(spectrum: "Spectrum", medium: str | None, name: str | None) -> Observation:
    """One spectrum, on its own wavelengths."""
    name = name or _name(spectrum)
    flux, axis = spectrum.flux, _moved(spectrum)
    if flux.ndim > 2:
        raise InputError(f"{name}: expected flux of shape (D,) or (E, D), got {flux.shape}")
    if spectrum.uncertainty is None:
        raise InputError(f"{name}: expected a spectrum with uncertainties, got none: every pixel needs its error")
    wavelength, came_in = _wavelength(spectrum, name)
    with np.errstate(all="ignore"):  # a deviation of 0 has no inverse, and is bad
        ivar = spectrum.uncertainty.represent_as(InverseVariance).quantity.to_value(flux.unit**-2)
    mask = None if spectrum.mask is None else axis(np.asarray(spectrum.mask) != 0)
    one = _per_wavelength(np.ones(wavelength.size) * flux.unit, wavelength)
    flux, ivar = axis(flux.value) * one.value, axis(ivar) / one.value**2
    medium = medium or _medium(spectrum)
    vacuum = vacuum_wavelength(wavelength) if medium == "air" else wavelength
    facts = {"wavelengths": f"converted from air, {came_in}" if medium == "air" else f"vacuum, {came_in}"}
    order = np.argsort(vacuum, kind="stable")
    return Observation(
        wavelength=vacuum[order],
        flux=np.atleast_2d(flux)[:, order],
        ivar=np.atleast_2d(ivar)[:, order],
        mask=None if mask is None else np.atleast_2d(mask)[:, order],
        name=name,
        flux_unit=SDSS_UNIT if one.unit == PER_WAVELENGTH else one.unit.to_string("fits"),
        meta=facts,
    )


def _joined(observations: list[Observation]) -> Observation:
    """All exposures, which share their wavelengths."""
    first = observations[0]
    if len(observations) == 1:
        return first
    rows = {key: np.concatenate([getattr(o, key) for o in observations]) for key in ("flux", "ivar", "mask", "arm")}
    if all(o.correlation is not None for o in observations):
        rows["correlation"] = np.concatenate([o.correlation for o in observations])
    return Observation(
        wavelength=first.wavelength,
        **rows,
        exposures=tuple(Exposure(str(number)) for number in range(len(rows["flux"]))),
        name=first.name,
        flux_unit=first.flux_unit,
        meta=first.meta,
    )


def _name(spectrum: "Spectrum") -> str:
    header = spectrum.meta.get("header") or {}
    return str(spectrum.meta.get("name") or header.get("OBJECT") or "spectrum")


def _moved(spectrum: "Spectrum") -> Callable[[NDArray], NDArray]:
    """What puts the spectral axis last."""
    place = spectrum.spectral_axis_index
    return (lambda values: values) if place is None else (lambda values: np.moveaxis(values, place, -1))


def _wavelength(spectrum: "Spectrum", name: str) -> tuple[NDArray, str]:
    """Wavelengths in Å, in the order of the file, and the unit in which they came."""
    axis = Quantity(spectrum.spectral_axis)
    try:
        return axis.to_value(units.AA, equivalencies=units.spectral()), f"in {axis.unit}"
    except units.UnitConversionError:
        raise InputError(
            f"{name}: expected wavelengths, frequencies or energies, got an axis in {axis.unit or 'no unit'}"
        ) from None


def _per_wavelength(values: Quantity, wavelength: NDArray) -> Quantity:
    """Flux density per wavelength, if it is one per frequency or energy; counts and normalised flux stay as they are."""
    if values.unit.is_equivalent(PER_WAVELENGTH):
        return values
    try:
        return values.to(PER_WAVELENGTH, equivalencies=units.spectral_density(wavelength * units.AA))
    except units.UnitConversionError:
        return values


def _medium(spectrum: "Spectrum") -> str:
    """What the header says of the wavelengths; vacuum if nothing."""
    header = spectrum.meta.get("header") or {}
    kinds = [str(kind) for kind in getattr(spectrum.wcs, "world_axis_physical_types", None) or ()]
    in_air = (
        header.get("VACUUM") in (False, "F", 0),
        str(header.get("AIRORVAC", "")).strip().lower() == "air",
        str(header.get("CTYPE1", "")).startswith("AWAV"),
        any("air" in kind for kind in kinds),
    )
    return "air" if any(in_air) else "vacuum"
