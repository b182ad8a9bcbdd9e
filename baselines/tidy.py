"""Rows of a dataclass as a CSV file, a column for each field."""

import csv
from collections.abc import Sequence
from pathlib import Path

__all__ = ["write_rows"]


def write_rows(kind: type, rows: Sequence[object], path: Path) -> None:
    """Write rows of one kind, and the header alone if there are none."""
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(kind.__dataclass_fields__)
        writer.writerows(vars(row).values() for row in rows)
