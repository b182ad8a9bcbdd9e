"""Laws of the joint density: it is Pyro's, padding and units change nothing, and only differences of calibration count."""

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pyro
import pytest
import torch
from pyro import poutine

from bayesden.errors import InputError, ModelError
from bayesden.model.data import Data
from bayesden.model.joint import Parameters, SpectrumModel
from bayesden.model.noise_context import CHANNELS
from bayesden.model.noiseflow import NoiseFlow
from bayesden.model.nuisance import Nuisance
from bayesden.spectrum import Grid, Observation

LABELS = (0, 1, 2, 1)


def to_double(data: Data) -> Data:
    side = None if data.side is None else data.side.double()
    return Data(data.flux.double(), data.ivar.double(), data.mask, data.share.double(), data.scale, side=side)


def point(model: SpectrumModel, data: Data, seed: int = 0) -> Parameters:
    """A point in the parameter space, away from everything."""
    random = torch.Generator().manual_seed(seed)
    n, exposures = data.share.shape
    terms = model.nuisance.terms if exposures > 1 else 0
    z = model.latent_prior.sample(torch.arange(n) % 3, random)
    calibration = 0.04 * torch.randn(n, exposures, terms, generator=random) * (data.share > 0).unsqueeze(-1)
    amplitude = 0.3 * torch.randn(n, generator=random)
    detail, foreground = (torch.randn(n, m, generator=random).to(z) for m in (model.rank, model.foreground))
    return Parameters(z, amplitude.to(z), calibration.to(z), torch.arange(n) % 3, detail, foreground)


def ragged(model: SpectrumModel, draw: Callable, most: int) -> list[Observation]:
    """Spectra with from one to `most` exposures, with gaps."""
    observations = []
    for i, label in enumerate(LABELS):
        obs = draw(model, [label], exposures=1 + i % most, seed=i)[0]
        mask = np.zeros(obs.flux.shape, bool)
        mask[0, 10 : 10 + 4 * i] = True
        observations.append(replace(obs, mask=mask))
    return observations


def trace_log_joint(model: SpectrumModel, data: Data, at: Parameters, *, given: bool) -> torch.Tensor:
    """Log-density of each spectrum under the Pyro model, class sampled or given."""
    sites = {"C": at.label, "z": at.z, "a": at.amplitude, "c": at.calibration, "u": at.detail, "f": at.foreground}
    conditioned = poutine.condition(model.pyro_model, {k: v for k, v in sites.items() if k != "C" or not given})
    trace = poutine.trace(conditioned).get_trace(data, at.label if given else None)
    trace.compute_log_prob()
    observed = {name for name, site in trace.nodes.items() if site["type"] == "sample" and name != "spectra"}
    expected = {"C", "z", "a", "y"} | ({"c"} if at.calibration.shape[-1] else set())
    expected |= ({"u"} if model.rank else set()) | ({"f"} if model.foreground else set())
    assert observed == expected | ({"volume"} if model.volume else set())
    return sum(trace.nodes[name]["log_prob"] for name in observed)


@pytest.mark.parametrize("volume", [False, True], ids=["latents", "volume"])
@pytest.mark.parametrize("given", [False, True], ids=["class-sampled", "class-given"])
@pytest.mark.parametrize("calibration", [0.05, 0.0], ids=["calibrated", "uncalibrated"])
@pytest.mark.parametrize("most", [1, 3], ids=["E=1", "E=1..3"])
def test_the_pyro_trace_has_the_same_log_joint(
    toy_model: Callable, draw: Callable, most: int, calibration: float, given: bool, volume: bool
) -> None:
    model = toy_model(nuisance=Nuisance(calibration_sd=calibration), volume=volume)
    data = Data.stack(ragged(model, draw, most))
    at = point(model, data)
    torch.testing.assert_close(
        trace_log_joint(model, data, at, given=given).double(), model.log_joint(data, at), rtol=1e-5, atol=1e-3
    )
    model, data = model.double(), to_double(data)
    at = point(model, data)
    torch.testing.assert_close(
        trace_log_joint(model, data, at, given=given), model.log_joint(data, at), rtol=1e-9, atol=1e-9
    )


