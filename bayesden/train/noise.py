"""Fit a `NoiseFlow` to the noise of repeated exposures, and compare its scale with the pipeline's."""

from collections.abc import Callable
from copy import deepcopy
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ..errors import InputError
from ..model.noiseflow import NoiseFlow
from ..model.residuals import NoiseSamples, residuals
from ..spectrum import ARM_BLUE, ARM_RED

__all__ = ["Epoch", "NoiseSamples", "fit_noise", "residuals", "scale_ratio"]

BATCH = 4096  # pixels


class Epoch(NamedTuple):
    """Negative log-likelihood after an epoch, in nats per counted pixel."""

    train: float
    valid: float


class _Windows(NamedTuple):
    """What the flow needs of each counted pixel: the network's inputs (features x pixels), residual, log unit."""

    inputs: Tensor
    white: Tensor
    log_unit: Tensor
    edge_white: Tensor
    edge_log_unit: Tensor
    edge_index: Tensor


def _windows(noise: NoiseFlow, samples: NoiseSamples, device: str) -> _Windows:
    eps, ivar, mask = samples.tensors(device)
    net, k = noise.network, noise.window
    white, unit = net.whiten(eps, ivar, mask)
    inner = noise.counted(mask)
    edge = inner.clone()
    inner[:, :k], edge[:, k:] = False, False
    inputs = net.inputs(net.predecessors(white)[0], ivar, mask)[:, inner.flatten()]
    index = torch.arange(noise.size, device=device).expand_as(mask)[edge] % len(net.edge_mu)
    return _Windows(inputs, white[inner], unit[inner].log(), white[edge], unit[edge].log(), index)


def _nll(noise: NoiseFlow, w: _Windows, batch: Tensor | slice = slice(None)) -> Tensor:
    """Nats per pixel, from a batch of the pixels that have all predecessors and all of those that do not."""
    net = noise.network
    mu, alpha = net.bound(net.layers(w.inputs[:, batch])[-1])
    inner = noise.log_density((w.white[batch] - mu) * torch.exp(-alpha)) - alpha + w.log_unit[batch]
    alpha = net.edge_alpha[w.edge_index]
    edge = noise.log_density((w.edge_white - net.edge_mu[w.edge_index]) * torch.exp(-alpha)) - alpha + w.edge_log_unit
    n_inner, n_edge = len(w.white), len(w.edge_white)
    return -(inner.mean() * n_inner + edge.sum()) / (n_inner + n_edge)


def _split(samples: NoiseSamples, rng: np.random.Generator, share: float) -> NDArray:
    """Which exposures to hold out: whole stars from ten stars on, else some of each star that has more than two."""
    stars = list(dict.fromkeys(samples.star))
    star = np.array([stars.index(name) for name in samples.star])
    if len(stars) >= 10:
        return np.isin(star, rng.permutation(len(stars))[: max(1, round(share * len(stars)))])
    held_out = np.zeros(len(samples), bool)
    for i in range(len(stars)):
        index = rng.permutation(np.flatnonzero(star == i))
        if len(index) > 2:
            held_out[index[: max(1, round(share * len(index)))]] = True
    if not held_out.any():
        held_out[rng.integers(len(samples))] = True
    return held_out


def _initialize(noise: NoiseFlow, w: _Windows) -> None:
    """Start the scale at the residuals' own, so that the fit begins from an iid model."""
    spread = torch.log(1.4826 * w.white.abs().median().clamp_min(1e-12))
    with torch.no_grad():
        noise.network.edge_alpha.fill_(spread)
        noise.network.heads.bias[1] = spread


def fit_noise(
    samples: NoiseSamples,
    *,
    kind: str = "robust",
    seed: int = 0,
    epochs: int = 60,
    patience: int = 40,
    learning_rate: float = 0.02,
    validation_share: float = 0.15,
    device: str = "cpu",
    progress: Callable[[int, int, Epoch], None] | None = None,
    **config: int | float,
) -> tuple[NoiseFlow, list[Epoch]]:
    """Fit a noise flow by maximum likelihood on the counted pixels.

    The state that is best on held-out exposures is kept. Deterministic for a given seed on one device.

    Arguments:
        samples: Noise of at least two exposures, from `residuals`.
        kind: `robust` or `kang2021`.
        seed: Seed of the split, the initial weights and the batches.
        epochs: Largest number of passes over the data.
        patience: Passes without improvement after which to stop.
        learning_rate: Adam's largest step; it decays with a cosine.
        validation_share: Share held out for early stopping: of the stars where there are ten or more, else of
            each star's exposures.
        device: Where to fit.
        progress: Called after each epoch with its number from 1, the number of epochs, and the losses.
        config: Further arguments of `NoiseFlow`.

    Returns:
        The flow in evaluation mode on `device`, and the losses of each epoch.

    Raises:
        InputError: if there are fewer than two exposures or no pixel counts.
    """
    if len(samples) < 2:
        raise InputError(f"noise samples: expected at least two exposures, got {len(samples)}")
    held_out = _split(samples, np.random.default_rng(seed), validation_share)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        noise = NoiseFlow(kind, size=samples.eps.shape[1], **config).to(device)
    generator = torch.Generator().manual_seed(seed)
    train, valid = (_windows(noise, samples.select(keep), device) for keep in (~held_out, held_out))
    n = len(train.white)
    if n == 0 or len(valid.white) == 0:
        raise InputError(f"noise samples: expected pixels with {noise.window} unmasked predecessors, got none")
    _initialize(noise, train)
    steps = -(-n // BATCH)
    optimizer = torch.optim.Adam([p for p in noise.parameters() if p.requires_grad], lr=learning_rate)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, learning_rate, total_steps=epochs * steps)
    history, best, best_state, best_epoch = [], np.inf, deepcopy(noise.state_dict()), 0
    for epoch in range(1, epochs + 1):
        total = 0.0
        for batch in torch.randperm(n, generator=generator).to(device).split(BATCH):
            optimizer.zero_grad()
            loss = _nll(noise, train, batch)
            loss.backward()
            optimizer.step()
            schedule.step()
            total += loss.item() * len(batch) / n
        with torch.no_grad():
            history.append(Epoch(total, _nll(noise, valid).item()))
        if history[-1].valid < best:
            best, best_state, best_epoch = history[-1].valid, deepcopy(noise.state_dict()), epoch
        if progress is not None:
            progress(epoch, epochs, history[-1])
        if epoch - best_epoch >= patience:
            break
    noise.load_state_dict(best_state)
    return noise.eval(), history


def scale_ratio(noise: NoiseFlow, samples: NoiseSamples) -> dict[str, float]:
    r"""The noise's scale under the flow over the pipeline's :math:`1/\sqrt{\text{ivar}}`: each arm's median.

    Arguments:
        noise: The flow; its scale is half the width of the central 68.3 % given the preceding pixels.
        samples: Exposures to evaluate it on.

    Returns:
        One number for `all`, and for `blue`, `red` and `both` (the arms' overlap) where there are such pixels. Below 1,
        the pipeline overestimates the errors, or resampling has averaged noise out.
    """
    eps, ivar, mask = samples.tensors(str(next(noise.parameters()).device))
    ratio = (noise.scale(eps, ivar, mask) * ivar.sqrt()).cpu().numpy()
    arms = {"blue": ARM_BLUE, "red": ARM_RED, "both": ARM_BLUE | ARM_RED}
    parts = {"all": ratio} | {name: ratio[samples.arm == bits] for name, bits in arms.items()}
    return {name: float(np.nanmedian(part)) for name, part in parts.items() if np.isfinite(part).any()}
