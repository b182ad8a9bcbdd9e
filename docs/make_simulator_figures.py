"""The figures of docs/simulator.md: a few simulated stars of each instrument, noiseless over noisy.

python docs/make_simulator_figures.py --out docs/_static
"""

import argparse
from pathlib import Path

import torch

from bayesden.report import save_figure
from bayesden.report.instrument_plots import plot_simulation
from bayesden.simulation.build import build_simulator
from bayesden.simulation.simulator import Simulation, Simulator

PFS = (  # T_eff in K, log g, [Fe/H], [α/Fe], AB magnitude
    (5000.0, 2.0, -1.5, 0.25, 19.0),
    (4500.0, 2.0, 0.0, 0.0, 20.0),
    (4000.0, 1.0, -0.5, 0.25, 21.0),
    (3500.0, 5.0, 0.0, 0.0, 22.0),
)
SDSS = (
    (10000.0, 5.0, 0.0, 0.0, 17.0),
    (6000.0, 5.0, -1.0, 0.4, 18.5),
    (3500.0, 5.0, 0.0, 0.0, 19.5),
)


def stars(simulator: Simulator, rows: tuple[tuple[float, ...], ...]) -> Simulation:
    """Given stars, everything else as it is drawn."""
    index = torch.arange(len(rows))
    theta = simulator.draw(index)
    columns = [simulator.parameters.index(name) for name in ("teff_K", "logg", "feh", "alpha_fe", "magnitude", "axis")]
    theta[:, columns] = torch.tensor([(*row, -1) for row in rows]).double()
    return simulator.observe(index, theta)


def main() -> None:
    """Draw both figures."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, required=True, help="folder of the figures")
    folder = parser.parse_args().out
    pfs = stars(build_simulator("pfs-mr", seed=1), PFS)
    save_figure(plot_simulation(pfs, zoom_A=(8470.0, 8700.0)), folder / "simulated_pfs.png")
    sdss = stars(build_simulator("sdss", seed=1, exposures=2), SDSS)
    save_figure(plot_simulation(sdss, zoom_A=(8400.0, 8800.0)), folder / "simulated_sdss.png")


if __name__ == "__main__":
    main()
