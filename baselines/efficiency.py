r"""How close the shipped model comes to the best that any estimate can do: the Cramér-Rao bound over what was achieved.

    python -m baselines efficiency --library LIBRARY --out docs/measured

Two kinds of truth get white Gaussian noise of known size, one exposure:

- ``generator``: stars that the model itself draws. Their unknowns are those that they were drawn with: latents, factors,
  velocity, reddening, shared calibration terms, amplitude.
- ``archetypes``: the theoretical stars of the library's test split, which no part of the model has seen. Each is a sum of
  five basis spectra of its class, moved, reddened and tilted by three terms: ten unknowns.

For white noise the bound on the mean squared error over D pixels is :math:`\sigma^2 p / D` for p unknowns
(`bayesden.evaluate.efficiency`). It is that of unbiased estimates; a prior helps most where the data say least, so faint stars
may exceed 1. For the generator's own stars there is also the bound with priors (van Trees), as if latents were normal
with the class's covariance. Efficiency is the mean bound over the mean squared error; ``median`` has medians of both instead,
which a star that is taken for another does not rule.
"""

import csv
from argparse import ArgumentParser
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from bayesden.evaluate.efficiency import cramer_rao_bound
from bayesden.evaluate.in_model import plain_template, simulate, template_data
from bayesden.evaluate.testbed import TestBed, reconstruction_loss, white_noise_bed
from bayesden.infer.denoise import denoise
from bayesden.model.checkpoint import load_model
from bayesden.model.joint import Parameters, SpectrumModel
from bayesden.train.library import Library, load_library

from .arguments import add_model, add_seed

__all__ = ["Row", "add_arguments", "archetypes", "efficiencies", "own_stars", "run", "table"]

RATIOS = (2.5, 5.0, 10.0, 20.0, 40.0)
ARCHETYPE = "archetype/"
ARCHETYPE_UNKNOWNS = 10
TICKS = (0.25, 0.5, 1.0, 2.0, 4.0)
CURVES = {  # whose truth, which bound, colour and marker
    "generator's own stars": ("generator", "bound", "#0072b2", "o"),
    "with priors in the bound": ("generator", "with_prior", "#0072b2", "s"),
    "archetypes": ("archetypes", "bound", "#c44601", "^"),
}


@dataclass(frozen=True)
class Row:
    """One spectrum: its truth, S/N and class, bounds without and with priors (NaN where there is none), and squared error."""

    truth: str
    snr: float
    spectral_class: str
    bound: float
    with_prior: float
    loss: float


def archetypes(library: Library) -> Library:
    """The theoretical stars of a library, and their classes alone."""
    some = library.take(np.char.startswith(library.name.astype(str), ARCHETYPE))
    kept, label = np.unique(some.label, return_inverse=True)
    return replace(some, label=label, classes=tuple(library.classes[k] for k in kept))


@torch.no_grad()
def own_stars(model: SpectrumModel, count: int, *, seed: int = 0) -> tuple[Library, Parameters, NDArray]:
    """Stars that a model draws: their spectra, their parameters, and the amplitudes (count,) that were divided out."""
    at = simulate(model, template_data(plain_template(model.grid, 1)), count, seed=seed).at
    flux, label = model.star(at).double().numpy(), at.label.numpy()
    amplitude = np.abs(flux).mean(1)
    name = np.array([f"drawn/{i:05d}" for i in range(count)])
    flux = (flux / amplitude[:, None]).astype(np.float32)
    return Library(model.grid, flux, label, name, classes=model.classes), at, amplitude


def _one_each(stars: Library) -> Library:
    """A library whose stars are classes of one each, so that a bed takes all of them in order."""
    names = tuple(stars.name.tolist())
    return replace(stars, label=np.arange(len(stars)), classes=names)


def _own_bounds(model: SpectrumModel, at: Parameters, amplitude: NDArray, sigma: NDArray) -> tuple[NDArray, NDArray]:
    """Mean bounds over pixels without and with priors, each (N,), of stars that the model drew."""
    plain, informed = [], []
    for i in range(len(sigma)):
        star, rows = model.star_and_jacobian(at.take(slice(i, i + 1)))
        latents = rows.shape[1] - model.rank - model.foreground
        root = torch.linalg.cholesky(model.latent_prior.covariance(int(at.label[i])).double())
        rows = torch.cat([root.mT @ rows[0, :latents].double(), rows[0, latents:].double(), star.double()])
        slope, size = rows.mT[None] / amplitude[i], torch.full((1, star.shape[1]), sigma[i], dtype=torch.float64)
        prior = torch.ones(len(rows), dtype=torch.float64)
        prior[-1] = model.nuisance.amplitude_sd
        plain.append(float(cramer_rao_bound(slope, size).mean()))
        informed.append(float(cramer_rao_bound(slope, size, prior).mean()))
    return np.array(plain), np.array(informed)


def _sizes(bed: TestBed) -> NDArray:
    """The noise of each spectrum of a bed with white noise, (N,)."""
    return np.array([o.ivar[0, 0] ** -0.5 for o in bed.observations])


