"""Batched MAP against the plain Pyro reference: same model, same spectra, same run."""

import os
import time
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import pytest
import torch

from bayesden.errors import ModelError
from bayesden.infer.denoise import denoise
from bayesden.infer.reference import fit_map_pyro
from bayesden.model.checkpoint import load_model
from bayesden.model.joint import Data, SpectrumModel
from bayesden.spectrum import Observation

pytestmark = pytest.mark.benchmark

SNRS = (5.0, 8.0, 12.0, 20.0)
SPECTRA = {1: 240, 5: 80}  # by number of exposures
REFERENCES = 4  # spectra that the reference fits; the first of them in every class


@dataclass(frozen=True)
class Row:
    """Seconds a spectrum, and how far each objective is above the reference's, in nats."""

    batched: float
    every_class: float
    right_class: float
    gain: np.ndarray


@pytest.fixture(scope="module")
def model() -> SpectrumModel:
    """The shipped model, or the file that BAYESDEN_BENCH_MODEL names."""
    try:
        return load_model(os.environ.get("BAYESDEN_BENCH_MODEL"))
    except ModelError as error:
        pytest.skip(f"no model to measure with ({error})")


def spectra(model: SpectrumModel, draw: Callable, exposures: int) -> tuple[list[Observation], np.ndarray]:
    """Draws of all classes at each signal-to-noise ratio, and their classes, shuffled."""
    each = SPECTRA[exposures] // len(SNRS)
    labels = np.arange(each) % len(model.classes)
    drawn = [
        observation
        for seed, snr in enumerate(SNRS)
        for observation in draw(model, labels, exposures=exposures, snr=snr, seed=seed)
    ]
    order = np.random.default_rng(0).permutation(len(drawn))
    return [drawn[i] for i in order], np.tile(labels, len(SNRS))[order]


def reference(model: SpectrumModel, data: Data, classes: list[int]) -> tuple[float, float]:
    """Seconds for one class, and the best objective."""
    start = time.perf_counter()
    objective = max(fit_map_pyro(model, data, classes=[k])[1] for k in classes)
    return (time.perf_counter() - start) / len(classes), objective


def measure(model: SpectrumModel, draw: Callable, exposures: int) -> Row:
    observations, labels = spectra(model, draw, exposures)
    denoise(observations[:8], model)  # warm
    start = time.perf_counter()
    posteriors = denoise(observations, model)
    batched = (time.perf_counter() - start) / len(observations)
    every, right, gain = [], [], []
    for i in range(REFERENCES):
        data = Data.stack(observations[i : i + 1])
        classes = list(range(len(model.classes))) if i == 0 else [int(labels[i])]
        seconds, objective = reference(model, data, classes)
        (every if i == 0 else right).append(seconds)
        gain.append(posteriors[i].meta["objective"] - objective)
    return Row(batched, len(model.classes) * float(np.mean(every)), float(np.mean(right)), np.array(gain))


def report(exposures: int, row: Row) -> None:
    print(f"\nE = {exposures}: {1 / row.batched:.1f} spectra/s, {torch.get_num_threads()} threads")
    print(f"  Pyro, every class:    {row.every_class:8.1f} s a spectrum, {row.every_class / row.batched:8.0f} x")
    print(f"  Pyro, right class:    {row.right_class:8.1f} s a spectrum, {row.right_class / row.batched:8.0f} x")
    as_good = np.mean(row.gain >= -0.01)
    gains = ", ".join(f"{g:+.3f}" for g in row.gain)
    print(f"  objective as good or better: {100 * as_good:.0f} % of {len(row.gain)} (gains in nats: {gains})")


@pytest.mark.parametrize("exposures", SPECTRA)
def test_batched_map_is_a_hundred_times_faster_and_as_good(
    model: SpectrumModel, draw: Callable, exposures: int
) -> None:
    row = measure(model, draw, exposures)
    report(exposures, row)
    assert row.every_class / row.batched >= 100
    assert np.mean(row.gain >= -0.01) >= 0.99
