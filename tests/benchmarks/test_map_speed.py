"""Batched MAP against the plain Pyro reference: same model, same spectra, same run, one thread each."""

import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
import pytest
import torch

from bayesden.errors import ModelError
from bayesden.infer.denoise import denoise
from bayesden.infer.newton import Newton
from bayesden.infer.reference import fit_map_pyro
from bayesden.model.checkpoint import load_model
from bayesden.model.data import Data
from bayesden.model.joint import Parameters, SpectrumModel
from bayesden.posterior import Posterior
from bayesden.spectrum import Observation

pytestmark = pytest.mark.benchmark

SNRS = (5.0, 8.0, 12.0, 20.0)
SPECTRA = {1: 240, 5: 80}  # by number of exposures
REFERENCES = 5  # spectra that the reference fits, in the right class; for E = 1 the first of them in every class


@dataclass(frozen=True)
class Row:
    """Seconds a spectrum, all on one thread but `two_threads`, and how far objectives are above the reference's, in nats."""

    batched: float
    two_threads: float
    every_class: float
    right_class: float
    gain: np.ndarray


@contextmanager
def threads(n: int) -> Iterator[None]:
    """So many threads of torch, for a while."""
    before = torch.get_num_threads()
    torch.set_num_threads(n)
    try:
        yield
    finally:
        torch.set_num_threads(before)


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


def batched(model: SpectrumModel, observations: list[Observation], n_threads: int) -> tuple[float, list[Posterior]]:
    """Seconds a spectrum, and the posteriors."""
    with threads(n_threads):
        denoise(observations[:8], model)  # warm
        start = time.perf_counter()
        posteriors = denoise(observations, model)
        return (time.perf_counter() - start) / len(observations), posteriors


def measure(model: SpectrumModel, draw: Callable, exposures: int) -> Row:
    with threads(1):
        observations, labels = spectra(model, draw, exposures)
    one, posteriors = batched(model, observations, 1)
    two, _ = batched(model, observations, 2)
    seconds, gain = [], []
    for i in range(REFERENCES):
        every = exposures == 1 and i == 0
        classes = list(range(len(model.classes))) if every else [int(labels[i])]
        with threads(1):  # its tensors are so small that a second thread only costs it
            each, objective = reference(model, Data.stack(observations[i : i + 1]), classes)
        seconds.append(each)
        gain.append(posteriors[i].meta["objective"] - objective)
    return Row(one, two, len(model.classes) * seconds[0], float(np.mean(seconds)), np.array(gain))


def report(exposures: int, row: Row) -> None:
    how = "measured" if exposures == 1 else "one class x number of classes"
    print(f"\nE = {exposures}: {1 / row.batched:.1f} spectra/s on one thread, {1 / row.two_threads:.1f} on two")
    for name, seconds in ((f"every class ({how})", row.every_class), ("right class only", row.right_class)):
        print(f"  Pyro, {name}: {seconds:.1f} s a spectrum; batched is {seconds / row.batched:.0f} x faster")
    gains = ", ".join(f"{gain:+.3f}" for gain in row.gain)
    as_good = 100 * np.mean(row.gain >= -0.01)
    print(f"  objective as good or better: {as_good:.0f} % of {len(row.gain)} (gains in nats: {gains})", flush=True)


@pytest.mark.parametrize("exposures", SPECTRA)
def test_batched_map_is_a_hundred_times_faster_and_as_good(
    model: SpectrumModel, draw: Callable, exposures: int
) -> None:
    row = measure(model, draw, exposures)
    report(exposures, row)
    assert row.every_class / row.batched >= 100
    assert np.mean(row.gain >= -0.01) >= 0.99


def from_class_means(model: SpectrumModel, data: Data, labels: np.ndarray) -> torch.Tensor:
    """Objectives where the reference's start in the right class leads to, found by Newton steps instead of Adam's."""
    label = torch.from_numpy(labels)
    z = torch.stack([model.latent_prior.latents(int(k)).mean(0) for k in label])
    calibration = z.new_zeros(*data.share.shape, model.nuisance.terms if data.share.any() else 0)
    detail, foreground = z.new_zeros(len(z), model.rank), z.new_zeros(len(z), model.foreground)
    start = Parameters(z, z.new_zeros(len(z)), calibration, label, detail, foreground)
    return Newton(model, iterations=300, tolerance=1e-5).maximise(data, start).objective


@pytest.mark.parametrize("exposures", SPECTRA)
def test_no_better_mode_is_missed(model: SpectrumModel, draw: Callable, exposures: int) -> None:
    with threads(1):
        observations, labels = spectra(model, draw, exposures)
        found = torch.tensor([post.meta["objective"] for post in denoise(observations, model)])
        chunks = [slice(i, i + 16) for i in range(0, len(observations), 16)]
        other = torch.cat([from_class_means(model, Data.stack(observations[c]), labels[c]) for c in chunks])
    gap = other - found
    as_good = float((gap <= 0.01).double().mean())
    worst = float(gap.max().clamp_min(0.0))
    print(
        f"\nE = {exposures}: {100 * as_good:.1f} % of {len(gap)} as good or better, the worst by {worst:.2f} nats",
        flush=True,
    )
    assert as_good >= 0.99
