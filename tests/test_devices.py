"""Everything computes on the device that is asked for, and says there what it says on the CPU."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from bayesden.infer.denoise import denoise
from bayesden.infer.reference import fit_map_pyro
from bayesden.model.checkpoint import load_model, save_model
from bayesden.model.data import Data
from bayesden.model.flow_prior import FlowPrior
from bayesden.model.generator import ConvGenerator
from bayesden.model.joint import Parameters, SpectrumModel
from bayesden.model.local_kde import LocalKDEPrior
from bayesden.posterior import Posterior
from bayesden.train.noise import fit_noise, residuals, scale_ratio
from tests.elsewhere import NAME, elsewhere

gpu = pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU")


def on_both(compute: Callable[[str], list[Tensor]]) -> None:
    """The same to rounding on the CPU and on the pretend device, which was used."""
    here = compute("cpu")
    with elsewhere() as operations:
        there = compute(NAME)
        assert operations and any(x.device.type == NAME for x in there)
        there = [x.detach().cpu() for x in there]
    for a, b in zip(here, there, strict=True):
        torch.testing.assert_close(b, a.detach(), equal_nan=True)


def agree(one: Posterior, other: Posterior, tolerance: float) -> None:
    """Posteriors of one star: flux and error bars to a share of the error bar, classes and flags."""
    np.testing.assert_array_less(np.abs(one.flux - other.flux), tolerance * one.sigma)
    np.testing.assert_allclose(other.sigma, one.sigma, rtol=tolerance)
    np.testing.assert_allclose(other.residual_z, one.residual_z, atol=tolerance)
    assert dict(other.class_prob) == pytest.approx(dict(one.class_prob), abs=tolerance)
    assert other.flags == one.flags


def conv_model(build: Callable[..., SpectrumModel]) -> SpectrumModel:
    torch.manual_seed(0)
    return build(generator=ConvGenerator(64, 2, (4,)))


def local_model(build: Callable[..., SpectrumModel]) -> SpectrumModel:
    latents = torch.randn(120, 2, generator=torch.Generator().manual_seed(0))
    return build(latent_prior=LocalKDEPrior.fit(latents, torch.arange(120) % 3, 3))


def flow_model(build: Callable[..., SpectrumModel]) -> SpectrumModel:
    latents = torch.randn(120, 2, generator=torch.Generator().manual_seed(0))
    return build(latent_prior=FlowPrior.fit(latents, torch.arange(120) % 3, 3, epochs=2))


def volume_model(build: Callable[..., SpectrumModel]) -> SpectrumModel:
    return build(volume=True)


@pytest.mark.parametrize(
    ("make", "labels", "exposures"),
    [
        (lambda build: build(), [0], 1),
        (local_model, [2], 3),
        (flow_model, [2], 1),
        (volume_model, [1], 1),
        (conv_model, [0], 1),
    ],
)
def test_denoise_there_is_denoise_here(
    toy_model: Callable, draw: Callable, make: Callable, labels: list[int], exposures: int
) -> None:
    observations = draw(toy_model(), labels, exposures=exposures)
    here = denoise(observations, make(toy_model))
    with elsewhere() as operations:
        model = make(toy_model)
        there = denoise(observations, model, device=NAME)
        assert model.device.type == NAME and len(operations) > 1000
    for one, other in zip(here, there, strict=True):
        agree(one, other, 1e-3)


@pytest.mark.parametrize("method", ["laplace", "ensemble"])
def test_engines_there_are_engines_here(toy_model: Callable, draw: Callable, method: str) -> None:
    observations = draw(toy_model(), [0], exposures=3)
    options = {"method": method, "samples": 40, "chains": 2}
    here = denoise(observations, toy_model(), **options)[0]
    with elsewhere() as operations:
        there = denoise(observations, toy_model(), device=NAME, **options)[0]
        assert len(operations) > 1000
    np.testing.assert_allclose(there.flux, here.flux, rtol=1e-3)
    assert there.draws.shape == here.draws.shape


def test_the_shipped_model_there(toy_model: Callable, draw: Callable) -> None:
    model = load_model()
    observation = draw(model, [3], exposures=2, snr=15.0)[0]
    here = denoise(observation, model)
    with elsewhere():
        agree(here, denoise(observation, load_model(device=NAME)), 1e-2)


def test_density_gradient_and_draws(toy_model: Callable, draw: Callable) -> None:
    observations = draw(toy_model(), [0, 1, 2], exposures=2)

    def compute(device: str) -> list[Tensor]:
        model, data = toy_model(volume=True).to(device), Data.stack(observations, device)
        label = torch.arange(3, device=device)
        z = torch.full((3, 2), 0.1, device=device, requires_grad=True)
        at = Parameters(z, torch.zeros(3, device=device), torch.zeros(3, 2, 3, device=device), label)
        density = model.log_joint(data, at)
        z_drawn = model.latent_prior.sample(label, torch.Generator().manual_seed(0))
        expansion = vars(model.noise.linearize(data.flux, data.ivar, data.mask))
        scale = model.noise.scale(data.flux, data.ivar, data.mask)
        every_class = model.latent_prior.log_prob_all(z)
        return [density, *torch.autograd.grad(density.sum(), z), z_drawn, every_class, scale, *expansion.values()]

    on_both(compute)


def test_the_reference_there(toy_model: Callable, draw: Callable) -> None:
    observations = draw(toy_model(), [1], exposures=2)

    def compute(device: str) -> list[Tensor]:
        at, objective = fit_map_pyro(toy_model().to(device), Data.stack(observations, device), steps=5)
        return [at.z, at.amplitude, at.calibration, torch.tensor(objective)]

    on_both(compute)


@pytest.mark.parametrize("kind", ["robust", "kang2021"])
def test_the_noise_is_fitted_there(toy_model: Callable, draw: Callable, kind: str) -> None:
    samples = residuals(draw(toy_model(), [0, 1], exposures=4))

    def compute(device: str) -> list[Tensor]:
        noise, history = fit_noise(samples, kind=kind, device=device, epochs=3)
        ratios = torch.tensor(list(scale_ratio(noise, samples).values()))
        return [noise.network.first.weight, torch.tensor(history), ratios]

    on_both(compute)


def test_a_model_is_saved_from_there_and_loaded_to_there(toy_model: Callable, tmp_path: Path) -> None:
    def compute(device: str) -> list[Tensor]:
        path = tmp_path / f"{device}.safetensors"
        save_model(toy_model().to(device), path)
        return list(load_model(path, device=device).state_dict().values())

    on_both(compute)
    assert (tmp_path / "cpu.safetensors").read_bytes() == (tmp_path / f"{NAME}.safetensors").read_bytes()


def test_what_stays_behind_is_found(toy_model: Callable, draw: Callable) -> None:
    """Controls: tensors of two devices must not meet, nor a generator of another device be used."""
    observations = draw(toy_model(), [0])
    stays = toy_model()
    mean = stays.generator.mean
    del stays.generator.mean
    stays.generator.mean = mean  # a plain attribute, which `to` does not move
    with elsewhere():
        away, here = torch.ones(3, device=NAME), torch.ones(3)
        assert (away + 1).cpu().tolist() == [2.0] * 3 and (away + torch.tensor(1.0)).device.type == NAME
        assert away[torch.tensor([0, 1])].device.type == NAME  # indices may stay, as for a GPU
        refused = [
            lambda: denoise(observations, stays, device=NAME),
            lambda: away + here,
            lambda: here[torch.tensor([0], device=NAME)],
            lambda: here.add_(away.sum()),
            lambda: torch.rand(3, device=NAME, generator=torch.Generator()),
        ]
        for meeting in refused:
            with pytest.raises(RuntimeError, match=r"expected (all tensors on one|a generator of) device"):
                meeting()
        with pytest.raises(RuntimeError, match="numpy"):
            away.numpy()


class _Watched(ConvGenerator):
    """Notes whether its convolutions may be rounded."""

    rounded: list[bool]

    def jacobian_projected(self, z: Tensor) -> tuple[Tensor, Tensor]:
        self.rounded.append(torch.backends.cudnn.allow_tf32)
        return super().jacobian_projected(z)


def test_convolutions_keep_all_digits_of_float32(toy_model: Callable, draw: Callable) -> None:
    """cuDNN's default for them is TF32; a caller's own setting is as before afterwards."""
    cudnn, generator = torch.backends.cudnn, _Watched(64, 2, (4, 8))
    generator.rounded = []
    settings = ("enabled", "benchmark", "benchmark_limit", "deterministic", "allow_tf32")
    before = [getattr(cudnn, key) for key in settings]
    model = toy_model(generator=generator)
    denoise(draw(model, [0]), model)
    assert generator.rounded and not any(generator.rounded)
    assert [getattr(cudnn, key) for key in settings] == before


@gpu
@pytest.mark.parametrize("exposures", [1, 3])
def test_a_gpu_says_what_the_cpu_says(draw: Callable, exposures: int) -> None:
    model = load_model()
    observations = draw(model, list(range(10)), exposures=exposures, snr=15.0)
    here = denoise(observations, model)
    for one, other in zip(here, denoise(observations, model, device="cuda"), strict=True):
        agree(one, other, 2e-2)


@gpu
def test_a_gpu_fits_the_noise_that_the_cpu_fits(toy_model: Callable, draw: Callable) -> None:
    samples = residuals(draw(toy_model(), [0, 1], exposures=4))
    here, there = (fit_noise(samples, device=device, epochs=3)[1] for device in ("cpu", "cuda"))
    np.testing.assert_allclose(there, here, atol=1e-3)
