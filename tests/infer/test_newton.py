"""Laws of the second-order maximiser: exact gradients, the closed form of a linear model, ascent, independence of rows."""

from collections.abc import Callable
from dataclasses import replace

import pytest
import torch

from bayesden.infer.newton import Newton
from bayesden.model.data import Data
from bayesden.model.joint import Parameters, SpectrumModel
from bayesden.model.noiseflow import NoiseFlow
from bayesden.model.nuisance import Nuisance


def to_double(data: Data) -> Data:
    side = None if data.side is None else data.side.double()
    return Data(data.flux.double(), data.ivar.double(), data.mask, data.share.double(), data.scale, side=side)


def start(model: SpectrumModel, data: Data, seed: int = 0, sd: float = 0.3) -> Parameters:
    """A point away from the maximum."""
    random = torch.Generator().manual_seed(seed)
    n, exposures = data.share.shape
    label = torch.arange(n) % len(model.classes)
    z = model.latent_prior.sample(label, random)
    terms = model.nuisance.terms if bool(data.share.any()) else 0
    calibration = 0.1 * sd * torch.randn(n, exposures, terms, generator=random) * (data.share > 0).unsqueeze(-1)
    amplitude = sd * torch.randn(n, generator=random)
    return Parameters(z, amplitude.to(z.dtype), calibration.to(z.dtype), label)


@pytest.mark.parametrize("kind", ["robust", "kang2021"])
@pytest.mark.parametrize(("exposures", "volume"), [(1, False), (3, False), (3, True)])
def test_the_gradient_is_autograds(
    toy_model: Callable, draw: Callable, exposures: int, volume: bool, kind: str
) -> None:
    noise = toy_model().noise if kind == "robust" else NoiseFlow("kang2021", size=64)
    model = toy_model(noise=noise, volume=volume).double()
    observations = [*draw(model.float(), [0, 1], exposures=exposures), *draw(model.float(), [2], exposures=2)]
    model = model.double()
    data = to_double(Data.stack(observations))
    at = start(model, data)
    found = Newton(model).expand(data, at)
    leaves = [x.clone().requires_grad_() for x in (at.z, at.amplitude, at.calibration)]
    objective = model.log_joint(data, Parameters(*leaves, at.label))
    torch.testing.assert_close(found.objective, objective.detach())
    gradient = torch.autograd.grad(objective.sum(), leaves, materialize_grads=True)
    expected = torch.cat([gradient[0], gradient[1].unsqueeze(-1), gradient[2].flatten(1)], -1)
    torch.testing.assert_close(found.gradient, expected, rtol=1e-6, atol=1e-5)
    assert torch.linalg.eigvalsh(found.curvature).min() > 0


@pytest.mark.parametrize("dof", [0.0, 4.0])
@pytest.mark.parametrize("known", [True, False], ids=["arms", "no arms"])
def test_the_gradient_by_all_terms_of_an_exposure_is_autograds(
    moving_model: Callable, draw: Callable, arms: Callable, known: bool, dof: float
) -> None:
    model = moving_model()
    observations = [*draw(model, [0, 1], exposures=3), *draw(model, [2], exposures=2)]
    if known:
        observations = [replace(obs, arm=arms(obs.flux.shape)) for obs in observations]
    model = model.double()
    model.nuisance = replace(model.nuisance, arm_sd=0.03, shift_sd_kms=20.0, calibration_dof=dof)
    data = to_double(Data.stack(observations))
    assert (data.side is not None) == known
    begin, random = start(model, data), torch.Generator().manual_seed(1)
    detail, foreground = (torch.randn(3, n, generator=random).double() for n in (model.rank, model.foreground))
    at = Parameters(begin.z, begin.amplitude, begin.calibration, begin.label, detail, foreground)
    found = Newton(model).expand(data, at)
    names = ("z", "detail", "foreground", "amplitude", "calibration")
    leaves = {name: getattr(at, name).clone().requires_grad_() for name in names}
    objective = model.log_joint(data, Parameters(**leaves, label=at.label))
    torch.testing.assert_close(found.objective, objective.detach())
    gradient = torch.autograd.grad(objective.sum(), list(leaves.values()))
    expected = torch.cat([*gradient[:3], gradient[3].unsqueeze(-1), gradient[4].flatten(1)], -1)
    torch.testing.assert_close(found.gradient, expected, rtol=1e-6, atol=1e-5)
    assert torch.linalg.eigvalsh(found.curvature).min() > 0


def test_the_curvature_of_a_linear_model_is_the_hessian(linear: Callable) -> None:
    twin = linear()
    at = Parameters(twin.z, torch.zeros(5).double(), torch.zeros(5, 2, 0).double(), twin.label)
    found = Newton(twin.model).expand(twin.data, at).curvature
    for b in range(5):
        _, covariance, _ = twin.posterior(b, int(twin.label[b]))
        torch.testing.assert_close(found[b, :3, :3], torch.linalg.inv(covariance), rtol=1e-9, atol=1e-9)


