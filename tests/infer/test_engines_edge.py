"""Engines where there is next to nothing to go by: defined answers, flagged."""

from collections.abc import Callable

import numpy as np
import pytest
import torch

from bayesden.errors import InputError
from bayesden.infer.denoise import denoise
from bayesden.infer.ensemble import sample_ensemble
from bayesden.infer.located import Located, locate
from bayesden.infer.modes import Settings
from bayesden.spectrum import Observation

METHODS = ("laplace", "ensemble")
FEW = {"samples": 400, "chains": 4}


def observation(model: object, *, ivar: np.ndarray, flux: float = 1.0) -> Observation:
    return Observation(model.grid.wavelength, np.full(model.grid.size, flux), ivar, name="star")


@pytest.mark.parametrize("ivar", [0.0, 1e-12], ids=["masked", "without weight"])
@pytest.mark.parametrize("method", METHODS)
def test_with_no_information_the_posterior_is_the_prior(toy_model: Callable, method: str, ivar: float) -> None:
    model = toy_model()
    post = denoise(observation(model, ivar=np.full(model.grid.size, ivar)), model, method=method, **FEW)
    assert "LOW_INFORMATION" in post.flags
    expected = model.class_prior.log_prob.exp().tolist()
    np.testing.assert_allclose(list(post.class_prob.values()), expected, atol=0.1)
    assert np.isfinite(post.flux).all()
    assert np.median(post.prior_fraction) > (0.6 if ivar else 0.8)  # noise alone bounds the amplitude from above


@pytest.mark.parametrize("shape", [(64,), (3, 64)])
def test_a_masked_observation_on_other_pixels_gives_the_prior(toy_model: Callable, shape: tuple[int, ...]) -> None:
    model = toy_model()
    blind = Observation(model.grid.wavelength + 1.0, np.ones(shape), np.ones(shape), mask=np.ones(shape, bool))
    post = denoise(blind, model)
    assert post.flags == {"LOW_INFORMATION"} and np.isnan(post.residual_z).all() and post.meta["snr"] == 0.0
    np.testing.assert_allclose(post.prior_fraction, 1.0, atol=0.25)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("case", ["one pixel", "S/N 0.1"])
def test_next_to_nothing_is_known(toy_model: Callable, method: str, case: str) -> None:
    model = toy_model()
    ivar = np.full(model.grid.size, 0.01)
    if case == "one pixel":
        ivar[:] = 0.0
        ivar[20] = 1e4
    post = denoise(observation(model, ivar=ivar), model, method=method, **FEW)
    assert np.isfinite(post.flux).all() and np.isfinite(post.sigma).all() and (post.sigma > 0).all()
    assert np.isfinite(post.draws).all()
    assert "LOW_INFORMATION" in post.flags or case == "one pixel"


def test_classes_that_tie_share_the_probability(linear: Callable) -> None:
    """Two classes of one and the same prior."""
    twin = linear(spectra=3)
    prior = twin.model.latent_prior
    prior.points[2:4], prior.whitener[1] = prior.points[0:2], prior.whitener[0]
    stars = locate(twin.model, twin.data, settings=Settings(tolerance=1e-9, margin=1e9))
    assert isinstance(stars[0], Located)
    for draws in sample_ensemble(twin.model, stars, samples=4000):
        share = draws.class_prob
        assert float(share[0]) == pytest.approx(float(share[1]), abs=1e-9)  # whatever the draws: it is summed over
        drawn = torch.bincount(draws.label.flatten(), minlength=3) / draws.label.numel()
        torch.testing.assert_close(drawn.double(), share, rtol=0, atol=0.03)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"samples": 0}, "samples: expected at least 1, got 0"),
        ({"chains": 0}, "chains: expected at least 1, got 0"),
        ({"samples": 3, "chains": 4}, "samples: expected at least one for each of the 4 chains, got 3"),
        (
            {"samples": 10**9, "chains": 10**8},
            r"samples: expected at most \d+ draws of 64 pixels in this memory, got 1",
        ),
        ({"rerun": "again"}, "rerun: expected one of none, longer, nuts, got 'again'"),
    ],
)
def test_what_cannot_be_sampled_is_refused(toy_model: Callable, options: dict, said: str) -> None:
    model = toy_model()
    with pytest.raises(InputError, match=said):
        denoise(observation(model, ivar=np.ones(model.grid.size)), model, method="ensemble", **options)


def test_many_chains_of_one_draw_are_no_trouble(toy_model: Callable) -> None:
    post = denoise(observation(toy_model(), ivar=np.ones(64)), toy_model(), method="ensemble", samples=300, chains=300)
    assert post.chains.shape == (300, 1) and "NOT_CONVERGED" in post.flags


def test_too_few_draws_to_tell_are_flagged_and_run_longer(toy_model: Callable, draw: Callable) -> None:
    model = toy_model()
    star = draw(model, [1])[0]
    short = denoise(star, model, method="ensemble", samples=8, chains=4)
    assert "NOT_CONVERGED" in short.flags and np.isnan(short.meta["r_hat"])
    longer = denoise(star, model, method="ensemble", samples=8, chains=4, rerun="longer")
    assert longer.chains.shape == (4, 8)
