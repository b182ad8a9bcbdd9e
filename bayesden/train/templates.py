r"""Variety from few templates: mixtures, line depths, reddening, Doppler shifts and calibration errors.

A rest-frame spectrum is drawn from one *object* of a class and then seen through

.. math::
    s(\lambda) \propto f\!\left(\frac{\lambda}{1 + v/c}\right) 10^{-0.4 A(\lambda)} \exp\Big(\sum_{j=1}^{3} c_j T_j\Big)

with the extinction curve of Cardelli et al. (1989, ApJ 345, 245), :math:`R_V = 3.1`, and Chebyshev polynomials
:math:`T_j`. Objects are, by class:

- rows of the theoretical archetypes' coefficients (A, B, F, G, K, M, WD), convolved to R = 2000;
- empirical templates (PyHammer, Elodie), each mixed with a near neighbour of the same class *and the same split*;
- where a class has fewer than `FEW` empirical templates (O, CV, Carbon, and the empirical white dwarfs), *variants*: the
  depth of the lines against the continuum is raised to a random power and the continuum is tilted. There each variant is
  an object: held-out variants share their parents with the training set, so scores of those classes measure
  interpolation, not unseen stars.
"""

import hashlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter1d, percentile_filter

from ..model.class_prior import CLASSES
from ..simulation.effects import extinction_curve
from ..simulation.grids.template_files import Template, TemplateSet, read_templates
from ..spectrum import Grid
from .sources import Draws, split_of

__all__ = ["FEW", "Template", "TemplateSet", "read_templates", "spectra_from_templates"]

FEW = 12
SPEED_OF_LIGHT_KMS = 299792.458


def _object_seed(seed: int, name: str, draw: int) -> np.random.Generator:
    """A generator that depends on the object and not on the order in which objects are drawn."""
    digest = int.from_bytes(hashlib.sha256(name.encode()).digest()[:8], "big")
    return np.random.default_rng([seed, digest, draw])


def _continuum(flux: NDArray, percentile: float) -> NDArray:
    """A running percentile over about 300 Å, smoothed."""
    return gaussian_filter1d(percentile_filter(flux, percentile, size=450, mode="nearest"), 150, mode="nearest")


