"""Spectra of the BOSZ grid of 2024: which there are, and their addresses in the MAST archive."""

import gzip
import zlib
from collections.abc import Iterator, Mapping
from itertools import product
from pathlib import Path
from urllib.parse import quote

import numpy as np

from ...errors import InputError
from .archives import archive
from .transfer import Download

__all__ = ["bosz_downloads", "check_text"]

DEFAULT_RANGES = {"carbon_fe": (0.0, 0.0), "vturb_kms": (0.0, 0.0)}
AXES = ("teff_K", "logg", "feh", "alpha_fe", "carbon_fe", "vturb_kms")
LAST_SPHERICAL_LOGG = 3.0  # of the MARCS atmospheres
MARCS_UNTIL_K, ATLAS9_FROM_K = 8000, 7500
BLOCK = 2**20


def bosz_downloads(
    folder: Path, resolution: int, ranges: Mapping[str, tuple[float, float]], *, server: str | None = None
) -> list[Download]:
    """The downloads of a part of the grid, its wavelengths first; the published grid has gaps, so some will be absent.

    Where an atmosphere of both codes exists, the MARCS one is taken, as the reader of the grid does.

    Arguments:
        folder: Where the files shall be.
        resolution: R.
        ranges: Lowest and highest value of `teff_K`, `logg`, `feh`, `alpha_fe`, `carbon_fe` or `vturb_kms`, all by
            default; of the last two 0 only.
        server: Another server with the same tree.

    Raises:
        InputError: if the resolution or a parameter is not known, or nothing is in the ranges.
    """
    tree = archive("bosz")
    if resolution not in tree["resolution"]:
        known = ", ".join(map(str, tree["resolution"]))
        raise InputError(f"resolution: expected one of {known}, got {resolution}")
    if unknown := sorted(set(ranges) - set(AXES)):
        raise InputError(f"range: expected a parameter of {', '.join(AXES)}, got {unknown[0]!r}")
    base = (server or tree["server"]).rstrip("/")
    nodes = [dict(zip(AXES, values, strict=True)) for values in _nodes(tree, DEFAULT_RANGES | dict(ranges))]
    if not nodes:
        raise InputError("range: expected ranges that hold a model of the grid, got ones between its models")
    shared = f"{base}/{tree['wavelength_path'].format(resolution=resolution)}"
    return [Download((shared,), folder), *(_download(node, folder, resolution, base) for node in nodes)]


def _nodes(tree: dict, ranges: Mapping[str, tuple[float, float]]) -> Iterator[tuple]:
    """Values of `AXES` of all models within the ranges that there may be."""
    rest = [_steps(*tree[name]) for name in ("feh", "alpha_fe", "carbon_fe")]
    for first, last, step, low, high in tree["nodes"]:
        axes = [list(range(first, last + 1, step)), _steps(low, high, 0.5), *rest, tree["vturb_kms"]]
        yield from product(*(_within(values, ranges.get(name)) for name, values in zip(AXES, axes, strict=True)))


def _steps(first: float, last: float, step: float) -> list[float]:
    return [first + i * step for i in range(round((last - first) / step) + 1)]


def _within(values: list[float], ends: tuple[float, float] | None) -> list[float]:
    return values if ends is None else [value for value in values if ends[0] - 1e-9 <= value <= ends[1] + 1e-9]


def _download(node: Mapping[str, float], folder: Path, resolution: int, base: str) -> Download:
    tree, codes = archive("bosz"), []
    if node["teff_K"] <= MARCS_UNTIL_K:
        codes.append("ms" if node["logg"] <= LAST_SPHERICAL_LOGG else "mp")
    if node["teff_K"] >= ATLAS9_FROM_K:
        codes.append("ap")
    names = [tree["name"].format(atmosphere=code, resolution=resolution, **node) for code in codes]
    paths = [tree["path"].format(resolution=resolution, feh=node["feh"], name=name) for name in names]
    return Download(tuple(f"{base}/{quote(path)}" for path in paths), folder)


def check_text(path: Path) -> None:
    """See that a file is columns of numbers, and if it is compressed, that all of it is there.

    Raises:
        InputError: if not.
    """
    with path.open("rb") as raw:
        compressed = raw.read(2) == b"\x1f\x8b"
        raw.seek(0)
        try:
            with gzip.open(raw) if compressed else raw as file:
                row = np.array(file.readline(1000).split(), dtype=float)
                while compressed and file.read(BLOCK):
                    pass
        except (OSError, EOFError, ValueError, zlib.error) as error:
            raise InputError(f"expected a sound text file of numbers, got: {error}") from None
    if not row.size:
        raise InputError("expected a text file of numbers, got an empty line")
