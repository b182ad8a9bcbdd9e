"""The p-value of `OUT_OF_SUPPORT`: uniform for what its null was made of, small for what the model cannot make."""

from collections.abc import Callable
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
import torch
from scipy.stats import kstest

from baselines.support import found_in
from bayesden.infer.denoise import denoise
from bayesden.infer.support import SHIPPED, SMOOTH, SUPPORT_LEVEL, Null, Surprise, Tail, _featureless, null_of
from bayesden.model.joint import SpectrumModel
from bayesden.model.noiseflow import NoiseFlow
from bayesden.model.nuisance import Nuisance


def ordinary(count: int, seed: int) -> list[Surprise]:
    """Statistics whose level and spread depend on the noise's share, as real ones do."""
    rng = np.random.default_rng(seed)
    share = rng.uniform(0, 1, count)
    residual = np.exp(-2 * (1 - share) + (0.2 + 0.3 * (1 - share)) * rng.gumbel(size=count))
    latent = np.exp(2 + 0.5 * share + 0.4 * rng.normal(size=count))
    plain = np.exp(-10 + 5 * share + rng.normal(size=count))
    return [Surprise(*row) for row in np.stack([residual, latent, plain, share], 1).tolist()]


def test_p_values_of_new_ordinary_spectra_are_uniform_at_every_share() -> None:
    null, fresh = Null.fit(ordinary(4000, 0)), ordinary(4000, 1)
    p, share = np.array([null.p_value(s) for s in fresh]), np.array([s.noise_share for s in fresh])
    for low in (0.0, 0.25, 0.5, 0.75):
        assert kstest(p[(share >= low) & (share < low + 0.25)], "uniform").statistic < 0.08
    assert 0.004 < np.mean(p < 0.01) < 0.02
    flat = Null.fit([replace(s, noise_share=0.5) for s in ordinary(4000, 0)])  # control: without the share
    bright = np.array([flat.p_value(replace(s, noise_share=0.5)) for s in fresh])[share < 0.25]
    assert kstest(bright, "uniform").statistic > 0.2


def test_p_falls_with_either_statistic_and_has_a_tail_beyond_the_table() -> None:
    null = Null.fit(ordinary(2000, 0))
    for key in ("residual", "latent", "featureless"):
        values = [
            null.p_value(replace(Surprise(1.0, 9.0, 5e-4, 0.5), **{key: v})) for v in (1e-9, 1.0, 5.0, 50.0, 1e3, 1e30)
        ]
        assert all(a >= b for a, b in pairwise(values)) and values[0] > 0.15 and values[-1] < 1e-4
        assert all(0 <= v <= 1 for v in values)
    tail = Tail.fit(np.linspace(0, 1, 100), np.random.default_rng(0).lognormal(size=100))
    assert 0 < tail.p_value(0.5, 1e6) < 1e-6 < tail.p_value(0.5, 1.0)


def test_a_null_is_kept_on_a_models_card(toy_model: Callable) -> None:
    null = Null.fit(ordinary(300, 0))
    assert Null.from_card(null.to_card()) == null
    model = toy_model()
    assert null_of(model) == SHIPPED
    model.card["support"] = null.to_card()
    assert null_of(model) == null
    model.card["support"].pop("featureless")  # an older model's
    surprise = Surprise(3.0, 20.0, 1.0, 0.5)
    p = [null.tails[key].p_value(0.5, getattr(surprise, key)) for key in ("residual", "latent")]
    assert null_of(model).p_value(surprise) == pytest.approx(np.prod(p) * (1 - np.log(np.prod(p))))


@pytest.fixture(scope="module")
def calibrated(toy_model: Callable, draw: Callable) -> SpectrumModel:
    """A model with the null of its own draws."""
    parts = {"noise": NoiseFlow("robust", size=256), "nuisance": Nuisance(calibration_sd=0.002)}
    model = toy_model(256, **parts)
    plain = [o for e in (1, 3) for snr in (5.0, 20.0) for o in draw(model, [0, 1, 2] * 8, exposures=e, snr=snr, seed=e)]
    model.card["support"] = Null.fit([found_in(p) for p in denoise(plain, model)]).to_card()
    return model


@pytest.mark.parametrize("exposures", [1, 3])
def test_stars_of_the_model_are_in_support_and_a_square_wave_is_not(
    calibrated: SpectrumModel, draw: Callable, exposures: int
) -> None:
    known = draw(calibrated, [0, 1, 2] * 4, exposures=exposures, snr=20.0, seed=7)
    wave = 1 + 0.5 * np.sign(np.sin(np.arange(256) / 9.0))
    posts = denoise([*known, *(replace(o, flux=o.flux + wave) for o in known)], calibrated)
    p = np.array([post.meta["support_p"] for post in posts])
    assert np.mean(p[:12] < SUPPORT_LEVEL) < 0.2 and (p[12:] < SUPPORT_LEVEL).all()
    assert all(
        ("OUT_OF_SUPPORT" in post.flags) == (value < SUPPORT_LEVEL) for post, value in zip(posts, p, strict=True)
    )


def test_one_line_is_a_feature_and_not_out_of_support(calibrated: SpectrumModel, draw: Callable) -> None:
    obs = draw(calibrated, [0], exposures=2, snr=20.0)[0]
    flux = obs.flux.copy()
    flux[:, 99:102] += [0.6, 2.0, 0.6]
    plain, lined = denoise([obs, replace(obs, flux=flux)], calibrated)
    assert lined.meta["support_residual"] < 2 * plain.meta["support_residual"] + 0.5
    assert not plain.flags and lined.flags == {"FEATURE_NOT_IN_MODEL"}


def test_a_star_is_compared_with_the_best_smooth_curve() -> None:
    """For white normal noise the gain is the difference of the two sums of squares, the curve's by least squares."""
    rng, size = np.random.default_rng(0), 300
    x, weight = np.linspace(-1, 1, size), rng.uniform(50, 200, size)
    weight[:60] = 0.0  # not observed
    for depth in (0.0, 0.5):
        star = 1 + 0.2 * x - depth * np.exp(-0.5 * ((x - 0.2) / 0.02) ** 2)
        data = star + rng.normal(size=size) / np.sqrt(np.where(weight > 0, weight, 1.0))
        curve = np.polynomial.chebyshev.chebfit(x, data, SMOOTH, w=np.sqrt(weight))
        squares = [(weight * (data - y) ** 2).sum() for y in (np.polynomial.chebyshev.chebval(x, curve), star)]
        score, diagonal = (torch.tensor(row)[None] for row in (weight * (data - star), weight))
        found = _featureless(torch.tensor(star), score, [diagonal, torch.zeros_like(diagonal)])
        assert found == pytest.approx(1 / (1 + max(squares[0] - squares[1], 0.0)), rel=1e-4)
        assert (found == 1.0) == (depth == 0.0)
    assert _featureless(torch.ones(size), torch.zeros(1, size), [torch.zeros(1, size)]) == 1.0
