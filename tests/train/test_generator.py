"""Laws of the generator's training: it learns, it repeats, it keeps the best, and isometry is what its weight buys."""

import math
from collections.abc import Callable

import pytest
import torch

from bayesden.errors import InputError
from bayesden.train.generator import fit_generator, isometry_loss, reconstruction_loss

SMALL = {"latent_dim": 2, "components": 12, "hidden": (16, 16), "batch": 40, "learning_rate": 5e-3}


@pytest.mark.parametrize(
    "options", [SMALL, {"kind": "conv", "latent_dim": 2, "channels": (4, 8), "batch": 40}], ids=["basis", "conv"]
)
def test_training_lowers_the_loss_of_held_out_spectra(library: Callable, options: dict) -> None:
    data = library()
    held_out = torch.from_numpy(data.subset("test").flux)
    one, many = (fit_generator(data, epochs=epochs, **options) for epochs in (1, 60))
    before, after = (reconstruction_loss(fit.generator, held_out).median() for fit in (one, many))
    assert after < 0.3 * before
    assert not many.generator.training and not any(p.requires_grad for p in many.generator.parameters())
    assert [row[0] for row in many.history] == sorted({row[0] for row in many.history})


def test_the_same_seed_gives_the_same_weights(library: Callable) -> None:
    data = library(100)
    one, two, other = (fit_generator(data, epochs=3, seed=seed, **SMALL).generator for seed in (1, 1, 2))
    assert all(torch.equal(v, two.state_dict()[k]) for k, v in one.state_dict().items())
    assert not torch.equal(one.decoder[0].weight, other.decoder[0].weight)


def test_training_leaves_the_global_generator_alone(library: Callable) -> None:
    torch.manual_seed(4)
    expected = torch.rand(2)
    torch.manual_seed(4)
    fit_generator(library(100), epochs=2, **SMALL)
    assert torch.equal(torch.rand(2), expected)


def test_the_weights_that_validate_best_are_kept(library: Callable) -> None:
    data = library(100)
    fit = fit_generator(data, epochs=40, **SMALL)
    score = reconstruction_loss(fit.generator, torch.from_numpy(data.subset("validation").flux)).log().mean().exp()
    assert score.item() == pytest.approx(min(row[2] for row in fit.history), rel=1e-5)


def test_the_isometry_weight_lowers_the_deviation_from_isometry(library: Callable) -> None:
    data = library()
    flux = torch.from_numpy(data.subset("test").flux)
    deviation, volume = {}, {}
    for weight in (0.0, 1.0):
        generator = fit_generator(data, epochs=80, isometry=weight, **SMALL).generator
        z = generator.encode(flux)
        random = torch.Generator().manual_seed(0)
        deviation[weight] = isometry_loss(generator, z, generator.decode_projected(z), 0.1, random).item()
        volume[weight] = generator.log_volume(z).abs().median().item()
    assert deviation[1.0] < 0.6 * deviation[0.0]
    assert volume[1.0] < volume[0.0]


def test_progress_is_told(library: Callable) -> None:
    seen = []
    fit_generator(library(100), epochs=4, progress=lambda i, n, loss: seen.append((i, n, math.isfinite(loss))), **SMALL)
    assert seen == [(i, 4, True) for i in (1, 2, 3, 4)]


def test_a_library_without_validation_spectra_is_refused(library: Callable) -> None:
    train = library(100).subset("train")
    with pytest.raises(InputError, match="expected objects in the validation split, got none"):
        fit_generator(train, epochs=1, **SMALL)
