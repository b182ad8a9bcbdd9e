r"""Mixture of per-class probabilistic principal components: the posterior of a spectrum in closed form.

.. math:: C \sim \mathrm{Uniform}, \quad s \mid C \sim N(\mu_C, W_C W_C^T + \psi_C), \quad y_e = a s + n_e

Class probabilities follow from the marginal likelihoods; mean and variance are those of the mixture,

.. math:: E[s] = \sum_C p_C m_C, \qquad V[s] = \sum_C p_C \left( V_C + (m_C - E[s])^2 \right),

the variance within the classes plus that between them. All of it is exact for Gaussian noise with the given inverse
variances; only the integral over the amplitude :math:`a` is a quadrature (`amplitude`). With one class it is the
Wiener filter.

References:
    Tipping & Bishop 1999, Neural Computation 11, 443.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import logsumexp

from bayesden.errors import InputError
from bayesden.posterior import Posterior
from bayesden.spectrum import Grid, Observation

from . import amplitude as amp
from .denoiser import Denoiser
from .linear_gaussian import LN_2PI, LowRankGaussian
from .low_rank_fit import Noise, check_library, fit_low_rank
from .point_estimate import check_grid

__all__ = ["Amplitude", "MixturePPCA"]

Amplitude = Literal["unknown", "known"]
MAX_CLIMB = 6  # steps of Newton's method in the log amplitude; one or two is usual
NARROW = 0.03  # standard deviation of the log amplitude
NEGLIGIBLE = -30.0  # log of the weight below which a class or a node is left out


@dataclass(frozen=True, eq=False)
class MixturePPCA(Denoiser):
    """Gaussian priors of low rank, one for each class, each class as probable as the others.

    Arguments:
        priors: One for each class.
        classes: Their names; may be empty if there is one prior.
        grid: The pixels of the priors.
        amplitude: ``unknown`` integrates the amplitude out; ``known`` takes the data to be in the priors' unit.
        method: The name that the results carry.

    `prior_fraction` of its posteriors compares with the prior's standard deviation at the amplitude's posterior; `meta` has
    `log_evidence` (of all exposures), `amplitude`, `amplitude_sigma` (the model's unit in that of the data) and
    `amplitude_known`.

    Raises:
        InputError: if there is no prior, or the numbers of classes or pixels disagree.

    Example:
        >>> prior = LowRankGaussian(np.ones(2), np.ones((2, 1)), np.full(2, 0.1))
        >>> mixture = MixturePPCA((prior, prior), ("A", "B"), Grid([4000.0, 5000.0]))
        >>> post = mixture.denoise(Observation([4000.0, 5000.0], [3.0, 3.0], [9.0, 0.0]))
        >>> round(post.class_prob["A"], 6)
        0.5
    """

    priors: tuple[LowRankGaussian, ...]
    classes: tuple[str, ...]
    grid: Grid
    amplitude: Amplitude = "unknown"
    method: str = "mppca"

    def __post_init__(self) -> None:
        object.__setattr__(self, "priors", tuple(self.priors))
        object.__setattr__(self, "classes", tuple(str(name) for name in self.classes))
        if len(self.priors) != max(len(self.classes), 1):
            raise InputError(f"priors: expected one for each class, got {len(self.priors)} for {len(self.classes)}")
        if any(prior.mean.size != self.grid.size for prior in self.priors):
            sizes = ", ".join(str(prior.mean.size) for prior in self.priors)
            raise InputError(f"priors: expected {self.grid.size} pixels as the grid has, got {sizes}")
        if self.amplitude not in ("unknown", "known"):
            raise InputError(f"amplitude: expected unknown or known, got {self.amplitude}")

    @classmethod
    def fit(
        cls,
        flux: NDArray,
        label: ArrayLike,
        classes: Sequence[str],
        grid: Grid,
        *,
        rank: int | None = None,
        noise: Noise = "isotropic",
        validation: tuple[NDArray, ArrayLike] | None = None,
        amplitude: Amplitude = "unknown",
        seed: int = 0,
    ) -> "MixturePPCA":
        """Fit one prior to the clean spectra of each class.

        Arguments:
            flux: Clean spectra, shape :math:`(N, D)`, mean absolute flux 1.
            label: Index into `classes` of each spectrum, shape :math:`(N,)`.
            classes: Names of the classes; each needs two spectra.
            grid: The pixels.
            rank: See `fit_low_rank`; if None, classes may differ.
            noise: See `fit_low_rank`.
            validation: Flux and label of spectra to choose the ranks by: other stars, where there are some.
            amplitude: See the class.
            seed: See `fit_low_rank`.

        Returns:
            The fitted mixture.

        Raises:
            InputError: if the spectra cannot be used or a class has fewer than two.
        """
        flux, label = check_library(flux, grid), np.asarray(label)
        if label.shape != (len(flux),):
            raise InputError(f"label: expected shape ({len(flux)},), got {label.shape}")
        held_flux, held_label = (None, None) if validation is None else validation
        if held_flux is not None:
            held_flux, held_label = check_library(held_flux, grid, "validation"), np.asarray(held_label)
        priors = []
        for k, name in enumerate(classes):
            if (label == k).sum() < 2:
                raise InputError(f"label: expected at least two spectra of class {name}, got {(label == k).sum()}")
            held = None if held_flux is None else held_flux[held_label == k]
            priors.append(fit_low_rank(flux[label == k], rank=rank, noise=noise, validation=held, seed=seed))
        return cls(tuple(priors), tuple(classes), grid, amplitude)

    def _denoise(self, observations: Sequence[Observation]) -> list[Posterior]:
        for obs in observations:
            check_grid(obs, self.grid, "the model's wavelength grid")
        flux, ivar = (np.stack(part) for part in zip(*(obs.coadd() for obs in observations), strict=True))
        prior_mean, prior_variance = self._prior_moments()
        scale = np.ones(len(flux))
        if self.amplitude == "unknown":
            scale = amp.scale_of_data(flux, ivar, prior_variance + prior_mean**2, prior_mean)
        flux, ivar = flux / scale[:, None], ivar * (scale**2)[:, None]
        nodes = self._nodes(flux, ivar)
        evidence = np.stack([each.log_evidence for each in nodes], axis=1)
        total = logsumexp(evidence, axis=1)
        mean, variance, a, a2 = self._moments(flux, ivar, nodes, total)
        # what the amplitude alone tells about the flux: s ~ prior, a ~ its posterior, independent
        reference = a2[:, None] * prior_variance + np.maximum(a2 - a**2, 0.0)[:, None] * prior_mean**2
        fraction = np.sqrt(np.divide(variance, reference, out=np.ones_like(variance), where=reference > 0))
        return [
            self._posterior(
                obs,
                mean[b] * scale[b],
                np.sqrt(variance[b]) * scale[b],
                fraction[b],
                np.exp(evidence[b] - total[b]),
                {
                    "log_evidence": float(total[b] - (ivar[b] > 0).sum() * np.log(scale[b]) + _scatter_evidence(obs)),
                    "amplitude": float(a[b] * scale[b]),
                    "amplitude_sigma": float(np.sqrt(max(a2[b] - a[b] ** 2, 0.0)) * scale[b]),
                },
            )
            for b, obs in enumerate(observations)
        ]

    def _posterior(
        self,
        obs: Observation,
        flux: NDArray,
        sigma: NDArray,
        fraction: NDArray,
        probability: NDArray,
        meta: dict[str, float],
    ) -> Posterior:
        return Posterior(
            wavelength=obs.wavelength,
            flux=flux,
            sigma=sigma,
            residual_z=np.where(obs.ivar > 0, (obs.flux - flux) * np.sqrt(obs.ivar), np.nan),
            prior_fraction=fraction,
            class_prob=dict(zip(self.classes, probability, strict=True)) if self.classes else {},
            data_flux=obs.flux,
            data_ivar=obs.ivar,
            method=self.method,
            name=obs.name,
            flux_unit=obs.flux_unit,
            meta={**meta, "amplitude_known": self.amplitude == "known"},
        )

    def _prior_moments(self) -> tuple[NDArray, NDArray]:
        # mean and variance (D,) of the flux before any data, classes equally probable
        means = np.stack([prior.mean for prior in self.priors])
        within = np.mean([prior.variance for prior in self.priors], axis=0)
        return means.mean(0), within + means.var(0)

    def _nodes(self, flux: NDArray, ivar: NDArray) -> list[amp.Nodes]:
        if self.amplitude == "known":
            return [amp.known_amplitude(prior, flux, ivar) for prior in self.priors]
        nodes = [amp.start(prior, flux, ivar) for prior in self.priors]
        height = np.stack([each.peak()[2] for each in nodes])
        hope = height + 0.5 * np.abs(height - np.stack([each.log_evidence for each in nodes]))  # extrapolation may err
        possible = hope - height.max(0) > 2 * NEGLIGIBLE
        for prior, rows, k in zip(self.priors, possible, range(len(nodes)), strict=True):
            for _ in range(MAX_CLIMB):
                unsettled = rows & ~nodes[k].settled()
                nodes[k] = _replace(nodes[k], unsettled, 3, partial(amp.climb, prior), flux, ivar)
            # three nodes are enough where the amplitude is known to a few percent: ln p(y | a) is then a parabola
            wide = rows & (nodes[k].peak()[1] > NARROW)
            for size in (7, 9):
                nodes[k] = _replace(nodes[k], wide, size, partial(amp.refine, prior, size=size), flux, ivar)
        return nodes

    def _moments(
        self, flux: NDArray, ivar: NDArray, nodes: list[amp.Nodes], total: NDArray
    ) -> tuple[NDArray, NDArray, NDArray, NDArray]:
        # mean and variance of the flux over classes and nodes, (B, D), updated one at a time so that nothing cancels
        # (West 1979, Comm. ACM 22, 532); then mean and mean square of the amplitude, (B,)
        weight, mean, variance = np.zeros(len(flux)), np.zeros_like(flux), np.zeros_like(flux)
        a, a2 = np.zeros(len(flux)), np.zeros(len(flux))
        for prior, each in zip(self.priors, nodes, strict=True):
            for log_amplitude, log_weight in zip(each.log_amplitude.T, each.log_weight.T, strict=True):
                rows = np.flatnonzero(log_weight - total > NEGLIGIBLE)
                if rows.size == 0:
                    continue
                amplitude, w = np.exp(log_amplitude[rows]), np.exp(log_weight - total)[rows]
                m, v = prior.moments(flux[rows], ivar[rows], amplitude)
                old, weight[rows] = weight[rows], weight[rows] + w
                step = m - mean[rows]
                share = (w / weight[rows])[:, None]
                mean[rows] += share * step
                variance[rows] += share * (v - variance[rows]) + share * (old / weight[rows])[:, None] * step**2
                a[rows] += w * amplitude
                a2[rows] += w * amplitude**2
        return mean, variance, a / weight, a2 / weight


def _replace(
    nodes: amp.Nodes, rows: NDArray, size: int, better: Callable[..., amp.Nodes], flux: NDArray, ivar: NDArray
) -> amp.Nodes:
    # better nodes for some of the rows; the others keep theirs, padded with nodes of no weight
    if not rows.any():
        return nodes
    padding = ((0, 0), (0, max(size - nodes.log_weight.shape[1], 0)))
    log_amplitude = np.pad(nodes.log_amplitude, padding)
    log_weight = np.pad(nodes.log_weight, padding, constant_values=-np.inf)
    new = better(flux[rows], ivar[rows], nodes=amp.Nodes(nodes.log_amplitude[rows], nodes.log_weight[rows]))
    log_amplitude[rows], log_weight[rows] = new.log_amplitude, new.log_weight
    return amp.Nodes(log_amplitude, log_weight)


def _scatter_evidence(obs: Observation) -> float:
    # what the exposures' scatter about their mean adds to the log evidence of the mean: no class enters it
    mean, total = obs.coadd()
    seen, each = total > 0, obs.ivar > 0
    log_norm = np.log(obs.ivar[each]).sum() - np.log(total[seen]).sum() - LN_2PI * (each.sum() - seen.sum())
    return float(0.5 * (log_norm - (obs.ivar * (obs.flux - mean) ** 2).sum()))
