r"""Is a spectrum one that the model can make at all? A p-value from its residuals, its latents, and its lack of features.

*Residuals.* In blocks of pixels the stacked residuals of `stack.py` give a mean :math:`r_b` of variance
:math:`\sigma_b^2 + v_b`: :math:`\sigma_b^2` by the noise model, times what the exposures scatter about their own mean in
the blocks around, and

.. math:: v_b = \overline{\tau_C^2} + \kappa^2 \overline{s^2},

what the generator is known to miss and what real stars differ by from any library. A smooth trend over the blocks is taken
out, and the statistic is the median of what is left, squared, over that of :math:`\chi^2_1`: an unknown star is wrong nearly
everywhere, while a line or a few bad pixels are wrong in some blocks.

*Latents.* The distance from the class, in the metric of the prior,

.. math:: d^2 = (z - \bar z_C)^\top \Sigma_C^{-1} (z - \bar z_C) + |u|^2 + |f|^2 .

*Features.* Every star has lines or bands, which a lamp has not, while latents and factors together make a spectrum nearly
without. So the fitted star s is compared with the best smooth curve c, a polynomial of eleven coefficients: by twice the gain
of the star in log-likelihood :math:`\Delta`, expanded about s with the score b and the information M of `stack.py`,

.. math:: t = \frac{1}{1 + \max(\Delta, 0)}, \qquad \Delta = -2\, b^\top (c - s) + (c - s)^\top M\, (c - s) .

How each is distributed over ordinary stars depends on how much the data say, that is on the noise's median share
:math:`\phi` in :math:`\sigma_b^2 + v_b`. So it is compared with its distribution, given :math:`\phi`, over held-out
spectra with real noise (`Null`). Fisher's method joins the p-values of residuals and latents, which a strange star raises
together; a lack of features, which nothing else shows, is one more chance to be strange, of weight w = 0.2:

.. math:: p = 1 - \max\big( (1 - p_\text{star})^{1/(1-w)},\; (1 - p_\text{featureless})^{1/w} \big), \qquad
          p_\text{star} = q\,(1 - \ln q), \quad q = p_\text{residual}\; p_\text{latent} ,

which is uniform if the two are independent.

References:
    Fisher (1932), Statistical Methods for Research Workers, section 21.1.
    Šidák (1967), J. American Statistical Association 62, 626.
"""

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ..model.data import Data
from ..model.joint import SpectrumModel
from ..model.linearization import Linearization
from ..model.nuisance import chebyshev
from .banded import lower, upper
from .newton import Fit
from .stack import weigh

__all__ = ["MISFIT", "SUPPORT_LEVEL", "Null", "Surprise", "Tail", "null_of", "surprise"]

SUPPORT_LEVEL = 0.005  # of the p-value
BLOCK = 16  # pixels
MISFIT = 0.01  # kappa
BESIDE = 3  # blocks either side that the exposures' scatter is taken from
PRIOR = 4.0  # degrees of freedom that speak for the noise model in that scatter
TREND = 6  # order of the polynomial over the blocks, where there are ten blocks for each
SMOOTH = 10  # order of the smooth curve that a star is compared with
MEDIAN = 0.4549364  # of chi-squared with one degree of freedom
PROBABILITIES = (0.99, 0.9, 0.7, 0.5, 0.3, 0.2, 0.1, 0.05, 0.02, 0.01)  # of a tail's table
GROUPS = 6
PLAIN = 0.2  # weight of the lack of features
STATISTICS = ("residual", "latent", "featureless")


@dataclass(frozen=True)
class Surprise:
    """What a p-value is made of.

    Arguments:
        residual: Statistic of the residuals; about 1 or less for ordinary stars.
        latent: Squared distance of latents, factors and foreground from the class.
        featureless: From 0, where the data need a star's lines, to 1, where a smooth curve describes them as well.
        noise_share: Share of the noise in the blocks' variance, from 0 (bright) to 1 (faint).
    """

    residual: float
    latent: float
    featureless: float
    noise_share: float


@torch.no_grad()
def surprise(model: SpectrumModel, data: Data, fit: Fit, local: Linearization) -> Surprise:
    """The statistics of one spectrum.

    Arguments:
        model: The joint density.
        data: One row.
        fit: The mode; one row.
        local: The noise's linearization at the residuals there.
    """
    star = model.star(fit.at)[0].double()
    tau = model.discrepancy[fit.at.label[0]].to(star)
    variance = _blocks(tau.square() + (MISFIT * star).square()) / _blocks(torch.ones_like(tau))
    gain = model.gain(data, fit.at.amplitude, fit.at.calibration).expand_as(data.flux)
    score, bands = weigh(local, gain)
    plain = _featureless(star, score.sum(1), [band.sum(1) for band in bands])
    information, score = _information([band[0] for band in bands]), _blocks(score[0])
    total = information.sum(0)
    known = total > 1e-6 * total.max()
    if not known.any():  # no pixel counts
        return Surprise(0.0, _distance(model, fit), 0.0, 1.0)
    information, score, total, variance = information[:, known], score[:, known], total[known], variance[known]
    mean = score.sum(0) / total
    noise = _scatter(score, information, mean) / total
    z = _without_trend(mean, 1 / (noise + variance))
    share = float((noise / (noise + variance)).median())
    return Surprise(float(z.square().median()) / MEDIAN, _distance(model, fit), plain, share)


