r"""A Gaussian prior of low rank for spectra, and everything that has a closed form under it.

The noise-free spectrum, in the model's unit, is

.. math:: s = \mu + W u + e, \qquad u \sim N(0, I_q), \qquad e_d \sim N(0, \psi_d),

and is seen as :math:`y_d = a s_d + n_d` with :math:`n_d \sim N(0, 1/h_d)`; :math:`h_d = 0` where nothing was measured.
Several exposures enter through their sufficient statistics, the inverse-variance mean :math:`y` and the sum :math:`h`.
With :math:`x = a^2 h`, :math:`g = x / (1 + \psi x)`, :math:`r = y / a - \mu` and :math:`M = I_q + W^T G W`
(Woodbury: no :math:`D \times D` matrix is ever built),

.. math::
    \bar u &= M^{-1} W^T G r \\
    E[s_d] &= \mu_d + w_d^T \bar u + k_d (r_d - w_d^T \bar u), \qquad k = \psi x / (1 + \psi x) \\
    V[s_d] &= (1 - k_d)^2 \, w_d^T M^{-1} w_d + \psi_d / (1 + \psi_d x_d) \\
    -2 \ln p(y) &= \sum_{h_d > 0} \ln \frac{2 \pi a^2}{g_d} + \ln |M|
                   + \sum_d g_d (r_d - w_d^T \bar u)^2 + \bar u^T \bar u .

The last line is a sum of squares: at a signal-to-noise ratio of a million nothing cancels in it.

References:
    Rybicki & Press 1992, ApJ 398, 169; Rasmussen & Williams 2006, Gaussian Processes for Machine Learning, app. A.
"""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from bayesden.errors import InputError

__all__ = ["LowRankGaussian"]

LN_2PI = float(np.log(2 * np.pi))