@pytest.mark.parametrize("extra", [{}, {"arm_sd": 0.03, "shift_sd_kms": 20.0, "calibration_dof": 4.0}], ids=["", "all"])
@pytest.mark.parametrize("most", [1, 3], ids=["E=1", "E=1..3"])
def test_the_pyro_trace_of_stars_that_move_has_the_same_log_joint(
    moving_model: Callable, draw: Callable, arms: Callable, most: int, extra: dict
) -> None:
    model = moving_model().double()
    model.nuisance = replace(model.nuisance, **extra)
    observations = ragged(model, draw, most)
    data = to_double(Data.stack([replace(obs, arm=arms(obs.flux.shape)) for obs in observations]))
    at = point(model, data)
    torch.testing.assert_close(
        trace_log_joint(model, data, at, given=False), model.log_joint(data, at), rtol=1e-9, atol=1e-9
    )


def test_the_pyro_trace_has_the_same_log_joint_where_noise_has_a_context(toy_model: Callable, draw: Callable) -> None:
    noise = NoiseFlow("robust", size=64, channels=6, hidden=4, context=CHANNELS)
    with torch.no_grad():
        for parameter in noise.parameters():
            parameter.copy_(0.3 * torch.randn(parameter.shape))
    model = toy_model(noise=noise)
    known = [replace(obs, correlation=np.full(obs.flux.shape, 0.2)) for obs in ragged(model, draw, 3)]
    data = Data.stack(known)
    assert data.context.shape == (4, 3, len(CHANNELS), 64) and bool(data.context.any())
    model = model.double()
    data = replace(to_double(data), context=data.context.double())
    at = point(model, data)
    found = model.log_joint(data, at)
    torch.testing.assert_close(trace_log_joint(model, data, at, given=False), found, rtol=1e-9, atol=1e-9)
    assert not torch.allclose(model.log_joint(replace(data, context=None), at), found)
    rows = torch.tensor([2, 0])
    torch.testing.assert_close(model.log_joint(data.take(rows), at.take(rows)), found[rows])


FOREGROUNDS = {
    "all": {},
    "no velocity": {"velocity_sd_kms": 0.0},
    "fixed dust": {"ebv_sd": 0.0},
    "no tilt": {"tilt_sd": 0.0},
    "none": {"velocity_sd_kms": 0.0, "ebv_sd": 0.0, "tilt_sd": 0.0},
}


@pytest.mark.parametrize("without", FOREGROUNDS.values(), ids=FOREGROUNDS)
def test_the_jacobian_of_the_star_is_that_of_autograd(moving_model: Callable, draw: Callable, without: dict) -> None:
    model = moving_model().double()
    model.nuisance = replace(model.nuisance, **without)
    data = to_double(Data.stack(draw(model, [0, 1])))
    at = point(model, data)
    assert at.foreground.shape[1] == model.foreground == 5 - sum({"tilt_sd": 3}.get(key, 1) for key in without)
    star, jacobian = model.star_and_jacobian(at)
    torch.testing.assert_close(star, model.star(at))

    def of(z: torch.Tensor, u: torch.Tensor, f: torch.Tensor) -> torch.Tensor:
        return model.star(replace(at, z=z, detail=u, foreground=f)).sum(0)

    parts = torch.autograd.functional.jacobian(of, (at.z, at.detail, at.foreground))
    expected = torch.cat([part.permute(1, 2, 0) for part in parts], 1)
    torch.testing.assert_close(jacobian, expected, rtol=1e-6, atol=1e-9)


def test_dust_of_zero_width_is_fixed_at_its_mean(moving_model: Callable, draw: Callable) -> None:
    model = moving_model().double()
    at = point(model, Data.stack(draw(model, [0, 1])))
    free = replace(at, foreground=at.foreground * torch.tensor([1.0, 0, 1, 1, 1]))
    fixed = moving_model(nuisance=replace(model.nuisance, ebv_sd=0.0)).double()
    without = replace(at, foreground=at.foreground[:, [0, 2, 3, 4]])
    torch.testing.assert_close(fixed.star(without), model.star(free))


def test_the_joint_is_the_sum_of_its_parts_written_out(toy_model: Callable, draw: Callable) -> None:
    model = toy_model().double()
    data = to_double(Data.stack(draw(model, [1], exposures=2)))
    at = point(model, data)
    x = torch.linspace(-1, 1, model.grid.size, dtype=torch.float64)
    chebyshev = torch.stack([torch.ones_like(x), x, 2 * x**2 - 1])
    centred = at.calibration[0] - (data.share[0, :, None] * at.calibration[0]).sum(0)
    flux = torch.exp(at.amplitude + centred @ chebyshev) * model.generator(at.z)
    eps = data.flux[0] - flux
    likelihood = model.noise.log_prob(eps, data.ivar[0], data.mask[0]).sum()
    normal, student = torch.distributions.Normal(0, 0.5), torch.distributions.StudentT(10.0, 0, 0.05)
    nuisance = normal.log_prob(at.amplitude).sum() + student.log_prob(at.calibration.double()).sum()
    prior = model.latent_prior.log_prob(at.z, at.label).sum() - np.log(3)
    torch.testing.assert_close(model.log_joint(data, at)[0], likelihood + nuisance + prior, rtol=1e-7, atol=1e-6)


