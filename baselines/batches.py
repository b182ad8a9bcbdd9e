r"""Batches to train networks with: pairs of a noisy and a clean spectrum in the network's unit, drawn on the device.

Two sources give them. `LibraryBatches` adds to the clean spectra of a library the residuals of real exposures, scaled
together with their inverse variances to a drawn signal-to-noise ratio as in test bed B1, and takes the mean of one or four.
`SimulatedBatches` are those of Pál & Dobos (2024): a set of simulated spectra with new noise and calibration errors in
every epoch. Every draw belongs to a spectrum and an epoch, so a training that is resumed sees what it would have seen.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch
from torch import Tensor

from bayesden.errors import InputError
from bayesden.simulation.augment import Augmentation
from bayesden.simulation.random import Random
from bayesden.simulation.simulator import Simulation
from bayesden.spectrum import Grid
from bayesden.train.library import Library
from bayesden.train.noise import NoiseSamples

from .preparation import Unit, bridge

__all__ = ["Batches", "LibraryBatches", "Pairs", "RealNoise", "SimulatedBatches"]

MEAN, HALF_MEDIAN = Unit(), Unit(0.5, "median")
Pairs = Iterator[tuple[Tensor, Tensor]]
SNR = (4.0, 40.0)  # of each exposure, uniform in the logarithm
EXPOSURES = 4  # or one, as often
SHIFT = 64  # pixels by which an exposure's noise is moved at most: there are few exposures, and a network can know them
THINNED = 4  # of so many pixels one tells the signal-to-noise ratio: medians of all take a third of a batch's time
OUTLIER = 4.0  # whitened noise beyond this keeps its sign
VALIDATED = 1000  # spectra that the losses of validation are of
MISSING = 0.5  # of the pixels at most, in a training for missing flux
ENDS = 0.25  # share of those intervals at the blue end, and at the red: by chance alone hardly any would reach one


class Batches(Protocol):
    """Where a training takes its spectra from.

    Attributes:
        grid: The pixels.
        unit: The unit of the pairs.
        instrument: What the spectra look like: `sdss` or `pfs-mr`.
        missing: Whether intervals of the noisy spectra are zero.
    """

    grid: Grid
    unit: Unit
    instrument: str
    missing: bool

    def epoch(self, number: int, batch: int) -> Pairs:
        """All pairs of an epoch."""

    def validation(self, batch: int) -> Pairs:
        """Pairs of other spectra, always the same."""


@dataclass(frozen=True, eq=False)
class RealNoise:
    """Residuals of exposures on a device: `eps` and `ivar`, each (N, D), 0 where masked."""

    eps: Tensor
    ivar: Tensor

    @classmethod
    def of(cls, samples: NoiseSamples, device: torch.device | str) -> "RealNoise":
        """The residuals of exposures."""
        ivar = np.where(samples.mask, 0.0, samples.ivar)
        return cls(*(torch.tensor(x, dtype=torch.float32, device=device) for x in (samples.eps, ivar)))

    def draw(self, random: Random, stream: str, row: Tensor) -> tuple[Tensor, Tensor]:
        """Noise and inverse variance of `EXPOSURES` exposures for each row, (B, E, D): any exposures, moved and turned."""
        size = self.eps.shape[1]
        which, shift, sign = random.uniform(stream, row, 3 * EXPOSURES).chunk(3, 1)
        which = (which * len(self.eps)).long()[..., None]
        shift = ((2 * shift - 1) * SHIFT).round().long()[..., None]
        pixel = (torch.arange(size, device=row.device) + shift) % size
        eps, ivar = self.eps[which, pixel], self.ivar[which, pixel]
        turned = (sign[..., None] < 0.5) & (eps.square() * ivar < OUTLIER**2)
        return torch.where(turned, -eps, eps), ivar


@dataclass(frozen=True, eq=False)
class LibraryBatches:
    """Spectra of a library with real or white noise.

    Arguments:
        grid: The pixels.
        train: Clean spectra (N, D) to train on.
        held: Clean spectra (M, D) to validate on.
        noise: Residuals to train with; None for white noise.
        held_noise: Residuals to validate with.
        unit: The unit of the pairs.
        missing: Whether an interval of each noisy spectrum is set to zero, as are masked pixels.
        spectra: Spectra of an epoch; all by default.
        seed: Seed of all draws.
    """

    grid: Grid
    train: Tensor
    held: Tensor
    noise: RealNoise | None
    held_noise: RealNoise | None
    unit: Unit = MEAN
    missing: bool = False
    spectra: int | None = None
    seed: int = 0
    instrument: str = "sdss"

    @classmethod
    def of(
        cls,
        library: Library,
        noise: NoiseSamples | None,
        *,
        bounded: bool = False,
        device: torch.device | str = "cpu",
        **options: object,
    ) -> "LibraryBatches":
        """The training and validation splits of a library; every fifth exposure is for validation.

        Arguments:
            library: Clean spectra.
            noise: Residuals of exposures of stars that no test uses; None for white noise.
            bounded: Whether the network's output ends at 1; the unit is then such that the brightest pixel of the training
                split is there.
            device: Where to draw.
            options: Further arguments of the class.

        Raises:
            InputError: if there are fewer than two exposures.
        """
        train, held = (torch.from_numpy(library.subset(s).flux).float().to(device) for s in ("train", "validation"))
        parts = (None, None)
        if noise is not None:
            if len(noise) < 2:
                raise InputError(f"noise: expected at least two exposures, got {len(noise)}")
            kept = np.arange(len(noise)) % 5 == 0
            parts = tuple(RealNoise.of(noise.select(rows), device) for rows in (~kept, kept))
        unit = Unit(1 / float(train.max())) if bounded else Unit()
        return cls(library.grid, train, held, *parts, unit=unit, **options)

    def epoch(self, number: int, batch: int) -> Pairs:
        """All pairs of an epoch, in an order of its own."""
        row = torch.arange(len(self.train), device=self.train.device)
        order = Random(self.seed).uniform(f"order/{number}", row, 1)[:, 0].argsort(stable=True)
        for part in order[: self.spectra].split(batch):
            yield self._pair(self.train[part], self.noise, part, f"epoch/{number}")

    def validation(self, batch: int) -> Pairs:
        """`VALIDATED` spectra of the validation split, always the same."""
        row = torch.arange(len(self.held), device=self.held.device)
        order = Random(self.seed).uniform("validation/order", row, 1)[:, 0].argsort(stable=True)
        for part in order[:VALIDATED].split(batch):
            yield self._pair(self.held[part], self.held_noise, part, "validation")

    def _pair(self, clean: Tensor, noise: RealNoise | None, row: Tensor, stream: str) -> tuple[Tensor, Tensor]:
        random = Random(self.seed)
        flux, seen = self._observe(clean, noise, random, row, stream)
        if self.missing:
            seen = seen & ~_interval(random.uniform(f"{stream}/missing", row, 2), clean.shape[1])
        scale = self.unit.scale(flux, seen)
        shown = flux.where(seen, torch.zeros_like(flux)) if self.missing else bridge(flux, seen)
        return shown / scale, clean / scale

    def _observe(
        self, clean: Tensor, noise: RealNoise | None, random: Random, row: Tensor, stream: str
    ) -> tuple[Tensor, Tensor]:
        """The mean of one exposure or `EXPOSURES`, and where it is seen, each (B, D)."""
        number, snr = random.uniform(f"{stream}/snr", row, 1 + EXPOSURES).split((1, EXPOSURES), 1)
        snr = SNR[0] * (SNR[1] / SNR[0]) ** snr[..., None]
        used = torch.arange(EXPOSURES, device=row.device) < torch.where(number < 0.5, 1, EXPOSURES)
        if noise is None:
            sigma = clean.median(1, keepdim=True).values.abs() / (snr.square() * used[..., None]).sum(1).sqrt()
            white = random.normal(f"{stream}/noise", row, clean.shape[1])
            return clean + sigma * white, torch.ones_like(clean, dtype=torch.bool)
        eps, ivar = noise.draw(random, f"{stream}/noise", row)
        some = ivar[..., ::THINNED]
        ratio = torch.where(some > 0, clean[:, None, ::THINNED] * some.sqrt(), torch.nan)
        ratio = ratio.nanmedian(-1, keepdim=True).values.abs()
        factor = ratio / snr
        ivar = ivar / factor.square() * used[..., None]
        total = ivar.sum(1)
        mean = (ivar * factor * eps).sum(1) / total.where(total > 0, torch.ones_like(total))
        return clean + mean, total > 0


def _interval(uniform: Tensor, size: int) -> Tensor:
    """Pixels of an interval of random width and place for each row of two uniform numbers, (B, 2) to (B, size)."""
    width, place = uniform.T[..., None]
    width, place = MISSING * width, ((place - ENDS) / (1 - 2 * ENDS)).clamp(0, 1)
    pixel, first = torch.linspace(0, 1, size, device=uniform.device), place * (1 - width)
    return (pixel >= first) & (pixel <= first + width)


@dataclass(frozen=True, eq=False)
class SimulatedBatches:
    """A simulated training set with new noise and calibration errors in every epoch; another to validate on.

    Arguments:
        grid: The pixels.
        train: The training set.
        held: The validation set, whose noise and calibration errors stay the same.
    """

    grid: Grid
    train: Augmentation
    held: Augmentation
    unit: Unit = HALF_MEDIAN
    instrument: str = "pfs-mr"
    missing: bool = False

    @classmethod
    def of(
        cls,
        train: Simulation,
        held: Simulation,
        *,
        spectra: int | None = None,
        seed: int = 0,
        device: torch.device | str = "cpu",
    ) -> "SimulatedBatches":
        """Augmented simulations; of the training set at most `spectra`.

        Raises:
            InputError: if the two are on different pixels.
        """
        if not torch.equal(train.wavelength, held.wavelength):
            raise InputError("validation: expected the pixels of the training set, got others")
        sets = [
            Augmentation(s.clean[:n].float().to(device), s.sigma[:n, 0].float().to(device), seed=seed + i)
            for i, (s, n) in enumerate(((train, spectra), (held, None)))
        ]
        return cls(Grid(train.wavelength.cpu().numpy()), *sets)

    def epoch(self, number: int, batch: int) -> Pairs:
        """All pairs of an epoch, in an order of its own."""
        yield from ((each.input, each.target) for each in self.train.epoch(number, batch))

    def validation(self, batch: int) -> Pairs:
        """Every spectrum of the validation set once."""
        for part in torch.arange(len(self.held.clean), device=self.held.clean.device).split(batch):
            each = self.held.batch(part, 0)
            yield each.input, each.target
