"""The training loop: Lightning Fabric brings device, precision and checkpoints, the recipe all else.

A checkpoint is written every minute, between two epochs, beside the file that the weights will be in; the log of losses is
a CSV file with a row for each epoch. A training that is resumed goes on as if it had not stopped: order, noise and dropout
belong to the epoch.
"""

import copy
import csv
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from lightning_fabric import Fabric
from torch.optim.lr_scheduler import ReduceLROnPlateau

from bayesden.errors import InputError
from bayesden.io.files import replace_file

from .batches import Batches, Pairs
from .network import Network
from .recipe import Recipe
from .weights import checkpoint_path

__all__ = ["Epoch", "Fit", "fit"]

CHECKPOINT_S = 60.0  # a checkpoint of the largest network has half a gigabyte


@dataclass(frozen=True)
class Epoch:
    """One epoch of a training; `seconds` since its beginning and `cpu_s` of all threads, over all sittings."""

    number: int
    train: float
    validation: float
    learning_rate: float
    seconds: float
    cpu_s: float


@dataclass(frozen=True, eq=False)
class Fit:
    """A trained network with the weights that validated best, the losses of its epochs, and why it ended."""

    network: Network
    history: tuple[Epoch, ...]
    ended: str

    @property
    def best(self) -> Epoch:
        """The epoch whose weights are kept."""
        return min(self.history, key=lambda epoch: epoch.validation)


class _State:
    """What a training is between two epochs."""

    def __init__(self, fabric: Fabric, network: Network, recipe: Recipe, out: Path) -> None:
        optimiser = recipe.make_optimiser(network)
        self.schedule = recipe.make_schedule(optimiser)
        self.network, self.optimiser = fabric.setup(network, optimiser)
        self.fabric, self.recipe, self.out = fabric, recipe, out
        self.best = copy.deepcopy(network.state_dict())
        self.history: list[Epoch] = []

    def save(self) -> None:
        state = {
            "network": self.network,
            "optimiser": self.optimiser,
            "schedule": self.schedule.state_dict(),
            "best": self.best,
            "history": [asdict(epoch) for epoch in self.history],
            "recipe": {**asdict(self.recipe), "shape": dict(self.recipe.shape)},
        }
        with replace_file(checkpoint_path(self.out), overwrite=True) as temporary:
            self.fabric.save(temporary, state)

    def log(self) -> None:
        with replace_file(self.out.with_suffix(".csv"), overwrite=True) as temporary, temporary.open("w") as file:
            writer = csv.DictWriter(file, Epoch.__dataclass_fields__)
            writer.writeheader()
            writer.writerows(asdict(epoch) for epoch in self.history)

    def load(self) -> None:
        path = checkpoint_path(self.out)
        if not path.is_file():
            raise InputError(f"{path}: expected the checkpoint of an unfinished training, found none")
        try:
            rest = self.fabric.load(path, {"network": self.network, "optimiser": self.optimiser}, weights_only=True)
            recipe = rest["recipe"]
        except Exception as error:  # the archive's and the tensors' readers raise many kinds on a damaged file
            reason = str(error).strip().splitlines()[0]
            raise InputError(f"{path}: expected a checkpoint of this network, got another or none ({reason})") from None
        if recipe != {**asdict(self.recipe), "shape": dict(self.recipe.shape)}:
            raise InputError(f"{path}: expected a checkpoint of the same recipe, got another")
        self.schedule.load_state_dict(rest["schedule"])
        self.best = rest["best"]
        self.history = [Epoch(**epoch) for epoch in rest["history"]]


def _train(state: _State, pairs: Pairs) -> float:
    """One pass over the pairs; the mean loss."""
    state.network.train()
    total = count = 0
    for shown, target in pairs:
        loss = state.recipe.loss_of(state.network(shown).float(), target)
        state.optimiser.zero_grad()
        state.fabric.backward(loss)
        state.optimiser.step()
        total, count = total + loss.detach() * len(shown), count + len(shown)
    return float(total / count)


@torch.no_grad()
def _validate(state: _State, pairs: Pairs) -> float:
    state.network.eval()
    losses = [(state.recipe.loss_of(state.network(x).float(), target) * len(x), len(x)) for x, target in pairs]
    return float(sum(loss for loss, _ in losses) / sum(n for _, n in losses))


def _end(recipe: Recipe, history: list[Epoch], seconds: float | None) -> str | None:
    """Why a training is over, or None if it is not."""
    if not history:
        return None
    best = min(range(len(history)), key=lambda i: history[i].validation)
    if len(history) >= recipe.epochs:
        return "all epochs"
    if recipe.stop_after is not None and len(history) - 1 - best >= recipe.stop_after:
        return f"no improvement in {recipe.stop_after} epochs"
    if seconds is not None and history[-1].seconds >= seconds:
        return "time limit"
    return None


def fit(
    network: Network,
    recipe: Recipe,
    batches: Batches,
    out: Path,
    *,
    device: str = "cpu",
    precision: str = "32-true",
    seed: int = 0,
    resume: bool = False,
    seconds: float | None = None,
    progress: Callable[[Epoch], None] = lambda epoch: None,
) -> Fit:
    """Train a network.

    Arguments:
        network: Untrained.
        recipe: How.
        batches: What with.
        out: Where the weights shall be; checkpoint and log are written beside it.
        device: `cpu` or `cuda`.
        precision: As Fabric names it, such as `32-true` or `bf16-mixed`.
        seed: Of dropout.
        resume: Whether to go on from the checkpoint.
        seconds: Time after which no further epoch is begun.
        progress: Called after each epoch.

    Raises:
        InputError: if a checkpoint cannot be used, or the loss is no longer finite.
    """
    fabric = Fabric(accelerator=device, devices=1, precision=precision)
    fabric.launch()
    state = _State(fabric, network, recipe, out)
    if resume:
        state.load()
    before, cpu_before = (state.history[-1].seconds, state.history[-1].cpu_s) if state.history else (0.0, 0.0)
    start, cpu_start, saved = time.perf_counter(), time.process_time(), before
    while (ended := _end(recipe, state.history, seconds)) is None:
        number = len(state.history) + 1
        rate = state.optimiser.param_groups[0]["lr"]
        with torch.random.fork_rng(enabled=True):
            torch.manual_seed(seed * 1_000_003 + number)
            losses = (
                _train(state, batches.epoch(number, recipe.batch)),
                _validate(state, batches.validation(recipe.batch)),
            )
        if not all(map(torch.isfinite, map(torch.tensor, losses))):
            raise InputError(
                f"{out}: expected a finite loss, got {losses} in epoch {number}: try a smaller learning rate"
            )
        if not state.history or losses[1] < min(epoch.validation for epoch in state.history):
            state.best = copy.deepcopy(network.state_dict())
        state.schedule.step(*([losses[1]] if isinstance(state.schedule, ReduceLROnPlateau) else []))
        spent = (before + time.perf_counter() - start, cpu_before + time.process_time() - cpu_start)
        state.history.append(Epoch(number, *losses, rate, *spent))
        state.log()
        if (now := state.history[-1].seconds) - saved > CHECKPOINT_S:
            state.save()
            saved = now
        progress(state.history[-1])
    network.load_state_dict(state.best)
    return Fit(network.cpu().eval().requires_grad_(False), tuple(state.history), ended)