def _losses(model: SpectrumModel, bed: TestBed) -> NDArray:
    return reconstruction_loss(np.array([p.flux for p in denoise(list(bed.observations), model)]), bed.truth)


def efficiencies(
    model: SpectrumModel, library: Library, *, ratios: Sequence[float] = RATIOS, per_class: int = 8, seed: int = 0
) -> list[Row]:
    """Bounds and losses of both kinds of truth at every signal-to-noise ratio.

    Arguments:
        model: A trained model.
        library: With archetypes that the model has not seen.
        ratios: Median signal-to-noise ratios.
        per_class: Archetypes of each class, and as many of the model's own stars in the mean.
        seed: Seed of stars and noise.
    """
    rows, theory = [], archetypes(library)
    drawn, at, amplitude = own_stars(model, per_class * len(model.classes), seed=seed)
    for snr in ratios:
        bed = white_noise_bed(_one_each(drawn), snr=snr, per_class=1, seed=seed)
        bounds = _own_bounds(model, at, amplitude, _sizes(bed))
        names = [model.classes[k] for k in at.label.tolist()]
        values = zip(names, *(column.tolist() for column in (*bounds, _losses(model, bed))), strict=True)
        rows += [Row("generator", snr, *value) for value in values]
        bed = white_noise_bed(theory, snr=snr, per_class=per_class, seed=seed)
        bound = _sizes(bed) ** 2 * ARCHETYPE_UNKNOWNS / bed.truth.shape[1]
        values = zip(bed.label.tolist(), bound.tolist(), _losses(model, bed).tolist(), strict=True)
        rows += [Row("archetypes", snr, theory.classes[k], b, float("nan"), loss) for k, b, loss in values]
    return rows


def _ratio(rows: Sequence[Row], key: str = "bound") -> float:
    return float(np.mean([getattr(r, key) for r in rows]) / np.mean([r.loss for r in rows]))


def _median_ratio(rows: Sequence[Row]) -> float:
    return float(np.median([r.bound for r in rows]) / np.median([r.loss for r in rows]))


def table(rows: Sequence[Row], classes: Sequence[str]) -> str:
    """Efficiencies as Markdown: over all spectra, by medians, against the bound with priors, and by class."""
    lines = [f"| truth | S/N | all | median | with priors | {' | '.join(classes)} |", "|---" * (len(classes) + 5) + "|"]
    for truth, snr in dict.fromkeys((r.truth, r.snr) for r in rows):
        some = [r for r in rows if (r.truth, r.snr) == (truth, snr)]
        cells = [_ratio(some), _median_ratio(some), _ratio(some, "with_prior")]
        for name in classes:
            mine = [r for r in some if r.spectral_class == name]
            cells.append(_ratio(mine) if mine else np.nan)
        words = " | ".join("-" if np.isnan(cell) else f"{cell:.2f}" for cell in cells)
        lines.append(f"| {truth} | {snr:g} | {words} |")
    return "\n".join(lines) + "\n"


def _plot(rows: Sequence[Row], path: Path) -> None:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(6.4, 4.2), layout="constrained")
    axis = figure.subplots()
    for name, (truth, key, colour, marker) in CURVES.items():
        ratios = sorted({r.snr for r in rows})
        each = [_ratio([r for r in rows if (r.truth, r.snr) == (truth, snr)], key) for snr in ratios]
        axis.loglog(ratios, each, marker=marker, color=colour, label=name, ls="--" if key == "with_prior" else "-")
    axis.axhline(1.0, color="0.5", lw=0.8)
    axis.set(xlabel="signal-to-noise ratio", ylabel="efficiency: bound over squared error")
    axis.set_xticks(ratios, [f"{x:g}" for x in ratios])
    axis.set_yticks(TICKS, [f"{x:g}" for x in TICKS])
    axis.minorticks_off()
    axis.legend(frameon=False)
    figure.savefig(path, dpi=150)


def add_arguments(parser: ArgumentParser) -> None:
    """The command's own arguments."""
    parser.add_argument("--library", required=True, help="library file made by `bayesden library`")
    text = "whose archetypes"
    parser.add_argument("--split", choices=("validation", "test"), default="test", help=text)
    parser.add_argument("--per-class", type=int, default=8, help="spectra of each class and S/N")
    add_model(parser)
    parser.add_argument("--out", default="out/efficiency", help="folder for table and figure")
    add_seed(parser)


def run(arguments: object) -> None:
    """The command: see `python -m baselines efficiency --help`."""
    library, model = load_library(arguments.library), load_model(arguments.model)
    out = Path(arguments.out)
    out.mkdir(parents=True, exist_ok=True)
    rows = efficiencies(model, library.subset(arguments.split), per_class=arguments.per_class, seed=arguments.seed)
    text = table(rows, library.classes)
    (out / "efficiency.md").write_text(text)
    with (out / "efficiency.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(Row.__dataclass_fields__)
        writer.writerows(vars(row).values() for row in rows)
    _plot(rows, out / "efficiency.png")
    print(f"{text}wrote efficiency.md, efficiency.csv and efficiency.png to {out}")
