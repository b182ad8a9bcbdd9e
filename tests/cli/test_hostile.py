"""Hostile files that can be read, and what they become."""

from itertools import islice

import numpy as np
import pytest

import bayesden as bd
from bayesden.errors import InputError
from tests.hostile import cases


def survivors(path, grid, every):
    """Observations of those of every n-th file of the corpus that can be read."""
    for case in islice(cases(), 0, None, every):
        path.write_bytes(case.content)
        try:
            yield case.name, bd.read(path, grid=grid)
        except InputError:
            continue


def check(model_file, tmp_path, every):
    model, seen = bd.load_model(model_file), 0
    for name, observation in survivors(tmp_path / "hostile.fits", model.grid, every):
        post = bd.denoise(observation, model)
        for key in ("flux", "sigma", "prior_fraction"):
            assert np.isfinite(getattr(post, key)).all(), (name, key)
        assert (post.sigma >= 0).all(), name
        assert np.isclose(sum(post.class_prob.values()), 1.0), name
        assert (np.isnan(post.residual_z) | np.isfinite(post.residual_z)).all(), name
        bd.write_posterior(post, tmp_path / "result.fits", overwrite=True)
        assert np.array_equal(bd.read_posterior(tmp_path / "result.fits").flux, post.flux), name
        seen += 1
    return seen


def test_some_of_what_can_be_read_is_denoised(model_file, tmp_path):
    assert check(model_file, tmp_path, every=53) > 4


@pytest.mark.statistical
def test_all_of_what_can_be_read_is_denoised(model_file, tmp_path):
    assert check(model_file, tmp_path, every=1) > 200
