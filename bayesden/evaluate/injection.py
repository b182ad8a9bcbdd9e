r"""Test bed B5: lines that a model lacks, put into clean spectra before the noise, and things that are no stars.

A line :math:`h\,t_d` is a Voigt profile in absorption or emission, or one of the spectrum's own lines deepened. Its height is
such that a :math:`\chi^2` test which knew the noiseless profile would find it at a wanted significance,

.. math:: S^2 = h^2 \sum_{e,d} t_d^2\, / \sigma_{ed}^2 .

References:
    Pál & Dobos (2024), figure 10.
    Vanden Berk et al. (2001), Astronomical Journal 122, 549: the lines of the quasar.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import median_filter
from scipy.special import voigt_profile

from ..errors import InputError
from ..posterior import Posterior
from ..spectrum import Observation
from .testbed import TestBed

__all__ = ["Injection", "flat_lamp", "inject_lines", "quasar", "rates", "recovered", "voigt"]

LIGHT_KMS = 299792.458
FWHM_KMS = (150.0, 1200.0)  # of the lines; log-uniform
DEEPEST = 0.9  # of the flux, in absorption; what needs more is put into emission
MARGIN = 0.02  # of the wavelength, off the grid's ends
# Where the Earth's air or the night sky leave residuals, Å; and lines that most classes have.
TERRESTRIAL = ((5570, 5587), (6294, 6310), (6357, 6374), (6860, 6970), (7155, 7350), (7585, 7715), (8100, 8355))
KNOWN = (4102.9, 4227.9, 4341.7, 4862.7, 5174.0, 5894.0, 6564.6, 8500.4, 8544.4, 8664.5)
QUASAR = (
    (1215.7, 93.0),
    (1549.1, 24.0),
    (1908.7, 21.0),
    (2798.8, 32.0),
    (4341.7, 13.0),
    (4862.7, 46.0),
    (6564.6, 195.0),
)


@dataclass(frozen=True)
class Injection:
    """One line that was put in.

    Arguments:
        wavelength_A: Its centre, vacuum Å.
        fwhm_kms: Full width at half maximum; of a deepened line, that of the window's core.
        kind: 'absorption', 'emission' or 'deepened'.
        significance: By the noiseless profile.
    """

    wavelength_A: float
    fwhm_kms: float
    kind: str
    significance: float


def voigt(wavelength: NDArray, centre_A: float, fwhm_kms: float, lorentz: float = 0.3) -> NDArray:
    """A Voigt profile of height 1, (D,).

    Arguments:
        wavelength: Pixel centres, shape (D,), Å.
        centre_A: Where it is highest.
        fwhm_kms: Full width at half maximum of its Gaussian part.
        lorentz: Half width of its Lorentzian part over the standard deviation of the Gaussian one.
    """
    sigma = centre_A * fwhm_kms / LIGHT_KMS / 2.3548
    return voigt_profile(wavelength - centre_A, sigma, lorentz * sigma) / voigt_profile(0.0, sigma, lorentz * sigma)


def _in_pixels(wavelength: NDArray, centre_A: float, fwhm_kms: float) -> NDArray:
    """The mean of a profile over each pixel."""
    step = np.gradient(wavelength)
    return np.mean(
        [voigt(wavelength + share * step, centre_A, fwhm_kms) for share in (-0.4, -0.2, 0.0, 0.2, 0.4)], axis=0
    )


def inject_lines(bed: TestBed, significance: float, *, seed: int = 0) -> tuple[TestBed, tuple[Injection, ...]]:
    """The same bed with one line in each spectrum: a third each in absorption, in emission, and deepened.

    A spectrum without a line to deepen gets an absorption line; one whose absorption would have to be deeper than `DEEPEST`
    gets an emission line.

    Arguments:
        bed: Observations of known truth; the truth of the new ones has the lines.
        significance: Of each line, by the noiseless profile and the pipeline's errors.
        seed: Seed of places and widths.

    Raises:
        InputError: if the significance is not positive.
    """
    if not significance > 0:
        raise InputError(f"injection: expected a positive significance, got {significance}")
    rng = np.random.default_rng(seed)
    observations, truths, lines = [], [], []
    for i, (observation, truth) in enumerate(zip(bed.observations, bed.truth, strict=True)):
        line, injection = _line(observation, truth, significance, i % 3, rng)
        observations.append(replace(observation, flux=np.where(observation.mask, 0.0, observation.flux + line)))
        truths.append(truth + line)
        lines.append(injection)
    return replace(bed, observations=tuple(observations), truth=np.array(truths)), tuple(lines)


def _line(
    observation: Observation, truth: NDArray, significance: float, kind: int, rng: np.random.Generator
) -> tuple[NDArray, Injection]:
    """What is added to the flux, (D,), and its description."""
    wavelength, ivar = observation.wavelength, observation.ivar.sum(0)
    centre, fwhm = _place(wavelength, ivar, rng), float(np.exp(rng.uniform(*np.log(FWHM_KMS))))
    if kind == 2 and (own := _own_line(wavelength, truth, rng)) is not None:
        centre, profile = own
        height = significance / np.sqrt((profile**2 * ivar).sum())
        if height * profile.max() < DEEPEST * np.abs(truth).mean():
            return -height * profile, Injection(centre, 300.0, "deepened", significance)
    profile = _in_pixels(wavelength, centre, fwhm)
    dip = truth * profile
    height = significance / np.sqrt((dip**2 * ivar).sum())
    if kind != 1 and height < DEEPEST:
        return -height * dip, Injection(centre, fwhm, "absorption", significance)
    height = significance / np.sqrt((profile**2 * ivar).sum())
    return height * profile, Injection(centre, fwhm, "emission", significance)


def _place(wavelength: NDArray, ivar: NDArray, rng: np.random.Generator) -> float:
    """A wavelength that is observed, off the ends, and not where the Earth leaves residuals."""
    free = (wavelength > wavelength[0] * (1 + MARGIN)) & (wavelength < wavelength[-1] * (1 - MARGIN)) & (ivar > 0)
    for first, last in TERRESTRIAL:
        free &= (wavelength < first) | (wavelength > last)
    return float(rng.choice(wavelength[free]))


def _own_line(wavelength: NDArray, truth: NDArray, rng: np.random.Generator) -> tuple[float, NDArray] | None:
    """A known line of a spectrum: its centre, and by how much it is below the flux around it; None if all are weak."""
    continuum = median_filter(truth, 61, mode="nearest")
    dip = np.clip(continuum - truth, 0.0, None)
    for line in rng.permutation(KNOWN):
        window = np.abs(wavelength / line - 1) * LIGHT_KMS
        near = np.flatnonzero(window < 400.0)
        if near.size == 0:
            continue
        centre = near[dip[near].argmax()]
        if dip[centre] > 0.03 * continuum[centre]:
            taper = np.exp(-0.5 * ((wavelength / wavelength[centre] - 1) * LIGHT_KMS / 500.0) ** 2)
            return float(wavelength[centre]), dip * taper
    return None


def recovered(posterior: Posterior, line: Injection) -> bool:
    """Whether the flag is up and one of the features is the line: within its width, or 300 km/s."""
    reach = max(line.fwhm_kms, 300.0)
    near = [abs(f.wavelength_A / line.wavelength_A - 1) * LIGHT_KMS <= reach for f in posterior.features]
    return "FEATURE_NOT_IN_MODEL" in posterior.flags and any(near)


def quasar(wavelength: NDArray, redshift: float, *, fwhm_kms: float = 5000.0, slope: float = -1.5) -> NDArray:
    """A quasar-like spectrum of mean |flux| 1, (D,): a power law with broad emission lines.

    Arguments:
        wavelength: Pixel centres, shape (D,), Å.
        redshift: Of the lines.
        fwhm_kms: Their full width at half maximum.
        slope: Of the power law in wavelength.
    """
    flux = (wavelength / wavelength.mean()) ** slope
    for line, equivalent_width in QUASAR:
        centre = line * (1 + redshift)
        sigma = centre * fwhm_kms / LIGHT_KMS / 2.3548
        height = equivalent_width * (1 + redshift) / (sigma * np.sqrt(2 * np.pi))
        flux = flux * (1 + height * np.exp(-0.5 * ((wavelength - centre) / sigma) ** 2))
    return flux / np.abs(flux).mean()


def flat_lamp(wavelength: NDArray) -> NDArray:
    """A lamp divided by its own flat field: one flux at all wavelengths, (D,)."""
    return np.ones_like(wavelength)


def rates(posteriors: Sequence[Posterior], lines: Sequence[Injection]) -> dict[str, float]:
    """Share of recovered lines, of all and of each kind."""
    found = np.array([recovered(p, line) for p, line in zip(posteriors, lines, strict=True)])
    kinds = np.array([line.kind for line in lines])
    return {"all": float(found.mean())} | {str(k): float(found[kinds == k].mean()) for k in np.unique(kinds)}
