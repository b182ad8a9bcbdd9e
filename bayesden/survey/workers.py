"""Chunks through several processes of this machine, each of which may die."""

import multiprocessing
import os
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from pathlib import Path

from ..errors import BayesdenError
from ..heap import keep_memory
from .agenda import Agenda
from .ahead import ahead
from .job import Job
from .pipeline import Outcome, Station, process
from .plan import Chunk, Item

__all__ = ["process_in_workers"]

IN_HAND = 2  # chunks of each worker: one that it fits, one that it reads
STARTS = 3  # workers in a row that may die before the first has loaded the model
THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")

Lost = Callable[[Item], None]


@dataclass(eq=False)
class _Worker:
    process: BaseProcess
    connection: Connection
    chunks: list[Chunk] = field(default_factory=list)
    ready: bool = False


def process_in_workers(
    job: Job, out: Path, agenda: Agenda, count: int, deliver: Callable[[Outcome], None], lost: Lost
) -> None:
    """Process all chunks of an agenda; a worker that dies is replaced, and costs a retry of its chunks only.

    Arguments:
        job: What to do with each spectrum; every worker loads its model from its path, once.
        out: Folder of the results.
        agenda: The chunks.
        count: How many workers.
        deliver: Called with every outcome.
        lost: Called with a spectrum that has cost too many workers.

    Raises:
        BayesdenError: what stops a worker, such as a full disk; also if workers die before they begin.
    """
    crew = [_start(job, out) for _ in range(count)]
    failed_starts = 0
    try:
        while agenda or any(worker.chunks for worker in crew):
            _hand_out(agenda, [worker for worker in crew if worker.ready])
            for connection in wait([worker.connection for worker in crew]):
                worker = next(worker for worker in crew if worker.connection is connection)
                try:
                    _receive(worker, deliver)
                    failed_starts = 0
                except (EOFError, OSError):
                    failed_starts += not worker.ready
                    crew[crew.index(worker)] = _replace(worker, job, out, agenda, deliver, lost, failed_starts)
    finally:
        for worker in crew:
            _dismiss(worker)


def _hand_out(agenda: Agenda, crew: list[_Worker]) -> None:
    """Give every worker something to do, those with the least first."""
    for in_hand in range(IN_HAND):
        for worker in crew:
            if len(worker.chunks) == in_hand and agenda:
                worker.chunks.append(agenda.take())
                with suppress(OSError):  # it has died, and will be found dead
                    worker.connection.send(worker.chunks[-1])


def _receive(worker: _Worker, deliver: Callable[[Outcome], None]) -> None:
    message = worker.connection.recv()
    if isinstance(message, BayesdenError):
        raise message
    worker.ready = True
    if isinstance(message, Outcome):
        deliver(message)
        if message.ended:
            worker.chunks.remove(message.chunk)


def _replace(
    worker: _Worker,
    job: Job,
    out: Path,
    agenda: Agenda,
    deliver: Callable[[Outcome], None],
    lost: Lost,
    failed_starts: int,
) -> _Worker:
    """Put a new worker in a dead one's place, and its chunks back on the agenda."""
    worker.process.join(5)
    code = worker.process.exitcode
    if failed_starts >= STARTS:
        raise BayesdenError(f"workers: expected processes that start, but {STARTS} ended at once (exit status {code})")
    for chunk in worker.chunks:
        deliver(Outcome(chunk, note=f"a worker died (exit status {code}); {chunk.name} is tried again"))
        if (item := agenda.died(chunk)) is not None:
            lost(item)
    _dismiss(worker)
    return _start(job, out)


def _start(job: Job, out: Path) -> _Worker:
    spawn = multiprocessing.get_context("spawn")
    here, there = spawn.Pipe()
    worker = spawn.Process(target=_work, args=(there, job, out), daemon=True)
    with _one_thread():
        worker.start()
    there.close()  # so that its end is noticed here
    return _Worker(worker, here)


@contextmanager
def _one_thread() -> Iterator[None]:
    """An environment in which numerical libraries start with one thread."""
    before = {name: os.environ.get(name) for name in THREADS}
    os.environ.update(dict.fromkeys(THREADS, "1"))
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


def _dismiss(worker: _Worker) -> None:
    worker.connection.close()
    worker.process.terminate()
    worker.process.join(5)


def _work(connection: Connection, job: Job, out: Path) -> None:
    """The life of a worker: it ends when the other end of the connection is gone."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent decides what an interrupt ends
    keep_memory()
    try:
        station = Station(job, out)
        connection.send("ready")
        with ahead(_chunks(connection), IN_HAND) as chunks:  # whoever sends them does not wait
            process(station, chunks, connection.send)
    except (BrokenPipeError, ConnectionResetError):
        return
    except Exception as error:
        with suppress(OSError):
            connection.send(error if isinstance(error, BayesdenError) else BayesdenError(f"a worker: {error!r}"))


def _chunks(connection: Connection) -> Iterator[Chunk]:
    with suppress(EOFError, OSError):
        while True:
            yield connection.recv()
