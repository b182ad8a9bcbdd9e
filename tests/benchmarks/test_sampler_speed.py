"""The ensemble of chains against Pyro's NUTS: same model, same target, same spectra, same run, one thread."""

import time
from collections.abc import Callable

import numpy as np
import pytest
import torch

from bayesden.chains import Chains
from bayesden.infer.denoise import denoise
from bayesden.infer.draws import Draws
from bayesden.infer.ensemble import sample_ensemble
from bayesden.infer.laplace import sample_laplace
from bayesden.infer.located import Located, locate
from bayesden.infer.nuts import sample_nuts
from bayesden.infer.svi import sample_svi
from bayesden.io.inference_data import Diagnostics, diagnose
from bayesden.model.checkpoint import load_model
from bayesden.model.data import Data
from bayesden.model.joint import SpectrumModel

pytestmark = pytest.mark.benchmark

SNRS = (5.0, 10.0, 20.0)
SPECTRA = 64
REFERENCES = 3  # spectra that NUTS samples, one at each signal-to-noise ratio


@pytest.fixture(scope="module")
def model() -> SpectrumModel:
    torch.set_num_threads(1)
    return load_model()


@pytest.fixture(scope="module")
def stars(model: SpectrumModel, draw: Callable) -> list[Located]:
    """Stars of all classes, of each signal-to-noise ratio in turn."""
    labels = np.arange(SPECTRA) % len(model.classes)
    observations = [draw(model, [k], snr=SNRS[i % len(SNRS)], seed=i)[0] for i, k in enumerate(labels.tolist())]
    return locate(model, Data.stack(observations))


def timed(function: Callable, *arguments: object, **options: object) -> tuple[list[Draws], float]:
    start = time.perf_counter()
    return function(*arguments, **options), time.perf_counter() - start


def worth(draws: Draws) -> Diagnostics:
    """Diagnostics over all parameters."""
    return diagnose(Chains({"theta": draws.theta.numpy()}, {"diverging": np.zeros(draws.label.shape)}))


def test_ensemble_against_nuts(model: SpectrumModel, stars: list[Located]) -> None:
    ours, seconds = timed(sample_ensemble, model, stars)
    found = [worth(draws) for draws in ours]
    rate = sum(one.ess_bulk for one in found) / seconds
    r_hat = np.array([one.r_hat for one in found])
    settings = {"samples": 200, "chains": 2, "warmup": 200}
    theirs, reference = timed(sample_nuts, model, stars[:REFERENCES], **settings)
    nuts = sum(worth(draws).ess_bulk for draws in theirs) / reference
    print(f"\nensemble: {SPECTRA / seconds:.2f} spectra/s, {rate:.0f} effective draws/s, of the worst parameter")
    print(f"NUTS: {REFERENCES / reference:.4f} spectra/s, {nuts:.2f} effective draws/s; ratio {rate / nuts:.0f}")
    for limit in (1.01, 1.02, 1.05):
        print(f"R-hat below {limit}: {100 * (r_hat < limit).mean():.0f} % of {SPECTRA}; worst {r_hat.max():.2f}")
    assert rate / nuts > 30
    assert (r_hat < 1.05).mean() > 0.9


def test_engines_in_spectra_per_second(model: SpectrumModel, stars: list[Located]) -> None:
    for name, engine, count in (("laplace", sample_laplace, 64), ("svi", sample_svi, 6)):
        _, seconds = timed(engine, model, stars[:count], samples=1000)
        print(f"\n{name}: {count / seconds:.2f} spectra/s, once the modes are found")


def test_whole_denoising_in_spectra_per_second(model: SpectrumModel, draw: Callable) -> None:
    observations = draw(model, list(range(10)), snr=10.0)
    for method in ("map", "laplace", "ensemble"):
        start = time.perf_counter()
        denoise(observations, model, method=method)
        print(f"\n{method}: {len(observations) / (time.perf_counter() - start):.2f} spectra/s, all included")
