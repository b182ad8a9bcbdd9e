"""`bayesden library` and `bayesden train`: the first step of the workflow, and all of them."""

from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from .console import progress, say, show_table
from .fit import open_library, show_reconstruction
from .noise import show_scale
from .options import GridOption, RecipeName, SeedOption, check_output, make_grid

if TYPE_CHECKING:
    from ..train.library import Library

__all__ = ["library", "show_library", "train"]


def library(
    folder: Annotated[
        Path, typer.Argument(metavar="FOLDER", help="Holds spec-*.fits, or template files (*.npz).", show_default=False)
    ],
    out: Annotated[Path, typer.Option("--out", "-o", metavar="FILE", help="Where to write the library.")] = Path(
        "library.npz"
    ),
    per_class: Annotated[int, typer.Option(min=1, help="Templates: spectra to draw for each class.")] = 3000,
    velocity: Annotated[
        float, typer.Option(min=0, max=1500, help="Templates: radial velocities are within plus and minus this, km/s.")
    ] = 300.0,
    ebv: Annotated[float, typer.Option(min=0, help="Templates: E(B-V) is between 0 and this.")] = 0.5,
    calibration: Annotated[
        float, typer.Option(min=0, help="Templates: standard deviation of three smooth flux-calibration terms.")
    ] = 0.01,
    top: Annotated[
        int, typer.Option(min=1, help="Spec files: spectra to keep of each subclass, best r-band S/N first.")
    ] = 200,
    rest: Annotated[
        bool,
        typer.Option(
            "--rest/--seen",
            help="Stars at rest, without dust and calibration errors, on cells around the grid: what the default recipe takes.",
        ),
    ] = False,
    seed: SeedOption = 0,
    grid: GridOption = "4000:9000:2048",
) -> None:
    """Run `bayesden library`; `pages.py` has what it says of itself."""
    from ..train.library import build_library
    from ..train.workflow import RECIPES, rest_frame

    check_output(out, ".npz")
    pixels = make_grid(grid)
    with progress() as report:
        spectra = build_library(
            folder,
            grid=rest_frame(pixels, **RECIPES["default"].rest).cells if rest else pixels,
            rest=rest,
            per_class=per_class,
            seed=seed,
            velocity_kms=velocity,
            ebv_max=ebv,
            calibration=calibration,
            top=top,
            progress=lambda done, total: report("library", done, total),
        )
    spectra.save(out)
    show_library(spectra)
    say(f"{len(spectra)} spectra of {len(spectra.sources)} source files written to {out}")


def show_library(spectra: "Library") -> None:
    """Print how many spectra of each class are in each split."""
    from ..train.sources import SPLITS, split_of

    counts = Counter(
        (int(label), split_of(name)) for label, name in zip(spectra.label, spectra.name.tolist(), strict=True)
    )
    rows = [(c, *(str(counts[number, split]) for split in SPLITS)) for number, c in enumerate(spectra.classes)]
    show_table(("class", *SPLITS), rows)


def train(
    library: Annotated[
        Path,
        typer.Argument(
            metavar="LIBRARY",
            help="A library file, or a folder to build one from as the recipe says.",
            show_default=False,
        ),
    ],
    noise_files: Annotated[
        list[Path] | None,
        typer.Argument(
            metavar="NOISE_FILE",
            help="Spec files with two exposures or more, to fit the noise on.",
            show_default=False,
        ),
    ] = None,
    out: Annotated[Path, typer.Option("--out", "-o", metavar="FILE", help="Where to write the model.")] = Path(
        "model.safetensors"
    ),
    recipe: Annotated[
        RecipeName,
        typer.Option(help="default: what is shipped; kang2021: three latents, isometry, noise as published."),
    ] = RecipeName.DEFAULT,
    generator: Annotated[
        Path | None, typer.Option("--generator", metavar="FILE", help="Use this one instead of training it.")
    ] = None,
    prior: Annotated[
        Path | None,
        typer.Option("--prior", metavar="FILE", help="The same; only with the generator it was fitted with."),
    ] = None,
    noise: Annotated[
        Path | None, typer.Option("--noise", metavar="FILE", help="The same; then no NOISE_FILE is needed.")
    ] = (None),
    volume: Annotated[
        bool | None,
        typer.Option(help="Whether the prior is one of spectra, by the volume element; as the recipe says by default."),
    ] = None,
    scores: Annotated[
        Path | None,
        typer.Option(
            "--scores",
            metavar="FILE",
            help="JSON with further scores for the card, such as `python -m baselines latents` writes.",
        ),
    ] = None,
    seed: SeedOption = 0,
) -> None:
    """Run `bayesden train`; `pages.py` has what it says of itself."""
    from ..model.checkpoint import save_model
    from ..train.card import read_scores, write_card
    from ..train.workflow import RECIPES, train_model

    check_output(out, ".safetensors")
    parts = {"generator": generator, "latent_prior": prior, "noise": noise}
    chosen = replace(RECIPES[recipe.value], seed=seed)
    chosen = chosen if volume is None else replace(chosen, volume=volume)
    with progress() as report:
        model = train_model(
            library if library.is_dir() else open_library(library),
            noise_files or (),
            chosen,
            parts={content: path for content, path in parts.items() if path is not None},
            scores=None if scores is None else read_scores(scores),
            progress=report,
        )
    save_model(model, out)
    page = write_card(out)
    found = model.card["scores"]
    show_reconstruction(found["reconstruction"])
    if "noise_nats_per_pixel" in found:
        say(f"noise: {found['noise_nats_per_pixel']:.3f} nats per pixel on validation exposures")
    if "noise_scale_over_pipeline" in found:
        show_scale(found["noise_scale_over_pipeline"])
    say(f"model written to {out}, its card to {page}")
