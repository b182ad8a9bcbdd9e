"""The simulator against a straightforward NumPy and SciPy implementation of the same steps, one spectrum after the other.

On one thread, and by processor time: what other processes take does not count. (Threads that wait for a core which another
process has burn time of their own; `BAYESDEN_BENCH_THREADS=2` is for an idle machine, and then the clock's rates count.)
"""

import os
import time
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import pytest
import torch
from astropy import units
from dust_extinction.parameter_averages import CCM89
from scipy.interpolate import CubicSpline
from scipy.special import ndtr

from bayesden.simulation.augment import Augmentation
from bayesden.simulation.grids.rectangular import RectangularGrid
from bayesden.simulation.instruments.pfs_mr import pfs_mr
from bayesden.simulation.random import Random
from bayesden.simulation.simulator import Simulator

pytestmark = pytest.mark.benchmark

THREADS = int(os.environ.get("BAYESDEN_BENCH_THREADS", "1"))
NEW, NOISE, REFERENCE = 2048, 20000, 8  # spectra
AXES = {
    "teff_K": np.arange(3500.0, 5001, 250),
    "logg": np.arange(0.0, 5.1, 1),
    "feh": np.array([-2.5, -2, -1.5, -1, -0.5, 0, 0.5, 0.75]),
    "alpha_fe": np.array([-0.25, 0, 0.25, 0.5]),
}


@pytest.fixture(scope="module", autouse=True)
def threads():
    before = torch.get_num_threads()
    torch.set_num_threads(THREADS)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def simulator():
    """A grid of the size of the embedded one; what is in it does not matter for speed."""
    loglam = torch.arange(np.log(7060.0), np.log(8900.0), 2e-5, dtype=torch.double) / np.log(10)
    shape = [len(v) for v in AXES.values()]
    random = torch.Generator().manual_seed(0)
    nodes = 1 - 0.3 * torch.rand(*shape, len(loglam), generator=random)
    grid = RectangularGrid(
        "bench", "a benchmark", "1", loglam, {k: torch.from_numpy(v) for k, v in AXES.items()}, nodes
    )
    return Simulator(grid, pfs_mr(), seed=1)


def reference(simulator: Simulator, theta: np.ndarray, random: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """One spectrum, each step as its textbook has it: noiseless and noisy flux."""
    values = dict(zip(simulator.parameters, theta, strict=True))
    names, k = list(AXES), int(values["axis"])
    place = tuple(slice(None) if i == k else np.abs(AXES[n] - values[n]).argmin() for i, n in enumerate(names))
    flux = CubicSpline(AXES[names[k]], simulator.grid.nodes.numpy()[place], bc_type="not-a-knot")(values[names[k]])
    wavelength = 10 ** simulator.grid.loglam.numpy() * (1 + values["redshift"])
    flux = flux * 10 ** (-0.4 * values["ebv"] * 3.1 * CCM89(Rv=3.1)(wavelength * units.AA))
    detector = simulator.instrument.detectors[0]
    edges, width = detector.edges.numpy(), np.gradient(wavelength)
    centre = (edges[1:] + edges[:-1]) / 2
    sigma = np.interp(wavelength, centre, detector.sigma.numpy())
    seen = np.empty(len(centre))
    for d in range(len(centre)):
        near = slice(*np.searchsorted(wavelength, [edges[d] - 3.5, edges[d + 1] + 3.5]))
        share = ndtr((edges[d + 1] - wavelength[near]) / sigma[near]) - ndtr(
            (edges[d] - wavelength[near]) / sigma[near]
        )
        seen[d] = (flux[near] * share * width[near]).sum() / (edges[d + 1] - edges[d])
    photons = np.diff(edges**2) / 2 * 1e-17
    magnitude = -2.5 * np.log10((seen * photons).sum() / 2.99792458e18 / np.log(edges[-1] / edges[0]) / 3.631e-20)
    seen *= 10 ** (-0.4 * (values["magnitude"] - magnitude))
    conditions = torch.tensor([[values[name] for name in simulator.instrument.conditions]])
    variance = simulator.instrument.variance(torch.from_numpy(seen)[None], conditions)[0].numpy()
    noisy = seen + random.normal(size=len(seen)) * np.sqrt(variance)
    scale = 0.5 / np.median(seen)
    return seen * scale, noisy * scale


@dataclass(frozen=True)
class Rate:
    """Spectra a second: by the clock, and for each second of a core."""

    clock: float
    core: float

    @property
    def counts(self) -> float:
        """The one that other processes do not disturb."""
        return self.core if THREADS == 1 else self.clock

    def __str__(self) -> str:
        return f"{self.clock:.4g} a second on {THREADS} threads, {self.core:.4g} for each second of a core"


def rate(work: Callable[[], object], count: int) -> Rate:
    wall, core = time.perf_counter(), time.process_time()
    work()
    return Rate(count / (time.perf_counter() - wall), count / (time.process_time() - core))


def test_new_spectra(simulator):
    theta = simulator.draw(torch.arange(REFERENCE)).numpy()
    random = np.random.default_rng(0)
    slow = rate(lambda: [reference(simulator, row, random) for row in theta[: REFERENCE // 2]], REFERENCE // 2)
    ours = simulator.observe(torch.arange(REFERENCE))
    for row, clean in zip(theta, ours.clean.numpy(), strict=True):  # the reference takes a cell by its middle
        assert np.abs(reference(simulator, row, random)[0] - clean).max() < 5e-4
    list(simulator.stream(256))
    fast = rate(lambda: [batch.flux.shape for batch in simulator.stream(NEW)], NEW)
    print(f"\nnew spectra: {fast}\nNumPy and SciPy: {slow.counts:.3g}; ratio {fast.counts / slow.counts:.0f}")
    assert fast.counts >= 500
    assert fast.counts / slow.counts >= 100


def test_noise_only_epochs(simulator):
    made = simulator.observe(torch.arange(500))
    clean = made.clean.repeat(8, 1)
    training = Augmentation(clean, made.sigma[:, 0].repeat(8, 1), seed=0)
    rows = torch.arange(len(clean))

    def epoch(number: int) -> None:
        for _ in training.epoch(number):
            pass

    epoch(0)
    epochs = NOISE // len(clean)
    full = rate(lambda: [epoch(e) for e in range(epochs)], epochs * len(clean))
    random = Random(0)

    def noise_only(number: int) -> None:
        for row in rows.split(250):
            torch.addcmul(clean[row], training.sigma[row], random.normal(f"noise/{number}", row, clean.shape[1]))

    bare = rate(lambda: [noise_only(e) for e in range(epochs)], epochs * len(clean))
    generator = np.random.default_rng(0)
    numpy = rate(lambda: [generator.normal(size=clean.shape[1]) for _ in range(1000)], 1000)
    print(
        f"\nnoise only: {bare}\nwith calibration, offset and scale: {full}\nNumPy's normal numbers alone: {numpy.counts:.4g}"
    )
    assert bare.counts >= 10_000
