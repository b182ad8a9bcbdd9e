"""`bayesden inspect`: what a file is, in plain words."""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ..errors import InputError
from .completion import models
from .console import say, show_table
from .fit import show_reconstruction
from .inspection_of_runs import show_chains, show_facts, show_parquet, show_run, show_table_of_results
from .noise import show_scale
from .options import MaskPolicy, MaskPolicyOption
from .train import show_library

if TYPE_CHECKING:
    from ..posterior import Feature
    from ..spectrum import Observation

__all__ = ["inspect"]

SOURCES = 12  # source files that are named
CONTENTS = {"generator": "generator", "latent_prior": "latent prior", "noise": "noise flow"}


def inspect(
    file: Annotated[
        str,
        typer.Argument(
            metavar="FILE", help="A file, or a shipped model's name.", show_default=False, autocompletion=models
        ),
    ],
    mask_policy: MaskPolicyOption = MaskPolicy.AND,
) -> None:
    """Run `bayesden inspect`; `pages.py` has what it says of itself."""
    path = Path(file)
    if path.is_dir() or path.suffix == ".jsonl":
        show_run(path)
        return
    start = _start(path)
    if start.startswith(b"PAR1"):
        show_parquet(path)
    elif start.startswith((b"SIMPLE", b"\x1f\x8b")):
        _show_fits(path, mask_policy.value)
    elif start.startswith(b"PK"):
        _show_library(path)
    elif start.startswith(b"\x89HDF") and path.suffix == ".nc":
        show_chains(path)
    elif start.startswith(b"\x89HDF"):
        _show_simulation(path)
    elif start[8:9] == b"{" or not (start or path.exists()):
        _show_checkpoint(path)
    else:
        text = all(byte in b"\t\n\r" or 32 <= byte < 127 for byte in start)
        what = "an empty file" if not start else "a text file" if text else "something else"
        raise InputError(f"{path}: expected a spec, result, model, library, simulation or manifest file, got {what}")


def _start(path: Path) -> bytes:
    """The first bytes of a file; none if there is no such file, which may then be the name of a model."""
    if not path.exists():
        return b""
    if not path.is_file():
        raise InputError(f"{path}: expected a file, got a special file")
    try:
        with path.open("rb") as handle:
            return handle.read(16)
    except OSError as error:
        raise InputError(f"{path}: expected a readable file, got: {error.strerror or error}") from None


def _show_fits(path: Path, mask_policy: str) -> None:
    from ..io import read
    from ..io.files import open_fits

    with open_fits(path) as (hdus, _):
        is_result, is_table = "META" in hdus, "SPECTRA" in hdus
        contents = ", ".join(f"{hdu.name or 'unnamed'} ({_shape(hdu)})" for hdu in hdus)
    if is_result:
        _show_result(path)
    elif is_table:
        show_table_of_results(path)
    else:
        try:
            observation = read(path, mask_policy=mask_policy)
        except InputError as error:
            raise InputError(f"{error}; neither a spec file nor a result, the FITS file has {contents[:300]}") from None
        _show_observation(path, observation)


def _shape(hdu: object) -> str:
    """What an HDU holds, in a word or two."""
    columns = getattr(hdu, "columns", None)
    if columns is not None:
        return f"table of {', '.join(columns.names[:6])}{', ...' * (len(columns.names) > 6)}"
    return " x ".join(map(str, hdu.shape[::-1])) or "empty"


def _show_observation(path: Path, observation: "Observation") -> None:
    from ..spectrum import ARM_BLUE, ARM_RED

    meta, n, grid = observation.meta, observation.n_exposures, observation.wavelength
    single = "a coadd only" if observation.exposures[0].name == "coadd" else f"{n} exposure{'s' * (n > 1)}"
    say(f"{path}: an SDSS spec file with {single}")
    survey = " ".join(str(meta[key]) for key in ("class", "subclass") if key in meta)
    show_facts(
        {
            "survey's class": survey,
            "survey's redshift": meta.get("z"),
            "plate-mjd-fiber": "-".join(str(meta.get(key, "?")) for key in ("plate", "mjd", "fiber")),
            "S/N per pixel": f"{observation.snr:.1f} (all exposures together)",
            "flux unit": observation.flux_unit,
            "resampled to": f"{grid.size} pixels, {grid[0]:.0f} to {grid[-1]:.0f} Angstrom, vacuum",
            "velocities": meta.get("velocity_frame"),
            "mask policy": meta.get("mask_policy"),
        }
    )
    rows = []
    for number, exposure in enumerate(observation.exposures):
        one = observation.select([number])
        arms = [name for name, bit in (("blue", ARM_BLUE), ("red", ARM_RED)) if (one.arm & bit).any()]
        share = f"{100 * one.mask.mean():.1f} %"
        rows.append((exposure.name, "+".join(arms) or "?", f"{one.snr:.1f}", share, ", ".join(exposure.arms)))
    show_table(("exposure", "arms", "S/N", "masked", "from"), rows, words=(0, 1, 4))


