"""What has arrived of a file, and what the server said by which the rest of it can be asked for."""

import json
import re
from dataclasses import dataclass
from pathlib import Path

from urllib3 import BaseHTTPResponse

__all__ = ["Part", "tag_of", "total_of"]


@dataclass(frozen=True)
class Part:
    """What has arrived of a file, and the server's words about it."""

    path: Path
    url: str

    @property
    def _note(self) -> Path:
        return self.path.with_name(f"{self.path.name}.json")

    @property
    def size(self) -> int:
        """How many bytes have arrived."""
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
        self._note.write_text(json.dumps({"url": self.url, "tag": tag_of(response)}), "utf-8")

    def discard(self) -> None:
        """Remove everything."""
        self.path.unlink(missing_ok=True)
        self._note.unlink(missing_ok=True)

    def finish(self, target: Path) -> None:
        """Give the file its name."""
        self.path.replace(target)
        self._note.unlink(missing_ok=True)


def tag_of(response: BaseHTTPResponse) -> str:
    """What `If-Range` takes: a strong ETag, else the date of the last change."""
    tag = response.headers.get("ETag", "")
    return tag if tag.startswith('"') else response.headers.get("Last-Modified", "")


def total_of(response: BaseHTTPResponse) -> int | None:
    """The size of the whole file, as far as the server says."""
    if response.status == 200:
        length = response.headers.get("Content-Length", "")
        return int(length) if length.isdecimal() else None
    match = re.fullmatch(r"bytes (?:\d+-\d+|\*)/(\d+)", response.headers.get("Content-Range", ""))
    return int(match[1]) if match else None
