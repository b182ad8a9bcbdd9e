"""`bayesden evaluate`: a calibration certificate for a model and its engines."""

import json
import traceback
from collections.abc import Mapping
from dataclasses import asdict
from enum import StrEnum
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ..errors import InputError
from .console import complain, describe, progress, say, show_table
from .options import ModelOption, SeedOption, check_folder, check_output

if TYPE_CHECKING:
    from ..model.joint import SpectrumModel
    from ..spectrum import Grid, Observation

__all__ = ["evaluate"]


class Method(StrEnum):
    """Names of the engines that draw."""

    LAPLACE = "laplace"
    SVI = "svi"
    ENSEMBLE = "ensemble"
    NUTS = "nuts"


def evaluate(
    context: typer.Context,
    files: Annotated[
        list[Path] | None,
        typer.Argument(
            metavar="FILE",
            help="Spec files whose errors, masks and arms the simulated exposures shall have.",
            show_default=False,
        ),
    ] = None,
    model: ModelOption = None,
    method: Annotated[
        list[Method] | None,
        typer.Option(
            "--method", help="An engine; may be given several times.  [default: laplace, ensemble]", show_default=False
        ),
    ] = None,
    simulations: Annotated[int, typer.Option("--simulations", "-n", min=1, help="Stars to simulate, at least.")] = 300,
    snr: Annotated[
        str, typer.Option(metavar="X,X", help="Median signal-to-noise ratios per pixel of an exposure.")
    ] = "5,10,20",
    exposures: Annotated[int, typer.Option(min=1, help="Exposures of each star.")] = 1,
    samples: Annotated[int, typer.Option(min=1, help="Draws of each star.")] = 400,
    chains: Annotated[int, typer.Option(min=1, help="Chains of each star.")] = 4,
    seed: SeedOption = 0,
    out: Annotated[
        Path, typer.Option("--out", "-o", metavar="DIR", help="Folder for card and figure; made if missing.")
    ] = Path("calibration"),
    store: Annotated[
        Path | None,
        typer.Option(
            "--store", metavar="FILE", help="Write the model with the card inside; may be the model file itself."
        ),
    ] = None,
) -> int:
    """Run `bayesden evaluate`; `pages.py` has what it says of itself."""
    from ..evaluate.calibration import Plan, calibrate
    from ..evaluate.certificate import certificate
    from ..evaluate.kept import Kept
    from ..model.checkpoint import load_model

    methods = list(dict.fromkeys(one.value for one in method or (Method.LAPLACE, Method.ENSEMBLE)))
    plan = Plan(simulations, _numbers(snr), exposures, samples, chains, seed)
    check_folder(out)
    if store is not None:
        check_output(store, ".safetensors", "--store")
    loaded = load_model(model)
    templates = _read(files or [], loaded.grid, context.obj["debug"])
    facts = {"model": loaded.card.get("name", ""), "sha256": loaded.card.get("sha256", "")}
    facts |= {"templates": [one.name for one in templates]}
    kept = Kept(out / "parts", facts | asdict(plan) | {"version": version("bayesden")})
    with progress() as report:
        places = calibrate(
            loaded,
            methods,
            plan,
            templates=templates,
            progress=lambda done, total: report("evaluate", done, total),
            kept=kept,
        )
    card = certificate(places, loaded.classes, plan, facts)
    _write(card, out)
    kept.clear()
    _show(card)
    if store is not None:
        _store(loaded, card, store)
    return 0 if len(templates) == len(files or []) else 1


def _numbers(text: str) -> tuple[float, ...]:
    """The numbers of `5,10,20`."""
    try:
        return tuple(float(word) for word in text.split(","))
    except ValueError:
        raise typer.BadParameter(f"expected numbers such as 5,10,20, got {text!r}", param_hint="--snr") from None


def _read(files: list[Path], grid: "Grid", debug: bool) -> list["Observation"]:
    """The files that can be used, each other one named."""
    from ..io import read

    templates = []
    for path in files:
        try:
            templates.append(read(path, grid=grid))
        except Exception as error:
            complain(describe(error, path))
            if debug:
                traceback.print_exception(error)
    if files and not templates:
        raise InputError(f"evaluate: expected at least one file that can be used, got none in {len(files)}")
    return templates


def _write(card: Mapping, out: Path) -> None:
    from ..io.files import write_bytes
    from ..report import save_figure
    from ..report.calibration_plots import plot_calibration

    content = json.dumps(card, indent=1).encode()
    write_bytes(out / "calibration.json", content + b"\n", overwrite=True)
    save_figure(plot_calibration(card), out / "calibration.png")
    say(f"{out / 'calibration.json'} and {out / 'calibration.png'} written")


def _show(card: Mapping) -> None:
    """Print coverage and verdicts."""
    from ..evaluate.certificate import verdicts

    for method, engine in card["engines"].items():
        say(f"{method}: percent of pixels of the flux, with the standard error")
        groups = dict(engine["coverage"]["groups"])
        groups |= {f"truly {name}": group for name, group in engine["coverage"]["true_classes"].items()}
        names = list(next(iter(groups.values()))["share"])
        rows = [
            (name, str(g["stars"]), *(f"{100 * g['share'][n]:.1f} ± {100 * g['error'][n]:.1f}" for n in names))
            for name, g in groups.items()
        ]
        show_table(("", "stars", *names), rows)
        sbc = engine["sbc"]
        say(f"ranks: the furthest from uniform is {sbc['worst']}, p = {sbc['p']:.3g} after Bonferroni's correction")
    for line in verdicts(card):
        say(line)


def _store(model: "SpectrumModel", card: Mapping, path: Path) -> None:
    from ..model.checkpoint import save_model
    from ..train.card import write_card

    model.card = {key: value for key, value in model.card.items() if key not in ("name", "sha256")}
    model.card["calibration"] = dict(card)
    save_model(model, path)
    say(f"model with this card written to {path}, its page to {write_card(path)}")
