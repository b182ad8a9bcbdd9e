r"""Cosmic rays and bad columns, as often as in real exposures and treated as the pipeline treats them.

Of the cosmic rays most are rejected while the spectrum is extracted and leave a gap of three to five pixels without inverse
variance (FULLREJECT; 1.3 per 1000 pixels in the thick red detectors, a tenth of that in the blue ones). Fewer get through,
as bright spots of one to three pixels and about 1900 electrons (10 to 90 %: 700 to 5000); the comparison of the exposures
then finds those that stand out (COMBINEREJ): all 46 above 7 sigma in six files, so at most 7 % are missed.
The comparison also rejects one good pixel in a thousand.
"""

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from ...io.sppixmask import SPPIXMASK
from ..random import Random
from .sdss_camera import Camera

__all__ = ["Defects", "draw_defects"]

HIT_ELECTRONS, HIT_SPREAD = 1900.0, 0.78  # median, and standard deviation of the logarithm
HIT_SIGMA = 6.0  # a fainter hit goes unnoticed
TAIL = 0.5  # of a hit's charge in its further pixels
FALSE_ALARMS = 1e-3  # per pixel
COLUMNS = 0.6  # per camera and spectrum
LONGEST = 5
REJECTED_LENGTHS = (0.0, 0.0, 0.45, 0.40, 0.15)  # shares of 1, 2, ... pixels
HIT_LENGTHS = (0.65, 0.30, 0.05)
COLUMN_LENGTHS = (0.4, 0.3, 0.3)


@dataclass(frozen=True, eq=False)
class Defects:
    """What is wrong with exposures.

    Arguments:
        electrons: Charge of cosmic rays that passed the extraction, shape (B, E, N).
        bits: SPPIXMASK bits, same shape, integers.
        lost: True where no flux was extracted, same shape.
    """

    electrons: Tensor
    bits: Tensor
    lost: Tensor


@dataclass(frozen=True)
class _Draw:
    """Draws spots on a camera's pixels."""

    camera: Camera
    random: Random
    index: Tensor

    def __call__(
        self, what: str, exposures: int, rate: float, lengths: tuple[float, ...]
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Spots that come `rate` times per pixel and have 1, 2, ... pixels with the probabilities `lengths`.

        Returns:
            Five uniform numbers for each of S possible spots, shape (B, exposures, S, 5): the first three tell whether,
            where and how long it is. Its pixels, (B, exposures, S, LONGEST), and whether each is in it.
        """
        mean = rate * self.camera.size
        slots = math.ceil(3 * mean) + 2  # so many that a binomial number looks like a Poisson number
        name = f"sdss/{self.camera.facts.name}/{what}"
        uniform = self.random.uniform(name, self.index, exposures * slots * 5).view(-1, exposures, slots, 5)
        steps = torch.arange(LONGEST, device=uniform.device)
        place = (uniform[..., 1] * self.camera.size).long()[..., None] + steps
        shares = torch.tensor(lengths, device=uniform.device).cumsum(0)
        length = 1 + (uniform[..., 2, None] > shares[:-1]).sum(-1, keepdim=True)
        return uniform, place, (steps < length) & (uniform[..., 0] < mean / slots)[..., None]


def _paint(shape: tuple[int, ...], place: Tensor, value: Tensor) -> Tensor:
    """Values added up at their pixels; what is beyond the last is dropped."""
    canvas = value.new_zeros(*shape[:-1], shape[-1] + LONGEST)
    return canvas.scatter_add_(-1, place.flatten(-2), value.flatten(-2))[..., : shape[-1]]


def draw_defects(
    camera: Camera,
    sigma_electrons: Tensor,
    random: Random,
    index: Tensor,
    *,
    missed: float,
    cosmic: bool,
    columns: bool,
) -> Defects:
    """Cosmic rays and bad columns of a batch.

    Arguments:
        camera: The camera.
        sigma_electrons: Noise of each pixel, shape (B, E, N).
        random: Where chance comes from.
        index: Numbers of the spectra, shape (B,).
        missed: Share of the cosmic rays above `HIT_SIGMA` that the comparison of exposures does not find.
        cosmic: Whether there are cosmic rays.
        columns: Whether there are bad columns.
    """
    shape, draw = sigma_electrons.shape, _Draw(camera, random, index)
    electrons = rejected = flagged = column = torch.zeros_like(sigma_electrons)
    if cosmic:
        _, place, inside = draw("rejected", shape[1], camera.facts.rejected, REJECTED_LENGTHS)
        rejected = _paint(shape, place, inside.float())
        electrons, flagged = _hits(draw, sigma_electrons, missed)
    if columns:  # the detector's, so the same in every exposure
        _, place, inside = draw("columns", 1, COLUMNS / shape[2], COLUMN_LENGTHS)
        column = _paint((shape[0], 1, shape[2]), place, inside.float()).expand(shape)
    bits = torch.zeros(shape, dtype=torch.int32, device=sigma_electrons.device)
    for layer, bit in ((rejected, "FULLREJECT"), (flagged, "COMBINEREJ"), (column, "NODATA")):
        bits |= (layer > 0).int() << SPPIXMASK[bit]
    return Defects(electrons, bits, (rejected > 0) | (column > 0))


def _hits(draw: _Draw, sigma_electrons: Tensor, missed: float) -> tuple[Tensor, Tensor]:
    """Charge of the cosmic rays that pass the extraction, and where the comparison of exposures sees one."""
    shape = sigma_electrons.shape
    uniform, place, inside = draw("hits", shape[1], draw.camera.facts.hits, HIT_LENGTHS)
    charge = HIT_ELECTRONS * torch.exp(HIT_SPREAD * torch.special.ndtri(uniform[..., 3]))
    tail = torch.tensor([1.0] + [TAIL] * (LONGEST - 1), device=charge.device)
    noise = sigma_electrons.gather(-1, place[..., 0])
    seen = (charge > HIT_SIGMA * noise) & (uniform[..., 4] > missed)
    _, alarm, alarmed = draw("alarms", shape[1], FALSE_ALARMS, (1.0,))
    flagged = _paint(shape, place, (inside & seen[..., None]).float()) + _paint(shape, alarm, alarmed.float())
    return _paint(shape, place, inside * charge[..., None] * tail), flagged
