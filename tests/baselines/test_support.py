"""The support statistic of a library's spectra: small for what the model draws, large for what it cannot."""

from collections.abc import Callable

import numpy as np
import torch

from baselines.support import statistics
from bayesden.model.noiseflow import NoiseFlow
from bayesden.spectrum import Observation
from bayesden.train.library import Library
from bayesden.train.noise import residuals


def test_what_the_model_draws_is_in_support_and_a_square_wave_is_not(toy_model: Callable) -> None:
    white = NoiseFlow("robust", size=64)  # before any fit
    model, rng = toy_model(noise=white), np.random.default_rng(0)
    label = torch.arange(12) % 3
    known = model.generator(model.latent_prior.sample(label, torch.Generator().manual_seed(0))).numpy()
    wave = 1 + 0.5 * np.sign(np.sin(np.arange(64) / 3.0)) * np.ones((12, 1))
    flux, ivar = 1 + 0.1 * rng.normal(size=(8, 64)), np.full((8, 64), 100.0)
    noise = residuals(Observation(model.grid.wavelength, flux, ivar, name="noise"))
    found = []
    for spectra in (known, wave):
        spectra = (spectra / np.abs(spectra).mean(1, keepdims=True)).astype(np.float32)
        library = Library(model.grid, spectra, label.numpy(), np.array(["star"] * 12), classes=model.classes)
        values, classes = statistics(library, noise, model, ratios=(20.0,), exposures=2, per_class=4)
        assert values.shape == (1, 12) and classes.tolist() == sorted(label.tolist())
        found.append(values)
    assert found[0].max() < 3 < found[1].min(), found
