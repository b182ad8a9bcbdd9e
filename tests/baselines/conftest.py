"""What the tests of networks and tables share: a small library and noise."""

import numpy as np
import pytest

from bayesden.spectrum import Grid, Observation
from bayesden.train.library import Library
from bayesden.train.noise import NoiseSamples, residuals

SIZE = 128


def smooth_library(size: int = SIZE, n: int = 240) -> Library:
    """Spectra of two classes with a slope and two lines, in all splits."""
    rng = np.random.default_rng(0)
    x, label = np.linspace(-1, 1, size), np.arange(n) % 2
    slope, depth = 0.3 * rng.uniform(-1, 1, (n, 1)) + 0.3 * label[:, None], rng.uniform(0.1, 0.6, (n, 2))
    lines = sum(d[:, None] * np.exp(-0.5 * ((x - c) / 0.06) ** 2) for c, d in zip((-0.4, 0.3), depth.T, strict=True))
    flux = (1 + slope * x) * (1 - lines)
    flux = (flux / np.abs(flux).mean(1, keepdims=True)).astype(np.float32)
    return Library(Grid.uniform(size=size), flux, label, np.array([f"star-{i}" for i in range(n)]), classes=("A", "M"))


@pytest.fixture(scope="session")
def library() -> Library:
    return smooth_library()


@pytest.fixture(scope="session")
def noise(library: Library) -> NoiseSamples:
    """Ten exposures of a star, with masked pixels."""
    rng = np.random.default_rng(1)
    flux, ivar = 1 + 0.1 * rng.normal(size=(10, SIZE)), np.full((10, SIZE), 100.0)
    ivar[:, 40:43] = 0.0
    return residuals(Observation(library.grid.wavelength, flux, ivar, name="noise"))
