r"""An embedded grid of synthetic spectra that needs no download: an illustration, not for abundance work.

Each node is a grey, plane-parallel atmosphere in local thermodynamic equilibrium (`atmosphere`, `equilibrium`), with the
continuous opacity of `continuum`, the few hundred lines of `line_list`, hydrogen's of `hydrogen_lines` and the molecular
bands of `bands`, seen through the formal solution of `emergent`. The four parameters act as they do in stars; the spectra
are not those of any star. What it leaves out is in the documentation (`docs/analytic_grid.md`).

Nodes are kept in the user's cache folder, under a name that is a hash of these modules' source, the axes and the wavelengths.
"""

import hashlib
import os
import zipfile
import zlib
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path

import numpy as np
import platformdirs
import torch
from numpy.typing import NDArray

from ...errors import BayesdenError, InputError
from ...io.files import replace_file
from .atmosphere import build
from .elements import abundances
from .rectangular import RectangularGrid
from .synthesis import Synthesis

__all__ = ["COARSE_AXES", "PFS_AXES", "SDSS_AXES", "analytic_grid", "analytic_nodes", "cache_file", "cache_folder"]

PFS_AXES = {
    "teff_K": (3500.0, 3750.0, 4000.0, 4250.0, 4500.0, 4750.0, 5000.0),
    "logg": (0.0, 1.0, 2.0, 3.0, 4.0, 5.0),
    "feh": (-2.5, -2.0, -1.5, -1.0, -0.5, 0.0, 0.5, 0.75),
    "alpha_fe": (-0.25, 0.0, 0.25, 0.5),
}
COARSE_AXES = {
    "teff_K": (3500.0, 4000.0, 4500.0, 5000.0),
    "logg": (0.0, 2.5, 5.0),
    "feh": (-2.5, -1.0, 0.0, 0.75),
    "alpha_fe": (-0.25, 0.5),
}
# Stars of every kind at the cost of a coarse net, for an instrument that sees them at R = 2000.
SDSS_AXES = {
    "teff_K": (3500.0, 4000.0, 4500.0, 5000.0, 5500.0, 6000.0, 7000.0, 8000.0, 9000.0, 10000.0),
    "logg": (1.0, 3.0, 5.0),
    "feh": (-2.0, -1.0, 0.0, 0.5),
    "alpha_fe": (0.0, 0.4),
}
LIMITS = {"teff_K": (3000.0, 11000.0), "logg": (-0.5, 5.5), "feh": (-5.0, 1.0), "alpha_fe": (-1.0, 1.0)}
WAVELENGTHS = (3550.0, 10500.0)  # Å, where there is anything but continuum
LABEL = "grey LTE atmospheres with a compact line list: an illustration, not for abundance work"
UNIT = "erg/s/cm2/A"  # at the surface of the star
PHYSICS = (  # modules whose source decides what the nodes are
    "atmosphere", "bands", "continuum", "elements", "emergent", "equilibrium", "hydrogen_lines", "line_list", "metal_lines",
    "synthesis",
)  # fmt: skip
Progress = Callable[[int, int], None]


def _checked(axes: Mapping[str, Sequence[float]]) -> dict[str, NDArray]:
    if tuple(axes) != tuple(LIMITS):
        raise InputError(f"analytic grid: axes: expected {', '.join(LIMITS)}, got {', '.join(axes) or 'none'}")
    out = {name: np.asarray(values, float) for name, values in axes.items()}
    for name, values in out.items():
        if values.ndim != 1 or not values.size or not (np.diff(values) > 0).all():
            raise InputError(f"analytic grid: {name}: expected ascending values, got {values.tolist()}")
        low, high = LIMITS[name]
        if not ((values >= low) & (values <= high)).all():
            raise InputError(f"analytic grid: {name}: expected {low:g} to {high:g}, got {values.tolist()}")
    return out


