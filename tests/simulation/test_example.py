"""The example is what it says: drawn from the model, with a gap, cosmic rays, and one exposure without its blue arm."""

from pathlib import Path

import numpy as np
import pytest
import torch

from bayesden.io import read
from bayesden.model.checkpoint import load_model
from bayesden.simulation.example import GAP, draw_star, write_example

SHIPPED = Path(__file__).resolve().parents[2] / "data" / "example-spec.fits"


@pytest.fixture(scope="module")
def model():
    return load_model()


@pytest.fixture(scope="module")
def written(model, tmp_path_factory):
    path = tmp_path_factory.mktemp("example") / "spec.fits"
    write_example(path, model, spectral_class="K", seed=1)
    return path


def test_it_reads_back_as_four_exposures_with_one_arm_missing(written):
    observation = read(written)
    blue = observation.wavelength < 5500
    assert observation.n_exposures == 4
    assert [bool(observation.mask[e, blue].all()) for e in range(4)] == [False, False, False, True]
    inside = (observation.wavelength > GAP[0] + 5) & (observation.wavelength < GAP[1] - 5)
    assert observation.mask[:, inside].all()


def test_its_noise_is_that_of_its_errors_but_for_cosmic_rays(written, model):
    observation = read(written)
    flux, _ = observation.coadd()
    z = ((observation.flux - flux) * np.sqrt(observation.ivar))[~observation.mask]
    assert 0.5 < 1.4826 * np.median(np.abs(z)) < 1.2
    assert np.abs(z).max() > 15


def test_stars_are_normalised_and_depend_on_the_seed(model):
    first, second = (draw_star(model, "K", torch.Generator().manual_seed(s)) for s in (0, 1))
    assert np.abs(first).mean() == pytest.approx(1.0)
    assert not np.allclose(first, second)


def test_the_shipped_file_is_what_the_command_writes(written):
    shipped, fresh = read(SHIPPED), read(written)
    assert np.array_equal(shipped.mask, fresh.mask)
    np.testing.assert_allclose(shipped.flux, fresh.flux, rtol=1e-3, atol=1e-3)