def test_exposures_differ_in_arms_and_wavelengths_as_written_out(
    moving_model: Callable, draw: Callable, arms: Callable
) -> None:
    model = moving_model().double()
    model.nuisance = replace(model.nuisance, arm_sd=0.03, shift_sd_kms=20.0)
    obs = draw(model, [1], exposures=3)[0]
    data = to_double(Data.stack([replace(obs, arm=arms(obs.flux.shape))]))
    at = point(model, data)
    share, c, x = data.share[0], at.calibration[0], torch.linspace(-1, 1, model.grid.size).double()
    joined = torch.linspace(1, -1, 10).double()
    side = torch.cat([joined[0].expand(43), joined, joined[-1].expand(43)])
    basis = torch.stack([torch.ones_like(x), x, 2 * x**2 - 1, side, side * x])
    gain = torch.exp(at.amplitude + (c - share @ c)[:, :5] @ basis)
    star = model.star(at)
    shifted = star + c[:, 5:] * model.pixel_shift(star)
    torch.testing.assert_close(model.exposed(data, at, star)[0][0], gain * shifted)


def test_the_volume_term_is_that_of_the_generator(toy_model: Callable, draw: Callable) -> None:
    plain, model = toy_model(), toy_model(volume=True)
    data = Data.stack(draw(plain, LABELS))
    at = point(plain, data)
    difference = plain.log_joint(data, at) - model.log_joint(data, at)
    torch.testing.assert_close(difference, plain.generator.log_volume(at.z).double(), rtol=1e-4, atol=1e-3)


def test_sampling_the_pyro_model_gives_data_of_the_models_kind(toy_model: Callable, draw: Callable) -> None:
    model = toy_model()
    data = Data.stack(draw(model, [0] * 300, exposures=2))
    blank = replace(data, flux=torch.full_like(data.flux, torch.nan))
    trace = poutine.trace(poutine.uncondition(model.pyro_model)).get_trace(blank)
    flux, star = trace.nodes["y"]["value"], trace.nodes["_RETURN"]["value"]
    assert flux.shape == data.flux.shape and star.shape == (300, model.grid.size)
    assert torch.isfinite(flux).all()
    assert len(trace.nodes["C"]["value"].unique()) == 3
    assert trace.nodes["a"]["value"].std().item() == pytest.approx(0.5, rel=0.15)
    scatter = ((flux - star.unsqueeze(1)) * data.ivar.sqrt()).abs().median()
    assert 0.3 < scatter < 3


def test_the_global_parameter_store_stays_empty(toy_model: Callable, draw: Callable) -> None:
    model = toy_model()
    model.pyro_model(Data.stack(draw(model, [0, 1])))
    assert len(pyro.get_param_store()) == 0


@pytest.mark.parametrize("exposures", [1, 2])
def test_padding_exposures_changes_nothing(toy_model: Callable, draw: Callable, exposures: int) -> None:
    model = toy_model().double()
    mine, long = draw(model, [0], exposures=exposures)[0], draw(model, [2], exposures=4)[0]
    alone, padded = (to_double(Data.stack(obs)) for obs in ([mine], [mine, long]))
    at = point(model, alone)
    terms = model.nuisance.terms
    calibration = torch.zeros(1, 4, terms, dtype=torch.float64)
    calibration[:, :exposures, : at.calibration.shape[-1]] = at.calibration
    wide = Parameters(at.z, at.amplitude, calibration, at.label)
    row = padded.take(slice(0, 1))
    torch.testing.assert_close(model.log_joint(row, wide), model.log_joint(alone, at), rtol=1e-12, atol=1e-9)
    expected = model.gain(alone, at.amplitude, at.calibration)
    gain = model.gain(row, wide.amplitude, wide.calibration)[:, :exposures]
    torch.testing.assert_close(gain, expected.expand_as(gain))
    torch.testing.assert_close(row.coadd().flux, alone.coadd().flux)


