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


@pytest.mark.parametrize("method", METHODS)
def test_with_no_information_the_posterior_is_the_prior(toy_model: Callable, method: str) -> None:
    """Pixels without any weight; an observation without a pixel is refused when it is made (`Observation`)."""
    model = toy_model()
    post = denoise(observation(model, ivar=np.full(model.grid.size, 1e-12)), model, method=method, **FEW)
    assert "LOW_INFORMATION" in post.flags
    expected = model.class_prior.log_prob.exp().tolist()
    np.testing.assert_allclose(list(post.class_prob.values()), expected, atol=0.1)
    assert np.isfinite(post.flux).all()
    assert np.median(post.prior_fraction) > 0.6  # noise alone bounds the amplitude from above


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
        ({"rerun": "again"}, "rerun: expected one of none, longer, nuts, got 'again'"),
    ],
)
def test_what_cannot_be_sampled_is_refused(toy_model: Callable, options: dict, said: str) -> None:
    model = toy_model()
    with pytest.raises(InputError, match=said):
        denoise(observation(model, ivar=np.ones(model.grid.size)), model, method="ensemble", **options)


def test_too_few_draws_to_tell_are_flagged_and_run_longer(toy_model: Callable, draw: Callable) -> None:
    model = toy_model()
    star = draw(model, [1])[0]
    short = denoise(star, model, method="ensemble", samples=8, chains=4)
    assert "NOT_CONVERGED" in short.flags and np.isnan(short.meta["r_hat"])
    longer = denoise(star, model, method="ensemble", samples=8, chains=4, rerun="longer")
    assert longer.chains.shape == (4, 8)
