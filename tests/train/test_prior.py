"""Laws of what the library says about a trained generator."""

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
import torch

from bayesden.errors import InputError
from bayesden.model.generator import BasisGenerator, Generator
from bayesden.model.noiseflow import NoiseFlow
from bayesden.train.discrepancy import fit_discrepancy
from bayesden.train.generator import fit_generator
from bayesden.train.library import Library
from bayesden.train.prior import assemble, fit_prior


@pytest.fixture(scope="module")
def data(library: Callable) -> Library:
    return library()


@pytest.fixture(scope="module")
def generator(data: Library) -> Generator:
    return fit_generator(data, latent_dim=2, components=12, hidden=(16, 16), epochs=40, batch=40).generator


@pytest.mark.parametrize("kind", ["kde", "local-kde"])
def test_the_kernels_are_the_latents_of_the_training_split(data: Library, generator: Generator, kind: str) -> None:
    prior = fit_prior(data, generator, kind=kind)
    assert prior.kind == kind
    train = data.subset("train")
    assert prior.counts == np.bincount(train.label).tolist()
    for k in range(3):
        mine = generator.encode(torch.from_numpy(train.flux[train.label == k]))
        distance = (prior.latents(k)[:, None] - mine).norm(dim=-1)
        assert distance.min(1).values.max() < 1e-3 and len(distance.argmin(1).unique()) == len(mine)
    assert fit_prior(data, generator, kernels=7).counts == [7, 7, 7]


def test_a_flow_is_fitted_to_the_latents_of_the_training_split(data: Library, generator: Generator) -> None:
    prior = fit_prior(data, generator, kind="flow", kernels=7)
    assert prior.kind == "flow" and prior.counts == [7, 7, 7] and not prior.training
    held_out = data.subset("validation")
    z, label = generator.encode(torch.from_numpy(held_out.flux)), torch.from_numpy(held_out.label)
    own, other = (prior.log_prob(z, at).mean() for at in (label, (label + 1) % 3))
    assert own > other + 1


def test_what_the_generator_misses_is_split_into_factors_and_a_remainder(data: Library, generator: Generator) -> None:
    none, total = fit_discrepancy(data, generator, 0)
    factors, remainder = fit_discrepancy(data, generator, 2)
    assert none.shape == (3, 0, 64) and factors.shape == (3, 2, 64) and remainder.shape == total.shape == (3, 64)
    held_out = data.subset("validation")
    for k in range(3):
        flux = torch.from_numpy(held_out.flux[held_out.label == k])
        error = generator(generator.encode(flux)) - flux
        torch.testing.assert_close(total[k], error.square().mean(0).sqrt())
    assert (remainder.square().mean(1) < 0.7 * total.square().mean(1)).all()
    gram = factors @ factors.mT
    assert torch.allclose(gram, torch.diag_embed(gram.diagonal(dim1=1, dim2=2)), atol=1e-6 * float(gram.max()))


def test_the_parts_make_a_model(data: Library, generator: Generator) -> None:
    model = assemble(data, generator, NoiseFlow(size=64), card={"seed": 1})
    assert model.grid == data.grid and model.classes == data.classes and model.card == {"seed": 1}
    assert not model.training and not any(p.requires_grad for p in model.parameters())


def test_another_grid_or_an_empty_class_is_refused(data: Library, generator: Generator) -> None:
    with pytest.raises(InputError, match="expected 32 pixels as the generator has, got 64"):
        fit_prior(data, BasisGenerator(32, 2, components=4))
    with pytest.raises(InputError, match="fewer than 2 of B"):
        fit_prior(replace(data, classes=(*data.classes, "B")), generator)
    with pytest.raises(InputError, match="latent prior kind: expected one of kde, local-kde, flow, got 'gmm'"):
        fit_prior(data, generator, kind="gmm")
