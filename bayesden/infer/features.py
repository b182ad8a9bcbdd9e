r"""Lines that the model lacks: a matched filter over the stacked residuals, and what its largest values are worth.

Gaussian profiles t of some widths, from unresolved to 1500 km/s, are put at every pixel. The score test of `stack.py` gives
each an amplitude :math:`\hat a = U / I`. Its variance is that of the noise, :math:`1 / I`, plus that of the model's own
discrepancy at the line,

.. math:: v = \gamma_w^2 e^{2a} \overline{\tau_C^2} + \kappa^2 \overline{f^2}
    + \kappa_1^2 \overline{f'^2} + \kappa_2^2 \overline{f''^2},

averaged over the profile, as if it were the same all over a line: :math:`\tau_C` is what the generator is known to miss; the
share :math:`\kappa` of the flux f is what real stars and calibrations differ by from any library; a wavelength solution may be
off by the fraction :math:`\kappa_1` of a pixel, and a resolution by the like share. :math:`\tau_C` is a mean over
the stars of a class, of which most are made better and some much worse; how well this one is, the residuals themselves say. At
each width w the scale :math:`\gamma_w` is such that the median of :math:`\hat a^2 / (1/I + v)` over all pixels is that of
:math:`\chi^2_1`: lines are few and do not move it.

The highest peaks are then refitted under the full noise model, all at once: with heavy tails the score of a line is weighed
down as if it were outliers, while the ratio of likelihoods at :math:`\hat a` asks whether all pixels and exposures agree,

.. math:: z^2 = \frac{I_0}{I}\, 2 \sum_e \big[\log p(\epsilon_e - \hat a\, t) - \log p(\epsilon_e)\big],
          \qquad \text{significance} = \frac{|\hat a|}{\sqrt{\hat a^2 / z^2 + v}},

with :math:`I_0 = t^\top M t`. A peak that the other exposures do not support as they should, if one is left out, is no line.

The p-value says how often noise alone has a peak as high anywhere, at any width: the expected Euler characteristic of the
excursion set of a Gaussian random field over position and scale (`trials`).

References:
    Siegmund & Worsley (1995), Annals of Statistics 23, 608.
    Rao (1948), Proceedings of the Cambridge Philosophical Society 44, 50.
"""

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from ..model.data import Data
from ..model.joint import SpectrumModel
from ..model.linearization import Linearization
from ..posterior import Feature
from .line_table import LIGHT_KMS, identify
from .newton import Fit
from .stack import Stack, monotone, pixel_profile, slide, weigh

__all__ = ["FEATURE_LEVEL", "Peaks", "bank", "find_features", "trials"]

FEATURE_LEVEL = 0.002  # of the p-value
NARROWEST = 0.65  # standard deviation in pixels: unresolved
STEP = 1.6  # between widths
WIDEST_KMS = 1500.0  # full width at half maximum
FWHM = 2.0 * math.sqrt(2.0 * math.log(2.0))
CANDIDATES = 6
STEPS = 3  # of the refit
OWN = 0.1  # share of a profile's information that the parameters must leave
SEEN, INSIDE = 0.7, 0.95  # shares of a profile's pixels, by weight, that must be observed and off the grid's ends
FLUX, SHIFT, BLUR = 0.003, 0.05, 0.05  # kappa, kappa_1, kappa_2
BEST, WORST = 0.3, 5.0  # of gamma: the bulk of the pixels says little of a few places that the class is made badly at
MEDIAN = 0.4549364  # of chi-squared with one degree of freedom
ENDS_KMS = 4000.0  # of the grid, not searched: what the model makes there comes from cells that few templates reach
BESIDE = 20  # pixels either side of a line whose median flux is the continuum
AGREE = 3.0  # standard deviations by which the other exposures may miss a line


def bank(wavelength: Tensor) -> Tensor:
    """Standard deviations of the profiles in pixels, shape (W,), from unresolved to `WIDEST_KMS` where that is most pixels."""
    widest = float((WIDEST_KMS / FWHM / _pixel_kms(wavelength)).max())
    count = 1 + max(0, math.floor(math.log(widest / NARROWEST) / math.log(STEP)))
    return NARROWEST * STEP ** torch.arange(count, dtype=wavelength.dtype, device=wavelength.device)


