"""Laws of test bed B3: its measures on errors that are known, and its tables."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from baselines.simulated_bed import errors, observations
from baselines.simulated_bounds import bounds
from baselines.simulated_tables import Row, efficiency_cell, percent, table
from bayesden.errors import InputError
from bayesden.simulation.simulator import Simulation, Simulator
from tests.baselines.conftest import star_grid
from tests.simulation.conftest import plain_instrument

WAVELENGTH = np.linspace(7100.0, 8850.0, 1751)


def test_the_measures_of_known_errors():
    truth = np.where(WAVELENGTH < 8000, 0.5, 1.0)[None]
    found = errors(truth * 1.02, truth, WAVELENGTH)
    assert found["mean_r"] == pytest.approx(0.02) and found["max_r"] == pytest.approx(0.02)
    assert found["bias_r"] == pytest.approx(0.02) and found["max_e"] == pytest.approx(0.02)
    assert found["divergence"] == pytest.approx(0.0, abs=1e-12)  # a scale is no divergence
    line = np.where(np.abs(WAVELENGTH - 8544.4) < 10, 0.9, 1.0)
    found = errors(truth * line, truth, WAVELENGTH)
    assert found["triplet_r"] == pytest.approx(0.1 * 20 / 90, rel=0.1) and found["max_r"] == pytest.approx(0.1)
    assert found["mean_r"] == pytest.approx(-found["bias_r"]) and found["divergence"] > 0


def test_the_spectra_are_the_simulations():
    flux = torch.rand(2, 1, 1751) + 1
    mask = torch.zeros(2, 1, 1751, dtype=torch.bool)
    mask[0, 0, 7] = True
    parameters = np.array([(4,), (5,)], [("index", int)])
    simulation = Simulation(torch.tensor(WAVELENGTH), flux[:, 0], flux, flux, mask, flux, parameters)
    found = observations(simulation)
    assert [o.name for o in found] == ["star 4", "star 5"]
    assert found[0].mask[0, 7] and found[0].mask.sum() == 1
    np.testing.assert_array_equal(found[1].flux, flux[1].numpy())


def row(star: int, snr: float, mean_r: float = 0.0, square: float = 1.0, bound: float = 1.0) -> Row:
    return Row("m", star, snr, *[0.0] * 6, mean_r, *[0.0] * 4, square, bound, 1.0)


def test_the_table_is_by_signal_to_noise_ratio():
    rows = [row(i, snr, 0.01 * snr) for i, snr in enumerate((7.0, 9.0, 30.0))]
    lines = table(rows, percent("mean_r"))
    assert lines[0].startswith("| method | S/N 0 to 5 | S/N 5 to 10 |")
    assert lines[2] == "| m | - | 8.00 [7.00, 9.00] | - | 30.00 [30.00, 30.00] | - | 15.33 [7.00, 30.00] |"


def test_the_efficiency_is_the_bound_over_the_error():
    rows = [row(i, 7.0, square=4.0 * b, bound=b) for i, b in enumerate((1.0, 2.0, 5.0))]
    assert efficiency_cell(rows) == "0.250 [0.250, 0.250]"


def test_the_bound_is_that_of_all_parameters_and_of_this_simulator_alone():
    simulator = Simulator(star_grid(), plain_instrument(exposures=1), seed=3)
    made = simulator.observe(torch.arange(4))
    found = bounds(made, simulator)
    sigma = made.sigma[:, 0].double().square().mean(1).numpy()
    np.testing.assert_allclose(found, sigma * 7 / made.clean.shape[1], rtol=0.02)  # white noise: sigma^2 rank / D
    with pytest.raises(InputError, match="expected spectra of the analytic grid seen by pfs-mr, got others"):
        bounds(replace(made, clean=1.1 * made.clean), simulator)
