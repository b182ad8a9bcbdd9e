"""Many downloads, a few at a time."""

import hashlib
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass
from pathlib import Path

from ...errors import FetchError, InputError
from ..files import quiet
from .connections import Connections, Manners
from .transfer import Absent, Download, Offline, download

__all__ = ["Outcome", "fetch"]


@dataclass(frozen=True)
class Outcome:
    """What became of a download.

    Arguments:
        download: What was asked for.
        status: `fetched`, `kept` (it was there already), `absent` (the archive has no such file) or `failed`.
        path: Where it is; None where it is not.
        reason: Why not.
    """

    download: Download
    status: str
    path: Path | None = None
    reason: str = ""


def fetch(
    downloads: Iterable[Download],
    *,
    check: Callable[[Path], None],
    manners: Manners | None = None,
    overwrite: bool = False,
) -> Iterator[Outcome]:
    """Fetch files in parallel; what an earlier run has left unfinished is resumed.

    Arguments:
        downloads: The files; each once, however often it is named.
        check: Called with each file before it gets its name; raises `InputError` where it is not sound.
        manners: How the servers are treated.
        overwrite: Whether files that exist are fetched again.

    Yields:
        What became of each, in the order in which they end.

    Raises:
        FetchError: if a server cannot be reached at all. What has arrived stays.
        OutputError: if files cannot be written.
    """
    connections = Connections(manners or Manners())
    with quiet(), ThreadPoolExecutor(connections.manners.connections) as workers:  # their checks open FITS files
        try:
            wanted = {one.urls: one for one in downloads}.values()
            running = [workers.submit(_one, one, connections, check, overwrite) for one in wanted]
            for future in as_completed(running):
                yield future.result()
        finally:
            connections.stopped.set()
            workers.shutdown(cancel_futures=True)


def _one(wanted: Download, connections: Connections, check: Callable[[Path], None], overwrite: bool) -> Outcome:
    try:
        if not overwrite and (path := _present(wanted)) is not None:
            return Outcome(wanted, "kept", path)
        return Outcome(wanted, "fetched", download(wanted, connections, check))
    except Offline:
        raise
    except Absent as error:
        return Outcome(wanted, "absent", reason=str(error))
    except (FetchError, InputError) as error:
        return Outcome(wanted, "failed", reason=str(error))


def _present(wanted: Download) -> Path | None:
    """The file, if it is there already; files have their names only once they are whole."""
    for path in map(wanted.target, wanted.urls):
        if path.is_file():
            with path.open("rb") as file:
                found = wanted.sha256 and hashlib.file_digest(file, "sha256").hexdigest()
            if found and found != wanted.sha256.lower():
                raise InputError(f"{path}: expected the checksum {wanted.sha256}, got {found}; --overwrite replaces it")
            return path
    return None
