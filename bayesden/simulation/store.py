r"""Simulations on disk: one HDF5 file, made chunk by chunk, resumable, and each chunk with its checksum.

While a run lasts, every finished chunk is a file of its own in the folder ``NAME.parts``, written whole or not at all. When
all are there, they are joined into ``NAME`` without being compressed anew; for that moment the disk holds them twice. A run
that was killed leaves the folder and nothing else.

`resume` keeps each chunk, of the parts or of an earlier file, whose checksum is right, and makes the others again. It looks
twice whether the chunks are of the same run: at the configuration, and by making the first spectrum of each chunk again.

Layout: datasets `wavelength` (D,), `clean` (n, D), `flux`, `ivar`, `mask`, `sigma` (n, E, D), `parameters` (n,), compound, and
`sha256` (chunks,), of the chunks' content; the attribute `configuration` is a JSON document: grid, instrument, ranges, seed,
units and versions.
"""

import hashlib
import json
import re
import shutil
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path

import h5py
import numpy as np
import torch
from numpy.typing import NDArray

from ..errors import InputError, OutputError
from ..io.files import write_bytes
from .simulator import TENSORS, Simulation, Simulator
from .stored import FORMAT, UNREADABLE, Arrays, configuration_of, rows

__all__ = ["check_target", "write_simulation"]

ROWS = 64  # spectra in one chunk of HDF5, which is what a reader gets at once
# The last, so that no reader takes damaged numbers for sound ones.
FILTERS = {"compression": "gzip", "compression_opts": 1, "shuffle": True, "fletcher32": True}
SAME = 0.01  # of sigma: how far a spectrum made again may be off, on another device or with other versions
FREE = {"versions", "grid_from", "etc", "noise"}  # where a resumed run may be called otherwise: its spectra tell
SIGNATURE = b"\x89HDF\r\n\x1a\n"


@dataclass(frozen=True)
class _Chunk:
    """Rows of an HDF5 file that hold one chunk of the run."""

    path: Path
    start: int


@dataclass(frozen=True, eq=False)
class _Run:
    """What shall be written: n spectra of a simulator, in chunks."""

    path: Path
    simulator: Simulator
    n: int
    chunk: int
    configuration: str

    def part(self, number: int) -> Path:
        """The file of a finished chunk."""
        return _parts(self.path) / f"{number:06d}.h5"


def _configuration(simulator: Simulator, n: int, chunk: int) -> str:
    document = {"format": FORMAT, "n": n, "chunk": chunk, **simulator.describe()}
    return json.dumps(document, sort_keys=True, ensure_ascii=False, default=str)


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
        shape = value.shape[1:]
        file.create_dataset(key, (n, *shape), value.dtype, chunks=(min(ROWS, n), *shape), **FILTERS)


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


def _is_sound(path: Path, number: int, start: int, stop: int) -> bool:
    """Whether chunk `number` of a file, at these rows, has the content that its checksum says."""
    try:
        with h5py.File(path, "r") as file:
            return _digest(rows(file, start, stop)) == file["sha256"][number].tobytes()
    except UNREADABLE:
        return False


def _has_wavelength(path: Path, simulator: Simulator) -> bool:
    try:
        with h5py.File(path, "r") as file:
            return np.array_equal(file["wavelength"], simulator.instrument.wavelength.cpu().numpy())
    except UNREADABLE:
        return False


def _check_made_so(source: _Chunk, simulator: Simulator, index: int) -> None:
    """Refuse a chunk whose first spectrum is not the one that the simulator makes."""
    made = simulator.observe(torch.tensor([index]))
    with h5py.File(source.path, "r") as file:
        kept = {key: file[key][source.start] for key in ("clean", "flux")}
    sigma = made.sigma[0].cpu().numpy()
    off = max(float(np.median(np.abs(getattr(made, key)[0].cpu().numpy() - kept[key]) / sigma)) for key in kept)
    if not off < SAME:
        what = f"spectrum {index} comes out otherwise now (another grid, table, model, version or option?)"
        raise InputError(f"{source.path}: expected a run that makes the same spectra, but {what}")


def _is_foreign(path: Path) -> bool:
    """Whether a file is no simulation: one of ours may be cut short, and then cannot be opened."""
    try:
        with h5py.File(path, "r") as file:
            return "configuration" not in file.attrs
    except UNREADABLE:
        with path.open("rb") as handle:
            return handle.read(len(SIGNATURE)) not in (SIGNATURE, b"")


def _check_same(path: Path, configuration: str) -> None:
    """Refuse to resume a file of another run, or another kind of file."""
    if path.exists() and _is_foreign(path):
        raise InputError(f"{path}: expected {FORMAT!r} to resume, got another file")
    old, new = configuration_of(path), json.loads(configuration)
    if old is None:
        return
    for key in sorted((old | new).keys() - FREE):
        if old.get(key) != new.get(key):
            raise InputError(
                f"{path}: expected a run with {key} = {old.get(key)} to resume, got {key} = {new.get(key)}"
            )


