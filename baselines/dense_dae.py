"""The fully connected denoising autoencoder of Pál & Dobos (2024), section 3.

Widths fall in linear steps from the pixels to the bottleneck and rise again: 4096, 3136, 2176, 1216, 256 and back. A bias
follows each matrix and a ReLU each layer but the last, whose sigmoid keeps the flux between 0 and 1.

References:
    Pál & Dobos 2024, Astronomische Nachrichten 345, e20240049, arXiv:2409.11625.
    Glorot & Bengio 2010, the initial weights.
"""

from itertools import pairwise
from typing import ClassVar

import torch
from torch import Tensor, nn

from .network import Network
from .recipe import Recipe

__all__ = ["DenseDae"]


class DenseDae(Network):
    r"""An hourglass of eight linear layers.

    Weights and biases begin uniform within :math:`\pm\sqrt{6 / (\mathrm{inputs} + \mathrm{outputs})}`, as the paper says.

    Arguments:
        size: Pixels.
        bottleneck: Width of the middle layer.
        steps: Layers from the pixels to the bottleneck, and back.
    """

    kind = "dense_dae"
    bounded = True
    recipes: ClassVar = {
        "paper": Recipe(
            epochs=7500,
            batch=250,
            spectra=100_000,
            learning_rate=100.0,
            optimiser="sgd",
            loss="rmse",
            schedule="halve",
            wait=150,
        ),
        "paper2025": Recipe(
            epochs=50,
            batch=250,
            spectra=1000,
            learning_rate=100.0,
            optimiser="sgd",
            loss="rmse",
            schedule="halve",
            wait=150,
            remark="a hundredth of the spectra and of the epochs: what Pál & Dobos (2025) compare their U-Net with",
        ),
        "budget": Recipe(
            epochs=40,
            batch=250,
            spectra=4000,
            learning_rate=1e-4,
            loss="rmse",
            remark="fewer spectra and epochs, and Adam, which needs few",
        ),
    }

    def __init__(self, size: int, bottleneck: int = 256, steps: int = 4) -> None:
        super().__init__(size)
        down = [round(size + (bottleneck - size) * i / steps) for i in range(steps + 1)]
        self.layers = nn.ModuleList(nn.Linear(a, b) for a, b in pairwise([*down, *down[-2::-1]]))
        for layer in self.layers:
            nn.init.xavier_uniform_(layer.weight)
            bound = (6 / (layer.in_features + layer.out_features)) ** 0.5
            nn.init.uniform_(layer.bias, -bound, bound)

    def forward(self, flux: Tensor) -> Tensor:
        """Noisy spectra to spectra without noise between 0 and 1, both (B, D)."""
        x = flux
        for layer in self.layers[:-1]:
            x = torch.relu(layer(x))
        return torch.sigmoid(self.layers[-1](x))
