"""Batches of a calibration that are done, kept in a folder, so that a run that was stopped goes on where it was."""

import hashlib
import json
import zipfile
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict
from io import BytesIO
from pathlib import Path

import numpy as np

from ..errors import InputError
from ..io.files import read_bytes, write_bytes
from .places import PLAIN, RANKED, VERSIONS, Places

__all__ = ["Kept"]


class Kept:
    """A folder of batches, each a file whose name tells what it belongs to.

    Arguments:
        folder: Where they are; made with the first.
        run: All that the result depends on but method and batch: JSON-able.
    """

    def __init__(self, folder: Path, run: Mapping) -> None:
        self.folder = folder
        self.key = hashlib.sha256(json.dumps(run, sort_keys=True).encode()).hexdigest()[:16]

    def _path(self, method: str, cell: int, start: int) -> Path:
        return self.folder / f"{self.key}-{method}-{cell}-{start}.npz"

    def load(self, method: str, cell: int, start: int) -> Places | None:
        """A batch if it is there whole."""
        path = self._path(method, cell, start)
        try:
            with np.load(BytesIO(read_bytes(path)), allow_pickle=False) as file:
                ranked = ({v: file[f"{name}_{v}"] for v in VERSIONS} for name in RANKED)
                arrays = (file[name] for name in PLAIN)
                return Places(tuple(file["names"].tolist()), *ranked, *arrays)
        except (InputError, KeyError, ValueError, zipfile.BadZipFile):
            return None

    def save(self, places: Places, method: str, cell: int, start: int) -> None:
        """Keep a batch.

        Raises:
            OutputError: if the folder cannot be written.
        """
        with suppress(OSError):  # of which writing the file speaks
            self.folder.mkdir(exist_ok=True)
        arrays = asdict(places)
        for name in RANKED:
            arrays |= {f"{name}_{v}": values for v, values in arrays.pop(name).items()}
        content = BytesIO()
        np.savez(content, **arrays)
        write_bytes(self._path(method, cell, start), content.getvalue(), overwrite=True)

    def clear(self) -> None:
        """Remove this run's batches, and the folder."""
        for path in self.folder.glob(f"{self.key}-*.npz"):
            path.unlink()
        with suppress(OSError):  # where something else is in it
            self.folder.rmdir()
