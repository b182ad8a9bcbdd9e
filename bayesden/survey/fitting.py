"""Posteriors of many spectra within the memory that there is, and whatever one of them does to the others."""

from collections.abc import Callable, Sequence

import torch

from ..posterior import Posterior
from ..spectrum import Observation

__all__ = ["Fitter", "room_for"]

EXPOSURES = 64  # fitted together where memory is not known
BYTES_EACH = 32 * 2**20  # of an exposure while it is fitted, in double precision
SHARE = 0.5  # of the free memory that a batch may take

Infer = Callable[[list[Observation]], list[Posterior]]


def room_for(device: str) -> int:
    """Exposures that can be fitted together on a device."""
    if torch.device(device).type != "cuda":
        return EXPOSURES
    free, _ = torch.cuda.mem_get_info(torch.device(device))
    return max(EXPOSURES, int(SHARE * free / BYTES_EACH))


class Fitter:
    """Fits batches; where memory runs out in fewer pieces, which later batches are then cut into too.

    Arguments:
        infer: From observations to posteriors.
        most: Spectra that are fitted together at first.
    """

    def __init__(self, infer: Infer, most: int) -> None:
        self.infer, self.most = infer, most

    def __call__(self, observations: Sequence[Observation]) -> list[Posterior | Exception]:
        """A posterior of each, or the reason why there is none; one by one where a piece fails."""
        left, done = list(observations), []
        while left:
            piece = left[: self.most]
            try:
                done += self.infer(piece)
            except Exception as error:
                if len(piece) > 1 and _is_memory(error):
                    self.most = len(piece) // 2
                    _free()
                    continue
                done += [self._alone(one) for one in piece] if len(piece) > 1 else [error]
            left = left[len(piece) :]
        return done

    def _alone(self, observation: Observation) -> Posterior | Exception:
        try:
            return self.infer([observation])[0]
        except Exception as error:
            return error


def _is_memory(error: Exception) -> bool:
    """Whether memory has run out; torch says so of the CPU's in an error of no type of its own."""
    return isinstance(error, MemoryError | torch.OutOfMemoryError) or "DefaultCPUAllocator" in str(error)


def _free() -> None:
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
