r"""One file by HTTP: resumed where it broke off, checked, and in its place only when it is whole.

What has arrived is kept as ``.NAME.part``, and what the server said of it (address, ETag, date) as ``.NAME.part.json``. The
rest is asked for with ``Range`` and ``If-Range``; where the file on the server is another one by now, or where the server
says nothing that could tell, it is fetched anew. After its last byte the file is checked (checksum, and that it is what
its name says), and renamed.

References:
    RFC 9110, sections 10.2.3 (Retry-After), 13.1.5 (If-Range) and 14 (ranges).
"""

import hashlib
import re
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import unquote

from urllib3 import BaseHTTPResponse
from urllib3.exceptions import (
    ConnectTimeoutError,
    HTTPError,
    MaxRetryError,
    NewConnectionError,
    ProtocolError,
    SSLError,
)

from ...errors import FetchError, InputError, OutputError
from .connections import Connections, asked_s
from .part import Part, tag_of, total_of

__all__ = ["Absent", "Download", "Offline", "download"]

BLOCK = 2**16
MAX_BYTES = 2**30  # what `io` reads; no file that is fetched here comes near it
SLOW_BYTES_S = 100  # slower than this over a whole `timeout_s` counts as stalled
PASSING = {408, 425, 429, 500, 502, 503, 504}  # answers that may be another one later
UNREACHABLE = (NewConnectionError, ConnectTimeoutError, SSLError)


class Absent(FetchError):
    """The archive has no such file."""


class Offline(FetchError):
    """The server cannot be reached at all, so that no other file will come either."""


@dataclass(frozen=True)
class Download:
    """A file to fetch.

    Arguments:
        urls: Where it may be; those after the first are tried where it is not.
        folder: Where it shall be, under the last part of its address.
        sha256: Its checksum, where one is known.
    """

    urls: tuple[str, ...]
    folder: Path
    sha256: str | None = None

    def target(self, url: str) -> Path:
        """The file that an address becomes."""
        name = unquote(url.rpartition("/")[2])
        if not re.fullmatch(r"[\w+-][\w.+-]*", name, re.ASCII):
            raise InputError(f"{url}: expected an address that ends in a plain file name, got {name!r}")
        return self.folder / name


class _Passing(Exception):
    """Trouble that may be over at the next attempt, and how long the server wants to be left alone."""

    def __init__(self, reason: str, asked_s: float = 0.0) -> None:
        super().__init__(reason)
        self.asked_s = asked_s


def download(wanted: Download, connections: Connections, check: Callable[[Path], None]) -> Path:
    """Fetch one file, from the first of its addresses that has it.

    Arguments:
        wanted: The file.
        connections: Of the run.
        check: Called with the path of what has arrived; raises `InputError` where that is not what it should be.

    Returns:
        Where it is.

    Raises:
        FetchError: naming the address and the reason; `Absent` or `Offline` where that is it.
        OutputError: if it cannot be written.
    """
    for url in wanted.urls:
        target = wanted.target(url)
        part = Part(target.with_name(f".{target.name}.part"), url)
        try:
            _attempts(url, part, connections, lambda path: _check(path, wanted.sha256, check))
            part.finish(target)
            return target
        except Absent:
            continue
        except OSError as error:
            raise OutputError(f"{target}: expected a place that can be written, got: {error.strerror}") from None
    others = f" (nor at {len(wanted.urls) - 1} other addresses)" if len(wanted.urls) > 1 else ""
    raise Absent(f"{wanted.urls[0]}: the archive has no such file{others}")


