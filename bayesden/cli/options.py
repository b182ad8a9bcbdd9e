"""Options and checks that several commands share."""

import tempfile
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ..errors import InputError, OutputError
from .completion import models

if TYPE_CHECKING:
    from ..spectrum import Grid

__all__ = [
    "GeneratorKind",
    "GridOption",
    "MaskPolicy",
    "MaskPolicyOption",
    "ModelOption",
    "NoiseKind",
    "PriorKind",
    "RecipeName",
    "SeedOption",
    "check_folder",
    "check_output",
    "interval",
    "make_grid",
]


class MaskPolicy(StrEnum):
    """Names of the mask policies of `io.read`."""

    AND = "and"
    OR = "or"
    NONE = "none"


class NoiseKind(StrEnum):
    """Kinds of `NoiseFlow`."""

    ROBUST = "robust"
    KANG2021 = "kang2021"


class GeneratorKind(StrEnum):
    """Kinds of generators."""

    BASIS = "basis"
    CONV = "conv"


class PriorKind(StrEnum):
    """Kinds of latent priors."""

    LOCAL_KDE = "local-kde"
    KDE = "kde"
    FLOW = "flow"


class RecipeName(StrEnum):
    """Names of the recipes of `train.workflow`."""

    DEFAULT = "default"
    KANG2021 = "kang2021"


MaskPolicyOption = Annotated[
    MaskPolicy,
    typer.Option(
        help="Which of a coadd's two masks marks bad pixels: what is bad in all of its exposures (and) or in any (or); "
        "none goes by ivar alone. Single exposures have one mask.",
    ),
]
ModelOption = Annotated[
    str | None,
    typer.Option(
        "--model",
        "-m",
        metavar="NAME|FILE",
        help="A shipped model or a model file.  [default: the shipped one]",
        autocompletion=models,
    ),
]
SeedOption = Annotated[int, typer.Option(min=0, max=2**32 - 1, help="Seed of the random numbers.")]
GridOption = Annotated[
    str,
    typer.Option(metavar="FIRST:LAST:PIXELS", help="Uniform wavelength grid, vacuum Angstrom."),
]


def interval(text: str, option: str) -> tuple[float, float]:
    """The two wavelengths of `8400:8900`."""
    try:
        first, last = (float(word) for word in text.split(":"))
        if 0 < first < last < float("inf"):
            return first, last
    except ValueError:
        pass
    raise typer.BadParameter(f"expected FIRST:LAST in Angstrom, such as 8400:8900, got {text!r}", param_hint=option)


def make_grid(text: str) -> "Grid":
    """The grid of `4000:9000:2048`."""
    from ..spectrum import Grid

    try:
        words = text.split(":")
        first, last, size = float(words[0]), float(words[1]), int(words[2])
        if len(words) == 3 and 0 < first < last < float("inf") and 2 <= size <= 1_000_000:
            return Grid.uniform(first, last, size)
    except (ValueError, IndexError):
        pass
    raise typer.BadParameter(f"expected FIRST:LAST:PIXELS, such as 4000:9000:2048, got {text!r}", param_hint="--grid")


def check_folder(folder: Path) -> None:
    """Make a folder if it is missing, and see that it can be written.

    Raises:
        OutputError: if not.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        reason = "a file of that name" if isinstance(error, FileExistsError) else error.strerror or error
        raise OutputError(f"{folder}: expected a folder that can be written, got: {reason}") from None


def check_output(path: Path, suffix: str, option: str = "--out") -> None:
    """See, before hours of computing, that a result can be written; its name's ending keeps inputs from being replaced.

    Raises:
        InputError: if the name has another ending.
        OutputError: if the place cannot be written.
    """
    if path.suffix != suffix:
        raise InputError(f"{option}: expected a name that ends in {suffix}, got {path}")
    if path.is_dir():
        raise OutputError(f"{path}: expected the name of a file, got a directory")
    check_folder(path.parent)
