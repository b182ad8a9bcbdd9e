"""Laws of the search for stars that move: its closed forms against what they stand for, and what it finds."""

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy.integrate import quad
from scipy.stats import multivariate_normal, norm

from bayesden.infer import rest_search
from bayesden.infer.denoise import denoise
from bayesden.infer.map import fit_map
from bayesden.infer.modes import Settings, _close, find_modes
from bayesden.infer.newton import Newton
from bayesden.infer.reference import fit_map_pyro
from bayesden.infer.rest_search import (
    EXPECTED,
    RANK,
    REACH,
    REDDENINGS,
    SPACING,
    VELOCITIES,
    Net,
    _evidence,
    _gaussian,
    _knots,
    among_kernels,
    net_of,
    search,
)
from bayesden.model.class_prior import ClassPrior
from bayesden.model.data import Data
from bayesden.model.flow_prior import FlowPrior
from bayesden.model.joint import Parameters
from bayesden.model.kernel_prior import KDEPrior, gaussian_prior
from bayesden.model.local_kde import LocalKDEPrior
from bayesden.model.rest_frame import LIGHT_KMS, RestFrame


def test_the_evidence_is_that_of_a_gaussian(moving_model: Callable, draw: Callable) -> None:
    model = moving_model()
    net = Net.of(model)
    data = Data.stack(draw(model, [1], snr=10.0))
    flux, ivar = data.flux[0, 0], data.ivar[0, 0]
    ivar = torch.where(torch.arange(96) % 7 == 0, 0.0, ivar)
    evidence, _ = _evidence(net, [1, 2], torch.tensor([3, 8]), flux, ivar)
    good, expected = (ivar > 0).numpy(), np.zeros((2, 2))
    for i, k in enumerate((1, 2)):
        for j, v in enumerate((3, 8)):
            rows = net.rows[k, v].double().numpy()[:, good]
            covariance = rows.T @ rows + np.diag(1 / ivar.double().numpy()[good])
            mean = net.mean[k, v].double().numpy()[good]
            expected[i, j] = multivariate_normal(mean, covariance).logpdf(flux.double().numpy()[good])
            expected[i, j] -= 0.5 * net.foreground[v].double().square().sum().item()
    difference = evidence.numpy() - expected
    assert np.ptp(difference) < 1e-2  # equal up to a constant


def test_a_class_has_the_principal_components_of_its_spectra(moving_model: Callable) -> None:
    model = moving_model()
    mean, rows = _gaussian(model, 1)
    spectra = model.generator(model.latent_prior.latents(1)).double().numpy()
    _, size, basis = np.linalg.svd(spectra - spectra.mean(0), full_matrices=False)
    scaled = size[:RANK, None] * basis[:RANK] / len(spectra) ** 0.5
    expected = scaled.T @ scaled
    rows = rows.double().numpy()
    np.testing.assert_allclose(mean.numpy(), spectra.mean(0), rtol=1e-5)
    np.testing.assert_allclose(rows.T @ rows, expected, atol=1e-5 * np.abs(expected).max())
    assert (np.diff(np.square(rows).sum(1)) <= 1e-12).all()  # the largest first


@pytest.mark.parametrize("kind", [KDEPrior, LocalKDEPrior])
def test_kernels_times_a_normal_likelihood_are_kernels(kind: type) -> None:
    random = torch.Generator().manual_seed(0)
    z = torch.randn(60, 2, generator=random)
    prior = kind.fit(z, torch.arange(60) % 2, 2)
    precision = torch.tensor([[3.0, 1.0], [1.0, 2.0]]).double()
    shift = torch.tensor([0.5, -1.0]).double()
    found = prior.posterior(0, torch.zeros(2).double(), shift, precision)
    axis = torch.linspace(-6, 6, 601).double()
    points = torch.cartesian_prod(axis, axis)
    quadratic = points @ shift - 0.5 * ((points @ precision) * points).sum(1)
    density = (prior.double().log_prob(points, torch.zeros(len(points), dtype=torch.long)) + quadratic).exp()
    centre = (density[:, None] * points).sum(0) / density.sum()
    torch.testing.assert_close(found.mean, centre, rtol=1e-4, atol=1e-4)
    apart = points - centre
    covariance = apart.T @ (density[:, None] * apart) / density.sum()
    torch.testing.assert_close(found.covariance, covariance, rtol=1e-3, atol=1e-4)


