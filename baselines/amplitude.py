r"""The amplitude of a spectrum is not known: it is a parameter, and is integrated out.

Given the amplitude :math:`a` everything is Gaussian (`linear_gaussian`). Its prior is log-normal,
:math:`\ln (a / a_0) \sim N(0, \tau^2)`, with :math:`\tau = 1` and with :math:`a_0` the scale of the data, the same for
all classes, so that their evidences can be compared. The one integral that is left,

.. math:: p(y) = \int p(y \mid a)\, p(\ln a)\, d \ln a ,

is done by Gauss-Hermite quadrature whose nodes follow the posterior mean and standard deviation of :math:`\ln a`.
As :math:`a_0` is proportional to the data, so is every result: a change of the flux unit changes nothing else.

References:
    Naylor & Smith 1982, Applied Statistics 31, 214.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import logsumexp

from .linear_gaussian import LN_2PI, LowRankGaussian

__all__ = ["Nodes", "known_amplitude", "refine", "scale_of_data", "start"]

LOG_AMPLITUDE_SD = 1.0  # tau: a factor of e either way


@dataclass(frozen=True, eq=False)
class Nodes:
    r"""Amplitudes and their weights, for each spectrum of a batch.

    Arguments:
        log_amplitude: :math:`\ln a`, shape :math:`(B, Q)`.
        log_weight: Log of quadrature weight times prior times likelihood, shape :math:`(B, Q)`.
        scale: The standard deviation of :math:`\ln a` that they were made for, shape :math:`(B,)`.
    """

    log_amplitude: NDArray
    log_weight: NDArray
    scale: NDArray

    @property
    def log_evidence(self) -> NDArray:
        r""":math:`\ln p(y)`, shape :math:`(B,)`."""
        return logsumexp(self.log_weight, axis=1)

    def location_and_scale(self) -> tuple[NDArray, NDArray]:
        r"""Posterior mean and standard deviation of :math:`\ln a`, each of shape :math:`(B,)`, as far as nodes tell."""
        node = self.log_amplitude
        weight = np.exp(self.log_weight - self.log_evidence[:, None])
        location = (weight * node).sum(1)
        if node.shape[1] == 1:
            return location, self.scale
        scale = np.sqrt((weight * (node - location[:, None]) ** 2).sum(1))
        # a peak between two nodes has no measurable width: shrink step by step; one beyond the last node: widen
        outside = np.abs(location - node.mean(1)) > 0.45 * (node[:, -1] - node[:, 0])
        return location, np.where(outside, 1.7 * self.scale, np.maximum(scale, 0.3 * self.scale))


def _positive(estimate: NDArray, error: NDArray) -> NDArray:
    # the mode in ln a of N(estimate, error) on a > 0: the estimate where it is significant, about the error where not
    root = np.hypot(estimate, 2 * error)
    return np.where(estimate > 0, (root + estimate) / 2, 2 * error**2 / (root + np.abs(estimate)))


def scale_of_data(flux: NDArray, ivar: NDArray, second_moment: NDArray, mean: NDArray) -> NDArray:
    r"""The amplitude :math:`a_0 > 0` about which the prior of the amplitude is centred.

    Arguments:
        flux: Data, shape :math:`(B, D)`.
        ivar: Their inverse variances, same shape; 0 where nothing was measured.
        second_moment: Prior mean of :math:`s_d^2`, shape :math:`(D,)`.
        mean: Prior mean of :math:`s_d`, shape :math:`(D,)`.

    Returns:
        Shape :math:`(B,)`, in the unit of `flux`.
    """
    largest = ivar.max(1)  # relative weights, so that no flux unit can overflow
    relative = ivar / largest[:, None]
    information = relative @ second_moment
    return _positive((relative * flux) @ mean / information, 1 / np.sqrt(largest * information))


def known_amplitude(prior: LowRankGaussian, flux: NDArray, ivar: NDArray) -> Nodes:
    """The single node :math:`a = 1`: the data are in the model's unit."""
    one = np.ones(flux.shape[0])
    return Nodes(np.zeros((one.size, 1)), prior.log_evidence(flux, ivar, one)[:, None], 0 * one)


def start(prior: LowRankGaussian, flux: NDArray, ivar: NDArray, n_match: int = 2) -> Nodes:
    """One node at the least-squares amplitude of the prior's mean spectrum: Laplace's approximation.

    Arguments:
        prior: The spectra.
        flux: Data in units of :math:`a_0`, shape :math:`(B, D)`.
        ivar: Their inverse variances, same shape.
        n_match: Least-squares steps, each with the covariance at the amplitude of the last.

    Returns:
        Nodes of shape :math:`(B, 1)`.
    """
    amplitude = np.ones(flux.shape[0])
    limit = np.exp(3 * LOG_AMPLITUDE_SD)
    for _ in range(n_match):
        estimate, error = prior.match_amplitude(flux, ivar, amplitude)
        amplitude = np.clip(_positive(estimate, error), 1 / limit, limit)
    precision = (amplitude / error) ** 2 + LOG_AMPLITUDE_SD**-2
    return _quadrature(prior, flux, ivar, np.log(amplitude), 1 / np.sqrt(precision), 1)


def refine(prior: LowRankGaussian, flux: NDArray, ivar: NDArray, nodes: Nodes, size: int) -> Nodes:
    """Nodes about the posterior mean that `nodes` found, and as wide as the posterior that they found."""
    return _quadrature(prior, flux, ivar, *nodes.location_and_scale(), size)


def _quadrature(
    prior: LowRankGaussian, flux: NDArray, ivar: NDArray, location: NDArray, scale: NDArray, size: int
) -> Nodes:
    node, weight = np.polynomial.hermite.hermgauss(size)
    log_amplitude = location[:, None] + np.sqrt(2) * scale[:, None] * node
    log_f = np.stack([prior.log_evidence(flux, ivar, np.exp(column)) for column in log_amplitude.T], axis=1)
    log_f -= 0.5 * ((log_amplitude / LOG_AMPLITUDE_SD) ** 2 + LN_2PI) + np.log(LOG_AMPLITUDE_SD)
    return Nodes(log_amplitude, log_f + np.log(weight) + node**2 + np.log(np.sqrt(2) * scale)[:, None], scale)
