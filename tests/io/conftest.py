"""Spec files built in memory from a known spectrum."""

import os
from pathlib import Path

import numpy as np
import pytest

from bayesden.io import ArmSpectrum, write_spec

BLUE, RED = (3.56, 3.80), (3.765, 4.01)  # log10 wavelength that the cameras see


def smooth(wavelength):
    """A spectrum without features narrower than hundreds of pixels."""
    return 20.0 + 5.0 * np.sin(wavelength / 700.0)


def make_arm(camera, exposure, *, scale=1.0, noise=0.0, seed=0, step=1e-4):
    first, last = BLUE if camera[0] == "b" else RED
    loglam = np.arange(first, last, step)
    rng = np.random.default_rng([seed, exposure, ord(camera[0])])
    flux = scale * smooth(10.0**loglam) + noise * rng.standard_normal(loglam.size)
    return ArmSpectrum(camera, exposure, loglam, flux, np.full(loglam.size, 4.0))


@pytest.fixture
def arm():
    return make_arm


@pytest.fixture
def truth():
    return smooth


@pytest.fixture
def arms():
    """Three exposures; the second lacks its blue arm."""
    return [make_arm("b1", 101), make_arm("b1", 103), *(make_arm("r1", number) for number in (101, 102, 103))]


@pytest.fixture
def spec(tmp_path, arms):
    """Write a spec file, by default of `arms`, and give its path."""

    def write(name="spec-1-2-3.fits", content=arms, **options):
        write_spec(tmp_path / name, content, **options)
        return tmp_path / name

    return write


@pytest.fixture(scope="session")
def survey_folder():
    root = Path(os.environ.get("BAYESDEN_REFERENCE_DATA", Path(__file__).parents[2].parent / "shared" / "data"))
    if not (root / "sdss").is_dir():
        pytest.skip(f"no reference data at {root} (set BAYESDEN_REFERENCE_DATA)")
    return root / "sdss"
