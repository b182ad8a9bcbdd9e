"""Laws of the flow prior: a density, its derivatives, its draws, its tails, and what its training is for."""

import json
from pathlib import Path

import pytest
import torch
from scipy.stats import kstest
from scipy.stats import t as student_t

from bayesden.errors import ModelError
from bayesden.model.checkpoint import load_part, save_part
from bayesden.model.flow_prior import FlowPrior
from bayesden.model.prior_kinds import build_latent_prior

LABEL = torch.arange(800) % 2


def bent(n: int = 800, seed: int = 0) -> torch.Tensor:
    """Two classes, one bent and one straight, in two dimensions of very different size."""
    random = torch.Generator().manual_seed(seed)
    x = torch.randn(n, 2, generator=random)
    label = torch.arange(n) % 2
    bend = torch.where(label == 0, x[:, 0].square(), -0.5 * x[:, 0])
    return torch.stack([3 * x[:, 0] + 5 * label, 0.1 * (bend + 0.3 * x[:, 1])], 1)


@pytest.fixture(scope="module")
def single() -> FlowPrior:
    return FlowPrior.fit(bent(), LABEL, 2, epochs=40)


@pytest.fixture
def prior(single: FlowPrior) -> FlowPrior:
    double = build_latent_prior(single.config).double()
    double.load_state_dict(single.state_dict())
    return double.eval().requires_grad_(False)


@pytest.fixture
def z() -> torch.Tensor:
    """Points within and far outside of the latents."""
    return bent(60, 1).double() * torch.linspace(0.2, 4.0, 60).unsqueeze(-1)


def test_it_integrates_to_one(prior: FlowPrior) -> None:
    """Over a grid in the class's own units, with a few parts in a thousand in the tails beyond."""
    axis = torch.linspace(-15, 15, 301).double()
    points = torch.cartesian_prod(axis, axis)
    for k in range(2):
        root = torch.linalg.inv(prior.whitener[k])
        label = torch.full((len(points),), k)
        density = prior.log_prob(points @ root.T + prior.centre[k], label).exp().sum()
        total = float(density * (axis[1] - axis[0]) ** 2 * root.det().abs())
        assert total == pytest.approx(1.0, abs=0.01)


def test_derivatives_are_autograds(prior: FlowPrior, z: torch.Tensor) -> None:
    label = torch.arange(len(z)) % 2
    found = prior.curvature(z, label)
    leaf = z.clone().requires_grad_()
    log_prob = prior.log_prob(leaf, label)
    torch.testing.assert_close(found.log_prob, log_prob.detach())
    torch.testing.assert_close(found.gradient, torch.autograd.grad(log_prob.sum(), leaf)[0])
    rows = [
        torch.autograd.functional.hessian(lambda x, k=k: prior.log_prob(x, k), x) for x, k in zip(z, label, strict=True)
    ]
    torch.testing.assert_close(found.precision, -torch.stack(rows), rtol=1e-8, atol=1e-8)
    assert torch.linalg.eigvalsh(found.majorant).min() > 0
    assert torch.linalg.eigvalsh(found.precision).min() < 0  # which is what the majorant is for


def test_untrained_it_is_a_student_with_its_own_quadratic_bound(z: torch.Tensor) -> None:
    prior = FlowPrior([2, 2], 2).double().requires_grad_(False)
    label, base = torch.arange(len(z)) % 2, prior.flow._distribution
    torch.testing.assert_close(prior.log_prob(z, label), base.log_density(z).sum(-1))
    here = prior.curvature(z, label)
    for _ in range(20):
        step = 3 * torch.randn_like(z)
        bound = here.log_prob + (here.gradient * step).sum(-1)
        bound = bound - 0.5 * torch.einsum("ni,nij,nj->n", step, here.majorant, step)
        assert (prior.log_prob(z + step, label) >= bound - 1e-9).all()


def test_it_is_closer_to_the_truth_than_one_gaussian_and_knows_the_class(prior: FlowPrior) -> None:
    fresh = bent(4000, 5).double()
    label = torch.arange(4000) % 2
    classes = [fresh[label == k] for k in range(2)]
    mean, covariance = torch.stack([x.mean(0) for x in classes]), torch.stack([torch.cov(x.T) for x in classes])
    gaussian = torch.distributions.MultivariateNormal(mean[label], covariance[label]).log_prob(fresh)
    own, other = prior.log_prob(fresh, label), prior.log_prob(fresh, 1 - label)
    bends = label == 0
    assert own[bends].mean() > gaussian[bends].mean() + 0.5
    assert own[~bends].mean() > gaussian[~bends].mean() - 0.1
    assert own.mean() > other.mean() + 1
    torch.testing.assert_close(prior.log_prob_all(fresh).gather(1, label[:, None])[:, 0], own)
    torch.testing.assert_close(prior.log_prob(fresh.view(40, 100, 2), label.view(40, 100)).flatten(), own)


