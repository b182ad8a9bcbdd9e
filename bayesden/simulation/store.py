r"""Simulations on disk: one HDF5 file, made chunk by chunk, resumable, and each chunk with its checksum.

While a run lasts, every finished chunk is a file of its own in the folder ``NAME.parts``, written whole or not at all. When
all are there, they are joined into ``NAME`` without being compressed anew. `resume` keeps each chunk, of the parts or of an
earlier file, whose checksum is right, and makes the others again.

Layout: datasets `wavelength` (D,), `clean` (n, D), `flux`, `ivar`, `mask`, `sigma` (n, E, D), `parameters` (n,), compound, and
`sha256` (chunks,), of the chunks' content; the attribute `configuration` is a JSON document: grid, instrument, ranges, seed,
units and versions.
"""

import hashlib
import json
import shutil
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import torch
from numpy.typing import NDArray

from ..errors import InputError, OutputError
from ..io.files import replace_file, write_bytes
from .simulator import TENSORS, Simulation, Simulator

__all__ = ["read_simulation", "write_simulation"]

FORMAT = "bayesden simulation 1"
ROWS = 64  # spectra in one chunk of HDF5, which is what a reader gets at once
Arrays = dict[str, NDArray]


@dataclass(frozen=True)
class _Chunk:
    """Rows of an HDF5 file that hold one chunk of the run."""

    path: Path
    start: int


def _configuration(simulator: Simulator, n: int, chunk: int, facts: Mapping[str, Any]) -> str:
    unit = "median flux between 6500 and 9500 Å = 0.5" if simulator.normalize else "1e-17 erg/s/cm²/Å"
    document = {
        "format": FORMAT,
        "n": n,
        "chunk": chunk,
        "seed": simulator.seed,
        "grid": simulator.grid.name,
        "grid_label": simulator.grid.label,
        "instrument": simulator.instrument.name,
        "exposures": simulator.instrument.exposures,
        "parameters": list(simulator.parameters),
        "ranges": {key: list(value) for key, value in simulator.ranges.items()},
        "flux_unit": unit,
        "wavelength": "vacuum Å",
        **facts,
    }
    return json.dumps(document, sort_keys=True, ensure_ascii=False)


def _arrays(simulation: Simulation) -> Arrays:
    return {key: getattr(simulation, key).cpu().numpy() for key in TENSORS} | {"parameters": simulation.parameters}


def _digest(arrays: Arrays) -> bytes:
    total = hashlib.sha256()
    for key in sorted(arrays):
        total.update(key.encode() + np.ascontiguousarray(arrays[key]).tobytes())
    return total.digest()


def _create(file: h5py.File, arrays: Mapping[str, NDArray], n: int) -> None:
    """Empty datasets for n rows of such arrays."""
    for key, value in arrays.items():
        chunks = (min(ROWS, n), *value.shape[1:])
        file.create_dataset(
            key, (n, *value.shape[1:]), value.dtype, chunks=chunks, compression="gzip", compression_opts=1, shuffle=True
        )


def _write_part(path: Path, arrays: Arrays, configuration: str) -> None:
    content = BytesIO()
    with h5py.File(content, "w") as file:
        n = len(arrays["parameters"])
        _create(file, arrays, n)
        for key, value in arrays.items():
            file[key][...] = value
        file.attrs["configuration"] = configuration
        file["sha256"] = np.array([_digest(arrays)], dtype="S32").view("V32")
    write_bytes(path, content.getvalue(), overwrite=True)


def _rows(file: h5py.File, start: int, stop: int) -> Arrays:
    return {key: file[key][start:stop] for key in (*TENSORS, "parameters")}


def _is_sound(path: Path, number: int, start: int, stop: int) -> bool:
    """Whether chunk `number` of a file, at these rows, has the content that its checksum says."""
    try:
        with h5py.File(path, "r") as file:
            return _digest(_rows(file, start, stop)) == file["sha256"][number].tobytes()
    except (OSError, KeyError, ValueError, RuntimeError, IndexError):  # whatever HDF5 makes of a damaged file
        return False


def _configuration_of(path: Path) -> str | None:
    try:
        with h5py.File(path, "r") as file:
            return str(file.attrs["configuration"])
    except (OSError, KeyError, RuntimeError):
        return None


def _check_same(path: Path, configuration: str) -> None:
    found = _configuration_of(path)
    if found is None or found == configuration:
        return
    old, new = json.loads(found), json.loads(configuration)
    key = next(key for key in sorted(old | new) if old.get(key) != new.get(key))
    raise InputError(f"{path}: expected a run with {key} = {old.get(key)} to resume, got {key} = {new.get(key)}")


@contextmanager
def _one_line(path: Path) -> Iterator[None]:
    """HDF5's errors, such as those of a full disk, as one line."""
    try:
        yield
    except (OSError, RuntimeError) as error:
        reason = getattr(error, "strerror", None) or str(error).splitlines()[0]
        raise OutputError(f"{path}: expected a place that can be written, got: {reason}") from None


