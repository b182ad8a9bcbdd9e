r"""What a generator misses in each class: a low-rank part that is inferred, and what is left of it.

Over held-out spectra the errors :math:`r = s - G(E(s))` of a class have the factors

.. math:: W_C = \Lambda^{1/2} V^\top, \qquad \frac1n \sum_i r_i r_i^\top = V \Lambda V^\top,

of which the R largest are kept; :math:`\tau_C^2` is the variance of each cell outside of their span. Errors of the spectra
that the generator was trained on are smaller; they help where a class has few objects that it was not, and count as many
as those all together.

The remainder is measured on the held-out spectra that the factors were made of too, so it is an underestimate for new objects.
"""

import torch
from torch import Tensor

from ..model.generator import Generator
from .library import Library

__all__ = ["fit_discrepancy"]


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
        flux = [torch.from_numpy(part.flux[part.label == k]) for part in parts]
        errors = [rows - generator(generator.encode(rows)) for rows in flux]
        held_out = errors[1] if len(errors[1]) else errors[0]
        weighted = [e / max(len(e), 1) ** 0.5 for e in errors]
        with torch.random.fork_rng(devices=[]):  # the decomposition starts from random directions
            torch.manual_seed(0)
            _, size, basis = torch.svd_lowrank(torch.cat(weighted).double(), q=rank + 8, niter=4)
        size = size / sum(len(e) > 0 for e in errors) ** 0.5
        basis = basis[:, :rank]
        factors.append((size[:rank, None] * basis.T).float())
        left = held_out.double() - held_out.double() @ basis @ basis.T
        remainder.append(left.square().mean(0).sqrt().float())
    return torch.stack(factors), torch.stack(remainder)
