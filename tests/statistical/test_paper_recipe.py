"""The recipe of Kang, He & Zhang (2021), three latents and isometry, reaches the paper's level; trained here, in minutes."""

from pathlib import Path

import numpy as np
import pytest

from bayesden.evaluate.testbed import real_noise_bed, reconstruction_loss
from bayesden.infer.denoise import denoise
from bayesden.model.joint import SpectrumModel
from bayesden.train.library import Library
from bayesden.train.noise import NoiseSamples
from bayesden.train.workflow import RECIPES, train_model

pytestmark = pytest.mark.statistical


@pytest.fixture(scope="module")
def paper(library: Library, noise_files: list[Path]) -> SpectrumModel:
    generator = RECIPES["kang2021"].generator
    assert generator["latent_dim"] == 3 and generator["isometry"] > 0
    return train_model(library, noise_files, "kang2021")


def test_held_out_spectra_are_reconstructed(paper: SpectrumModel) -> None:
    medians = paper.card["scores"]["reconstruction"]
    assert medians["all"] <= 1e-3
    assert max(medians.values()) <= 2e-3, medians


@pytest.mark.parametrize("snr", [10.0, 20.0])
def test_loss_on_real_noise(paper: SpectrumModel, held_out: Library, noise: NoiseSamples, snr: float) -> None:
    bed = real_noise_bed(held_out, noise, snr=snr, per_class=20, seed=1)
    flux = np.array([p.flux for p in denoise(list(bed.observations), paper)])
    assert np.median(reconstruction_loss(flux, bed.truth)) <= 1e-3
