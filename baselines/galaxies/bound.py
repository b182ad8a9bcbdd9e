r"""What no method can beat in the mean square: the posterior mean under the prior that galaxies are drawn from.

By importance sampling: of N galaxies drawn from the prior, with spectra :math:`s_n`, each weighs as the data :math:`y` say,
its amplitude a integrated out with a flat prior, for no method is told it,

.. math:: \ln w_n = \frac{(y \cdot s_n)^2}{2\, s_n \cdot s_n} - \tfrac12 \ln (s_n \cdot s_n), \qquad
          E[f \mid y] \approx \frac{\sum_n w_n f_n}{\sum_n w_n},

with products weighted by the inverse variance. With few effective draws, :math:`(\sum w)^2 / \sum w^2`, the estimate is worse
than the posterior mean: the bound is then an upper one. Spectra are kept as coefficients on the principal directions of
the whitened populations.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from .bed import DISPERSION_KMS, Bed, noise_curve
from .histories import draw_histories

__all__ = ["Estimate", "PriorDraws", "draw_prior", "posterior_means"]

COMPONENTS = 100
DISPERSIONS = 41  # between which coefficients are interpolated
CHUNK = 20_000


@dataclass(frozen=True, eq=False)
class PriorDraws:
    """Galaxies of a prior, whitened.

    Arguments:
        curve: Shape of the noise, (D,).
        basis: Orthonormal directions of spectra over `curve`, (P, D).
        coefficients: Of the galaxies on them, (N, P).
        quantities: What is estimated besides the spectrum, (N, Q).
    """

    curve: NDArray
    basis: NDArray
    coefficients: NDArray
    quantities: NDArray


@dataclass(frozen=True, eq=False)
class Estimate:
    """Posterior means of B spectra: flux (B, D), quantities (B, Q), and effective draws (B,)."""

    flux: NDArray
    quantities: NDArray
    effective: NDArray


def draw_prior(bed: Bed, prior: str, n: int, *, seed: int = 0) -> PriorDraws:
    """Draws of a prior with log age and [M/H] for quantities.

    Arguments:
        bed: Pixels and populations.
        prior: One of `histories.PRIORS`.
        n: How many.
        seed: Of the draws; another than that of the galaxies that are tested.
    """
    rng, t = np.random.default_rng([1, seed]), bed.templates
    curve, ladder = noise_curve(bed.grid.wavelength), np.linspace(*DISPERSION_KMS, DISPERSIONS)
    seen = np.stack([bed.spectra(np.eye(len(t)), np.full(len(t), width)) for width in ladder])
    unit = seen[DISPERSIONS // 2].mean(1, keepdims=True)  # populations count by their light, however dim
    values, vectors = np.linalg.eigh(np.einsum("ktd,kte->de", seen / unit / curve, seen / unit / curve, optimize=True))
    basis = vectors[:, values.argsort()[: -COMPONENTS - 1 : -1]].T
    table, means = (seen / curve) @ basis.T, seen.mean(-1)
    parts, quantities = [], []
    for first in range(0, n, CHUNK):
        weight = draw_histories(prior, min(CHUNK, n - first), t, rng)
        place = rng.uniform(0, DISPERSIONS - 1, len(weight))
        flux, mean = (_between(weight, place, x) for x in (table, means[..., None]))
        parts.append((flux / mean).astype(np.float32))
        quantities.append(weight @ np.stack([t.log_age, t.metallicity], 1))
    return PriorDraws(curve, basis, np.concatenate(parts), np.concatenate(quantities))


def _between(weight: NDArray, place: NDArray, table: NDArray) -> NDArray:
    """Sums of a table (K, T, P) with weights (N, T), interpolated linearly at places (N,) between its rows: (N, P)."""
    low, out = place.astype(int), np.empty((len(weight), table.shape[-1]))
    for k in np.unique(low):
        rows = np.flatnonzero(low == k)
        share = (place[rows] - k)[:, None]
        out[rows] = (1 - share) * (weight[rows] @ table[k]) + share * (weight[rows] @ table[k + 1])
    return out


def posterior_means(draws: PriorDraws, flux: NDArray, scale: NDArray) -> Estimate:
    """Posterior means of spectra (B, D) whose noise is `scale` (B,) times the prior's curve."""
    found = [_posterior_mean(draws, (y / draws.curve) @ draws.basis.T, s) for y, s in zip(flux, scale, strict=True)]
    mean, quantities, effective = (np.array(part) for part in zip(*found, strict=True))
    return Estimate(mean @ draws.basis * draws.curve, quantities, effective)


def _posterior_mean(draws: PriorDraws, data: NDArray, scale: float) -> tuple[NDArray, NDArray, float]:
    square = np.einsum("np,np->n", draws.coefficients, draws.coefficients, dtype=float)
    product = draws.coefficients @ data.astype(np.float32)
    product = product.astype(float)
    log_weight = product**2 / (2 * square * scale**2) - np.log(square) / 2
    weight = np.where(product > 0, np.exp(log_weight - log_weight.max()), 0.0)
    weight /= weight.sum()
    amplitude = product / square
    return (weight * amplitude) @ draws.coefficients, weight @ draws.quantities, 1 / (weight**2).sum()
