import numpy as np
import pytest
import torch
from scipy import stats

from bayesden.errors import InputError
from bayesden.simulation.random import Random

INDEX = torch.arange(2000)


def test_numbers_depend_on_the_spectrum_and_not_on_the_batch():
    whole = Random(7).normal("noise", INDEX, 33)
    order = torch.randperm(len(INDEX), generator=torch.Generator().manual_seed(0))
    parts = torch.cat([Random(7).normal("noise", part, 33) for part in INDEX[order].split(77)])
    assert torch.equal(parts, whole[order])


def test_seed_stream_and_spectrum_each_change_the_numbers():
    base = Random(7).uniform("a", INDEX[:5], 8)
    for other in (Random(8).uniform("a", INDEX[:5], 8), Random(7).uniform("b", INDEX[:5], 8)):
        assert not (other == base).any()
    assert len(base.unique()) == base.numel()


@pytest.mark.parametrize(("kind", "law"), [("uniform", stats.uniform), ("normal", stats.norm)])
def test_numbers_follow_their_law(kind, law):
    values = getattr(Random(1), kind)("x", INDEX, 100).numpy()
    assert np.isfinite(values).all()
    assert stats.kstest(values.ravel(), law.cdf).pvalue > 0.01
    assert stats.kstest(values[:, 0], law.cdf).pvalue > 0.01  # over spectra
    assert stats.kstest((values + 0.03).ravel(), law.cdf).pvalue < 1e-6  # a control that must fail


def test_normal_numbers_are_uncorrelated():
    values = Random(2).normal("x", INDEX, 64).double().numpy()
    limit = 5 / np.sqrt(values.size)
    for a, b in ((values[:, 1:], values[:, :-1]), (values[1:], values[:-1]), (values[:, :32], values[:, 32:])):
        assert abs((a * b).mean()) < limit
        assert abs((a**2 * b**2).mean() - 1) < 5 * limit


def test_uniform_numbers_stay_inside():
    values = Random(3).uniform("x", torch.arange(500), 2000)
    assert values.min() > 0 and values.max() < 1


def test_sizes_and_seeds_at_the_border():
    assert Random(0).normal("x", INDEX[:0], 5).shape == (0, 5)
    assert Random(0).normal("x", INDEX[:2], 1).shape == (2, 1)
    with pytest.raises(InputError, match="64 bits"):
        Random(2**63)
