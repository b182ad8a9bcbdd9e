r"""Learn a `LowRankGaussian` from clean spectra.

Principal components by randomised subspace iteration, then either of two noises:

- ``isotropic``: probabilistic principal components, :math:`\psi_d = \sigma^2`, the maximum of the likelihood in closed
  form: :math:`\sigma^2` is the mean of the discarded eigenvalues and
  :math:`W = V_q (\Lambda_q - \sigma^2)^{1/2}` (Tipping & Bishop 1999, eqs. 7 and 8);
- ``pixel``: one principal-factor step of factor analysis, :math:`\psi_d` the variance of pixel :math:`d` that the
  components leave, and :math:`\Lambda_q` reduced by :math:`V_q^T \psi V_q`.

Rank and a factor on :math:`\psi` are those under which the median held-out spectrum is most probable. The factor
exists because the training set is finite: components describe the spectra that they were made from better than others.

References:
    Tipping & Bishop 1999, J. R. Statist. Soc. B 61, 611. Halko, Martinsson & Tropp 2011, SIAM Rev. 53, 217.
"""

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from bayesden.errors import InputError
from bayesden.spectrum import Grid

from .linear_gaussian import LowRankGaussian

__all__ = ["Noise", "check_library", "fit_low_rank"]

Noise = Literal["isotropic", "pixel"]
RANKS = (0, 1, 2, 3, 5, 8, 12, 16, 24, 32, 48, 64)
INFLATIONS = tuple(2.0**k for k in range(9))
PSI_FLOOR = 1e-7  # of the mean square flux: signal-to-noise of 3000, above any library's own


@dataclass(frozen=True, eq=False)
class _Components:
    # eigenvectors (D, Q) and eigenvalues (Q,) of the sample covariance, its diagonal (D,), and the mean (D,)
    mean: NDArray
    vectors: NDArray
    values: NDArray
    variance: NDArray

    def prior(self, rank: int, noise: Noise, inflation: float = 1.0) -> LowRankGaussian:
        vectors, values = self.vectors[:, :rank], self.values[:rank]
        left = np.maximum(self.variance - (vectors**2) @ values, 0.0)
        floor = PSI_FLOOR * np.mean(self.mean**2 + self.variance)
        if noise == "isotropic":
            psi = np.full(left.size, max(left.sum() / max(left.size - rank, 1), floor))
        else:
            psi = np.maximum(left, floor)
        signal = np.maximum(values - psi @ vectors**2, 0.0)
        return LowRankGaussian(self.mean, vectors * np.sqrt(signal), psi * inflation)


def _components(flux: NDArray, rank: int, seed: int) -> _Components:
    mean = flux.mean(0)
    centred = flux - mean
    rank = min(rank, *(n - 1 for n in flux.shape))
    if min(flux.shape) <= 4 * (rank + 10):
        _, singular, vectors = np.linalg.svd(centred, full_matrices=False)
    else:
        basis = np.random.default_rng(seed).standard_normal((flux.shape[1], rank + 10))
        for _ in range(4):
            basis, _ = np.linalg.qr(centred.T @ (centred @ basis))
        _, singular, small = np.linalg.svd(centred @ basis, full_matrices=False)
        vectors = small @ basis.T
    values = singular[:rank] ** 2 / flux.shape[0]
    return _Components(mean, vectors[:rank].T, values, centred.var(0))


def _held_out(prior: LowRankGaussian, inflation: float, centred: NDArray) -> float:
    # median log density, up to a constant, of clean spectra from which the mean has been taken; psi times inflation.
    # The median, because a single odd star would otherwise set the psi of its whole class.
    weight = 1 / (inflation * prior.psi)
    matrix = np.eye(prior.rank) + (prior.factor.T * weight) @ prior.factor
    projection = np.linalg.solve(np.linalg.cholesky(matrix), (centred * weight @ prior.factor).T)
    quadratic = np.median(centred**2 @ weight - (projection**2).sum(0))
    log_det = np.linalg.slogdet(matrix)[1] - np.log(weight).sum()
    return -0.5 * float(quadratic + log_det)


def _split(flux: NDArray, seed: int) -> tuple[NDArray, NDArray]:
    order = np.random.default_rng(seed).permutation(flux.shape[0])
    n_held_out = min(max(1, flux.shape[0] // 5), flux.shape[0] - 2)
    return flux[order[n_held_out:]], flux[order[:n_held_out]]


def fit_low_rank(
    flux: NDArray,
    *,
    rank: int | None = None,
    noise: Noise = "isotropic",
    validation: NDArray | None = None,
    max_rank: int = 64,
    seed: int = 0,
) -> LowRankGaussian:
    r"""Fit :math:`N(\mu, W W^T + \mathrm{diag}(\psi))` to clean spectra.

    Arguments:
        flux: Clean spectra, shape :math:`(N, D)`, mean flux 1, :math:`N \ge 2`.
        rank: :math:`q`, as far as :math:`N - 1` allows. None: rank and the factor on :math:`\psi` by the likelihood of
            held-out spectra.
        noise: ``isotropic`` or ``pixel``. On held-out stars their errors are alike; the first is less over-confident.
        validation: Spectra to choose by, shape :math:`(N', D)`; a fifth of `flux` by default. Give other stars than
            those of `flux` where there are some: by noisy or reddened copies the largest rank always wins.
        max_rank: The largest rank to try.
        seed: Of the split and the subspace iteration.

    Returns:
        The prior, fitted to all of `flux`.
    """
    flux = np.asarray(flux, dtype=np.float64)
    if rank is not None:
        return _components(flux, rank, seed).prior(rank, noise)
    whole = _components(flux, max_rank, seed)
    if validation is not None and len(validation):
        training, held_out = whole, np.asarray(validation, dtype=np.float64)
    elif len(flux) > 2:
        part, held_out = _split(flux, seed)
        training = _components(part, max_rank, seed)
    else:
        return whole.prior(1, noise)
    held_out = held_out[np.random.default_rng(seed).permutation(len(held_out))[:256]] - training.mean
    best = (-np.inf, 0, 1.0)
    for candidate in [r for r in RANKS if r <= training.values.size]:
        prior = training.prior(candidate, noise)
        best = max(best, *((_held_out(prior, i, held_out), candidate, i) for i in INFLATIONS))
    return whole.prior(best[1], noise, best[2])


def check_library(flux: NDArray, grid: Grid, what: str = "flux") -> NDArray:
    """The clean spectra as a finite array on the grid with mean absolute flux 1, or one clear line.

    Arguments:
        flux: Shape :math:`(N, D)`.
        grid: The model's grid of :math:`D` pixels.
        what: The argument's name, for the message.

    Returns:
        `flux` as an array.

    Raises:
        InputError: if it is not that.
    """
    flux = np.asarray(flux)
    if flux.ndim != 2 or flux.shape[1] != grid.size or flux.shape[0] < 2:
        raise InputError(f"{what}: expected shape (N, {grid.size}) with N >= 2, got {flux.shape}")
    if not np.isfinite(flux).all():
        raise InputError(f"{what}: expected finite values, got {int((~np.isfinite(flux)).sum())} that are not")
    scale = np.abs(flux).mean(1)
    if np.abs(scale - 1).max() > 0.01:
        raise InputError(f"{what}: expected mean |flux| = 1 in each row, got {scale.min():.4g} to {scale.max():.4g}")
    return flux
