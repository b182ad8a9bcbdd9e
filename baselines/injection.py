"""Test bed B5: how many injected lines are found, how often one is seen where there is none, and what is no star at all.

    python -m baselines injection --library LIBRARY --split validation --noise spec-1.fits --noise spec-2.fits

prints the share of recovered lines against the significance that a chi-square test of the noiseless profile would give them,
by S/N and number of exposures; the share of clean spectra with `FEATURE_NOT_IN_MODEL`; and how many quasars, lamps and clean
stars are `OUT_OF_SUPPORT`.
"""

from argparse import ArgumentParser

import numpy as np

from bayesden.evaluate.injection import flat_lamp, inject_lines, quasar, rates
from bayesden.evaluate.testbed import TestBed, real_noise_bed
from bayesden.infer.denoise import denoise
from bayesden.model.checkpoint import load_model
from bayesden.model.joint import SpectrumModel
from bayesden.posterior import Posterior
from bayesden.spectrum import Grid
from bayesden.train.library import Library, load_library
from bayesden.train.workflow import noise_samples

from .arguments import add_bed, add_model, add_seed

__all__ = ["no_stars"]

CONDITIONS = ((5.0, 1), (20.0, 1), (5.0, 4), (20.0, 4))  # S/N of an exposure, exposures
SIGNIFICANCES = (5.0, 8.0, 12.0)
REDSHIFTS = (0.3, 0.8, 1.4, 2.0, 2.6)
RATIOS = (3.0, 10.0, 40.0)


def no_stars(grid: Grid) -> Library:
    """Quasars of several redshifts and slopes, and a lamp, as a library of two classes."""
    flux = [quasar(grid.wavelength, z, slope=slope) for z in REDSHIFTS for slope in (-1.5, -0.5)]
    names = np.array([f"quasar at z = {z}" for z in REDSHIFTS for _ in range(2)] + ["lamp"])
    label = np.array([0] * len(flux) + [1])
    return Library(
        grid, np.array([*flux, flat_lamp(grid.wavelength)], np.float32), label, names, classes=("quasar", "lamp")
    )


def _flagged(posteriors: list[Posterior], flag: str) -> float:
    return float(np.mean([flag in p.flags for p in posteriors]))


def _denoise(bed: TestBed, model: SpectrumModel) -> list[Posterior]:
    return denoise(list(bed.observations), model)


def add_arguments(parser: ArgumentParser) -> None:
    """The command's own arguments."""
    add_bed(parser, split="validation", per_class=6)
    add_model(parser)
    add_seed(parser)


def run(arguments: object) -> None:
    """The command: see `python -m baselines injection --help`."""
    library = load_library(arguments.library)
    noise, model = noise_samples(arguments.noise, library.grid), load_model(arguments.model)
    clean, seed = library.subset(arguments.split), arguments.seed
    for number, (snr, exposures) in enumerate(CONDITIONS):
        options = {"snr": snr, "exposures": exposures, "per_class": arguments.per_class}
        bed = real_noise_bed(clean, noise, seed=seed + number, **options)
        plain = _denoise(bed, model)
        words = [f"S/N {snr:g} x {exposures}: {len(plain)} clean"]
        words += [f"{flag} {_flagged(plain, flag):.1%}" for flag in ("FEATURE_NOT_IN_MODEL", "OUT_OF_SUPPORT")]
        print(", ".join(words), flush=True)
        for significance in SIGNIFICANCES:
            with_lines, lines = inject_lines(bed, significance, seed=seed)
            found = rates(_denoise(with_lines, model), lines)
            print(f"  {significance:g} sigma: " + ", ".join(f"{k} {v:.1%}" for k, v in found.items()), flush=True)
    for snr in RATIOS:
        bed = real_noise_bed(no_stars(model.grid), noise, snr=snr, exposures=4, per_class=10, seed=seed)
        posteriors = _denoise(bed, model)
        for k, name in enumerate(bed.classes):
            some = [p for p, label in zip(posteriors, bed.label, strict=True) if label == k]
            print(f"S/N {snr:g} x 4, {name}: OUT_OF_SUPPORT {_flagged(some, 'OUT_OF_SUPPORT'):.1%}", flush=True)
