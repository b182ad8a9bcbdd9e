"""What a folder of results holds, from its manifest or its journal: counts, and how it was made."""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from ..errors import InputError
from .journal import JOURNAL, read_lines
from .manifest import MANIFEST, read_rows
from .rows import DONE, REFUSED

__all__ = ["Overview", "overview"]

OF_A_RUN = ("method", "model", "model_sha256", "device", "seed")
WANTED = ("status", "reason", "best_class", "flags", *OF_A_RUN)


@dataclass
class Overview:
    """Counts of spectra, each counted once, as its last run left it.

    Arguments:
        status: By `done`, `failed`, `refused`.
        classes: By most probable class, of those that are done.
        flags: By flag; a spectrum may have several.
        reasons: Why there is no result, by the words after the file's name.
        runs: What the runs were made with, by name: all values that occur.
    """

    status: Counter = field(default_factory=Counter)
    classes: Counter = field(default_factory=Counter)
    flags: Counter = field(default_factory=Counter)
    reasons: Counter = field(default_factory=Counter)
    runs: dict[str, set] = field(default_factory=dict)


def overview(path: Path) -> Overview:
    """Count what a manifest says.

    Arguments:
        path: A `manifest.jsonl` or `manifest.parquet`, or the folder that has one.

    Raises:
        InputError: if it is none.
    """
    if path.is_dir():
        found = next((path / name for name in (JOURNAL, MANIFEST) if (path / name).is_file()), None)
        if found is None:
            raise InputError(f"{path}: expected a file, or a folder of results with {JOURNAL}, got another folder")
        path = found
    view = Overview()
    for row in _of_journal(path) if path.suffix == ".jsonl" else read_rows(path, WANTED):
        view.status[row["status"]] += 1
        if row["status"] == DONE:
            view.classes[row["best_class"] or "none"] += 1
            view.flags.update(flag for flag in row["flags"].split(",") if flag)
        else:
            view.reasons[row["reason"].partition(": ")[2] or row["reason"]] += 1
        for name in OF_A_RUN:
            view.runs.setdefault(name, set()).add(row[name])
    return view


def _of_journal(path: Path) -> Iterator[dict]:
    """The last row of each input that says more than 'refused', with what its run was made with."""
    runs, rows = {}, {}
    try:
        for line in read_lines(path):
            if "run" in line:
                runs[line["run"]["id"]] = line["run"]
            elif line["status"] != REFUSED or line["input"] not in rows:
                rows[line["input"]] = {name: line[name] for name in ("status", "reason", "best_class", "flags", "job")}
        yield from ({**row, **{name: runs[row["job"]][name] for name in OF_A_RUN}} for row in rows.values())
    except (KeyError, TypeError, AttributeError):
        raise InputError(f"{path}: expected the journal of a run, got other JSON documents") from None
