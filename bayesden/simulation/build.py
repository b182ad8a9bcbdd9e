"""A simulator from the names that a user gives, and `simulate`, which uses it."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import torch

from ..device import torch_device
from ..errors import InputError
from ..model.checkpoint import load_model
from .grids.analytic import PFS_AXES, SDSS_AXES, analytic_grid
from .grids.bosz import read_bosz
from .grids.generator import GeneratorGrid
from .grids.protocol import SpectralGrid
from .grids.rectangular import MODES, RectangularGrid
from .grids.templates import TemplateGrid
from .instruments.pfs_mr import TABLE_1, pfs_mr
from .instruments.protocol import Instrument
from .instruments.sdss import Sdss
from .simulator import STAR, Simulation, Simulator, star_ranges

__all__ = ["INSTRUMENTS", "build_simulator", "simulate"]

INSTRUMENTS = ("pfs-mr", "sdss")
STEPS = {"pfs-mr": 2e-5, "sdss": 5e-5}  # cells in ln(wavelength): a third of the line-spread function's sigma or less
MARGIN = 0.004  # of the wavelength: room for the default redshifts and the wings of lines
SDSS_RANGES = {"redshift": (-0.0017, 0.0017), "ebv": (0.0, 0.5), "magnitude": (16.0, 20.5)}
Ranges = Mapping[str, tuple[float, float]]


def _instrument(
    name: str, exposures: int | None, etc: str | Path | None, noise: Sequence[str | Path] | None, ranges: Ranges
) -> Instrument:
    if name not in INSTRUMENTS:
        raise InputError(f"instrument: expected one of {', '.join(INSTRUMENTS)}, got {name!r}")
    if name == "pfs-mr":
        if noise:
            raise InputError("noise: expected none with pfs-mr, whose noise its calculator or its model says")
        return pfs_mr(etc, ranges=ranges, **({} if exposures is None else {"exposure_count": exposures}))
    if etc is not None:
        raise InputError(f"etc: expected none with {name}: the tables are those of pfs-mr")
    count = {} if exposures is None else {"exposures": exposures}
    words = [str(word) for word in noise or ("physical",)]
    if words == ["physical"]:
        return Sdss(**count)
    if all(".fit" in Path(word).name for word in words):
        return Sdss(noise="real", files=words, **count)
    if len(words) > 1:
        raise InputError(f"noise: expected physical, one model file, or spec files, got {', '.join(words)}")
    return Sdss(noise=words[0], **count)


def _span(instrument: Instrument, redshift: tuple[float, float]) -> tuple[float, float]:
    """The wavelengths that a grid must have for an instrument."""
    low = min(float(detector.edges[0]) for detector in instrument.detectors)
    high = max(float(detector.edges[-1]) for detector in instrument.detectors)
    shift = max(MARGIN, *(1.3 * abs(z) for z in redshift))
    return low * (1 - shift), high * (1 + shift)


def _check_names(name: str, ranges: Ranges, where: str, *own: str) -> None:
    """Refuse the range of what neither the grid (`own`) nor the star nor the instrument draws."""
    unknown = [key for key in ranges if key not in own]
    if unknown:
        names = ", ".join((*own, *STAR, *(TABLE_1 if name == "pfs-mr" else ())))
        raise InputError(f"range: expected one of {names}{where}, got {unknown[0]}")


def _analytic(
    name: str, span: tuple[float, float], ranges: Ranges, mode: str, progress: Callable | None
) -> SpectralGrid:
    axes = SDSS_AXES if name == "sdss" else PFS_AXES
    ends = {key: (float(values[0]), float(values[-1])) for key, values in axes.items()} if name == "sdss" else {}
    _check_names(name, ranges, "", *axes)
    tensors = {key: torch.tensor(values) for key, values in axes.items()}
    empty = torch.zeros(*(len(values) for values in axes.values()), 2)
    # an empty grid says what is wrong with ranges and mode, before minutes of computing
    drawn = RectangularGrid("analytic", "", "", torch.arange(2), tensors, empty, {**ends, **ranges}, mode).ranges
    return replace(analytic_grid(span, STEPS[name], axes, progress=progress), ranges=drawn, mode=mode)


def _open_grid(
    grid: str | Path, name: str, span: tuple[float, float], ranges: Ranges, mode: str, progress: Callable | None
) -> SpectralGrid:
    step, path = STEPS[name], Path(grid)
    if str(grid) == "analytic":
        return _analytic(name, span, ranges, mode, progress)
    if path.is_dir() and not any(path.glob("*.npz")):
        return read_bosz(path, *span, step=step, ranges=ranges, mode=mode, progress=progress)
    _check_names(name, ranges, f" with the grid {grid}")
    if path.is_dir():
        return TemplateGrid.read(path, *span, step=5e-5)
    if str(grid) != "generator" and not path.exists():
        kinds = "analytic, generator, a model file, or a folder of BOSZ or template files"
        raise InputError(f"grid: expected {kinds}, got {str(grid)!r}, and there is no such file")
    model = load_model(None if str(grid) == "generator" else path)
    return GeneratorGrid.of(model, span=span)


def build_simulator(
    instrument: str = "pfs-mr",
    *,
    grid: str | Path | RectangularGrid = "analytic",
    mode: str = "spline",
    ranges: Ranges | None = None,
    exposures: int | None = None,
    etc: str | Path | None = None,
    noise: Sequence[str | Path] | None = None,
    normalize: bool | None = None,
    seed: int = 0,
    device: str | torch.device = "cpu",
    progress: Callable[[int, int], None] | None = None,
) -> Simulator:
    """A simulator by names.

    Arguments:
        instrument: `pfs-mr` or `sdss`.
        grid: `analytic`, the embedded grid; `generator`, the shipped model; the file of a model; a folder of BOSZ spectra
            or of template files; or a grid of your own.
        mode: How draws lie among the values of a rectangular grid: `spline` or `multilinear`.
        ranges: Where `redshift`, `ebv`, `magnitude`, the grid's parameters and the conditions of `pfs-mr` are drawn, in
            place of the defaults: those of Pál & Dobos (2024), Tables 1 and 3, for `pfs-mr`; redshift within 0.0017
            (500 km/s), E(B-V) to 0.5 mag and AB 16 to 20.5 for `sdss`.
        exposures: Exposures of `sdss`, 4 by default; of the stack of `pfs-mr`, 20 by default.
        etc: Tables of the exposure-time calculator for `pfs-mr`, instead of its embedded model.
        noise: For `sdss`: `physical`, the file of a model or noise flow, or spec files whose residuals are drawn.
        normalize: Whether the median flux between 6500 and 9500 Å becomes 0.5; by default for `pfs-mr`.
        seed: Seed of everything that is drawn.
        device: Where to compute.
        progress: Called with (done, total) while a grid is computed or read.

    Returns:
        What `simulate` uses: `observe` makes the spectra of given numbers, `stream` batches of them.

    Raises:
        InputError: if a name is not known, or options do not fit together.
        ModelError: if a model cannot be loaded.

    Example:
        >>> import torch
        >>> build_simulator("sdss", grid="generator").observe(torch.tensor([7])).flux.shape
        torch.Size([1, 4, 2048])
    """
    if mode not in MODES:
        raise InputError(f"mode: expected {' or '.join(MODES)}, got {mode!r}")
    ranges, device = dict(ranges or {}), torch_device(device)
    conditions = {key: ranges.pop(key) for key in TABLE_1 if instrument == "pfs-mr" and key in ranges}
    asked = {key: ranges.pop(key) for key in STAR if key in ranges}
    star = star_ranges({**(SDSS_RANGES if instrument == "sdss" else {}), **asked})
    spectrograph = _instrument(instrument, exposures, etc, noise, conditions)
    facts = {"mode": mode, "etc": etc, "noise": noise, "grid_from": grid if isinstance(grid, str | Path) else "given"}
    if isinstance(grid, str | Path):
        grid = _open_grid(grid, instrument, _span(spectrograph, star["redshift"]), ranges, mode, progress)
    elif ranges:
        raise InputError(f"range: expected those of a grid of your own in the grid, got {', '.join(ranges)}")
    normalize = instrument == "pfs-mr" if normalize is None else normalize
    return Simulator(grid, spectrograph, seed, star, normalize, facts).to(device)


def simulate(
    instrument: str = "pfs-mr",
    n: int = 1000,
    *,
    seed: int = 0,
    device: str | torch.device = "cpu",
    start: int = 0,
    **options: object,
) -> Simulation:
    """Simulate observations of n stars, in memory.

    Arguments:
        instrument: `pfs-mr` or `sdss`.
        n: How many stars.
        seed: Seed of everything that is drawn.
        device: Where to compute, and where the result's tensors are.
        start: Number of the first star: numbers `start` to `start + n` are the same in every call with this seed.
        options: As in `build_simulator`.

    Returns:
        Noiseless spectra, exposures with inverse variance and mask, and the table of parameters.

    Raises:
        InputError: if n is not positive, a name is not known, or options do not fit together.

    Example:
        >>> simulate("sdss", n=2, grid="generator").flux.shape
        torch.Size([2, 4, 2048])
    """
    if n < 1:
        raise InputError(f"n: expected at least one star, got {n}")
    simulator = build_simulator(instrument, seed=seed, device=device, **options)
    return Simulation.gather(simulator.stream(n, start=start), n)
