r"""One file by HTTP: resumed where it broke off, checked, and in its place only when it is whole.

What has arrived is kept as ``.NAME.part``, and what the server said of it (address, ETag, date) as ``.NAME.part.json``. The
rest is asked for with ``Range`` and ``If-Range``; where the file on the server is another one by now, or where the server
says nothing that could tell, it is fetched anew. After its last byte the file is checked (checksum, and that it is what
its name says), and renamed.

References:
    RFC 9110, sections 10.2.3 (Retry-After), 13.1.5 (If-Range) and 14 (ranges).
"""

import hashlib
import json
import re
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from urllib.parse import unquote

import urllib3
from urllib3 import BaseHTTPResponse
from urllib3.exceptions import ConnectTimeoutError as ConnectTimeout
from urllib3.exceptions import HTTPError, InvalidHeader, MaxRetryError, NewConnectionError, SSLError
from urllib3.exceptions import ProtocolError as Broken

from ...errors import FetchError, InputError, OutputError

__all__ = ["Absent", "Connections", "Download", "Manners", "Offline", "download"]

BLOCK = 2**16
MAX_BYTES = 2**30  # what `io` reads; no file that is fetched here comes near it
SLOW_BYTES_S = 100  # slower than this over a whole `timeout_s` counts as stalled
PASSING = {408, 425, 429, 500, 502, 503, 504}  # answers that may be another one later
ONE_TRY = urllib3.Retry(total=None, connect=0, read=0, status=0, other=0, redirect=5)  # tries are counted here
UNREACHABLE = (NewConnectionError, ConnectTimeout, SSLError)


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


@dataclass(frozen=True)
class Manners:
    """How a server is treated.

    Arguments:
        connections: Files that are fetched at a time.
        attempts: How often a file is tried.
        timeout_s: A connection without a sign of life for so long is given up.
        pause_s: Pause after the first failure; it doubles with each.
        longest_s: The longest pause; a server that asks for more has its file reported as failed.
    """

    connections: int = 4
    attempts: int = 6
    timeout_s: float = 30.0
    pause_s: float = 1.0
    longest_s: float = 120.0


class Connections:
    """Connections to servers, which all wait when a server asks one of them to."""

    def __init__(self, manners: Manners) -> None:
        self.manners = manners
        self.stopped = threading.Event()
        self._until = 0.0
        timeout = urllib3.Timeout(connect=min(manners.timeout_s, 10.0), read=manners.timeout_s)
        self._pool = urllib3.PoolManager(maxsize=manners.connections, timeout=timeout, retries=ONE_TRY)

    @contextmanager
    def get(self, url: str, headers: dict[str, str]) -> Iterator[BaseHTTPResponse]:
        """Send a request when its turn has come, and yield the answer, whose body is not read yet."""
        while (left := self._until - time.monotonic()) > 0:
            self.stopped.wait(left)
            self.check()
        headers = {"User-Agent": f"bayesden/{_version()}", "Accept-Encoding": "identity", **headers}
        response = self._pool.request("GET", url, headers=headers, preload_content=False, decode_content=False)
        try:
            yield response
        finally:
            response.close()
            response.release_conn()

    def check(self) -> None:
        """Raise where the run has been stopped."""
        if self.stopped.is_set():
            raise FetchError("stopped")

    def pause(self, attempt: int, asked_s: float) -> None:
        """Let all connections wait: as long as the server asked, or twice as long after each attempt."""
        seconds = min(self.manners.pause_s * 2**attempt, self.manners.longest_s)
        self._until = max(self._until, time.monotonic() + max(seconds, asked_s))


class _Passing(Exception):
    """Trouble that may be over at the next attempt, and how long the server wants to be left alone."""

    def __init__(self, reason: str, asked_s: float = 0.0) -> None:
        super().__init__(reason)
        self.asked_s = asked_s