@dataclass(frozen=True, eq=False)
class LowRankGaussian:
    r"""The Gaussian :math:`N(\mu, W W^T + \mathrm{diag}(\psi))`, conditioned on noisy data a batch at a time.

    Arguments:
        mean: :math:`\mu`, shape :math:`(D,)`.
        factor: :math:`W`, shape :math:`(D, q)`; :math:`q` may be 0.
        psi: :math:`\psi \ge 0`, shape :math:`(D,)`.

    Raises:
        InputError: if shapes disagree, a value is not finite, or a `psi` is negative.

    Example:
        >>> prior = LowRankGaussian(np.ones(3), np.ones((3, 1)), np.full(3, 0.5))
        >>> prior.variance.tolist()
        [1.5, 1.5, 1.5]
    """

    mean: NDArray
    factor: NDArray
    psi: NDArray

    def __post_init__(self) -> None:
        for key in ("mean", "factor", "psi"):
            array = np.array(getattr(self, key), dtype=np.float64)
            array.setflags(write=False)
            object.__setattr__(self, key, array)
        size = self.mean.size
        if self.mean.ndim != 1 or self.factor.ndim != 2 or self.factor.shape[0] != size or self.psi.shape != (size,):
            shapes = f"{self.mean.shape}, {self.factor.shape}, {self.psi.shape}"
            raise InputError(f"prior: expected mean (D,), factor (D, q) and psi (D,), got {shapes}")
        if not all(np.isfinite(a).all() for a in (self.mean, self.factor, self.psi)) or (self.psi < 0).any():
            raise InputError("prior: expected finite mean and factor, and finite psi >= 0")

    @property
    def rank(self) -> int:
        """The number of factors :math:`q`."""
        return self.factor.shape[1]

    @cached_property
    def variance(self) -> NDArray:
        """The prior variance of each pixel, shape :math:`(D,)`."""
        return (self.factor**2).sum(1) + self.psi

    @cached_property
    def _outer(self) -> NDArray:
        # products w_i w_j for i <= j: W^T G W of a whole batch is one matrix product with it
        i, j = np.triu_indices(self.rank)
        return self.factor[:, i] * self.factor[:, j]

    def _precision(self, weight: NDArray) -> NDArray:
        # M = I + W^T G W for each row of G, shape (B, q, q)
        i, j = np.triu_indices(self.rank)
        packed = weight @ self._outer
        matrix = np.empty((weight.shape[0], self.rank, self.rank))
        matrix[:, i, j] = matrix[:, j, i] = packed
        matrix[:, np.arange(self.rank), np.arange(self.rank)] += 1.0
        return matrix

    def _weight(self, ivar: NDArray, amplitude: NDArray) -> tuple[NDArray, NDArray]:
        x = ivar * (amplitude**2)[:, None]
        shrink = 1.0 / (1.0 + self.psi * x)
        return x * shrink, shrink

    def _factors(self, matrix: NDArray, weighted: NDArray) -> NDArray:
        # M^-1 W^T (G r), shape (B, q)
        return np.linalg.solve(matrix, (weighted @ self.factor)[:, :, None])[:, :, 0]

    def log_evidence(self, flux: NDArray, ivar: NDArray, amplitude: NDArray) -> NDArray:
        r"""Log marginal density of the data given the amplitude, :math:`\ln N(y; a\mu, a^2(WW^T + \psi) + 1/h)`.

        Arguments:
            flux: :math:`y`, shape :math:`(B, D)`; any finite number where `ivar` is 0.
            ivar: :math:`h`, shape :math:`(B, D)`, 0 where nothing was measured.
            amplitude: :math:`a > 0`, shape :math:`(B,)`.

        Returns:
            Shape :math:`(B,)`; 0 for a row without data.
        """
        weight, _ = self._weight(ivar, amplitude)
        residual = flux / amplitude[:, None] - self.mean
        matrix = self._precision(weight)
        u = self._factors(matrix, weight * residual)
        misfit = residual - u @ self.factor.T
        misfit *= misfit
        quadratic = np.einsum("bd,bd->b", misfit, weight) + (u * u).sum(1)
        log_det_m = 2 * np.log(np.linalg.cholesky(matrix).diagonal(axis1=1, axis2=2)).sum(1)
        seen = weight > 0
        log_weight = np.log(np.where(seen, weight, 1.0)).sum(1)
        n_seen = seen.sum(1)
        return -0.5 * (n_seen * (LN_2PI + 2 * np.log(amplitude)) - log_weight + log_det_m + quadratic)

    def moments(self, flux: NDArray, ivar: NDArray, amplitude: NDArray) -> tuple[NDArray, NDArray]:
        r"""Posterior mean and variance of :math:`a s` given the amplitude.

        Arguments:
            flux: As for `log_evidence`.
            ivar: As for `log_evidence`.
            amplitude: As for `log_evidence`.

        Returns:
            Mean and variance, each of shape :math:`(B, D)`, in the unit of `flux` (and its square).
        """
        weight, shrink = self._weight(ivar, amplitude)
        residual = flux / amplitude[:, None] - self.mean
        matrix = self._precision(weight)
        smooth = self._factors(matrix, weight * residual) @ self.factor.T
        mean = self.mean + smooth + (1.0 - shrink) * (residual - smooth)
        i, j = np.triu_indices(self.rank)
        packed = np.linalg.inv(matrix)[:, i, j] * np.where(i == j, 1.0, 2.0)
        spread = np.maximum(packed @ self._outer.T, 0.0)
        variance = shrink**2 * spread + self.psi * shrink
        return mean * amplitude[:, None], variance * (amplitude**2)[:, None]

    def match_amplitude(self, flux: NDArray, ivar: NDArray, amplitude: NDArray) -> tuple[NDArray, NDArray]:
        r"""Generalised least squares for the amplitude of the mean spectrum, its covariance taken at `amplitude`.

        .. math:: \hat a = \frac{\mu^T C^{-1} y}{\mu^T C^{-1} \mu}, \qquad C = a^2 (W W^T + \psi) + 1/h

        Arguments:
            flux: As for `log_evidence`.
            ivar: As for `log_evidence`.
            amplitude: As for `log_evidence`.

        Returns:
            :math:`\hat a` and its standard error, each of shape :math:`(B,)`, in the unit of `flux`.
        """
        weight, _ = self._weight(ivar, amplitude)
        matched = weight * self.mean
        matched -= weight * (self._factors(self._precision(weight), matched) @ self.factor.T)
        information = np.maximum(matched @ self.mean, np.finfo(float).tiny)
        return np.einsum("bd,bd->b", matched, flux) / information, amplitude / np.sqrt(information)
