"""What the statistical tests share: the reference library, its test split, and noise of stars that no model has seen."""

from pathlib import Path

import pytest

from bayesden.io import read
from bayesden.train.library import Library, build_library
from bayesden.train.noise import NoiseSamples, residuals

UNSEEN = ("spec-0618-52049-0372.fits", "spec-5047-55833-0936.fits")  # the noise of no model here was fitted on these


@pytest.fixture(scope="session")
def library(reference_data: Path) -> Library:
    return build_library(reference_data / "templates")


@pytest.fixture(scope="session")
def held_out(library: Library) -> Library:
    """The test split."""
    return library.subset("test")


@pytest.fixture(scope="session")
def noise(reference_data: Path, library: Library) -> NoiseSamples:
    return residuals(read([reference_data / "sdss" / name for name in UNSEEN], grid=library.grid))


@pytest.fixture(scope="session")
def noise_files(sdss_files: list[Path]) -> list[Path]:
    """The files that the shipped noise was fitted on."""
    return [path for path in sdss_files if path.name not in UNSEEN]


@pytest.fixture(scope="session")
def moving(reference_data: Path) -> Library:
    """Validation spectra of stars that move fast, with calibration errors of 3 %."""
    options = {"velocity_kms": 500.0, "calibration": 0.03}
    return build_library(reference_data / "templates", **options).subset("validation")


@pytest.fixture(scope="session")
def choice_noise(sdss_files: list[Path], library: Library) -> NoiseSamples:
    """Noise of the two stars that models are chosen with."""
    return residuals(read([path for path in sdss_files if path.name[5:9] in ("1079", "7332")], grid=library.grid))