def test_draws_are_those_of_the_base_seen_through_the_flow(single: FlowPrior) -> None:
    label = torch.arange(2).repeat(10000)
    one, two = (single.sample(label, torch.Generator().manual_seed(3)) for _ in range(2))
    assert torch.equal(one, two) and one.dtype == torch.float32
    assert not torch.equal(one, single.sample(label, torch.Generator().manual_seed(4)))
    base = single.flow._distribution
    xi, _ = single.flow._transform(single._whiten(one, label), single._context(label, one))
    expected = base.draw((20000, 2), torch.Generator().manual_seed(3))
    near = expected.abs().max(1).values < 5
    torch.testing.assert_close(xi[near], expected[near], atol=1e-3, rtol=1e-3)
    assert kstest(xi.flatten().double(), student_t(base.nu.item()).cdf).pvalue > 1e-3
    for k in range(2):
        scale = single.covariance(k).diagonal().sqrt()
        found = torch.cov((one[label == k] / scale).T)
        torch.testing.assert_close(found, single.covariance(k) / scale.outer(scale), atol=0.15, rtol=0.1)


def test_tails_fall_as_those_of_the_base_do(prior: FlowPrior) -> None:
    """Far outside the couplings are constant: doubling the distance costs what it costs a Student-t, no less and no more."""
    far = 1e4 * torch.tensor([[1.0, 0.3], [-0.5, 0.1], [0.2, -1.0]]).double() + prior.centre[0]
    further = 2 * (far - prior.centre[0]) + prior.centre[0]
    zero = torch.zeros(3, dtype=torch.long)
    fall = prior.log_prob(far, zero) - prior.log_prob(further, zero)
    expected = 2 * (prior.flow._distribution.nu + 1) * torch.log(torch.tensor(2.0))
    torch.testing.assert_close(fall, expected.double().expand(3), rtol=0.02, atol=0)


def test_noise_keeps_latents_on_a_line_from_an_infinite_density() -> None:
    line = torch.randn(300, 1) @ torch.tensor([[1.0, 2.0, -1.0]])
    prior = FlowPrior.fit(line, torch.zeros(300, dtype=torch.long), 1, epochs=20)
    assert prior.bandwidth.min() > 0
    found = prior.curvature(line, torch.zeros(300, dtype=torch.long))
    assert all(torch.isfinite(values).all() for values in vars(found).values())


def test_an_objects_copies_must_share_a_fold() -> None:
    """Copies across folds tell the training that less noise is better."""
    zero, distinct = torch.zeros(400, dtype=torch.long), torch.randn(40, 2)
    copies = (distinct[:, None] + 1e-3 * torch.randn(40, 10, 2)).reshape(400, 2)
    together = FlowPrior.fit(copies, zero, 1, fold=torch.arange(40).repeat_interleave(10) % 5, epochs=20)
    apart = FlowPrior.fit(copies, zero, 1, fold=torch.arange(400) % 5, epochs=20)
    fresh = torch.randn(2000, 2)
    none = torch.zeros(2000, dtype=torch.long)
    assert together.log_prob(fresh, none).mean() >= apart.log_prob(fresh, none).mean()
    assert together.bandwidth >= apart.bandwidth


def test_a_file_gives_it_back(single: FlowPrior, tmp_path: Path) -> None:
    path = tmp_path / "prior.safetensors"
    save_part("latent_prior", single, path)
    loaded = load_part("latent_prior", path)
    z = bent(60, 1)
    assert json.loads(json.dumps(loaded.config)) == single.config
    assert torch.equal(loaded.log_prob_all(z), single.log_prob_all(z))
    assert torch.equal(loaded.covariance(1), single.covariance(1))


@pytest.mark.parametrize("dim", [1, 3])
def test_any_number_of_latents_will_do(dim: int) -> None:
    z = torch.randn(200, dim) * torch.logspace(0, 1, dim) + 4.0
    prior = FlowPrior.fit(z, torch.arange(200) % 2, 2, most=50, epochs=3)
    assert prior.counts == [50, 50] and prior.latents(1).shape == (50, dim)
    assert torch.isin(prior.latents(1)[:, 0], z[1::2, 0]).all()
    drawn = prior.sample(torch.arange(2).repeat(2000), torch.Generator().manual_seed(0))
    assert (drawn.mean(0) - z.mean(0)).abs().max() < 0.5 * z.std(0).max()


def test_a_class_needs_two_latents() -> None:
    with pytest.raises(ModelError, match="at least 2 latents in every class, got counts"):
        FlowPrior.fit(torch.randn(5, 2), torch.tensor([0, 0, 0, 0, 1]), 2)
