"""Our model's training set for simulated stars: at rest, and moved again what the simulator shows; the noise is its noise."""

import numpy as np
import pytest
import torch

from baselines.simulated_model import rest_library, simulated_noise
from bayesden.model.rest_frame import LIGHT_KMS
from bayesden.simulation.simulator import Simulator
from bayesden.spectrum import Grid
from bayesden.train.workflow import rest_frame
from tests.simulation.conftest import line_grid, plain_instrument


@pytest.fixture(scope="module")
def simulator() -> Simulator:
    return Simulator(line_grid(), plain_instrument(exposures=1), seed=3)


def test_stars_at_rest_moved_and_reddened_are_those_of_the_simulation(simulator):
    simulation = simulator.observe(torch.arange(12))
    frame = rest_frame(Grid(simulation.wavelength.numpy()), step=1e-4, reach_kms=920.0)
    library = rest_library(simulation, simulator, frame)
    table = simulation.parameters
    velocity, ebv = (torch.from_numpy(x.copy()) for x in (LIGHT_KMS * table["redshift"], table["ebv"]))
    seen = frame(torch.from_numpy(library.flux).double()[:, None], velocity, ebv)[:, 0]
    for found, clean in zip(seen.numpy(), simulation.clean.double().numpy(), strict=True):
        np.testing.assert_allclose(found / found.mean(), clean / clean.mean(), atol=0.01)
    assert library.recipe["rest"] and library.classes == ("late",)
    np.testing.assert_allclose(np.abs(library.flux).mean(1), 1, rtol=1e-5)


def test_the_noise_is_the_simulations_in_units_of_the_star(simulator):
    samples = simulated_noise(simulator.observe(torch.arange(20)), 20)
    white = samples.eps * np.sqrt(samples.ivar)
    assert white.std() == pytest.approx(1.0, abs=0.05) and abs(white.mean()) < 0.05
    assert 0.04 < samples.eps.std() < 0.11  # the instrument's noise is 5 to 10 % of the mean flux