def _attempts(url: str, part: Part, connections: Connections, check: Callable[[Path], None]) -> None:
    """Try until the file is there and passes its check, or there is no hope."""
    manners, damaged = connections.manners, 0
    for attempt in range(manners.attempts):
        try:
            _receive(url, part, connections)
            check(part.path)
            return
        except InputError as error:
            part.discard()
            damaged, reason, pause_s = damaged + 1, str(error), 0.0
            if damaged == 2:
                raise FetchError(f"{url}: came damaged twice: {reason}") from None
        except _Passing as error:
            reason, pause_s = str(error), error.asked_s
        except MaxRetryError as error:
            reason, pause_s = _plain(error), 0.0
            if isinstance(error.reason, UNREACHABLE) and attempt >= min(2, manners.attempts - 1):
                raise Offline(_offline(url, reason)) from None
        except HTTPError as error:
            reason, pause_s = _plain(error), 0.0
        if pause_s > manners.longest_s:
            raise FetchError(f"{url}: the server asks to come back in {pause_s:.0f} s ({reason})")
        connections.pause(attempt, pause_s)
    raise FetchError(f"{url}: gave up after {manners.attempts} attempts, the last one: {reason}")


def _receive(url: str, part: Part, connections: Connections) -> None:
    """One attempt: ask for the file, or for the rest of it, and write down what comes."""
    tag, have = part.tag(), part.size
    headers = {"Range": f"bytes={have}-", "If-Range": tag} if tag else {}
    with connections.get(url, headers) as response:
        status = response.status
        if status == 416 and total_of(response) == have:
            return  # it was all there
        if status == 206 and _follows(response, have, tag):
            mode = "ab"
        elif status == 200:
            part.begin(response)
            mode = "wb"
        else:
            _refuse(url, part, response)
        with part.path.open(mode) as file:
            _copy(response, file.write, connections)
    if (total := total_of(response)) is not None and part.size != total:
        part.discard()
        raise _Passing(f"expected {total:,} bytes, got another number")


def _follows(response: BaseHTTPResponse, have: int, tag: str) -> bool:
    """Whether a partial answer is the rest of what is here, and of the same file."""
    begins = re.match(r"bytes (\d+)-", response.headers.get("Content-Range", ""))
    return begins is not None and int(begins[1]) == have and tag_of(response) in ("", tag)


def _refuse(url: str, part: Part, response: BaseHTTPResponse) -> None:
    """Say what an answer without the file means."""
    answer = f"HTTP status {response.status} {response.reason or ''}".rstrip()
    if response.status in (404, 410):
        part.discard()
        raise Absent(f"{url}: {answer}")
    if response.status in (206, 416):
        part.discard()
        raise _Passing("the file has changed on the server")
    if response.status not in PASSING:
        raise FetchError(f"{url}: {answer}")
    raise _Passing(answer, asked_s(response))


def _copy(response: BaseHTTPResponse, write: Callable[[bytes], object], connections: Connections) -> None:
    """Write a body as it comes; one that only trickles has stalled."""
    patience, total = connections.manners.timeout_s, 0
    since, seen = time.monotonic(), 0
    while block := response.read1(BLOCK):
        connections.check()
        write(block)
        total += len(block)
        if total > MAX_BYTES:
            raise FetchError(f"{response.geturl()}: expected a file of less than {MAX_BYTES:,} bytes, got more")
        if (elapsed := time.monotonic() - since) > patience:
            if total - seen < SLOW_BYTES_S * elapsed:
                raise ProtocolError(f"stalled: {total - seen} bytes in {elapsed:.0f} s")
            since, seen = time.monotonic(), total


def _check(path: Path, sha256: str | None, check: Callable[[Path], None]) -> None:
    if sha256 is not None:
        with path.open("rb") as file:
            found = hashlib.file_digest(file, "sha256").hexdigest()
        if found != sha256.lower():
            raise InputError(f"expected the checksum {sha256}, got {found}")
    check(path)


def _plain(error: HTTPError) -> str:
    """An error of urllib3 in words, without its objects' addresses."""
    cause = getattr(error, "reason", None) or error
    text = re.sub(r"<[^<>]*>|\b\w+\(host=[^)]*\)|HTTPS?Connection\w*", "", str(cause))
    return " ".join(text.strip(" :").split()) or type(cause).__name__


def _offline(url: str, reason: str) -> str:
    server = "/".join(url.split("/")[:3])
    return f"{server} cannot be reached: no network, or the server is down ({reason}); the same command goes on later"
