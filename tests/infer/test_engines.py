"""Laws of the engines that draw: on a linear model with Gaussian noise each reproduces the closed form."""

from collections.abc import Callable

import numpy as np
import pytest
import torch

from bayesden.infer.draws import compress, flux_of_draws
from bayesden.infer.engines import ENGINES
from bayesden.infer.ensemble import sample_ensemble
from bayesden.infer.laplace import sample_laplace
from bayesden.infer.located import Located, locate
from bayesden.infer.modes import Settings
from bayesden.infer.nuts import sample_nuts
from bayesden.infer.proposal import Proposal
from bayesden.infer.summary import mixed_flux
from bayesden.infer.target import SLACK, Target
from bayesden.infer.threads import use_threads

EXACT = Settings(tolerance=1e-9, margin=1e9)
DRAWS = {"laplace": 4000, "svi": 4000, "ensemble": 4000}


def moments(twin: object, b: int) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Mean and covariance of z and the classes' probabilities: of the mixture of Wiener filters."""
    means, covariances, evidence = (torch.stack(x) for x in zip(*(twin.posterior(b, k) for k in range(3)), strict=True))
    share = torch.softmax(evidence, 0)
    mean = share @ means
    apart = means - mean
    return mean, (share[:, None, None] * covariances).sum(0) + apart.mT @ (share[:, None] * apart), share


@pytest.fixture(scope="module")
def twin(linear: Callable) -> object:
    return linear(spectra=3)


@pytest.fixture(scope="module")
def stars(twin: object) -> list[Located]:
    return locate(twin.model, twin.data, settings=EXACT)


@pytest.mark.parametrize("engine", DRAWS)
def test_draws_have_the_moments_of_the_closed_form(engine: str, twin: object, stars: list[Located]) -> None:
    draws = ENGINES[engine](twin.model, stars, samples=DRAWS[engine], chains=4, seed=3)
    for b, found in enumerate(draws):
        mean, covariance, share = moments(twin, b)
        z = found.theta.flatten(0, 1)[:, :3]
        sigma = covariance.diagonal().sqrt()
        assert float(((z.mean(0) - mean) / sigma).abs().max()) < 0.1
        scaled = torch.cov(z.T) / sigma[:, None] / sigma
        torch.testing.assert_close(scaled, covariance / sigma[:, None] / sigma, rtol=0, atol=0.12)
        torch.testing.assert_close(found.class_prob, share, rtol=0, atol=0.03)


def test_pyro_agrees(twin: object, stars: list[Located]) -> None:
    (found,) = sample_nuts(twin.model, stars[1:2], samples=150, chains=1, seed=3, warmup=60)
    mean, covariance, share = moments(twin, 1)
    z = found.theta[0, :, :3]
    assert float(((z.mean(0) - mean) / covariance.diagonal().sqrt()).abs().max()) < 0.35
    torch.testing.assert_close(found.class_prob, share, rtol=0, atol=0.12)
    assert torch.isfinite(found.stats["energy"]).all()


def test_the_flux_of_the_closed_form_is_exact(twin: object, stars: list[Located]) -> None:
    rows = twin.generator.rows
    for b, star in enumerate(stars):
        mean, covariance, _ = moments(twin, b)
        flux = mixed_flux(twin.model, star.normals)
        torch.testing.assert_close(flux.mean, twin.generator.mean + mean @ rows, rtol=0, atol=1e-6)
        spread = rows.T @ covariance @ rows
        torch.testing.assert_close(flux.sigma, spread.diagonal().sqrt(), rtol=1e-4, atol=1e-6)
        shared = flux.factors.T @ flux.factors
        torch.testing.assert_close(shared, spread, rtol=0, atol=1e-5)


def test_the_flux_of_draws_has_their_moments(twin: object, stars: list[Located]) -> None:
    draws = sample_laplace(twin.model, stars, samples=4000)
    flux = flux_of_draws(twin.model, stars[0], draws[0], torch.Generator().manual_seed(0))
    exact = mixed_flux(twin.model, stars[0].normals)
    assert flux.draws.shape == (4000, 64)
    torch.testing.assert_close(flux.sigma, exact.sigma, rtol=0.06, atol=0)
    assert float(((flux.mean - exact.mean) / exact.sigma).abs().max()) < 0.08


def test_a_star_is_sampled_alike_alone_and_in_company(twin: object, stars: list[Located]) -> None:
    together = sample_ensemble(twin.model, stars, samples=40, seed=5)
    alone = sample_ensemble(twin.model, [stars[2]], samples=40, seed=5)
    assert torch.equal(together[2].theta, alone[0].theta)
    other = sample_ensemble(twin.model, [stars[2]], samples=40, seed=6)
    assert not torch.equal(other[0].theta, alone[0].theta)


