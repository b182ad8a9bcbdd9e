"""`bayesden plot`: figures from result files."""

import traceback
from pathlib import Path
from typing import Annotated

import typer

from ..errors import InputError
from ..names import plain_stem
from .console import complain, describe, progress, say
from .options import check_folder, interval

__all__ = ["plot"]

FIGURES = (".png", ".pdf", ".svg")


def plot(
    context: typer.Context,
    results: Annotated[
        list[Path], typer.Argument(metavar="RESULT", help="Files that `bayesden denoise` wrote.", show_default=False)
    ],
    out: Annotated[
        Path | None,
        typer.Option(
            "--out",
            "-o",
            metavar="DIR|FILE",
            help="A folder, made if missing; or, for one result, a name that ends "
            "in .png, .pdf or .svg.  [default: RESULT with the ending .png, beside it]",
        ),
    ] = None,
    zoom: Annotated[
        str | None, typer.Option(metavar="FIRST:LAST", help="Show only these wavelengths, vacuum Angstrom.")
    ] = None,
) -> int:
    """Run `bayesden plot`; `pages.py` has what it says of itself."""
    from ..io import read_posterior
    from ..report import plot_posterior, save_figure

    limits = None if zoom is None else interval(zoom, "--zoom")
    targets = _targets(results, out)
    failed, taken = 0, set()
    with progress() as report:
        for done, (path, target) in enumerate(zip(results, targets, strict=True), 1):
            try:
                figure = plot_posterior(read_posterior(path), zoom=limits)
                if target in taken:
                    raise InputError(f"{path}: expected a name of its own, but {target} is that of another result")
                say(str(save_figure(figure, target)))
                taken.add(target)
            except Exception as error:
                failed += 1
                complain(describe(error, path))
                if context.obj["debug"]:
                    traceback.print_exc()
            report("plot", done, len(results))
    if failed and len(results) > 1:
        complain(f"{failed} of {len(results)} files failed")
    return 1 if failed else 0


def _targets(results: list[Path], out: Path | None) -> list[Path]:
    if out is None:
        return [path.parent / f"{plain_stem(path)}.png" for path in results]
    if out.suffix and not out.is_dir() and (len(results) == 1 or out.suffix.lower() in FIGURES):
        if len(results) > 1:
            raise InputError(f"--out: expected a folder for {len(results)} results, got the name of one figure, {out}")
        check_folder(out.parent)
        return [out]
    check_folder(out)
    return [out / f"{plain_stem(path)}.png" for path in results]
