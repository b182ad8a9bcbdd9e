"""What the library says about a trained generator: the latents' density, the discrepancy, the spread of the flux."""

import zlib

import torch
from torch import Tensor

from ..errors import InputError
from ..model.class_prior import ClassPrior
from ..model.generator import Generator
from ..model.joint import SpectrumModel
from ..model.latent_prior import KDEPrior, LatentPrior
from ..model.local_kde import LocalKDEPrior
from ..model.noiseflow import NoiseFlow
from ..model.nuisance import Nuisance
from .library import Library

__all__ = ["assemble", "fit_prior", "flux_statistics"]

FOLDS = 5


def _fold(names: list[str]) -> Tensor:
    """A cross-validation fold for each spectrum, the same for all of one object."""
    return torch.tensor([zlib.crc32(name.encode()) % FOLDS for name in names])


@torch.no_grad()
def fit_prior(
    library: Library, generator: Generator, *, kind: str = "local-kde", kernels: int = 1000, seed: int = 0
) -> LatentPrior:
    """Estimate p(z | C) from the latents of the training split.

    Arguments:
        library: Clean spectra.
        generator: Trained on the same split.
        kind: 'local-kde', or 'kde' for kernels of one shape in each class, as Kang et al. (2021).
        kernels: Kernels of each class, at most.
        seed: Seed of which latents become kernels.

    Raises:
        InputError: if the library's grid is not the generator's, or a class has too few training spectra.
    """
    if library.grid.size != generator.size:
        raise InputError(f"library: expected {generator.size} pixels as the generator has, got {library.grid.size}")
    kinds = {cls.kind: cls for cls in (KDEPrior, LocalKDEPrior)}
    if kind not in kinds:
        raise InputError(f"latent prior kind: expected one of {', '.join(kinds)}, got {kind!r}")
    train = library.subset("train")
    z = generator.encode(torch.from_numpy(train.flux))
    label = torch.from_numpy(train.label)
    few = [c for k, c in enumerate(library.classes) if int((label == k).sum()) < 2]
    if few:
        raise InputError(f"library: expected training spectra of every class, got fewer than 2 of {', '.join(few)}")
    fold = _fold(train.name.tolist())
    return kinds[kind].fit(z, label, len(library.classes), fold=fold, most=kernels, seed=seed)


@torch.no_grad()
def flux_statistics(library: Library, generator: Generator, prior: LatentPrior) -> tuple[Tensor, Tensor]:
    r"""By class and pixel: how far held-out spectra are from the generator, and how far the prior's spectra spread.

    Returns:
        Discrepancy and spread, each :math:`(K, D)`, in units of mean |flux| = 1. The discrepancy is the root mean square
        of :math:`s - G(E(s))` over the validation split (the training split, where a class has none there).
    """
    held_out, train = library.subset("validation"), library.subset("train")
    discrepancy, spread = [], []
    for k in range(len(library.classes)):
        rows = held_out.flux[held_out.label == k]
        flux = torch.from_numpy(rows if len(rows) else train.flux[train.label == k])
        error = generator(generator.encode(flux)) - flux
        discrepancy.append(error.square().mean(0).sqrt())
        spread.append(generator(prior.latents(k)).std(0))
    return torch.stack(discrepancy), torch.stack(spread)


def assemble(
    library: Library,
    generator: Generator,
    noise: NoiseFlow,
    *,
    prior: LatentPrior | None = None,
    nuisance: Nuisance | None = None,
    volume: bool = False,
    card: dict | None = None,
) -> SpectrumModel:
    """Join trained parts into a model; fits the latent prior if none is given. Arguments as in `SpectrumModel`."""
    prior = prior or fit_prior(library, generator)
    discrepancy, spread = flux_statistics(library, generator, prior)
    model = SpectrumModel(
        library.grid,
        ClassPrior(library.classes),
        generator,
        prior,
        noise,
        nuisance or Nuisance(),
        discrepancy,
        spread,
        volume,
        card,
    )
    return model.eval().requires_grad_(False)
