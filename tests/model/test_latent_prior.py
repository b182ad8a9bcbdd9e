"""Laws of the kernel density estimate: what it equals, its derivatives, its bandwidth, its samples."""

import json
import math

import numpy as np
import pytest
import torch
from scipy.stats import gaussian_kde

from bayesden.errors import ModelError
from bayesden.model.kernel_prior import KDEPrior
from bayesden.model.latent_prior import LatentPrior
from bayesden.model.local_kde import LocalKDEPrior
from bayesden.model.prior_kinds import build_latent_prior

DIM, COUNTS = 3, (60, 25)
KINDS = (KDEPrior, LocalKDEPrior)
LABEL = torch.repeat_interleave(torch.arange(2), torch.tensor(COUNTS))


def latents(seed: int = 0) -> torch.Tensor:
    """Two classes, each with a covariance that is far from round."""
    random = torch.Generator().manual_seed(seed)
    stretch = torch.tensor([[2.0, 0.0, 0.0], [1.5, 0.4, 0.0], [0.0, 0.5, 0.7]])
    z = torch.randn(sum(COUNTS), DIM, generator=random) @ stretch.T
    return z + torch.tensor([4.0, -2.0, 1.0]) * LABEL[:, None]


@pytest.fixture(scope="module", params=KINDS, ids=lambda cls: cls.kind)
def kind(request: pytest.FixtureRequest) -> type[LatentPrior]:
    return request.param


@pytest.fixture(scope="module")
def prior(kind: type[LatentPrior]) -> LatentPrior:
    return kind.fit(latents(), LABEL, 2).double()


