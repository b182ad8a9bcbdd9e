r"""The append-only record of a run: what is safe on disk, line by line.

`manifest.jsonl` has two kinds of lines, each a JSON document. `{"run": ...}` describes a job and begins a run; every other
line is the row of one spectrum, in the order in which they were finished, the last of an input counting that is not `refused`.
Lines are on the disk before the next spectra are recorded; a line that was cut short by a crash has no end and is dropped
when the file is opened again.
"""

import fcntl
import json
import os
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from pathlib import Path

from ..errors import DiskFullError, InputError, OutputError
from ..io.files import FULL
from .job import Job
from .rows import REFUSED, Row

__all__ = ["JOURNAL", "Journal", "read_lines"]

JOURNAL = "manifest.jsonl"


class Journal:
    """The journal of a folder, open for one run; no other can have it at that time.

    Arguments:
        out: The folder.
        job: The job of the run.
        classes: The model's classes.
        resume: Whether the last run in the folder goes on.

    Raises:
        InputError: if that run had another job.
        OutputError: if the file cannot be written, or another run writes it; `DiskFullError` if there is no room.
    """

    def __init__(self, out: Path, job: Job, classes: Sequence[str], *, resume: bool) -> None:
        self.path = out / JOURNAL
        try:
            self._file = os.open(self.path, os.O_RDWR | os.O_CREAT, 0o666)
        except OSError as error:
            raise OutputError(f"{self.path}: expected a place that can be written, got: {error.strerror}") from None
        try:
            self._lock()
            self._drop_torn_line()
            found = _last_run(self.path) if resume else None
            self.done = self._continue(found, job) if found else {}
            if not found:
                run = {"id": job.id, "classes": list(classes), **job.description}
                self._append([json.dumps({"run": run}, sort_keys=True)])
        except BaseException:
            self.close()
            raise

    def _lock(self) -> None:
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise OutputError(f"{self.path}: expected a folder of its own, but another run writes there") from None
        except OSError:  # some network file systems have no locks
            pass

    def _drop_torn_line(self) -> None:
        end = size = os.lseek(self._file, 0, os.SEEK_END)
        while end and os.pread(self._file, 1, end - 1) != b"\n":
            end -= 1
        if end < size:
            os.ftruncate(self._file, end)

    def _continue(self, run: dict, job: Job) -> dict[str, str]:
        """The result's file of each input that the run has tried; '' if it failed."""
        if run["run"]["id"] != job.id:
            differ = [key for key, value in job.description.items() if run["run"].get(key) != value]
            raise InputError(
                f"{self.path}: --resume: expected the model, options and versions of the run that was interrupted, got "
                f"others ({', '.join(differ)}); --overwrite starts anew"
            )
        lines = read_lines(self.path, run["end"])
        return {line["input"]: line["result"] for line in lines if line["status"] != REFUSED}

    def append(self, rows: Sequence[Row]) -> None:
        """Record rows: on the disk when it returns, or not at all.

        Raises:
            OutputError: if they cannot be written; `DiskFullError` if there is no room.
        """
        for row in rows:
            self.done[row.input] = row.result
        self._append([json.dumps({key: v for key, v in asdict(row).items() if key != "trace"}) for row in rows])

    def _append(self, lines: Sequence[str]) -> None:
        start = os.lseek(self._file, 0, os.SEEK_END)
        left = "".join(f"{line}\n" for line in lines).encode()
        try:
            while left:
                left = left[os.write(self._file, left) :]
            os.fsync(self._file)
        except OSError as error:
            os.ftruncate(self._file, start)
            kind = DiskFullError if error.errno in FULL else OutputError
            raise kind(f"{self.path}: expected a place that can be written, got: {error.strerror}") from None

    def close(self) -> None:
        """Let others have it."""
        os.close(self._file)


def read_lines(path: Path, start: int = 0) -> Iterator[dict]:
    """The rows of a journal, each with its place in bytes as `at`; of its runs those with `run`, and `end`."""
    with path.open("rb") as file:
        file.seek(start)
        at = start
        for text in file:
            try:
                line = json.loads(text)
            except ValueError:
                raise InputError(f"{path}: expected one JSON document a line, got another thing at byte {at}") from None
            end = at + len(text)
            yield {**line, "end": end} if "run" in line else {**line, "at": at}
            at = end


def _last_run(path: Path) -> dict | None:
    return next(reversed([line for line in read_lines(path) if "run" in line]), None)
