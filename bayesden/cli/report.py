"""`bayesden report`: results as one web page."""

import os
import traceback
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ..errors import InputError, OutputError
from .completion import models
from .console import complain, describe, progress, say
from .options import check_output

if TYPE_CHECKING:
    from ..report.html import Report

__all__ = ["report"]

MAX_MB = 100.0  # that of `report.html`, which is imported late


def report(
    context: typer.Context,
    results: Annotated[
        list[str],
        typer.Argument(metavar="RESULT", help="Results of `bayesden denoise`: files or folders.", show_default=False),
    ],
    out: Annotated[Path, typer.Option("--out", "-o", metavar="FILE", help="The page; its name ends in .html.")] = Path(
        "report.html"
    ),
    title: Annotated[str, typer.Option(metavar="TEXT", help="What stands above the page.")] = "bayesden report",
    model: Annotated[
        str | None,
        typer.Option(
            "--model",
            "-m",
            metavar="NAME|FILE",
            help="The model behind the latents.  [default: the shipped one]",
            autocompletion=models,
        ),
    ] = None,
    max_mb: Annotated[float, typer.Option(metavar="MB", help="How large the page may be, in 10^6 bytes.")] = MAX_MB,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace the page if it exists.")] = False,
) -> int:
    """Run `bayesden report`; `pages.py` has what it says of itself."""
    from ..io.result_table import read_results
    from ..model.checkpoint import load_model
    from ..report.html import Report
    from ..survey.inputs import find_inputs

    check_output(out, ".html")
    if out.exists() and not overwrite:
        raise OutputError(f"{out}: expected a new name, but the file exists (--overwrite replaces it)")
    page = Report(load_model(model), max_mb=max_mb)
    paths = find_inputs(results, out)
    with progress() as bar:
        for done, path in enumerate(paths, 1):
            name = _shown(path)
            try:
                for post in read_results(path):
                    page.add(post, name)
            except Exception as error:
                page.fail(name, describe(error, path).replace(path, name))
                complain(describe(error, path).replace(path, name))
                if context.obj["debug"]:
                    traceback.print_exc()
            bar("report", done, len(paths))
    if not len(page):
        raise InputError(
            f"{out}: expected at least one result to show, found none in {len(paths)} file{'s' * (len(paths) != 1)}"
        )
    page.write(out, title=title, overwrite=overwrite)
    _close(page, out, len(paths))
    return 1 if page.failures else 0


def _shown(path: str) -> str:
    """A path as one would write it here: from this folder on, if it is inside."""
    here = os.getcwd() + os.sep
    return path.removeprefix(here)


def _close(page: "Report", out: Path, files: int) -> None:
    """Say what came of it."""
    say(f"{out}: {len(page)} spectr{'um' if len(page) == 1 else 'a'}, {out.stat().st_size / 1e6:.1f} MB")
    if page.thinned:
        say("without single exposures, to keep below --max-mb: their mean and stacked residuals are drawn")
    if page.drawn < len(page):
        say(f"{len(page) - page.drawn} of them, the last, in the table only, to keep below --max-mb")
    if page.failures and files > 1:
        complain(f"{len(page.failures)} of {files} files failed")