def test_a_linear_model_is_solved_exactly_in_one_step(linear: Callable) -> None:
    twin = linear()
    begin = Parameters(twin.z + 3.0, torch.zeros(5).double(), torch.zeros(5, 2, 0).double(), twin.label)
    fit = Newton(twin.model, tolerance=1e-9).maximise(twin.data, begin)
    assert fit.converged.all() and (fit.iterations <= 4).all()
    for b in range(5):
        mean, covariance, evidence = twin.posterior(b, int(twin.label[b]))
        torch.testing.assert_close(fit.at.z[b], mean, rtol=1e-6, atol=1e-6)
        torch.testing.assert_close(torch.linalg.inv(fit.precision)[b, :3, :3], covariance, rtol=1e-6, atol=1e-6)
        assert (fit.log_evidence()[b] + torch.tensor(3.0).log()).item() == pytest.approx(evidence.item(), abs=1e-5)


@pytest.mark.parametrize(("exposures", "volume"), [(1, False), (3, False), (1, True)])
def test_it_climbs_and_never_descends(toy_model: Callable, draw: Callable, exposures: int, volume: bool) -> None:
    model = toy_model(volume=volume)
    data = Data.stack(draw(model, [0, 1, 2, 0, 1, 2], exposures=exposures))
    begin = start(model, data, sd=0.8)
    last = model.log_joint(data, begin)
    for iterations in range(0, 12):
        fit = Newton(model, iterations=iterations).maximise(data, begin)
        assert (fit.objective >= last - 1e-9).all()
        last = fit.objective
        torch.testing.assert_close(model.log_joint(data, fit.at), fit.objective, rtol=1e-5, atol=2e-3)
    fit = Newton(model, iterations=80).maximise(data, begin)
    assert fit.converged.all() and (fit.objective > model.log_joint(data, begin) + 10).all()


def test_rows_that_have_not_converged_say_so(toy_model: Callable, draw: Callable) -> None:
    model = toy_model()
    data = Data.stack(draw(model, [0, 1, 2]))
    begin = start(model, data, sd=0.8)
    assert not Newton(model, iterations=1).maximise(data, begin).converged.any()
    fit = Newton(model, iterations=80).maximise(data, begin)
    again = Newton(model, iterations=0).maximise(data, fit.at)
    assert fit.converged.all() and again.converged.all() and (again.iterations == 1).all()


def test_a_converged_row_is_a_maximum(toy_model: Callable, draw: Callable) -> None:
    model = toy_model().double()
    data = to_double(Data.stack(draw(toy_model(), [0, 1, 2], exposures=2)))
    fit = Newton(model, iterations=80, tolerance=1e-9).maximise(data, start(model, data))
    assert fit.converged.all()
    for seed in range(20):
        random = torch.Generator().manual_seed(seed)
        moved = Parameters(
            fit.at.z + 1e-2 * torch.randn(fit.at.z.shape, generator=random),
            fit.at.amplitude + 1e-2 * torch.randn(3, generator=random),
            fit.at.calibration + 1e-3 * torch.randn(fit.at.calibration.shape, generator=random),
            fit.at.label,
        )
        assert (model.log_joint(data, moved) < fit.objective).all()


def test_a_row_does_not_see_the_others(toy_model: Callable, draw: Callable) -> None:
    model = toy_model()
    data = Data.stack(draw(model, [0, 1, 2, 0, 1, 2], exposures=2))
    begin = start(model, data)
    whole = Newton(model, iterations=80).maximise(data, begin)
    order = torch.tensor([4, 0, 5])
    some = Newton(model, iterations=80).maximise(data.take(order), begin.take(order))
    torch.testing.assert_close(some.at.z, whole.at.z[order], rtol=1e-3, atol=1e-3)
    torch.testing.assert_close(some.objective, whole.objective[order], rtol=1e-6, atol=1e-3)
    assert torch.equal(some.at.label, begin.label[order])


def test_calibration_terms_take_up_calibration_errors(toy_model: Callable, draw: Callable) -> None:
    model, blind = toy_model(), toy_model(nuisance=Nuisance(calibration_sd=0.0))
    data = Data.stack(draw(model, [0, 1, 2], exposures=3, snr=50.0))
    begin = start(model, data, sd=0.0)
    none = Parameters(begin.z, begin.amplitude, begin.calibration[..., :0], begin.label)
    seeing = Newton(model, iterations=80).maximise(data, begin)
    assert (seeing.objective > Newton(blind, iterations=80).maximise(data, none).objective + 20).all()
