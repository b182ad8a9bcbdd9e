"""Some exposures of real stars predict the others: test bed B2, leave-exposures-out.

    python -m baselines exposures spec-1.fits spec-2.fits --model sdss-10class --model kang2021.safetensors

scores each left-out exposure by its log predictive density (nats per pixel, higher is better) under the posterior of each
model with that model's noise, and under the inverse-variance mean of the fitted exposures (`mean`) with the noise and the
calibration terms of the first model: see `bayesden.evaluate.exposures`. The same pixels count for all. Beside it stand the
shares of left-out pixels whose probability integral transform is below 5, 25, 50, 75 and 95 %, and the largest distance of
these shares from the levels, in points.
"""

import csv
from argparse import ArgumentParser
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from bayesden.errors import InputError
from bayesden.evaluate.exposures import LEVELS, Estimate, leave_out, mean_estimate, noise_ratio, pit_shares, predict
from bayesden.infer.denoise import denoise
from bayesden.io import read
from bayesden.model.checkpoint import load_model
from bayesden.model.joint import SpectrumModel
from bayesden.spectrum import Observation

from .arguments import add_models, add_seed

__all__ = ["Row", "score_star", "table"]


@dataclass(frozen=True)
class Row:
    """One star, number of fitted exposures and method: nats per pixel, pixels, and shares below the levels of the PIT."""

    star: str
    fitted: int
    method: str
    nats: float
    pixels: int
    shares: tuple[float, ...]

    @property
    def pit_error(self) -> float:
        """The largest distance of a share from its level."""
        return max(abs(share - level) for share, level in zip(self.shares, LEVELS, strict=True))


def score_star(
    observation: Observation, models: Mapping[str, SpectrumModel], fitted: int, *, choices: int = 4, seed: int = 0
) -> list[Row]:
    """Every method on the same left-out exposures of one star.

    Arguments:
        observation: All exposures, on the models' grid.
        models: By name; the first one's noise is that of the mean, too.
        fitted: Exposures to fit.
        choices: How many choices of these to try, at random.
        seed: Seed of the choices.
    """
    splits = leave_out(observation.n_exposures, fitted, choices, seed)
    parts = [observation.select(list(split.fitted)) for split in splits]
    left = [observation.select(list(split.left)) for split in splits]
    first = next(iter(models))
    ratio = {name: noise_ratio(model.noise, observation) for name, model in models.items()}
    means = [mean_estimate(part, ratio[first]) for part in parts]
    estimates = {name: _posteriors(model, parts) for name, model in models.items()}
    methods = {name: (model, ratio[name], estimates[name]) for name, model in models.items()}
    methods["mean"] = (models[first], ratio[first], means)
    rows = []
    for name, (model, scale, found) in methods.items():
        predictions = [
            predict(model.noise, model.nuisance, rest, estimate, scale, np.isfinite(mean.sigma))
            for rest, estimate, mean in zip(left, found, means, strict=True)
        ]
        pixels = sum(int(p.pixels.sum()) for p in predictions)
        total = sum(float(p.log_density.sum()) for p in predictions)
        shares = pit_shares(np.concatenate([p.pit.ravel() for p in predictions]))
        rows.append(Row(observation.name, fitted, name, total / pixels, pixels, tuple(shares.tolist())))
    return rows


def _posteriors(model: SpectrumModel, parts: Sequence[Observation]) -> list[Estimate]:
    found = denoise(list(parts), model)
    return [Estimate(p.flux, p.sigma, part.n_exposures) for p, part in zip(found, parts, strict=True)]


def table(rows: Sequence[Row]) -> str:
    """Rows as Markdown: nats above those of the mean, and the PIT."""
    levels = " | ".join(f"< {100 * level:g} %" for level in LEVELS)
    lines = [f"| star | fitted | method | nats per pixel | above mean | {levels} | worst, points |", "|---" * 10 + "|"]
    mean = {(r.star, r.fitted): r.nats for r in rows if r.method == "mean"}
    for r in rows:
        shares = " | ".join(f"{100 * share:.1f}" for share in r.shares)
        above = "" if r.method == "mean" else f"{r.nats - mean[r.star, r.fitted]:+.3f}"
        lines.append(
            f"| {r.star} | {r.fitted} | {r.method} | {r.nats:.3f} | {above} | {shares} | {100 * r.pit_error:.1f} |"
        )
    return "\n".join(lines)


def _load(names: Sequence[str]) -> dict[str, SpectrumModel]:
    models = {Path(name).stem: load_model(name) for name in names} or {"shipped": load_model()}
    first = next(iter(models.values()))
    for name, model in models.items():
        if model.grid != first.grid:
            raise InputError(f"{name}: expected the wavelength grid of the first model, got another")
    return models


def add_arguments(parser: ArgumentParser) -> None:
    """The command's own arguments."""
    parser.add_argument("files", nargs="+", metavar="FILE", help="spec file with more exposures than are fitted")
    add_models(parser)
    parser.add_argument("--fit", default="1,2", metavar="E,E", help="how many exposures to fit")
    parser.add_argument("--choices", type=int, default=4, help="choices of the fitted exposures, at random")
    parser.add_argument("--out", default="out/b2", help="folder for the tables")
    add_seed(parser)


def run(arguments: object, report: Callable[[str], None] = print) -> None:
    """The command: see `python -m baselines exposures --help`."""
    models, rows = _load(arguments.model), []
    grid = next(iter(models.values())).grid
    wanted = sorted({int(word) for word in arguments.fit.split(",")})
    for path in arguments.files:
        observation = read(path, grid=grid)
        for fitted in wanted:
            rows += score_star(observation, models, fitted, choices=arguments.choices, seed=arguments.seed)
    report(table(rows))
    out = Path(arguments.out)
    out.mkdir(parents=True, exist_ok=True)
    (out / "b2.md").write_text(table(rows) + "\n")
    with (out / "b2.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["star", "fitted", "method", "nats_per_pixel", "pixels", *(f"below_{x:g}" for x in LEVELS)])
        writer.writerows([r.star, r.fitted, r.method, r.nats, r.pixels, *r.shares] for r in rows)
    report(f"wrote {out}/b2.md and b2.csv")
