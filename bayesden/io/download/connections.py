"""Connections to the archives' servers, which are polite: few, patient, and silent when asked to be."""

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version

import urllib3
from urllib3 import BaseHTTPResponse
from urllib3.exceptions import InvalidHeader

from ...errors import FetchError

__all__ = ["Connections", "Manners", "asked_s"]

ONE_TRY = urllib3.Retry(total=None, connect=0, read=0, status=0, other=0, redirect=5)  # tries are counted here


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


def asked_s(response: BaseHTTPResponse) -> float:
    """How long a server wants to be left alone: its `Retry-After`, seconds or a date; 0 if it does not say."""
    try:
        return ONE_TRY.parse_retry_after(response.headers.get("Retry-After", "0"))
    except (InvalidHeader, OverflowError, ValueError):
        return 0.0


def _version() -> str:
    try:
        return version("bayesden")
    except PackageNotFoundError:
        return "0"
