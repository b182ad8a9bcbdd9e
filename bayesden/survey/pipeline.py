"""Chunks through one process: a thread reads ahead, this one fits, another writes."""

import os
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path

import torch

from ..errors import OutputError
from ..infer.denoise import denoise
from ..infer.threads import use_threads
from ..io import read
from ..io.files import MAX_BYTES, Source, quiet
from ..model.checkpoint import load_model
from ..model.joint import SpectrumModel
from ..posterior import Posterior
from ..spectrum import Observation
from .ahead import ahead
from .fitting import Fitter, room_for
from .job import Job
from .plan import Chunk, Item
from .results import find_result, stamped, write_result, write_table
from .rows import Row, Timing, failed_row, finished_row, refused_row

__all__ = ["Outcome", "Station", "process"]

AHEAD = 3  # batches that are read, and as many that are fitted, before their turn


@dataclass(frozen=True)
class Outcome:
    """News of a chunk.

    Arguments:
        chunk: Which.
        rows: Spectra that are done with: their results are on disk.
        ended: Whether these are the last.
        note: What else should be in the log.
    """

    chunk: Chunk
    rows: tuple[Row, ...] = ()
    ended: bool = False
    note: str = ""


@dataclass(frozen=True)
class _Entry:
    """One spectrum on its way to its result, or to the reason why there is none."""

    item: Item
    observation: Observation | None = None
    posterior: Posterior | None = None
    error: Exception | None = None
    read_s: float = 0.0
    fit_s: float = 0.0
    fit_cpu_s: float = 0.0

    @property
    def sha256(self) -> str:
        """Checksum of the input, '' if it could not be read."""
        return str(self.observation.meta.get("sha256", "")) if self.observation else _checksum(self.item.input)


@dataclass(frozen=True)
class _Batch:
    """Entries that are fitted together; `ended` if they are the last of their chunk."""

    chunk: Chunk
    entries: tuple[_Entry, ...]
    ended: bool = False