def test_a_calibration_error_common_to_all_exposures_does_not_count(toy_model: Callable, draw: Callable) -> None:
    model = toy_model().double()
    data = to_double(Data.stack(ragged(model, draw, 3)))
    at = point(model, data)
    moved = Parameters(at.z, at.amplitude, at.calibration + torch.tensor([0.2, -0.1, 0.3]), at.label)
    gain = model.gain(data, at.amplitude, at.calibration)
    torch.testing.assert_close(model.gain(data, moved.amplitude, moved.calibration), gain)
    one = data.share[0].sum() == 0
    assert one  # and a single exposure has no calibration terms at all
    torch.testing.assert_close(gain[0], at.amplitude[0].exp().expand_as(gain[0]))


def test_the_shares_add_up_and_an_empty_exposure_has_none(toy_model: Callable, draw: Callable) -> None:
    obs = draw(toy_model(), [0], exposures=3)[0]
    mask = np.zeros(obs.flux.shape, bool)
    mask[1] = True
    data = Data.stack([obs, replace(obs, mask=mask), obs.select([0])])
    torch.testing.assert_close(data.share.sum(1), torch.tensor([1.0, 1.0, 0.0]))
    assert data.share[1, 1] == 0 and data.mask[2, 1:].all() and data.mask[1, 1].all()


@pytest.mark.parametrize("factor", [1e-17, 3.7, 1e6])
def test_the_unit_of_the_flux_does_not_matter(toy_model: Callable, draw: Callable, factor: float) -> None:
    obs = draw(toy_model(), [0], exposures=2)[0]
    scaled = replace(obs, flux=obs.flux * factor, ivar=obs.ivar / factor**2)
    one, other = Data.stack([obs]), Data.stack([scaled])
    torch.testing.assert_close(other.scale / factor, one.scale)
    for key in ("flux", "ivar", "share"):
        torch.testing.assert_close(getattr(other, key), getattr(one, key), rtol=1e-5, atol=1e-6)


def test_the_scale_is_the_mean_flux_whatever_a_few_pixels_say(toy_model: Callable, draw: Callable) -> None:
    obs = draw(toy_model(), [0], snr=50.0)[0]
    flux = obs.flux.copy()
    flux[0, 20] = 1e9
    clean, hit = (float(Data.stack([o]).scale[0]) for o in (obs, replace(obs, flux=flux)))
    assert clean == pytest.approx(np.abs(obs.flux).mean(), rel=0.3)
    assert hit == pytest.approx(clean, rel=0.1)


def test_masked_values_never_enter(toy_model: Callable, draw: Callable) -> None:
    model = toy_model()
    obs = draw(model, [0], exposures=2)[0]
    mask = np.zeros(obs.flux.shape, bool)
    mask[0, 5:9] = mask[1, 30] = True
    wild = obs.flux.copy()
    wild[mask] = 1e30
    tame, wild = (Data.stack([replace(obs, flux=f, mask=mask)]) for f in (obs.flux, wild))
    at = point(model, tame)
    assert torch.equal(model.log_joint(tame, at), model.log_joint(wild, at))


def test_grids_that_differ_are_refused(toy_model: Callable, draw: Callable) -> None:
    obs = draw(toy_model(), [0])[0]
    other = replace(obs, wavelength=Grid.uniform(4000, 8999, 64).wavelength, name="other")
    with pytest.raises(InputError, match="other: expected the wavelength grid of star-0"):
        Data.stack([obs, other])


def test_another_noise_changes_the_noise_alone(moving_model: Callable, draw: Callable) -> None:
    model = moving_model()
    model.card = {"name": "toy", "sha256": "0" * 64, "licence": "free", "calibration": {}}
    noise = NoiseFlow(**model.noise.config)
    other = model.with_noise(noise)
    assert other.noise is noise is not model.noise and other.card == {"licence": "free"}
    data = Data.stack(draw(model, [0, 1]))
    at = point(model, data)
    torch.testing.assert_close(other.star(at), model.star(at), rtol=0, atol=0)
    torch.testing.assert_close(other.log_prior(data, at), model.log_prior(data, at), rtol=0, atol=0)
    assert not torch.equal(other.log_likelihood(data, at), model.log_likelihood(data, at))
    with pytest.raises(ModelError, match=f"expected {model.grid.size} pixels"):
        model.with_noise(NoiseFlow(**{**model.noise.config, "size": model.grid.size + 1}))