def _featureless(star: Tensor, score: Tensor, diagonals: list[Tensor]) -> float:
    """How well a smooth curve does in place of the star (D,), from the stacked score (1, D) and information (1, D) each."""
    rows = torch.cat([chebyshev(len(star), SMOOTH, star), star.unsqueeze(0)])
    weighed = lower(diagonals, rows) + upper(diagonals, rows)
    normal, own = weighed @ rows.mT, (score @ rows.mT)[0]
    right = own[:-1] + normal[:-1, -1]  # of the curve's coefficients
    ridge = (1e-12 * normal.diagonal()[:-1].max()).clamp_min(1e-30)  # where the grid is observed in part only
    curve = torch.linalg.solve(normal[:-1, :-1] + ridge * torch.eye(len(right)).to(normal), right)
    gained = 2 * own[-1] + normal[-1, -1] - right @ curve
    return 1 / (1 + max(float(gained), 0.0))


def _blocks(values: Tensor) -> Tensor:
    """Sums over blocks of pixels: (..., D) to (..., blocks)."""
    short = -values.shape[-1] % BLOCK
    return torch.nn.functional.pad(values, (0, short)).unflatten(-1, (-1, BLOCK)).sum(-1)


def _information(bands: list[Tensor]) -> Tensor:
    """What each exposure says of the mean of each block, (E, blocks), from the diagonals of its information."""
    place = torch.arange(bands[0].shape[-1], device=bands[0].device) % BLOCK
    inside = [(1 if j == 0 else 2) * (place >= j) * band for j, band in enumerate(bands)]
    return _blocks(sum(inside)).clamp_min(0.0)


def _scatter(score: Tensor, information: Tensor, mean: Tensor) -> Tensor:
    """Variance of the exposures' block means about their own mean, over the noise model's, (blocks,)."""
    seen = information > 1e-6 * information.max()
    square = torch.where(seen, (score - information * mean).square() / information.clamp_min(1e-30), 0.0).sum(0)
    freedom = (seen.sum(0) - 1).clamp_min(0).to(square)
    kernel = square.new_ones(1, 1, 2 * BESIDE + 1)
    around = torch.nn.functional.conv1d(torch.stack([square, freedom])[:, None], kernel, padding=BESIDE)[:, 0]
    return (around[0] + PRIOR) / (around[1] + PRIOR)


