"""Randomness of a star that is its own: the same alone, in any batch and in any order."""

import zlib

import torch

from .located import Located

__all__ = ["random_of"]


def random_of(star: Located, seed: int) -> torch.Generator:
    """A generator on the CPU, seeded by a seed and the star's data."""
    content = star.data.flux.cpu().numpy().tobytes()
    return torch.Generator().manual_seed(zlib.crc32(content, zlib.crc32(str(seed).encode())))  # it takes 32 bits
