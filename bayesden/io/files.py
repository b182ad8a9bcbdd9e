"""Reading a file once and checking it, and writing one whole or not at all."""

import errno
import gzip
import hashlib
import os
import secrets
import warnings
import zlib
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path

import numpy as np
from astropy.io import fits
from astropy.utils.exceptions import AstropyWarning

from ..errors import BayesdenError, DiskFullError, InputError, OutputError

__all__ = [
    "FULL",
    "Source",
    "is_table",
    "open_fits",
    "quiet",
    "read_bytes",
    "read_text",
    "remove_parts",
    "replace_file",
    "write_bytes",
]

FULL = (errno.ENOSPC, errno.EDQUOT)
MAX_BYTES = 2**30  # more than this is not read into memory
MAX_UNZIPPED = 2**28  # a spectrum's file is a few MB; a small gzip file can pretend to be terabytes
MAX_HDUS = 2000  # the parser takes a while for each, however small
MAX_COLUMNS = 999  # of the FITS standard
BLOCK = 2**20


@dataclass(frozen=True)
class Source:
    """A file that spectra came from.

    Arguments:
        name: The file's name, without its folder.
        sha256: Its checksum.
        licence: What is known of its origin and licence.
    """

    name: str
    sha256: str
    licence: str = ""

    @classmethod
    def of(cls, path: Path, licence: str = "") -> "Source":
        """Read a file's checksum."""
        with path.open("rb") as file:
            return cls(path.name, hashlib.file_digest(file, "sha256").hexdigest(), licence)


def read_bytes(path: Path) -> bytes:
    """The content of a file.

    Raises:
        InputError: if it is missing, not a file, unreadable, or over `MAX_BYTES` bytes.
    """
    try:
        if not path.exists():
            raise InputError(f"{path}: expected a file, found nothing of that name")
        if not path.is_file():
            raise InputError(f"{path}: expected a file, got {'a directory' if path.is_dir() else 'a special file'}")
        size = path.stat().st_size
        if size > MAX_BYTES:
            raise InputError(f"{path}: expected the file of one spectrum, got {size:,} bytes")
        return path.read_bytes()
    except (OSError, ValueError) as error:
        if isinstance(error, BayesdenError):
            raise
        reason = getattr(error, "strerror", None) or error
        raise InputError(f"{path}: expected a readable file, got: {reason}") from None


def read_text(path: Path) -> str:
    """The content of a text file.

    Raises:
        InputError: as of `read_bytes`, or if it is not UTF-8.
    """
    try:
        return read_bytes(path).decode("utf-8-sig")
    except UnicodeDecodeError:
        raise InputError(f"{path}: expected text, got bytes that are not UTF-8") from None


