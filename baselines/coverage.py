r"""Coverage of the engines on test bed B1: how often the truth, which no model has seen, is inside their intervals.

    python -m baselines coverage --library LIBRARY --noise spec-1.fits --noise spec-2.fits --method laplace --method ensemble

An interval is between two quantiles of the posterior at each pixel: of the draws, or of a normal for `map`, which has none.
Every method meets the same spectra with the same noise. ``coverage.md`` has the percent of pixels within 50 and 90 %.
"""

import time
from argparse import ArgumentParser
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from bayesden.evaluate.testbed import TestBed, real_noise_bed, white_noise_bed
from bayesden.infer.denoise import METHODS, denoise
from bayesden.model.checkpoint import load_model
from bayesden.model.joint import SpectrumModel
from bayesden.posterior import Posterior
from bayesden.train.library import load_library
from bayesden.train.workflow import noise_samples

from .arguments import add_bed, add_model, add_seed
from .conditions import CONDITIONS, Condition

__all__ = ["LEVELS", "Coverage", "add_arguments", "coverage", "run", "within"]

LEVELS = (0.5, 0.9)


@dataclass(frozen=True, eq=False)
class Coverage:
    """Of one method under one condition: shares of pixels within each level's interval, (2, N); classes (N,); seconds."""

    method: str
    condition: Condition
    shares: NDArray
    label: NDArray
    seconds: float


def within(post: Posterior, truth: NDArray) -> NDArray:
    """Shares of a spectrum's pixels whose truth (D,) is inside the central interval of each of `LEVELS`, shape (2,)."""
    ends = [(post.quantile(0.5 - level / 2), post.quantile(0.5 + level / 2)) for level in LEVELS]
    return np.array([((truth >= low) & (truth <= high)).mean() for low, high in ends])


def coverage(
    model: SpectrumModel, bed: TestBed, condition: Condition, method: str, *, samples: int, seed: int
) -> Coverage:
    """Fit a bed with one method.

    Arguments:
        model: The joint density.
        bed: Observations of known truth.
        condition: What they are.
        method: The engine's name.
        samples: Draws of each spectrum.
        seed: Seed of the draws.
    """
    start = time.perf_counter()
    posteriors = denoise(list(bed.observations), model, method=method, samples=samples, seed=seed)
    seconds = (time.perf_counter() - start) / len(posteriors)
    shares = [within(post, truth) for post, truth in zip(posteriors, bed.truth, strict=True)]
    return Coverage(method, condition, np.array(shares).T, bed.label, seconds)


def table(found: Sequence[Coverage], classes: Sequence[str]) -> str:
    """Markdown: percent within 50 and 90 %, of all pixels and of each class's."""
    lines = ["| condition | method | all | " + " | ".join(classes) + " |", "|---" * (3 + len(classes)) + "|"]
    for one in found:
        groups = [np.ones(len(one.label), bool), *(one.label == k for k in range(len(classes)))]
        cells = ["/".join(f"{100 * share[rows].mean():.0f}" for share in one.shares) for rows in groups]
        lines.append(f"| {one.condition} | {one.method} | " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


def add_arguments(parser: ArgumentParser) -> None:
    """The command's own arguments."""
    add_bed(parser, split="test", per_class=5, white=True)
    add_model(parser)
    text = "engine; may be repeated; laplace and ensemble by default"
    parser.add_argument("--method", action="append", choices=METHODS, help=text)
    parser.add_argument("--samples", type=int, default=400, help="draws of each spectrum")
    parser.add_argument("--out", default="out/coverage", help="folder for the table")
    add_seed(parser)


def run(arguments: object) -> None:
    """The command: see `python -m baselines coverage --help`."""
    library, model = load_library(arguments.library), load_model(arguments.model)
    truth, out = library.subset(arguments.split), Path(arguments.out)
    noise = noise_samples(arguments.noise, library.grid) if arguments.noise else None
    out.mkdir(parents=True, exist_ok=True)
    found: list[Coverage] = []

    def make(**options: float) -> TestBed:
        options |= {"per_class": arguments.per_class, "seed": arguments.seed}
        return white_noise_bed(truth, **options) if noise is None else real_noise_bed(truth, noise, **options)

    for condition in CONDITIONS["plain"]:
        bed = condition.apply(make)
        for method in arguments.method or ("laplace", "ensemble"):
            one = coverage(model, bed, condition, method, samples=arguments.samples, seed=arguments.seed)
            found.append(one)
            percent = " and ".join(f"{100 * share.mean():.1f} %" for share in one.shares)
            print(f"{condition}: {method}: {percent} within 50 and 90 %; {one.seconds:.2f} s a spectrum", flush=True)
            (out / "coverage.md").write_text(table(found, library.classes))
