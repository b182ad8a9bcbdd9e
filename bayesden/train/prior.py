"""What the library says about a trained generator: the latents' density, the discrepancy, the spread of the flux."""

import zlib
from collections.abc import Iterator

import torch
from torch import Tensor

from ..errors import InputError
from ..model.class_prior import ClassPrior
from ..model.generator import Generator
from ..model.joint import Parameters, SpectrumModel
from ..model.latent_prior import LatentPrior
from ..model.noiseflow import NoiseFlow
from ..model.nuisance import Nuisance
from ..model.prior_kinds import PRIORS
from ..model.rest_frame import RestFrame
from .discrepancy import fit_discrepancy
from .library import Library

__all__ = ["assemble", "fit_prior", "prior_spread"]

FOLDS = 5


def _fold(names: list[str]) -> Tensor:
    """A cross-validation fold for each spectrum, the same for all of one object."""
    return torch.tensor([zlib.crc32(name.encode()) % FOLDS for name in names])


def fit_prior(
    library: Library, generator: Generator, *, kind: str = "local-kde", kernels: int = 1000, seed: int = 0
) -> LatentPrior:
    """Estimate p(z | C) from the latents of the training split.

    Arguments:
        library: Clean spectra.
        generator: Trained on the same split.
        kind: 'local-kde', 'kde' for kernels of one shape in each class, as Kang et al. (2021), or 'flow'.
        kernels: Kernels of each class, or latents that a flow keeps of each, at most.
        seed: Seed of which latents those are, and of a flow's training.

    Raises:
        InputError: if the library's grid is not the generator's, or a class has too few training spectra.
    """
    if library.grid.size != generator.size:
        raise InputError(f"library: expected {generator.size} pixels as the generator has, got {library.grid.size}")
    if kind not in PRIORS:
        raise InputError(f"latent prior kind: expected one of {', '.join(PRIORS)}, got {kind!r}")
    train = library.subset("train")
    with torch.no_grad():
        z = generator.encode(torch.from_numpy(train.flux))
    label = torch.from_numpy(train.label)
    few = [c for k, c in enumerate(library.classes) if int((label == k).sum()) < 2]
    if few:
        raise InputError(f"library: expected training spectra of every class, got fewer than 2 of {', '.join(few)}")
    fold = _fold(train.name.tolist())
    return PRIORS[kind].fit(z, label, len(library.classes), fold=fold, most=kernels, seed=seed)


@torch.no_grad()
def prior_spread(model: SpectrumModel, seed: int = 0) -> Tensor:
    """Standard deviation of the prior's flux, by class and pixel, amplitude aside; shape (K, D), mean |flux| = 1."""
    random, spread = torch.Generator().manual_seed(seed), []
    for k in range(len(model.classes)):
        z = model.latent_prior.latents(k)
        label, none = torch.full((len(z),), k), z.new_zeros(len(z), 0, 0)
        detail = torch.randn(len(z), model.rank, generator=random)
        foreground = torch.randn(len(z), model.foreground, generator=random)
        foreground = foreground.clamp(-3, 3)  # a fourth sigma would leave the cells
        draws = [model.star(at) for at in _rows(Parameters(z, z[:, 0], none, label, detail, foreground))]
        spread.append(torch.cat(draws).std(0))
    return torch.stack(spread)


def _rows(at: Parameters, size: int = 64) -> Iterator[Parameters]:
    for first in range(0, len(at.z), size):
        yield at.take(slice(first, first + size))


def assemble(
    library: Library,
    generator: Generator,
    noise: NoiseFlow,
    *,
    prior: LatentPrior | None = None,
    nuisance: Nuisance | None = None,
    volume: bool = False,
    frame: RestFrame | None = None,
    rank: int = 0,
    card: dict | None = None,
) -> SpectrumModel:
    """Join trained parts into a model.

    Arguments:
        library: What the generator was trained on.
        generator: The generator.
        noise: The noise on the pixels.
        prior: The latents' density; fitted if None.
        nuisance: As in `SpectrumModel`.
        volume: As in `SpectrumModel`.
        frame: From the library's cells, if it is one of stars at rest, to the pixels.
        rank: Factors of the inferred discrepancy.
        card: As in `SpectrumModel`.

    Raises:
        InputError: if the library is not on the frame's cells.
    """
    if frame is not None and library.grid != frame.cells:
        raise InputError("library: expected stars at rest on the cells of the model's frame, got another grid")
    prior = prior or fit_prior(library, generator)
    factors, remainder = fit_discrepancy(library, generator, rank)
    if frame is not None:
        seen = frame(remainder.square().unsqueeze(1), torch.zeros(len(remainder)), torch.zeros(len(remainder)))
        remainder = seen[:, 0].clamp_min(0).sqrt()
    model = SpectrumModel(
        library.grid if frame is None else frame.grid,
        ClassPrior(library.classes),
        generator,
        prior,
        noise,
        nuisance or Nuisance(),
        discrepancy=remainder,
        spread=torch.zeros_like(remainder),
        volume=volume,
        card=card,
        frame=frame,
        factors=factors if rank else None,
    )
    model.spread.copy_(prior_spread(model))
    return model.eval().requires_grad_(False)