@contextmanager
def quiet() -> Iterator[None]:
    """No warnings of astropy while the body runs.

    Filters of warnings belong to the process, and threads that set and restore them undo each other's work: who reads or
    writes in several threads is within this one all the while.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", AstropyWarning)
        yield


@contextmanager
def open_fits(path: Path) -> Iterator[tuple[fits.HDUList, str]]:
    """A FITS file, gzipped or not, read once.

    Every HDU's declared size is checked against the file's before any data is touched.

    Arguments:
        path: The file.

    Yields:
        The HDUs, and the SHA-256 of the file.

    Raises:
        InputError: in place of whatever the FITS parser raises on a file that is no FITS, is truncated or is damaged,
            here or in the body of the `with` statement.
    """
    content = read_bytes(path)
    sha256 = hashlib.sha256(content).hexdigest()
    if content.startswith(b"\x1f\x8b"):
        content = _unzip(path, content)
    if not content.startswith(b"SIMPLE  ="):
        what = "an empty file" if not content else "something else (its first card is not SIMPLE)"
        raise InputError(f"{path}: expected a FITS file, got {what}")
    try:
        with (
            quiet(),
            np.errstate(all="ignore"),  # what is not finite is masked by who reads it
            fits.open(BytesIO(content), memmap=False) as hdus,
        ):
            _check_complete(path, hdus, content)
            yield hdus, sha256
    except BayesdenError:
        raise
    # The parser meets arbitrary bytes here, and raises whatever they lead it to.
    except Exception as error:
        reason = " ".join(str(error).split())[:200]
        raise InputError(f"{path}: expected a sound FITS file, got: {type(error).__name__}: {reason}") from None


def _unzip(path: Path, content: bytes) -> bytes:
    """What a gzip file holds, read in blocks: one call for all of it would take the memory of the most that there may be."""
    blocks, size = [], 0
    try:
        with gzip.open(BytesIO(content)) as handle:
            while block := handle.read(BLOCK):
                blocks.append(block)
                size += len(block)
                if size > MAX_UNZIPPED:
                    came = f"more than {MAX_UNZIPPED:,} bytes when unzipped"
                    raise InputError(f"{path}: expected the file of one spectrum, got {came}")
    except (OSError, EOFError, zlib.error) as error:
        raise InputError(f"{path}: truncated or damaged: expected a sound gzip file, got: {error}") from None
    return b"".join(blocks)


def _check_complete(path: Path, hdus: fits.HDUList, content: bytes) -> None:
    """Refuse a file whose headers promise more than it has or there can be, or that ends within a header."""
    size, end = len(content), 0
    for number, hdu in enumerate(hdus):
        if number == MAX_HDUS:
            raise InputError(f"{path}: expected the file of one spectrum, got more than {MAX_HDUS:,} HDUs")
        place, name = hdu.fileinfo(), hdu.name or "unnamed"
        end = place["datLoc"] + hdu.size
        if hdu.size < 0 or end > size:
            raise InputError(f"{path}: HDU {number} ({name}): truncated: expected {end:,} bytes, got {size:,}")
        columns = hdu.header.get("TFIELDS", 0)
        if not isinstance(columns, int) or not 0 <= columns <= MAX_COLUMNS:
            raise InputError(f"{path}: HDU {number} ({name}): expected 0 to {MAX_COLUMNS} columns, got {columns!r:.30}")
        end = place["datLoc"] + place["datSpan"]
    if content[end:].strip(b"\0 "):
        what = f"{size - end:,} bytes that are no HDU"
        raise InputError(f"{path}: truncated or damaged: expected the end after HDU {len(hdus) - 1}, got {what}")


def is_table(hdu: object) -> bool:
    """Whether an HDU is a binary or ASCII table."""
    return isinstance(hdu, fits.BinTableHDU | fits.TableHDU)


@contextmanager
def replace_file(path: Path, *, overwrite: bool) -> Iterator[Path]:
    """A temporary name in the same folder, which becomes `path` if the body succeeds and vanishes if it does not.

    Arguments:
        path: Where the file shall be.
        overwrite: Whether an existing file may be replaced.

    Yields:
        The name to write to.

    Raises:
        OutputError: if the file exists, or its folder does not or cannot be written; `DiskFullError` if there is no room.
    """
    temporary = None
    try:
        if path.is_dir():
            raise OutputError(f"{path}: expected the name of a file, got a directory")
        if path.exists() and not overwrite:
            raise OutputError(f"{path}: expected a new name, but the file exists (overwriting it must be asked for)")
        if not path.parent.is_dir():
            raise OutputError(f"{path}: expected an existing folder, found no folder {path.parent}")
        temporary = path.parent / f".{secrets.token_hex(8)}.part"
        yield temporary
        _settle(temporary)
        temporary.replace(path)
    except OSError as error:
        kind = DiskFullError if error.errno in FULL else OutputError
        raise kind(f"{path}: expected a place that can be written, got: {error.strerror or error}") from None
    finally:
        if temporary is not None:
            with suppress(OSError):
                temporary.unlink(missing_ok=True)


def remove_parts(folder: Path) -> None:
    """Remove the temporary files that killed processes left in a folder; no live one may be writing there."""
    for part in folder.glob(".????????????????.part"):
        with suppress(OSError):
            part.unlink()


def _settle(path: Path) -> None:
    """Wait until a file is on the disk, so that no loss of power leaves an empty one under the final name."""
    with path.open("rb") as file:
        os.fsync(file.fileno())


def write_bytes(path: Path, content: bytes, *, overwrite: bool) -> None:
    """Write a file whole or not at all; see `replace_file`."""
    with replace_file(path, overwrite=overwrite) as temporary:
        temporary.write_bytes(content)
