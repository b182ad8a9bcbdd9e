"""`bayesden simulate`: observations whose truth is known."""

from collections.abc import Iterable
from enum import StrEnum
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ..errors import InputError
from .console import Report, progress, say
from .options import SeedOption, check_folder, check_output

if TYPE_CHECKING:
    from ..simulation.simulator import Simulator

__all__ = ["simulate"]


class InstrumentName(StrEnum):
    """Names of the instruments of `simulate.build`."""

    PFS_MR = "pfs-mr"
    SDSS = "sdss"


class Mode(StrEnum):
    """How draws lie among a grid's values."""

    SPLINE = "spline"
    MULTILINEAR = "multilinear"


class Format(StrEnum):
    """What `simulate` writes."""

    HDF5 = "hdf5"
    SDSS = "sdss"


def simulate(
    instrument: Annotated[InstrumentName, typer.Argument(metavar="pfs-mr|sdss", help="The spectrograph.")],
    number: Annotated[int, typer.Option("--number", "-n", min=1, metavar="N", help="How many stars.")] = 1000,
    out: Annotated[
        Path | None,
        typer.Option("--out", "-o", metavar="PATH", help="File, or with --format sdss folder.  [default: sim.h5, sim]"),
    ] = None,
    form: Annotated[
        Format, typer.Option("--format", help="hdf5: one file; sdss: one spec file for each star (instrument sdss).")
    ] = Format.HDF5,
    grid: Annotated[
        str,
        typer.Option(
            metavar="NAME|PATH",
            help="Spectra: analytic, generator (the shipped model), a model file, a folder of BOSZ or template files.",
        ),
    ] = "analytic",
    mode: Annotated[
        Mode,
        typer.Option(
            help="spline: along one parameter drawn at random, the others on grid values; multilinear: in all."
        ),
    ] = Mode.SPLINE,
    ranges: Annotated[
        list[str] | None,
        typer.Option(
            "--range",
            metavar="NAME=LOW:HIGH",
            help="Where a parameter is drawn: redshift, ebv (mag), magnitude (AB), one of the grid's (teff_K, logg, feh, "
            "alpha_fe), or for pfs-mr a condition (seeing_arcsec, moon_phase, ...); may be repeated.",
        ),
    ] = None,
    exposures: Annotated[
        int | None,
        typer.Option(
            min=1,
            metavar="E",
            help="Exposures: as many spectra of each star (sdss), or stacked into one (pfs-mr).  [default: 4, and 20]",
            show_default=False,
        ),
    ] = None,
    etc: Annotated[
        Path | None,
        typer.Option(
            metavar="PATH",
            help="pfs-mr: tables of its exposure time calculator (npz, ECSV or a folder), not the embedded model.",
        ),
    ] = None,
    noise: Annotated[
        list[str] | None,
        typer.Option(
            metavar="physical|MODEL|FILE",
            help="sdss: physical, a model file with a noise flow, or spec files whose residuals are drawn; may be repeated.",
        ),
    ] = None,
    normalize: Annotated[
        bool | None,
        typer.Option(
            help="Bring the median flux between 6500 and 9500 Angstrom to 0.5; else 1e-17 erg/s/cm2/A.  [default: for pfs-mr]",
            show_default=False,
        ),
    ] = None,
    chunk: Annotated[
        int, typer.Option(min=1, metavar="N", help="hdf5: stars that are made, checked and resumed together.")
    ] = 512,
    resume: Annotated[bool, typer.Option("--resume", help="Keep what an interrupted run has finished.")] = False,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace a file, or an unfinished run, that exists.")
    ] = False,
    device: Annotated[str, typer.Option(metavar="NAME", help="Where to compute: cpu, cuda, cuda:1, ...")] = "cpu",
    seed: SeedOption = 0,
) -> None:
    """Run `bayesden simulate`; `pages.py` has what it says of itself."""
    from ..simulation.build import build_simulator
    from ..simulation.store import check_target

    out = out or Path("sim.h5" if form == Format.HDF5 else "sim")
    if form == Format.HDF5:
        check_output(out, ".h5")
        check_target(out, resume=resume, overwrite=overwrite)
    elif instrument != InstrumentName.SDSS:
        raise InputError(f"--format sdss: expected the instrument sdss, got {instrument.value}")
    with progress() as report:
        simulator = build_simulator(
            instrument.value,
            grid=grid,
            mode=mode.value,
            ranges=parse_ranges(ranges or ()),
            exposures=exposures,
            etc=etc,
            noise=noise,
            normalize=normalize,
            seed=seed,
            device=device,
            progress=partial(_report_grid, report, grid),
        )
        if form == Format.HDF5:
            _write_hdf5(out, simulator, number, chunk, resume, overwrite, report)
        else:
            _write_sdss(out, simulator, number, resume, overwrite, report)
    say(f"{number} stars seen by {instrument.value} ({simulator.grid.label}) written to {out}")


def _report_grid(report: Report, grid: str, done: int, total: int) -> None:
    """Progress of a grid; of the embedded one also why it takes its time, even where there are no bars."""
    if grid == "analytic" and done == 1:
        from ..simulation.grids.analytic import cache_folder

        say(f"computing the {total} spectra of the embedded grid, once: they are kept in {cache_folder()}")
    report("grid", done, total)


def parse_ranges(words: Iterable[str]) -> dict[str, tuple[float, float]]:
    """The ranges of words such as `teff_K=3500:5000`."""
    ranges = {}
    for word in words:
        try:
            name, _, values = word.partition("=")
            low, high = (float(value) for value in values.split(":"))
        except ValueError:
            raise typer.BadParameter(
                f"expected NAME=LOW:HIGH, such as magnitude=19:22.5, got {word!r}", param_hint="--range"
            ) from None
        ranges[name] = (low, high)
    return ranges


def _write_hdf5(
    out: Path, simulator: "Simulator", number: int, chunk: int, resume: bool, overwrite: bool, report: Report
) -> None:
    from ..simulation.store import write_simulation

    write_simulation(
        out,
        simulator,
        number,
        chunk=chunk,
        resume=resume,
        overwrite=overwrite,
        progress=lambda done, total: report("stars", done, total),
    )


def _write_sdss(out: Path, simulator: "Simulator", number: int, resume: bool, overwrite: bool, report: Report) -> None:
    from ..simulation.spec_files import write_spec_files

    check_folder(out)
    write_spec_files(
        out,
        simulator,
        number,
        resume=resume,
        overwrite=overwrite,
        progress=lambda done, total: report("stars", done, total),
    )
