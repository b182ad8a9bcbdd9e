"""The convolutional U-Net of Pál & Dobos (2025), section 3.

Four levels of 32, 64, 128 and 256 filters, each two convolutions with batch normalisation and ReLU, then max-pooling; a
bottleneck of twice as many filters with dropout; transposed convolutions up, joined by the levels' skips; a sigmoid at
the end. Kernels of 3 pixels and the doubled bottleneck are those of the original U-Net, which the paper follows closely
and without numbers.

References:
    Pál & Dobos 2025, Acta Physica Polonica B Proc. Suppl. 18, 6-A7.
    Ronneberger, Fischer & Brox 2015, arXiv:1505.04597.
"""

from itertools import pairwise
from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.nn.functional import max_pool1d

from bayesden.errors import ModelError

from .network import Network
from .recipe import Recipe

__all__ = ["UNet"]


def _block(inputs: int, outputs: int) -> nn.Sequential:
    """Two convolutions, each with batch normalisation and ReLU; the length stays."""
    layers = []
    for channels in (inputs, outputs):
        layers += [nn.Conv1d(channels, outputs, 3, padding=1), nn.BatchNorm1d(outputs), nn.ReLU()]
    return nn.Sequential(*layers)


class UNet(Network):
    """Encoder and decoder of convolutions with a skip at each level.

    Arguments:
        size: Pixels, divisible by 2 to the power of the number of levels.
        filters: Filters of each level, from the spectrum inwards.
        dropout: Probability with which a number of the bottleneck is dropped in training.
    """

    kind = "unet"
    bounded = True
    recipes: ClassVar = {
        "paper": Recipe(
            epochs=50,
            batch=100,
            spectra=1000,
            learning_rate=0.1,
            optimiser="sgd",
            schedule="tenth",
            wait=20,
        ),
        "budget": Recipe(
            epochs=50,
            batch=10,
            spectra=1000,
            learning_rate=3e-3,
            wait=2,
            shape={"filters": (8, 16, 32, 64)},
            remark="a quarter of the filters, batches of 10, and Adam, which needs few steps",
        ),
    }

    def __init__(self, size: int, filters: tuple[int, ...] = (32, 64, 128, 256), dropout: float = 0.3) -> None:
        super().__init__(size)
        if size % 2 ** len(filters):
            raise ModelError(f"unet: expected a size divisible by {2 ** len(filters)}, got {size}")
        inwards = list(reversed(filters))
        self.down = nn.ModuleList(_block(a, b) for a, b in pairwise([1, *filters]))
        self.bottleneck = nn.Sequential(_block(filters[-1], 2 * filters[-1]), nn.Dropout(dropout))
        self.up = nn.ModuleList(nn.ConvTranspose1d(2 * n, n, 2, 2) for n in inwards)
        self.join = nn.ModuleList(_block(2 * n, n) for n in inwards)
        self.last = nn.Conv1d(filters[0], 1, 1)

    def forward(self, flux: Tensor) -> Tensor:
        """Noisy spectra to spectra without noise between 0 and 1, both (B, D)."""
        x, skips = flux.unsqueeze(1), []
        for block in self.down:
            x = block(x)
            skips.append(x)
            x = max_pool1d(x, 2)
        x = self.bottleneck(x)
        for up, block in zip(self.up, self.join, strict=True):
            x = block(torch.cat([up(x), skips.pop()], 1))
        return torch.sigmoid(self.last(x)).squeeze(1)
