"""Chunks through the workers of a dask cluster, which see the same files under the same names."""

import logging
from collections.abc import Callable, Iterator
from concurrent.futures import CancelledError
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

from ..errors import BayesdenError, InputError
from .agenda import DEATHS, Agenda
from .job import Job
from .pipeline import Outcome, Station, process
from .plan import Chunk, Item

if TYPE_CHECKING:
    from distributed import Client, Future

__all__ = ["process_on_cluster"]

IN_HAND = 2  # chunks of each thread of a worker: one that it processes, one that waits there
PATIENCE_S = 30.0  # to find the scheduler


def process_on_cluster(
    job: Job,
    out: Path,
    agenda: Agenda,
    address: str,
    deliver: Callable[[Outcome], None],
    lost: Callable[[Item], None],
) -> None:
    """Process all chunks of an agenda on an existing cluster; workers may come, go and die.

    Dask itself repeats what a dead worker had in hand; a chunk that has cost more workers than dask allows is halved.

    Arguments:
        job: What to do with each spectrum; every worker loads its model from its path, once.
        out: Folder of the results, by a name that is the same everywhere.
        agenda: The chunks.
        address: Of the scheduler, such as tcp://10.0.0.1:8786.
        deliver: Called with every outcome.
        lost: Called with a spectrum that has cost too many workers.

    Raises:
        InputError: if there is no scheduler.
        BayesdenError: what stops a worker, such as a full disk; if the scheduler goes away.
    """
    from distributed import Client

    try:
        client = Client(address, timeout=PATIENCE_S, set_as_default=False)
    except (OSError, ValueError) as error:
        reason = " ".join(str(error).split())
        raise InputError(f"{address}: expected the address of a dask scheduler, got: {reason}") from None
    with _without_its_log(), client:
        _process(client, job, out, agenda, deliver, lost)


@contextmanager
def _without_its_log() -> Iterator[None]:
    """A client that loses its scheduler says so at length."""
    log = logging.getLogger("distributed.client")
    level = log.level
    log.setLevel(logging.CRITICAL + 1)
    try:
        yield
    finally:
        log.setLevel(level)


def _process(
    client: "Client",
    job: Job,
    out: Path,
    agenda: Agenda,
    deliver: Callable[[Outcome], None],
    lost: Callable[[Item], None],
) -> None:
    from distributed import KilledWorker, as_completed

    chunks: dict[Future, Chunk] = {}
    completed = as_completed(loop=client.loop)
    with _there(client):
        _submit(client, job, out, agenda, chunks, completed)
    while chunks:
        try:
            with _there(client):
                future = next(completed)
                chunk = chunks.pop(future)
                outcomes = future.result()
        except KilledWorker:
            outcomes = [Outcome(chunk, note=f"workers died; {chunk.name} is tried again in parts")]
            if (item := agenda.died(chunk, DEATHS)) is not None:
                lost(item)
        for outcome in outcomes:
            deliver(outcome)
        with _there(client):
            _submit(client, job, out, agenda, chunks, completed)


@contextmanager
def _there(client: "Client") -> Iterator[None]:
    """Say in one line that a scheduler is not any more."""
    try:
        yield
    except (CancelledError, OSError):
        place = client.scheduler.address if client.scheduler else "the cluster"
        raise BayesdenError(f"{place}: expected a scheduler that stays, but it went away; --resume goes on") from None


def _submit(
    client: "Client", job: Job, out: Path, agenda: Agenda, chunks: "dict[Future, Chunk]", completed: object
) -> None:
    """Keep every thread of every worker supplied, without a list of all chunks anywhere."""
    threads = max(1, sum(client.nthreads().values()))
    while len(chunks) < IN_HAND * threads and agenda:
        chunk = agenda.take()
        future = client.submit(process_chunk, job, str(out), chunk, pure=False)
        chunks[future] = chunk
        completed.add(future)


@lru_cache(maxsize=1)
def _station(job: Job, out: str) -> Station:
    return Station(job, Path(out))


def process_chunk(job: Job, out: str, chunk: Chunk) -> list[Outcome]:
    """What a worker of the cluster does: all of a chunk, with the model that it has loaded for the first one.

    Raises:
        BayesdenError: whatever stops it.
    """
    outcomes: list[Outcome] = []
    try:
        process(_station(job, out), [chunk], outcomes.append)
    except BayesdenError:
        raise
    except Exception as error:
        raise BayesdenError(f"a worker: {error!r}") from error
    return outcomes
