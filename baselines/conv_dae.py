"""The convolutional denoising autoencoder that Kang, He & Zhang (2021) compare with, sections 4.1 and 4.2.

It shares the hidden layers of their generator: here those of `ConvGenerator`. What it sees and gives are differences from
the mean spectrum of the training set, in units of their scatter: the layers need not learn what all stars share. A second
training is for spectra with missing flux: an interval of every training spectrum is set to zero, and the whole spectrum is
asked for.
"""

from typing import ClassVar

import torch
from torch import Tensor

from bayesden.model.generator import ConvGenerator

from .network import Network
from .recipe import Recipe

__all__ = ["ConvDae"]


class ConvDae(Network):
    """An autoencoder with the convolutional layers of the generator of Kang et al.

    Arguments:
        size: Pixels, divisible by 4 to the power of the number of channels.
        latent_dim: Numbers in the bottleneck.
        channels: Channels of each level, from the spectrum inwards.
    """

    kind = "conv_dae"
    bounded = False
    recipes: ClassVar = {
        "paper": Recipe(
            epochs=200,
            batch=100,
            learning_rate=2e-3,
            stop_after=40,
            shape={"latent_dim": 3},
            remark="the paper says neither optimiser nor batch nor epochs",
        ),
        "budget": Recipe(
            epochs=7,
            batch=32,
            learning_rate=3e-3,
            loss="rmse",
            wait=1,
            shape={"latent_dim": 32},
            remark="few epochs of small batches; 32 numbers in the bottleneck, where the paper's generator has 3",
        ),
    }

    def __init__(self, size: int, latent_dim: int = 3, channels: tuple[int, ...] = (16, 32, 64)) -> None:
        super().__init__(size)
        self.autoencoder = ConvGenerator(size, latent_dim, tuple(channels))
        self.register_buffer("mean", torch.zeros(size))
        self.register_buffer("scale", torch.ones(()))

    def centre(self, clean: Tensor) -> None:
        """Take the mean spectrum, and the root mean square of what differs from it."""
        self.mean.copy_(clean.mean(0))
        self.scale.copy_((clean - self.mean).square().mean().sqrt())

    def forward(self, flux: Tensor) -> Tensor:
        """Noisy spectra to spectra without noise, both (B, D)."""
        z = self.autoencoder.encode((flux - self.mean) / self.scale)
        return self.mean + self.scale * self.autoencoder(z)
