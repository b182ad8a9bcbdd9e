"""The whole workflow in one call: library, generator, latent prior, noise, model, card."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

import numpy as np
import torch
from torch import nn

from ..errors import InputError
from ..io import read
from ..model.checkpoint import load_part, read_header
from ..model.generator import Generator
from ..model.joint import SpectrumModel
from ..model.latent_prior import LatentPrior
from ..model.nuisance import Nuisance
from ..model.rest_frame import RestFrame
from ..simulation.effects import extinction_curve
from ..spectrum import Grid
from .generator import fit_generator, reconstruction_loss
from .library import Library, build_library
from .noise import NoiseSamples, fit_noise, residuals, scale_ratio
from .noise_models import MODELS, NoiseScore, compare_noise_models, leave_one_star_out
from .prior import assemble, fit_prior
from .sources import Source

__all__ = [
    "RECIPES",
    "Recipe",
    "held_out_noise",
    "library_card",
    "noise_samples",
    "prior_table",
    "reconstruction_table",
    "rest_frame",
    "train_model",
]

LICENCE = "BSD-3-Clause (weights); the licences of the training data are listed with the sources"
Progress = Callable[[str, int, int], None]


@dataclass(frozen=True)
class Recipe:
    """What decides a trained model, apart from its data.

    Arguments:
        generator: Arguments of `fit_generator`.
        prior: Arguments of `fit_prior`.
        noise: Arguments of `fit_noise`.
        volume: Whether the joint density has the volume term (see `SpectrumModel`).
        rest: Arguments of `RestFrame` for a model of stars at rest; None for one of stars as they are seen.
        rank: Factors of the inferred discrepancy.
        nuisance: Arguments of `Nuisance`.
        per_class: Spectra to draw for each class from template files.
        top: Spectra of each subclass to keep from a survey's files.
        seed: Seed of everything.
    """

    generator: dict = field(default_factory=dict)
    prior: dict = field(default_factory=dict)
    noise: dict = field(default_factory=dict)
    volume: bool = False
    rest: dict | None = None
    rank: int = 0
    nuisance: dict = field(default_factory=dict)
    per_class: int = 3000
    top: int = 200
    seed: int = 0


NETWORK = {"kind": "basis", "components": 128, "hidden": (256, 512), "epochs": 300}  # the defaults, spelt out for cards
FOREGROUND = {"velocity_sd_kms": 200.0, "ebv_mean": 0.2, "ebv_sd": 0.2, "tilt_sd": 0.02, "arm_sd": 0.02}
RECIPES = {
    "default": Recipe(
        generator={**NETWORK, "latent_dim": 8, "epochs": 400},
        prior={"kind": "local-kde"},
        noise={"kind": "robust"},
        rest={"step": 2.302585e-4, "reach_kms": 1000.0},
        rank=12,
        nuisance=FOREGROUND,
    ),
    # L = 3, isometry on, noise and kernels as published; the paper does not give the isometry term's weight
    "kang2021": Recipe(
        generator={**NETWORK, "latent_dim": 3, "isometry": 0.05, "delta": 0.1},
        prior={"kind": "kde"},
        noise={"kind": "kang2021"},
    ),
}


def reconstruction_table(library: Library, generator: Generator, split: str = "test") -> dict[str, float]:
    """Median over a split of the mean squared error of G(E(s)), for all classes together and for each.

    Returns:
        By class name, and 'all'; in units of mean |flux| = 1; NaN for a class without spectra in the split.
    """
    held_out = library.subset(split)
    loss = reconstruction_loss(generator, torch.from_numpy(held_out.flux)).double().numpy()
    rows = {"all": float(np.median(loss)) if len(loss) else float("nan")}
    for k, name in enumerate(library.classes):
        inside = loss[held_out.label == k]
        rows[name] = float(np.median(inside)) if len(inside) else float("nan")
    return rows


@torch.no_grad()
def prior_table(
    library: Library, generator: Generator, prior: LatentPrior, split: str = "test"
) -> dict[str, tuple[float, float]]:
    """By class: the bandwidth, and the mean log-density of a split's latents in nats (NaN for a class without any)."""
    held_out = library.subset(split)
    label = torch.from_numpy(held_out.label)
    log_prob = prior.log_prob(generator.encode(torch.from_numpy(held_out.flux)), label)
    means = [log_prob[label == k].double().mean().item() for k in range(len(library.classes))]
    return dict(zip(library.classes, zip(prior.bandwidth.tolist(), means, strict=True), strict=True))


