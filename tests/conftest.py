"""What every test shares: threads, seeds, and where the reference data are."""

import os
import random
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest
import torch

from bayesden.model.class_prior import ClassPrior
from bayesden.model.generator import BasisGenerator
from bayesden.model.joint import Parameters, SpectrumModel
from bayesden.model.kernel_prior import KDEPrior
from bayesden.model.noiseflow import NoiseFlow
from bayesden.model.nuisance import Nuisance
from bayesden.model.rest_frame import RestFrame
from bayesden.spectrum import ARM_BLUE, ARM_RED, Grid, Observation

ROOT = Path(__file__).resolve().parent.parent

torch.set_num_threads(min(2, torch.get_num_threads()))  # small tensors: more threads only wait for each other


@pytest.fixture(autouse=True)
def seeds() -> None:
    """The global generators start every test from the same state, whichever tests ran before."""
    random.seed(0)
    np.random.seed(0)  # noqa: NPY002 - the global generator that third parties draw from
    torch.manual_seed(0)
    if "pyro" in sys.modules:
        sys.modules["pyro"].clear_param_store()


@pytest.fixture(scope="session")
def reference_data() -> Path:
    """The folder of public reference data (real spectra, templates), which is not part of the repository."""
    named = os.environ.get("BAYESDEN_REFERENCE_DATA")
    path = Path(named) if named else ROOT.parent / "shared" / "data"
    if not path.is_dir():
        where = "BAYESDEN_REFERENCE_DATA" if named else "../shared/data, and BAYESDEN_REFERENCE_DATA is not set"
        pytest.skip(f"no reference data: {path} is not a folder ({where})")
    return path


@pytest.fixture(scope="session")
def sdss_files(reference_data: Path) -> list[Path]:
    """The real multi-exposure spectra of the reference data, sorted by name."""
    files = sorted((reference_data / "sdss").glob("spec-*.fits"))
    if not files:
        pytest.skip(f"no reference spectra: no spec-*.fits in {reference_data / 'sdss'}")
    return files


def build_toy_model(size: int = 64, *, latent_dim: int = 2, seed: int = 0, **options: object) -> SpectrumModel:
    """A model of three classes with smooth spectra and random weights; `options` replace its parts."""
    frame = options.get("frame")
    pixels, size = (size, size) if frame is None else (frame.grid.size, frame.cells.size)
    random = torch.Generator().manual_seed(seed)
    x = torch.linspace(0, 1, size, dtype=torch.float64)
    generator = BasisGenerator(size, latent_dim, components=6, hidden=(8, 16))
    noise = NoiseFlow("robust", size=pixels, window=3, channels=6, hidden=4)
    with torch.no_grad():
        layers = (noise.network.first, noise.network.second, noise.network.heads)
        for parameter in (*generator.parameters(), *(p for layer in layers for p in layer.parameters())):
            parameter.copy_(torch.randn(parameter.shape, generator=random) / max(parameter.shape[-1], 4) ** 0.5)
        waves = torch.stack([torch.cos(torch.pi * (2 * k + 3) * x + k) for k in range(6)], 1)
        generator.mean.copy_(1 + 0.3 * torch.sin(3 * x))
        generator.basis.copy_(torch.linalg.qr(waves).Q.T)
        generator.scale.copy_(0.6 * size**0.5 / torch.arange(1, 7))
    labels = torch.arange(3).repeat_interleave(40)
    centres = 1.5 * torch.randn(3, latent_dim, generator=random)
    latents = centres[labels] + 0.4 * torch.randn(120, latent_dim, generator=random)
    prior = KDEPrior.fit(latents, labels, 3)
    parts = {
        "grid": Grid.uniform(size=size) if frame is None else frame.grid,
        "class_prior": ClassPrior(("A", "G", "M")),
        "generator": generator,
        "latent_prior": prior,
        "noise": noise,
        "nuisance": Nuisance(),
        "discrepancy": torch.full((3, pixels), 0.01),
        "spread": torch.stack([generator(prior.latents(k))[:, :pixels].std(0) for k in range(3)]).detach(),
    }
    return SpectrumModel(**(parts | options)).eval().requires_grad_(False)


def build_moving_model(seed: int = 0, **options: object) -> SpectrumModel:
    """A small model of stars at rest that move, are reddened and badly calibrated, with two factors of discrepancy."""
    grid = Grid.uniform(6000.0, 6300.0, 96)
    frame = RestFrame(grid, reach_kms=1500.0, extinction=np.linspace(3.0, 2.6, 96))
    x = torch.linspace(0, 1, frame.cells.size)
    factors = 0.03 * torch.stack([torch.stack([torch.sin((9 + k) * x), torch.cos((14 + k) * x)]) for k in range(3)])
    nuisance = Nuisance(velocity_sd_kms=150.0, ebv_mean=0.2, ebv_sd=0.1, tilt_sd=0.02)
    return build_toy_model(seed=seed, **({"frame": frame, "factors": factors, "nuisance": nuisance} | options))


def arms_of(shape: tuple[int, int]) -> np.ndarray:
    """Bits of `Observation.arm` for exposures (E, D) with both arms, which overlap in the middle."""
    arm = np.full(shape, ARM_BLUE | ARM_RED)
    arm[:, : shape[1] // 2 - 4], arm[:, shape[1] // 2 + 4 :] = ARM_BLUE, ARM_RED
    return arm


def draw_from(
    model: SpectrumModel, labels: Sequence[int], *, exposures: int = 1, snr: float = 20.0, seed: int = 0
) -> list[Observation]:
    """Observations drawn from a model by ancestral sampling, calibration errors included where E > 1."""
    random = torch.Generator().manual_seed(seed)
    label = torch.as_tensor(labels)
    z = model.latent_prior.sample(label, random).to(model.spread.dtype)
    detail, foreground = (torch.randn(len(label), n, generator=random).to(z) for n in (model.rank, model.foreground))
    star = model.star(Parameters(z, z[:, 0], z.new_zeros(len(z), 0, 0), label, detail, foreground)).unsqueeze(1)
    shape = (len(label), exposures, model.nuisance.polynomial_terms if exposures > 1 else 0)
    calibration = model.nuisance.calibration_sd * torch.randn(shape, generator=random).to(star.dtype)
    gain = (calibration @ model.nuisance.polynomials(model.grid.size, star)[: shape[-1]]).exp()
    ivar = (snr / star.abs().mean(-1, keepdim=True)).square().expand(-1, exposures, model.grid.size)
    flux = gain * star + model.noise.sample(ivar.contiguous(), generator=random)
    return [
        Observation(model.grid.wavelength, y.double().numpy(), h.double().numpy(), name=f"star-{i}")
        for i, (y, h) in enumerate(zip(flux, ivar, strict=True))
    ]


@pytest.fixture(scope="session")
def toy_model() -> Callable[..., SpectrumModel]:
    """Builds small models: see `build_toy_model`."""
    return build_toy_model


@pytest.fixture(scope="session")
def moving_model() -> Callable[..., SpectrumModel]:
    """Builds small models of stars at rest: see `build_moving_model`."""
    return build_moving_model


@pytest.fixture(scope="session")
def arms() -> Callable[[tuple[int, int]], np.ndarray]:
    """Arms of pixels: see `arms_of`."""
    return arms_of


@pytest.fixture(scope="session")
def draw() -> Callable[..., list[Observation]]:
    """Draws observations from a model: see `draw_from`."""
    return draw_from
