"""What `store.write_simulation` wrote, read back: rows, the table of parameters, and what the file says of itself."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import h5py
import torch
from numpy.typing import NDArray

from ..errors import InputError
from .simulator import TENSORS, Simulation

__all__ = [
    "FORMAT",
    "UNREADABLE",
    "Arrays",
    "configuration_of",
    "read_configuration",
    "read_parameters",
    "read_simulation",
    "rows",
]

FORMAT = "bayesden simulation 1"
UNREADABLE = (OSError, KeyError, ValueError, RuntimeError, IndexError)  # whatever HDF5 makes of a damaged file
Arrays = dict[str, NDArray]


def rows(file: h5py.File, start: int, stop: int) -> Arrays:
    """Some rows of every dataset, by name."""
    return {key: file[key][start:stop] for key in (*TENSORS, "parameters")}


def configuration_of(path: Path) -> dict[str, Any] | None:
    """The configuration of a file; None where there is none that can be read."""
    try:
        with h5py.File(path, "r") as file:
            return json.loads(file.attrs["configuration"])
    except UNREADABLE:
        return None


def read_configuration(path: str | Path) -> dict[str, Any]:
    """What a file that `write_simulation` made says of itself.

    Raises:
        InputError: if the file is missing, damaged, or of another format.
    """
    path = Path(path)
    if not path.is_file():
        raise InputError(f"{path}: expected a simulation's HDF5 file, found no file of that name")
    configuration = configuration_of(path)
    if configuration is None or configuration.get("format") != FORMAT:
        raise InputError(f"{path}: expected {FORMAT!r}, got a file that is damaged, cut short or of another format")
    return configuration


def read_parameters(path: str | Path) -> NDArray:
    """The table of parameters alone; see `Simulation.parameters` and `read_configuration`."""
    read_configuration(path)
    with _sound(Path(path)), h5py.File(path, "r") as file:
        return file["parameters"][...]


@contextmanager
def _sound(path: Path) -> Iterator[None]:
    """HDF5's errors while reading, as one line."""
    try:
        yield
    except (OSError, KeyError, RuntimeError) as error:
        reason = str(error).splitlines()[0]
        raise InputError(f"{path}: expected a sound simulation file, got: {reason}") from None


def read_simulation(path: str | Path, start: int = 0, stop: int | None = None) -> Simulation:
    """Spectra `start` to `stop` of a file that `write_simulation` made.

    Raises:
        InputError: if the file is missing, damaged, of another format, or has no such rows.
    """
    path = Path(path)
    read_configuration(path)
    with _sound(path), h5py.File(path, "r") as file:
        n = len(file["parameters"])
        stop = n if stop is None else stop
        if not 0 <= start < stop <= n:
            raise InputError(f"{path}: expected rows within 0 to {n}, got {start} to {stop}")
        arrays, wavelength = rows(file, start, stop), file["wavelength"][...]
    tensors = {key: torch.from_numpy(arrays[key]) for key in TENSORS}
    return Simulation(torch.from_numpy(wavelength), parameters=arrays["parameters"], **tensors)
