r"""Where the truth of simulated stars stands in their posteriors: all that the tests of calibration need of the draws."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ..infer.draws import Draws, Flux, flux_of_draws, named_parameters
from ..infer.located import Located
from ..infer.seeds import random_of
from ..infer.target import as_parameters
from ..model.joint import Parameters, SpectrumModel
from .controls import CONTROLS, as_given
from .exposures import predict_each
from .in_model import Simulation
from .sbc import ranks
from .tarp import references, tarp

__all__ = ["PLAIN", "RANKED", "VERSIONS", "Places", "Quantities", "places_of", "quantities"]

VERSIONS = {"posterior": as_given, **CONTROLS}
RANKED, PLAIN = (
    ("u", "flux", "tarp"),
    ("pit", "label", "found", "snr"),
)  # arrays of `Places`: by version, and single ones
PIXELS = 128  # of the flux, evenly spaced, that coverage and TARP look at
SBC_PIXELS, BANDS = 6, 8
PIT_PIXELS = 16  # of a left-out exposure
CLASS = "class"  # a number without a size, which no control can shift


@dataclass(frozen=True, eq=False)
class Quantities:
    """What is ranked, of S points.

    Arguments:
        names: Of P scalars.
        values: Of these, shape (S, P).
        flux: In M pixels, shape (S, M).
    """

    names: tuple[str, ...]
    values: NDArray
    flux: NDArray


@dataclass(frozen=True, eq=False)
class Places:
    """Where the truth of N stars stands in the posteriors of one engine, and in those that are wrong on purpose.

    Arguments:
        names: Of the P quantities of SBC.
        u: Their relative ranks, by version, each (N, P).
        flux: Relative ranks of the flux in M pixels, by version, each (N, M).
        tarp: By version, of each reference, (N, R).
        pit: Probability integral transforms of some pixels of a left-out exposure, (N, 16); NaN where there are fewer.
        label: True classes' indices, (N,).
        found: Those of the most probable classes, (N,).
        snr: Signal-to-noise ratio of an exposure, (N,).
    """

    names: tuple[str, ...]
    u: Mapping[str, NDArray]
    flux: Mapping[str, NDArray]
    tarp: Mapping[str, NDArray]
    pit: NDArray
    label: NDArray
    found: NDArray
    snr: NDArray

    @classmethod
    def join(cls, parts: Sequence["Places"]) -> "Places":
        """Stars of several batches."""
        mappings = ({v: np.concatenate([getattr(p, field)[v] for p in parts]) for v in VERSIONS} for field in RANKED)
        arrays = (np.concatenate([getattr(p, field) for p in parts]) for field in PLAIN)
        return cls(parts[0].names, *mappings, *arrays)


@torch.no_grad()
def quantities(model: SpectrumModel, at: Parameters, flux: Tensor) -> Quantities:
    """Class, parameters, pixels and means over bands, and the flux as a vector.

    Arguments:
        model: Whose parameters they are.
        at: S points.
        flux: Their flux, the generator's discrepancy included, shape (S, D).
    """
    names, columns = [CLASS], [at.label.double().unsqueeze(1)]
    for name, values in named_parameters(model, at).items():
        columns.append(values.double().reshape(len(values), -1))
        count = columns[-1].shape[1]
        names += [name] if count == 1 else [f"{name} {i}" for i in range(1, count + 1)]
    wavelength, pixels = model.grid.wavelength, _spaced(model.grid.size, SBC_PIXELS)
    columns.append(flux[:, pixels].double())
    names += [f"flux {wavelength[d]:.0f} A" for d in pixels]
    for band in np.array_split(np.arange(model.grid.size), BANDS):
        columns.append(flux[:, band].double().mean(1, keepdim=True))
        names.append(f"band {wavelength[band[0]]:.0f}-{wavelength[band[-1]]:.0f} A")
    spaced = flux[:, _spaced(model.grid.size, PIXELS)]
    return Quantities(tuple(names), torch.cat(columns, 1).cpu().numpy(), spaced.double().cpu().numpy())


def _spaced(size: int, count: int) -> NDArray:
    """Indices of that many evenly spaced pixels, or of all."""
    count = min(size, count)
    return (np.arange(count) * size + size // 2) // count


@torch.no_grad()
def places_of(
    model: SpectrumModel,
    stars: Simulation,
    located: Sequence[Located],
    draws: Sequence[Draws],
    others: Tensor,
    *,
    snr: float,
    seed: int,
) -> Places:
    """Places of a batch of stars.

    Arguments:
        model: That simulated them.
        stars: Their truth, and the exposures left out.
        located, draws: What an engine found.
        others: True fluxes of other stars, shape (N, D).
        snr: Signal-to-noise ratio of an exposure, to note.
        seed: Seed of ties, references and pixels.
    """
    rng = np.random.default_rng(seed)
    truth = quantities(model, stars.at, stars.flux)
    pool = others[:, _spaced(model.grid.size, PIXELS)].double().cpu().numpy()
    fluxes, rows = [], []
    for b, (star, own) in enumerate(zip(located, draws, strict=True)):
        at = as_parameters(star, own.theta.flatten(0, 1), own.label.flatten())
        fluxes.append(flux_of_draws(model, star, own, random_of(star, seed)))
        drawn = quantities(model, at, fluxes[-1].draws)
        rows.append(_rank(drawn, truth.values[b], truth.flux[b], references(pool, rng), rng))
    stacked = ({v: np.stack([row[v][part] for row in rows]) for v in VERSIONS} for part in range(3))
    pit = _left_out(model, stars, fluxes, rng)
    found = np.array([int(own.class_prob.argmax()) for own in draws])
    return Places(truth.names, *stacked, pit, stars.at.label.cpu().numpy(), found, np.full(len(stars), snr))


def _rank(
    drawn: Quantities, values: NDArray, flux: NDArray, reference: NDArray, rng: np.random.Generator
) -> dict[str, tuple[NDArray, NDArray, NDArray]]:
    """Of one star by version: ranks of scalars and of the flux, and shares of draws nearer to the references."""
    keep, found = np.array(drawn.names) == CLASS, {}
    for version, change in VERSIONS.items():
        scalars = np.where(keep, drawn.values, change(drawn.values))
        pixels = change(drawn.flux)
        found[version] = (ranks(scalars, values, rng), ranks(pixels, flux, rng), tarp(pixels, flux, reference, rng))
    return found


def _left_out(model: SpectrumModel, stars: Simulation, fluxes: Sequence[Flux], rng: np.random.Generator) -> NDArray:
    """Transforms of some pixels of each star's left-out exposure, shape (B, 16)."""
    mean, sigma = (torch.stack([getattr(flux, name) for flux in fluxes]) for name in ("mean", "sigma"))
    fitted = stars.data.flux.shape[1]
    found = predict_each(model.noise, model.nuisance, stars.left, mean, sigma, fitted).pit
    pit = np.full((len(found), PIT_PIXELS), np.nan)
    for row, values in zip(pit, found, strict=True):
        known = rng.permutation(values[np.isfinite(values)])[:PIT_PIXELS]
        row[: len(known)] = known
    return pit