def test_draws_are_the_same_on_any_number_of_threads(
    twin: object, stars: list[Located], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("bayesden.infer.target.PIXELS", 640)
    alone = sample_ensemble(twin.model, stars[:2], samples=40, seed=5)
    try:
        use_threads(3)
        several = sample_ensemble(twin.model, stars[:2], samples=40, seed=5)
    finally:
        use_threads(1)
    assert all(torch.equal(one.theta, other.theta) for one, other in zip(alone, several, strict=True))


def test_the_proposal_of_a_linear_model_is_its_posterior(twin: object, stars: list[Located]) -> None:
    """Without its defence it has the target's density, up to a constant; defended it has another one."""
    target = Target(twin.model, [stars[1]])
    for wide in (False, True):
        proposal = Proposal(stars[1].likely, stars[1].free, wide=wide)
        theta, _ = proposal.sample(200, torch.Generator().manual_seed(1))
        weight = target.evaluate(theta[None])[0][0] - proposal.log_prob(theta)
        assert (float(weight.std()) < 1e-3) != wide


def test_classes_that_are_left_out_do_not_count(
    monkeypatch: pytest.MonkeyPatch, twin: object, stars: list[Located]
) -> None:
    """Density, shares and slope are those of all classes, and fewer likelihoods are computed."""
    theta, _ = Proposal(stars[2].likely, stars[2].free).sample(60, torch.Generator().manual_seed(2))
    found, counts, whole = [], [], Target._rows

    def counted(self: Target, theta: torch.Tensor, rows: torch.Tensor) -> torch.Tensor:
        counts[-1] += len(rows)
        return whole(self, theta, rows)

    monkeypatch.setattr(Target, "_rows", counted)
    for slack in (SLACK, float("inf")):
        monkeypatch.setattr("bayesden.infer.target.SLACK", slack)
        counts.append(0)
        target = Target(twin.model, [stars[2]])
        found.append((*target.evaluate(theta[None]), target.slope(theta[None])[1]))
    for few, every in zip(*found, strict=True):
        torch.testing.assert_close(few, every, rtol=1e-5, atol=1e-4)
    assert counts[0] < counts[1] == 2 * 60 * len(stars[2].labels)


def test_the_defended_proposal_is_a_density() -> None:
    """Its integral over a plane, one latent and a velocity, is one."""
    from bayesden.infer.mixture import Kernels, Normal
    from bayesden.model.joint import Parameters

    double = {"dtype": torch.double}
    kernels = Kernels(
        torch.tensor([[0.7, 0.3]], **double).log(),
        torch.tensor([[[0.0], [1.5]]], **double),
        torch.tensor([[[[1.0]], [[2.0]]]], **double),
        torch.zeros(1, 2, **double),
        torch.tensor([[[0.5]]], **double),
        torch.tensor([[[1.5]]], **double),
    )
    at = Parameters(torch.zeros(1, 1), torch.zeros(1), torch.zeros(1, 1, 0), torch.zeros(1, dtype=torch.long))
    normal = Normal(at, torch.eye(2, **double)[None], torch.zeros(1, **double), kernels)
    proposal = Proposal(normal, torch.arange(2), 0)
    axis = torch.linspace(-12, 12, 601, **double)
    density = proposal.log_prob(torch.cartesian_prod(axis, axis)).exp()
    assert float(density.sum() * (axis[1] - axis[0]) ** 2) == pytest.approx(1.0, abs=1e-6)
    draws, _ = proposal.sample(20000, torch.Generator().manual_seed(0))
    grid = torch.cartesian_prod(axis, axis)
    mean = (density[:, None] * grid).sum(0) / density.sum()
    second = (density[:, None] * grid.square()).sum(0) / density.sum()
    np.testing.assert_allclose(draws.mean(0), mean, atol=0.05)
    np.testing.assert_allclose(draws.square().mean(0), second, rtol=0.05)


def test_compressed_rows_keep_the_largest_part() -> None:
    rows = torch.randn(30, 50, generator=torch.Generator().manual_seed(0), dtype=torch.double)
    rows *= torch.logspace(0, -4, 30, dtype=torch.double)[:, None]
    whole, kept = rows.T @ rows, compress(rows, 8)
    assert kept.shape == (8, 50)
    assert float((kept.T @ kept - whole).norm() / whole.norm()) < 0.05
    assert (torch.linalg.eigvalsh(whole - kept.T @ kept) > -1e-9).all()  # what is left over is a covariance