def _show_result(path: Path) -> None:
    from ..io import read_posterior

    post = read_posterior(path)
    meta, grid = post.meta, post.wavelength
    exposures = 0 if post.data_flux is None else len(post.data_flux)
    say(f"{path}: a result of bayesden")
    show_facts(
        {
            "object": post.name,
            "input": " ".join(str(meta[key]) for key in ("file", "sha256") if key in meta),
            "method": post.method,
            "model": " ".join(str(meta[key]) for key in ("model", "model_sha256") if meta.get(key)),
            "classes": ", ".join(f"{k} {v:.2f}" for k, v in _likely(post.class_prob)),
            "survey's class": " ".join(str(meta[key]) for key in ("class", "subclass") if key in meta),
            "velocity": _measured(meta, "velocity", "_kms", ".1f", "km/s"),
            "E(B-V)": _measured(meta, "ebv", "", ".3f", "mag"),
            "flags": ", ".join(sorted(post.flags)) or "none",
            "support": f"p = {meta['support_p']:.2g}" if "support_p" in meta else None,
            "exposures": exposures or None,
            "pixels": f"{grid.size}, {grid[0]:.0f} to {grid[-1]:.0f} Angstrom, vacuum",
            "flux unit": post.flux_unit,
            "latents": None if post.latent is None else post.latent.shape[-1],
            "draws": None if post.draws is None else len(post.draws),
            "chains": _convergence(meta),
            "converged": meta.get("converged"),
            "seed": meta.get("seed"),
        }
    )
    _show_features(post.features)


def _convergence(meta: Mapping[str, object]) -> str | None:
    """What the chains of a method that runs some are worth."""
    if "r_hat" not in meta:
        return None
    worth = f"R-hat {meta['r_hat']:.3f}, effective draws {meta['ess_bulk']:.0f} (tails {meta['ess_tail']:.0f})"
    return f"{meta['chains']}, {worth}, {meta['divergences']} divergences"


def _show_features(features: "tuple[Feature, ...]") -> None:
    """The lines that the model lacks."""
    if not features:
        return
    say(f"lines that the model lacks: {len(features)}")
    rows = [
        (
            f"{f.wavelength_A:.0f}",
            f.kind,
            f"{f.equivalent_width_A:.2f} ± {f.sigma_A:.2f}",
            f"{f.width_kms:.0f}",
            f"{f.significance:.1f}",
            f"{f.p_value:.1g}",
            f"{f.near} (the Earth's)" if f.terrestrial else f.near,
        )
        for f in features
    ]
    header = ("Angstrom", "kind", "equivalent width", "km/s", "sigma", "p", "near")
    show_table(header, rows, words=(1, 6))


def _measured(meta: Mapping[str, object], name: str, suffix: str, digits: str, unit: str) -> str | None:
    """A value with its standard deviation, where a result has it."""
    keys = (f"{name}{suffix}", f"{name}_sigma{suffix}")
    if any(key not in meta for key in keys):
        return None
    value, sigma = (format(float(meta[key]), digits) for key in keys)
    frame = f", {meta['velocity_frame']}" if name == "velocity" and "velocity_frame" in meta else ""
    return f"{value} ± {sigma} {unit}{frame}"


def _show_simulation(path: Path) -> None:
    import numpy as np

    from ..simulation.stored import read_configuration, read_parameters

    facts, table = read_configuration(path), read_parameters(path)
    say(f"{path}: {facts['n']} simulated stars")
    low, middle, high = np.nanpercentile(table["snr"], [5, 50, 95])
    ranges = {name: f"{table[name].min():.4g} to {table[name].max():.4g}" for name in facts["parameters"]}
    show_facts(
        {
            "instrument": f"{facts['instrument']}, {facts['exposures']} exposure{'s' * (facts['exposures'] > 1)}",
            "spectra": f"{facts['grid']}: {facts['grid_label']}",
            "seed": facts["seed"],
            "flux unit": facts["flux_unit"],
            "S/N per pixel": f"{middle:.1f} (90 % within {low:.1f} to {high:.1f})",
            **ranges,
        }
    )


