r"""A grid of synthetic spectra on the product of its parameters' values, as model atmospheres come.

Between the values it interpolates in one of two ways, which the parameter column `axis` records for each spectrum:

- `axis` = k ≥ 0: a cubic spline along parameter k, through all its values, the others on grid values (Pál & Dobos 2024,
  section 2.1); smooth, and exact for what is cubic;
- `axis` = -1: multilinear in all parameters, for draws that are nowhere on grid values.

Parameters are drawn uniformly, by default over the ranges of Pál & Dobos (2024), table 3. Node spectra may be missing, as
in the corners that no model atmosphere converges in; what would need one is not drawn.

References:
    Pál & Dobos (2024), Denoising medium resolution stellar spectra with neural networks, section 2.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property

import torch
from torch import Tensor

from ...errors import InputError
from .interpolation import bracket, second_derivative_operator, spline_weights, weighted_sum

__all__ = ["MODES", "RANGES", "RectangularGrid", "covering", "resolve_ranges"]

MODES = ("spline", "multilinear")
RANGES = {"teff_K": (3500.0, 5000.0), "logg": (0.0, 5.0), "feh": (-2.5, 0.75), "alpha_fe": (-0.25, 0.5)}  # table 3
TOLERANCE = 1e-5  # share of an axis's length by which a value may miss the grid: rounding of a stored table


@dataclass(frozen=True, eq=False)
class RectangularGrid:
    r"""Spectra at every combination of the values of P parameters.

    Arguments:
        name: Short name.
        label: One honest line: what it is, and what it is not for.
        unit: Unit of the flux.
        loglam: :math:`\log_{10}` of the vacuum wavelength in Å, shape :math:`(N,)`, uniform.
        axes: Ascending values of each parameter, by name, :math:`(n_p,)`; the unit is in the name.
        nodes: Flux, shape :math:`(n_1, \dots, n_P, N)`; a spectrum that holds anything not finite is missing.
        ranges: Where parameters are drawn, by name. By default those of Pál & Dobos (2024) as far as the grid reaches;
            the whole axis where they do not apply.
        mode: How draws lie, `spline` or `multilinear`. It does not limit what `flux` computes.

    Raises:
        InputError: if shapes disagree, an axis is not ascending, wavelengths are not uniform in their logarithm, a range is
            unknown or outside its axis, or no complete part of the grid lies within the ranges.

    Example:
        >>> axes = {"teff_K": torch.tensor([4000.0, 4500.0, 5000.0])}
        >>> grid = RectangularGrid("toy", "A toy", "1", torch.arange(2) / 10, axes, torch.tensor([[1.0, 4], [2, 5], [3, 6]]))
        >>> grid.flux(torch.tensor([[4250.0, 0]]))
        tensor([[1.5000, 4.5000]])
    """

    name: str
    label: str
    unit: str
    loglam: Tensor
    axes: Mapping[str, Tensor]
    nodes: Tensor
    ranges: Mapping[str, tuple[float, float]] | None = None
    mode: str = "spline"

    def __post_init__(self) -> None:
        axes = {name: torch.as_tensor(values).double() for name, values in self.axes.items()}
        object.__setattr__(self, "axes", axes)
        object.__setattr__(self, "loglam", self.loglam.double())
        object.__setattr__(self, "nodes", self.nodes.float().contiguous())
        self._check()
        object.__setattr__(self, "ranges", resolve_ranges(self.name, axes, self.ranges or {}))
        if self.mode not in MODES:
            raise InputError(f"grid {self.name}: mode: expected {' or '.join(MODES)}, got {self.mode!r}")
        if not (self._lines if self.mode == "spline" else len(self._cells[0])):
            hint = (
                "; the spline takes values of the grid for all but one, multilinear any"
                if self.mode == "spline"
                else ""
            )
            raise InputError(
                f"grid {self.name}: expected a complete part within the ranges {_text(self.ranges)}, got none{hint}"
            )

    def _check(self) -> None:
        for name, values in self.axes.items():
            if values.ndim != 1 or not len(values) or not bool((values.diff() > 0).all()):
                raise InputError(f"grid {self.name}: {name}: expected ascending values, got {values.tolist()}")
        expected = (*(len(values) for values in self.axes.values()), len(self.loglam))
        if not self.axes or tuple(self.nodes.shape) != expected:
            raise InputError(f"grid {self.name}: nodes: expected shape {expected}, got {tuple(self.nodes.shape)}")
        step = self.loglam.diff()
        if len(step) == 0 or not bool(((step - step.mean()).abs() < 1e-3 * step.mean()).all()):
            raise InputError(f"grid {self.name}: loglam: expected at least 2 values, ascending in equal steps")

    @property
    def parameters(self) -> tuple[str, ...]:
        """The axes' names, and `axis`: along which one the spline runs, or -1."""
        return (*self.axes, "axis")

    @property
    def uniforms(self) -> int:
        """How many uniform numbers a draw takes."""
        return 3 if self.mode == "spline" else len(self.axes) + 1

    @property
    def shape(self) -> tuple[int, ...]:
        """Values of each axis."""
        return tuple(self.nodes.shape[:-1])

    @cached_property
    def present(self) -> Tensor:
        r"""Which spectra there are, shape :math:`(n_1, \dots, n_P)`."""
        return torch.stack([torch.isfinite(row).all() for row in self._rows]).reshape(self.shape)

    @property
    def _rows(self) -> Tensor:
        return self.nodes.reshape(-1, self.nodes.shape[-1])

    @cached_property
    def _strides(self) -> tuple[int, ...]:
        """How far apart neighbours along each axis are among the rows."""
        sizes = torch.tensor((*self.shape, 1)).flip(0).cumprod(0).flip(0)
        return tuple(sizes[1:].tolist())

    @cached_property
    def _operators(self) -> tuple[Tensor, ...]:
        return tuple(second_derivative_operator(axis.cpu()).to(axis.device) for axis in self.axes.values())

    @cached_property
    def _lines(self) -> dict[int, Tensor]:
        """For each axis that a spline can run along: the complete lines within the ranges, by their values (lines, P)."""
        values = torch.stack(torch.meshgrid(*self.axes.values(), indexing="ij"), -1)
        bounds = torch.tensor(list(self.ranges.values()), dtype=values.dtype, device=values.device)
        inside = (values >= bounds[:, 0]) & (values <= bounds[:, 1])
        lines = {}
        for k, (low, high) in enumerate(bounds.tolist()):
            this = torch.arange(len(self.axes), device=values.device) == k
            good = self.present.all(k) & (inside | this).all(-1).select(k, 0)
            if low < high and bool(good.any()):
                lines[k] = values.select(k, 0)[good]
        return lines

    @cached_property
    def _cells(self) -> tuple[Tensor, Tensor, Tensor]:
        """Of the complete cells within the ranges: lower and upper corner (cells, P), and the volumes' running sum, to 1."""
        good, lower, upper, volume = self.present, [], [], self.loglam.new_ones(())
        for k, (axis, (low, high)) in enumerate(zip(self.axes.values(), self.ranges.values(), strict=True)):
            last = max(len(axis) - 1, 1)
            good = good.narrow(k, 0, last) & good.narrow(k, len(axis) - last, last)
            start, stop = axis[:last].clamp(low, high), axis[len(axis) - last :].clamp(low, high)
            # a fixed value has no length: it lies in one cell, which counts as 1
            one = torch.arange(last, device=axis.device) == (axis <= low).sum().clamp_max(last) - 1
            length = stop - start if low < high else one.to(axis)
            volume = volume.unsqueeze(-1) * length
            lower.append(start)
            upper.append(stop)
        good = good & (volume > 0)
        corners = [torch.stack(torch.meshgrid(*side, indexing="ij"), -1)[good] for side in (lower, upper)]
        running = volume[good].cumsum(0)
        return *corners, running / running[-1:]

    def draw(self, uniform: Tensor) -> Tensor:
        """Parameters from uniform numbers (B, `uniforms`), shape (B, P + 1), double precision."""
        uniform = uniform.double()
        return self._draw_on_lines(uniform) if self.mode == "spline" else self._draw_in_cells(uniform)

    def _draw_on_lines(self, uniform: Tensor) -> Tensor:
        chosen = _pick(uniform[:, 0], len(self._lines)).unsqueeze(1)
        column = torch.arange(len(self.axes) + 1, device=uniform.device)
        out = torch.zeros_like(uniform[:, :1]).expand(-1, len(column))
        for i, (k, lines) in enumerate(self._lines.items()):
            low, high = self.ranges[tuple(self.axes)[k]]
            along = low + uniform[:, 2:] * (high - low)
            row = torch.cat([lines[_pick(uniform[:, 1], len(lines))], torch.full_like(along, k)], 1)
            out = torch.where(chosen == i, torch.where(column == k, along, row), out)
        return out

    def _draw_in_cells(self, uniform: Tensor) -> Tensor:
        lower, upper, running = self._cells
        cell = torch.searchsorted(running, uniform[:, 0].contiguous()).clamp_max(len(running) - 1)
        values = lower[cell] + uniform[:, 1:] * (upper[cell] - lower[cell])
        return torch.cat([values, torch.full_like(values[:, :1], -1)], 1)

    def flux(self, parameters: Tensor) -> Tensor:
        r"""Noiseless flux.

        Arguments:
            parameters: Shape :math:`(B, P + 1)`, columns as `parameters`. Where `axis` is k, the others must be grid values,
                and derivatives with respect to them are zero.

        Returns:
            Shape :math:`(B, N)`, single precision; differentiable in reverse and forward mode.

        Raises:
            InputError: if a parameter is outside the grid, off its values where it must be on them, or a spectrum is missing.
        """
        if parameters.ndim != 2 or parameters.shape[1] != len(self.parameters):
            expected = f"(B, {len(self.parameters)}): {', '.join(self.parameters)}"
            raise InputError(f"grid {self.name}: parameters: expected shape {expected}, got {tuple(parameters.shape)}")
        parameters = parameters.double()
        self._check_inside(parameters.detach())
        index, weight, use = self._stencil(parameters)
        absent = use & ~self.present.flatten()[index]
        needed = (absent & (weight.detach() != 0)).any(1)
        if bool(needed.any()):
            row = parameters.detach()[needed][0]
            raise InputError(
                f"grid {self.name}: expected spectra on all sides of {self._at(row)}, but the grid lacks some"
            )
        return weighted_sum(self._rows, index, weight, use & ~absent)

    def _at(self, row: Tensor) -> str:
        return ", ".join(f"{name} = {x:g}" for name, x in zip(self.parameters, row.tolist(), strict=True))

    def _check_inside(self, parameters: Tensor) -> None:
        mode = parameters[:, -1]
        bad = ~((mode >= -1) & (mode < len(self.axes)) & (mode == mode.round()))
        if bool(bad.any()):
            came = mode[bad][0].item()
            raise InputError(f"grid {self.name}: axis: expected -1 or 0 to {len(self.axes) - 1}, got {came:g}")
        for k, (name, axis) in enumerate(self.axes.items()):
            x = parameters[:, k]
            slack = TOLERANCE * max((axis[-1] - axis[0]).item(), 1e-3)
            bad = ~((x >= axis[0] - slack) & (x <= axis[-1] + slack))
            if bool(bad.any()):
                span, came = f"{axis[0].item():g} to {axis[-1].item():g}", x[bad][0].item()
                raise InputError(f"grid {self.name}: {name}: expected {span}, got {came:g}")
            off = (mode >= 0) & (mode != k) & ((x - axis[_nearest(axis, x)]).abs() > slack)
            if bool(off.any()):
                came = f"{x[off][0].item():g} with axis = {mode[off][0].item():g}"
                raise InputError(f"grid {self.name}: {name}: expected a value of the grid, got {came}")

    def _stencil(self, parameters: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Which rows with which weights, for every mode side by side, and which of them a spectrum uses: each (B, K)."""
        mode = parameters[:, -1:].detach()
        nearest = [_nearest(axis, parameters[:, k].detach()) for k, axis in enumerate(self.axes.values())]
        centre = sum(i * stride for i, stride in zip(nearest, self._strides, strict=True))
        index, weight, use = [], [], []
        for k, (axis, operator) in enumerate(zip(self.axes.values(), self._operators, strict=True)):
            steps = torch.arange(len(axis), device=axis.device) - nearest[k].unsqueeze(1)
            index.append(centre.unsqueeze(1) + self._strides[k] * steps)
            weight.append(spline_weights(axis, operator, parameters[:, k]))
            use.append((mode == k).expand(-1, len(axis)))
        corner, share = self._corners(parameters)
        index, weight = torch.cat([*index, corner], 1), torch.cat([*weight, share], 1)
        return index, weight, torch.cat([*use, (mode == -1).expand(-1, corner.shape[1])], 1)

    def _corners(self, parameters: Tensor) -> tuple[Tensor, Tensor]:
        """The corners of the cell around each point and their multilinear weights, each (B, 2^P)."""
        index = torch.zeros(len(parameters), 1, dtype=torch.long, device=parameters.device)
        weight = torch.ones_like(parameters[:, :1])
        for k, axis in enumerate(self.axes.values()):
            j, t = (x.unsqueeze(1) for x in bracket(axis, parameters[:, k]))
            index = index + j * self._strides[k]
            if len(axis) > 1:
                index = torch.cat([index, index + self._strides[k]], 1)
                weight = torch.cat([weight * (1 - t), weight * t], 1)
        return index, weight

    def subset(self, ranges: Mapping[str, tuple[float, float]]) -> "RectangularGrid":
        """The part of the grid that covers some ranges; it draws within them.

        Raises:
            InputError: if a range is unknown or outside its axis.
        """
        ranges = resolve_ranges(self.name, self.axes, {**self.ranges, **ranges})
        covered = [covering(axis, ranges[name]) for name, axis in self.axes.items()]
        axes = {name: axis[part] for (name, axis), part in zip(self.axes.items(), covered, strict=True)}
        nodes = self.nodes[tuple(covered)]
        return replace(self, axes=axes, nodes=nodes, ranges=ranges)

    def to(self, device: torch.device | str) -> "RectangularGrid":
        """The same grid with its tensors on a device."""
        axes = {name: axis.to(device) for name, axis in self.axes.items()}
        return replace(self, loglam=self.loglam.to(device), axes=axes, nodes=self.nodes.to(device))

    def missing(self) -> list[str]:
        """The combinations of values that no spectrum is there for, one line each."""
        values = torch.stack(torch.meshgrid(*self.axes.values(), indexing="ij"), -1)[~self.present]
        return [", ".join(f"{n} = {x:g}" for n, x in zip(self.axes, row, strict=True)) for row in values.tolist()]


def resolve_ranges(
    grid: str, axes: Mapping[str, Tensor], ranges: Mapping[str, tuple[float, float]]
) -> dict[str, tuple[float, float]]:
    """The range of every axis: as asked for, else that of Pál & Dobos clipped to it, else all of it.

    Arguments:
        grid: The grid's name, for messages.
        axes: Ascending values of each parameter, by name.
        ranges: Lowest and highest value of some of them, by name.

    Raises:
        InputError: if a range is of no axis, or not within its axis.
    """
    for name in ranges:
        if name not in axes:
            raise InputError(f"grid {grid}: range: expected one of {', '.join(axes)}, got {name!r}")
    out = {}
    for name, axis in axes.items():
        first, last = axis[0].item(), axis[-1].item()
        low, high = map(float, ranges.get(name, RANGES.get(name, (first, last))))
        if name not in ranges:
            low, high = max(low, first), min(high, last)
            low, high = (low, high) if low <= high else (first, last)
        if not first <= low <= high <= last:
            span, came = f"{first:g} to {last:g}", f"{low:g} to {high:g}"
            raise InputError(f"grid {grid}: {name}: expected a range within {span}, got {came}")
        out[name] = (low, high)
    return out


def covering(axis: Tensor, bounds: tuple[float, float]) -> slice:
    """The fewest neighbouring values of an axis that enclose a range within it."""
    start = int((axis <= bounds[0]).sum()) - 1
    return slice(start, len(axis) - int((axis >= bounds[1]).sum()) + 1)


def _pick(uniform: Tensor, n: int) -> Tensor:
    return (uniform * n).long().clamp_max(n - 1)


def _nearest(axis: Tensor, x: Tensor) -> Tensor:
    j, t = bracket(axis, x)
    return j + (t > 0.5).long()


def _text(ranges: Mapping[str, tuple[float, float]]) -> str:
    return ", ".join(f"{name} {low:g} to {high:g}" for name, (low, high) in ranges.items())
