"""The program `bayesden`: its commands, its global options, and how every trouble becomes one line and an exit status."""

import sys
import traceback
from collections.abc import Sequence
from typing import Annotated

import typer
from typer.main import get_command

from ..heap import keep_memory
from .console import complain, describe, say
from .denoise import denoise
from .doctor import doctor
from .evaluate import evaluate
from .fetch import fetch
from .fit import fit_generator, fit_prior
from .inspection import inspect
from .noise import fit_noise
from .pages import PAGES, PROGRAM, SHORT
from .plot import plot
from .report import report
from .simulate import simulate
from .train import library, train

__all__ = ["app", "main"]

UsageError = typer.BadParameter.__base__  # of click, which typer has or has inside, by its version
EXTRAS = {  # which extra brings a module
    "arviz": "arviz",
    "astroquery": "fetch",
    "bokeh": "report",
    "distributed": "dask",
    "jinja2": "report",
    "pyarrow": "survey",
    "specutils": "specutils",
}

INTERRUPTED = 130
RESUMABLE = ("denoise", "simulate")  # what an interrupted run has finished is kept

app = typer.Typer(
    help=PROGRAM,
    rich_markup_mode=None,  # plain pages: the same on a terminal and in a pipe
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110},
)
COMMANDS = {
    "denoise": denoise,
    "plot": plot,
    "report": report,
    "inspect": inspect,
    "library": library,
    "fit-generator": fit_generator,
    "fit-prior": fit_prior,
    "fit-noise": fit_noise,
    "train": train,
    "simulate": simulate,
    "evaluate": evaluate,
    "fetch": fetch,
    "doctor": doctor,
}
for name, command in COMMANDS.items():
    app.command(name, help=PAGES[name], short_help=SHORT[name])(command)


def _print_version(wanted: bool) -> None:
    if wanted:
        from importlib.metadata import PackageNotFoundError, version

        try:
            say(f"bayesden {version('bayesden')}")
        except PackageNotFoundError:
            say("bayesden, from a checkout that is not installed")
        raise typer.Exit


@app.callback()
def options(
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Show the version and exit.")
    ] = False,
    debug: Annotated[
        bool, typer.Option("--debug", help="Show the traceback of an error; may stand anywhere on the line.")
    ] = False,
) -> None:
    """Options of the program; `main` takes `--debug` out before typer sees it."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the program.

    Arguments:
        arguments: The words after the program's name; those of the process by default.

    Returns:
        The exit status: 0 all done; 1 some files failed; 2 the command or the model could not be used; 130 interrupted.
    """
    keep_memory()
    words = list(sys.argv[1:] if arguments is None else arguments)
    debug = "--debug" in words
    words = [word for word in words if word != "--debug"] or ["--help"]
    try:
        status = get_command(app).main(words, prog_name="bayesden", standalone_mode=False, obj={"debug": debug})
    except (KeyboardInterrupt, typer.Abort):  # where Typer does not make a status of it
        status = INTERRUPTED
    except SystemExit as end:  # of what writes completions for a shell
        status = end.code
    except Exception as error:
        if debug:
            traceback.print_exc()
        complain(_line(error))
        return 2
    if status == INTERRUPTED and words[0] in RESUMABLE:
        complain("interrupted: the same command with --resume goes on")
    return int(status or 0)


def _line(error: Exception) -> str:
    """What to tell a user of an error, in one line."""
    if isinstance(error, UsageError):
        where = error.ctx.command_path if error.ctx is not None else "bayesden"
        text = error.format_message().replace("Value error, ", "").rstrip(".")  # pydantic's prefix, in some typers
        return f"{text} (see {where} --help)"
    if isinstance(error, ModuleNotFoundError) and (package := str(error.name).partition(".")[0]) in EXTRAS:
        return f"this needs the package {package}: install bayesden[{EXTRAS[package]}]"
    return describe(error)
