"""The Cramér-Rao bound of simulated stars: what no unbiased denoiser can beat on test bed B3."""

import numpy as np
import torch
from numpy.typing import NDArray

from bayesden.errors import InputError
from bayesden.evaluate.efficiency import cramer_rao_bound, jacobian
from bayesden.simulation.simulator import Simulation, Simulator

from .label_fit import FREE

__all__ = ["bounds"]

CHUNK = 16  # spectra whose derivatives are in memory at once


def bounds(simulation: Simulation, simulator: Simulator) -> NDArray:
    """The smallest mean squared error of an unbiased estimate of each noiseless spectrum, in its unit: (N,).

    Raises:
        InputError: if the simulator did not make them.
    """
    table, names = simulation.parameters, simulator.parameters
    if not set(names) <= set(table.dtype.names):
        raise InputError(f"simulation: expected columns {', '.join(names)}, got {', '.join(table.dtype.names)}")
    parameters, scale = (torch.from_numpy(np.column_stack([table[n] for n in k])) for k in (names, ["scale"]))
    if not torch.allclose(simulator.noiseless(parameters[:1]) * scale[:1], simulation.clean[:1].double(), rtol=1e-3):
        raise InputError("simulation: expected spectra of the analytic grid seen by pfs-mr, got others")
    free = parameters.clone()
    free[:, names.index("axis")] = -1  # a spline lets one parameter of the grid vary; unknown are all
    columns, found = [names.index(name) for name in FREE], []
    for part, unit, sigma in zip(
        free.split(CHUNK), scale.split(CHUNK), simulation.sigma[:, 0].split(CHUNK), strict=True
    ):
        slope = jacobian(simulator.noiseless, part, columns) * unit[:, :, None]
        found.append(cramer_rao_bound(slope, sigma.double()).mean(1))
    return torch.cat(found).numpy()
