"""Doing the next thing while the last one is still in hand."""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from queue import Empty, Queue
from threading import Event, Thread
from typing import TypeVar

__all__ = ["ahead"]

T = TypeVar("T")


@contextmanager
def ahead(items: Iterable[T], depth: int) -> Iterator[Iterator[T]]:
    """Items of an iterable, which a thread has ready before they are asked for.

    Arguments:
        items: Where they come from; an error there is raised where the item would have been.
        depth: How many may wait.
    """
    ready: Queue[tuple[str, object]] = Queue(depth)
    stop = Event()
    thread = Thread(target=_fill, args=(ready, items, stop), daemon=True)
    thread.start()
    try:
        yield _drain(ready)
    finally:
        stop.set()
        while not ready.empty():  # a thread that waits for room sees that it shall stop
            try:
                ready.get_nowait()
            except Empty:
                break


def _fill(ready: Queue, items: Iterable[T], stop: Event) -> None:
    try:
        for item in items:
            ready.put(("item", item))
            if stop.is_set():
                return
        ready.put(("end", None))
    except BaseException as error:
        ready.put(("error", error))


def _drain(ready: Queue) -> Iterator[T]:
    while True:
        kind, value = ready.get()
        if kind == "error":
            raise value
        if kind == "end":
            return
        yield value
