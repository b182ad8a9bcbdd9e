"""What is left to do, and what to do again when a worker dies over it."""

from collections import Counter, deque
from collections.abc import Iterable
from dataclasses import replace
from itertools import islice

from .plan import Chunk, Item

__all__ = ["Agenda"]

DEATHS = 2  # of workers over one chunk, before it is cut in two
LAST = 3  # of workers over one spectrum, before it is given up


class Agenda:
    """Chunks to process. One over which workers die again and again is halved until a single spectrum is to blame.

    Arguments:
        chunks: In the order in which to take them; asked for one at a time.
    """

    def __init__(self, chunks: Iterable[Chunk]) -> None:
        self._chunks, self._again = iter(chunks), deque[Chunk]()
        self._deaths: Counter[str] = Counter()

    def __bool__(self) -> bool:
        """Whether there is a chunk to take."""
        if not self._again:
            self._again.extend(islice(self._chunks, 1))
        return bool(self._again)

    def take(self) -> Chunk:
        """The next chunk."""
        return self._again.popleft() if self else next(self._chunks)

    def died(self, chunk: Chunk, deaths: int = 1) -> Item | None:
        """Take note that workers died over a chunk, which comes again, whole or in halves.

        Arguments:
            chunk: The chunk.
            deaths: How many workers.

        Returns:
            The spectrum that is given up, if it has come to that.
        """
        self._deaths[chunk.name] += deaths
        chunk = replace(chunk, items=tuple(replace(item, found=True) for item in chunk.items))  # some may be written
        single = len(chunk.items) == 1
        if self._deaths[chunk.name] < (LAST if single else DEATHS):
            self._again.append(chunk)
        elif single:
            return chunk.items[0]
        else:
            self._again.extend(chunk.halves())
        return None
