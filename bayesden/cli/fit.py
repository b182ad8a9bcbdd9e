"""`bayesden fit-generator` and `bayesden fit-prior`: two steps of the workflow, one by one."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from .console import progress, say, show_table
from .options import GeneratorKind, PriorKind, SeedOption, check_output

if TYPE_CHECKING:
    from ..train.library import Library

__all__ = ["LibraryArgument", "fit_generator", "fit_prior", "open_library", "show_reconstruction"]

LibraryArgument = Annotated[
    Path,
    typer.Argument(
        metavar="LIBRARY",
        help="A library file, or a folder to build one from with the defaults of `bayesden library`.",
        show_default=False,
    ),
]


def open_library(path: Path) -> "Library":
    """The library of a file, or one built from a folder."""
    from ..train.library import build_library, load_library

    if not path.is_dir():
        return load_library(path)
    with progress() as report:
        return build_library(path, progress=lambda done, total: report("library", done, total))


def show_reconstruction(table: dict[str, float], split: str = "test") -> None:
    """Print held-out reconstruction errors by class."""
    say(f"Held-out reconstruction: median over {split} spectra of the mean squared error of G(E(s)), mean |flux| = 1.")
    show_table(("class", "median loss"), [(name, f"{loss:.2e}") for name, loss in table.items()])


def fit_generator(
    library: LibraryArgument,
    out: Annotated[Path, typer.Option("--out", "-o", metavar="FILE", help="Where to write the part.")] = Path(
        "generator.safetensors"
    ),
    kind: Annotated[
        GeneratorKind,
        typer.Option(
            help="basis: a small network on principal components; conv: the convolutional shape of the paper."
        ),
    ] = GeneratorKind.BASIS,
    latent_dim: Annotated[int, typer.Option(min=1, help="Latent numbers L of a spectrum; the paper has 3.")] = 8,
    isometry: Annotated[float, typer.Option(min=0, help="Weight of the isometry term; the paper has it on.")] = 0.0,
    delta: Annotated[
        float, typer.Option(min=1e-6, help="Radius of the isometry term's perturbation, in units of rms flux.")
    ] = 0.1,
    epochs: Annotated[int, typer.Option(min=1, help="Passes over the training spectra.")] = 300,
    seed: SeedOption = 0,
) -> None:
    """Run `bayesden fit-generator`; `pages.py` has what it says of itself."""
    from ..model.checkpoint import save_part
    from ..train import generator as train
    from ..train.workflow import library_card, reconstruction_table

    check_output(out, ".safetensors")
    spectra = open_library(library)
    recipe = {"kind": kind.value, "latent_dim": latent_dim, "isometry": isometry, "delta": delta, "epochs": epochs}
    with progress() as report:
        fit = train.fit_generator(
            spectra, **recipe, seed=seed, progress=lambda done, total, loss: report("generator", done, total)
        )
    table = reconstruction_table(spectra, fit.generator, "validation")  # steps are for choosing: not by the test split
    card = library_card(spectra) | {"recipe": recipe | {"seed": seed}, "scores": {"reconstruction": table}}
    save_part("generator", fit.generator, out, card)
    show_reconstruction(table, "validation")
    say(f"generator written to {out}")


def fit_prior(
    library: LibraryArgument,
    generator: Annotated[
        Path,
        typer.Option("--generator", metavar="FILE", help="What `bayesden fit-generator` wrote.", show_default=False),
    ],
    out: Annotated[Path, typer.Option("--out", "-o", metavar="FILE", help="Where to write the part.")] = Path(
        "prior.safetensors"
    ),
    kind: Annotated[
        PriorKind,
        typer.Option(
            help="local-kde: kernels that follow the latents around them; kde: of one shape in each class; "
            "flow: a normalizing flow that knows the class."
        ),
    ] = PriorKind.LOCAL_KDE,
    kernels: Annotated[
        int, typer.Option(min=2, help="Kernels of each class, at most; of a flow, latents kept of each.")
    ] = 1000,
    seed: SeedOption = 0,
) -> None:
    """Run `bayesden fit-prior`; `pages.py` has what it says of itself."""
    from ..model.checkpoint import load_part, read_header, save_part
    from ..train import prior as train
    from ..train.workflow import library_card, prior_table

    check_output(out, ".safetensors")
    loaded, header = load_part("generator", generator), read_header(generator)
    spectra = open_library(library)
    recipe = {"kind": kind.value, "kernels": kernels, "seed": seed}
    prior = train.fit_prior(spectra, loaded, **recipe)
    table = prior_table(spectra, loaded, prior, "validation")
    card = library_card(spectra) | {"recipe": recipe, "generator_sha256": header["sha256"]}
    card["scores"] = {name: {"bandwidth": h, "log_density": mean} for name, (h, mean) in table.items()}
    save_part("latent_prior", prior, out, card)
    say("Bandwidth, and mean log-density (nats) of validation latents in their own class.")
    rows = [(name, f"{h:.3f}", f"{mean:.2f}") for name, (h, mean) in table.items()]
    show_table(("class", "bandwidth", "log-density"), rows)
    say(f"prior written to {out}")