def _pixel_kms(wavelength: Tensor) -> Tensor:
    return LIGHT_KMS * torch.gradient(wavelength)[0] / wavelength


def trials(level: Tensor, sds: Tensor, pixels: Tensor) -> Tensor:
    r"""Probability that white noise has a peak of either sign above a level, anywhere and at any width.

    .. math:: E(u) = 2 \Big[\int\! dh\, \frac{n(w)}{2 w} \frac{u\, e^{-u^2/2}}{(2\pi)^{3/2}}
              + \frac{n(w_1)/w_1 + n(w_W)/w_W}{2 \sqrt 2} \frac{e^{-u^2/2}}{2\pi} + \Phi(-u)\Big],
              \qquad p = 1 - e^{-E},

    with :math:`h = \ln w`: normalised Gaussian filters have the metric :math:`dx^2 / 2w^2 + dh^2 / 2`.

    Arguments:
        level: u, any shape.
        sds: w, in pixels, ascending, shape :math:`(W,)`.
        pixels: n, pixels searched at each width, shape :math:`(W,)`.
    """
    density = pixels / (2 * sds)
    surface = torch.trapezoid(density, sds.log()) if len(sds) > 1 else density.new_zeros(())
    edge = (density[0] + density[-1]) / math.sqrt(2.0)
    fall = torch.exp(-0.5 * level.square())
    expected = surface * level * fall / (2 * math.pi) ** 1.5 + edge * fall / (2 * math.pi) + torch.special.ndtr(-level)
    return -torch.expm1(-2 * expected)


@dataclass(frozen=True, eq=False)
class Peaks:
    """The highest peaks of the scan of one spectrum, refitted.

    Arguments:
        width: Index of the width, shape :math:`(C,)`.
        centre: Pixel, shape :math:`(C,)`.
        amplitude: Height of the line in units of the star, shape :math:`(C,)`; negative in absorption.
        sd: Its standard deviation, shape :math:`(C,)`.
        agree: Whether the exposures agree, shape :math:`(C,)`.
    """

    width: Tensor
    centre: Tensor
    amplitude: Tensor
    sd: Tensor
    agree: Tensor


@torch.no_grad()
def find_features(
    model: SpectrumModel, data: Data, fit: Fit, local: Linearization, mean: Tensor
) -> tuple[Feature, ...]:
    """Lines of one spectrum that the fitted model lacks, the most significant first.

    Arguments:
        model: The joint density.
        data: One row.
        fit: The mode; one row.
        local: The noise's linearization at the residuals there.
        mean: What the model expects of each exposure, shape (1, E, D).
    """
    stack = Stack.of(model, data, fit, monotone(local))
    wavelength = torch.from_numpy(model.grid.wavelength.copy()).to(stack.score)
    sds = bank(wavelength)
    profiles = [pixel_profile(float(sd), stack.score) for sd in sds]
    score, information, own, allowed = _scan(stack, profiles, sds, wavelength)
    missed, differing = _discrepancy(stack.star, model.discrepancy[fit.at.label[0]], profiles)
    scale = _own_scale(score.square() / information.clamp_min(1e-30), information, missed, differing, allowed)
    variance = scale * missed + differing
    z = score / (information + information.square() * variance).clamp_min(1e-30).sqrt()
    width, centre = _highest(torch.where(allowed, z.abs(), 0.0), profiles, model)
    if not len(width):
        return ()
    at = (width, centre)
    absorbed = information[at] / own[at]
    lines = _place([profiles[w] for w in width.tolist()], centre, score.shape[1])
    start = score[at] / own[at]
    z, amplitude, agree = _refit(model, data, fit, local, mean, lines, start, absorbed)
    peaks = Peaks(width, centre, amplitude, ((amplitude / z).square() + variance[at]).sqrt(), agree)
    significance = peaks.amplitude.abs() / peaks.sd
    p = trials(significance, sds, allowed.sum(1).to(sds))
    kept = torch.nonzero(peaks.agree & (p <= FEATURE_LEVEL)).flatten().tolist()
    found = [_describe(model, fit, peaks, profiles, sds, wavelength, float(p[i]), i) for i in kept]
    return tuple(sorted(found, key=lambda feature: -feature.significance))


