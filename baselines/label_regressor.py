"""Stellar parameters by a network that reads them off a spectrum: the encoder of `ConvGenerator`, labels in place of latents.

The same shape, training and number of spectra for noisy and for denoised input, so that what differs is the input.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from bayesden.model.generator import ConvGenerator

from .fitting import fit
from .recipe import Recipe

__all__ = ["LabelRegressor"]

RECIPE = Recipe(epochs=25, batch=50, learning_rate=2e-3, wait=2)
HELD = 5  # every fifth spectrum chooses the epoch


class _Encoder(nn.Module):
    """Spectra (B, D) to labels (B, L), both standardised with what the training set has."""

    def __init__(self, flux: Tensor, labels: Tensor) -> None:
        super().__init__()
        self.autoencoder = ConvGenerator(flux.shape[1], labels.shape[1])
        del self.autoencoder.up, self.autoencoder.outwards
        self.mean, self.scale = flux.mean(0), (flux - flux.mean(0)).square().mean().sqrt()

    def forward(self, flux: Tensor) -> Tensor:
        return self.autoencoder.encode((flux - self.mean) / self.scale)


@dataclass(frozen=True)
class _Pairs:
    """Spectra and labels as batches."""

    flux: Tensor
    label: Tensor
    held: Tensor

    def epoch(self, number: int, batch: int) -> Iterator[tuple[Tensor, Tensor]]:
        rows = torch.nonzero(~self.held)[:, 0]
        order = rows[torch.randperm(len(rows), generator=torch.Generator().manual_seed(number))]
        yield from ((self.flux[part], self.label[part]) for part in order.split(batch))

    def validation(self, batch: int) -> Iterator[tuple[Tensor, Tensor]]:
        rows = torch.nonzero(self.held)[:, 0]
        yield from ((self.flux[part], self.label[part]) for part in rows.split(batch))


def _shown(flux: NDArray) -> Tensor:
    """Spectra in units of their median."""
    return torch.from_numpy(flux / np.median(flux, axis=1, keepdims=True)).float()


@dataclass(frozen=True, eq=False)
class LabelRegressor:
    """A trained regressor; `fit` makes one.

    Arguments:
        network: Spectra to standardised labels.
        mean, scale: Of the labels, each (L,).
    """

    network: nn.Module
    mean: NDArray
    scale: NDArray

    @classmethod
    def fit(cls, flux: NDArray, labels: NDArray, out: Path, *, seed: int = 0) -> "LabelRegressor":
        """Train on spectra (N, D) in any unit, with labels (N, L); the log of losses is written beside `out`."""
        mean, scale = labels.mean(0), labels.std(0)
        shown, label = _shown(flux), torch.from_numpy((labels - mean) / scale).float()
        pairs = _Pairs(shown, label, torch.arange(len(shown)) % HELD == 0)
        torch.manual_seed(seed)
        done = fit(_Encoder(shown, label), RECIPE, pairs, out, seed=seed)
        return cls(done.network, mean, scale)

    @torch.no_grad()
    def __call__(self, flux: NDArray) -> NDArray:
        """Labels (N, L) of spectra (N, D)."""
        found = torch.cat([self.network(part) for part in _shown(flux).split(128)])
        return self.mean + self.scale * found.double().numpy()
