r"""The manifest of a folder of results: one row for each spectrum, as Parquet, sorted by input.

| column | type | content |
|---|---|---|
| `input`, `sha256` | string | absolute path of the file, and its checksum |
| `status`, `reason` | string | `done`; or `failed`, or `refused` (a result was in the way), and why |
| `result`, `row` | string, int32 | result file in this folder, and which of its spectra |
| `name`, `flags`, `best_class` | string | the object, its quality flags with commas between, its most probable class |
| `prob_O`, `prob_B`, ... | double | probability of each class |
| `exposures`, `snr` | int32, double | how many, and signal-to-noise ratio per pixel of all of them |
| `velocity_kms`, `velocity_sigma_kms`, `ebv`, `ebv_sigma`, `support_p`, `ra_deg`, `dec_deg` | double | where known |
| `method`, `seed`, `model`, `model_sha256`, `device`, `job` | string, int64 | how it was made |
| `version_bayesden`, ... | string | with what |

Nothing in it depends on when, where or in how many pieces a run was made: the same spectra and the same job give the same
bytes. What does depend on it, seconds, host, process and time, is in `timing.parquet`, row by row the same inputs.
"""

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING

from ..errors import InputError
from ..io.files import replace_file
from .journal import JOURNAL, read_lines
from .rows import FACTS, REFUSED, Timing

if TYPE_CHECKING:
    from pyarrow import Schema, Table

__all__ = ["MANIFEST", "TIMING", "read_manifest", "read_rows", "write_manifest"]

MANIFEST, TIMING = "manifest.parquet", "timing.parquet"
GROUP = 50_000  # rows that a Parquet file keeps together
PART = 1_000  # rows in memory as Python's objects, which take ten times the room
TEXTS = ("input", "sha256", "status", "reason", "result", "name", "flags", "best_class")
OF_THE_JOB = ("method", "model", "model_sha256", "device", "precision", "mask_policy", "without")


def write_manifest(out: Path) -> None:
    """Make the tables from the folder's journal.

    Raises:
        ModuleNotFoundError: if there is no pyarrow.
        OutputError: if they cannot be written; `DiskFullError` if there is no room.
    """
    from pyarrow import parquet

    runs, places = {}, {}
    for line in read_lines(out / JOURNAL):
        if "run" in line:
            runs[line["run"]["id"]] = line["run"]
        elif line["status"] != REFUSED or line["input"] not in places:
            places[line["input"]] = line["at"]
    order = [places[path] for path in sorted(places)]
    for name, schema, of in ((MANIFEST, _schema(runs), _columns), (TIMING, _timing_schema(), _timing)):
        with replace_file(out / name, overwrite=True) as temporary, parquet.ParquetWriter(temporary, schema) as writer:
            for start in range(0, max(len(order), 1), GROUP):
                parts = _parts(out / JOURNAL, order[start : start + GROUP])
                writer.write_table(_table(([of(row, runs) for row in rows] for rows in parts), schema))


def read_manifest(out: str | Path) -> "Table":
    """The manifest of a folder of results, as a pyarrow table (`.to_pandas()`, `polars.from_arrow`).

    Arguments:
        out: The folder.

    Returns:
        A row for each input, in the order of their paths; the columns are those of this module's table.

    Raises:
        InputError: if there is none.

    Example:
        >>> read_manifest("nowhere")
        Traceback (most recent call last):
        bayesden.errors.InputError: nowhere/manifest.parquet: expected a manifest, found nothing of that name
    """
    from pyarrow import parquet

    path = Path(out) / MANIFEST
    if not path.is_file():
        raise InputError(f"{path}: expected a manifest, found nothing of that name")
    return parquet.read_table(path)


def read_rows(path: Path, columns: Sequence[str]) -> Iterator[dict]:
    """Some columns of a manifest, row by row.

    Raises:
        InputError: if the file is no manifest.
    """
    from pyarrow import ArrowException, parquet

    try:
        with parquet.ParquetFile(path) as file:
            for batch in file.iter_batches(GROUP, columns=list(columns)):
                if batch.num_columns < len(columns):
                    missing = sorted(set(columns) - set(batch.schema.names))
                    raise InputError(f"{path}: expected a manifest, got a table without {', '.join(missing)}")
                yield from batch.to_pylist()
    except (ArrowException, OSError) as error:
        raise InputError(f"{path}: expected a manifest, got: {' '.join(str(error).split())[:200]}") from None


def _parts(journal: Path, order: list[int]) -> Iterator[list[dict]]:
    """The rows of a journal at these places, a part of them at a time."""
    with journal.open("rb") as file:
        for start in range(0, len(order), PART):
            rows = []
            for at in order[start : start + PART]:
                file.seek(at)
                rows.append(json.loads(file.readline()))
            yield rows


def _table(parts: Iterable[list[dict]], schema: "Schema") -> "Table":
    from pyarrow import Table, concat_tables

    texts = ([{key: _unicode(value) for key, value in row.items()} for row in rows] for rows in parts)
    return concat_tables([schema.empty_table(), *(Table.from_pylist(rows, schema=schema) for rows in texts)])


def _unicode(value: object) -> object:
    r"""Texts as UTF-8 can hold them: a file name's bytes that are none become \xNN, as in the journal's own escapes."""
    if not isinstance(value, str):
        return value
    return value.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")


def _schema(runs: Mapping[str, dict]) -> "Schema":
    import pyarrow as pa

    classes = dict.fromkeys(name for run in runs.values() for name in run["classes"])
    versions = dict.fromkeys(name for run in runs.values() for name in run["versions"])
    return pa.schema(
        [(name, pa.string()) for name in TEXTS]
        + [("row", pa.int32()), ("exposures", pa.int32()), ("snr", pa.float64())]
        + [(f"prob_{name}", pa.float64()) for name in classes]
        + [(name, pa.float64()) for name in FACTS]
        + [("job", pa.string()), ("seed", pa.int64())]
        + [(name, pa.string()) for name in OF_THE_JOB]
        + [(f"version_{name}", pa.string()) for name in versions]
    )


def _columns(row: dict, runs: Mapping[str, dict]) -> dict[str, object]:
    run = runs[row["job"]]
    columns = {key: row[key] for key in (*TEXTS, "row", "exposures", "snr", "job")}
    columns |= {f"prob_{name}": probability for name, probability in row["class_prob"].items()}
    columns |= row["facts"]
    columns |= {key: run[key] for key in (*OF_THE_JOB, "seed")}
    return columns | {f"version_{name}": text for name, text in run["versions"].items()}


def _timing_schema() -> "Schema":
    import pyarrow as pa

    kinds = {float: pa.float64(), int: pa.int64(), str: pa.string()}
    return pa.schema([("input", pa.string()), *((field.name, kinds[field.type]) for field in fields(Timing))])


def _timing(row: dict, runs: Mapping[str, dict]) -> dict[str, object]:
    return {"input": row["input"], **row["timing"]}
