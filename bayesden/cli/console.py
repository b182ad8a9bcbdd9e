"""What the commands print: results on standard output, one line for each trouble on standard error, bars on a terminal."""

import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import TextIO

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, ProgressColumn, Task, TextColumn, TimeRemainingColumn
from rich.table import Table
from rich.text import Text

from ..errors import describe

__all__ = ["complain", "describe", "progress", "say", "show_table"]

Report = Callable[[str, int, int], None]


def _print(text: str, stream: TextIO | None) -> None:
    encoding = getattr(stream, "encoding", None) or "utf-8"
    # a file's name may hold what the terminal's encoding does not
    print(text.encode(encoding, "backslashreplace").decode(encoding), file=stream, flush=True)


def printable(text: str) -> str:
    """A text whose control characters are spelled out: a file's name must not steer the terminal."""
    return "".join(c if c.isprintable() or c == "\n" else c.encode("unicode_escape").decode() for c in text)


def say(text: str = "") -> None:
    """Print to standard output."""
    _print(printable(text), sys.stdout)


def complain(text: str) -> None:
    """Print one line to standard error."""
    _print("error: " + printable(" ".join(text.split())), sys.stderr)


def show_table(columns: Sequence[str], rows: Iterable[Sequence[str]], *, words: Sequence[int] = (0,)) -> None:
    """Print aligned columns: those of words (by number) to the left, numbers to the right."""
    table = Table(box=None, pad_edge=False, padding=(0, 3, 0, 0))
    for number, name in enumerate(columns):
        table.add_column(name, justify="left" if number in words else "right", no_wrap=True)
    for row in rows:
        table.add_row(*map(printable, row))
    width = None if sys.stdout is not None and sys.stdout.isatty() else 200
    console = Console(width=width, markup=False, highlight=False)
    with console.capture() as captured:
        console.print(table)
    _print("\n".join(line.rstrip() for line in captured.get().splitlines()), sys.stdout)


class _Rate(ProgressColumn):
    """How many a second."""

    def render(self, task: Task) -> Text:
        return Text("" if task.speed is None else f"{task.speed:.1f}/s")


@contextmanager
def progress() -> Iterator[Report]:
    """Bars on standard error, one for each stage, that vanish at the end; nothing where it is not a terminal.

    Yields:
        What to call with (stage, done, total).
    """
    if sys.stderr is None or not sys.stderr.isatty():
        yield lambda stage, done, total: None
        return
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), _Rate(), TimeRemainingColumn())
    # lines for a standard output that is no terminal must not be sent to the bars' one
    both = sys.stdout is not None and sys.stdout.isatty()
    tasks: dict[str, int] = {}
    with Progress(*columns, console=Console(stderr=True, soft_wrap=True), transient=True, redirect_stdout=both) as bars:

        def report(stage: str, done: int, total: int) -> None:
            if stage not in tasks:
                tasks[stage] = bars.add_task(stage, total=total, completed=done)  # what was there before has no rate
            bars.update(tasks[stage], completed=done, total=total)

        yield report
