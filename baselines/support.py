r"""How surprising ordinary stars are to a model: the distributions behind the p-value of `OUT_OF_SUPPORT`.

    python -m baselines support --library LIBRARY --noise spec-1.fits --noise spec-2.fits [--write MODEL]

denoises clean spectra of a split with real noise, several S/N and numbers of exposures; fits `bayesden.infer.support.Null`
to one half of them; prints how often the p-value of the other half falls below some levels, and the null as JSON. `--write`
puts it into a copy of the model's file, where `denoise` finds it.

The exposures are independent (`real_noise_bed`), and each spectrum is multiplied by a smooth random error of 1 %, over some
tens of pixels, as real stars and calibrations differ from any library by.
"""

import json
from argparse import ArgumentParser
from collections.abc import Sequence
from dataclasses import fields, replace

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter1d

from bayesden.evaluate.testbed import real_noise_bed
from bayesden.infer.denoise import denoise
from bayesden.infer.support import BLOCK, MISFIT, Null, Surprise
from bayesden.model.checkpoint import load_model, save_model
from bayesden.model.joint import SpectrumModel
from bayesden.posterior import Posterior
from bayesden.train.library import Library, load_library
from bayesden.train.noise import NoiseSamples
from bayesden.train.workflow import noise_samples

from .arguments import add_bed, add_model, add_seed

__all__ = ["found_in", "misfitting", "surprises"]

RATIOS = (1.0, 3.0, 10.0, 40.0)
EXPOSURES = (1, 2, 4)
LEVELS = (0.5, 0.1, 0.05, 0.02, 0.01)


def misfitting(library: Library, share: float, seed: int) -> Library:
    """The library's spectra times smooth random errors, a share of the flux, correlated over a block of the statistic."""
    errors = gaussian_filter1d(np.random.default_rng(seed).normal(size=library.flux.shape), BLOCK, axis=1, mode="wrap")
    errors *= share / errors.std()
    return replace(library, flux=(library.flux * (1 + errors)).astype(library.flux.dtype))


def found_in(posterior: Posterior) -> Surprise:
    """The statistics that a posterior's p-value was made of."""
    return Surprise(**{field.name: posterior.meta[f"support_{field.name}"] for field in fields(Surprise)})


def surprises(
    library: Library,
    noise: NoiseSamples,
    model: SpectrumModel,
    *,
    ratios: Sequence[float] = RATIOS,
    exposures: Sequence[int] = EXPOSURES,
    per_class: int = 6,
    seed: int = 0,
    misfit: float = MISFIT,
) -> tuple[dict[tuple[float, int], list[Surprise]], NDArray]:
    r"""The statistics of clean spectra with real noise.

    Arguments:
        library: Clean spectra, such as a library's validation split.
        noise: Of other stars.
        model: What they are denoised with.
        ratios: Signal-to-noise ratios of an exposure.
        exposures: Numbers of them.
        per_class: Spectra of each class.
        seed: Seed of spectra and noise.
        misfit: Share of the flux by which the spectra are made to differ from the library's.

    Returns:
        The statistics of N spectra by S/N and number of exposures, and the spectra's classes, shape :math:`(N,)`.
    """
    found, library = {}, misfitting(library, misfit, seed)
    for number, (count, snr) in enumerate((e, r) for e in exposures for r in ratios):
        options = {"exposures": count, "per_class": per_class, "seed": seed + number}
        bed = real_noise_bed(library, noise, snr=snr, **options)
        found[snr, count] = [found_in(p) for p in denoise(list(bed.observations), model)]
    return found, bed.label


def add_arguments(parser: ArgumentParser) -> None:
    """The command's own arguments."""
    add_bed(parser, split="validation", per_class=6)
    add_model(parser)
    parser.add_argument("--write", help="write the model, with the null in its card, to this file")
    add_seed(parser)


def run(arguments: object) -> None:
    """The command: see `python -m baselines support --help`."""
    library = load_library(arguments.library)
    noise = noise_samples(arguments.noise, library.grid)
    model = load_model(arguments.model)
    options = {"ratios": RATIOS, "per_class": arguments.per_class, "seed": arguments.seed}
    found, label = surprises(library.subset(arguments.split), noise, model, **options)
    half = Null.fit([s for row in found.values() for s in row[::2]])
    p = {key: np.array([half.p_value(s) for s in row[1::2]]) for key, row in found.items()}
    for (snr, count), row in p.items():
        _print(f"S/N {snr:g}, {count} exposure{'s' * (count > 1)}", row)
    for k, name in enumerate(library.classes):
        _print(name, np.concatenate([row[label[1::2] == k] for row in p.values()]))
    _print("all", np.concatenate(list(p.values())))
    null = Null.fit([s for row in found.values() for s in row]).to_card()
    print(json.dumps({"support": null}))
    if arguments.write:
        card = {key: value for key, value in model.card.items() if key not in ("name", "sha256")}
        model.card = card | {"support": null}
        save_model(model, arguments.write)


def _print(name: str, p: NDArray) -> None:
    print(f"{name}: p below " + ", ".join(f"{level:g}: {np.mean(p < level):.1%}" for level in LEVELS), flush=True)
