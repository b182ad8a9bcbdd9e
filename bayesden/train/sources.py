"""Where a library's spectra come from: files with checksums, and objects with a split."""

import hashlib
from dataclasses import dataclass, field
from pathlib import Path

from numpy.typing import NDArray

__all__ = ["SPLITS", "Draws", "Source", "split_of"]

SPLITS = ("train", "validation", "test")


@dataclass(frozen=True)
class Source:
    """A file that spectra came from.

    Arguments:
        name: The file's name, without its folder.
        sha256: Its checksum.
        licence: What is known of its origin and licence.
    """

    name: str
    sha256: str
    licence: str = ""

    @classmethod
    def of(cls, path: Path, licence: str = "") -> "Source":
        """Read a file's checksum."""
        with path.open("rb") as file:
            return cls(path.name, hashlib.file_digest(file, "sha256").hexdigest(), licence)


def split_of(name: str) -> str:
    """Which split an object belongs to: 80 % train, 10 % validation, 10 % test, by the SHA-256 of its name.

    Example:
        >>> split_of("pyhammer/G2_+0.0_Dwarf")
        'train'
    """
    u = int.from_bytes(hashlib.sha256(name.encode()).digest()[:8], "big") / 2**64
    return "train" if u < 0.8 else "validation" if u < 0.9 else "test"


@dataclass(frozen=True, eq=False)
class Draws:
    """N clean spectra as a source yields them; the fields are those of `library.Library`."""

    flux: NDArray
    label: NDArray
    name: NDArray
    sources: tuple[Source, ...]
    parameters: dict[str, NDArray] = field(default_factory=dict)
