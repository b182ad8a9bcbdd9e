"""Small template files in the formats of the reference data, and a library drawn from a known manifold."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from bayesden.spectrum import Grid
from bayesden.train.library import Library

LOGLAM = np.arange(3.55, 4.02, 2e-4)
STARS = ("O5", "B3", "A0", "F5", "G2", "K3", "M2")


def line(wavelength: np.ndarray, centre: float, depth: float, width: float = 15.0) -> np.ndarray:
    return 1 - depth * np.exp(-0.5 * ((wavelength - centre) / width) ** 2)


@pytest.fixture(scope="session")
def templates(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with all four kinds of template files; every spectrum is a power law with a line at 6563 Å."""
    folder = tmp_path_factory.mktemp("templates")
    wavelength, rng = 10**LOGLAM, np.random.default_rng(0)
    kinds = [s for s in STARS for _ in range(14)]
    slope = np.repeat(np.linspace(-3, 1, len(STARS)), 14) + 0.1 * rng.standard_normal(len(kinds))
    flux = (wavelength / 6000) ** slope[:, None] * line(wavelength, 6563.0, 0.5)
    names = np.array([f"{kind}_{i}" for i, kind in enumerate(kinds)])
    np.savez(
        folder / "pyhammer.npz", loglam=LOGLAM, flux=flux, name=names, spectral_class=np.array([k[0] for k in kinds])
    )
    others = np.array(["Carbon", "CarbonB", "WDhotter", "WDcooler", "CalciumWD"])
    np.savez(folder / "elodie.npz", loglam=LOGLAM, flux=flux[:5] * line(wavelength, 5200.0, 0.3, 80), name=others)
    emission = 2 - line(wavelength, 6563.0, 1.0)
    eigen = np.array([emission * (wavelength / 6000) ** -1, 0.1 * emission, 0.05 * (wavelength / 6000)])
    np.savez(folder / "cv.npz", loglam=LOGLAM, eigenspectra=eigen)
    fine = np.arange(3500.0, 10500.0, 1.0)
    basis = np.array([(fine / 6000) ** -2 * line(fine, 6563.0, 0.6, 8), (fine / 6000) ** 1])
    rows = np.column_stack([np.ones(50), rng.uniform(0, 0.3, 50)])
    np.savez(folder / "archetypes.npz", wavelength_A=fine, basis_A=basis, coeff_A=rows, basis_WD=basis, coeff_WD=rows)
    return folder


def make_library(n: int = 240, size: int = 64, classes: tuple[str, ...] = ("A", "G", "M"), seed: int = 0) -> Library:
    """Spectra on a curved two-dimensional manifold."""
    rng = np.random.default_rng(seed)
    label = np.arange(n) % len(classes)
    u = rng.standard_normal((n, 2)) * 0.5 + label[:, None]
    x = np.linspace(0, 1, size)
    flux = 1 + 0.4 * np.sin(4 * x + u[:, :1]) + 0.2 * u[:, 1:] * np.cos(9 * x)
    flux = (flux / np.abs(flux).mean(1, keepdims=True)).astype(np.float32)
    name = np.array([f"star-{i // 2}" for i in range(n)])
    return Library(Grid.uniform(size=size), flux, label, name, classes=classes)


@pytest.fixture(scope="session")
def library() -> Callable[..., Library]:
    return make_library
