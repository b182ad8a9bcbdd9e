"""Efficiency against the Cramér-Rao bound: the bound is the rank's share of the noise, and a model meets it on its own stars."""

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

import baselines.efficiency as command
from bayesden.model.joint import SpectrumModel
from bayesden.model.noiseflow import NoiseFlow
from bayesden.model.nuisance import Nuisance
from bayesden.train.library import Library

SIZE = 128


@pytest.fixture(scope="module")
def model(toy_model: Callable) -> SpectrumModel:
    return toy_model(SIZE, noise=NoiseFlow("robust", size=SIZE), nuisance=Nuisance(calibration_sd=0.0))


@pytest.fixture(scope="module")
def library(model: SpectrumModel) -> Library:
    """The model's own stars, every other one under the name of an archetype; the last class has none."""
    stars, _, _ = command.own_stars(model, 60, seed=1)
    theory = (np.arange(60) % 2 == 0) & (stars.label < 2)
    name = np.where(theory, "archetype/A/0001", "star-17")
    return Library(model.grid, stars.flux, stars.label, name, classes=model.classes)


def test_archetypes_are_told_by_their_names_and_keep_their_classes(library: Library) -> None:
    some = command.archetypes(library)
    assert len(some) == sum(n.startswith("archetype/") for n in library.name.tolist())
    assert some.classes == library.classes[:2] and set(some.label.tolist()) == {0, 1}


def test_the_bound_is_the_share_of_the_noise_that_the_unknowns_have(model: SpectrumModel) -> None:
    stars, at, amplitude = command.own_stars(model, 12, seed=2)
    sigma = np.linspace(0.05, 0.2, 12)
    plain, informed = command._own_bounds(model, at, amplitude, sigma)
    unknowns = at.z.shape[1] + model.rank + model.foreground + 1
    np.testing.assert_allclose(plain, sigma**2 * unknowns / SIZE, rtol=1e-6)
    assert (informed < plain).all()
    np.testing.assert_allclose(np.abs(stars.flux).mean(1), 1.0, rtol=1e-5)


def test_a_model_is_efficient_on_its_own_stars(model: SpectrumModel, library: Library, tmp_path: Path) -> None:
    rows = command.efficiencies(model, library, ratios=(20.0,), per_class=8)
    own = [r for r in rows if r.truth == "generator"]
    assert len(own) == 24 and all(np.isnan(r.with_prior) for r in rows if r.truth == "archetypes")
    assert 0.5 < sum(r.bound for r in own) / sum(r.loss for r in own) < 4
    exact = [command.Row("generator", 20.0, r.spectral_class, r.bound, r.bound, r.bound) for r in own]
    assert command.table(exact, model.classes).count("1.00") == 6


def test_the_command_writes_table_and_figure(model, library, monkeypatch, tmp_path: Path, capsys) -> None:
    monkeypatch.setattr(command, "load_library", lambda path: library)
    monkeypatch.setattr(command, "load_model", lambda name: model)
    monkeypatch.setattr(command, "efficiencies", lambda *a, **k: EXAMPLE)
    monkeypatch.setattr(Library, "subset", lambda self, split: self)
    command.run(SimpleNamespace(library="", split="test", per_class=2, model=None, out=str(tmp_path), seed=0))
    assert "| generator | 10 | 0.50 |" in capsys.readouterr().out
    assert {p.name for p in tmp_path.iterdir()} == {"efficiency.md", "efficiency.csv", "efficiency.png"}


EXAMPLE = [
    command.Row("generator", 10.0, "O", 1.0, 0.8, 2.0),
    command.Row("generator", 20.0, "O", 0.5, 0.4, 1.0),
    command.Row("archetypes", 10.0, "O", 1.0, float("nan"), 2.0),
    command.Row("archetypes", 20.0, "O", 1.0, float("nan"), 4.0),
]
