r"""Stellar parameters by a direct fit: maximum likelihood with the simulator that made the stars.

All seven parameters that shape a spectrum are free: temperature, gravity, [Fe/H], [α/Fe], redshift, reddening, magnitude. The
fit starts at the best of a coarse table of spectra, each at its best amplitude,

.. math:: \chi^2_k = \sum_d h_d f_d^2 - \Big(\sum_d h_d f_d m_{kd}\Big)^2 \Big/ \sum_d h_d m_{kd}^2 ,

and goes down by Gauss-Newton steps (`bayesden.evaluate.efficiency.oracle_fit`). Nothing of the truth enters. Between the
values of its grid the simulator interpolates in all parameters at once (mode `multilinear`), and so must the stars.
"""

from dataclasses import dataclass
from functools import cached_property
from itertools import product

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from bayesden.evaluate.efficiency import oracle_fit
from bayesden.model.rest_frame import LIGHT_KMS
from bayesden.simulation.simulator import Simulator

__all__ = ["FREE", "LABELS", "LabelFit"]

LABELS = ("teff_K", "logg", "feh", "velocity_kms")
FREE = ("teff_K", "logg", "feh", "alpha_fe", "redshift", "ebv", "magnitude")
TABLE = {"teff_K": 4, "logg": 3, "feh": 4, "redshift": 61}  # values of each in the coarse table, ends left out
MAGNITUDE = (10.0, 30.0)
STEPS = 6
CHUNK = 16


@dataclass(frozen=True, eq=False)
class LabelFit:
    """The fit of spectra of one simulator.

    Arguments:
        simulator: What made them.
    """

    simulator: Simulator

    @cached_property
    def limits(self) -> dict[str, tuple[float, float]]:
        """Lowest and highest value of each free parameter."""
        return {**self.simulator.grid.ranges, **self.simulator.ranges, "magnitude": MAGNITUDE}

    @cached_property
    def table(self) -> tuple[Tensor, Tensor]:
        """Parameters (K, P) of the coarse table, the others in the middle of their ranges, and its spectra (K, D)."""
        names = self.simulator.parameters
        still = self.simulator.draw(torch.zeros(1, dtype=torch.long))
        still[0, names.index("axis")] = -1
        for name in ("alpha_fe", "ebv"):
            still[0, names.index(name)] = sum(self.limits[name]) / 2
        still[0, names.index("magnitude")] = 20.0
        places = [np.linspace(*self.limits[name], 2 * n + 1)[1::2] for name, n in TABLE.items()]
        rows = torch.tensor(list(product(*places)), dtype=torch.double)
        parameters = still.repeat(len(rows), 1)
        parameters[:, [names.index(name) for name in TABLE]] = rows
        return parameters, torch.cat([self.simulator.noiseless(part) for part in parameters.split(64)])

    def start(self, flux: Tensor, ivar: Tensor) -> Tensor:
        """The best rows of the table, their magnitudes those of the spectra (B, D): (B, P)."""
        parameters, spectra = self.table
        cross, norm = (ivar * flux) @ spectra.T, ivar @ spectra.square().T
        best = (cross.clamp_min(0).square() / norm).argmax(1)
        row = torch.arange(len(flux))
        level = (cross / norm)[row, best].clamp_min(1e-6)
        found = parameters[best].clone()
        found[:, self.simulator.parameters.index("magnitude")] -= 2.5 * level.log10().double()
        return found

    def __call__(self, flux: NDArray, ivar: NDArray) -> NDArray:
        """The labels of spectra.

        Arguments:
            flux: Shape (N, D), 1e-17 erg/s/cm²/Å.
            ivar: Their inverse variance, same shape; 0 where masked.

        Returns:
            Shape (N, 4), columns `LABELS`.
        """
        columns = [self.simulator.parameters.index(name) for name in FREE]
        limits = [self.limits[name] for name in FREE]
        found = []
        for part, weight in zip(
            torch.from_numpy(flux).float().split(CHUNK), torch.from_numpy(ivar).float().split(CHUNK), strict=True
        ):
            sigma = torch.where(weight > 0, weight, torch.nan).rsqrt().nan_to_num(nan=torch.inf)
            start = self.start(part, weight)
            found.append(oracle_fit(self.simulator.noiseless, part, sigma, start, columns, limits=limits, steps=STEPS))
        theta = torch.cat(found).numpy()[:, columns]
        return np.column_stack([theta[:, :3], LIGHT_KMS * theta[:, FREE.index("redshift")]])
