r"""Stars through an instrument: the one place where a simulated observation is put together.

The order is that of Pál & Dobos (2024), section 2.2: a spectrum from a grid, Doppler shift, extinction, line-spread function
and pixels (`effects`), an apparent magnitude, counts and noise (`instruments`), and, where asked for, the median flux
between 6500 and 9500 Å brought to 0.5. The magnitude is AB, in a box over the output grid, after extinction.

Spectrum number i of a seed is the same whatever batch, chunk or device it is made in.

References:
    Pál & Dobos (2024), "Denoising medium resolution stellar spectra with neural networks".
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from functools import cached_property
from importlib.metadata import PackageNotFoundError, version
from typing import Any, Self

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ..errors import InputError
from ..spectrum import Grid
from .effects import PixelIntegrator, ab_magnitude, median_level
from .grids.protocol import SpectralGrid
from .instruments.protocol import Instrument
from .random import Random

__all__ = ["STAR", "TENSORS", "Simulation", "Simulator", "star_ranges"]

STAR = ("redshift", "ebv", "magnitude")
RANGES = {"redshift": (-0.003, 0.003), "ebv": (0.0, 0.1), "magnitude": (19.0, 22.5)}  # Pál & Dobos (2024), Table 3
# Spectra at a time: on a CPU more leave the cache and fewer waste the matrix products; a GPU wants to be filled.
BATCH, BATCH_ACCELERATOR = 64, 1024


@dataclass(frozen=True, eq=False)
class Simulation:
    r"""Simulated observations and their truth.

    Arguments:
        wavelength: Pixel centres, shape :math:`(D,)`, vacuum Å, double precision.
        clean: Noiseless spectra, shape :math:`(B, D)`, in the unit that `scale` says.
        flux: Noisy exposures, shape :math:`(B, E, D)`, same unit.
        ivar: Inverse variance as a pipeline reports it, same shape, in that unit to the power -2; 0 where masked.
        mask: True where a pixel is rejected, same shape.
        sigma: The noise's true standard deviation, same shape and unit.
        parameters: One row for each spectrum, shape :math:`(B,)`: a structured array whose columns are the grid's and the
            instrument's parameters, `redshift`, `ebv` (mag), `magnitude` (AB), `snr` (median of flux over its standard
            deviation in one exposure), `scale` (unit of `flux` per 1e-17 erg/s/cm²/Å) and `index`.

    Example:
        >>> sim = bd.simulate("sdss", n=1, grid="generator", exposures=2)
        >>> sim.clean.shape, sim.flux.shape
        (torch.Size([1, 2048]), torch.Size([1, 2, 2048]))
        >>> star = bd.Observation(*(array.numpy() for array in (sim.wavelength, sim.flux[0], sim.ivar[0], sim.mask[0])))
    """

    wavelength: Tensor
    clean: Tensor
    flux: Tensor
    ivar: Tensor
    mask: Tensor
    sigma: Tensor
    parameters: NDArray

    def __len__(self) -> int:
        return len(self.clean)

    @classmethod
    def gather(cls, batches: Iterable["Simulation"], n: int) -> "Simulation":
        """Batches together as one; they are not all in memory besides the result.

        Arguments:
            batches: Of one simulator, in order.
            n: How many spectra they have together, B.

        Returns:
            All of them, in order, with the wavelengths of the last batch.

        Example:
            >>> one = torch.ones(1, 2, 3)  # a spectrum of two exposures and three pixels
            >>> w, table = torch.tensor([4000.0, 4001.0, 4002.0]), np.zeros(1, [("ebv", float)])
            >>> batch = Simulation(w, one[:, 0], one, one, one > 2, one, table)
            >>> Simulation.gather([batch, batch], 2).flux.shape
            torch.Size([2, 2, 3])
        """
        row, tables, tensors, wavelength = 0, [], {}, torch.empty(0)
        for batch in batches:
            rows, wavelength = slice(row, row + len(batch)), batch.wavelength
            for key in TENSORS:
                value = getattr(batch, key)
                if key not in tensors:
                    tensors[key] = value.new_empty(n, *value.shape[1:])
                tensors[key][rows] = value
            tables.append(batch.parameters)
            row = rows.stop
        return cls(wavelength, parameters=np.concatenate(tables), **tensors)


TENSORS = ("clean", "flux", "ivar", "mask", "sigma")


def star_ranges(ranges: Mapping[str, tuple[float, float]] | None) -> dict[str, tuple[float, float]]:
    """Where redshift, E(B-V) and magnitude are drawn: as asked for, else as in Pál & Dobos (2024), Table 3.

    Raises:
        InputError: if a name is unknown or a range cannot be used.
    """
    for name, (low, high) in (ranges or {}).items():
        if name not in STAR:
            raise InputError(f"range: expected one of {', '.join(STAR)}, got {name!r}")
        if not (np.isfinite([low, high]).all() and low <= high) or (name == "redshift" and low <= -1):
            raise InputError(f"{name}: expected a range from low to high, got {low} to {high}")
    return RANGES | dict(ranges or {})


@dataclass(frozen=True, eq=False)
class Simulator:
    r"""Draws parameters, and observes the stars that they describe.

    Arguments:
        grid: Where noiseless spectra come from.
        instrument: What observes them.
        seed: Seed of everything that is drawn.
        ranges: Ranges of `redshift`, `ebv` and `magnitude`, uniform; by default those of Pál & Dobos (2024), Table 3.
        normalize: Whether the median flux between 6500 and 9500 Å becomes 0.5; else the unit is 1e-17 erg/s/cm²/Å.
        facts: What else a file should say of how the spectra were made.
        integrators: One for each detector; made from grid and instrument by default.

    Raises:
        InputError: if the grid does not cover the instrument under the largest shifts, or a range cannot be used.
    """

    grid: SpectralGrid
    instrument: Instrument
    seed: int = 0
    ranges: Mapping[str, tuple[float, float]] | None = None
    normalize: bool = True
    facts: Mapping[str, Any] = field(default_factory=dict)
    integrators: tuple[PixelIntegrator, ...] = ()

    def __post_init__(self) -> None:
        object.__setattr__(self, "ranges", star_ranges(self.ranges))
        if not self.integrators:
            made = tuple(PixelIntegrator.of(detector, self.grid.loglam) for detector in self.instrument.detectors)
            object.__setattr__(self, "integrators", made)
        low, high = self.ranges["redshift"]
        reach = [max(i.reach[0] for i in self.integrators), min(i.reach[1] for i in self.integrators)]
        if low < reach[0] or high > reach[1]:
            raise InputError(
                f"redshift: expected a range within {reach[0]:.4g} to {reach[1]:.4g}, which the grid {self.grid.name} "
                f"leaves room for, got {low} to {high}"
            )

    @property
    def parameters(self) -> tuple[str, ...]:
        """Names of the columns of `draw`."""
        return (*self.grid.parameters, *STAR, *self.instrument.conditions)

    @property
    def device(self) -> torch.device:
        """Where the tensors are."""
        return self.integrators[0].weights.device

    def to(self, device: torch.device | str) -> Self:
        """The same simulator on a device."""
        moved = tuple(integrator.to(device) for integrator in self.integrators)
        return replace(self, grid=self.grid.to(device), instrument=self.instrument.to(device), integrators=moved)

    def describe(self) -> dict[str, Any]:
        """How the spectra are made, in words and numbers that a file can hold."""
        grid, instrument = self.grid, self.instrument
        ranges = {**(getattr(grid, "ranges", None) or {}), **self.ranges, **getattr(instrument, "ranges", {})}
        return {
            "seed": self.seed,
            "grid": grid.name,
            "grid_label": grid.label,
            "instrument": instrument.name,
            "exposures": instrument.exposures,
            "parameters": list(self.parameters),
            "ranges": {key: list(value) for key, value in ranges.items()},
            "flux_unit": "median flux between 6500 and 9500 Å = 0.5" if self.normalize else "1e-17 erg/s/cm²/Å",
            "wavelength": "vacuum Å",
            "versions": _versions(),
            **self.facts,
        }

    def draw(self, index: Tensor) -> Tensor:
        """Parameters of spectra by their numbers: (B,) to (B, P), double precision, columns as `parameters`."""
        random = Random(self.seed)
        star = random.uniform("star", index, len(STAR)).double()
        low, high = torch.tensor([self.ranges[name] for name in STAR], dtype=torch.double, device=index.device).T
        model = self.grid.draw(random.uniform("grid", index, self.grid.uniforms))
        conditions = self.instrument.draw(random.uniform("conditions", index, self.instrument.uniforms))
        return torch.cat([model.double(), low + (high - low) * star, conditions.double()], 1)

    def _split(self, parameters: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        ours = (len(self.grid.parameters), len(STAR), len(self.instrument.conditions))
        return parameters.split(ours, 1)

    def conditions(self, parameters: Tensor) -> Tensor:
        """The instrument's columns of parameters (B, P): (B, Q)."""
        return self._split(parameters)[2]

    def arms(self, parameters: Tensor) -> list[Tensor]:
        """Noiseless flux density on each detector's pixels, each (B, D_arm), 1e-17 erg/s/cm²/Å."""
        model, star, _ = self._split(parameters)
        redshift, ebv, magnitude = star.unbind(1)
        flux = self.grid.flux(model)
        seen = [integrate(flux, redshift, ebv) for integrate in self.integrators]
        brightness = ab_magnitude(self.instrument.project(seen), self._edges)
        factor = 10 ** (-0.4 * (magnitude[:, None] - brightness)).to(flux.dtype)
        return [arm * factor for arm in seen]

    @cached_property
    def _edges(self) -> Tensor:
        edges = Grid(self.instrument.wavelength.cpu().numpy()).edges
        return torch.from_numpy(edges).to(self.device)

    def noiseless(self, parameters: Tensor) -> Tensor:
        """The noiseless spectrum on the output grid: (B, P) to (B, D), 1e-17 erg/s/cm²/Å; differentiable."""
        return self.instrument.project(self.arms(parameters))

    def observe(self, index: Tensor, parameters: Tensor | None = None) -> Simulation:
        """Observations of spectra by their numbers, all at once.

        Arguments:
            index: Shape :math:`(B,)`.
            parameters: Shape :math:`(B, P)`; drawn by default.
        """
        index = index.to(self.device)
        parameters = self.draw(index) if parameters is None else parameters.to(self.device)
        arms = self.arms(parameters)
        seen = self.instrument.expose(arms, self.conditions(parameters), Random(self.seed), index)
        clean = self.instrument.project(arms)
        wavelength = self.instrument.wavelength
        scale = median_level(clean, wavelength) if self.normalize else torch.ones_like(clean[:, :1])
        factor = scale[:, :, None]
        snr = torch.where(seen.mask, torch.nan, clean[:, None] / seen.sigma).flatten(1).nanmedian(1).values
        extra = torch.stack([snr, scale[:, 0], index], 1)
        table = _table((*self.parameters, "snr", "scale", "index"), torch.cat([parameters, extra], 1))
        noisy = {"flux": seen.flux * factor, "ivar": seen.ivar / factor**2, "sigma": seen.sigma * factor}
        return Simulation(wavelength, clean * scale, mask=seen.mask, parameters=table, **noisy)

    def stream(self, n: int | None = None, *, batch: int | None = None, start: int = 0) -> Iterator[Simulation]:
        """Batch after batch, at constant memory.

        Arguments:
            n: How many spectra; endless by default.
            batch: How many at a time; by default what suits the device.
            start: Number of the first.

        Raises:
            InputError: if `batch` is not positive, or `start` is negative.
        """
        batch = (BATCH if self.device.type == "cpu" else BATCH_ACCELERATOR) if batch is None else batch
        if batch < 1 or start < 0:
            raise InputError(f"stream: expected a batch of at least 1 from 0 on, got {batch} from {start} on")
        stop = np.inf if n is None else start + n
        while start < stop:
            size = int(min(batch, stop - start))
            yield self.observe(torch.arange(start, start + size, device=self.device))
            start += size


def _versions() -> dict[str, str]:
    found = {"torch": torch.__version__, "numpy": np.__version__}
    with suppress(PackageNotFoundError):
        found["bayesden"] = version("bayesden")
    return found


def _table(names: Sequence[str], values: Tensor) -> NDArray:
    """Columns of numbers as a structured array; `index` is an integer."""
    kinds = [(name, np.int64 if name == "index" else np.float64) for name in names]
    table = np.empty(len(values), dtype=kinds)
    for name, column in zip(names, values.detach().cpu().double().numpy().T, strict=True):
        table[name] = column
    return table