def _without_trend(mean: Tensor, weight: Tensor) -> Tensor:
    """Block means in units of their standard deviation, without a weighted polynomial, (blocks,)."""
    z, order = mean * weight.sqrt(), min(TREND, len(mean) // 10)
    if order == 0:
        return z
    basis = torch.linalg.qr((chebyshev(len(mean), order, mean) * weight.sqrt()).mT).Q
    left = (1 - basis.square().sum(1)).clamp_min(0.1)
    return (z - basis @ (basis.mT @ z)) / left.sqrt()


def _distance(model: SpectrumModel, fit: Fit) -> float:
    label, z = int(fit.at.label[0]), fit.at.z[0].double()
    away = z - model.latent_prior.latents(label).double().mean(0)
    metric = away @ torch.linalg.solve(model.latent_prior.covariance(label).double(), away)
    return float(metric + fit.at.detail.double().square().sum() + fit.at.foreground.double().square().sum())


@dataclass(frozen=True)
class Tail:
    """How the logarithm of a statistic is distributed, given the noise's share.

    Arguments:
        share: Knots of the share, ascending.
        median: Of the logarithm at each knot.
        width: Its 84th percentile less the median at each knot.
        table: Standardised values with the probabilities `PROBABILITIES` to be exceeded.
    """

    share: tuple[float, ...]
    median: tuple[float, ...]
    width: tuple[float, ...]
    table: tuple[float, ...]

    @classmethod
    def fit(cls, share: NDArray, statistic: NDArray) -> "Tail":
        """The tail of statistics (N,) with shares (N,) of ordinary spectra, in groups of equal size."""
        order = np.argsort(share, kind="stable")
        groups = [group for group in np.array_split(order, GROUPS) if len(group)]
        values = np.log(np.maximum(statistic, 1e-12))
        knots = np.array([np.median(share[group]) for group in groups])
        middle, high = np.array([np.percentile(values[group], [50, 84]) for group in groups]).T
        plain = [tuple(np.round(row, 4).tolist()) for row in (knots, middle, np.maximum(high - middle, 1e-3))]
        standard = cls(*plain, ()).standardise(share, statistic)
        return cls(*plain, tuple(np.round(np.quantile(standard, 1 - np.array(PROBABILITIES)), 4).tolist()))

    def standardise(self, share: NDArray, statistic: NDArray) -> NDArray:
        """Statistics as widths above the median for their share."""
        middle, width = (np.interp(share, self.share, row) for row in (self.median, self.width))
        return (np.log(np.maximum(statistic, 1e-12)) - middle) / width

    def p_value(self, share: float, statistic: float) -> float:
        """Probability that an ordinary spectrum exceeds the statistic; beyond the table it falls exponentially."""
        value, log = float(self.standardise(share, statistic)), np.log(PROBABILITIES)
        if value > self.table[-1]:
            slope = (log[-1] - log[-4]) / max(self.table[-1] - self.table[-4], 1e-3)  # from 10 to 1 %
            return float(np.exp(max(log[-1] + slope * (value - self.table[-1]), -700.0)))
        return float(np.exp(np.interp(value, self.table, log, left=0.0)))


@dataclass(frozen=True)
class Null:
    """How surprising ordinary spectra are: the tail of each statistic, by its name in `Surprise`."""

    tails: Mapping[str, Tail]

    @classmethod
    def fit(cls, found: list[Surprise]) -> "Null":
        """From the statistics of ordinary spectra of all signal-to-noise ratios."""
        share = np.array([s.noise_share for s in found])
        return cls({key: Tail.fit(share, np.array([getattr(s, key) for s in found])) for key in STATISTICS})

    @classmethod
    def from_card(cls, card: Mapping[str, Mapping]) -> "Null":
        """The inverse of `to_card`; what a card lacks, as those of older models do, does not count."""
        return cls({key: Tail(**{k: tuple(v) for k, v in tail.items()}) for key, tail in card.items()})

    def to_card(self) -> dict:
        """As plain numbers, for a model's card."""
        return {key: asdict(tail) for key, tail in self.tails.items()}

    def p_value(self, found: Surprise) -> float:
        """Probability that an ordinary spectrum is as surprising."""
        each = {key: tail.p_value(found.noise_share, getattr(found, key)) for key, tail in self.tails.items()}
        log = math.log(max(each["residual"] * each["latent"], 1e-300))
        star = math.exp(log) * (1 - log)
        if "featureless" not in each:
            return star
        return min(_one_of(star, 1 - PLAIN), _one_of(each["featureless"], PLAIN))


def _one_of(p: float, weight: float) -> float:
    """What a p-value becomes that is one of several, with a share of the chances."""
    return -math.expm1(math.log1p(-min(p, 1 - 1e-15)) / weight)


def null_of(model: SpectrumModel) -> Null:
    """A model's own null if its card has one, else that of the shipped model."""
    return Null.from_card(model.card["support"]) if "support" in model.card else SHIPPED


# The shipped model's, from `python -m baselines support --library library.npz --noise spec-1079-52621-0509.fits
# --noise spec-7332-56683-0788.fits`.
_SHARE = (0.0769, 0.2259, 0.7263, 0.9381, 0.9841, 0.9967)
SHIPPED = Null(
    {
        "residual": Tail(
            share=_SHARE,
            median=(-1.0425, -0.5487, -0.1555, 0.0461, 0.0215, 0.0554),
            width=(0.4016, 0.2839, 0.1901, 0.3177, 0.1456, 0.1749),
            table=(-4.1966, -1.5618, -0.6266, -0.0584, 0.4382, 0.7482, 1.3737, 1.742, 2.1758, 2.3573),
        ),
        "latent": Tail(
            share=_SHARE,
            median=(3.3444, 2.7094, 2.1889, 2.0206, 1.8541, 1.8235),
            width=(0.6284, 0.6753, 0.7612, 0.6205, 0.5055, 0.5261),
            table=(-1.7415, -1.0471, -0.373, 0.0167, 0.5215, 0.8611, 1.2826, 1.7464, 2.1443, 2.5138),
        ),
        "featureless": Tail(
            share=_SHARE,
            median=(-10.6838, -8.6645, -6.8982, -5.0275, -3.5157, 0.0),
            width=(1.8011, 1.4597, 1.3768, 2.3958, 3.5157, 0.001),
            table=(-3372.4815, -2.7799, -0.7059, -0.1416, 0.3568, 0.8319, 0.9998, 1.4442, 1.7267, 2.0659),
        ),
    }
)
