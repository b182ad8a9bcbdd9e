r"""The Wiener filter: one Gaussian prior of low rank for all spectra.

.. math:: \hat s = \mu + \Sigma (\Sigma + N)^{-1} (y - \mu), \qquad \Sigma = W W^T + \mathrm{diag}(\psi)

The best linear denoiser there is, and the exact posterior if spectra are Gaussian. It is the mixture of `mppca` with
one class, and shares its algebra.

References:
    Wiener 1949, Extrapolation, Interpolation, and Smoothing of Stationary Time Series.
    Rybicki & Press 1992, ApJ 398, 169.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from numpy.typing import NDArray

from bayesden.posterior import Posterior
from bayesden.spectrum import Grid, Observation

from .denoiser import Denoiser
from .linear_gaussian import LowRankGaussian
from .low_rank_fit import Noise, check_library, fit_low_rank
from .mppca import Amplitude, MixturePPCA

__all__ = ["Wiener"]


@dataclass(frozen=True, eq=False)
class Wiener(Denoiser):
    """The Wiener filter with per-pixel inverse variances, masks and any number of exposures.

    Arguments:
        prior: Of the noise-free flux, in the model's unit.
        grid: The pixels of the prior.
        amplitude: ``unknown`` integrates the amplitude out; ``known`` takes the data to be in the prior's unit.

    Example:
        >>> import numpy as np
        >>> prior = LowRankGaussian(np.ones(2), np.ones((2, 0)), np.ones(2))
        >>> wiener = Wiener(prior, Grid([4000.0, 5000.0]), amplitude="known")
        >>> wiener.denoise(Observation([4000.0, 5000.0], [3.0, 3.0], [1.0, 0.0])).flux.tolist()
        [2.0, 1.0]
    """

    prior: LowRankGaussian
    grid: Grid
    amplitude: Amplitude = "unknown"

    @classmethod
    def fit(
        cls,
        flux: NDArray,
        grid: Grid,
        *,
        rank: int | None = None,
        noise: Noise = "isotropic",
        validation: NDArray | None = None,
        amplitude: Amplitude = "unknown",
        seed: int = 0,
    ) -> "Wiener":
        """Fit the prior to clean spectra.

        Arguments:
            flux: Clean spectra, shape :math:`(N, D)`, mean absolute flux 1.
            grid: The pixels.
            rank: See `fit_low_rank`.
            noise: See `fit_low_rank`.
            validation: See `fit_low_rank`.
            amplitude: See the class.
            seed: See `fit_low_rank`.

        Returns:
            The fitted filter.

        Raises:
            InputError: if the spectra cannot be used.
        """
        held = None if validation is None else check_library(validation, grid, "validation")
        prior = fit_low_rank(check_library(flux, grid), rank=rank, noise=noise, validation=held, seed=seed)
        return cls(prior, grid, amplitude)

    def _denoise(self, observations: Sequence[Observation]) -> list[Posterior]:
        return MixturePPCA((self.prior,), (), self.grid, self.amplitude, "wiener").denoise(observations)
