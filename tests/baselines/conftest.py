"""What the tests of networks and tables share: a small library and noise."""

import numpy as np
import pytest
import torch

from bayesden.simulation.grids.rectangular import RectangularGrid
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


def star_grid(**options: object) -> RectangularGrid:
    """Spectra that tell temperature by their slope, and gravity, [Fe/H] and [α/Fe] by lines of their own."""
    loglam = torch.arange(np.log(7400.0), np.log(8900.0), 5e-5, dtype=torch.double) / np.log(10)
    ends = {"teff_K": (4000.0, 5000.0), "logg": (0.0, 5.0), "feh": (-2.0, 0.5), "alpha_fe": (-0.25, 0.5)}
    axes = {name: torch.linspace(*pair, 3).double() for name, pair in ends.items()}
    teff, *rest = torch.meshgrid(*axes.values(), indexing="ij")
    nodes = (10**loglam / 8000) ** (-(teff - 3000) / 500)[..., None]
    for value, (low, high), lines in zip(
        rest, list(ends.values())[1:], ((7800, 8400), (7950, 8250, 8600), (8100, 8500)), strict=True
    ):
        depth = 0.2 + 0.5 * (value - low) / (high - low)
        profile = sum(torch.exp(-0.5 * ((10**loglam - line) / 2.5) ** 2) for line in lines)
        nodes = nodes * (1 - depth[..., None] * profile)
    return RectangularGrid("stars", "a test", "1", loglam, axes, nodes, ends, **options)
