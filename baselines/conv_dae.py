"""The convolutional denoising autoencoder that Kang, He & Zhang (2021) compare with, sections 4.1 and 4.2.

It shares the hidden layers of their generator: here those of `ConvGenerator`. A second training is for spectra with
missing flux: an interval of every training spectrum is set to zero, and the whole spectrum is asked for.
"""

from typing import ClassVar

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
            epochs=14,
            batch=100,
            learning_rate=2e-3,
            shape={"latent_dim": 32},
            remark="fewer epochs; 32 numbers in the bottleneck, where the paper's generator has 3",
        ),
    }

    def __init__(self, size: int, latent_dim: int = 3, channels: tuple[int, ...] = (16, 32, 64)) -> None:
        super().__init__(size)
        self.autoencoder = ConvGenerator(size, latent_dim, tuple(channels))

    def forward(self, flux: Tensor) -> Tensor:
        """Noisy spectra to spectra without noise, both (B, D)."""
        return self.autoencoder(self.autoencoder.encode(flux))
