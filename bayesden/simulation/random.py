r"""Random numbers that belong to a spectrum, not to a batch.

A simulated spectrum must not depend on the batch, the chunk or the device that it was made in. So each number is a hash of
where it stands,

.. math:: x = h(k_\mathrm{seed, stream, spectrum} + (j + 1)\,\gamma),

with h the finaliser of SplitMix64 (Steele, Lea & Flood 2014, doi:10.1145/2660193.2660195; its sequence passes BigCrush) in
wrapping 64-bit integers, which every device computes alike.
"""

import hashlib
import math
from dataclasses import dataclass

import torch
from torch import Tensor

from ..errors import InputError

__all__ = ["Random"]

GAMMA = -7046029254386353131  # 2**64 over the golden ratio, odd, as a signed integer
MIX = ((30, -4658895280553007687), (27, -7723592293110705685))
ROWS = 64  # spectra at a time: what fits a core's cache


def _shift(x: Tensor, bits: int) -> Tensor:
    """Logical shift to the right: torch's own keeps the sign."""
    return (x >> bits) & ((1 << (64 - bits)) - 1)


def _mix(x: Tensor) -> Tensor:
    for bits, factor in MIX:
        x = (x ^ _shift(x, bits)) * factor
    return x ^ _shift(x, 31)


def _unit(words: Tensor) -> Tensor:
    """The upper 23 bits of 32-bit words as numbers strictly between 0 and 1: one bit more, and the half is rounded away."""
    return ((words >> 9) & 0x7FFFFF).float().add_(0.5).mul_(2.0**-23)


@dataclass(frozen=True)
class Random:
    """A seed, and the numbers that come of it.

    Arguments:
        seed: Any integer of 64 bits.

    Example:
        >>> index = torch.arange(3)
        >>> both = Random(1).normal("noise", index, 4)
        >>> torch.equal(both[2:], Random(1).normal("noise", index[2:], 4))
        True
    """

    seed: int

    def __post_init__(self) -> None:
        if not -(2**63) <= self.seed < 2**63:
            raise InputError(f"seed: expected an integer of 64 bits, got {self.seed}")

    def _words(self, stream: str, index: Tensor, size: int) -> Tensor:
        """Two 32-bit words for each of `size` numbers, shape (B, size, 2)."""
        digest = hashlib.blake2b(f"{self.seed}/{stream}".encode(), digest_size=8).digest()
        key = torch.tensor(int.from_bytes(digest, "little", signed=True), device=index.device)
        rows = _mix(key + _mix(index.long() * GAMMA))
        steps = torch.arange(1, size + 1, device=index.device) * GAMMA
        return _mix(rows[:, None] + steps).view(torch.int32).view(len(index), size, 2)

    def uniform(self, stream: str, index: Tensor, size: int) -> Tensor:
        """Numbers between 0 and 1, both excluded.

        Arguments:
            stream: What they are for; different names give independent numbers.
            index: Numbers of the spectra, shape :math:`(B,)`, integers.
            size: How many for each.

        Returns:
            Shape :math:`(B, size)`, single precision, on the device of `index`.
        """
        return _unit(self._words(stream, index, size)[..., 0])

    def normal(self, stream: str, index: Tensor, size: int) -> Tensor:
        """Standard normal numbers (Box & Muller 1958); arguments and shape as `uniform`. They end at 5.8."""
        rows = ROWS if index.device.type == "cpu" else max(len(index), 1)
        parts = [self._normal(stream, part, size) for part in index.split(rows)]
        return torch.cat(parts) if parts else torch.empty(0, size, device=index.device)

    def _normal(self, stream: str, index: Tensor, size: int) -> Tensor:
        words = self._words(stream, index, (size + 1) // 2)
        radius = _unit(words[..., 0]).log_().mul_(-2).sqrt_()
        angle = _unit(words[..., 1]).mul_(2 * math.pi)
        return torch.cat([radius * angle.cos(), radius * angle.sin()], 1)[:, :size]
