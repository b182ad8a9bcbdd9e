"""Train a network that a paper describes.

    python -m baselines train conv_dae --library LIBRARY --noise spec-1.fits --noise spec-2.fits --out conv_dae.safetensors
    python -m baselines train unet --simulation train.h5 validation.h5 --out unet.safetensors

trains on a library's training split with the noise of real exposures (white noise without `--noise`), or on a simulation
of `pfs-mr` (drawn here, on the device, if no files are named). `--config paper` is the authors' recipe; `budget` one for
two cores. Beside the weights stand the log of losses (CSV) and, while the training lasts, its checkpoint: `--resume` goes
on after an interruption.
"""

from argparse import ArgumentParser, Namespace
from itertools import islice
from pathlib import Path

import torch

from bayesden.errors import InputError, OutputError
from bayesden.simulation.build import simulate
from bayesden.simulation.stored import read_simulation
from bayesden.train.library import load_library
from bayesden.train.workflow import noise_samples

from .arguments import add_seed
from .batches import Batches, LibraryBatches, SimulatedBatches
from .galaxies.batches import GalaxyBatches
from .networks import NETWORKS, build_network, recipe_of
from .recipe import Recipe
from .weights import Weights, checkpoint_path, save_weights

__all__ = ["add_arguments", "run", "train"]

SIMULATED = 100_000  # spectra to train on where a recipe does not say
CENTRED = 2000  # spectra whose mean a network may start from


def add_arguments(parser: ArgumentParser) -> None:
    """The command's own arguments."""
    parser.add_argument("network", choices=tuple(NETWORKS))
    parser.add_argument("--config", default="budget", help="paper, budget, or for dense_dae paper2025")
    parser.add_argument("--library", help="library file made by `bayesden library`; its training split is used")
    text = "spec file of a star whose noise is taken; may be repeated; white noise without one"
    parser.add_argument("--noise", action="append", help=text)
    parser.add_argument("--missing", action="store_true", help="train for missing flux, zeros imputed")
    text = "simulations of pfs-mr to train and to validate on"
    parser.add_argument("--simulation", nargs=2, metavar="FILE", help=text)
    parser.add_argument("--out", required=True, help="file for the weights (.safetensors)")
    parser.add_argument("--device", choices=("auto", "cpu", "cuda"), default="cpu")
    parser.add_argument("--precision", choices=("32-true", "bf16-mixed", "16-mixed"), default="32-true")
    parser.add_argument("--minutes", type=float, help="begin no epoch after so many minutes")
    parser.add_argument("--resume", action="store_true", help="go on from the checkpoint")
    parser.add_argument("--overwrite", action="store_true", help="replace weights that exist")
    add_seed(parser)


def _batches(arguments: Namespace, recipe: Recipe, device: str) -> Batches:
    if arguments.library and arguments.simulation:
        raise InputError("train: expected --library or --simulation, got both")
    if arguments.library:
        library = load_library(arguments.library)
        if "galaxies" in library.recipe:
            return GalaxyBatches.of(library, spectra=recipe.spectra, seed=arguments.seed, device=device)
        noise = noise_samples(arguments.noise, library.grid) if arguments.noise else None
        options = {"missing": arguments.missing, "spectra": recipe.spectra, "seed": arguments.seed}
        return LibraryBatches.of(library, noise, bounded=NETWORKS[arguments.network].bounded, device=device, **options)
    if arguments.missing or arguments.noise:
        raise InputError("train: expected --missing and --noise with --library only")
    if arguments.simulation:
        sets = [read_simulation(path) for path in arguments.simulation]
    else:
        n = recipe.spectra or SIMULATED
        sets = [simulate("pfs-mr", n, seed=arguments.seed + i, device=device) for i in range(2)]
    return SimulatedBatches.of(*sets, spectra=recipe.spectra, seed=arguments.seed, device=device)


def train(arguments: Namespace, recipe: Recipe) -> Weights:
    """Train as the arguments say, and write the weights.

    Raises:
        InputError: if the arguments do not fit together, or Lightning Fabric is not installed.
        OutputError: if the weights exist.
    """
    try:
        from .fitting import Epoch, fit
    except ImportError as error:
        raise InputError(
            f"train: expected the extra 'baselines' (pip install 'bayesden[baselines]'): {error}"
        ) from None
    out = Path(arguments.out)
    if out.exists() and not arguments.overwrite:
        raise OutputError(f"{out}: expected a new name, but the file exists (--overwrite replaces it)")
    device = ("cuda" if torch.cuda.is_available() else "cpu") if arguments.device == "auto" else arguments.device
    batches = _batches(arguments, recipe, device)
    torch.manual_seed(arguments.seed)
    network = build_network(arguments.network, batches.grid.size, dict(recipe.shape)).to(device)
    network.centre(torch.cat([clean for _, clean in islice(batches.epoch(0, recipe.batch), CENTRED // recipe.batch)]))

    def progress(epoch: Epoch) -> None:
        words = f"training {epoch.train:.3e}, validation {epoch.validation:.3e}, rate {epoch.learning_rate:.2g}"
        print(f"epoch {epoch.number} of {recipe.epochs}: {words}, {epoch.seconds:.0f} s", flush=True)

    limit = None if arguments.minutes is None else 60 * arguments.minutes
    options = {"device": device, "precision": arguments.precision, "seed": arguments.seed, "resume": arguments.resume}
    done = fit(network, recipe, batches, out, seconds=limit, progress=progress, **options)
    facts = {
        "epochs": len(done.history),
        "of": recipe.epochs,
        "ended": done.ended,
        "best_epoch": done.best.number,
        "validation": done.best.validation,
        "seconds": round(done.history[-1].seconds, 1),
        "cpu_s": round(done.history[-1].cpu_s, 1),
        "device": device,
        "precision": arguments.precision,
        "remark": recipe.remark,
    }
    shape, unit = dict(recipe.shape), batches.unit
    rest = {"instrument": batches.instrument, "missing": batches.missing, "training": facts}
    weights = Weights(done.network, arguments.config, shape, batches.grid, unit=unit, **rest)
    save_weights(weights, out)
    checkpoint_path(out).unlink(missing_ok=True)
    return weights


def run(arguments: Namespace) -> None:
    """The command: see `python -m baselines train --help`."""
    weights = train(arguments, recipe_of(arguments.network, arguments.config))
    parameters = sum(p.numel() for p in weights.network.parameters())
    facts = weights.training
    print(f"{weights.name}: {parameters:,} parameters, best epoch {facts['best_epoch']} ({facts['validation']:.3e})")
    print(f"wrote {arguments.out} and {Path(arguments.out).with_suffix('.csv')}")
