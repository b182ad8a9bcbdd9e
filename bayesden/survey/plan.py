"""How a run is cut into chunks, and which inputs are refused before anything is computed."""

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from ..names import plain_stem

__all__ = ["Chunk", "Item", "plan"]


@dataclass(frozen=True)
class Item:
    """One input file.

    Arguments:
        input: Its absolute path.
        name: The name of its result, without folder and ending.
        refused: Why it gets none, or ''.
        found: Whether there is a file in the result's place.
    """

    input: str
    name: str
    refused: str = ""
    found: bool = False


@dataclass(frozen=True)
class Chunk:
    """Inputs that one worker takes in one go.

    Arguments:
        name: What its table is called.
        items: The inputs.
        found: Whether there is a table in its place.
    """

    name: str
    items: tuple[Item, ...]
    found: bool = False

    def halves(self) -> "tuple[Chunk, Chunk]":
        """Two chunks of half the size."""
        middle = len(self.items) // 2
        first, second = self.items[:middle], self.items[middle:]
        return replace(self, name=f"{self.name}a", items=first), replace(self, name=f"{self.name}b", items=second)


def plan(
    inputs: Sequence[str], out: Path, *, size: int, table: bool, plot: bool, resume: bool, overwrite: bool
) -> Iterator[Chunk]:
    """Chunks of inputs in their order, with what is known about each before it is read.

    Refused are a result that would replace an input or another input's result, and, unless a run is resumed or results may
    be overwritten, one that is there already. Of those with one name the first that exists has it.

    Arguments:
        inputs: Absolute paths.
        out: Folder of the results.
        size: Inputs of a chunk.
        table: Whether a chunk's results are one file.
        plot: Whether there will be figures.
        resume: Whether files may be there from the run that goes on.
        overwrite: Whether files that are there may be replaced.
    """
    there = {entry.name for entry in os.scandir(out)} if out.is_dir() else set()
    real = {os.path.realpath(path) for path in inputs} if overwrite and there else set()
    claimed: dict[str, str] = {}
    keep = not (resume or overwrite)
    for start in range(0, len(inputs), size):
        name = f"chunk-{start // size:06d}"
        found = f"{name}.fits" in there
        reason = _exists(out / f"{name}.fits") if table and found and keep else ""
        items = []
        for path in inputs[start : start + size]:
            item = Item(path, plain_stem(path), refused=f"{path}: {reason}" if reason else "")
            items.append(item if table else _judge(item, out, there, real, claimed, plot=plot, keep=keep))
        yield Chunk(name, tuple(items), found)


def _judge(
    item: Item, out: Path, there: set[str], real: set[str], claimed: dict[str, str], *, plot: bool, keep: bool
) -> Item:
    """One input whose result is a file of its own."""
    target = out / f"{item.name}.fits"
    item = replace(item, found=target.name in there)
    figure = plot and f"{item.name}.png" in there
    if os.path.realpath(target) in real if item.found and real else str(target.absolute()) == item.input:
        return replace(item, refused=f"{item.input}: expected a result elsewhere, but {target} is an input")
    if keep and (item.found or figure):
        place = target if item.found else target.with_suffix(".png")
        return replace(item, refused=f"{item.input}: {_exists(place)}")
    first = claimed.get(item.name)
    if first is not None and os.path.isfile(first):
        return replace(item, refused=f"{item.input}: expected a name of its own, but {target} is that of {first}")
    claimed[item.name] = item.input
    return item


def _exists(place: Path) -> str:
    return f"{place} exists already; --overwrite replaces it"
