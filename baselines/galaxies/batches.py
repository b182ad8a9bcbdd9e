"""Batches of galaxies to train networks with: new noise in every epoch, S/N between 5 and 20."""

from dataclasses import dataclass

import torch
from torch import Tensor

from bayesden.simulation.random import Random
from bayesden.spectrum import Grid
from bayesden.train.library import Library

from ..batches import MEAN, VALIDATED, Pairs
from ..preparation import Unit
from .bed import SNR_WINDOW_A, noise_curve

__all__ = ["GalaxyBatches"]

SNR = (5.0, 20.0)  # uniform


@dataclass(frozen=True, eq=False)
class GalaxyBatches:
    """Galaxies of a library with the noise of `bed`.

    Arguments:
        grid: The pixels.
        train: Clean spectra (N, D) to train on.
        held: Clean spectra (M, D) to validate on.
        spectra: Spectra of an epoch; all by default.
        seed: Seed of all draws.
    """

    grid: Grid
    train: Tensor
    held: Tensor
    spectra: int | None = None
    seed: int = 0
    unit: Unit = MEAN
    instrument: str = "galaxies"
    missing: bool = False

    @classmethod
    def of(
        cls, library: Library, *, spectra: int | None = None, seed: int = 0, device: torch.device | str = "cpu"
    ) -> "GalaxyBatches":
        """The training and validation splits of a library."""
        train, held = (torch.from_numpy(library.subset(s).flux).float().to(device) for s in ("train", "validation"))
        return cls(library.grid, train, held, spectra, seed)

    def epoch(self, number: int, batch: int) -> Pairs:
        """All pairs of an epoch, in an order of its own."""
        row = torch.arange(len(self.train), device=self.train.device)
        order = Random(self.seed).uniform(f"order/{number}", row, 1)[:, 0].argsort(stable=True)
        for part in order[: self.spectra].split(batch):
            yield self._pair(self.train[part], part, f"epoch/{number}")

    def validation(self, batch: int) -> Pairs:
        """Spectra of the validation split, always the same."""
        row = torch.arange(min(len(self.held), VALIDATED), device=self.held.device)
        for part in row.split(batch):
            yield self._pair(self.held[part], part, "validation")

    def _pair(self, clean: Tensor, row: Tensor, stream: str) -> tuple[Tensor, Tensor]:
        random, wavelength = Random(self.seed), torch.tensor(self.grid.wavelength)
        low, high = SNR_WINDOW_A
        level = clean[:, (wavelength >= low) & (wavelength <= high)].mean(1, keepdim=True)
        snr = SNR[0] + (SNR[1] - SNR[0]) * random.uniform(f"{stream}/snr", row, 1)
        curve = torch.from_numpy(noise_curve(self.grid.wavelength)).to(clean)
        noisy = clean + level / snr * curve * random.normal(f"{stream}/noise", row, clean.shape[1])
        noisy = noisy.to(clean)
        scale = self.unit.scale(noisy, torch.ones_like(noisy, dtype=torch.bool))
        return noisy / scale, clean / scale
