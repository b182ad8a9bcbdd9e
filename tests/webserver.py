"""A web server on this machine whose manners the test decides: it stalls, cuts off, lies, and changes its mind."""

import hashlib
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

__all__ = ["Site", "answer", "broken", "serve", "stalling", "status", "whole"]


@dataclass
class Site:
    """What is served: for each path its answers, in turn, the last of them from then on; 404 for every other path."""

    url: str = ""
    answers: dict[str, list[Callable]] = field(default_factory=dict)
    seen: list[tuple[str, dict[str, str]]] = field(default_factory=list)
    busy: int = 0
    most_busy: int = 0
    lock: threading.Lock = field(default_factory=threading.Lock)

    def put(self, path: str, *answers: Callable) -> str:
        """Serve a file; gives its address."""
        self.answers[f"/{path}"] = list(answers)
        return f"{self.url}/{path}"

    def asked(self, path: str) -> list[str]:
        """The ranges that were asked for, in order; empty where it was the whole file."""
        return [headers.get("Range", "") for name, headers in self.seen if name == f"/{path}"]


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    site: Site

    def do_GET(self) -> None:
        path = self.path.partition("?")[0]
        with self.site.lock:
            self.site.seen.append((path, dict(self.headers)))
            self.site.busy += 1
            self.site.most_busy = max(self.site.most_busy, self.site.busy)
            answers = self.site.answers.get(path, [status(404)])
            reply = answers.pop(0) if len(answers) > 1 else answers[0]
        try:
            reply(self)
        except (BrokenPipeError, ConnectionResetError):
            self.close_connection = True
        finally:
            with self.site.lock:
                self.site.busy -= 1

    def log_message(self, *words: object) -> None:
        pass


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False  # an answer that stalls is left alone

    def handle_error(self, request: object, client: object) -> None:
        """A client that hangs up is what some tests are about."""


@contextmanager
def serve() -> Iterator[Site]:
    """Serve a site while the body runs."""
    site = Site()
    server = _Server(("127.0.0.1", 0), type("Handler", (_Handler,), {"site": site}))
    site.url = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield site
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def answer(code: int, body: bytes = b"", **headers: object) -> Callable:
    """This status, body and headers, whatever is asked; underscores in headers' names are hyphens."""

    def reply(handler: _Handler) -> None:
        handler.send_response(code)
        for name, value in ({"Content-Length": len(body)} | headers).items():
            if value is not None:
                handler.send_header(name.replace("_", "-"), str(value))
        handler.end_headers()
        handler.wfile.write(body)

    return reply


def status(code: int, **headers: object) -> Callable:
    """A status without the file."""
    return answer(code, b"<html>no</html>", **headers)


def _start(handler: _Handler, content: bytes, tagged: bool) -> bytes:
    """Send the head of an answer to a request for a file or its rest; what is left to send."""
    tag = f'"{hashlib.sha256(content).hexdigest()[:16]}"'
    wanted, first = handler.headers.get("Range"), 0
    if wanted and tagged and handler.headers.get("If-Range", tag) == tag:
        first = int(wanted.removeprefix("bytes=").partition("-")[0])
    if first and first >= len(content):
        answer(416, Content_Range=f"bytes */{len(content)}")(handler)
        return b""
    handler.send_response(206 if first else 200)
    if first:
        handler.send_header("Content-Range", f"bytes {first}-{len(content) - 1}/{len(content)}")
    handler.send_header("Content-Length", str(len(content) - first))
    if tagged:
        handler.send_header("ETag", tag)
    handler.end_headers()
    return content[first:]


def whole(content: bytes, *, tagged: bool = True) -> Callable:
    """The file, or the rest of it, as a good server sends it; one that is not `tagged` knows no ranges."""
    return lambda handler: handler.wfile.write(_start(handler, content, tagged))


def broken(content: bytes, size: int, *, tagged: bool = True) -> Callable:
    """The connection ends after `size` bytes."""

    def reply(handler: _Handler) -> None:
        handler.wfile.write(_start(handler, content, tagged)[:size])
        handler.close_connection = True

    return reply


def stalling(content: bytes, size: int, seconds: float, *, trickle: float = 0.0) -> Callable:
    """Nothing comes after `size` bytes; or a byte every `trickle` seconds."""

    def reply(handler: _Handler) -> None:
        rest = _start(handler, content, True)
        handler.wfile.write(rest[:size])
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            time.sleep(trickle or seconds)
            if trickle:
                handler.wfile.write(b"x")
        handler.close_connection = True

    return reply
