"""From what a user names, files, folders, globs and lists, to the files themselves."""

import glob
import os
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path

from ..errors import InputError
from ..io.files import read_bytes

__all__ = ["find_inputs"]

ENDINGS = (".fits", ".fits.gz")


def find_inputs(words: Iterable[str], out: Path) -> list[str]:
    """Absolute paths of all spectra that are named, each once, in the order of the names; those of a folder sorted.

    A folder is searched with its sub-folders for `*.fits` and `*.fits.gz`; a glob is for shells that did not expand it;
    `@LIST`, or a file whose name ends in `.txt`, holds one file, folder or glob a line (`@-` is standard input). Whatever is
    none of these is taken as a file, so that its absence becomes a reason.

    Arguments:
        words: What was named.
        out: The folder of results, which is not searched.

    Raises:
        InputError: if a list cannot be read.
    """
    skip = os.path.abspath(out)
    found = (os.path.abspath(path) for word in words for path in _expand(word, skip))
    return list(dict.fromkeys(found))


def _expand(word: str, skip: str) -> Iterator[str]:
    if word.startswith("@"):
        yield from _from_list(word[1:], skip)
    elif word.endswith(".txt") and os.path.isfile(word):
        yield from _from_list(word, skip)
    else:
        yield from _from_path(word, skip)


def _from_list(name: str, skip: str) -> Iterator[str]:
    try:
        text = sys.stdin.read() if name == "-" else read_bytes(Path(name)).decode("utf-8", "surrogateescape")
    except UnicodeError as error:
        raise InputError(f"{name}: expected a list of files as text, got: {error}") from None
    for line in text.splitlines():
        if (path := line.strip()) and not path.startswith("#"):
            yield from _from_path(path, skip)


def _from_path(path: str, skip: str) -> Iterator[str]:
    if os.path.isdir(path):
        yield from list(_walk(path, skip)) or [path]
    elif glob.has_magic(path) and not os.path.exists(path):
        yield from (one for match in sorted(glob.glob(path, recursive=True)) or [path] for one in _inside(match, skip))
    else:
        yield path


def _inside(match: str, skip: str) -> Iterable[str]:
    return _walk(match, skip) if os.path.isdir(match) else [match]


def _walk(folder: str, skip: str) -> Iterator[str]:
    for place, folders, files in os.walk(folder):
        folders[:] = sorted(name for name in folders if os.path.abspath(os.path.join(place, name)) != skip)
        yield from (os.path.join(place, name) for name in sorted(files) if name.lower().endswith(ENDINGS))
