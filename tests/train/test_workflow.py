"""The workflow from folders to a model that denoises."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from bayesden.errors import InputError
from bayesden.infer.denoise import denoise
from bayesden.io import ArmSpectrum, write_spec
from bayesden.model.checkpoint import load_model, read_header, save_model, save_part
from bayesden.model.class_prior import CLASSES
from bayesden.model.joint import SpectrumModel
from bayesden.spectrum import Grid
from bayesden.train.library import build_library
from bayesden.train.workflow import RECIPES, Recipe, reconstruction_table, train_model

GRID = Grid.uniform(4000.0, 9000.0, 128)
RECIPE = Recipe(
    generator={"latent_dim": 3, "components": 20, "hidden": (24,), "epochs": 40, "batch": 100},
    noise={"kind": "robust", "window": 2, "channels": 4, "hidden": 2, "epochs": 2},
    prior={"kernels": 40},
    per_class=40,
    seed=1,
)


@pytest.fixture(scope="module")
def spec_files(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Two stars with four exposures each."""
    folder, rng = tmp_path_factory.mktemp("specs"), np.random.default_rng(0)
    loglam = np.arange(3.59, 3.97, 2e-4)
    for star in range(2):
        flux = 10 * (1 + 0.2 * np.sin((20 + star) * loglam))
        ivar = np.full(loglam.size, 4.0)
        arms = [ArmSpectrum("r1", e, loglam, flux + 0.5 * rng.standard_normal(loglam.size), ivar) for e in range(4)]
        write_spec(folder / f"spec-1-1-000{star}.fits", arms)
    return sorted(folder.iterdir())


@pytest.fixture(scope="module")
def trained(templates: Path, spec_files: list[Path]) -> tuple[SpectrumModel, list[tuple]]:
    seen = []
    model = train_model(templates, spec_files, RECIPE, grid=GRID, progress=lambda *step: seen.append(step))
    return model, seen


def test_folders_become_a_model_that_denoises(trained: tuple, draw: Callable, tmp_path: Path) -> None:
    model, seen = trained
    assert model.grid == GRID and model.classes == CLASSES
    save_model(model, tmp_path / "model.safetensors")
    loaded = load_model(tmp_path / "model.safetensors")
    observations = draw(loaded, [2, 4, 9], exposures=2, snr=30.0)
    clean = draw(loaded, [2, 4, 9], exposures=1, snr=1e6)
    for post, truth in zip(denoise(observations, loaded), clean, strict=True):
        assert np.mean((post.flux - truth.flux[0]) ** 2) < (truth.flux[0] ** 2).mean() * 1e-2
    stages = [stage for stage, _, _ in seen]
    assert list(dict.fromkeys(stages)) == ["library", "generator", "noise"]
    last = {stage: (done, total) for stage, done, total in seen}
    assert all(done == total for done, total in last.values())


def test_the_card_tells_where_it_comes_from(trained: tuple, spec_files: list[Path]) -> None:
    card = trained[0].card
    names = [source["name"] for source in card["sources"]]
    assert set(names) == {"archetypes.npz", "cv.npz", "elodie.npz", "pyhammer.npz", *(p.name for p in spec_files)}
    assert all(len(source["sha256"]) == 64 for source in card["sources"])
    assert card["recipe"]["seed"] == 1 and card["recipe"]["generator"]["latent_dim"] == 3
    assert 0 < card["scores"]["reconstruction"]["all"] < 0.05
    assert np.isfinite(card["scores"]["noise_nats_per_pixel"])


def test_the_same_recipe_gives_the_same_model(trained: tuple, templates: Path, spec_files: list[Path]) -> None:
    again = train_model(templates, spec_files, RECIPE, grid=GRID)
    for key, value in trained[0].state_dict().items():
        torch.testing.assert_close(again.state_dict()[key], value, msg=key)


def test_parts_that_were_fitted_before_are_taken_as_they_are(trained: tuple, templates: Path, tmp_path: Path) -> None:
    model = trained[0]
    library = build_library(templates, grid=GRID, per_class=40, seed=1)
    parts = {name: tmp_path / f"{name}.safetensors" for name in ("generator", "latent_prior", "noise")}
    save_part("generator", model.generator, parts["generator"])
    generator_sha256 = read_header(parts["generator"])["sha256"]
    save_part("latent_prior", model.latent_prior, parts["latent_prior"], {"generator_sha256": generator_sha256})
    save_part("noise", model.noise, parts["noise"])
    joined = train_model(library, recipe=RECIPE, parts=parts)
    assert all(torch.equal(v, joined.state_dict()[k]) for k, v in model.state_dict().items())
    assert set(joined.card["parts"]) == set(parts)
    save_part("latent_prior", model.latent_prior, parts["latent_prior"], {"generator_sha256": "another"})
    with pytest.raises(InputError, match="expected the generator that it was fitted with, got another"):
        train_model(library, recipe=RECIPE, parts=parts)
    with pytest.raises(InputError, match="expected either spec files"):
        train_model(library, recipe=RECIPE)


def test_reconstruction_is_told_by_class(trained: tuple, templates: Path) -> None:
    library = build_library(templates, grid=GRID, per_class=40, seed=1)
    table = reconstruction_table(library, trained[0].generator)
    assert set(table) == {"all", *CLASSES}
    assert table["all"] <= max(v for v in table.values() if np.isfinite(v))


def test_the_recipes_differ_as_the_paper_does() -> None:
    assert RECIPES["kang2021"].generator["latent_dim"] == 3 and RECIPES["kang2021"].generator["isometry"] > 0
    assert RECIPES["kang2021"].noise["kind"] == "kang2021" and RECIPES["default"].noise["kind"] == "robust"
