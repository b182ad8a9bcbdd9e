"""What a page says of one result: its row in the table, the words and numbers beside its figure, the arrays to draw."""

import math
import re
from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from ..posterior import FLAGS, Feature, Posterior
from .packing import Stepped
from .style import pretty_unit
from .view import View

__all__ = ["COLUMNS", "core_arrays", "details_of", "exposure_arrays", "row_of"]

COLUMNS = ("file", "name", "class", "probability", "snr", "velocity", "velocity_error", "flags", "exposures", "support",
           "lines", "survey")  # fmt: skip
SUPERSCRIPTS = str.maketrans("-+0123456789", "⁻⁺⁰¹²³⁴⁵⁶⁷⁸⁹")
WAVE_STEP, Z_STEP, FRACTION_STEP, LATENT_STEP = 1e-3, 0.1, 0.025, 1e-3
LEAST_FRACTION = 1e-3  # of the prior: the lower end of its panel, whose axis is logarithmic as its step is
FLUX_STEP, DATA_STEP = 1 / 16, 1 / 5  # of the flux's and of an exposure's standard deviation, where these are small
DRAWS = 300  # of the latents


def row_of(post: Posterior, view: View, file: str) -> tuple:
    """The row of the table, in the order of `COLUMNS`; None where something is not known."""
    snr = _number(post.meta.get("snr"))
    return (
        file,
        text_of(post.name),
        post.best_class and text_of(post.best_class),
        _rounded(max(post.class_prob.values(), default=None), 6),
        _rounded(_number(view.snr) if snr is None else snr, 2),
        _rounded(post.meta.get("velocity_kms"), 2),
        _rounded(post.meta.get("velocity_sigma_kms"), 2),
        [flag for flag in FLAGS if flag in post.flags],
        len(np.atleast_2d(post.residual_z)),
        _significant(post.meta.get("support_p")),
        len(post.features),
        _survey(post),
    )


def text_of(value: object) -> str:
    r"""A text that UTF-8 can hold: a file name's bytes that are none become \xNN, letters beyond become \uNNNN."""
    escaped = str(value).encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")
    return "".join(c if c.isprintable() or c == " " else c.encode("unicode_escape").decode() for c in escaped)


def details_of(post: Posterior, view: View) -> dict:
    """Words and numbers beside the figure; JSON can hold them."""
    return {
        "unit": _plain_unit(post.flux_unit),
        "velocity": _number(post.meta.get("velocity_kms")),
        "classes": [(text_of(name), _number(value)) for name, value in post.class_prob.items()],
        "facts": list(_facts(post, view)),
        "features": [_feature(feature) for feature in post.features],
        "exposures": [_exposure(*pair) for pair in zip(view.exposures, view.ivar, view.z, strict=True)]
        if view.n_exposures == len(view.z)
        else [],
    }


def core_arrays(post: Posterior, view: View) -> dict[str, Stepped]:
    """What is drawn of every result: denoised flux and bands, mean of the exposures, stacked residuals, latents."""
    step = _step(_small(post.sigma) * FLUX_STEP, view.flux)
    arrays = {"wavelength": (view.wavelength, WAVE_STEP), "flux": (view.flux, step)}
    if post.draws is None:
        arrays["sigma"] = (post.sigma, step)  # all that normal bands need
    else:
        for name, (low, high) in zip(("wide", "narrow"), view.bands.values(), strict=True):
            arrays |= {f"{name}_low": (low - view.flux, step), f"{name}_high": (high - view.flux, step)}
    arrays["mean"] = (view.coadd, _data_step(view) / max(view.n_exposures, 1) ** 0.5)
    arrays["stacked"] = (view.stacked_z, Z_STEP)
    arrays["good"] = ((view.ivar > 0).sum(0), 1.0)
    arrays["fraction"] = (np.log10(np.maximum(view.prior_fraction, LEAST_FRACTION)), FRACTION_STEP)
    if post.latent is not None:
        draws = np.atleast_2d(post.latent).astype(float)
        chosen = draws[np.linspace(0, len(draws) - 1, min(DRAWS, len(draws))).round().astype(int)]
        arrays |= {"latent": (draws.mean(0), LATENT_STEP), "latent_draws": (chosen.T, LATENT_STEP)}
    return arrays


def exposure_arrays(view: View) -> dict[str, Stepped]:
    """What is drawn of single exposures: flux and residuals."""
    return {"exposures": (view.exposures, _data_step(view)), "residuals": (view.z, Z_STEP)}


def _data_step(view: View) -> float:
    with np.errstate(divide="ignore"):
        return _step(_small(view.ivar**-0.5) * DATA_STEP, view.exposures)


