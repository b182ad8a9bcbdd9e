r"""Training of the generator: reconstruction plus local isometry (Kang et al. 2021, eq. 10)."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from ..model.generator import BasisGenerator, Generator, build_generator
from .library import Library

__all__ = ["GeneratorFit", "fit_generator", "isometry_loss", "reconstruction_loss"]


@dataclass(frozen=True)
class GeneratorFit:
    """A trained generator and how its training went: one (epoch, train, validation) row for each report."""

    generator: Generator
    history: tuple[tuple[int, float, float], ...]


def reconstruction_loss(generator: Generator, flux: Tensor) -> Tensor:
    r"""Mean squared error over pixels of :math:`G(E(s))`, for each of the spectra :math:`(N, D)`; shape :math:`(N,)`."""
    with torch.no_grad():
        return torch.cat([(generator(generator.encode(s)) - s).square().mean(-1) for s in flux.split(2048)])


def isometry_loss(generator: Generator, z: Tensor, projected: Tensor, delta: float, noise: torch.Generator) -> Tensor:
    r""":math:`\big|\,\|G(z) - G(z + \delta)\| - |\delta|\,\big|^2`, with :math:`\delta` uniform on a sphere (eq. 10).

    Distances between spectra are root-mean-square over the D pixels.
    """
    direction = torch.randn(z.shape, generator=noise)
    step = delta * direction / direction.norm(dim=-1, keepdim=True)
    moved = generator.decode_projected(z + step)
    length = ((moved - projected).square().sum(-1) / generator.size + 1e-16).sqrt()
    return (length - delta).square().mean()


def fit_generator(
    library: Library,
    *,
    kind: str = "basis",
    latent_dim: int = 8,
    isometry: float = 0.0,
    delta: float = 0.1,
    epochs: int = 300,
    batch: int = 500,
    learning_rate: float = 2e-3,
    seed: int = 0,
    progress: Callable[[int, int, float], None] | None = None,
    **shape: object,
) -> GeneratorFit:
    r"""Train encoder and generator on a library's training split; keep the weights that validate best.

    Arguments:
        library: Clean spectra.
        kind: 'basis' or 'conv'.
        latent_dim: :math:`L`.
        isometry: Weight of the isometry term; the reconstruction is in units of mean |flux| = 1.
        delta: Radius of the perturbation, in units of rms flux.
        epochs, batch, learning_rate: Adam with a one-cycle learning rate.
        seed: Seed of the weights, the order of the spectra and the perturbations.
        progress: Called with (epoch, epochs, validation loss).
        shape: Further arguments of the generator, such as ``components`` or ``channels``.

    Returns:
        The generator in evaluation mode, with its history.
    """
    noise = torch.Generator().manual_seed(seed)
    train, validation = (torch.from_numpy(library.subset(split).flux) for split in ("train", "validation"))
    with torch.random.fork_rng(devices=[]):  # the initial weights come from the global generator
        torch.manual_seed(seed)
        generator = build_generator({"kind": kind, "size": library.grid.size, "latent_dim": latent_dim, **shape})
    if isinstance(generator, BasisGenerator):
        generator.set_basis(train)
    target = generator.project(train)
    steps = epochs * -(-len(target) // batch)
    optimiser = torch.optim.Adam(generator.parameters(), lr=learning_rate)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, learning_rate, total_steps=steps)
    best, best_state, history = float("inf"), None, []
    for epoch in range(1, epochs + 1):
        total = 0.0
        for index in torch.randperm(len(target), generator=noise).split(batch):
            x = target[index]
            z = generator.encode_projected(x)
            decoded = generator.decode_projected(z)
            loss = (decoded - x).square().sum(-1).mean() / generator.size
            total += loss.item() * len(index)
            if isometry:
                loss = loss + isometry * isometry_loss(generator, z, decoded, delta, noise)
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            schedule.step()
        if epoch % max(1, epochs // 50) == 0 or epoch == epochs:
            score = reconstruction_loss(generator, validation).log().mean().exp().item()
            history.append((epoch, total / len(target), score))
            if score < best:
                best, best_state = score, {k: v.clone() for k, v in generator.state_dict().items()}
            if progress:
                progress(epoch, epochs, score)
    generator.load_state_dict(best_state)
    return GeneratorFit(generator.eval().requires_grad_(False), tuple(history))
