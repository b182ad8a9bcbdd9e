"""Fit a `NoiseFlow` to the noise of repeated exposures, and compare its scale with the pipeline's."""

from collections.abc import Callable, Sequence
from copy import deepcopy
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ..errors import InputError
from ..model.noise_context import CHANNELS
from ..model.noiseflow import NoiseFlow
from ..model.residuals import NoiseSamples, residuals
from ..spectrum import ARM_BLUE, ARM_RED

__all__ = [
    "Epoch",
    "NoiseSamples",
    "ScaleProfile",
    "fit_noise",
    "residuals",
    "scale_profile",
    "scale_ratio",
]

BATCH = 4096  # pixels
FORGET = 0.2  # share of pixels that are shown without context, so that the flow knows what to think without it


class Epoch(NamedTuple):
    """Negative log-likelihood after an epoch, in nats per counted pixel."""

    train: float
    valid: float


class _Windows(NamedTuple):
    """What the flow needs of each counted pixel: the network's inputs (features x pixels), residual, log unit, weight."""

    inputs: Tensor
    white: Tensor
    log_unit: Tensor
    weight: Tensor
    edge_white: Tensor
    edge_log_unit: Tensor
    edge_index: Tensor


def _star_weight(samples: NoiseSamples) -> NDArray:
    """A weight for each exposure that makes stars count alike, however many exposures they have; 1 in the mean."""
    _, star, count = np.unique(samples.star, return_inverse=True, return_counts=True)
    return len(samples) / (len(count) * count[star])


def _windows(noise: NoiseFlow, samples: NoiseSamples, device: str) -> _Windows:
    eps, ivar, mask = samples.tensors(device)
    net, k = noise.network, noise.window
    white, unit = net.whiten(eps, ivar, mask)
    inner = noise.counted(mask)
    edge = inner.clone()
    inner[:, :k], edge[:, k:] = False, False
    context = samples.context_tensor(device) if net.context else None
    inputs = net.inputs(net.predecessors(white)[0], ivar, mask, context)[:, inner.flatten()]
    weight = torch.tensor(_star_weight(samples), dtype=eps.dtype, device=device)[:, None].expand_as(eps)[inner]
    index = torch.arange(noise.size, device=device).expand_as(mask)[edge] % len(net.edge_mu)
    return _Windows(inputs, white[inner], unit[inner].log(), weight, white[edge], unit[edge].log(), index)


def _nll(noise: NoiseFlow, w: _Windows, batch: Tensor | slice = slice(None), forget: Tensor | None = None) -> Tensor:
    """Nats per pixel, from a batch of the pixels that have all predecessors and all of those that do not.

    With `forget`, a training loss: those pixels of the batch lack their context, and all have their weights.
    """
    net, inputs = noise.network, w.inputs[:, batch]
    if forget is not None and net.context:
        inputs = torch.cat([inputs[: -net.context], torch.where(forget, 0.0, inputs[-net.context :])])
    mu, alpha = net.bound(net.layers(inputs))
    inner = noise.log_density((w.white[batch] - mu) * torch.exp(-alpha)) - alpha + w.log_unit[batch]
    inner = inner if forget is None else inner * w.weight[batch]
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
    **config: float | Sequence[str],
) -> tuple[NoiseFlow, list[Epoch]]:
    """Fit a noise flow by maximum likelihood on the counted pixels, each star with the same weight.

    The kind `robust` is conditioned on all channels of `noise_context.py`, which a fifth of the pixels is shown without. The
    state that is best on held-out exposures is kept. Deterministic for a given seed on one device.

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
    config = ({"context": CHANNELS, "profile": "scale"} if kind == "robust" else {}) | config
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
            forget = (torch.rand(len(batch), generator=generator) < FORGET).to(device)
            loss = _nll(noise, train, batch, forget)
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


ARMS = {"blue": ARM_BLUE, "red": ARM_RED, "both": ARM_BLUE | ARM_RED}


def _over_pipeline(noise: NoiseFlow, samples: NoiseSamples) -> NDArray:
    """The flow's scale over the pipeline's sigma, shape (N, D); NaN where a pixel does not count."""
    eps, ivar, mask = samples.tensors(str(next(noise.parameters()).device))
    context = samples.context_tensor(eps.device)
    return (noise.scale(eps, ivar, mask, context) * ivar.sqrt()).cpu().numpy()


def scale_ratio(noise: NoiseFlow, samples: NoiseSamples) -> dict[str, float]:
    r"""The noise's scale under the flow over the pipeline's :math:`1/\sqrt{\text{ivar}}`: each arm's median.

    Arguments:
        noise: The flow; its scale is half the width of the central 68.3 % given the preceding pixels.
        samples: Exposures to evaluate it on.

    Returns:
        One number for `all`, and for `blue`, `red` and `both` (the arms' overlap) where there are such pixels. Below 1,
        the pipeline overestimates the errors.
    """
    ratio = _over_pipeline(noise, samples)
    parts = {"all": ratio} | {name: ratio[samples.arm == bits] for name, bits in ARMS.items()}
    return {name: float(np.nanmedian(part)) for name, part in parts.items() if np.isfinite(part).any()}


class ScaleProfile(NamedTuple):
    """How large the noise is, over the pipeline's sigma, in one arm.

    Arguments:
        wavelength: Middle of each bin, shape (B,), vacuum Å.
        scale: Median of the flow's scale given the preceding pixels, shape (B,).
        scatter: Half the width of the central 68.3 % of the residuals themselves, shape (B,).
    """

    wavelength: NDArray
    scale: NDArray
    scatter: NDArray


def scale_profile(noise: NoiseFlow, samples: NoiseSamples, bins: int = 20) -> dict[str, ScaleProfile]:
    """The noise's scale over the pipeline's by arm and wavelength.

    Arguments:
        noise: The flow.
        samples: Exposures to evaluate it on.
        bins: Bins of equal width over the grid.

    Returns:
        A profile for each arm that the samples name, of the bins where it has at least 30 pixels; for `all` if they name
        none.
    """
    ratio, white = _over_pipeline(noise, samples), samples.eps * np.sqrt(samples.ivar)
    edges = np.linspace(samples.wavelength[0], samples.wavelength[-1], bins + 1)
    place = np.clip(np.searchsorted(edges, samples.wavelength, side="right") - 1, 0, bins - 1)
    arms = {name: samples.arm == bits for name, bits in ARMS.items()} if samples.arm.any() else {}
    profiles = {}
    for name, inside in (arms or {"all": np.ones(ratio.shape, bool)}).items():
        rows = []
        for b in range(bins):
            here = inside & (place == b) & np.isfinite(ratio)
            if here.sum() >= 30:
                low, high = np.quantile(white[here], [0.1587, 0.8413])
                rows.append(((edges[b] + edges[b + 1]) / 2, np.median(ratio[here]), (high - low) / 2))
        if rows:
            profiles[name] = ScaleProfile(*np.array(rows).T)
    return profiles
