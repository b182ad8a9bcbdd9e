"""The stacked score test against dense algebra: generalised least squares, and the likelihood ratio of a linear model."""

from collections.abc import Callable

import pytest
import torch

from bayesden.infer.newton import Fit, Newton
from bayesden.infer.stack import Stack, pixel_profile, slide
from bayesden.model.data import Data
from bayesden.model.joint import Parameters, SpectrumModel
from bayesden.model.linearization import Linearization


def fitted(model: SpectrumModel, data: Data, at: Parameters) -> tuple[Fit, Linearization]:
    fit = Newton(model, iterations=80, tolerance=1e-10).maximise(data, at)
    mean = model.gain(data, fit.at.amplitude, fit.at.calibration) * model.star(fit.at).unsqueeze(1)
    return fit, model.noise.linearize(data.flux - mean, data.ivar, data.mask)


def to_double(data: Data) -> Data:
    return Data(data.flux.double(), data.ivar.double(), data.mask, data.share.double(), data.scale)


def dense(local: Linearization, gain: torch.Tensor, e: int) -> torch.Tensor:
    """M of one exposure, built entry by entry."""
    size, width = gain.shape[-1], local.band.shape[-1]
    rows = torch.zeros(size, size, dtype=torch.float64)
    for d in range(size):
        for k in range(min(width, d + 1)):
            rows[d, d - k] = local.band[0, e, d, k]
    scale = torch.diag(gain[0, e].double())
    return scale @ rows.T @ torch.diag(local.weight[0, e].double()) @ rows @ scale


@pytest.mark.parametrize("kind", ["toy", "moving"])
def test_the_banded_information_is_that_of_dense_matrices(
    toy_model: Callable, moving_model: Callable, draw: Callable, kind: str
) -> None:
    model = (toy_model if kind == "toy" else moving_model)()
    data = to_double(Data.stack(draw(model, [1], exposures=3, snr=15.0)))
    model = model.double()
    none = torch.zeros(1, 0).double()
    z = model.latent_prior.latents(1).mean(0, keepdim=True)
    detail, foreground = torch.zeros(1, model.rank).double(), torch.zeros(1, model.foreground).double()
    calibration = torch.zeros(1, 3, model.nuisance.terms).double()
    at = Parameters(z, none.sum(1), calibration, torch.tensor([1]), detail, foreground)
    fit, local = fitted(model, data, at)
    stack = Stack.of(model, data, fit, local)
    star, jacobian = model.star_and_jacobian(fit.at)
    gain = model.gain(data, fit.at.amplitude, fit.at.calibration).expand_as(data.flux)
    each = [dense(local, gain, e) for e in range(3)]
    whole = sum(each)
    shared = torch.cat([jacobian[0], star])
    polynomials = model.nuisance.polynomials(model.grid.size, star)
    centring = model.centring(data)[0]
    cross = [shared @ whole]
    for f in range(3):  # derivatives by the terms of exposure f, through the centring
        cross.append(sum((centring[:, e, f, None] * star * polynomials) @ each[e] for e in range(3)))
    cross = torch.cat(cross)
    score = -(gain * local.score)[0].sum(0)
    inverse = torch.linalg.inv(fit.precision[0])
    for sd in (0.65, 2.0, 4.0):
        profile = pixel_profile(sd, stack.score)
        found = stack.scan(profile)
        half = len(profile) // 2
        for centre in (0, 20, 41, model.grid.size - 1):
            t = torch.zeros(model.grid.size + 2 * half, dtype=torch.float64)
            t[centre : centre + len(profile)] = profile
            t = t[half : len(t) - half]
            own, c = t @ whole @ t, cross @ t
            expected = (t @ score, own - c @ inverse @ c, own)
            for value, wanted in zip(found, expected, strict=True):
                torch.testing.assert_close(value[centre], wanted, rtol=1e-8, atol=1e-8 * float(own))


def log_density(twin: object, b: int, theta: torch.Tensor, line: torch.Tensor) -> torch.Tensor:
    """The joint density of a spectrum of the linear model with a line in it, up to a constant."""
    k, data = int(twin.label[b]), twin.data
    left, away = data.flux[b] - twin.generator.mean - theta @ twin.generator.rows - line, theta - twin.mean[k]
    return -0.5 * (data.ivar[b] * left.square()).sum() - 0.5 * away @ torch.linalg.inv(twin.covariance[k]) @ away


def test_the_score_test_is_the_likelihood_ratio_of_a_linear_model(linear: Callable) -> None:
    """With the line as one more parameter of a flat prior, everything refitted: Wilks' ratio and the amplitude."""
    twin = linear()
    at = Parameters(twin.z, torch.zeros(5).double(), torch.zeros(5, 2, 0).double(), twin.label)
    for b in range(5):
        data, one = twin.data.take(slice(b, b + 1)), at.take(slice(b, b + 1))
        stack = Stack.of(twin.model, data, *fitted(twin.model, data, one))
        profile = pixel_profile(1.5, stack.score)
        score, information, _ = stack.scan(profile)
        label = int(twin.label[b])
        rows, prior = twin.generator.rows, torch.linalg.inv(twin.covariance[label])
        for centre in (10, 31, 50):
            t = torch.zeros(64, dtype=torch.float64)
            half = len(profile) // 2
            t[centre - half : centre + half + 1] = profile
            design = torch.cat([rows, t[None]])
            ivar = data.ivar[0].sum(0)
            residual = (data.ivar[0] * (data.flux[0] - twin.generator.mean)).sum(0)
            precision = torch.zeros(4, 4, dtype=torch.float64)
            precision[:3, :3] = prior
            shift = torch.zeros(4, dtype=torch.float64)
            shift[:3] = prior @ twin.mean[label]
            best = torch.linalg.solve(precision + (design * ivar) @ design.T, shift + design @ residual)

            plain, _, _ = twin.posterior(b, label)
            ratio = 2 * (log_density(twin, b, best[:3], best[3] * t) - log_density(twin, b, plain, 0 * t))
            torch.testing.assert_close(score[centre].square() / information[centre], ratio, rtol=1e-6, atol=1e-8)
            torch.testing.assert_close(score[centre] / information[centre], best[3], rtol=1e-6, atol=1e-8)


def test_what_the_parameters_absorb_does_not_count(linear: Callable) -> None:
    """A template that is one of the tangents has almost no information left; without the projection it would have much."""
    twin = linear()
    data = twin.data.take(slice(0, 1))
    at = Parameters(twin.z, torch.zeros(5).double(), torch.zeros(5, 2, 0).double(), twin.label).take(slice(0, 1))
    stack = Stack.of(twin.model, data, *fitted(twin.model, data, at))
    row = torch.cat([twin.generator.rows[0], torch.zeros(1).double()])  # an odd number of pixels, centred on pixel 32
    _, information, own = stack.scan(row)
    assert information[32] < 0.1 * own[32]


def test_sliding_a_profile_is_a_sum_of_products() -> None:
    rows, profile = torch.randn(2, 30, dtype=torch.float64), pixel_profile(1.0, torch.zeros(1).double())
    assert len(profile) % 2 == 1 and profile.argmax() == len(profile) // 2 and profile.max() == 1
    half = len(profile) // 2
    expected = (rows[:, 12 - half : 12 + half + 1] * profile).sum(1)
    torch.testing.assert_close(slide(rows, profile)[:, 12], expected)
