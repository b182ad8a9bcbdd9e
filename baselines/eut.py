"""The Enhanced U-Net Transformer of Kim, Lee & Rey (2026), figure 1, made for spectra of galaxies.

Three convolutions down (1, 96, 192, 384 channels; kernel 7, instance normalisation, ReLU, max-pooling by 2), fixed
sinusoidal positions, eight transformer blocks of 12 heads, and up by linear interpolation and convolution (384, 192, 96,
64, 1) with skips. Not told, and as in Vaswani et al. here: the width of a block's inner layer, four times the channels.

References:
    Kim, Lee & Rey 2026, arXiv:2605.04434.
    Vaswani et al. 2017, arXiv:1706.03762.
"""

import math
from itertools import pairwise
from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.nn.functional import interpolate, max_pool1d

from bayesden.errors import ModelError

from .network import Network
from .recipe import Recipe

__all__ = ["Eut", "sinusoids"]


def sinusoids(length: int, channels: int) -> Tensor:
    """Fixed positions of Vaswani et al., section 3.5: sines and cosines, (length, channels)."""
    rate = torch.exp(-math.log(1e4) * torch.arange(0, channels, 2) / channels)
    phase = torch.arange(length)[:, None] * rate
    return torch.stack([phase.sin(), phase.cos()], -1).flatten(1)[:, :channels]


def _stage(inputs: int, outputs: int) -> nn.Sequential:
    return nn.Sequential(nn.Conv1d(inputs, outputs, 7, padding=3), nn.InstanceNorm1d(outputs, affine=True), nn.ReLU())


class Eut(Network):
    """Convolutions, a transformer in the middle, and convolutions.

    Arguments:
        size: Pixels, divisible by 8.
        channels: Channels of the three stages, from the spectrum inwards; the last must be even.
        last: Channels before the output.
        blocks: Transformer blocks.
        heads: Heads of each; they divide the innermost channels.
    """

    kind = "eut"
    bounded = False
    recipes: ClassVar = {
        "paper": Recipe(
            epochs=1000,
            batch=64,
            spectra=90_000,
            learning_rate=1e-4,
            remark="optimiser, batch, learning rate and loss are not in what we have of the paper",
        ),
        "budget": Recipe(
            epochs=6,
            batch=8,
            spectra=4000,
            learning_rate=1e-3,
            wait=1,
            shape={"channels": (16, 32, 64), "last": 16, "blocks": 4, "heads": 4},
            remark="a sixth of the channels, half the blocks, few epochs of small batches",
        ),
    }

    def __init__(
        self,
        size: int,
        channels: tuple[int, int, int] = (96, 192, 384),
        last: int = 64,
        blocks: int = 8,
        heads: int = 12,
    ) -> None:
        super().__init__(size)
        factor, inner = 2 ** len(channels), channels[-1]
        if size % factor or inner % heads:
            raise ModelError(
                f"eut: expected a size divisible by {factor} and channels by {heads}, got {size} and {inner}"
            )
        self.down = nn.ModuleList(_stage(a, b) for a, b in pairwise([1, *channels]))
        self.register_buffer("position", sinusoids(size // factor, inner), persistent=False)
        block = nn.TransformerEncoderLayer(inner, heads, 4 * inner, dropout=0.0, batch_first=True)
        self.transformer = nn.TransformerEncoder(block, blocks, enable_nested_tensor=False)
        outwards = [*reversed(channels), last]
        self.up = nn.ModuleList(_stage(2 * a, b) for a, b in pairwise(outwards))
        self.last = nn.Conv1d(last, 1, 7, padding=3)

    def forward(self, flux: Tensor) -> Tensor:
        """Noisy spectra to spectra without noise, both (B, D)."""
        x, skips = flux.unsqueeze(1), []
        for stage in self.down:
            x = stage(x)
            skips.append(x)
            x = max_pool1d(x, 2)
        x = self.transformer(x.mT + self.position).mT
        for stage in self.up:
            x = interpolate(x, scale_factor=2, mode="linear", align_corners=False)
            x = stage(torch.cat([x, skips.pop()], 1))
        return self.last(x).squeeze(1)
