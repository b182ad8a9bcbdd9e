"""The tidy table of test bed B4."""

import csv
from dataclasses import dataclass, fields
from pathlib import Path

from bayesden.errors import InputError

__all__ = ["Row", "read_rows"]


@dataclass(frozen=True)
class Row:
    """One galaxy by one method. Reductions and correlation in percent; log age / yr and [M/H] with their true values."""

    method: str
    prior: str
    snr: float
    galaxy: int
    reduction: float
    pearson: float
    ca_h: float
    h_delta: float
    fe_4383: float
    h_beta: float
    mg_b: float
    na_d: float
    age: float
    metallicity: float
    true_age: float
    true_metallicity: float


def read_rows(path: Path) -> list[Row]:
    """A tidy table.

    Raises:
        InputError: if the file is another table.
    """
    kinds = {"method": str, "prior": str, "galaxy": int}
    with path.open(newline="") as file:
        reader = csv.DictReader(file)
        if reader.fieldnames != [f.name for f in fields(Row)]:
            raise InputError(f"{path}: expected a tidy table of test bed B4, got another")
        return [Row(**{key: kinds.get(key, float)(value) for key, value in row.items()}) for row in reader]
