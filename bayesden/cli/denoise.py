"""`bayesden denoise`: the main job."""

import sys
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ..errors import InputError
from .console import complain, progress, say
from .options import MaskPolicy, MaskPolicyOption, ModelOption, SeedOption, check_folder

if TYPE_CHECKING:
    from ..survey import Row, Summary

__all__ = ["denoise"]


class Form(StrEnum):
    """What results are written as."""

    FITS = "fits"
    TABLE = "table"


class Engine(StrEnum):
    """Samplers of `--mcmc`."""

    ENSEMBLE = "ensemble"
    NUTS = "nuts"


class Rerun(StrEnum):
    """What happens to a spectrum whose chains do not converge."""

    NONE = "none"
    LONGER = "longer"
    NUTS = "nuts"


class Precision(StrEnum):
    """Of floating point numbers."""

    AUTO = "auto"
    SINGLE = "single"
    DOUBLE = "double"


def denoise(
    context: typer.Context,
    files: Annotated[list[Path], typer.Argument(metavar="FILE", help="SDSS spec files.", show_default=False)],
    use_map: Annotated[
        bool,
        typer.Option(
            "--map", help="Maximum a posteriori and the posterior about it (the default).", show_default=False
        ),
    ] = True,
    model: ModelOption = None,
    out: Annotated[
        Path, typer.Option("--out", "-o", metavar="DIR", help="Folder for the results; made if missing.")
    ] = Path("denoised"),
    device: Annotated[str, typer.Option(metavar="NAME", help="Where to compute: cpu, cuda, cuda:1, ...")] = "cpu",
    seed: SeedOption = 0,
    plot: Annotated[bool, typer.Option("--plot/--no-plot", help="Write a figure beside each result.")] = False,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace results that exist.")] = False,
    mask_policy: MaskPolicyOption = MaskPolicy.AND,
    without: Annotated[
        str,
        typer.Option(
            metavar="NAME,NAME",
            help="Nuisances to leave out: velocity, reddening, tilt, calibration, arms, shifts.",
            show_default=False,
        ),
    ] = "",
    form: Annotated[
        Form, typer.Option("--format", help="fits: a file for each spectrum; table: one for each chunk of them.")
    ] = Form.FITS,
    resume: Annotated[
        bool, typer.Option("--resume", help="Go on where the last run into DIR was interrupted.")
    ] = False,
    workers: Annotated[
        int | None,
        typer.Option(
            min=1, metavar="N", help="Processes to share the work.  [default: this one alone]", show_default=False
        ),
    ] = None,
    scheduler: Annotated[
        str,
        typer.Option(metavar="ADDRESS", help="Scheduler of a dask cluster to give the work to.", show_default=False),
    ] = "",
    batch: Annotated[
        int | None,
        typer.Option(
            min=1,
            metavar="N",
            help="Spectra that are fitted together.  [default: 1 on a CPU, else what memory holds]",
            show_default=False,
        ),
    ] = None,
    precision: Annotated[
        Precision, typer.Option(help="auto: double where several spectra are fitted together, else single.")
    ] = Precision.AUTO,
    chunk: Annotated[
        int | None,
        typer.Option(
            min=1,
            metavar="N",
            help="Spectra that are handed out together, and that share a table.  [default: 4 to 32; table: 256]",
            show_default=False,
        ),
    ] = None,
    use_laplace: Annotated[
        bool, typer.Option("--laplace", help="The same as --map, with draws from it.", show_default=False)
    ] = False,
    use_svi: Annotated[
        bool, typer.Option("--svi", help="Draws from Pyro's variational inference.", show_default=False)
    ] = False,
    use_mcmc: Annotated[
        bool, typer.Option("--mcmc", help="Draws from Markov chains; also written as netCDF.", show_default=False)
    ] = False,
    engine: Annotated[
        Engine | None,
        typer.Option(
            help="Sampler of --mcmc: ours, or Pyro's, a slow reference.  [default: ensemble]", show_default=False
        ),
    ] = None,
    samples: Annotated[int, typer.Option(min=1, metavar="N", help="Draws of each spectrum, of all its chains.")] = 2000,
    chains: Annotated[int, typer.Option(min=1, metavar="N", help="Markov chains of each spectrum.")] = 4,
    draws: Annotated[
        int, typer.Option(min=0, metavar="N", help="Draws of the flux that a FITS file keeps; 0 for none, nor chains.")
    ] = 200,
    rerun: Annotated[
        Rerun, typer.Option(help="Chains that do not converge: leave (and flag) them, run longer, or run NUTS.")
    ] = Rerun.NONE,
) -> int:
    """Run `bayesden denoise`; `pages.py` has what it says of itself."""
    from ..survey import Job, Options, run_survey

    check_folder(out)
    method = _method({"laplace": use_laplace, "svi": use_svi, "mcmc": use_mcmc}, engine)
    job = Job.of(
        model,
        device=device,
        method=method,
        seed=seed,
        without=without,
        options=() if method == "map" else (("samples", samples), ("chains", chains), ("rerun", rerun.value)),
        draws=draws,
        mask_policy=mask_policy.value,
        form=form.value,
        plot=plot,
        batch=batch or 0,
        precision=precision.value,
    )
    options = Options(resume, overwrite, workers or 0, scheduler, chunk or 0)
    with progress() as bar:

        def report(row: "Row | None", done: int, total: int) -> None:
            bar("denoise", done, total)
            if row is None:
                return
            if row.status == "done":
                say(_line(row, out))
                return
            complain(row.reason)
            if context.obj["debug"] and row.trace:
                print(row.trace, file=sys.stderr)

        summary = run_survey(job, [str(path) for path in files], out, options, report=report)
    return _close(summary, out)