def held_out_noise(
    samples: NoiseSamples, *, seed: int = 0, progress: Callable[[int, int], None] | None = None
) -> dict[str, list[NoiseScore]]:
    """Noise models side by side on exposures that they were not fitted on: leave-one-star-out where there are stars enough.

    Arguments:
        samples: Noise of one star or several.
        seed: Seed of the fits.
        progress: Called with (done, total) after each model.

    Returns:
        Rows by star, then `mean`; for a single star, rows of its last quarter of exposures, fitted on those before.

    Raises:
        InputError: if there is one star with fewer than three exposures.
    """
    names = np.array(samples.star)
    stars = [samples.select(names == name) for name in dict.fromkeys(samples.star)]
    n = len(samples)
    if len(stars) < 2 and n < 3:
        raise InputError(f"{names[0]}: a comparison needs two stars, or one with three exposures, got {n}")
    table: dict[str, list[NoiseScore]] = {}
    for done, model in enumerate(MODELS, 1):
        if len(stars) > 1:
            rows = leave_one_star_out(stars, seed=seed, names=[model])
        else:
            late = np.arange(n) >= n - max(1, n // 4)
            train, test = samples.select(~late), samples.select(late)
            rows = {samples.star[0]: compare_noise_models(train, test, seed=seed, names=[model])}
        for star, scores in rows.items():
            table.setdefault(star, []).extend(scores)
        if progress:
            progress(done, len(MODELS))
    return table


def library_card(library: Library) -> dict:
    """What a card says of a library: size, recipe, and sources with checksums and licences."""
    return {
        "licence": LICENCE,
        "library": {"spectra": len(library), **library.recipe},
        "sources": [vars(source) for source in library.sources],
    }


def rest_frame(grid: Grid, **options: float) -> RestFrame:
    """The frame of a model of stars at rest on some pixels, with the dust of the Milky Way; options as in `RestFrame`."""
    return RestFrame(grid, extinction=extinction_curve(grid.wavelength), **options)


def _load_parts(
    parts: Mapping[str, str | Path], library: Library, grid: Grid
) -> tuple[dict[str, nn.Module], dict[str, dict]]:
    """Fitted parts and what their files say, after a check that they belong together and to the library."""
    headers = {content: read_header(path) for content, path in parts.items()}
    loaded = {content: load_part(content, path) for content, path in parts.items()}
    for content, pixels, where in (("generator", library.grid, "library"), ("noise", grid, "model")):
        if content in loaded and loaded[content].size != pixels.size:
            came = f"{pixels.size} as the {where} has, got {loaded[content].size}"
            raise InputError(f"{parts[content]}: {content}: expected a number of pixels of {came}")
    if "latent_prior" in loaded:
        path, prior = parts["latent_prior"], loaded["latent_prior"]
        if "generator" not in loaded:
            raise InputError(
                f"{path}: latent prior: expected beside it the generator that it was fitted with, got none"
            )
        wanted, came = headers["latent_prior"]["card"].get("generator_sha256"), headers["generator"]["sha256"]
        if wanted not in (None, came) or prior.latent_dim != loaded["generator"].latent_dim:
            raise InputError(f"{path}: latent prior: expected the generator that it was fitted with, got another")
        if len(prior.counts) != len(library.classes):
            came = f"{len(library.classes)} classes as the library has, got {len(prior.counts)}"
            raise InputError(f"{path}: latent prior: expected {came}")
    cards = {
        content: {"file": Path(parts[content]).name, "sha256": header["sha256"], "card": header["card"]}
        for content, header in headers.items()
    }
    return loaded, cards


def _card(library: Library, recipe: dict, noise: Sequence[Source], parts: dict, scores: dict) -> dict:
    for content, key in (("generator", "generator"), ("latent_prior", "prior"), ("noise", "noise")):
        if content in parts:
            recipe = {name: value for name, value in recipe.items() if name != key}
    card = library_card(library) | {"recipe": recipe, "scores": scores} | ({"parts": parts} if parts else {})
    sources = card["sources"] + [vars(source) for source in noise]
    sources += [source for part in parts.values() for source in part["card"].get("sources", [])]
    return card | {"sources": list({source["sha256"]: source for source in sources}.values())}


def train_model(
    library: Library | str | Path,
    noise_files: Sequence[str | Path] = (),
    recipe: Recipe | str = "default",
    *,
    grid: Grid | None = None,
    parts: Mapping[str, str | Path] | None = None,
    scores: Mapping[str, float | Mapping] | None = None,
    progress: Progress | None = None,
) -> SpectrumModel:
    """Train every part of a model that is not given, and join them.

    Arguments:
        library: A library, or a folder to build it from (see `build_library`). From a library of stars as they are seen comes
            a model of such stars, whatever the recipe says of a rest frame.
        noise_files: Spec files with at least two exposures each, whose residuals the noise is fitted on.
        recipe: What to train; the name of one of `RECIPES`, or your own.
        grid: The model's pixels; by default those of the paper, or of a library of stars as they are seen.
        parts: Files of parts that were fitted already, by content: `generator`, `latent_prior`, `noise`.
        scores: Further scores for the card, by name: numbers, or tables of rows of columns, such as a comparison of candidates.
        progress: Called with (stage, done, total).

    Returns:
        The model; `model.card` holds the recipe, the sources with checksums, and held-out scores.

    Raises:
        InputError: if the data cannot be used, or the parts do not belong together.
        ModelError: if the file of a part cannot be used.
    """
    recipe = RECIPES[recipe] if isinstance(recipe, str) else recipe
    if bool(noise_files) == ("noise" in (parts or {})):
        came = "both" if noise_files else "neither"
        raise InputError(f"noise: expected either spec files to fit it on, or one that was fitted already, got {came}")
    grid = grid or Grid.uniform()
    moving = isinstance(library, Library) and not library.recipe.get("rest")  # as seen, not at rest
    frame = None if recipe.rest is None or moving else rest_frame(grid, **recipe.rest)
    report, used = progress or (lambda stage, done, total: None), asdict(recipe)
    if isinstance(library, Library):
        used = {key: value for key, value in used.items() if key not in ("per_class", "top")}
    else:
        cells = grid if frame is None else frame.cells
        options = {"per_class": recipe.per_class, "top": recipe.top, "seed": recipe.seed, "rest": frame is not None}
        library = build_library(library, grid=cells, **options, progress=lambda i, n: report("library", i, n))
    pixels = library.grid if frame is None else grid
    given, cards = _load_parts(parts or {}, library, pixels)
    samples = noise_samples(noise_files, pixels) if noise_files else None
    generator = given.get("generator")
    if generator is None:
        fitted = fit_generator(
            library, seed=recipe.seed, progress=lambda i, n, loss: report("generator", i, n), **recipe.generator
        )
        generator = fitted.generator
    prior = given.get("latent_prior") or fit_prior(library, generator, seed=recipe.seed, **recipe.prior)
    scores = dict(scores or {}) | (cards["noise"]["card"].get("scores", {}) if "noise" in given else {})
    scores["reconstruction"], noise = reconstruction_table(library, generator), given.get("noise")
    if noise is None:
        noise, history = fit_noise(
            samples, seed=recipe.seed, progress=lambda i, n, epoch: report("noise", i, n), **recipe.noise
        )
        scores["noise_nats_per_pixel"] = min(epoch.valid for epoch in history)
        scores["noise_scale_over_pipeline"] = scale_ratio(noise, samples)
    sources = [Source.of(Path(path), "SDSS public data") for path in noise_files]
    card = _card(library, used, sources, cards, scores)
    nuisance = Nuisance(**recipe.nuisance)
    options = {"nuisance": nuisance, "volume": recipe.volume, "frame": frame, "rank": recipe.rank}
    return assemble(library, generator, noise, prior=prior, card=card, **options)


def noise_samples(paths: Sequence[str | Path], grid: Grid) -> NoiseSamples:
    """The residuals of files with several exposures."""
    return residuals(read([Path(path) for path in paths], grid=grid))
