r"""Exposures of one camera, and the two cameras' as one spectrum.

A camera's exposures are made on its own pixels (`sdss_camera` has the equations), resampled onto the output grid as the
reader of files does it (`bayesden.io.resample`: flux-conserving, variances propagated, nothing imputed), and where both
cameras are good they are joined by the pipeline's inverse variances :math:`w_a`. The noise of the result is

.. math:: \sigma_d^2 = \sum_a w_{ad}^2 \left[\sum_n W_{dn}^2 \sigma_{an}^2
          + \sum_k \Big(\sum_n W_{dn}\,\phi\,L_n B_{nk}\Big)^2\right] \Big/ \Big(\sum_a w_{ad}\Big)^2,

where the second term is what the correlated residuals of sky lines L keep of their variance, B the correlation's square root.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from ...errors import InputError
from ...io.resample import TOLERANCE
from ...io.sppixmask import BAD, SPPIXMASK
from ..random import Random
from .protocol import Exposures
from .sdss_camera import CALIBRATION_ORDER, Camera, Weather
from .sdss_defects import draw_defects

__all__ = ["CameraExposures", "Effects", "expose_camera", "join"]

PIPELINE_STAR, PIPELINE_LINES = 0.03, 0.02  # shares of star and sky lines that the pipeline adds to its errors
BRIGHT_LINE = 100.0  # 1e-17 erg/s/cm²/Å: from here a line may be rejected as beyond its errors


@dataclass(frozen=True)
class Effects:
    r"""What happens besides Poisson and read noise; measured on the six real files unless said otherwise.

    Arguments:
        sky_residual: Share :math:`\phi` of the sky's lines that subtraction leaves, standard deviation.
        sky_rejected: Share of exposures in which the brightest sky lines are rejected (BADSKYCHI).
        calibration_arm: Standard deviation of each coefficient of a camera's calibration error; cubic polynomial.
        calibration_exposure: The same of each exposure's.
        wander: Relative change of seeing, clouds and sky from exposure to exposure.
        cosmic_rays: Whether there are any.
        missed: Share of the bright cosmic rays that stay undetected; at most 0.07 of real ones.
        bad_columns: Whether there are any.
        counted_errors: Whether the pipeline goes by the counts that came out; otherwise by those expected.

    Raises:
        InputError: if a number is negative or a share is above 1.
    """

    sky_residual: float = 0.015
    sky_rejected: float = 0.4
    calibration_arm: float = 0.015
    calibration_exposure: float = 0.005
    wander: float = 0.06
    cosmic_rays: bool = True
    missed: float = 0.02
    bad_columns: bool = True
    counted_errors: bool = True

    def __post_init__(self) -> None:
        for name in ("sky_residual", "sky_rejected", "calibration_arm", "calibration_exposure", "wander", "missed"):
            if not 0 <= getattr(self, name) <= 1:
                raise InputError(f"{name}: expected a number from 0 to 1, got {getattr(self, name)}")

    @classmethod
    def none(cls) -> "Effects":
        """Poisson and read noise alone."""
        return cls(*[0.0] * 5, cosmic_rays=False, bad_columns=False, counted_errors=False)


@dataclass(frozen=True, eq=False)
class CameraExposures:
    """Exposures on a camera's pixels, all of shape (B, E, N).

    Arguments:
        flux: 1e-17 erg/s/cm²/Å.
        ivar: Inverse variance by the pipeline; 0 where there is no flux.
        bits: SPPIXMASK bits.
        sigma: True standard deviation.
        residual: Standard deviation of the residual of the sky's lines, as a share of them, shape (B, E, 1).
        gain: Error of the flux calibration, near 1.
    """

    flux: Tensor
    ivar: Tensor
    bits: Tensor
    sigma: Tensor
    residual: Tensor
    gain: Tensor


def _calibration(camera: Camera, exposures: int, effects: Effects, random: Random, index: Tensor) -> Tensor:
    """Errors of the flux calibration, shape (B, E, N)."""
    name, terms = camera.facts.name, CALIBRATION_ORDER + 1
    arm = random.normal(f"sdss/{name}/calibration", index, terms).view(-1, 1, terms)
    each = random.normal(f"sdss/{name}/calibration/exposure", index, exposures * terms).view(-1, exposures, terms)
    return 1.0 + (effects.calibration_arm * arm + effects.calibration_exposure * each) @ camera.basis


def _noise(camera: Camera, variance: Tensor, lines: Tensor, random: Random, index: Tensor) -> Tensor:
    """Counting noise of a variance, and the residuals of lines, all in electrons."""
    name, (_, exposures, size) = camera.facts.name, variance.shape
    shot = random.normal(f"sdss/{name}/shot", index, exposures * size).view(variance.shape)
    nodes = int(camera.blur.start[-1]) + len(camera.blur.weights)
    field = random.normal(f"sdss/{name}/sky", index, exposures * nodes).view(-1, exposures, nodes)
    return variance.sqrt() * shot + lines * camera.blur(field)


def expose_camera(
    camera: Camera,
    flux: Tensor,
    weather: Weather,
    effects: Effects,
    random: Random,
    index: Tensor,
    *,
    noisy: bool = True,
) -> CameraExposures:
    """Exposures of noiseless spectra.

    Arguments:
        camera: The camera.
        flux: On its pixels, shape (B, N), 1e-17 erg/s/cm²/Å.
        weather: Conditions of each exposure.
        effects: What happens.
        random: Where chance comes from.
        index: Numbers of the spectra, shape (B,).
        noisy: Whether there is noise; defects and calibration errors remain.
    """
    throughput = camera.throughput(weather)
    star = throughput * flux[:, None]
    sky, lines = throughput * camera.sky(weather), throughput * weather.glow * camera.glow
    counting = star.clamp(min=0.0) + sky + camera.facts.read_variance
    sigma = (counting + (effects.sky_residual * lines) ** 2).sqrt()
    options = {"missed": effects.missed, "cosmic": effects.cosmic_rays and noisy, "columns": effects.bad_columns}
    defects = draw_defects(camera, sigma, random, index, **options)
    seen = star
    if noisy:
        seen = star + _noise(camera, counting, effects.sky_residual * lines, random, index) + defects.electrons
    counted = (seen if effects.counted_errors else star).detach()
    claimed = (counted + sky).clamp(min=0.0) + camera.facts.read_variance
    claimed = claimed + (PIPELINE_STAR * counted.clamp(min=0.0)) ** 2 + (PIPELINE_LINES * lines) ** 2
    gain = _calibration(camera, star.shape[1], effects, random, index)
    unit = gain / throughput
    return CameraExposures(
        flux=torch.where(defects.lost, 0.0, seen * unit),
        ivar=torch.where(defects.lost, 0.0, 1.0 / (claimed * unit**2)),
        bits=defects.bits | _sky_bits(camera, weather, effects, random, index),
        sigma=sigma * unit,
        residual=effects.sky_residual * weather.glow,
        gain=gain,
    )


def _sky_bits(camera: Camera, weather: Weather, effects: Effects, random: Random, index: Tensor) -> Tensor:
    """BADSKYCHI on the brightest lines of some exposures."""
    exposures = weather.glow.shape[1]
    chosen = random.uniform(f"sdss/{camera.facts.name}/rejected sky", index, exposures) < effects.sky_rejected
    bright = (weather.glow * camera.glow > BRIGHT_LINE) & chosen[..., None]
    return bright.int() << SPPIXMASK["BADSKYCHI"]


def _resample(camera: Camera, seen: CameraExposures) -> tuple[Tensor, Tensor, Tensor]:
    """Flux, inverse variance (0 where bad) and true variance on the output pixels that the camera covers."""
    good = ((seen.bits & BAD) == 0) & (seen.ivar > 0)
    bad = camera.onto((~good).to(seen.flux.dtype)) > TOLERANCE
    claimed = camera.onto_variance(torch.where(good, 1.0 / seen.ivar.clamp(min=1e-30), 1.0))
    counting = (seen.sigma**2 - (seen.residual * camera.glow * seen.gain) ** 2).clamp(min=0.0)
    lines = seen.residual * camera.residual * seen.gain.index_select(-1, camera.nearest)
    variance = camera.onto_variance(counting) + lines**2
    return camera.onto(seen.flux), torch.where(bad, 0.0, 1.0 / claimed), variance


def join(cameras: Sequence[Camera], seen: Sequence[CameraExposures], size: int) -> Exposures:
    """Both cameras' exposures on an output grid of `size` pixels."""
    shape = (*seen[0].flux.shape[:2], size)
    total, weight, variance = (seen[0].flux.new_zeros(shape) for _ in range(3))
    widest = seen[0].flux.new_zeros(shape)  # noise where no camera is good: nobody sees it, but it shall not be 0
    for camera, exposures in zip(cameras, seen, strict=True):
        flux, ivar, spread = _resample(camera, exposures)
        rows = slice(camera.first, camera.first + flux.shape[-1])
        total[..., rows] += flux * ivar
        weight[..., rows] += ivar
        variance[..., rows] += ivar**2 * spread
        widest[..., rows] = torch.maximum(widest[..., rows], spread)
    mask = ~(weight > 0)
    safe = torch.where(mask, 1.0, weight)
    sigma = torch.where(mask, widest, variance / safe**2).sqrt()
    return Exposures(torch.where(mask, 0.0, total / safe), weight, mask, sigma)
