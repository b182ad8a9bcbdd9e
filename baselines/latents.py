"""How many latents, which prior of them, and whether with the volume term: models side by side by held-out likelihood.

    python -m baselines latents --library LIBRARY --model L8-kde.safetensors --model L16-flow.safetensors --out out/latents

scores the generator and the latent prior of each model, with and without the volume term, on clean spectra of the validation
split with white noise (`bayesden.evaluate.heldout`), and writes ``latents.md``, a table, and ``latents.json``, the same for
the card of a model: `bayesden train ... --scores out/latents/latents.json`. Every model sees the same data.
"""

import json
from argparse import ArgumentParser
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from bayesden.errors import InputError
from bayesden.evaluate.heldout import CrossFit, held_out_evidence
from bayesden.model.checkpoint import load_model
from bayesden.model.joint import SpectrumModel
from bayesden.train.library import Library, load_library

from .arguments import add_models, add_seed

__all__ = ["Row", "card_table", "compare", "lines"]

RATIOS = (20.0, 50.0)


@dataclass(frozen=True, eq=False)
class Row:
    r"""One model with or without the volume term at one S/N.

    Arguments:
        model: Its name.
        latent_dim: Latents L.
        prior: Kind of its latent prior.
        volume: Whether with the volume term.
        snr: Mean |flux| over the noise.
        nats_per_pixel: Mean log evidence over spectra and pixels.
        short: How much the log evidence of each spectrum is below that of one who knows it, nats, shape :math:`(N,)`.
        label: Class of each spectrum.
        effective: Median over spectra of the effective share of the draws.
    """

    model: str
    latent_dim: int
    prior: str
    volume: bool
    snr: float
    nats_per_pixel: float
    short: NDArray
    label: NDArray
    effective: float

    @property
    def typical(self) -> float:
        """Mean over classes of the median of `short`: a few spectra that no model knows do not count."""
        return float(np.mean([np.median(self.short[self.label == k]) for k in np.unique(self.label)]))


def compare(
    library: Library,
    models: Mapping[str, SpectrumModel],
    *,
    ratios: Sequence[float] = RATIOS,
    report: Callable[[str], None] = print,
    **options: int,
) -> list[Row]:
    """Score every model.

    Arguments:
        library: What their generators were trained on.
        models: By name.
        ratios: S/N of the noise.
        report: Called with a line for each row.
        options: Further arguments of `held_out_evidence`.

    Raises:
        InputError: if the library's grid is not a generator's.
    """
    rows, fitted = [], {}
    for name, model in models.items():
        generator, prior = model.generator, model.latent_prior
        if generator.size != library.grid.size:
            came = f"{generator.size} as the generator of {name} has, got {library.grid.size}"
            raise InputError(f"library: expected a number of pixels of {came}")
        weights = tuple(float(p.double().sum()) for p in generator.state_dict().values())
        if (weights, model.rank) not in fitted:
            fitted = {(weights, model.rank): CrossFit.of(library, generator, model.rank)}
        fit = fitted[weights, model.rank]
        for volume in (False, True):
            for snr in ratios:
                chosen, found, known = held_out_evidence(fit, generator, prior, volume=volume, snr=snr, **options)
                shown = (name, generator.latent_dim, prior.kind, volume, snr)
                short = (known - found.log_prob).numpy()
                density = float(found.log_prob.mean()) / library.grid.size
                label = fit.library.label[chosen]
                rows.append(Row(*shown, density, short, label, float(found.effective.median())))
                report(lines(rows)[-1])
    return rows


def lines(rows: Sequence[Row]) -> list[str]:
    """Lines of a Markdown table."""
    head = ("model", "L", "prior", "volume", "S/N", "nats per pixel", "nats short: mean", "typical", "effective")
    table = [f"| {' | '.join(head)} |", "|---" * len(head) + "|"]
    for r in rows:
        error = r.short.std() / len(r.short) ** 0.5
        cells = (r.model, r.latent_dim, r.prior, "on" if r.volume else "off", f"{r.snr:g}", f"{r.nats_per_pixel:.5f}")
        cells += (f"{r.short.mean():.1f} ± {error:.1f}", f"{r.typical:.1f}", f"{r.effective:.2f}")
        table.append(f"| {' | '.join(map(str, cells))} |")
    return table


def card_table(rows: Sequence[Row]) -> dict:
    """The scores for a card: mean log evidence in nats per pixel, by model and S/N."""
    table: dict[str, dict[str, float]] = {}
    for r in rows:
        name = f"{r.model} (L = {r.latent_dim}, {r.prior}, volume {'on' if r.volume else 'off'})"
        table.setdefault(name, {})[f"S/N {r.snr:g}"] = r.nats_per_pixel
    return {"held_out_nats_per_pixel": table}


def add_arguments(parser: ArgumentParser) -> None:
    """The command's own arguments."""
    parser.add_argument("--library", required=True, help="library file that the models' generators were trained on")
    add_models(parser, required=True)
    parser.add_argument(
        "--snr", action="append", type=float, help="of the noise; may be repeated; 20 and 50 by default"
    )
    parser.add_argument("--per-class", type=int, default=20, help="validation spectra of each class")
    parser.add_argument("--draws", type=int, default=256, help="of the latents of each spectrum")
    parser.add_argument("--out", default="out/latents", help="folder for latents.md and latents.json")
    add_seed(parser)


def run(arguments: object) -> None:
    """The command: see `python -m baselines latents --help`."""
    library = load_library(arguments.library)
    models = {Path(name).stem: load_model(name) for name in arguments.model}
    options = {"per_class": arguments.per_class, "draws": arguments.draws, "seed": arguments.seed}
    rows = compare(library, models, ratios=arguments.snr or RATIOS, **options)
    out = Path(arguments.out)
    out.mkdir(parents=True, exist_ok=True)
    (out / "latents.md").write_text("\n".join(lines(rows)) + "\n")
    (out / "latents.json").write_text(json.dumps(card_table(rows), indent=1) + "\n")
    print("\n".join(lines(rows)))
    print(f"wrote {out}/latents.md and latents.json")
