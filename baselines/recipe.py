"""How a network is trained: shape, loss, optimiser, schedule, and how much data for how long."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from math import cos, pi
from typing import Literal

import torch
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LambdaLR, LRScheduler, MultiStepLR, ReduceLROnPlateau

__all__ = ["Recipe"]


@dataclass(frozen=True)
class Recipe:
    """A training, as its authors describe it (`paper`) or as two cores can do it (`budget`).

    Arguments:
        epochs: Passes over the spectra.
        batch: Spectra of a step.
        spectra: Spectra of an epoch, and of the training set if it is simulated; None for all of a library.
        learning_rate: At the start.
        optimiser: `sgd` without momentum, or `adam`.
        loss: `mse`, or the `rmse` of each spectrum.
        schedule: `halve` after `wait` epochs without improvement, divide by ten after `wait` epochs (`tenth`), or `cosine`:
            up a straight line for `wait` epochs, and down half a cosine to a hundredth.
        wait: Epochs of the schedule.
        stop_after: Epochs without improvement after which to stop.
        shape: Arguments of the network besides its size.
        remark: Where this is not what the authors did, or where they do not say.
    """

    epochs: int
    batch: int
    learning_rate: float
    spectra: int | None = None
    optimiser: Literal["sgd", "adam"] = "adam"
    loss: Literal["mse", "rmse"] = "mse"
    schedule: Literal["halve", "tenth", "cosine"] = "cosine"
    wait: int = 0
    stop_after: int | None = None
    shape: Mapping[str, object] = field(default_factory=dict)
    remark: str = ""

    def make_optimiser(self, network: nn.Module) -> Optimizer:
        """The optimiser of a network's parameters."""
        if self.optimiser == "sgd":
            return torch.optim.SGD(network.parameters(), lr=self.learning_rate)
        return torch.optim.Adam(network.parameters(), lr=self.learning_rate)

    def make_schedule(self, optimiser: Optimizer) -> LRScheduler:
        """The learning rate, epoch by epoch."""
        if self.schedule == "halve":
            return ReduceLROnPlateau(optimiser, factor=0.5, patience=self.wait)
        if self.schedule == "tenth":
            return MultiStepLR(optimiser, [self.wait], 0.1)
        return LambdaLR(optimiser, self._cosine)

    def _cosine(self, epoch: int) -> float:
        """The learning rate of an epoch, counted from 0, in units of the largest."""
        if epoch < self.wait:
            return (epoch + 1) / (self.wait + 1)
        return 0.01 + 0.99 * (1 + cos(pi * (epoch - self.wait) / (self.epochs - self.wait))) / 2

    def loss_of(self, output: Tensor, target: Tensor) -> Tensor:
        r"""Mean over spectra :math:`(B, D)` of the mean square error, or of its root."""
        square = (output - target).square().mean(-1)
        return (square.sqrt() if self.loss == "rmse" else square).mean()