class _ClassSampler:
    """Draws rest-frame spectra of one class from a template set."""

    def __init__(self, templates: TemplateSet, spectral_class: str) -> None:
        self.set, self.spectral_class = templates, spectral_class
        self.empirical = templates.of_class(spectral_class)
        self.few = len(self.empirical) < FEW
        self.archetypes = templates.bases.get(spectral_class)
        if spectral_class == "CV" and templates.eigenspectra is not None:
            self.few = True
        percentile = 50 if spectral_class == "CV" else 90
        self.continua = {t.name: _continuum(t.flux, percentile) for t in self.empirical} if self.few else {}
        self.splits = {t.name: split_of(t.name) for t in self.empirical}

    def objects(self, n: int, seed: int) -> list[tuple[str, int]]:
        """n (object name, draw number) pairs: archetypes first, then templates in turn."""
        rng = np.random.default_rng([seed, CLASSES.index(self.spectral_class)])
        empirical_share = 0.0 if not (self.empirical or self.spectral_class == "CV") else 0.3 if self.few else 0.5
        n_archetypes = 0 if self.archetypes is None else n - round(n * empirical_share)
        pairs = []
        if n_archetypes:
            rows = rng.permutation(len(self.archetypes[1]))
            names = [f"archetype/{self.spectral_class}/{rows[i % len(rows)]:04d}" for i in range(n_archetypes)]
            pairs += [(name, i // len(rows)) for i, name in enumerate(names)]
        rest = n - n_archetypes
        if self.few:
            pairs += [(f"variant/{self.spectral_class}/{i:05d}", 0) for i in range(rest)]
        else:
            pairs += [(self.empirical[i % len(self.empirical)].name, i // len(self.empirical)) for i in range(rest)]
        return pairs

    def draw(self, name: str, rng: np.random.Generator) -> NDArray:
        """A rest-frame spectrum of an object on the fine grid."""
        if name.startswith("archetype/"):
            basis, coefficients = self.archetypes
            return coefficients[int(name.rsplit("/", 1)[1])] @ basis
        if not name.startswith("variant/"):
            return self._mixture(next(t for t in self.empirical if t.name == name), rng)
        return self._cataclysmic(rng) if self.spectral_class == "CV" else self._variant(rng)

    def _mixture(self, template: Template, rng: np.random.Generator) -> NDArray:
        same = [t for t in self.empirical if t is not template and self.splits[t.name] == self.splits[template.name]]
        if not same or rng.random() < 0.3:
            return template.flux
        near = sorted(same, key=lambda t: np.square(t.flux - template.flux).mean())[:4]
        share = rng.random()
        return (1 - share) * template.flux + share * near[rng.integers(len(near))].flux

    def _reshape(self, flux: NDArray, continuum: NDArray, power: float, slope: float) -> NDArray:
        lines = np.clip(flux / np.maximum(continuum, 1e-3 * continuum.max()), 0.02, 20.0)
        return continuum * lines**power * (self.set.wavelength / 6500.0) ** slope

    def _variant(self, rng: np.random.Generator) -> NDArray:
        first, second = rng.integers(len(self.empirical), size=2)
        share = rng.random()
        a, b = self.empirical[first], self.empirical[second]
        flux = (1 - share) * a.flux + share * b.flux
        continuum = (1 - share) * self.continua[a.name] + share * self.continua[b.name]
        tilt = 0.5 if self.spectral_class == "Carbon" else 0.03  # hot stars share the Rayleigh-Jeans slope
        return self._reshape(flux, continuum, rng.uniform(0.4, 1.5), rng.normal(0, tilt))

    def _cataclysmic(self, rng: np.random.Generator) -> NDArray:
        mean, *others = self.set.eigenspectra
        while True:  # keep the draws whose continuum is positive
            flux = mean + sum(rng.uniform(-2, 2) * other for other in others)
            continuum = _continuum(flux, 50)
            if continuum.min() > 0.02 * continuum.max():
                return self._reshape(flux, continuum, rng.uniform(0.2, 1.6), rng.normal(0, 0.4))


class _Observer:
    """Doppler shift, extinction, calibration error and pixels, in that order; flux is conserved."""

    def __init__(self, fine: NDArray, grid: Grid) -> None:
        self.edges = np.sqrt(fine[1:] * fine[:-1])  # of the inner pixels
        self.inner, self.grid = slice(1, -1), grid
        self.curve = extinction_curve(fine)
        x = np.interp(fine, grid.wavelength[[0, -1]], [-1, 1])
        self.chebyshev = np.polynomial.chebyshev.chebvander(x, 3)[:, 1:]

    def __call__(self, flux: NDArray, v_rad_kms: float, ebv: float, tilts: NDArray) -> NDArray:
        seen = flux * 10 ** (-0.4 * ebv * self.curve) * np.exp(self.chebyshev @ tilts)
        cumulative = np.concatenate([[0], np.cumsum(seen[self.inner] * np.diff(self.edges))])
        shifted = self.edges * (1 + v_rad_kms / SPEED_OF_LIGHT_KMS)
        pixels = np.diff(np.interp(self.grid.edges, shifted, cumulative)) / np.diff(self.grid.edges)
        return pixels / np.abs(pixels).mean()


def spectra_from_templates(
    folder: Path,
    grid: Grid,
    *,
    per_class: int,
    seed: int,
    velocity_kms: float,
    ebv_max: float,
    calibration: float,
    rest: bool = False,
    progress: Callable[[int, int], None] | None = None,
) -> Draws:
    """Draw spectra from the template files of a folder; arguments as in `library.build_library`."""
    templates = read_templates(folder, grid)
    observe = _Observer(templates.wavelength, grid)
    seen = 0.0 if rest else 1.0
    flux, label, name, velocity, reddening = [], [], [], [], []
    for spectral_class in templates.classes:
        sampler = _ClassSampler(templates, spectral_class)
        for object_name, draw in sampler.objects(per_class, seed):
            rng = _object_seed(seed, object_name, draw)
            # drawn at rest too, so that the star itself is the same
            v, e = seen * rng.uniform(-velocity_kms, velocity_kms), seen * rng.uniform(0, ebv_max)
            star = sampler.draw(object_name, rng)
            flux.append(observe(star, v, e, seen * rng.normal(0, calibration, 3)).astype(np.float32))
            label.append(CLASSES.index(spectral_class))
            name.append(object_name)
            velocity.append(v)
            reddening.append(e)
            if progress:
                progress(len(flux), per_class * len(templates.classes))
    parameters = {"v_rad_kms": np.array(velocity), "ebv": np.array(reddening)}
    return Draws(np.array(flux), np.array(label), np.array(name), templates.sources, parameters)
