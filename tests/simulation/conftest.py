"""A small grid and a plain instrument, so that the simulator's own steps can be tested alone; conditions of PFS."""

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest
import torch

from bayesden.simulation.grids.rectangular import RectangularGrid
from bayesden.simulation.instruments.pfs_mr import PfsMr
from bayesden.simulation.instruments.protocol import Detector, Exposures
from bayesden.simulation.simulator import Simulator

TYPICAL = (0.8, 30.0, 0.45, 90.0, 60.0, 0.125)
FLUX_AB = 3.631e-20  # erg/s/cm²/Hz at AB 0
C_A_S = 2.99792458e18
LINES = (7699.0, 8185.0, 8500.4, 8544.4, 8664.5)


@dataclass(frozen=True, eq=False)
class PlainInstrument:
    """One detector and white noise whose level is drawn."""

    detectors: tuple[Detector, ...]
    exposures: int = 2
    name: str = "plain"
    conditions: tuple[str, ...] = ("noise",)
    uniforms: int = 1

    @property
    def wavelength(self):
        return self.detectors[0].wavelength

    def draw(self, uniform):
        return 0.05 + 0.05 * uniform.double()

    def project(self, arms):
        return arms[0]

    def expose(self, arms, conditions, random, index):
        sigma = (conditions * arms[0].mean(1, keepdim=True)).to(arms[0])
        sigma = sigma[:, :, None].expand(-1, self.exposures, arms[0].shape[1])
        noise = random.normal("plain/noise", index, sigma[0].numel()).view(sigma.shape)
        mask = torch.zeros_like(sigma, dtype=torch.bool)
        return Exposures(arms[0][:, None] + sigma * noise, sigma**-2, mask, sigma)

    def to(self, device):
        moved = tuple(replace(d, edges=d.edges.to(device), sigma=d.sigma.to(device)) for d in self.detectors)
        return replace(self, detectors=moved)


def line_grid(low=6950.0, high=9000.0, step=2e-5, **options):
    """Spectra with lines whose depths depend on two parameters, smoothly and not linearly."""
    loglam = torch.arange(np.log(low), np.log(high), step, dtype=torch.double) / np.log(10)
    wavelength = 10**loglam
    teff, feh = torch.linspace(4000, 5000, 5).double(), torch.linspace(-1, 0, 3).double()
    profile = sum(torch.exp(-0.5 * ((wavelength - line) / 1.0) ** 2) for line in LINES)
    depth = 0.5 * torch.exp(-(teff - 4000) / 1500)[:, None] * 10 ** (0.3 * feh)
    slope = (wavelength / 8000) ** (-teff / 2000)[:, None]
    nodes = slope[:, None] * (1 - depth[:, :, None] * profile)
    return RectangularGrid("lines", "a test", "1", loglam, {"teff_K": teff, "feh": feh}, nodes, **options)


def plain_instrument(size=300, low=7600.0, high=8700.0, exposures=2):
    edges = torch.linspace(low, high, size + 1, dtype=torch.double)
    detector = Detector("plain", edges, torch.linspace(1.4, 1.6, size, dtype=torch.double))
    return PlainInstrument((detector,), exposures)


@pytest.fixture(scope="session")
def simulator():
    return Simulator(line_grid(), plain_instrument(), seed=3)


@pytest.fixture(scope="session")
def reference_grid(reference_data: Path) -> Path:
    path = reference_data / "etc" / "pfs_mr_etc_grid.npz"
    if not path.is_file():
        pytest.skip(f"no reference grid: {path}")
    return path


def flat(instrument: PfsMr, ab_mag: float, rows: int = 1) -> torch.Tensor:
    """A source of constant AB magnitude in 1e-17 erg/s/cm²/Å."""
    flux = 1e17 * FLUX_AB * 10 ** (-0.4 * ab_mag) * C_A_S / instrument.wavelength.square()
    return flux.float().expand(rows, -1)


def conditions(*rows: tuple[float, ...]) -> torch.Tensor:
    return torch.tensor(rows, dtype=torch.float64)


def varied(column: int, *values: float) -> torch.Tensor:
    """The typical conditions with one of them changed."""
    return conditions(*((*TYPICAL[:column], value, *TYPICAL[column + 1 :]) for value in values))