def _method(asked: dict[str, bool], engine: Engine | None) -> str:
    """The engine's name, from the flags.

    Raises:
        InputError: if two methods are asked for, fewer draws than chains, or an engine of a method that has none.
    """
    chosen = [name for name, wanted in asked.items() if wanted]
    if len(chosen) > 1:
        raise InputError(f"method: expected one of --map, --laplace, --svi and --mcmc, got --{' and --'.join(chosen)}")
    method = chosen[0] if chosen else "mcmc" if engine else "map"
    if engine and method != "mcmc":
        raise InputError(f"--engine: expected --mcmc beside it, got --{method}")
    return (engine or Engine.ENSEMBLE).value if method == "mcmc" else method


def _line(row: "Row", out: Path) -> str:
    facts = [
        row.name,
        f"{row.best_class:<6} {row.class_prob.get(row.best_class, 0.0):.2f}",
        f"S/N {row.snr or 0.0:5.1f}",
        f"{row.exposures:2d} exposure{'s' if row.exposures > 1 else ' '}",
        *(
            [f"v {row.facts['velocity_kms']:+5.0f} ± {row.facts['velocity_sigma_kms']:3.0f} km/s"]
            if "velocity_kms" in row.facts
            else []
        ),
        row.flags or "no flags",
        str(out / row.result),
    ]
    return "  ".join(facts)


def _close(summary: "Summary", out: Path) -> int:
    """Say what a run came to; the exit status."""
    total, failed, fitted = summary.total, summary.failed, summary.total - summary.before
    noun = "spectrum" if total == 1 else "spectra"
    if fitted > 1:
        before = f", {summary.before} before" if summary.before else ""
        rate = f"{fitted} in {summary.seconds:.0f} s, {fitted / summary.seconds:.2f} a second"
        say(f"{rate}{before}; flags: {summary.flag_counts}")
    say(f"{total - failed} of {total} {noun} denoised into {out}")
    if not failed:
        return 0
    named = ", ".join(Path(path).name for path in summary.named)
    more = f" and {failed - len(summary.named)} more" if failed > len(summary.named) else ""
    complain(f"{failed} of {total} files failed: {named}{more}")
    return 1
