"""Blocks of work on the threads that a run may have.

Each block is worked on as it would be alone, so that results are the same on any number of threads; more threads within one
operation of torch would sum in another order.
"""

from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

import torch

__all__ = ["each", "use_threads"]

T, U = TypeVar("T"), TypeVar("U")
_threads = 1


def use_threads(count: int) -> None:
    """From now on, in this process."""
    global _threads
    _threads = count


def each(function: Callable[[T], U], blocks: Iterable[T]) -> list[U]:
    """What a function gives for each block, in their order, with gradients if they are on here."""
    blocks = list(blocks)
    if min(_threads, len(blocks)) < 2:
        return [function(block) for block in blocks]
    gradients = torch.is_grad_enabled()

    def run(block: T) -> U:
        with torch.set_grad_enabled(gradients):  # each thread has its own switch
            return function(block)

    with ThreadPoolExecutor(_threads) as pool:
        return list(pool.map(run, blocks))
