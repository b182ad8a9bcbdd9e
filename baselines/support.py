"""How far ordinary stars are from what a model can draw: the statistic behind `OUT_OF_SUPPORT`, whose limit comes from it.

    python -m baselines support --library LIBRARY --split validation --noise spec-1.fits --noise spec-2.fits

prints percentiles of `bayesden.infer.summary.support_statistic` over clean spectra of a split with real noise.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from bayesden.evaluate.testbed import real_noise_bed
from bayesden.infer.denoise import denoise
from bayesden.infer.summary import OUT_OF_SUPPORT
from bayesden.model.checkpoint import load_model
from bayesden.model.joint import SpectrumModel
from bayesden.train.library import Library, load_library
from bayesden.train.noise import NoiseSamples
from bayesden.train.workflow import noise_samples

__all__ = ["statistics"]

RATIOS = (3.0, 10.0, 40.0)


def statistics(
    library: Library,
    noise: NoiseSamples,
    model: SpectrumModel,
    *,
    ratios: Sequence[float] = RATIOS,
    exposures: int = 4,
    per_class: int = 20,
    seed: int = 0,
) -> tuple[NDArray, NDArray]:
    r"""The support statistic of clean spectra with real noise.

    Arguments:
        library: Clean spectra, such as a library's validation split.
        noise: Of other stars.
        model: What they are denoised with.
        ratios: Signal-to-noise ratios of an exposure, :math:`R` of them.
        exposures: Of each spectrum.
        per_class: Spectra of each class.
        seed: Seed of spectra and noise.

    Returns:
        The statistic, shape :math:`(R, N)`, and the class of each spectrum, shape :math:`(N,)`.
    """
    options = {"exposures": exposures, "per_class": per_class, "seed": seed}
    beds = [real_noise_bed(library, noise, snr=snr, **options) for snr in ratios]
    found = np.array([[p.meta["support"] for p in denoise(list(bed.observations), model)] for bed in beds])
    return found, beds[0].label


def run(arguments: object) -> None:
    """The command: see `python -m baselines support --help`."""
    library = load_library(arguments.library)
    noise = noise_samples(arguments.noise, library.grid)
    options = {"per_class": arguments.per_class, "seed": arguments.seed}
    found, label = statistics(library.subset(arguments.split), noise, load_model(arguments.model), **options)
    for snr, row in zip(RATIOS, found, strict=True):
        _print(f"S/N {snr:g}", row)
    for k, name in enumerate(library.classes):
        _print(name, found[:, label == k])
    _print("all", found)


def _print(name: str, values: NDArray) -> None:
    median, high, largest = np.percentile(values, [50, 98, 100])
    above = np.mean(values > OUT_OF_SUPPORT)
    print(f"{name}: median {median:.2f}, 98 % {high:.2f}, largest {largest:.2f}, above {OUT_OF_SUPPORT:g}: {above:.1%}")
