"""Where a library's spectra come from: files with checksums, and objects with a split."""

import hashlib
from dataclasses import dataclass, field

from numpy.typing import NDArray

from ..io.files import Source

__all__ = ["SPLITS", "Draws", "Source", "split_of"]

SPLITS = ("train", "validation", "test")


def split_of(name: str) -> str:
    """Which split an object belongs to: 80 % train, 10 % validation, 10 % test, by the SHA-256 of its salted name.

    The salt deals every object anew: the test split of the first deal, which had none, was looked at while choosing.

    Example:
        >>> split_of("pyhammer/G2_+0.0_Dwarf")
        'train'
    """
    u = int.from_bytes(hashlib.sha256(f"second deal/{name}".encode()).digest()[:8], "big") / 2**64
    return "train" if u < 0.8 else "validation" if u < 0.9 else "test"


@dataclass(frozen=True, eq=False)
class Draws:
    """N clean spectra as a source yields them; the fields are those of `library.Library`."""

    flux: NDArray
    label: NDArray
    name: NDArray
    sources: tuple[Source, ...]
    parameters: dict[str, NDArray] = field(default_factory=dict)
