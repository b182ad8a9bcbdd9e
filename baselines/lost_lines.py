r"""What becomes of a line that a denoiser does not know: Pál & Dobos (2024), section 4.3 and figure 10.

    python -m baselines lines --bed B3 --simulation train.h5 validation.h5 test.h5 --network dense_dae.safetensors --out out/lines
    python -m baselines lines --library LIBRARY --noise spec-1.fits --model sdss-10class --network conv_dae.safetensors

Every spectrum is denoised twice with the same noise, without and with a line :math:`\ell_d` of known profile. Of the line a
method keeps

.. math:: k = \frac{\sum_d (\hat s'_d - \hat s_d)\, \ell_d}{\sum_d \ell_d^2} ,

1 if it comes through whole and 0 if it is lost. On test bed B3 the lines are those of the paper: a new one at 8600 Å, and
the calcium line at 8542 Å deepened; on B1 those of `bayesden.evaluate.injection`, at a stated significance, and for the
models of this package the share that they flag is in ``flagged.md``. Medians over spectra with bootstrap intervals, as
Markdown and CSV; on B3 also figures 10 and 11 of the paper, ``new.png`` and ``deepened.png``.
"""

from argparse import ArgumentParser, Namespace
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from bayesden.errors import InputError
from bayesden.evaluate.injection import Injection, inject_lines, recovered, voigt
from bayesden.evaluate.testbed import real_noise_bed, white_noise_bed
from bayesden.posterior import Posterior
from bayesden.simulation.simulator import Simulation
from bayesden.simulation.stored import read_simulation
from bayesden.spectrum import Observation
from bayesden.train.library import load_library
from bayesden.train.workflow import noise_samples

from .arguments import add_bed, add_models, add_seed
from .bootstrap import bootstrap, median
from .figures.one_star import describe, one_star
from .methods import Method, methods, moments
from .simulated_bed import methods as simulated_methods
from .simulated_bed import observations
from .tidy import write_rows

__all__ = ["Kept", "add_arguments", "kept", "paper_lines", "run"]

LINES_A = {"new at 8600 A": (8602.4, 0.5), "deepened 8542 A": (8544.4, 0.3)}  # vacuum centre, depth of what is added
FWHM_KMS = 60.0  # the resolution of the instrument
SNR = 20.0  # at least, on B3: the line must be seen
SIGNIFICANCE = 12.0  # on B1
GIANT_K = 4900.0  # of the star that is drawn


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


def paper_lines(wavelength: NDArray, clean: NDArray, redshift: NDArray) -> dict[str, NDArray]:
    """The lines of figure 10, moved with the stars, for noiseless spectra (N, D): what is added, negative, by name."""
    found = {}
    for name, (centre, depth) in LINES_A.items():
        profile = [voigt(wavelength, centre * (1 + z), FWHM_KMS) for z in redshift]
        found[name] = -depth * np.array(profile) * clean
    return found


def _with_line(observation: Observation, line: NDArray) -> Observation:
    given = {key: getattr(observation, key) for key in ("wavelength", "ivar", "mask", "name")}
    return Observation(flux=np.where(observation.mask, 0.0, observation.flux + line), **given)


def _flagged(posteriors: Sequence[Posterior], lines: Sequence[Injection], what: str) -> str:
    share = np.mean([recovered(p, line) for p, line in zip(posteriors, lines, strict=True)])
    return f"{what}: {share:.0%} of the lines are flagged FEATURE_NOT_IN_MODEL and found where they are"


def _simulated(table: Mapping[str, Method], simulation: Simulation, out: Path) -> tuple[list[Kept], list[str]]:
    """Rows of test bed B3, what our models flag, and figure 10 of one star in the folder."""
    bright = np.flatnonzero(simulation.parameters["snr"] > SNR)
    observed = [observations(simulation)[i] for i in bright]
    truth, wavelength = simulation.clean.double().numpy()[bright], simulation.wavelength.numpy()
    redshift = simulation.parameters["redshift"][bright]
    lines, rows, flagged, shown = paper_lines(wavelength, truth, redshift), [], [], {}
    for name, method in table.items():
        plain, _ = method(observed)
        for line, added in lines.items():
            posteriors = method.run([_with_line(o, a) for o, a in zip(observed, added, strict=True)])
            flux, _ = moments(posteriors)
            rows += [Kept(name, line, o.name, k) for o, k in zip(observed, kept(flux, plain, added), strict=True)]
            shown.setdefault(line, {})[name] = flux
            if name.startswith("bayesden"):
                places = LINES_A[line][0] * (1 + redshift)
                injected = [Injection(place, FWHM_KMS, "absorption", SNR) for place in places]
                flagged.append(_flagged(posteriors, injected, f"{name}, {line}"))
    star = int(np.abs(simulation.parameters["teff_K"][bright] - GIANT_K).argmin())
    for line, added in lines.items():
        noisy = observed[star].coadd()[0] + added[star]
        spectra = {name: flux[star] for name, flux in shown[line].items()}
        title = f"{line}; {describe(simulation.parameters[bright][star])}"
        path = out / f"{line.split()[0]}.png"
        one_star(wavelength, truth[star] + added[star], noisy, spectra, title, path, usual=truth[star])
    return rows, flagged


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
        posteriors = method.run(list(changed.observations))
        share = kept(moments(posteriors)[0], method(bed.observations)[0], added)
        rows += [Kept(name, e.kind, o.name, k) for e, o, k in zip(lines, bed.observations, share, strict=True)]
        if name.startswith("bayesden"):
            flagged.append(_flagged(posteriors, lines, name))
    return rows, flagged


def _table(rows: Sequence[Kept]) -> list[str]:
    """Markdown: percent of each kind of line that is kept, median with its interval of 95 %."""
    kinds = list(dict.fromkeys(r.line for r in rows))
    lines = [f"| method | {' | '.join(kinds)} |", "|---" * (len(kinds) + 1) + "|"]
    for method in dict.fromkeys(r.method for r in rows):
        cells = []
        for kind in kinds:
            some = [r for r in rows if (r.method, r.line) == (method, kind)]
            values = 100 * np.array([r.kept for r in some])
            low, high = bootstrap(values, [r.star.rpartition(" (")[0] or r.star for r in some], median)
            cells.append(f"{np.median(values):.0f} [{low:.0f}, {high:.0f}]")
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
    if arguments.bed == "B3" and not arguments.simulation:
        raise InputError("lines: expected --simulation with three files for test bed B3, got none")
    if arguments.bed == "B1" and not arguments.library:
        raise InputError("lines: expected --library for test bed B1, got none")
    out = Path(arguments.out)
    out.mkdir(parents=True, exist_ok=True)
    if arguments.bed == "B3":
        train, held, test = map(read_simulation, arguments.simulation)
        rows, flagged = _simulated(simulated_methods(train, held, arguments.model, arguments.network), test, out)
    else:
        rows, flagged = _real(arguments)
    text = "\n".join(_table(rows))
    (out / "lines.md").write_text(text + "\n")
    write_rows(Kept, rows, out / "lines.csv")
    (out / "flagged.md").write_text("".join(f"- {line}\n" for line in flagged))
    print("\n".join(["percent of a line that is kept: median [95 %]", text, *flagged]))
    print(f"wrote {out}/lines.md, lines.csv and flagged.md")
