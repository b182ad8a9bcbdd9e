r"""Test bed B1: real noise on known truth (Kang et al. 2021, sections 4.1 and 4.2).

Clean held-out spectra get the residuals of real exposures of *other* stars. An exposure's residual and its inverse variance
are scaled together until the median signal-to-noise ratio of the sum is the one asked for, so correlations, masks, sky
residuals and the pipeline's opinion of its errors stay as they were.

Residuals of one star are taken about the mean of its exposures, so they are anticorrelated and cancel when they are averaged
again. Where several exposures of a star are drawn, the noise of that mean is added back: with
:math:`w_e = v_e^{-1} / \sum_j v_j^{-1}`,

.. math:: \epsilon'_e = \sqrt{1 - w_e}\; \epsilon_e + \Big(\sum_j v_j^{-1}\Big)^{-1/2} g

has the variance of :math:`\epsilon_e` and is uncorrelated between exposures, for a g of unit variance that they share: the
whitened noise of an exposure of another star, without its outliers.
"""

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from ..errors import InputError
from ..spectrum import Grid, Observation
from ..train.library import Library
from ..train.noise import NoiseSamples

__all__ = ["GAPS", "TestBed", "choose", "cut_gap", "real_noise_bed", "reconstruction_loss", "white_noise_bed"]

GAPS = ("blue", "middle", "red")
OUTLIER = 4.0  # whitened noise beyond this belongs to one exposure, not to all


@dataclass(frozen=True, eq=False)
class TestBed:
    r"""Observations of known truth.

    Arguments:
        observations: N of them, flux in units of mean |flux| = 1.
        truth: Shape :math:`(N, D)`.
        label: Class index, shape :math:`(N,)`.
        classes: Names of the classes.
    """

    __test__ = False  # not a test, whatever its name

    observations: tuple[Observation, ...]
    truth: NDArray
    label: NDArray
    classes: tuple[str, ...]


def reconstruction_loss(flux: NDArray, truth: NDArray) -> NDArray:
    r"""Mean squared error over pixels, :math:`\sum_d (s_d - \hat s_d)^2 / D`; inputs :math:`(*, D)`."""
    return np.square(flux - truth).mean(-1)


def choose(library: Library, per_class: int, rng: np.random.Generator) -> Library:
    """As many spectra of each class, drawn without replacement as far as there are enough."""
    chosen = []
    for k in range(len(library.classes)):
        rows = np.flatnonzero(library.label == k)
        if len(rows) == 0:
            raise InputError(f"test bed: expected clean spectra of class {library.classes[k]}, got none")
        chosen.append(rng.choice(rows, per_class, replace=len(rows) < per_class))
    return library.take(np.concatenate(chosen))


def real_noise_bed(
    library: Library, noise: NoiseSamples, *, snr: float, exposures: int = 1, per_class: int = 30, seed: int = 0
) -> TestBed:
    """Clean spectra with the noise of real exposures.

    Arguments:
        library: Clean spectra, such as a library's test split.
        noise: Residuals of real exposures of other stars.
        snr: Median signal-to-noise ratio of each exposure.
        exposures: Exposures E of each spectrum; drawn among those of one star, without replacement where it has enough.
        per_class: Spectra of each class.
        seed: Seed of all draws.

    Raises:
        InputError: if a class has no spectrum.
    """
    rng = np.random.default_rng(seed)
    clean = choose(library, per_class, rng)
    star = np.asarray(noise.star)
    observations = []
    for i, truth in enumerate(clean.flux.astype(float)):
        chosen = rng.choice(np.unique(star))
        rows = np.flatnonzero(star == chosen)
        rows = rng.choice(rows, exposures, replace=len(rows) < exposures)
        ivar = np.where(noise.mask[rows], 0.0, noise.ivar[rows])
        eps = noise.eps[rows] if exposures == 1 else _independent(noise, star, chosen, rows, rng)
        each = [np.median(truth[i > 0] * np.sqrt(i[i > 0])) for i in ivar]
        factor = np.abs(np.array(each))[:, None] / snr
        observations.append(
            Observation(
                wavelength=clean.grid.wavelength,
                flux=truth + factor * eps,
                ivar=ivar / factor**2,
                name=f"{clean.name[i]} ({i})",
            )
        )
    return TestBed(tuple(observations), clean.flux.astype(float), clean.label, clean.classes)


def _independent(noise: NoiseSamples, star: NDArray, chosen: str, rows: NDArray, rng: np.random.Generator) -> NDArray:
    """Residuals (E, D) of one star's exposures with the noise of their mean added back."""
    ivar = np.where(noise.mask, 0.0, noise.ivar)
    total = ivar[star == chosen].sum(0)
    share = ivar[rows] / np.where(total > 0, total, 1.0)
    others = np.flatnonzero(star != chosen)
    other = rng.choice(others if len(others) else np.flatnonzero(star == chosen))
    white = np.clip(noise.eps[other] * np.sqrt(ivar[other]), -OUTLIER, OUTLIER)
    white = np.where(ivar[other] > 0, white, rng.permutation(white))  # what that exposure lacks
    common = rng.choice([-1.0, 1.0]) * white / np.sqrt(np.where(total > 0, total, np.inf))
    return np.sqrt(1 - np.minimum(share, 1.0)) * noise.eps[rows] + common


def white_noise_bed(library: Library, *, snr: float, exposures: int = 1, per_class: int = 30, seed: int = 0) -> TestBed:
    """Clean spectra with white Gaussian noise of one size at every pixel; arguments as in `real_noise_bed`."""
    rng = np.random.default_rng(seed)
    clean = choose(library, per_class, rng)
    shape = (exposures, clean.grid.size)
    observations = []
    for i, truth in enumerate(clean.flux.astype(float)):
        sigma = abs(np.median(truth)) / snr
        flux = truth + sigma * rng.normal(size=shape)
        name = f"{clean.name[i]} ({i})"
        ivar = np.full(shape, sigma**-2)
        observations.append(Observation(wavelength=clean.grid.wavelength, flux=flux, ivar=ivar, name=name))
    return TestBed(tuple(observations), clean.flux.astype(float), clean.label, clean.classes)


def cut_gap(bed: TestBed, where: str, width: int) -> TestBed:
    """The same bed with an interval of pixels missing from every exposure.

    Arguments:
        bed: Complete observations.
        where: 'blue', 'middle' or 'red'.
        width: Missing pixels.

    Raises:
        InputError: if the place is not known or nothing would be left.
    """
    grid: Grid = bed.observations[0].grid
    if where not in GAPS or not 0 <= width < grid.size:
        raise InputError(f"gap: expected blue, middle or red and 0 to {grid.size - 1} pixels, got {where} and {width}")
    start = {"blue": 0, "middle": (grid.size - width) // 2, "red": grid.size - width}[where]
    gap = np.zeros(grid.size, bool)
    gap[start : start + width] = True
    return replace(bed, observations=tuple(replace(o, mask=o.mask | gap) for o in bed.observations))