@contextmanager
def _one_line(path: Path) -> Iterator[None]:
    """HDF5's errors, such as those of a full disk, as one line."""
    try:
        yield
    except (OSError, RuntimeError) as error:
        text = getattr(error, "strerror", None) or str(error).splitlines()[0]
        within = re.search(r"error message = '([^']*)'", text)  # the system's reason among HDF5's addresses and times
        reason = within[1] if within else text
        raise OutputError(f"{path}: expected a place that can be written, got: {reason}") from None


def _parts(path: Path) -> Path:
    return path.with_name(path.name + ".parts")


def check_target(path: str | Path, *, resume: bool = False, overwrite: bool = False) -> None:
    """See whether a run may write a file.

    Raises:
        OutputError: if the file, or the chunks of an unfinished run, would be lost without `resume` or `overwrite`.
    """
    path = Path(path)
    if path.is_dir():
        raise OutputError(f"{path}: expected the name of a file, got a directory")
    if resume or overwrite:
        return
    if path.exists():
        raise OutputError(f"{path}: expected a new name, but the file exists (overwriting it must be asked for)")
    if any(_parts(path).glob("*.h5")):
        raise OutputError(
            f"{path}: expected a new name, but {_parts(path).name} has an unfinished run: resume or overwrite"
        )


def write_simulation(
    path: str | Path,
    simulator: Simulator,
    n: int,
    *,
    chunk: int = 512,
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
        resume: Keep the sound chunks of an earlier run with the same configuration.
        overwrite: Whether an existing file, or an unfinished run, may be replaced.
        progress: Called with the number of spectra that are done and n.

    Raises:
        InputError: if n or chunk is not positive, or `resume` meets another run.
        OutputError: if the file or an unfinished run exists, or the file cannot be written.
    """
    path = Path(path)
    if n < 1 or chunk < 1:
        raise InputError(f"expected at least one spectrum and one in a chunk, got n = {n} and chunk = {chunk}")
    check_target(path, resume=resume, overwrite=overwrite)
    chunk = -(-chunk // ROWS) * ROWS
    run = _Run(path, simulator, n, chunk, _configuration(simulator, n, chunk))
    if not resume:
        shutil.rmtree(_parts(path), ignore_errors=True)
    with _one_line(path):
        _parts(path).mkdir(exist_ok=True)
    chunks = _make_chunks(run, resume, progress)
    if any(source.path != path for source in chunks) or not _has_wavelength(path, simulator):
        with _one_line(path):
            _join(run, chunks)
    shutil.rmtree(_parts(path), ignore_errors=True)


def _make_chunks(run: _Run, resume: bool, progress: Callable[[int, int], None] | None) -> list[_Chunk]:
    """Where each chunk of the run is, after those that are missing have been made."""
    sources = []
    if resume:
        _check_same(run.path, run.configuration)
    for number, start in enumerate(range(0, run.n, run.chunk)):
        stop = min(start + run.chunk, run.n)
        source = _kept(run, number, start, stop) if resume else None
        if source is None:
            made = Simulation.gather(run.simulator.stream(stop - start, start=start), stop - start)
            source = _Chunk(run.part(number), 0)
            _write_part(source.path, _arrays(made), run.configuration)
        else:
            _check_made_so(source, run.simulator, start)
        sources.append(source)
        if progress:
            progress(stop, run.n)
    return sources


def _kept(run: _Run, number: int, start: int, stop: int) -> _Chunk | None:
    """Where a chunk lies sound from an earlier run: in its part, in the file, or nowhere."""
    part = run.part(number)
    if part.exists():
        _check_same(part, run.configuration)
        if _is_sound(part, 0, 0, stop - start):
            return _Chunk(part, 0)
    return _Chunk(run.path, start) if _is_sound(run.path, number, start, stop) else None


def _join(run: _Run, chunks: list[_Chunk]) -> None:
    """One file of all chunks; compressed blocks are copied as they are."""
    whole = _parts(run.path) / "whole"  # beside the parts, so that nothing else stays when the run is killed here
    try:
        with h5py.File(whole, "w") as file:
            file.attrs["configuration"] = run.configuration
            file["wavelength"] = run.simulator.instrument.wavelength.cpu().numpy()
            digests = []
            for number, source in enumerate(chunks):
                with h5py.File(source.path, "r") as part:
                    if number == 0:
                        _create(file, {key: part[key] for key in (*TENSORS, "parameters")}, run.n)
                    start = number * run.chunk
                    for key in (*TENSORS, "parameters"):
                        _copy_rows(part[key], source.start, file[key], start, min(run.chunk, run.n - start))
                    digests.append(part["sha256"][number if source.path == run.path else 0])
            file["sha256"] = np.array(digests, dtype="V32")
        whole.replace(run.path)
    finally:
        with suppress(OSError):
            whole.unlink(missing_ok=True)


def _copy_rows(source: h5py.Dataset, first: int, target: h5py.Dataset, start: int, count: int) -> None:
    zeros = (0,) * (source.ndim - 1)
    if (source.chunks, source.fletcher32) != (target.chunks, target.fletcher32):  # such as a run shorter than one block
        target[start : start + count] = source[first : first + count]
        return
    for row in range(0, count, source.chunks[0]):
        mask, block = source.id.read_direct_chunk((first + row, *zeros))
        target.id.write_direct_chunk((start + row, *zeros), block, mask)
