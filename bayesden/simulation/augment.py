r"""New noise and new calibration errors in every epoch, on the device (Pál & Dobos 2024, section 3.3).

Input and target of a training step are

.. math:: x = a + b\,(1 + c)\,s + b\,\sigma\,\epsilon, \qquad t = a + b\,(1 + c)\,s,

with s the noiseless spectrum, :math:`\epsilon` white noise, c a random walk in wavelength behind a low-pass filter with
:math:`\max|c|` uniform up to 2 %, :math:`a \sim N(0, 0.01)` and :math:`b \sim N(1, 0.01)`. The paper prints N(1, 1.01)
for b, which would turn spectra upside down.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from ..errors import InputError
from .random import Random

__all__ = ["Augmentation", "TrainingBatch"]

KNOTS = 64  # of the random walk, over the whole spectrum
SMOOTHING = 3.0  # knots: standard deviation of the low-pass filter
LEVEL = 0.01  # standard deviation of offset and scale


@dataclass(frozen=True, eq=False)
class TrainingBatch:
    """What a network sees and what it should answer.

    Arguments:
        input: Noisy spectra, shape :math:`(B, D)`.
        target: The same without noise, same shape.
        sigma: Standard deviation of the input's noise, same shape.
        row: Which spectra of the training set these are, shape :math:`(B,)`.
    """

    input: Tensor
    target: Tensor
    sigma: Tensor
    row: Tensor


def _walk(size: int) -> Tensor:
    """White noise at the knots to a smooth random walk on the pixels: a matrix, shape (KNOTS, size)."""
    knot = torch.arange(KNOTS, dtype=torch.double)
    smooth = torch.exp(-0.5 * ((knot[:, None] - knot) / SMOOTHING) ** 2)
    smooth = smooth / smooth.sum(1, keepdim=True)
    walk = torch.tril(torch.ones(KNOTS, KNOTS, dtype=torch.double))
    walk = smooth @ (walk - walk.mean(0))
    pixels = torch.nn.functional.interpolate(walk.T[None], size, mode="linear", align_corners=True)
    return pixels[0].float()


@dataclass(frozen=True, eq=False)
class Augmentation:
    """A training set whose noise is drawn anew in every epoch.

    Arguments:
        clean: Noiseless spectra, shape :math:`(N, D)`.
        sigma: Standard deviation of their noise, same shape; 0 where there is none.
        seed: Seed of noise, calibration and order.
        calibration: Largest amplitude of the calibration error.
        level: Standard deviation of offset and scale.

    Raises:
        InputError: if the shapes differ, or a standard deviation is negative or not finite.
    """

    clean: Tensor
    sigma: Tensor
    seed: int = 0
    calibration: float = 0.02
    level: float = LEVEL

    def __post_init__(self) -> None:
        if self.clean.shape != self.sigma.shape or self.clean.ndim != 2:
            raise InputError(
                f"sigma: expected the shape of clean, {tuple(self.clean.shape)}, got {tuple(self.sigma.shape)}"
            )
        if not bool((self.sigma >= 0).all() & self.sigma.isfinite().all()):
            raise InputError("sigma: expected finite standard deviations of at least 0, got others")
        object.__setattr__(self, "_matrix", _walk(self.clean.shape[1]).to(self.clean))

    def calibration_error(self, row: Tensor, epoch: int) -> Tensor:
        """The relative calibration error of some spectra in an epoch, shape (B, D)."""
        random = Random(self.seed)
        walk = random.normal(f"calibration/{epoch}", row, KNOTS).to(self.clean) @ self._matrix
        amplitude = self.calibration * random.uniform(f"amplitude/{epoch}", row, 1).to(self.clean)
        return walk * (amplitude / walk.abs().amax(1, keepdim=True))

    def batch(self, row: Tensor, epoch: int) -> TrainingBatch:
        """Some spectra of an epoch; rows are numbers of spectra, shape (B,)."""
        random, clean, sigma = Random(self.seed), self.clean[row], self.sigma[row]
        offset, scale = (self.level * random.normal(f"level/{epoch}", row, 2).to(clean)).split(1, 1)
        target = clean * (1 + self.calibration_error(row, epoch))
        noise = random.normal(f"noise/{epoch}", row, clean.shape[1]).to(clean)
        target = target.mul_(1 + scale).add_(offset)
        sigma = sigma * (1 + scale)
        return TrainingBatch(torch.addcmul(target, sigma, noise), target, sigma, row)

    def epoch(self, number: int, batch: int = 250) -> Iterator[TrainingBatch]:
        """All spectra once, in an order of this epoch's own."""
        row = torch.arange(len(self.clean), device=self.clean.device)
        order = Random(self.seed).uniform(f"order/{number}", row, 1)[:, 0].argsort(stable=True)
        for part in order.split(batch):
            yield self.batch(part, number)
