"""`bayesden fit-noise`: the noise of exposures, learned from repeated exposures."""

import traceback
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ..errors import InputError
from .console import complain, describe, progress, say, show_table
from .options import (
    GridOption,
    MaskPolicy,
    MaskPolicyOption,
    NoiseKind,
    SeedOption,
    check_folder,
    check_output,
    make_grid,
)
from .plot import FIGURES

if TYPE_CHECKING:
    from ..spectrum import Grid, Observation
    from ..train.noise import NoiseSamples, ScaleProfile
    from ..train.noise_models import NoiseScore

__all__ = ["fit_noise", "show_scale"]


def fit_noise(
    context: typer.Context,
    files: Annotated[
        list[Path],
        typer.Argument(metavar="FILE", help='"Full" spec files, two exposures or more each.', show_default=False),
    ],
    out: Annotated[Path, typer.Option("--out", "-o", metavar="FILE", help="Where to write the part.")] = Path(
        "noise.safetensors"
    ),
    kind: Annotated[
        NoiseKind, typer.Option(help="robust: heavy tails, whitened by the pipeline's errors; kang2021: as published.")
    ] = NoiseKind.ROBUST,
    seed: SeedOption = 0,
    compare: Annotated[
        bool, typer.Option("--compare/--no-compare", help="Compare with simpler noise models (takes a few minutes).")
    ] = True,
    plot: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Draw the noise's scale over the pipeline's, by arm and wavelength."),
    ] = None,
    grid: GridOption = "4000:9000:2048",
    mask_policy: MaskPolicyOption = MaskPolicy.AND,
) -> int:
    """Run `bayesden fit-noise`; `pages.py` has what it says of itself."""
    from ..model.checkpoint import save_part
    from ..model.residuals import NoiseSamples
    from ..train import noise as train
    from ..train.workflow import held_out_noise

    check_output(out, ".safetensors")
    if plot is not None:
        _check_figure(plot)
    used, parts = _read(files, make_grid(grid), mask_policy.value, context.obj["debug"])
    if not parts:
        raise InputError(f"fit-noise: expected at least one file with two exposures or more, got none in {len(files)}")
    samples = NoiseSamples.concatenate(parts)
    with progress() as report:
        noise, history = train.fit_noise(
            samples, kind=kind.value, seed=seed, progress=lambda done, total, epoch: report("noise", done, total)
        )
    scores = {"noise_nats_per_pixel": min(epoch.valid for epoch in history)}
    scores["noise_scale_over_pipeline"] = train.scale_ratio(noise, samples)
    save_part("noise", noise, out, _card(used, {"kind": kind.value, "seed": seed, "grid": grid}, scores))
    say(f"{kind.value} noise flow of {len(samples)} exposures of {len(set(samples.star))} stars written to {out}")
    show_scale(scores["noise_scale_over_pipeline"])
    _show_profiles(train.scale_profile(noise, samples, bins=10))
    if plot is not None:
        _plot(train.scale_profile(noise, samples), f"{len(samples)} exposures of {len(set(samples.star))} stars", plot)
    if compare and len(parts) < 2 and len(samples) < 3:
        say("no comparison: it needs two stars, or one with three exposures")
    elif compare:
        with progress() as report:
            _show(held_out_noise(samples, seed=seed, progress=lambda done, total: report("compare", done, total)))
    return 0 if len(used) == len(files) else 1


def _read(
    files: list[Path], grid: "Grid", mask_policy: str, debug: bool
) -> tuple[list["Observation"], list["NoiseSamples"]]:
    from ..io import read
    from ..model.residuals import residuals

    used, parts, seen = [], [], {}
    with progress() as report:
        for done, path in enumerate(files, 1):
            try:
                observation = read(path, grid=grid, mask_policy=mask_policy)
                if (twin := seen.setdefault(observation.meta["sha256"], path)) is not path:
                    raise InputError(f"{path}: expected another file, got the content of {twin} again")
                parts.append(residuals(observation))
                used.append(observation)
            except Exception as error:
                complain(describe(error, path))
                if debug:
                    traceback.print_exc()
            report("read", done, len(files))
    return used, parts


def _card(used: list["Observation"], recipe: dict, scores: dict) -> dict:
    sources = [{"name": o.meta["file"], "sha256": o.meta["sha256"], "licence": "SDSS public data"} for o in used]
    return {"recipe": recipe, "sources": sources, "scores": scores}


def show_scale(ratios: dict[str, float]) -> None:
    """Print the flow's scale over the pipeline's."""
    arms = ", ".join(f"{arm} {ratio:.3f}" for arm, ratio in ratios.items())
    say(f"noise scale over the pipeline's, median by arm: {arms}")


def _check_figure(path: Path) -> None:
    if path.suffix.lower() not in FIGURES:
        raise InputError(f"--plot: expected a name that ends in {', '.join(FIGURES)}, got {path}")
    check_folder(path.parent)


def _show_profiles(profiles: dict[str, "ScaleProfile"]) -> None:
    """Print the same by arm and wavelength."""
    columns = [{round(w): f"{s:.3f}" for w, s in zip(p.wavelength, p.scale, strict=True)} for p in profiles.values()]
    middles = sorted({w for column in columns for w in column})
    show_table(("Angstrom", *profiles), [(f"{w}", *(column.get(w, "") for column in columns)) for w in middles])


def _plot(profiles: dict[str, "ScaleProfile"], title: str, path: Path) -> None:
    from ..report import save_figure
    from ..report.noise_scale import plot_noise_scale

    say(f"noise scale drawn to {save_figure(plot_noise_scale(profiles, title), path)}")


def _show(table: dict[str, list["NoiseScore"]]) -> None:
    say("Held-out negative log-likelihood, nats per pixel (lower is better):")
    names = [score.name for score in next(iter(table.values()))]
    rows = [(star, *(f"{score.nats_per_pixel:.3f}" for score in scores)) for star, scores in table.items()]
    show_table(("left out", *names), rows)
