"""Our model for the galaxies of test bed B4: its generator is trained on the same set as the networks.

    python -m baselines galaxy-model --library galaxies.npz --out galaxies.safetensors

Galaxies are at rest, so there is no frame; the velocity dispersion is among what the latents carry. The noise is fitted on
that of a hundred galaxies of the validation split.
"""

from argparse import ArgumentParser, Namespace
from pathlib import Path

import numpy as np

from bayesden.model.checkpoint import save_model
from bayesden.model.joint import SpectrumModel
from bayesden.model.noiseflow import NoiseFlow
from bayesden.model.nuisance import Nuisance
from bayesden.train.generator import fit_generator
from bayesden.train.library import Library
from bayesden.train.noise import NoiseSamples, fit_noise
from bayesden.train.prior import assemble, fit_prior

from ..arguments import add_seed
from .bed import SNR_WINDOW_A, noise_curve
from .library import load_galaxies

__all__ = ["add_arguments", "fit_galaxy_model", "galaxy_noise", "run"]

NETWORK = {"latent_dim": 8, "components": 64, "epochs": 40}
NUISANCE = {"calibration_sd": 0.0}
KERNELS = 2000  # of the latent prior
RANK = 12  # of the inferred discrepancy
NOISY, NOISY_SNR = 100, 10.0


def galaxy_noise(library: Library, n: int, snr: float, *, seed: int = 0) -> NoiseSamples:
    """The noise of the first n galaxies of a library, in units of each one's mean flux."""
    wavelength, flux = library.grid.wavelength, library.flux[:n].astype(float)
    low, high = SNR_WINDOW_A
    level = flux[:, (wavelength >= low) & (wavelength <= high)].mean(1, keepdims=True)
    sigma = level / snr * noise_curve(wavelength)
    eps = sigma * np.random.default_rng(seed).standard_normal(sigma.shape)
    seen, arm = np.zeros(eps.shape, bool), np.zeros(eps.shape, np.uint8)
    return NoiseSamples(wavelength, eps, sigma**-2, seen, arm, tuple(library.name[:n].tolist()))


def _noise(library: Library, seed: int) -> NoiseFlow:
    samples = galaxy_noise(library.subset("validation"), NOISY, NOISY_SNR, seed=seed)
    return fit_noise(samples, kind="robust", seed=seed, epochs=5, context=(), profile="none")[0]


def fit_galaxy_model(library: Library, *, seed: int = 0, **network: int) -> SpectrumModel:
    """Generator, latent prior, discrepancy and noise of a library of galaxies."""
    generator = fit_generator(library, seed=seed, **{**NETWORK, **network}).generator
    prior = fit_prior(library, generator, seed=seed, kind="local-kde", kernels=KERNELS)
    return assemble(library, generator, _noise(library, seed), prior=prior, nuisance=Nuisance(**NUISANCE), rank=RANK)


def add_arguments(parser: ArgumentParser) -> None:
    """The command's own arguments."""
    parser.add_argument("--library", required=True, help="library file made by `python -m baselines galaxies`")
    parser.add_argument("--out", default="galaxies.safetensors", help="file for the model")
    add_seed(parser)


def run(arguments: Namespace) -> None:
    """The command: see `python -m baselines galaxy-model --help`."""
    model = fit_galaxy_model(load_galaxies(arguments.library), seed=arguments.seed)
    save_model(model, Path(arguments.out))
    print(f"wrote {arguments.out}")
