r"""What a generator misses in each class: a low-rank part that is inferred, and what is left of it.

Over held-out spectra the errors :math:`r = s - G(E(s))` of a class have the factors

.. math:: W_C = \Lambda^{1/2} V^\top, \qquad \frac1n \sum_i r_i r_i^\top = V \Lambda V^\top,

of which the R largest are kept; :math:`\tau_C^2` is the variance of each cell outside of their span. Errors of the spectra
that the generator was trained on are smaller; they help where a class has few objects that it was not, and count as many
as those all together.

The remainder is that of objects that had no part in the factors: the held-out objects are dealt into folds, and each fold is
measured outside of the span of factors made without it.
"""

import hashlib

import torch
from numpy.typing import NDArray
from torch import Tensor

from ..model.generator import Generator
from .library import Library

__all__ = ["fit_discrepancy"]

FOLDS = 4


@torch.no_grad()
def fit_discrepancy(library: Library, generator: Generator, rank: int) -> tuple[Tensor, Tensor]:
    r"""Factors and remainder of the generator's error.

    Arguments:
        library: Clean spectra on the generator's cells.
        generator: Trained on the training split.
        rank: Factors R of each class; 0 leaves everything to the remainder.

    Returns:
        :math:`W_C`, shape :math:`(K, R, N)`, and :math:`\tau_C`, shape :math:`(K, N)`, in units of mean |flux| = 1.
    """
    factors, remainder = [], []
    parts = [library.subset(split) for split in ("train", "validation")]
    for k in range(len(library.classes)):
        trained, held_out = (_errors(generator, part.flux[part.label == k]) for part in parts)
        size, basis = _factors([trained, held_out], rank)
        factors.append((size[:, None] * basis.T).float())
        names = parts[1].name[parts[1].label == k]
        left = _left_out(trained, held_out, _folds(names), rank) if len(held_out) else trained
        remainder.append(left.square().mean(0).sqrt().float())
    return torch.stack(factors), torch.stack(remainder)


def _errors(generator: Generator, flux: NDArray) -> Tensor:
    spectra = torch.from_numpy(flux)
    return (spectra - generator(generator.encode(spectra))).double()


def _factors(errors: list[Tensor], rank: int) -> tuple[Tensor, Tensor]:
    """Sizes (R,) and directions (N, R) of the principal factors, each group of errors counting the same."""
    groups = [e / len(e) ** 0.5 for e in errors if len(e)]
    with torch.random.fork_rng(devices=[]):  # the decomposition starts from random directions
        torch.manual_seed(0)
        _, size, basis = torch.svd_lowrank(torch.cat(groups), q=rank + 8, niter=4)
    return size[:rank] / len(groups) ** 0.5, basis[:, :rank]


def _folds(names: NDArray) -> Tensor:
    """A fold for each spectrum, by the hash of its object's name."""
    return torch.tensor([hashlib.sha256(f"fold/{name}".encode()).digest()[0] % FOLDS for name in names.tolist()])


def _left_out(trained: Tensor, held_out: Tensor, fold: Tensor, rank: int) -> Tensor:
    """What factors made without a fold leave of it, all folds together."""
    left = []
    for number in fold.unique():
        inside = held_out[fold == number]
        _, basis = _factors([trained, held_out[fold != number]], rank)
        left.append(inside - inside @ basis @ basis.T)
    return torch.cat(left)
