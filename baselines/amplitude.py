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

__all__ = ["Nodes", "climb", "known_amplitude", "refine", "scale_of_data", "start"]

LOG_AMPLITUDE_SD = 1.0  # tau: a factor of e either way


@dataclass(frozen=True, eq=False)
class Nodes:
    r"""Amplitudes and their weights, for each spectrum of a batch.

    Arguments:
        log_amplitude: :math:`\ln a`, shape :math:`(B, Q)`, ascending.
        log_weight: Log of quadrature weight times prior times likelihood, shape :math:`(B, Q)`.
    """

    log_amplitude: NDArray
    log_weight: NDArray

    @property
    def log_evidence(self) -> NDArray:
        r""":math:`\ln p(y)`, shape :math:`(B,)`."""
        return logsumexp(self.log_weight, axis=1)

    def moments(self) -> tuple[NDArray, NDArray]:
        r"""Posterior mean and standard deviation of :math:`\ln a`, each of shape :math:`(B,)`."""
        weight = np.exp(self.log_weight - self.log_evidence[:, None])
        location = (weight * self.log_amplitude).sum(1)
        return location, np.sqrt((weight * (self.log_amplitude - location[:, None]) ** 2).sum(1))

    def peak(self) -> tuple[NDArray, NDArray, NDArray]:
        r"""Laplace's approximation, from the parabola through three nodes.

        Returns:
            Mode and standard deviation of :math:`\ln a`, and the log evidence, each of shape :math:`(B,)`.
        """
        node, weight = np.polynomial.hermite.hermgauss(3)
        low, middle, high = (self.log_weight - np.log(weight) - node**2).T
        spacing = self.log_amplitude[:, 1] - self.log_amplitude[:, 0]
        width = spacing / np.sqrt(3)  # for which the nodes were made
        slope, bend = (high - low) / (2 * spacing), (high - 2 * middle + low) / spacing**2
        concave = bend * width**2 < -1 / 16
        bend = np.where(concave, bend, -1 / (16 * width**2))
        reach = np.maximum(3 * width, 0.5)  # ln p(y | a) is smooth over a factor of 1.6 in a, narrow as its peak may be
        step = np.clip(-slope / bend, -reach, reach)
        scale = np.clip(1 / np.sqrt(-bend), 0.2 * width, 4 * width)
        height = middle + slope * step + bend * step**2 / 2 + np.log(np.sqrt(np.pi) * scale / width)
        return self.log_amplitude[:, 1] + step, scale, height

    def settled(self) -> NDArray:
        """Whether three nodes are where, and as wide as, their own parabola says; shape :math:`(B,)`."""
        location, scale, _ = self.peak()
        ratio = scale / (self.log_amplitude[:, 1] - self.log_amplitude[:, 0]) * np.sqrt(3)
        return (np.abs(location - self.log_amplitude[:, 1]) < 0.2 * scale) & (np.abs(np.log(ratio)) < 0.2)


NARROWEST = 0.005  # in ln a; the moments of nodes of which one has all the weight say zero


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
    return Nodes(np.zeros((one.size, 1)), prior.log_evidence(flux, ivar, one)[:, None])


def start(prior: LowRankGaussian, flux: NDArray, ivar: NDArray) -> Nodes:
    """Three nodes about the least-squares amplitude of the prior's mean spectrum.

    Arguments:
        prior: The spectra.
        flux: Data in units of :math:`a_0`, shape :math:`(B, D)`.
        ivar: Their inverse variances, same shape.

    Returns:
        Nodes of shape :math:`(B, 3)`.
    """
    estimate, error = prior.match_amplitude(flux, ivar, np.ones(flux.shape[0]))
    limit = np.exp(3 * LOG_AMPLITUDE_SD)
    amplitude = np.clip(_positive(estimate, error), 1 / limit, limit)
    precision = (amplitude / error) ** 2 + LOG_AMPLITUDE_SD**-2
    return _quadrature(prior, flux, ivar, np.log(amplitude), 1 / np.sqrt(precision), 3)


def climb(prior: LowRankGaussian, flux: NDArray, ivar: NDArray, nodes: Nodes) -> Nodes:
    """Three nodes about the peak that three nodes point to: Newton's method."""
    location, scale, _ = nodes.peak()
    return _quadrature(prior, flux, ivar, location, scale, 3)


def refine(prior: LowRankGaussian, flux: NDArray, ivar: NDArray, nodes: Nodes, size: int) -> Nodes:
    """Nodes about the posterior mean that `nodes` found, and as wide as the posterior that they found."""
    location, scale = nodes.moments()
    return _quadrature(prior, flux, ivar, location, np.maximum(scale, NARROWEST), size)


def _quadrature(
    prior: LowRankGaussian, flux: NDArray, ivar: NDArray, location: NDArray, scale: NDArray, size: int
) -> Nodes:
    node, weight = np.polynomial.hermite.hermgauss(size)
    log_amplitude = location[:, None] + np.sqrt(2) * scale[:, None] * node
    log_f = np.stack([prior.log_evidence(flux, ivar, np.exp(column)) for column in log_amplitude.T], axis=1)
    log_f -= 0.5 * ((log_amplitude / LOG_AMPLITUDE_SD) ** 2 + LN_2PI) + np.log(LOG_AMPLITUDE_SD)
    return Nodes(log_amplitude, log_f + np.log(weight) + node**2 + np.log(np.sqrt(2) * scale)[:, None])
