"""The simulator's noise over 10,000 spectra; the Cramér–Rao bound against fits with the true simulator: `make statistical`."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from bayesden.evaluate.efficiency import cramer_rao_bound, efficiency, jacobian, oracle_fit
from bayesden.simulation.grids.analytic import COARSE_AXES, analytic_grid
from bayesden.simulation.instruments.pfs_mr import pfs_mr
from bayesden.simulation.instruments.sdss import Effects, Sdss
from bayesden.simulation.random import Random
from bayesden.simulation.simulator import Simulator
from tests.simulation.conftest import line_grid

pytestmark = pytest.mark.statistical

SPECTRA, BATCH = 10_000, 100
QUIET = Effects.none()  # Poisson and read noise alone
STAR = {"teff_K": 4250.0, "logg": 1.2, "feh": -0.5, "alpha_fe": 0.2, "axis": -1, "redshift": 1e-3, "ebv": 0.05}
UNKNOWN = ("teff_K", "logg", "feh", "alpha_fe", "redshift", "ebv", "magnitude")


class Moments:
    """Chi-square and correlation of neighbours, over all spectra that are given."""

    def __init__(self):
        self.square, self.product, self.pixels, self.pairs = 0.0, 0.0, 0, 0

    def add(self, z, mask):
        z = torch.where(mask, 0.0, z).double()
        self.square += float(z.square().sum())
        self.pixels += int((~mask).sum())
        self.product += float((z[..., 1:] * z[..., :-1]).sum())
        self.pairs += int((~mask[..., 1:] & ~mask[..., :-1]).sum())

    def chi_square(self):
        """Mean of z², and how many sampling errors it is from 1."""
        mean = self.square / self.pixels
        return mean, (mean - 1) / np.sqrt(2 / self.pixels)

    def neighbours(self):
        """Mean product of neighbours, and how many sampling errors it is from 0."""
        mean = self.product / self.pairs
        return mean, mean * np.sqrt(self.pairs)


def moments(simulator, error=1.0):
    total = Moments()
    for seen in simulator.stream(SPECTRA, batch=BATCH):
        total.add((seen.flux - seen.clean[:, None]) / (error * seen.sigma), seen.mask)
    return total


@pytest.fixture(scope="module")
def pfs():
    return moments(Simulator(line_grid(7060.0, 8900.0), pfs_mr()))


def test_pfs_noise_is_what_it_says(pfs):
    print(f"\npfs-mr: chi-square {pfs.chi_square()}, neighbours {pfs.neighbours()}")
    assert abs(pfs.chi_square()[1]) < 4
    assert abs(pfs.neighbours()[1]) < 4


def test_an_error_of_one_in_a_thousand_would_be_seen():
    wrong = moments(Simulator(line_grid(7060.0, 8900.0), pfs_mr()), error=1.001)
    assert wrong.chi_square()[1] < -4


@pytest.mark.parametrize("sky_residual", [0.0, 0.015])
def test_sdss_noise_is_what_it_says(sky_residual):
    instrument = Sdss(exposures=1, effects=replace(QUIET, sky_residual=sky_residual))
    grid, ranges = line_grid(3500.0, 10600.0, 5e-5), {"magnitude": (16.0, 20.5)}
    total = moments(Simulator(grid, instrument, seed=12, ranges=ranges, normalize=False))
    print(f"\nsdss, residuals {sky_residual}: chi-square {total.chi_square()}, neighbours {total.neighbours()}")
    assert abs(total.chi_square()[1]) < 4
    assert total.neighbours()[0] > 0.05  # pixels of the output share pixels of the camera


@pytest.mark.parametrize(("sky_residual", "correlated"), [(0.0, False), (0.015, True)])
def test_noise_of_the_cameras_own_pixels_is_white_but_for_the_sky_lines(sky_residual, correlated):
    instrument = Sdss(exposures=1, effects=replace(QUIET, sky_residual=sky_residual))
    totals = [Moments() for _ in instrument.cameras]
    for start in range(0, 2000, BATCH):
        index, random = torch.arange(start, start + BATCH), Random(13)
        arms = [torch.full((BATCH, camera.size), 3.0) for camera in instrument.cameras]
        conditions = instrument.draw(random.uniform("conditions", index, instrument.uniforms))
        for total, seen in zip(totals, instrument.expose_cameras(arms, conditions, random, index), strict=True):
            total.add((seen.flux - 3.0) / seen.sigma, seen.ivar <= 0)
    for total, camera in zip(totals, instrument.cameras, strict=True):
        print(f"\n{camera.facts.name}: chi-square {total.chi_square()}, neighbours {total.neighbours()}")
        lines = correlated and camera.facts.name.startswith("r")  # few lines are bright in the blue
        assert abs(total.chi_square()[1]) < 4
        assert total.neighbours()[1] > 10 if lines else correlated or abs(total.neighbours()[1]) < 4


@pytest.fixture(scope="module")
def simulator():
    """The embedded grid with few nodes over the whole range of pfs-mr; the star is inside one of its cells."""
    grid = replace(analytic_grid((7070.0, 8886.0), 2e-5, COARSE_AXES, cache=False), mode="multilinear")
    return Simulator(grid, pfs_mr(), normalize=False)


def stars(simulator, magnitude, n):
    """The same star n times in the middle of the range of conditions: parameters, noiseless flux, sigma."""
    instrument = simulator.instrument
    conditions = instrument.draw(torch.full((1, instrument.uniforms), 0.5))
    theta = torch.cat([torch.tensor([[*STAR.values(), magnitude]]).double(), conditions], 1)
    clean = simulator.noiseless(theta)
    sigma = instrument.variance(clean, conditions).sqrt()
    return theta.repeat(n, 1), clean, sigma


def columns(simulator):
    return [simulator.parameters.index(name) for name in UNKNOWN]


def test_the_bound_is_a_share_of_the_noise_that_does_not_depend_on_its_level(simulator):
    print("\n| AB | S/N | noise, rms | bound, rms | improvement, rms of flux over sigma |\n|---|---|---|---|---|")
    for magnitude in (19.0, 20.0, 21.0, 22.0, 22.5):
        theta, clean, sigma = stars(simulator, magnitude, 1)
        bound = cramer_rao_bound(jacobian(simulator.noiseless, theta, columns(simulator)), sigma.double())
        level = clean.mean()
        share = float((bound / sigma.double().square()).mean())
        rms = [float(v.mean().sqrt() / level) for v in (sigma.square(), bound)]
        print(
            f"| {magnitude:g} | {float((clean / sigma).median()):.1f} | {rms[0]:.2%} | {rms[1]:.2%} | {share**-0.5:.1f} |"
        )
        assert share == pytest.approx(len(UNKNOWN) / clean.shape[1], rel=1e-6)


@pytest.mark.parametrize("magnitude", [19.0, 20.0])
def test_a_fit_with_the_true_simulator_reaches_the_bound(simulator, magnitude):
    """Brighter than S/N 20, where estimates stay inside the cell; fainter, the grid's limits help."""
    n = 120
    theta, clean, sigma = stars(simulator, magnitude, n)
    noise = Random(14).normal("noise", torch.arange(n), clean.shape[1])
    start = theta.clone()
    start[:, columns(simulator)] += torch.tensor([30.0, 0.1, 0.05, 0.02, 2e-6, 0.01, 0.002]).double()
    found = oracle_fit(
        simulator.noiseless, clean + sigma * noise, sigma.expand(n, -1), start, columns(simulator), steps=5
    )
    error = (simulator.noiseless(found) - clean).double()
    chi = (error / sigma.double()).square().sum(1)  # of as many degrees of freedom as there are parameters
    slope = jacobian(simulator.noiseless, theta[:1], columns(simulator))
    achieved = efficiency(cramer_rao_bound(slope, sigma.double()), error.square())
    print(f"\nAB {magnitude:g}: chi-square {float(chi.mean()):.2f}, efficiency {float(achieved):.3f}")
    assert float(chi.mean()) == pytest.approx(len(UNKNOWN), abs=4 * np.sqrt(2 * len(UNKNOWN) / n))
    assert float(achieved) == pytest.approx(1, abs=0.2)
    whitened = slope[0] / sigma[0, :, None].double()
    scatter = torch.linalg.inv(whitened.T @ whitened).diagonal().sqrt()
    spread = (found - theta)[:, columns(simulator)].std(0)
    assert torch.allclose(spread, scatter, rtol=4 / np.sqrt(2 * n))