def _likely(probabilities: Mapping[str, float]) -> list[tuple[str, float]]:
    """The classes in the order of their probability, as far as two digits show any."""
    ordered = sorted(probabilities.items(), key=lambda item: -item[1])
    return [(name, value) for name, value in ordered if value >= 0.005]


def _show_checkpoint(path: Path) -> None:
    from ..model.checkpoint import load_model, load_part, read_header

    header = read_header(path)
    content, card = header.get("content"), header.get("card", {})
    facts: dict[str, object] = {"format": header["format"], "checksum": f"{header['sha256']} (verified)"}
    if content == "model":
        model = load_model(path)
        grid = model.grid.wavelength
        say(f"{path}: a model")
        facts |= {
            "classes": " ".join(model.classes),
            "latents L": model.generator.latent_dim,
            "pixels D": f"{grid.size}, {grid[0]:.0f} to {grid[-1]:.0f} Angstrom, vacuum",
            "generator": _settings(header["generator"]),
            "noise": _settings(header["noise"]),
            "latent prior": _settings(header["latent_prior"]),
        }
    elif content in CONTENTS:
        load_part(content, path)
        say(f"{path}: one part of a model, its {CONTENTS[content]}")
        facts |= {"settings": _settings(header[content])}
    else:
        raise InputError(f"{path}: expected a model or one of its parts, got a file that holds {content!r}")
    show_facts(facts | _card_facts(card))
    _show_scores(card.get("scores", {}))
    _show_calibration(card.get("calibration"))
    _show_sources(card.get("sources", []))


def _settings(config: Mapping[str, object]) -> str:
    """A configuration as `name value` pairs; its kind first, by itself."""
    words = [str(config["kind"])] if "kind" in config else []
    for name, value in config.items():
        if name != "kind":
            words.append(f"{name} ({_settings(value)})" if isinstance(value, Mapping) else f"{name} {value}")
    return ", ".join(words)


def _card_facts(card: Mapping[str, object]) -> dict[str, object]:
    """What a card says of the licence and of how the weights were made."""
    parts = [f"{content} from {part['file']}" for content, part in card.get("parts", {}).items()]
    return {
        "licence": card.get("licence"),
        "library": _settings(card.get("library", {})),
        "recipe": _settings(card.get("recipe", {})),
        "fitted before": ", ".join(parts),
    }


def _show_scores(scores: Mapping[str, object]) -> None:
    if "noise_nats_per_pixel" in scores:
        say(f"noise: {scores['noise_nats_per_pixel']:.3f} nats per pixel on validation exposures")
    if "noise_scale_over_pipeline" in scores:
        show_scale(scores["noise_scale_over_pipeline"])
    if "reconstruction" in scores:
        show_reconstruction(scores["reconstruction"])


def _show_calibration(found: Mapping[str, object] | None) -> None:
    """The verdict of `bayesden evaluate`, if the model keeps one."""
    if found is not None:
        from ..evaluate.certificate import verdicts

        say(f"calibration, on {found['simulations']} stars drawn from the model itself:")
        for line in verdicts(found):
            say(f"  {line}")


def _show_sources(sources: list[Mapping[str, str]]) -> None:
    if not sources:
        return
    say(f"sources: {len(sources)} file{'s' * (len(sources) > 1)}")
    rows = [(source["name"], source["sha256"][:16], source.get("licence", "")) for source in sources[:SOURCES]]
    for name, checksum, licence in rows:
        say(f"  {name}  sha256 {checksum}...  {licence}")
    if len(sources) > SOURCES:
        say(f"  and {len(sources) - SOURCES} more")


def _show_library(path: Path) -> None:
    from ..train.library import load_library

    spectra = load_library(path)
    grid = spectra.grid.wavelength
    say(f"{path}: a training library")
    show_facts(
        {
            "spectra": len(spectra),
            "pixels D": f"{grid.size}, {grid[0]:.0f} to {grid[-1]:.0f} Angstrom, vacuum",
            "recipe": _settings(spectra.recipe),
        }
    )
    show_library(spectra)
    _show_sources([vars(source) for source in spectra.sources])
