"""`bayesden plot`: figures from result files."""

import re
import traceback
from collections.abc import Callable
from enum import StrEnum
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ..errors import InputError
from ..names import plain_stem
from .completion import WINDOW_NAMES, models, windows
from .console import complain, describe, progress, say
from .options import check_folder, interval

if TYPE_CHECKING:
    from ..posterior import Posterior
    from ..report.view import Zoom

__all__ = ["plot"]


class Kind(StrEnum):
    """Kinds of figures, each a function of `report`."""

    SPECTRUM = "spectrum"
    RESIDUALS = "residuals"
    TRACE = "trace"
    PAIRS = "pairs"
    LATENTS = "latents"
    CLASSES = "classes"
    PREDICTIVE = "predictive"
    LOO_PIT = "loo-pit"


class Format(StrEnum):
    """Endings of figures."""

    PNG = "png"
    PDF = "pdf"
    SVG = "svg"
    EPS = "eps"


FIGURES = tuple(f".{ending}" for ending in Format)


class Size(StrEnum):
    """Widths of `report.style`."""

    COLUMN = "column"
    PAGE = "page"


OPTIONS = {  # what each is for
    "zoom": (Kind.SPECTRUM, Kind.RESIDUALS, Kind.PREDICTIVE),
    "parameters": (Kind.TRACE, Kind.PAIRS),
    "model": (Kind.LATENTS,),
}


def plot(
    context: typer.Context,
    results: Annotated[
        list[Path],
        typer.Argument(metavar="RESULT", help="Files that `bayesden denoise` wrote.", show_default=False),
    ],
    out: Annotated[
        Path | None,
        typer.Option(
            "--out",
            "-o",
            metavar="DIR|FILE",
            help="A folder, made if missing; or, for one result, a name that ends "
            "in .png, .pdf, .svg or .eps.  [default: beside RESULT, named as it is, with kind and zoom where they are given]",
        ),
    ] = None,
    kind: Annotated[Kind, typer.Option(help="Which figure.")] = Kind.SPECTRUM,
    size: Annotated[
        Size | None,
        typer.Option(
            help="As wide as a journal's column (88 mm) or page (180 mm).  [default: a column for classes and loo-pit, "
            "else a page]",
            show_default=False,
        ),
    ] = None,
    form: Annotated[Format, typer.Option("--format", help="Of figures that --out does not name.")] = Format.PNG,
    zoom: Annotated[
        str | None,
        typer.Option(
            metavar="FIRST:LAST|NAME",
            autocompletion=windows,
            help="Show only these wavelengths, vacuum Angstrom, or those about a line: "
            + ", ".join(WINDOW_NAMES)
            + ".",
        ),
    ] = None,
    parameters: Annotated[
        str | None,
        typer.Option(metavar="NAMES", help="Of a trace or of pairs, with commas, such as velocity_kms,ebv,z[0]."),
    ] = None,
    model: Annotated[
        str | None,
        typer.Option(
            help="Behind latents: the name or path of the model.  [default: the shipped one]", autocompletion=models
        ),
    ] = None,
) -> int:
    """Run `bayesden plot`; `pages.py` has what it says of itself."""
    from ..io import read_posterior
    from ..report import save_figure

    draw = _figure(kind, {"zoom": zoom, "parameters": parameters, "model": model})
    if size is not None:
        draw = partial(draw, size=size.value)
    targets = _targets(results, out, f"{_suffix(kind, zoom)}.{form}")
    failed, taken = 0, set()
    with progress() as report:
        for done, (path, target) in enumerate(zip(results, targets, strict=True), 1):
            try:
                figure = draw(read_posterior(path))
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


def _figure(kind: Kind, given: dict[str, str | None]) -> "Callable[[Posterior], object]":
    """The function of a posterior that draws it, with the options that were given."""
    from .. import report

    for name, value in given.items():
        if value is not None and kind not in OPTIONS[name]:
            raise InputError(f"--{name}: expected with --kind {' or '.join(OPTIONS[name])}, got --kind {kind}")
    if kind in OPTIONS["zoom"]:
        draw = {
            Kind.SPECTRUM: report.plot_posterior,
            Kind.RESIDUALS: report.plot_residuals,
            Kind.PREDICTIVE: report.plot_predictive,
        }[kind]
        return partial(draw, zoom=_zoom(given["zoom"]))
    if kind in OPTIONS["parameters"]:
        drawn = report.plot_trace if kind is Kind.TRACE else report.plot_pairs
        return partial(drawn, names=given["parameters"] and _names(given["parameters"]))
    if kind is Kind.LATENTS:
        from ..model.checkpoint import load_model

        return partial(report.plot_latents, model=load_model(given["model"]))
    return report.plot_classes if kind is Kind.CLASSES else report.plot_loo_pit


def _suffix(kind: Kind, zoom: str | None) -> str:
    """What a figure's name has besides the result's, so that the one of a line does not replace that of the whole."""
    words = ["" if kind is Kind.SPECTRUM else kind.value, "" if zoom is None else re.sub(r"[^\w.]+", "-", zoom)]
    return "".join(f"-{word}" for word in words if word)


def _names(text: str) -> list[str]:
    """Names with commas between them, which places such as `calibration[1,0]` have inside too."""
    return [name.strip() for name in re.split(r",(?![^\[]*\])", text)]


def _zoom(text: str | None) -> "Zoom | None":
    """Two wavelengths, or the name of a window."""
    from ..report.view import window

    if text is None:
        return None
    return interval(text, "--zoom") if ":" in text or text[:1].isdigit() else window(text)


def _targets(results: list[Path], out: Path | None, ending: str) -> list[Path]:
    if out is None:
        return [path.parent / f"{plain_stem(path)}{ending}" for path in results]
    if out.suffix and not out.is_dir() and (len(results) == 1 or out.suffix.lower() in FIGURES):
        if len(results) > 1:
            raise InputError(f"--out: expected a folder for {len(results)} results, got the name of one figure, {out}")
        check_folder(out.parent)
        return [out]
    check_folder(out)
    return [out / f"{plain_stem(path)}{ending}" for path in results]
