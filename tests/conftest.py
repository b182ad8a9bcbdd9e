"""What every test shares: threads, seeds, and where the reference data are."""

import os
import random
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

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
