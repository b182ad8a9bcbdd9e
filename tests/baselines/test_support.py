"""The null of the support p-value: made of a library's spectra, kept in the model's file, strict about what is no star."""

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch

import baselines.support as command
from bayesden.infer.support import Null
from bayesden.model.checkpoint import load_model, save_model
from bayesden.model.joint import SpectrumModel
from bayesden.model.noiseflow import NoiseFlow
from bayesden.spectrum import Observation
from bayesden.train.library import Library
from bayesden.train.noise import NoiseSamples, residuals

SIZE = 128


def library_of(model: SpectrumModel, spectra: np.ndarray) -> Library:
    spectra = (spectra / np.abs(spectra).mean(1, keepdims=True)).astype(np.float32)
    label, names = np.arange(len(spectra)) % 3, np.array(["star-17"] * len(spectra))  # of the validation split
    return Library(model.grid, spectra, label, names, classes=model.classes)


@pytest.fixture(scope="module")
def scene(toy_model: Callable) -> tuple[SpectrumModel, Library, NoiseSamples]:
    """A model, spectra that it can make, and white noise."""
    model, rng = toy_model(SIZE, noise=NoiseFlow("robust", size=SIZE)), np.random.default_rng(0)
    known = model.generator(model.latent_prior.sample(torch.arange(24) % 3, torch.Generator().manual_seed(0))).numpy()
    flux, ivar = 1 + 0.1 * rng.normal(size=(8, SIZE)), np.full((8, SIZE), 100.0)
    return model, library_of(model, known), residuals(Observation(model.grid.wavelength, flux, ivar, name="noise"))


def test_what_the_model_draws_is_ordinary_and_a_square_wave_is_not(scene: tuple) -> None:
    model, known, noise = scene
    options = {"ratios": (10.0, 20.0), "exposures": (2,), "per_class": 8}
    found, label = command.surprises(known, noise, model, **options)
    assert list(found) == [(10.0, 2), (20.0, 2)] and sorted(label.tolist()) == sorted(known.label.tolist())
    null = Null.fit([s for row in found.values() for s in row])
    wave = library_of(model, 1 + 0.5 * np.sign(np.sin(np.arange(SIZE) / 3.0)) * np.ones((12, 1)))
    strange, _ = command.surprises(wave, noise, model, ratios=(20.0,), exposures=(2,), per_class=4)
    p = [[null.p_value(s) for s in row] for row in (found[20.0, 2], strange[20.0, 2])]
    assert np.median(p[0]) > 0.2 and max(p[1]) < 0.01 and np.median(p[1]) < 1e-4, p


def test_misfit_is_of_the_size_that_is_asked_for(scene: tuple) -> None:
    _, known, _ = scene
    changed = command.misfitting(known, 0.02, seed=0)
    assert np.std(changed.flux / known.flux - 1) == pytest.approx(0.02, rel=0.01)
    assert np.array_equal(command.misfitting(known, 0.0, seed=0).flux, known.flux)


def test_the_command_writes_a_model_with_its_null(scene: tuple, monkeypatch, tmp_path: Path, capsys) -> None:
    model, known, noise = scene
    monkeypatch.setattr(command, "load_library", lambda path: known)
    monkeypatch.setattr(command, "noise_samples", lambda paths, grid: noise)
    monkeypatch.setattr(command, "RATIOS", (10.0,))
    save_model(model, tmp_path / "old.safetensors")
    options = {"model": tmp_path / "old.safetensors", "write": tmp_path / "new.safetensors", "split": "validation"}
    command.run(SimpleNamespace(library="", noise=[], per_class=4, seed=0, **options))
    words = capsys.readouterr().out
    assert "S/N 10, 4 exposures: p below 0.5" in words and "all: " in words
    card = load_model(tmp_path / "new.safetensors").card
    assert f'{{"support": {{"residual": {{"share": [{card["support"]["residual"]["share"][0]}' in words
    assert Null.from_card(card["support"]).to_card()["latent"]["table"] == tuple(card["support"]["latent"]["table"])