class Station:
    """Where a process works: the model, loaded once, and how much of it fits into memory.

    Arguments:
        job: What to do with each spectrum.
        out: Folder of the results.
        threads: That one spectrum may be fitted on, where the device is a CPU.
    """

    def __init__(self, job: Job, out: Path, threads: int = 1) -> None:
        self.job, self.out = job, out
        if job.device == "cpu":
            use_threads(threads)
            torch.set_num_threads(1)  # sums in another order are other sums
        self.model = load_job_model(job)
        self.room = room_for(job.device)
        self.fit = Fitter(self._infer, most=max(1, self.room))

    def _infer(self, observations: list[Observation]) -> list[Posterior]:
        job = self.job
        several = {} if len(observations) == 1 else {"at_once": sum(o.n_exposures for o in observations)}
        posts = denoise(
            observations,
            self.model,
            method=job.method,
            seed=job.seed,
            without=job.without,
            **dict(job.options),
            **several,
        )
        return [stamped(job, post) for post in posts]

    def together(self, exposures: int) -> int:
        """How many spectra of so many exposures make a batch."""
        if self.job.alone:
            return 1
        return self.job.batch or max(1, self.room // exposures)


@lru_cache(maxsize=1)
def load_job_model(job: Job) -> SpectrumModel:
    """The job's model, on its device, in its precision; its method and options are checked too.

    Raises:
        BayesdenError: if one of them cannot be used.
    """
    model = load_model(job.model)
    model = model.double() if job.double else model
    denoise([], model, method=job.method, device=job.device, without=job.without, **dict(job.options))
    return model


def process(station: Station, chunks: Iterable[Chunk], deliver: Callable[[Outcome], None]) -> None:
    """Read, fit and write chunks, each of the three while the others are at work.

    Arguments:
        station: Where.
        chunks: What; asked for when there is time to read.
        deliver: Called with every outcome as soon as it is on disk, from one other thread.

    Raises:
        BayesdenError: if nothing more can be written, or whatever `deliver` raises.
    """
    finish, waiting = _Finish(station, deliver), deque()
    with quiet(), ahead(_read_all(station, chunks), AHEAD) as batches, ThreadPoolExecutor(1) as writer:
        for batch in batches:
            most = station.fit.most
            fitted = _fit(station, batch)
            if station.fit.most < most:
                note = f"out of memory: from now on {station.fit.most} spectra at a time"
                waiting.append(writer.submit(deliver, Outcome(batch.chunk, note=note)))
            waiting.append(writer.submit(finish, fitted))
            _wait(waiting, AHEAD)
        _wait(waiting, 0)


def _wait(waiting: "deque[Future]", most: int) -> None:
    """Until at most so many are waiting; an error of those that are done is raised here."""
    while waiting and (len(waiting) > most or waiting[0].done()):
        waiting.popleft().result()


def _read_all(station: Station, chunks: Iterable[Chunk]) -> Iterator[_Batch]:
    """Batches of spectra with as many exposures, each as soon as it is full, the others at their chunk's end."""
    for chunk in chunks:
        groups: dict[int, list[_Entry]] = {}
        for item in chunk.items:
            entry = _read(station, item)
            if entry.error is not None:
                yield _Batch(chunk, (entry,))
                continue
            exposures = entry.observation.n_exposures
            group = groups.setdefault(exposures, [])
            group.append(entry)
            if len(group) == station.together(exposures):
                yield _Batch(chunk, tuple(groups.pop(exposures)))
        yield from (_Batch(chunk, tuple(group)) for group in groups.values())
        yield _Batch(chunk, (), ended=True)


def _read(station: Station, item: Item) -> _Entry:
    if item.refused:
        return _Entry(item, error=OutputError(item.refused))
    start = time.perf_counter()
    try:
        observation = read(item.input, grid=station.model.grid, mask_policy=station.job.mask_policy)
        return _Entry(item, observation, read_s=time.perf_counter() - start)
    except Exception as error:
        return _Entry(item, error=error, read_s=time.perf_counter() - start)


def _fit(station: Station, batch: _Batch) -> _Batch:
    """Posteriors of a batch; those that are on disk already from before an interruption, if all are."""
    sound = [entry for entry in batch.entries if entry.error is None]
    if not sound:
        return batch
    if station.job.form == "fits" and all(entry.item.found for entry in sound):
        found = [find_result(station.job, _target(station, entry.item), entry.sha256) for entry in sound]
        if all(found):
            kept = (replace(entry, posterior=post) for entry, post in zip(sound, found, strict=True))
            return replace(batch, entries=tuple(kept))
    start, start_cpu = time.perf_counter(), time.thread_time()
    done = station.fit([entry.observation for entry in sound])
    seconds, seconds_cpu = time.perf_counter() - start, time.thread_time() - start_cpu
    took = {"fit_s": seconds / len(sound), "fit_cpu_s": seconds_cpu / len(sound)}
    return replace(batch, entries=tuple(_with(e, d, took) for e, d in zip(sound, done, strict=True)))


def _with(entry: _Entry, done: Posterior | Exception, took: dict[str, float]) -> _Entry:
    key = "error" if isinstance(done, Exception) else "posterior"
    return replace(entry, **took, **{key: done})


def _target(station: Station, item: Item) -> Path:
    return station.out / f"{item.name}.fits"


class _Finish:
    """Writes fitted batches and tells of them; a table's rows wait for their chunk's end."""

    def __init__(self, station: Station, deliver: Callable[[Outcome], None]) -> None:
        self.station, self.deliver = station, deliver
        self.entries: dict[str, list[_Entry]] = {}

    def __call__(self, batch: _Batch) -> None:
        if self.station.job.form == "fits":
            rows = tuple(self._write(entry) for entry in batch.entries)
        else:
            self.entries.setdefault(batch.chunk.name, []).extend(batch.entries)
            rows = self._write_table(batch.chunk) if batch.ended else ()
        if rows or batch.ended:
            self.deliver(Outcome(batch.chunk, rows, batch.ended))

    def _write(self, entry: _Entry) -> Row:
        if entry.error is not None:
            return self._failed(entry)
        start, target = time.perf_counter(), _target(self.station, entry.item)
        if entry.fit_s:  # else it is there
            write_result(self.station.job, entry.posterior, target)
        return self._done(entry, target.name, 0, time.perf_counter() - start)

    def _write_table(self, chunk: Chunk) -> tuple[Row, ...]:
        """Results in the order of the inputs, whatever the batches were."""
        place = {item.input: number for number, item in enumerate(chunk.items)}
        entries = sorted(self.entries.pop(chunk.name), key=lambda entry: place[entry.item.input])
        good = [entry for entry in entries if entry.error is None]
        start, name = time.perf_counter(), f"{chunk.name}.fits"
        if good:
            write_table(self.station.job, [entry.posterior for entry in good], self.station.out / name)
        seconds = (time.perf_counter() - start) / max(len(good), 1)
        rows = [self._done(entry, name, row, seconds) for row, entry in enumerate(good)]
        return (*rows, *(self._failed(entry) for entry in entries if entry.error is not None))

    def _done(self, entry: _Entry, result: str, row: int, seconds: float) -> Row:
        timing = Timing.now(entry.read_s, entry.fit_s, entry.fit_cpu_s, seconds)
        return finished_row(entry.item.input, self.station.job.id, entry.posterior, result, row, timing)

    def _failed(self, entry: _Entry) -> Row:
        if entry.item.refused:
            return refused_row(entry.item.input, self.station.job.id, entry.item.refused)
        timing = Timing.now(entry.read_s, entry.fit_s, entry.fit_cpu_s)
        return failed_row(entry.item.input, self.station.job.id, entry.error, sha256=entry.sha256, timing=timing)


def _checksum(path: str) -> str:
    """Of a file that is no spectrum; '' if it cannot be read, or is too large to be one."""
    with suppress(OSError):
        if os.path.isfile(path) and os.path.getsize(path) <= MAX_BYTES:
            return Source.of(Path(path)).sha256
    return ""
