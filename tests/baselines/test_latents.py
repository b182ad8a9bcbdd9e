"""The comparison of latents and priors: a row for each choice, on the same data, in a form that a card takes."""

import json
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from baselines.latents import card_table, compare, lines, run
from bayesden.errors import InputError
from bayesden.model.checkpoint import save_model
from bayesden.model.joint import SpectrumModel
from bayesden.train.card import read_scores
from bayesden.train.library import Library


@pytest.fixture
def library(toy_model: Callable[..., SpectrumModel]) -> Library:
    model, rng = toy_model(), np.random.default_rng(0)
    label = np.arange(240) % 3
    z = np.stack([model.latent_prior.latents(k)[rng.integers(40)] for k in label.tolist()])
    flux = model.generator(model.latent_prior.latents(0).new_tensor(z)).numpy() + 0.01 * rng.standard_normal((240, 64))
    return Library(
        model.grid, flux.astype(np.float32), label, np.array([f"star-{i}" for i in range(240)]), classes=model.classes
    )


def test_a_row_for_each_model_volume_and_ratio(toy_model: Callable, library: Library) -> None:
    models, said = {"one": toy_model(), "two": toy_model(seed=1)}, []
    rows = compare(library, models, ratios=(20.0, 50.0), per_class=4, draws=64, report=said.append)
    assert len(rows) == len(said) == 8 and len(lines(rows)) == 10
    assert [(r.model, r.volume, r.snr) for r in rows[:4]] == [
        ("one", v, s) for v in (False, True) for s in (20.0, 50.0)
    ]
    mean = {name: np.mean([r.nats_per_pixel for r in rows if r.model == name]) for name in models}
    assert mean["one"] > mean["two"] + 0.05  # the generator that made the spectra, against another
    assert all(len(r.short) == len(r.label) <= 12 and r.effective > 0.01 for r in rows)
    table = card_table(rows)["held_out_nats_per_pixel"]
    assert len(table) == 4 and all(set(row) == {"S/N 20", "S/N 50"} for row in table.values())


def test_the_command_writes_what_a_card_takes(toy_model: Callable, library: Library, tmp_path: Path) -> None:
    library.save(tmp_path / "library.npz")
    save_model(toy_model(), tmp_path / "model.safetensors")
    words = {"library": tmp_path / "library.npz", "model": [tmp_path / "model.safetensors"], "snr": [20.0]}
    run(SimpleNamespace(**words, per_class=2, draws=32, seed=0, out=tmp_path / "out"))
    assert len((tmp_path / "out" / "latents.md").read_text().splitlines()) == 4
    scores = read_scores(tmp_path / "out" / "latents.json")
    assert list(scores["held_out_nats_per_pixel"]) == [
        "model (L = 2, kde, volume off)",
        "model (L = 2, kde, volume on)",
    ]
    assert json.loads(json.dumps(scores)) == scores


def test_another_grid_is_refused(toy_model: Callable, library: Library) -> None:
    with pytest.raises(InputError, match="expected a number of pixels of 32 as the generator of small has, got 64"):
        compare(library, {"small": toy_model(32)})