def test_the_net_follows_the_model(moving_model: Callable) -> None:
    model = moving_model()
    first = net_of(model)
    assert net_of(model) is first
    still = net_of(model.without(["velocity"]))
    assert still is not first and net_of(model.without(["velocity"])) is still
    first = net_of(model)
    model.nuisance = replace(model.nuisance, velocity_sd_kms=50.0)
    second = net_of(model)
    assert second is not first and not torch.equal(first.mean, second.mean)
    assert net_of(model.double()).mean.dtype == torch.float64


@pytest.mark.parametrize("step", [3e-4, 1e-4])
def test_the_net_is_as_fine_as_lines_are_and_has_a_star_at_rest(moving_model: Callable, step: float) -> None:
    model = moving_model()
    model.frame = RestFrame(model.grid, step=step, reach_kms=1500.0, extinction=np.linspace(3.0, 2.6, 96))
    velocity = model.nuisance.velocity_kms(_knots(model)).unique()
    widest = float(velocity.diff().max()) / (step * LIGHT_KMS)
    assert widest <= SPACING + 1e-3 and len(velocity) >= VELOCITIES and (velocity.abs() < 1e-3).any()
    assert float(velocity.max()) == pytest.approx(REACH * 150.0, rel=1e-4)


def test_a_net_of_many_velocities_is_widened_before_it_fills_the_memory(
    moving_model: Callable, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = moving_model()
    model.frame = RestFrame(model.grid, step=1e-5, reach_kms=1500.0, extinction=np.linspace(3.0, 2.6, 96))
    monkeypatch.setattr(rest_search, "NUMBERS", 3 * REDDENINGS * (RANK + 5) * 96 * 20)
    assert len(model.nuisance.velocity_kms(_knots(model)).unique()) == 21


def test_where_no_gaussian_fits_the_nearest_classes_are_all_tried() -> None:
    objective, settings = torch.tensor([[0.0, -300.0, -9000.0, -900.0], [0.0, -300.0, -torch.inf, -900.0]]), Settings()
    assert _close(objective, settings, torch.tensor([False, False])).tolist() == [0, 4]
    assert _close(objective, settings, torch.tensor([True, False])).tolist() == [0, 1, 3, 4]
    assert _close(objective, settings, torch.tensor([False, True])).tolist() == [0, 4, 5, 7]
    assert _close(objective, replace(settings, lost=4), torch.tensor([False, True])).tolist() == [0, 4, 5, 7]


def test_a_normal_residual_is_what_a_good_fit_leaves() -> None:
    expected, _ = quad(lambda x: 5 * x**2 / (4 + x**2) * norm.pdf(x), -12, 12)
    assert pytest.approx(expected, abs=1e-4) == EXPECTED


def test_a_star_beyond_its_class_is_lost_and_one_within_is_not(
    moving_model: Callable, draw: Callable, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = moving_model()
    monkeypatch.setattr(rest_search, "LOST", 100.0)  # of few pixels
    observations = draw(model, [0, 1, 2], snr=20.0, seed=2)
    strange = [replace(o, flux=o.flux * (1 + 0.5 * np.cos(np.arange(96) / 2))) for o in observations]
    _, _, lost, *_ = search(model, net_of(model), Data.stack([*observations, *strange]))
    assert lost.tolist() == [False] * 3 + [True] * 3


def test_velocity_and_class_are_found(moving_model: Callable, draw: Callable) -> None:
    model = moving_model()
    observations = draw(model, [0, 1, 2, 0, 1, 2], snr=80.0, seed=4)
    random = torch.Generator().manual_seed(4)
    model.latent_prior.sample(torch.tensor([0, 1, 2, 0, 1, 2]), random)
    torch.randn(6, model.rank, generator=random)
    velocity = model.nuisance.velocity_kms(torch.randn(6, model.foreground, generator=random))
    start, evidence, *_ = search(model, net_of(model), Data.stack(observations))
    assert start.z.shape == (18, 2) and evidence.shape == (6, 3) and (evidence.max(1).values == 0).all()
    posteriors = fit_map(model, observations)
    pulls = [
        (p.meta["velocity_kms"] - float(v)) / p.meta["velocity_sigma_kms"]
        for p, v in zip(posteriors, velocity, strict=True)
    ]
    assert np.abs(pulls).max() < 4
    assert sum(p.best_class == model.classes[k] for p, k in zip(posteriors, (0, 1, 2, 0, 1, 2), strict=True)) >= 5


def test_a_class_that_the_prior_excludes_is_not_tried(moving_model: Callable, draw: Callable) -> None:
    model = moving_model()
    data, quick = Data.stack(draw(model, [1], snr=5.0)), Settings(search=1, iterations=1)
    _, _, plain = find_modes(model, data, quick)
    model.class_prior = ClassPrior(model.classes, torch.tensor([0.9, 0.1, 0.0]))
    fit, _, evidence = find_modes(model, data, quick)
    change = (evidence - plain)[0]
    assert float(change[0] - change[1]) == pytest.approx(np.log(9.0), abs=1e-4)
    assert change[2] == -torch.inf and not (fit.at.label == 2).any()


def test_modes_are_as_good_as_from_the_truth_and_from_pyro(moving_model: Callable, draw: Callable) -> None:
    model = moving_model()
    data = Data.stack(draw(model, [0, 1, 2], exposures=2, snr=30.0, seed=1))
    fit, spectrum, _ = find_modes(model, data)
    best = torch.stack([fit.objective[spectrum == b].max() for b in range(3)])
    random = torch.Generator().manual_seed(1)
    label = torch.tensor([0, 1, 2])
    z = model.latent_prior.sample(label, random)
    detail, foreground = (torch.randn(3, n, generator=random) for n in (model.rank, model.foreground))
    truth = Parameters(z, z.new_zeros(3), z.new_zeros(3, 2, 3), label, detail, foreground)
    assert (best >= Newton(model).maximise(data, truth).objective - 0.5).all()
    at, objective = fit_map_pyro(model, data.take(slice(0, 1)), classes=[0], steps=600)
    assert best[0] >= objective - 0.05 and at.foreground.shape == (1, 5)


def test_a_smooth_prior_is_climbed_from_the_smooth_modes(moving_model: Callable, draw: Callable) -> None:
    latents = moving_model().latent_prior
    label = torch.arange(3).repeat_interleave(40)
    z = torch.cat([latents.latents(k) for k in range(3)])
    model = moving_model(latent_prior=FlowPrior.fit(z, label, 3, epochs=20))
    data = Data.stack(draw(model, [0, 1, 2], snr=40.0))
    fit, spectrum, evidence = find_modes(model, data)
    again, origin = among_kernels(model, fit, gaussian_prior(model.latent_prior), 2)
    assert torch.equal(again.z, fit.at.z) and origin.tolist() == list(range(len(fit.at.z)))
    assert fit.converged.all() and (evidence.argmax(1) == torch.arange(3)).sum() >= 2
    best = torch.stack([fit.objective[spectrum == b].max() for b in range(3)])
    z = model.latent_prior.sample(torch.arange(3), torch.Generator().manual_seed(0))  # as `draw` has them
    truth = Parameters(z, z.new_zeros(3), z.new_zeros(3, 1, 0), torch.arange(3), z.new_zeros(3, 2), z.new_zeros(3, 5))
    assert (best >= Newton(model).maximise(data, truth).objective - 0.5).all()


def test_what_all_exposures_share_is_part_of_the_star(moving_model: Callable, draw: Callable) -> None:
    """The denoised flux follows the survey's calibration: one factor on all exposures is no misfit of the star."""
    model = moving_model()
    observation = draw(model, [0], exposures=3, snr=60.0)[0]
    factor = np.linspace(0.97, 1.03, 96)
    plain, post = denoise([observation, replace(observation, flux=observation.flux * factor)], model)
    assert np.abs(post.flux - factor * plain.flux).max() < 0.01 * np.abs(plain.flux).mean()


def test_removed_nuisances_are_absent_from_the_result(moving_model: Callable, draw: Callable) -> None:
    model = moving_model()
    fixed = moving_model(nuisance=replace(model.nuisance, velocity_sd_kms=0.0, ebv_sd=0.0, tilt_sd=0.0))
    post = denoise(draw(fixed, [1])[0], fixed)
    assert not {"velocity_kms", "ebv"} & set(post.meta)
    assert {"velocity_kms", "velocity_sigma_kms", "ebv", "ebv_sigma"} <= set(denoise(draw(model, [1])[0], model).meta)
