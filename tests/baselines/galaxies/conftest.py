"""A toy universe: populations that no licence covers."""

import numpy as np
import pytest

from baselines.galaxies.bed import Bed
from baselines.galaxies.library import galaxy_library
from baselines.galaxies.templates import Templates
from bayesden.spectrum import Grid

AGES, METALS = np.linspace(7.8, 10.2, 7), np.array([-1.5, -0.5, 0.2])


@pytest.fixture(scope="session")
def templates() -> Templates:
    """Twenty-one populations: colour and hydrogen lines by age, other lines by metallicity."""
    wavelength = np.arange(3500.0, 7300.0, 0.9)
    metal, age = (x.ravel() for x in np.meshgrid(METALS, AGES, indexing="ij"))
    depth = {4102.9: 1.2 - (age - 8.6) ** 2, 4523.0: age - 7.0, 4545.0: 2 + metal, 4862.7: 11 - age, 5176.0: 2 + metal}
    flux = np.exp(-(age - 8)[:, None] * (6000 - wavelength) / 3000)
    for centre, strength in depth.items():
        profile = np.exp(-0.5 * ((wavelength - centre) / 4) ** 2)
        flux *= np.exp(-0.15 * np.maximum(strength, 0.1)[:, None] * profile)
    return Templates(wavelength, flux * 10 ** (-0.7 * (age - 9))[:, None], age, metal)


@pytest.fixture(scope="session")
def bed(templates) -> Bed:
    """The pixels of the real bed."""
    return Bed.of(templates)


@pytest.fixture(scope="session")
def small_bed(templates) -> Bed:
    """A stretch of pixels around the window in which S/N is measured."""
    return Bed(templates, Grid(4450.0 + 1.05 * np.arange(160)))


@pytest.fixture(scope="session")
def library(small_bed):
    """Galaxies on the small bed."""
    return galaxy_library(small_bed, "smooth", 600)