def write_simulation(
    path: str | Path,
    simulator: Simulator,
    n: int,
    *,
    chunk: int = 512,
    facts: Mapping[str, Any] | None = None,
    resume: bool = False,
    overwrite: bool = False,
    progress: Callable[[int, int], None] | None = None,
) -> None:
    """Simulate n spectra into an HDF5 file.

    Arguments:
        path: Where the file shall be.
        simulator: What makes them.
        n: How many.
        chunk: Spectra in a chunk, the unit that is made, checked and resumed; rounded up to a multiple of 64.
        facts: Further entries of the configuration, such as versions and paths.
        resume: Keep the sound chunks of an earlier run with the same configuration.
        overwrite: Whether an existing file may be replaced.
        progress: Called with the number of spectra that are done and n.

    Raises:
        InputError: if n or chunk is not positive, or `resume` meets a run with another configuration.
        OutputError: if the file exists, or cannot be written.
    """
    path = Path(path)
    if n < 1 or chunk < 1:
        raise InputError(f"expected at least one spectrum and one in a chunk, got n = {n} and chunk = {chunk}")
    if path.exists() and not (resume or overwrite):
        raise OutputError(f"{path}: expected a new name, but the file exists (overwriting it must be asked for)")
    chunk = -(-chunk // ROWS) * ROWS
    configuration = _configuration(simulator, n, chunk, facts or {})
    folder = path.with_name(path.name + ".parts")
    if not resume:
        shutil.rmtree(folder, ignore_errors=True)
    with _one_line(path):
        folder.mkdir(exist_ok=True)
    chunks = _make_chunks(path, folder, simulator, n, chunk, configuration, resume, progress)
    if any(source.path != path for source in chunks):
        with _one_line(path):
            _join(path, chunks, simulator, n, chunk, configuration)
    shutil.rmtree(folder, ignore_errors=True)


def _make_chunks(
    path: Path,
    folder: Path,
    simulator: Simulator,
    n: int,
    chunk: int,
    configuration: str,
    resume: bool,
    progress: Callable[[int, int], None] | None,
) -> list[_Chunk]:
    """Where each chunk of the run is, after those that are missing have been made."""
    sources = []
    if resume:
        _check_same(path, configuration)
    for number, start in enumerate(range(0, n, chunk)):
        stop, part = min(start + chunk, n), folder / f"{number:06d}.h5"
        if resume and part.exists():
            _check_same(part, configuration)
        if resume and _is_sound(part, 0, 0, stop - start):
            sources.append(_Chunk(part, 0))
        elif resume and _is_sound(path, number, start, stop):
            sources.append(_Chunk(path, start))
        else:
            made = Simulation.join(list(simulator.stream(stop - start, start=start)))
            _write_part(part, _arrays(made), configuration)
            sources.append(_Chunk(part, 0))
        if progress:
            progress(stop, n)
    return sources


def _join(path: Path, chunks: list[_Chunk], simulator: Simulator, n: int, chunk: int, configuration: str) -> None:
    """One file of all chunks; compressed blocks are copied as they are."""
    with replace_file(path, overwrite=True) as temporary, h5py.File(temporary, "w") as file:
        file.attrs["configuration"] = configuration
        file["wavelength"] = simulator.instrument.wavelength.cpu().numpy()
        digests = []
        for number, source in enumerate(chunks):
            with h5py.File(source.path, "r") as part:
                if number == 0:
                    _create(file, {key: part[key] for key in (*TENSORS, "parameters")}, n)
                start = number * chunk
                for key in (*TENSORS, "parameters"):
                    _copy_rows(part[key], source.start, file[key], start, min(chunk, n - start))
                digests.append(part["sha256"][number if source.path == path else 0])
        file["sha256"] = np.array(digests, dtype="V32")


def _copy_rows(source: h5py.Dataset, first: int, target: h5py.Dataset, start: int, count: int) -> None:
    zeros = (0,) * (source.ndim - 1)
    if source.chunks != target.chunks:  # a run shorter than one block
        target[start : start + count] = source[first : first + count]
        return
    for row in range(0, count, source.chunks[0]):
        mask, block = source.id.read_direct_chunk((first + row, *zeros))
        target.id.write_direct_chunk((start + row, *zeros), block, mask)


def read_simulation(path: str | Path, start: int = 0, stop: int | None = None) -> Simulation:
    """Spectra `start` to `stop` of a file that `write_simulation` made.

    Raises:
        InputError: if the file is missing, damaged, of another format, or has no such rows.
    """
    path = Path(path)
    if not path.is_file():
        raise InputError(f"{path}: expected a simulation's HDF5 file, found no file of that name")
    configuration = _configuration_of(path)
    if configuration is None or json.loads(configuration).get("format") != FORMAT:
        raise InputError(f"{path}: expected {FORMAT!r}, got a file that is damaged, cut short or of another format")
    try:
        with h5py.File(path, "r") as file:
            n = len(file["parameters"])
            stop = n if stop is None else stop
            if not 0 <= start < stop <= n:
                raise InputError(f"{path}: expected rows within 0 to {n}, got {start} to {stop}")
            arrays, wavelength = _rows(file, start, stop), file["wavelength"][...]
    except (OSError, KeyError, RuntimeError) as error:
        reason = str(error).splitlines()[0]
        raise InputError(f"{path}: expected a sound simulation file, got: {reason}") from None
    tensors = {key: torch.from_numpy(arrays[key]) for key in TENSORS}
    return Simulation(torch.from_numpy(wavelength), parameters=arrays["parameters"], **tensors)
