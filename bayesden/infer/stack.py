r"""The exposures' residuals about a mode, stacked, and what they say of any template that the model lacks.

Let the star's flux change by :math:`a\,t`. About the mode the noise model gives the score of a and its information,

.. math:: U = t^\top b, \qquad I = t^\top M\, t - c^\top H^{-1} c, \qquad c = T^\top M\, t,

.. math:: b = -\sum_e g_e\, \frac{\partial \log p(\epsilon_e)}{\partial \epsilon_e}, \qquad
          M = \sum_e g_e\, B_e^\top \omega_e B_e\, g_e,

with each exposure's gain g, and the weights :math:`\omega` and the band B of its linearization. M is banded. The second term
is Rao's: T holds the tangents of all fitted parameters and H is their curvature, prior included, so what they can absorb of a
template does not count. For normal noise and linear parameters :math:`U / \sqrt I` is exactly the root of the likelihood
ratio, all parameters refitted, and :math:`U / I` the amplitude.

References:
    Rao (1948), Proceedings of the Cambridge Philosophical Society 44, 50.
"""

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from ..model.data import Data
from ..model.joint import SpectrumModel
from ..model.linearization import Linearization
from .banded import banded_information, lower, upper
from .newton import Fit, exposure_tangents

__all__ = ["Stack", "monotone", "pixel_profile", "slide", "weigh"]

FALLS = 2.5  # where the influence of Student's t falls again, for 6 degrees of freedom
HIGHEST = 1.4  # what it is there


def pixel_profile(sd: float, like: Tensor) -> Tensor:
    """A Gaussian of some standard deviation in pixels, averaged over each pixel and cut at three, with 1 at its highest."""
    half = max(2, round(3 * sd))
    edges = torch.arange(-half, half + 2, dtype=like.dtype, device=like.device) - 0.5
    profile = torch.special.ndtr(edges / sd).diff()
    return profile / profile.max()


@dataclass(frozen=True, eq=False)
class Stack:
    r"""Score and information about the star's flux, of one spectrum.

    Arguments:
        score: b, shape :math:`(D,)`.
        diagonals: Diagonals 0..K of M; entry p of number j couples pixels p and p - j, shape :math:`(K + 1, D)`.
        tangents: :math:`L^{-1} T^\top M` with :math:`H = L L^\top`, shape :math:`(n, D)`, in the precision of the data.
        star: The fitted star, amplitude aside, shape :math:`(D,)`.
    """

    score: Tensor
    diagonals: Tensor
    tangents: Tensor
    star: Tensor

    @classmethod
    @torch.no_grad()
    def of(cls, model: SpectrumModel, data: Data, fit: Fit, local: Linearization) -> "Stack":
        """The stack of one spectrum about a mode.

        Arguments:
            model: The joint density.
            data: One row.
            fit: The mode; one row.
            local: The noise's linearization at the residuals there.
        """
        at = fit.at
        star, jacobian = model.star_and_jacobian(at)
        gain = model.gain(data, at.amplitude, at.calibration).expand_as(data.flux)
        score, every = weigh(local, gain)
        shared = torch.cat([jacobian, star.unsqueeze(1)], 1).double()
        total = [diagonal.sum(1, keepdim=True) for diagonal in every]
        rows = [(lower(total, shared) + upper(total, shared))[0]]
        terms = at.calibration.shape[-1]
        if terms:
            own = exposure_tangents(model, data, star, model.exposed(data, at, star)[1], terms)[0].double()
            each = [diagonal[0].unsqueeze(1) for diagonal in every]
            centred = lower(each, own) + upper(each, own)
            rows.append(torch.einsum("tef,etd->ftd", model.centring(data)[0].double(), centred).flatten(0, 1))
        factor = torch.linalg.cholesky(fit.precision[0])
        tangents = torch.linalg.solve_triangular(factor, torch.cat(rows), upper=False)
        return cls(score.sum(1)[0], torch.cat(total)[:, 0], tangents.to(data.flux.dtype), star[0].double())

    def scan(self, profile: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        r"""Score, information, and information without what the parameters absorb, of one profile at every pixel.

        Arguments:
            profile: An odd number of pixels, the middle one of which is moved over all D.

        Returns:
            :math:`U`, :math:`I` and :math:`t^\top M t`, each :math:`(D,)`.
        """
        own = torch.zeros_like(self.score)
        for j, diagonal in enumerate(self.diagonals):
            before = torch.nn.functional.pad(profile, (j, 0))[: len(profile)]  # the profile at pixel p - j
            own = own + (1 if j == 0 else 2) * slide(diagonal, profile * before)
        absorbed = slide(self.tangents, profile.to(self.tangents.dtype)).double().square().sum(0)
        return slide(self.score, profile), (own - absorbed).clamp_min(0.0), own


def weigh(local: Linearization, gain: Tensor) -> tuple[Tensor, list[Tensor]]:
    """Each exposure's share of b, (1, E, D), and of the diagonals 0..K of M."""
    gain = gain.double()
    return -gain * local.score, banded_information(local.band.double(), gain, local.weight.double().sqrt())


def monotone(local: Linearization) -> Linearization:
    r"""The same expansion with an influence :math:`\omega\xi` that does not fall again beyond its highest.

    Under heavy tails a strong line looks like outliers, of which the score says nothing; one that is no longer pulled in by a
    pixel the further it is out would never be tried. Normal noise is left as it is.
    """
    far = (local.xi.abs() > FALLS) & (local.weight > 0)
    weight = torch.where(far, torch.maximum(local.weight, HIGHEST / local.xi.abs().clamp_min(FALLS)), local.weight)
    more = (weight - local.weight) * local.xi
    score = local.score - local.band[..., 0] * more
    for k in range(1, local.band.shape[-1]):
        score[..., :-k] -= (local.band[..., k] * more)[..., k:]
    return replace(local, score=score, weight=weight)


def slide(rows: Tensor, profile: Tensor) -> Tensor:
    """Sums of rows (..., D) times a profile around each pixel; zero beyond the ends."""
    flat = rows.reshape(-1, 1, rows.shape[-1])
    return torch.nn.functional.conv1d(flat, profile[None, None], padding=len(profile) // 2).reshape(rows.shape)