def _scan(
    stack: Stack, profiles: list[Tensor], sds: Tensor, wavelength: Tensor
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Score, information, information before absorption, and whether a line may be there; each (W, D)."""
    rows = [stack.scan(profile) for profile in profiles]
    score, information, own = (torch.stack(row) for row in zip(*rows, strict=True))
    first, last = wavelength[0] * (1 + ENDS_KMS / LIGHT_KMS), wavelength[-1] * (1 - ENDS_KMS / LIGHT_KMS)
    inside = ((wavelength > first) & (wavelength < last)).to(score)
    observed = inside * (stack.diagonals[0] > 0)
    seen = torch.stack([slide(observed, p.square()) / p.square().sum() for p in profiles])
    inside = torch.stack([slide(inside, p.square()) / p.square().sum() for p in profiles])
    narrow = FWHM * sds[:, None] * _pixel_kms(wavelength) <= WIDEST_KMS * math.sqrt(STEP)
    narrow[0] = True
    return score, information, own, (seen >= SEEN) & (inside >= INSIDE) & narrow & (information > OWN * own)


def _discrepancy(star: Tensor, tau: Tensor, profiles: list[Tensor]) -> tuple[Tensor, Tensor]:
    """Variance of a line's height in units of the star: what the model is known to miss, and what stars differ by; (W, D)."""
    slope, curvature = torch.gradient(star)[0], torch.nn.functional.pad(star.diff(n=2), (1, 1))
    differing = (FLUX * star).square() + (SHIFT * slope).square() + (BLUR * curvature).square()
    each = torch.stack([tau.to(star).square(), differing])
    return tuple(torch.stack([slide(each, p.square()) / p.square().sum() for p in profiles], 1))


def _own_scale(square: Tensor, information: Tensor, missed: Tensor, differing: Tensor, allowed: Tensor) -> Tensor:
    r"""How much of what its class is known to miss a star lacks, :math:`\gamma_w^2` of shape (W, 1), by bisection.

    Arguments:
        square: The squares :math:`\hat a^2 I`, shape (W, D), as all others.
        information: I.
        missed, differing: The two parts of a height's variance.
        allowed: Where a line may be.
    """
    low, high = (information.new_full((len(square), 1), end**2) for end in (BEST, WORST))
    for _ in range(16):
        middle = (low + high) / 2
        ratio = square / (1 + information * (middle * missed + differing))
        over = torch.where(allowed, ratio, torch.nan).nanmedian(1, keepdim=True).values > MEDIAN
        low, high = torch.where(over, middle, low), torch.where(over, high, middle)
    return high


def _highest(z: Tensor, profiles: list[Tensor], model: SpectrumModel) -> tuple[Tensor, Tensor]:
    """Widths and centres of the highest peaks, no two of which share a pixel."""
    z, window = z.clone(), getattr(model.noise, "window", 0)
    half = torch.tensor([len(p) // 2 for p in profiles], device=z.device)
    pixel = torch.arange(z.shape[1], device=z.device)
    chosen = []
    for _ in range(CANDIDATES):
        width, centre = divmod(int(z.argmax()), z.shape[1])
        if z[width, centre] <= 0:
            break
        chosen.append((width, centre))
        reach = half[:, None] + half[width] + window
        z[(pixel - centre).abs() <= reach] = 0.0
    index = torch.tensor(chosen, dtype=torch.long, device=z.device).reshape(-1, 2)
    return index[:, 0], index[:, 1]


def _place(profiles: list[Tensor], centre: Tensor, size: int) -> Tensor:
    """Profiles on all pixels, (C, D)."""
    lines = profiles[0].new_zeros(len(profiles), size)
    for row, (profile, middle) in enumerate(zip(profiles, centre.tolist(), strict=True)):
        half = len(profile) // 2
        first, last = max(0, middle - half), min(size, middle + half + 1)
        lines[row, first:last] = profile[first - middle + half : last - middle + half]
    return lines


def _refit(
    model: SpectrumModel,
    data: Data,
    fit: Fit,
    local: Linearization,
    mean: Tensor,
    lines: Tensor,
    height: Tensor,
    absorbed: Tensor,
) -> tuple[Tensor, Tensor, Tensor]:
    """Noise's z, height and whether the exposures agree, each (C,), of disjoint lines (C, D) under the full noise model."""
    gain = model.gain(data, fit.at.amplitude, fit.at.calibration).expand_as(data.flux)
    for step in range(STEPS):
        change = gain.double() * (height.unsqueeze(0) @ lines)
        now = model.noise.linearize(data.flux - mean - change.to(mean), data.ivar, data.mask, data.context)
        score, diagonals = weigh(now, gain)
        each = _quadratic(diagonals, lines)  # (E, C)
        if step < STEPS - 1:
            height = height + (lines @ score[0].sum(0)) / each.sum(0).clamp_min(1e-30)
    window = _reach(lines, getattr(model.noise, "window", 0))
    gained = 2 * (now.log_prob - local.log_prob)[0].double() @ window.mT  # (E, C)
    z = gained.sum(0).clamp_min(0.0).sqrt()
    share = each / each.sum(0).clamp_min(1e-30)
    return z / absorbed.sqrt(), height / absorbed, _agree(gained, z, share)


def _agree(gained: Tensor, z: Tensor, share: Tensor) -> Tensor:
    """Whether the other exposures' own z, if any one is left out, is what their share of the information lets expect."""
    left = (1 - share).clamp(1e-6, 1.0)
    others = (gained.sum(0) - gained + left * z.square()) / (2 * left.sqrt() * z.clamp_min(1e-6))
    agrees = others >= left.sqrt() * z - AGREE * share.sqrt()
    return (agrees | (share < 1e-9)).all(0) | (len(share) == 1)  # what saw nothing of a line does not speak


def _quadratic(diagonals: list[Tensor], lines: Tensor) -> Tensor:
    """Information of each exposure about each line, (E, C)."""
    total = diagonals[0][0] @ lines.square().mT
    for j, diagonal in enumerate(diagonals[1:], 1):
        total = total + 2 * diagonal[0][:, j:] @ (lines[:, j:] * lines[:, :-j]).mT
    return total


def _reach(lines: Tensor, window: int) -> Tensor:
    """Pixels whose noise density a line may change, (C, D): its own and the next K."""
    own = torch.nn.functional.pad((lines > 0).to(lines), (window, 0))
    return own.unfold(1, window + 1, 1).amax(-1)


def _describe(
    model: SpectrumModel,
    fit: Fit,
    peaks: Peaks,
    profiles: list[Tensor],
    sds: Tensor,
    wavelength: Tensor,
    p: float,
    i: int,
) -> Feature:
    """One peak in the units of an astronomer."""
    width, centre = int(peaks.width[i]), int(peaks.centre[i])
    star = model.star(fit.at)[0].double()
    around = star[max(0, centre - BESIDE) : centre + BESIDE + 1]
    level = torch.maximum(around.abs().median(), 0.02 * star.abs().mean())
    pixel = float(torch.gradient(wavelength)[0][centre])
    area = float(profiles[width].sum() * pixel / level)  # of a line of height 1
    width_kms = float(FWHM * sds[width] * pixel / wavelength[centre] * LIGHT_KMS)
    velocity = float(model.nuisance.velocity_kms(fit.at.foreground)[0]) if model.foreground else 0.0
    near, terrestrial = identify(float(wavelength[centre]), width_kms, velocity)
    height, sd = float(peaks.amplitude[i]), float(peaks.sd[i])
    return Feature(
        wavelength_A=float(wavelength[centre]),
        equivalent_width_A=abs(height) * area,
        sigma_A=sd * area,
        significance=abs(height) / sd,
        p_value=p,
        width_kms=width_kms,
        kind="emission" if height > 0 else "absorption",
        near=near,
        terrestrial=terrestrial,
    )
