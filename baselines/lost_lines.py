r"""What becomes of a line that a denoiser does not know: Pál & Dobos (2024), section 4.3 and figure 10.

    python -m baselines lines --bed B3 --simulation train.h5 validation.h5 test.h5 --network dense_dae.safetensors --out out/lines
    python -m baselines lines --library LIBRARY --noise spec-1.fits --model sdss-10class --network conv_dae.safetensors

Every spectrum is denoised twice with the same noise, without and with a line :math:`\ell_d` of known profile. Of the line a
method keeps

.. math:: k = \frac{\sum_d (\hat s'_d - \hat s_d)\, \ell_d}{\sum_d \ell_d^2} ,

1 if it comes through whole and 0 if it is lost. On test bed B3 the lines are those of the paper: a new one at 8600 Å, and
the calcium line at 8542 Å deepened; on B1 those of `bayesden.evaluate.injection`, at a stated significance, and for the
models of this package the share that they flag stands beside. Quartiles over spectra, as Markdown and CSV.
"""

import csv
from argparse import ArgumentParser, Namespace
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from bayesden.errors import InputError
from bayesden.evaluate.injection import inject_lines, recovered, voigt
from bayesden.evaluate.testbed import real_noise_bed, white_noise_bed
from bayesden.infer.denoise import denoise
from bayesden.model.checkpoint import load_model
from bayesden.simulation.simulator import Simulation
from bayesden.simulation.stored import read_simulation
from bayesden.spectrum import Observation
from bayesden.train.library import load_library
from bayesden.train.workflow import noise_samples

from .arguments import add_bed, add_models, add_seed
from .methods import Run, methods
from .simulated_bed import methods as simulated_methods
from .simulated_bed import observations

__all__ = ["Kept", "add_arguments", "kept", "paper_lines", "run"]

LINES_A = {"new at 8600 A": (8602.4, 0.5), "deepened 8542 A": (8544.4, 0.3)}  # vacuum centre, depth of what is added
FWHM_KMS = 60.0  # the resolution of the instrument
SNR = 20.0  # at least, on B3: the line must be seen
SIGNIFICANCE = 12.0  # on B1


@dataclass(frozen=True)
class Kept:
    """How much of a line one method kept in one spectrum."""

    method: str
    line: str
    star: str
    kept: float


def kept(with_line: NDArray, without: NDArray, line: NDArray) -> NDArray:
    """The share of lines (N, D) that denoised spectra (N, D) kept: (N,)."""
    return ((with_line - without) * line).sum(-1) / np.square(line).sum(-1)


def paper_lines(wavelength: NDArray, clean: NDArray) -> dict[str, NDArray]:
    """The lines of figure 10 for noiseless spectra (N, D): what is added, negative, by name."""
    found = {}
    for name, (centre, depth) in LINES_A.items():
        found[name] = -depth * voigt(wavelength, centre, FWHM_KMS) * clean
    return found


def _with_line(observation: Observation, line: NDArray) -> Observation:
    given = {key: getattr(observation, key) for key in ("wavelength", "ivar", "mask", "name")}
    return Observation(flux=np.where(observation.mask, 0.0, observation.flux + line), **given)


def _simulated(table: Mapping[str, Run], simulation: Simulation) -> list[Kept]:
    bright = np.flatnonzero(simulation.parameters["snr"] > SNR)
    observed = [observations(simulation)[i] for i in bright]
    lines = paper_lines(simulation.wavelength.numpy(), simulation.clean.double().numpy()[bright])
    rows = []
    for name, method in table.items():
        plain, _ = method(observed)
        for line, added in lines.items():
            flux, _ = method([_with_line(o, a) for o, a in zip(observed, added, strict=True)])
            rows += [Kept(name, line, o.name, k) for o, k in zip(observed, kept(flux, plain, added), strict=True)]
    return rows


def _real(arguments: Namespace) -> tuple[list[Kept], list[str]]:
    """Rows of test bed B1, and a line for each model that says what it flags."""
    library = load_library(arguments.library)
    truth = library.subset(arguments.split)
    options = {"snr": SNR, "per_class": arguments.per_class, "seed": arguments.seed}
    if arguments.noise:
        bed = real_noise_bed(truth, noise_samples(arguments.noise, library.grid), **options)
    else:
        bed = white_noise_bed(truth, **options)
    changed, lines = inject_lines(bed, SIGNIFICANCE, seed=arguments.seed)
    added, rows, flagged = changed.truth - bed.truth, [], []
    for name, method in methods(library, arguments.model, arguments.network).items():
        share = kept(method(changed.observations)[0], method(bed.observations)[0], added)
        rows += [Kept(name, e.kind, o.name, k) for e, o, k in zip(lines, bed.observations, share, strict=True)]
    for name in arguments.model:
        found = partial(denoise, model=load_model(name))(list(changed.observations))
        share = np.mean([recovered(p, line) for p, line in zip(found, lines, strict=True)])
        flagged.append(f"{name}: {share:.0%} of the lines are flagged FEATURE_NOT_IN_MODEL and found where they are")
    return rows, flagged


def _table(rows: Sequence[Kept]) -> list[str]:
    kinds = list(dict.fromkeys(r.line for r in rows))
    lines = [f"| method | {' | '.join(kinds)} |", "|---" * (len(kinds) + 1) + "|"]
    for method in dict.fromkeys(r.method for r in rows):
        cells = []
        for kind in kinds:
            low, middle, high = np.percentile(
                [r.kept for r in rows if (r.method, r.line) == (method, kind)], (25, 50, 75)
            )
            cells.append(f"{100 * middle:.0f} ({100 * low:.0f} to {100 * high:.0f})")
        lines.append(f"| {method} | {' | '.join(cells)} |")
    return lines


def add_arguments(parser: ArgumentParser) -> None:
    """The command's own arguments."""
    parser.add_argument("--bed", choices=("B1", "B3"), default="B1", help="real noise, or simulated stars of pfs-mr")
    add_bed(parser, split="test", per_class=6, white=True, required=False)
    add_models(parser)
    parser.add_argument("--network", action="append", default=[], help="weights that `train` wrote; may be repeated")
    text = "B3: simulations of pfs-mr that the closed forms are fitted on, chosen on, and all are tested on"
    parser.add_argument("--simulation", nargs=3, metavar="FILE", help=text)
    parser.add_argument("--out", default="out/lines", help="folder for the table")
    add_seed(parser)


def run(arguments: Namespace) -> None:
    """The command: see `python -m baselines lines --help`."""
    flagged = []
    if arguments.bed == "B3":
        if not arguments.simulation:
            raise InputError("lines: expected --simulation with three files for test bed B3, got none")
        train, held, test = map(read_simulation, arguments.simulation)
        rows = _simulated(simulated_methods(train, held, arguments.model, arguments.network), test)
    elif arguments.library:
        rows, flagged = _real(arguments)
    else:
        raise InputError("lines: expected --library for test bed B1, got none")
    out = Path(arguments.out)
    out.mkdir(parents=True, exist_ok=True)
    text = "\n".join(_table(rows))
    (out / "lines.md").write_text(text + "\n")
    with (out / "lines.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(Kept.__dataclass_fields__)
        writer.writerows(vars(row).values() for row in rows)
    print("\n".join(["percent of a line that is kept: median (quartiles)", text, *flagged]))
    print(f"wrote {out}/lines.md and lines.csv")