@dataclass(frozen=True)
class _Part:
    """What has arrived of a file, and the server's words about it."""

    path: Path
    url: str

    @property
    def _note(self) -> Path:
        return self.path.with_name(f"{self.path.name}.json")

    @property
    def size(self) -> int:
        return self.path.stat().st_size if self.path.exists() else 0

    def tag(self) -> str:
        """The ETag or date that identifies what has arrived; empty where the rest of it cannot be asked for."""
        try:
            note = json.loads(self._note.read_text("utf-8"))
            return str(note["tag"]) if note["url"] == self.url and self.size else ""
        except (OSError, ValueError, KeyError, TypeError):
            return ""

    def begin(self, response: BaseHTTPResponse) -> None:
        """Start over, with the file that a response announces."""
        self.discard()
        self._note.write_text(json.dumps({"url": self.url, "tag": _tag(response)}), "utf-8")

    def discard(self) -> None:
        """Remove everything."""
        self.path.unlink(missing_ok=True)
        self._note.unlink(missing_ok=True)

    def finish(self, target: Path) -> None:
        """Give the file its name."""
        self.path.replace(target)
        self._note.unlink(missing_ok=True)


def _version() -> str:
    try:
        return version("bayesden")
    except PackageNotFoundError:
        return "0"


def _tag(response: BaseHTTPResponse) -> str:
    """What `If-Range` takes: a strong ETag, else the date of the last change."""
    tag = response.headers.get("ETag", "")
    return tag if tag.startswith('"') else response.headers.get("Last-Modified", "")


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
        part = _Part(target.with_name(f".{target.name}.part"), url)
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


def _attempts(url: str, part: _Part, connections: Connections, check: Callable[[Path], None]) -> None:
    """Try until the file is there and passes its check, or there is no hope."""
    manners, damaged = connections.manners, 0
    for attempt in range(manners.attempts):
        try:
            _receive(url, part, connections)
            check(part.path)
            return
        except InputError as error:
            part.discard()
            damaged, reason, asked_s = damaged + 1, str(error), 0.0
            if damaged == 2:
                raise FetchError(f"{url}: came damaged twice: {reason}") from None
        except _Passing as error:
            reason, asked_s = str(error), error.asked_s
        except MaxRetryError as error:
            reason, asked_s = _plain(error), 0.0
            if isinstance(error.reason, UNREACHABLE) and attempt >= min(2, manners.attempts - 1):
                raise Offline(_offline(url, reason)) from None
        except HTTPError as error:
            reason, asked_s = _plain(error), 0.0
        if asked_s > manners.longest_s:
            raise FetchError(f"{url}: the server asks to come back in {asked_s:.0f} s ({reason})")
        connections.pause(attempt, asked_s)
    raise FetchError(f"{url}: gave up after {manners.attempts} attempts, the last one: {reason}")


def _receive(url: str, part: _Part, connections: Connections) -> None:
    """One attempt: ask for the file, or for the rest of it, and write down what comes."""
    tag, have = part.tag(), part.size
    headers = {"Range": f"bytes={have}-", "If-Range": tag} if tag else {}
    with connections.get(url, headers) as response:
        status = response.status
        if status == 416 and _total(response) == have:
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
    if (total := _total(response)) is not None and part.size != total:
        part.discard()
        raise _Passing(f"expected {total:,} bytes, got another number")


def _follows(response: BaseHTTPResponse, have: int, tag: str) -> bool:
    """Whether a partial answer is the rest of what is here, and of the same file."""
    begins = re.match(r"bytes (\d+)-", response.headers.get("Content-Range", ""))
    return begins is not None and int(begins[1]) == have and _tag(response) in ("", tag)


def _total(response: BaseHTTPResponse) -> int | None:
    """The size of the whole file, as far as the server says."""
    if response.status == 200:
        length = response.headers.get("Content-Length", "")
        return int(length) if length.isdecimal() else None
    match = re.fullmatch(r"bytes (?:\d+-\d+|\*)/(\d+)", response.headers.get("Content-Range", ""))
    return int(match[1]) if match else None


def _refuse(url: str, part: _Part, response: BaseHTTPResponse) -> None:
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
    try:
        asked_s = ONE_TRY.parse_retry_after(response.headers.get("Retry-After", "0"))
    except (InvalidHeader, OverflowError, ValueError):
        asked_s = 0.0
    raise _Passing(answer, asked_s)


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
                raise Broken(f"stalled: {total - seen} bytes in {elapsed:.0f} s")
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
