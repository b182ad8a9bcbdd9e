"""Our model for the stars of test bed B3: its generator is trained on the simulator's noiseless spectra, at rest.

    python -m baselines simulated-model --simulation train.h5 validation.h5 --out pfs-mr.safetensors

The parameters of the simulated stars are kept; velocity and dust are taken out, since the model has them as parameters. The
noise is fitted on the simulation's own.
"""

from argparse import ArgumentParser, Namespace
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from bayesden.errors import InputError
from bayesden.model.checkpoint import save_model
from bayesden.model.noiseflow import NoiseFlow
from bayesden.model.nuisance import Nuisance
from bayesden.model.rest_frame import RestFrame
from bayesden.simulation.build import build_simulator
from bayesden.simulation.effects import PixelIntegrator
from bayesden.simulation.instruments.protocol import Detector
from bayesden.simulation.simulator import Simulation, Simulator
from bayesden.simulation.stored import read_simulation
from bayesden.spectrum import Grid
from bayesden.train.generator import fit_generator
from bayesden.train.library import Library
from bayesden.train.noise import NoiseSamples, fit_noise
from bayesden.train.prior import assemble, fit_prior
from bayesden.train.workflow import rest_frame

from .arguments import add_seed

__all__ = ["add_arguments", "rest_library", "run", "simulated_noise"]

STEP = 4e-5  # of the cells in ln(wavelength): four fifths of a pixel
REACH_KMS = 920.0
NUISANCE = {"calibration_sd": 0.0, "velocity_sd_kms": 400.0, "ebv_mean": 0.05, "ebv_sd": 0.03}
NETWORK = {"latent_dim": 6, "components": 128, "epochs": 300}
NOISY = 60  # spectra that the noise is fitted on


def rest_library(simulation: Simulation, simulator: Simulator, frame: RestFrame) -> Library:
    """The simulation's stars at rest and without dust on a frame's cells, mean |flux| = 1.

    Raises:
        InputError: if the simulation's stars are not of the simulator's grid.
    """
    names, table = simulator.grid.parameters, simulation.parameters
    if not set(names) <= set(table.dtype.names):
        raise InputError(f"simulation: expected columns {', '.join(names)}, got {', '.join(table.dtype.names)}")
    instrument = simulator.instrument.detectors[0]
    edges = torch.from_numpy(frame.cells.edges.copy())
    centre = (edges[1:] + edges[:-1]) / 2
    sigma = torch.from_numpy(np.interp(centre, instrument.wavelength, instrument.sigma))
    integrate = PixelIntegrator.of(Detector("rest", edges, sigma), simulator.grid.loglam)
    parameters = torch.from_numpy(np.stack([table[name] for name in names], 1))
    flux = torch.cat([_at_rest(simulator, integrate, part) for part in parameters.split(64)]).numpy()
    flux = flux / np.abs(flux).mean(1, keepdims=True)
    stars = np.array([f"simulated/{i}" for i in table["index"]])
    label = np.zeros(len(flux), int)
    return Library(frame.cells, flux.astype(np.float32), label, stars, recipe={"rest": True}, classes=("late",))


def _at_rest(simulator: Simulator, integrate: PixelIntegrator, parameters: Tensor) -> Tensor:
    still = parameters.new_zeros(len(parameters))
    return integrate(simulator.grid.flux(parameters), still, still)


def simulated_noise(simulation: Simulation, n: int) -> NoiseSamples:
    """The noise of n simulated spectra, in units of each star's mean |flux|."""
    clean = simulation.clean[:n].double().numpy()
    unit = np.abs(clean).mean(1, keepdims=True)
    eps, ivar, mask = (getattr(simulation, key)[:n, 0].numpy() for key in ("flux", "ivar", "mask"))
    eps = np.where(mask, 0.0, (eps - clean) / unit)
    arm: NDArray = np.zeros(eps.shape, np.uint8)
    return NoiseSamples(
        simulation.wavelength.numpy(), eps, ivar * unit**2, mask, arm, tuple(f"simulated/{i}" for i in range(n))
    )


def _noise(simulation: Simulation, seed: int) -> NoiseFlow:
    samples = simulated_noise(simulation, NOISY)
    return fit_noise(samples, kind="robust", seed=seed, epochs=10, context=(), profile="none")[0]


def add_arguments(parser: ArgumentParser) -> None:
    """The command's own arguments."""
    text = "simulations of pfs-mr with the analytic grid: whose stars, and whose noise"
    parser.add_argument("--simulation", nargs=2, metavar="FILE", required=True, help=text)
    parser.add_argument("--out", default="pfs-mr.safetensors", help="file for the model")
    add_seed(parser)


def run(arguments: Namespace) -> None:
    """The command: see `python -m baselines simulated-model --help`."""
    stars, noisy = map(read_simulation, arguments.simulation)
    grid = Grid(stars.wavelength.numpy())
    frame = rest_frame(grid, step=STEP, reach_kms=REACH_KMS)
    simulator = build_simulator("pfs-mr")
    library = rest_library(stars, simulator, frame)
    print(f"{len(library)} stars at rest on {frame.cells.size} cells", flush=True)
    generator = fit_generator(library, seed=arguments.seed, **NETWORK).generator
    prior = fit_prior(library, generator, seed=arguments.seed, kind="local-kde")
    noise = _noise(noisy, arguments.seed)
    model = assemble(library, generator, noise, prior=prior, nuisance=Nuisance(**NUISANCE), frame=frame, rank=12)
    save_model(model, Path(arguments.out))
    print(f"wrote {arguments.out}")