def analytic_nodes(axes: Mapping[str, Sequence[float]], loglam: NDArray, progress: Progress | None = None) -> NDArray:
    r"""Spectra at all combinations of parameters.

    Arguments:
        axes: Ascending values of teff_K, logg, feh and alpha_fe, in this order.
        loglam: :math:`\log_{10}` of the vacuum wavelength in Å, uniform, shape :math:`(N,)`.
        progress: Called with the number of spectra done and their total.

    Returns:
        Averages over the cells around the wavelengths, erg/s/cm²/Å at the surface of the star, single precision,
        shape :math:`(n_1, n_2, n_3, n_4, N)`.

    Raises:
        InputError: if axes are missing, unknown, not ascending or beyond what the physics covers.

    Example:
        >>> axes = {"teff_K": [5777], "logg": [4.4], "feh": [0], "alpha_fe": [0]}
        >>> analytic_nodes(axes, np.log10(8540) + np.arange(100) * 1e-5).shape
        (1, 1, 1, 1, 100)
    """
    axes = _checked(axes)
    shape = tuple(len(values) for values in axes.values())
    teff, logg, feh, alpha = (a.ravel() for a in np.meshgrid(*axes.values(), indexing="ij"))
    atmospheres = build(teff, logg, abundances(feh, alpha))
    synthesis = Synthesis.on(loglam)
    out = np.empty((len(teff), len(loglam)), np.float32)
    for index in range(len(teff)):
        out[index] = synthesis.spectrum(atmospheres, index)
        if progress is not None:
            progress(index + 1, len(teff))
    return out.reshape(*shape, len(loglam))


def analytic_grid(
    wavelength: tuple[float, float] = (6950.0, 9000.0),
    step: float = 1e-5,
    axes: Mapping[str, Sequence[float]] | None = None,
    *,
    cache: bool = True,
    progress: Progress | None = None,
) -> RectangularGrid:
    r"""The embedded grid on a range of wavelengths.

    Arguments:
        wavelength: First and last vacuum wavelength, Å.
        step: Step in :math:`\ln\lambda`.
        axes: Values of teff_K, logg, feh and alpha_fe; `PFS_AXES` by default.
        cache: Whether to keep the nodes on disk, and to take them from there.
        progress: Called with the number of spectra done and their total.

    Raises:
        InputError: if the wavelengths, the step or the axes are not usable.
    """
    axes = _checked(PFS_AXES if axes is None else axes)
    low, high = wavelength
    if not WAVELENGTHS[0] <= low < high <= WAVELENGTHS[1]:
        span = f"{WAVELENGTHS[0]:g} to {WAVELENGTHS[1]:g}"
        raise InputError(
            f"analytic grid: wavelength: expected two ascending values in {span} Angstrom, got {low:g}, {high:g}"
        )
    if not 1e-6 <= step <= np.log(high / low):
        raise InputError(
            f"analytic grid: step: expected 1e-6 to {np.log(high / low):.3g} in ln(wavelength), got {step:g}"
        )
    loglam = np.log10(low) + np.arange(int(np.log(high / low) / step) + 1) * (step / np.log(10))
    nodes = _cached(axes, loglam, progress) if cache else analytic_nodes(axes, loglam, progress)
    tensors = {name: torch.from_numpy(values) for name, values in axes.items()}
    return RectangularGrid("analytic", LABEL, UNIT, torch.from_numpy(loglam), tensors, torch.from_numpy(nodes))


def cache_folder() -> Path:
    """Where nodes are kept: BAYESDEN_CACHE, or the user's cache folder."""
    return Path(os.environ.get("BAYESDEN_CACHE") or platformdirs.user_cache_dir("bayesden"))


def cache_file(axes: Mapping[str, Sequence[float]], loglam: NDArray) -> Path:
    """The file of some nodes: its name says what they depend on."""
    digest = hashlib.sha256()
    for module in PHYSICS:
        digest.update((Path(__file__).parent / f"{module}.py").read_bytes())
    for values in (*axes.values(), loglam):
        digest.update(np.asarray(values, float).tobytes() + b"/")
    return cache_folder() / f"analytic-{digest.hexdigest()[:24]}.npz"


def _cached(axes: Mapping[str, Sequence[float]], loglam: NDArray, progress: Progress | None) -> NDArray:
    path = cache_file(axes, loglam)
    nodes = _read(path, (*(len(values) for values in axes.values()), len(loglam)))
    if nodes is None:
        nodes = analytic_nodes(axes, loglam, progress)
        with suppress(BayesdenError, OSError):  # a cache that cannot be written costs time, not the result
            path.parent.mkdir(parents=True, exist_ok=True)
            with replace_file(path, overwrite=True) as temporary, temporary.open("wb") as handle:
                np.savez(handle, nodes=nodes)
    return nodes


def _read(path: Path, shape: tuple[int, ...]) -> NDArray | None:
    """Nodes of a cache file, or None if it is missing or damaged in any way."""
    try:
        with path.open("rb") as handle, np.load(handle, allow_pickle=False) as content:
            nodes = content["nodes"]
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile, zlib.error):
        return None
    sound = nodes.shape == shape and nodes.dtype == np.float32 and bool(np.isfinite(nodes).all())
    return nodes if sound else None
