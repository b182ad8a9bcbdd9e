"""`bayesden denoise`: the main job."""

import traceback
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from itertools import islice
from os.path import realpath
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ..errors import OutputError
from .console import complain, describe, progress, say
from .options import MaskPolicy, MaskPolicyOption, SeedOption, check_folder, plain_stem

if TYPE_CHECKING:
    from ..posterior import Posterior
    from ..spectrum import Observation

__all__ = ["denoise"]

CHUNK = 32  # files that are in memory together
NAMED = 10  # failed files that the summary names again


@dataclass(frozen=True, eq=False)
class _Task:
    """One input file on its way to its result, or to the reason why there is none."""

    path: Path
    target: Path
    observation: "Observation | None" = None
    posterior: "Posterior | None" = None
    error: Exception | None = None


def denoise(
    context: typer.Context,
    files: Annotated[list[Path], typer.Argument(metavar="FILE", help="SDSS spec files.", show_default=False)],
    use_map: Annotated[
        bool,
        typer.Option(
            "--map", help="Maximum a posteriori and the posterior about it (the default).", show_default=False
        ),
    ] = True,
    model: Annotated[
        str | None,
        typer.Option(
            "--model", "-m", metavar="NAME|FILE", help="A shipped model or a model file.  [default: the shipped one]"
        ),
    ] = None,
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
) -> int:
    """Run `bayesden denoise`; `pages.py` has what it says of itself."""
    from ..infer.denoise import denoise as infer
    from ..io import read
    from ..model.checkpoint import load_model

    check_folder(out)
    loaded = load_model(model)
    infer([], loaded, device=device, without=without)  # moves the model there, or says what is not known
    tasks = _read(
        files,
        out,
        lambda path: read(path, grid=loaded.grid, mask_policy=mask_policy.value),
        plot=plot,
        overwrite=overwrite,
    )
    tasks = _fit(tasks, lambda observations: infer(observations, loaded, method="map", seed=seed, without=without))
    failed, width = [], max(len(plain_stem(path)) for path in files)
    with progress() as report:
        for done, task in enumerate(_write(tasks, plot=plot, overwrite=overwrite), 1):
            report("denoise", done, len(files))
            if task.error is None:
                say(_line(task, width))
                continue
            failed.append(task.path)
            complain(describe(task.error, task.path))
            if context.obj["debug"]:
                traceback.print_exception(task.error)
    return _close(len(files), failed, out)


def _read(
    files: list[Path], out: Path, read: Callable[[Path], "Observation"], *, plot: bool, overwrite: bool
) -> Iterator[_Task]:
    """Read each file when its turn comes; of those with one target the first that can be read has it."""
    inputs, claimed = {realpath(path) for path in files}, {}
    for path in files:
        target = out / f"{plain_stem(path)}.fits"
        try:
            _check_target(path, target, inputs, plot=plot, overwrite=overwrite)
            observation = read(path)
            if (first := claimed.get(target)) is not None:
                raise OutputError(f"{path}: expected a name of its own, but {target} is that of {first}")
            claimed[target] = path
            yield _Task(path, target, observation)
        except Exception as error:
            yield _Task(path, target, error=error)


def _check_target(path: Path, target: Path, inputs: set[str], *, plot: bool, overwrite: bool) -> None:
    """Refuse a result, before anything is computed, where something else is."""
    if realpath(target) in inputs:
        raise OutputError(f"{path}: expected a result elsewhere, but {target} is an input")
    for place in (target, target.with_suffix(".png"))[: 1 + plot]:
        if place.exists() and not overwrite:
            raise OutputError(f"{path}: {place} exists already; --overwrite replaces it")


def _fit(tasks: Iterable[_Task], infer: Callable[[list["Observation"]], list["Posterior"]]) -> Iterator[_Task]:
    """Posteriors, a chunk of spectra at a time; one by one where a chunk fails, so that the cause costs itself only."""
    tasks = iter(tasks)
    while chunk := list(islice(tasks, CHUNK)):
        fitted = _try(infer, [task for task in chunk if task.error is None])
        if any(task.error for task in fitted):
            fitted = [one for task in chunk if task.error is None for one in _try(infer, [task])]
        done = iter(fitted)
        yield from (task if task.error is not None else next(done) for task in chunk)


def _try(infer: Callable[[list["Observation"]], list["Posterior"]], tasks: list[_Task]) -> list[_Task]:
    try:
        posteriors = infer([task.observation for task in tasks]) if tasks else []
        return [replace(task, posterior=post) for task, post in zip(tasks, posteriors, strict=True)]
    except Exception as error:
        return [replace(task, error=error) for task in tasks]


def _write(tasks: Iterable[_Task], *, plot: bool, overwrite: bool) -> Iterator[_Task]:
    from ..io import write_posterior
    from ..report import plot_posterior, save_figure

    for task in tasks:
        if task.error is None:
            try:
                write_posterior(task.posterior, task.target, overwrite=overwrite)
                if plot:
                    save_figure(plot_posterior(task.posterior), task.target.with_suffix(".png"))
            except Exception as error:
                task = replace(task, error=error)
        yield task


def _line(task: _Task, width: int) -> str:
    post, observation = task.posterior, task.observation
    best, n, meta = post.best_class, observation.n_exposures, post.meta
    facts = [
        f"{plain_stem(task.path):<{width}}",
        f"{best:<6} {post.class_prob[best]:.2f}",
        f"S/N {observation.snr:5.1f}",
        f"{n:2d} exposure{'s' if n > 1 else ' '}",
        *(
            [f"v {meta['velocity_kms']:+5.0f} ± {meta['velocity_sigma_kms']:3.0f} km/s"]
            if "velocity_kms" in meta
            else []
        ),
        ",".join(sorted(post.flags)) or "no flags",
        str(task.target),
    ]
    return "  ".join(facts)


def _close(total: int, failed: list[Path], out: Path) -> int:
    noun = "spectrum" if total == 1 else "spectra"
    say(f"{total - len(failed)} of {total} {noun} denoised into {out}")
    if not failed:
        return 0
    named = ", ".join(path.name for path in failed[:NAMED])
    more = f" and {len(failed) - NAMED} more" if len(failed) > NAMED else ""
    complain(f"{len(failed)} of {total} files failed: {named}{more}")
    return 1