def _small(values: NDArray) -> float:
    """A small one of the positive finite values; 0 where there is none."""
    values = values[np.isfinite(values) & (values > 0)]
    return float(np.percentile(values, 5)) if values.size else 0.0


def _step(wanted: float, values: NDArray) -> float:
    """A step, not so small that the bulk of the values is beyond what 29 bits count."""
    finite = np.abs(values[np.isfinite(values)])
    bulk = float(np.percentile(finite, 99)) if finite.size else 0.0
    return max(wanted, bulk * (2**-24 if wanted else 2**-14)) or 1.0


def _number(value: object) -> float | None:
    """A finite number, or None."""
    return float(value) if isinstance(value, int | float) and math.isfinite(value) else None


def _rounded(value: object, digits: int) -> float | None:
    number = _number(value)
    return None if number is None else round(number, digits)


def _significant(value: object) -> float | None:
    number = _number(value)
    return None if number is None else float(f"{number:.3g}")


def _plain_unit(unit: str) -> str:
    """A unit for reading, in plain letters; a dollar or a backslash would start mathematics."""
    raised = re.sub(r"\$(10)?\^\{(.+?)\}\$", lambda m: (m[1] or "") + m[2].translate(SUPERSCRIPTS), pretty_unit(unit))
    return text_of(re.sub(r"[$\\]", "", raised))


def _survey(post: Posterior) -> str:
    return " ".join(text_of(post.meta[key]) for key in ("class", "subclass") if post.meta.get(key))


def _facts(post: Posterior, view: View) -> Iterator[tuple[str, str]]:
    """Names and values, those that are known."""
    meta, grid = post.meta, view.wavelength
    place = [_number(meta.get(key)) for key in ("ra_deg", "dec_deg")]
    p = _number(meta.get("support_p"))
    model = ", ".join(text_of(meta[key])[:24] for key in ("model", "model_sha256") if meta.get(key))
    known = {
        "object": text_of(post.name),
        "input": text_of(meta.get("file", "")),
        "survey's class": _survey(post),
        "survey's redshift": _format(meta.get("z"), ".6f"),
        "position": "" if None in place else f"{place[0]:.5f}, {place[1]:+.5f} deg",
        "velocity": _measured(post, "velocity_kms", "velocity_sigma_kms", ".1f", "km/s"),
        "velocity frame": text_of(meta.get("velocity_frame", "")) if "velocity_kms" in meta else "",
        "E(B−V)": _measured(post, "ebv", "ebv_sigma", ".3f", "mag"),
        "support": "" if p is None else f"p = {p:.2g}",
        "S/N per pixel": _format(meta.get("snr", view.snr), ".1f"),
        "pixels": f"{grid.size}, {grid[0]:.0f} to {grid[-1]:.0f} Å, vacuum",
        "method": text_of(post.method),
        "model": model,
        "converged": {True: "yes", False: "no"}.get(meta.get("converged"), ""),
        "R-hat": _format(meta.get("r_hat"), ".3f"),
        "effective draws": _format(meta.get("ess_bulk"), ".0f"),
        "seed": _format(meta.get("seed"), ".0f"),
    }
    return ((name, value) for name, value in known.items() if value)


def _format(value: object, digits: str) -> str:
    number = _number(value)
    return "" if number is None else format(number, digits)


def _measured(post: Posterior, key: str, error: str, digits: str, unit: str) -> str:
    value, sigma = (_format(post.meta.get(name), digits) for name in (key, error))
    return f"{value} ± {sigma} {unit}".replace("-", "−") if value and sigma else ""


def _feature(feature: Feature) -> dict:
    return {
        "wavelength": _number(feature.wavelength_A),
        "kind": text_of(feature.kind),
        "width": f"{feature.equivalent_width_A:.2f} ± {feature.sigma_A:.2f}",
        "fwhm": f"{feature.width_kms:.0f}",
        "sigma": f"{feature.significance:.1f}",
        "p": f"{feature.p_value:.1g}",
        "near": text_of(feature.near),
        "terrestrial": bool(feature.terrestrial),
    }


def _exposure(flux: NDArray, ivar: NDArray, z: NDArray) -> dict:
    """What is worth knowing of an exposure: S/N, share of masked pixels, scatter of its residuals."""
    good, z = ivar > 0, z[np.isfinite(z)]
    snr = float(np.median(flux[good] * np.sqrt(ivar[good]))) if good.any() else None
    scatter = float(1.4826 * np.median(np.abs(z - np.median(z)))) if z.size else None
    return {
        "snr": _rounded(snr, 1),
        "masked": round(100 * float(1 - good.mean()), 1),
        "scatter": _rounded(scatter, 2),
        "outliers": round(100 * float(np.mean(np.abs(z) > 3)), 1) if z.size else None,
    }
