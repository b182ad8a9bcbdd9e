import numpy as np
import pytest
import torch

from bayesden.errors import InputError
from bayesden.evaluate.efficiency import cramer_rao_bound, efficiency, jacobian, oracle_fit

D, P = 200, 5
BASIS = torch.randn(P, D, dtype=torch.double, generator=torch.Generator().manual_seed(0))
BASIS[4] = 2 * BASIS[0] - BASIS[1]  # rank 4


def linear(theta):
    return theta @ BASIS.to(theta)


def curved(theta):
    """A line whose depth, place and width are unknown, on an unknown level."""
    x = torch.linspace(-5, 5, D, dtype=theta.dtype)
    depth, place, width, level = theta.T[:, :, None]
    return level * (1 - depth * torch.exp(-0.5 * ((x - place) / width) ** 2))


def test_jacobian_of_a_linear_model_is_its_matrix():
    slope = jacobian(linear, torch.randn(3, P).double(), [0, 3])
    assert torch.allclose(slope, BASIS[[0, 3]].T.expand(3, -1, -1))


def test_jacobian_equals_autograd():
    theta = torch.tensor([[0.5, 0.3, 1.2, 2.0]]).double()
    expected = torch.autograd.functional.jacobian(lambda t: curved(t)[0], theta)[:, 0]
    assert torch.allclose(jacobian(curved, theta, range(4))[0], expected, atol=1e-12)


def test_white_noise_bound_is_sigma_squared_rank_over_d():
    slope = jacobian(linear, torch.zeros(1, P).double(), range(P))
    bound = cramer_rao_bound(slope, torch.full((1, D), 0.3, dtype=torch.double))
    assert bound.mean().item() == pytest.approx(0.09 * 4 / D, rel=1e-9)


def test_bound_equals_the_inverse_of_the_fisher_matrix():
    slope = jacobian(linear, torch.zeros(1, P).double(), range(4))
    sigma = torch.rand(1, D, generator=torch.Generator().manual_seed(1)).double() + 0.1
    sigma[0, 50:80] = torch.inf  # masked: the neighbours must tell
    fisher = slope[0].T @ (slope[0] / sigma[0, :, None] ** 2)
    expected = ((slope[0] @ torch.linalg.inv(fisher)) * slope[0]).sum(1)
    assert torch.allclose(cramer_rao_bound(slope, sigma)[0], expected, rtol=1e-9)


def test_a_prior_lowers_the_bound_and_a_wide_one_does_not_matter():
    slope = jacobian(linear, torch.zeros(1, P).double(), range(4))
    sigma = torch.ones(1, D).double()
    free = cramer_rao_bound(slope, sigma)
    assert torch.allclose(cramer_rao_bound(slope, sigma, torch.full((4,), 1e5).double()), free, rtol=1e-6)
    assert (cramer_rao_bound(slope, sigma, torch.full((4,), 0.01).double()) < free).all()


def test_units_of_the_parameters_do_not_matter():
    slope, sigma = jacobian(linear, torch.zeros(1, P).double(), range(4)), torch.ones(1, D).double()
    units = torch.tensor([1e-8, 1.0, 1e4, 1e9]).double()
    assert torch.allclose(cramer_rao_bound(slope * units, sigma), cramer_rao_bound(slope, sigma), rtol=1e-6)


def test_oracle_fit_reaches_the_bound():
    truth = torch.tensor([0.5, 0.3, 1.2, 2.0]).double().repeat(2000, 1)
    sigma = torch.full((2000, D), 0.05, dtype=torch.double)
    noise = torch.randn(2000, D, dtype=torch.double, generator=torch.Generator().manual_seed(2))
    fitted = oracle_fit(curved, curved(truth) + sigma * noise, sigma, truth + 0.05, range(4))
    achieved = (curved(fitted) - curved(truth)).square()
    bound = cramer_rao_bound(jacobian(curved, truth[:1], range(4)), sigma[:1])
    assert efficiency(bound, achieved).item() == pytest.approx(1, abs=0.05)
    pulls = (fitted - truth).std(0)
    slope = jacobian(curved, truth[:1], range(4))[0] / 0.05
    assert np.allclose(pulls, torch.linalg.inv(slope.T @ slope).diagonal().sqrt(), rtol=0.1)
    worse = curved(fitted) + 0.02 * torch.randn(2000, D, dtype=torch.double, generator=torch.Generator().manual_seed(3))
    assert efficiency(bound, (worse - curved(truth)).square()) < 0.7  # a control that must fall short


def test_a_parameter_without_effect_is_not_taken_for_known():
    def partly(theta):
        return linear(theta * torch.tensor([1, 1, 0, 1, 1]).double())

    with pytest.raises(InputError, match="depends on column 2, got a derivative of 0"):
        jacobian(partly, torch.zeros(2, P).double(), range(P))
    assert jacobian(partly, torch.zeros(2, P).double(), [0, 1, 3]).shape == (2, D, 3)


def test_a_fit_stays_within_its_limits():
    truth = torch.tensor([[0.5, 0.3, 1.2, 2.0]]).double()
    start = truth + 0.05
    limits = [(0.0, 1.0), (-1.0, 0.25), (0.1, 3.0), (0.0, 5.0)]
    sigma = torch.full((1, D), 0.05, dtype=torch.double)

    def guarded(theta):
        assert (theta[:, 1] <= 0.25).all()
        return curved(theta)

    start[:, 1] = 0.2
    fitted = oracle_fit(guarded, curved(truth), sigma, start, range(4), limits=limits)
    assert fitted[0, 1] == 0.25
    free = oracle_fit(curved, curved(truth), sigma, start, range(4))
    assert torch.allclose(free, truth, atol=1e-6)


def test_noise_without_a_size_is_refused():
    slope = jacobian(linear, torch.zeros(1, P).double(), range(P))
    with pytest.raises(InputError, match="positive standard deviations"):
        cramer_rao_bound(slope, torch.zeros(1, D).double())
