"""A small world: ten made-up classes on 256 pixels, a model of them, and spec files of their stars."""

from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest

from bayesden.cli import main
from bayesden.io import ArmSpectrum, write_spec
from bayesden.model.checkpoint import save_model
from bayesden.model.class_prior import CLASSES
from bayesden.model.noiseflow import NoiseFlow
from bayesden.spectrum import Grid
from bayesden.train.generator import fit_generator
from bayesden.train.library import Library
from bayesden.train.prior import assemble

GRID = Grid.uniform(4000.0, 9000.0, 256)
CAMERAS = {"b": (3.58, 3.80), "r": (3.765, 3.98)}  # log10 wavelength that they see


class Outcome(NamedTuple):
    """What a run of the program came to."""

    status: int
    out: str
    err: str


def shape(label: int, where: float, wavelength: np.ndarray) -> np.ndarray:
    """A star of a class: a slope, and a line that its one parameter moves."""
    x = (wavelength - 6500.0) / 2500.0
    line = 0.6 * np.exp(-(((wavelength - 4500.0 - 420.0 * label - 120.0 * where) / 90.0) ** 2))
    return 1.0 + 0.08 * (label - 4.5) * x + line


@pytest.fixture
def bayesden(capsys: pytest.CaptureFixture[str]) -> Callable[..., Outcome]:
    """Run the program with these words."""

    def run(*words: object) -> Outcome:
        capsys.readouterr()
        status = main([str(word) for word in words])
        return Outcome(status, *capsys.readouterr())

    return run


@pytest.fixture(scope="session")
def library() -> Library:
    rng = np.random.default_rng(0)
    label = np.repeat(np.arange(10), 40)
    flux = np.stack([shape(k, rng.uniform(-1, 1), GRID.wavelength) for k in label])
    flux = (flux / np.abs(flux).mean(1, keepdims=True)).astype(np.float32)
    return Library(GRID, flux, label, np.array([f"star-{i}" for i in range(len(label))]))


@pytest.fixture(scope="session")
def library_file(library: Library, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("library") / "library.npz"
    library.save(path)
    return path


@pytest.fixture(scope="session")
def model_file(library: Library, tmp_path_factory: pytest.TempPathFactory) -> Path:
    generator = fit_generator(library, latent_dim=2, epochs=150, components=16, hidden=(16, 32)).generator
    path = tmp_path_factory.mktemp("model") / "small.safetensors"
    save_model(assemble(library, generator, NoiseFlow("robust", size=GRID.size)), path)
    return path


def _arm(camera: str, number: int, ends: tuple[float, float], label: int, rng: np.random.Generator) -> ArmSpectrum:
    loglam = np.arange(*ends, 1e-3)
    flux = 20.0 * shape(label, 0.3, 10.0**loglam) + 0.5 * rng.standard_normal(loglam.size)
    return ArmSpectrum(f"{camera}1", number, loglam, flux, np.full(loglam.size, 4.0))


def write_star(path: Path, *, label: int = 6, exposures: int = 2, seed: int = 0, **options: object) -> Path:
    """A spec file of a made-up star, a coadd only where there are no exposures; `options` go to `write_spec`."""
    rng, arms = np.random.default_rng(seed), []
    for number in range(101, 101 + exposures):
        arms += [_arm(camera, number, ends, label, rng) for camera, ends in CAMERAS.items()]
    coadd = None if arms else _arm("b", 0, (3.58, 3.98), label, rng)
    write_spec(path, arms, coadd=coadd, **({"facts": {"SUBCLASS": f"{CLASSES[label]}1"}} | options))
    return path


@pytest.fixture
def star(tmp_path: Path) -> Callable[..., Path]:
    """Write a spec file into the test's folder: see `write_star`."""

    def write(name: str = "spec-1-2-3.fits", **options: object) -> Path:
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        return write_star(path, **options)

    return write
