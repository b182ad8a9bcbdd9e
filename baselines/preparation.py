r"""What a network sees of an observation: one spectrum in the network's unit, without holes.

The unit is a robust level of the noisy flux, the same in training and in use, so that no one has to know the amplitude.
Short runs of masked pixels are bridged by a line, as resampling does; a network trained with missing flux gets zeros.
"""

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

__all__ = ["LONGEST_GAP", "Unit", "bridge", "longest_gap"]

LONGEST_GAP = 16  # masked pixels in a row: twice the longest that cosmic rays and bad columns leave in our exposures
WINDOW = 5  # pixels of the running median; wider than a cosmic ray


@dataclass(frozen=True)
class Unit:
    """A network's unit of flux.

    Arguments:
        level: What the statistic of a spectrum becomes.
        statistic: `mean` of the running median, near mean |flux|, or `median` of the flux, as Pál & Dobos have it.
    """

    level: float = 1.0
    statistic: Literal["mean", "median"] = "mean"

    def scale(self, flux: Tensor, seen: Tensor) -> Tensor:
        """The flux of one unit for each noisy spectrum (B, D), where `seen` is True: (B, 1), positive."""
        if self.statistic == "median":
            found = flux.where(seen, torch.nan).nanmedian(-1, keepdim=True).values
        else:
            near = flux.where(seen, torch.nan).unfold(-1, WINDOW, 1)
            enough = seen.unfold(-1, WINDOW, 1).sum(-1) > WINDOW // 2
            smooth = near.nanmedian(-1).values.where(enough, 0.0)
            found = smooth.sum(-1, keepdim=True) / enough.sum(-1, keepdim=True).clamp_min(1)
        # of a spectrum that is all noise the level may be negative; its size is then of the noise's order
        spread = flux.abs().where(seen, torch.nan).nanmedian(-1, keepdim=True).values
        return torch.maximum(found, 0.1 * spread).clamp_min(torch.finfo(flux.dtype).tiny) / self.level


def _previous(seen: Tensor) -> Tensor:
    """Index of the nearest seen pixel at or before each of (B, D); -1 if there is none."""
    index = torch.arange(seen.shape[-1], device=seen.device)
    return index.where(seen, torch.full_like(index, -1)).cummax(-1).values


def bridge(flux: Tensor, seen: Tensor) -> Tensor:
    """Spectra (B, D) with a straight line over pixels that are not seen; the nearest seen value at the ends."""
    size = seen.shape[-1]
    index = torch.arange(size, device=seen.device)
    before = _previous(seen)
    after = size - 1 - _previous(seen.flip(-1)).flip(-1)  # `size` if there is none
    left, right = before.where(before >= 0, after), after.where(after < size, before)
    share = (index - left) / (right - left).clamp_min(1)
    low, high = flux.gather(-1, left.clamp(0, size - 1)), flux.gather(-1, right.clamp(0, size - 1))
    return torch.lerp(low, high, share.to(flux.dtype))


def longest_gap(seen: Tensor) -> Tensor:
    """The largest number of pixels in a row that are not seen, for each of (B, D): (B,)."""
    index = torch.arange(seen.shape[-1], device=seen.device)
    return (index - _previous(seen)).amax(-1)
