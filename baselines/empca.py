r"""Weighted principal components by expectation maximisation, and their least-squares fit to a noisy spectrum.

Components V (q, D) and coefficients c minimise :math:`\sum_{nd} w_{nd} (x_{nd} - \mu_d - c_n \cdot v_d)^2`, by turns:

.. math:: c_n = (V W_n V^T)^{-1} V W_n (x_n - \mu), \qquad v_d = (C^T W_d C)^{-1} C^T W_d (x_d - \mu_d),

the weights of a spectrum (of a pixel) on the diagonal. A noisy spectrum is fitted by mean and components, with its inverse
variances for weights and no prior: the mean's coefficient is the amplitude.

References:
    Bailey 2012, PASP 124, 1015, arXiv:1208.4122.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from bayesden.errors import InputError
from bayesden.spectrum import Grid

from .denoiser import CoaddDenoiser
from .low_rank_fit import check_library

__all__ = ["Empca", "components"]

RIDGE = 1e-9  # of the largest diagonal element: what no data determine stays small
CHUNK = 64
LIBRARY = 4000  # spectra that are enough for tens of components


@dataclass(frozen=True, eq=False)
class Empca(CoaddDenoiser):
    """Mean and components of a library.

    Arguments:
        mean: Shape (D,).
        components: Orthonormal rows, shape (q, D).
        grid: The pixels.
    """

    mean: NDArray
    components: NDArray
    grid: Grid

    @classmethod
    def fit(
        cls, flux: NDArray, grid: Grid, *, validation: NDArray, largest: int = 80, snr: float = 10.0, seed: int = 0
    ) -> "Empca":
        r"""Components of clean spectra, as many as fit noisy ones best.

        A fit of q components has the expected error :math:`|x - \hat x_q|^2 + q \sigma^2 / D`: what the components cannot
        describe, and the noise that they let through.

        Arguments:
            flux: Clean spectra, shape (N, D), mean absolute flux 1.
            grid: The pixels.
            validation: Clean spectra of other stars, for the number of components.
            largest: Components to choose from.
            snr: Signal-to-noise ratio that the number is chosen for.
            seed: Seed of the start, and of which spectra are taken if there are many.

        Raises:
            InputError: if the spectra cannot be used.
        """
        flux, held = check_library(flux, grid), check_library(validation, grid, "validation")
        rng = np.random.default_rng(seed)
        flux = flux[rng.permutation(len(flux))[:LIBRARY]]
        mean, vectors = components(flux, min(largest, len(flux) - 1, grid.size - 1), seed=seed)
        centred = held - mean
        lost = np.square(centred).mean() - np.cumsum(np.square(centred @ vectors.T).mean(0)) / grid.size
        rank = int(np.argmin(lost + np.arange(1, len(vectors) + 1) / grid.size / snr**2)) + 1
        return cls(mean, vectors[:rank], grid)

    @property
    def _name(self) -> str:
        return "empca"

    def _estimate(self, flux: NDArray, ivar: NDArray) -> tuple[NDArray, dict[str, str | float]]:
        basis = np.vstack([self.mean, self.components])
        coefficients = _coefficients(flux[None], ivar[None] / ivar.max(), basis)
        return (coefficients @ basis)[0], {"components": len(self.components)}


def components(
    flux: NDArray, rank: int, *, weight: NDArray | None = None, iterations: int = 30, seed: int = 0
) -> tuple[NDArray, NDArray]:
    """Weighted mean and principal components.

    Arguments:
        flux: Spectra, shape (N, D); any finite number where the weight is 0.
        rank: Components q.
        weight: Inverse variances, shape (N, D); all alike by default.
        iterations: Turns of expectation and maximisation.
        seed: Seed of the start.

    Returns:
        Mean (D,) and orthonormal components (q, D), the one with the largest variance first.

    Raises:
        InputError: if there are too few spectra or pixels for so many components, or a pixel has no weight.
    """
    if not 1 <= rank < min(flux.shape):
        raise InputError(f"empca: expected 1 to {min(flux.shape) - 1} components for {flux.shape}, got {rank}")
    weight = np.ones((1, 1)) if weight is None else weight
    total = np.broadcast_to(weight, flux.shape).sum(0)
    if not (total > 0).all():
        raise InputError(f"empca: expected data in every pixel, got none in {(total <= 0).sum()}")
    mean = (weight * flux).sum(0) / total
    centred = flux - mean
    vectors = np.linalg.qr(np.random.default_rng(seed).normal(size=(flux.shape[1], rank)))[0].T
    for _ in range(iterations):
        c = _coefficients(centred, weight, vectors)
        vectors = _coefficients(centred.T, weight.T, np.ascontiguousarray(c.T)).T
        vectors = np.linalg.qr(vectors.T)[0].T
    c = _coefficients(centred, weight, vectors)
    _, turn = np.linalg.eigh(c.T @ c)
    return mean, turn[:, ::-1].T @ vectors


def _coefficients(data: NDArray, weight: NDArray, basis: NDArray) -> NDArray:
    """Weighted least squares of each row of (N, D) on the basis (q, D): (N, q); the weight is (N, D) or (1, 1)."""
    found = []
    for start in range(0, len(data), CHUNK):
        rows = slice(start, start + CHUNK)
        w = weight if weight.size == 1 else weight[rows]
        normal = (basis * w[:, None]) @ basis.T if weight.size > 1 else (basis @ basis.T)[None]
        diagonal = np.diagonal(normal, axis1=1, axis2=2).max(1) * RIDGE
        normal = normal + diagonal[:, None, None] * np.eye(len(basis))
        found.append(np.linalg.solve(normal, ((w * data[rows]) @ basis.T)[..., None])[..., 0])
    return np.concatenate(found)