def kernels(prior: LatentPrior, k: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Centres and precisions of the kernels of a class."""
    if isinstance(prior, LocalKDEPrior):
        roots = prior.roots[prior._slice(k)]
        return prior.latents(k), roots.mT @ roots
    precision = prior.whitener[k].T @ prior.whitener[k]
    return prior.latents(k), precision.expand(prior.counts[k], -1, -1)


@pytest.fixture
def z() -> torch.Tensor:
    """Points within and far outside of the kernels."""
    return latents(1).double() * torch.linspace(0.2, 2.5, len(LABEL)).unsqueeze(-1)


def test_one_shape_of_kernels_is_scipys_kernel_density_estimate(z: torch.Tensor) -> None:
    prior = KDEPrior.fit(latents(), LABEL, 2).double()
    for k in range(2):
        points = prior.latents(k).double().numpy().T
        twin = gaussian_kde(points, bw_method=float(prior.bandwidth[k]))
        expected = torch.from_numpy(twin.logpdf(z.numpy().T))
        torch.testing.assert_close(prior.log_prob(z, torch.full((len(z),), k)), expected, rtol=2e-4, atol=1e-3)


def test_it_is_the_mixture_of_its_kernels(prior: LatentPrior, z: torch.Tensor) -> None:
    for k in range(2):
        centres, precision = kernels(prior, k)
        each = torch.distributions.MultivariateNormal(centres, precision_matrix=precision)
        expected = each.log_prob(z.unsqueeze(1)).logsumexp(1) - math.log(len(centres))
        torch.testing.assert_close(prior.log_prob(z, torch.full((len(z),), k)), expected)
        torch.testing.assert_close(prior.log_prob_all(z)[:, k], expected)


def test_extra_batch_dimensions_and_the_order_of_labels_change_nothing(prior: LatentPrior, z: torch.Tensor) -> None:
    label = torch.arange(len(z)) % 2
    flat = prior.log_prob(z, label)
    torch.testing.assert_close(prior.log_prob(z.view(5, -1, DIM), label.view(5, -1)), flat.view(5, -1))
    shuffle = torch.randperm(len(z))
    torch.testing.assert_close(prior.log_prob(z[shuffle], label[shuffle]), flat[shuffle])
    torch.testing.assert_close(prior.log_prob_all(z.view(5, -1, DIM)).view(-1, 2).gather(1, label[:, None])[:, 0], flat)


def test_closed_form_derivatives_are_autograds(prior: LatentPrior, z: torch.Tensor) -> None:
    label = torch.arange(len(z)) % 2
    found = prior.curvature(z, label)
    z.requires_grad_()
    log_prob = prior.log_prob(z, label)
    torch.testing.assert_close(found.log_prob, log_prob.detach())
    (gradient,) = torch.autograd.grad(log_prob.sum(), z)
    torch.testing.assert_close(found.gradient, gradient)
    rows = [
        torch.autograd.functional.hessian(lambda x, k=k: prior.log_prob(x, k), x) for x, k in zip(z, label, strict=True)
    ]
    torch.testing.assert_close(found.precision, -torch.stack(rows), atol=1e-6, rtol=1e-6)


def test_the_majorant_stays_below_the_log_density(prior: LatentPrior, z: torch.Tensor) -> None:
    label = torch.arange(len(z)) % 2
    here = prior.curvature(z, label)
    indefinite = False
    for _ in range(20):
        step = 3 * torch.randn_like(z)
        bound = here.log_prob + (here.gradient * step).sum(-1)
        quadratic = torch.einsum("ni,nij,nj->n", step, here.majorant, step)
        there = prior.log_prob(z + step, label)
        assert (there >= bound - 0.5 * quadratic - 1e-9).all()
        plain = torch.einsum("ni,nij,nj->n", step, here.precision, step)
        indefinite |= bool((there < bound - 0.5 * plain).any())
    assert indefinite  # the Hessian itself is no such bound


def test_it_integrates_to_one(kind: type[LatentPrior]) -> None:
    points = torch.tensor([[-1.0], [0.3], [2.0], [2.1]])
    prior = kind.fit(points, torch.zeros(4, dtype=torch.long), 1).double()
    x = torch.linspace(-40, 40, 20001, dtype=torch.float64).unsqueeze(-1)
    density = prior.log_prob(x, torch.zeros(len(x), dtype=torch.long)).exp()
    assert torch.trapezoid(density, x[:, 0]).item() == pytest.approx(1, abs=1e-6)


def test_single_precision_is_enough_far_from_the_origin(kind: type[LatentPrior]) -> None:
    z = latents() + 50.0
    single = kind.fit(z, LABEL, 2)
    double = kind.fit(latents(), LABEL, 2).double()
    found = single.log_prob(z, LABEL).double()
    torch.testing.assert_close(found, double.log_prob(latents().double(), LABEL), atol=5e-3, rtol=0)


def kullback_leibler(prior: KDEPrior, sample: torch.Tensor) -> float:
    exact = torch.distributions.MultivariateNormal(torch.zeros(2), torch.eye(2)).log_prob(sample)
    return float((exact - prior.log_prob(sample, torch.zeros(len(sample), dtype=torch.long))).mean())


def test_the_bandwidth_is_near_the_best_for_a_gaussian() -> None:
    zero = torch.zeros(300, dtype=torch.long)
    z, sample = torch.randn(300, 2), torch.randn(4000, 2)
    prior = KDEPrior.fit(z, zero, 1)
    silverman = (4 / (300 * 4)) ** (1 / 6)
    assert 0.6 * silverman < prior.bandwidth.item() < 1.6 * silverman
    scores = {}
    for factor in (0.25, 1.0, 4.0):  # control: the same kernels with other bandwidths
        other = KDEPrior.fit(z, zero, 1)
        other.whitener /= factor
        other.points /= factor
        scores[factor] = kullback_leibler(other, sample)
    assert scores[1.0] < min(scores[0.25], scores[4.0])


def test_an_objects_copies_must_share_a_fold() -> None:
    label = torch.zeros(400, dtype=torch.long)
    distinct = torch.randn(80, 2)
    copies = (distinct[:, None] + 1e-3 * torch.randn(80, 5, 2)).reshape(400, 2)
    together = KDEPrior.fit(copies, label, 1, fold=torch.arange(80).repeat_interleave(5) % 5)
    apart = KDEPrior.fit(copies, label, 1, fold=torch.arange(400) % 5)
    assert together.bandwidth.item() > 3 * apart.bandwidth.item()  # control: copies across folds drive it to zero
    alone = KDEPrior.fit(distinct, label[:80], 1, fold=torch.arange(80) % 5)
    assert together.bandwidth.item() == pytest.approx(alone.bandwidth.item(), rel=0.5)


def test_samples_have_the_moments_of_the_density(kind: type[LatentPrior]) -> None:
    single = kind.fit(latents(), LABEL, 2)
    label = torch.arange(2).repeat(40000)
    drawn = single.sample(label, torch.Generator().manual_seed(0))
    assert drawn.dtype == torch.float32
    for k in range(2):
        mine, (centres, precision) = drawn[label == k], kernels(single, k)
        covariance = torch.cov(centres.T, correction=0) + torch.linalg.inv(precision).mean(0)
        sd = covariance.diagonal().sqrt()
        assert ((mine.mean(0) - centres.mean(0)) / sd).abs().max() < 0.02
        np.testing.assert_allclose(torch.cov(mine.T), covariance, atol=0.05 * float(covariance.abs().max()))


def test_samples_are_reproducible_and_differ_by_seed(prior: LatentPrior) -> None:
    assert prior.sample(LABEL).dtype == torch.float64
    label = torch.tensor([0, 1, 1, 0])
    one, two, other = (prior.sample(label, torch.Generator().manual_seed(s)) for s in (3, 3, 4))
    assert torch.equal(one, two) and not torch.equal(one, other)


def distance(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
    return (a[:, None] - b).norm(dim=-1)


def test_kernels_are_a_sample_of_the_latents_in_their_place(kind: type[LatentPrior]) -> None:
    z = latents()
    whole, some = kind.fit(z, LABEL, 2), kind.fit(z, LABEL, 2, most=20)
    assert whole.counts == list(COUNTS) and some.counts == [20, 20]
    for k in range(2):
        mine = z[k == LABEL]
        nearest = distance(whole.latents(k), mine).min(1)
        assert nearest.values.max() < 1e-4 and len(nearest.indices.unique()) == COUNTS[k]
        assert distance(some.latents(k), mine).min(1).values.max() < 1e-4


def test_kernels_that_follow_a_curve_are_denser_on_it() -> None:
    def curve(n: int) -> torch.Tensor:
        angle = 3 * torch.rand(n, 1)
        return torch.cat([angle.cos(), angle.sin()], 1) + 0.01 * torch.randn(n, 2)

    zero = torch.zeros(300, dtype=torch.long)
    z, sample = curve(300), curve(300)
    one, local = (cls.fit(z, zero, 1).log_prob(sample, zero).mean() for cls in KINDS)
    assert local > one + 0.3


def test_latents_in_a_plane_get_a_density(kind: type[LatentPrior]) -> None:
    flat, zero = torch.randn(50, 1) @ torch.tensor([[1.0, 2.0, -1.0]]), torch.zeros(50, dtype=torch.long)
    prior = kind.fit(flat, zero, 1)
    found = prior.curvature(flat, zero)
    assert all(torch.isfinite(values).all() for values in vars(found).values())


def test_a_configuration_gives_the_same_shape(prior: LatentPrior, z: torch.Tensor) -> None:
    rebuilt = build_latent_prior(json.loads(json.dumps(prior.config))).double()
    rebuilt.load_state_dict(prior.state_dict(), strict=True)
    torch.testing.assert_close(rebuilt.log_prob(z, LABEL), prior.log_prob(z, LABEL))
    with pytest.raises(ModelError, match="latent prior kind: expected one of kde, local-kde, flow, got 'gmm'"):
        build_latent_prior({"kind": "gmm", "counts": [3], "latent_dim": 2})


def test_a_class_needs_two_latents(kind: type[LatentPrior]) -> None:
    with pytest.raises(ModelError, match="at least 2 latents in every class, got counts"):
        kind.fit(torch.randn(5, 2), torch.tensor([0, 0, 0, 0, 1]), 2)
