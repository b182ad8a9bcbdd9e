r"""A posterior as a FITS file, and back without loss.

| HDU | content |
|---|---|
| `PRIMARY` | cards: versions, object, method, model and its checksum, seed, flags, input file and its checksum |
| `SPECTRUM` | table `wavelength`, `flux`, `sigma`, for programs that open tables; a copy of the images below |
| `WAVELENGTH`, `FLUX`, `SIGMA` | images, shape :math:`(D,)` |
| `QUANTILES` | image, shape :math:`(5, D)`; the cards `Q1` ... `Q5` are the probabilities |
| `DRAWS` | image, shape :math:`(S, D)`, where there are draws |
| `FACTORS` | image, shape :math:`(R, D)`: the flux's covariance is the sum of the outer products of its rows plus a diagonal |
| `CHAIN_...` | images: draws of parameters, chain by chain, where there are some (`chain_images.py`) |
| `RESIDUAL_Z`, `DATA_FLUX`, `DATA_IVAR` | images, shape :math:`(E, D)` |
| `PRIOR_FRACTION` | image, shape :math:`(D,)` |
| `CLASS_PROB` | table `class`, `prob`, where there are classes |
| `LATENT` | image, shape :math:`(L,)` or :math:`(S, L)`, where there are latents |
| `FEATURES` | table of the lines that the model lacks, where there are some: the fields of `Feature` |
| `META` | one string: a JSON document with everything that is not an array |

Images on a uniform wavelength grid carry it as linear WCS. The same posterior gives the same bytes.
"""

import json
import re
from collections.abc import Iterator
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from io import BytesIO
from pathlib import Path

import numpy as np
from astropy import units
from astropy.io import fits
from numpy.typing import NDArray

from ..errors import InputError, OutputError
from ..posterior import Feature, Posterior
from .chain_images import WIDER, chain_images, describe_chains, restore_chains, restore_image
from .files import is_table, open_fits, quiet, write_bytes

__all__ = [
    "ARRAYS",
    "FORMAT",
    "NUMBERS",
    "TEXTS",
    "WIDER",
    "WORDS",
    "ascii_text",
    "document_of",
    "fits_unit",
    "header_of",
    "read_posterior",
    "restore_posterior",
    "write_posterior",
]

FORMAT = 1
QUANTILES = (0.05, 0.16, 0.5, 0.84, 0.95)
ARRAYS = (
    "wavelength",
    "flux",
    "sigma",
    "draws",
    "factors",
    "residual_z",
    "data_flux",
    "data_ivar",
    "prior_fraction",
    "latent",
)
TEXTS = ("method", "name", "flux_unit")
NUMBERS = ("wavelength_A", "equivalent_width_A", "sigma_A", "significance", "p_value", "width_kms")  # of a Feature
WORDS = ("kind", "near")
UNITS = {"A": "Angstrom", "kms": "km/s"}
IN_FLUX_UNIT = ("flux", "sigma", "draws", "factors", "data_flux")
PACKAGES = ("bayesden", "numpy", "torch", "pyro-ppl", "astropy")


def write_posterior(post: Posterior, path: str | Path, *, overwrite: bool = False) -> None:
    """Write a posterior to a FITS file, whole or not at all; `read_posterior` gives back an equal one.

    The cards `MODEL`, `MODELSHA`, `SEED`, `INPUT`, `INPUTSHA` come from the posterior's `meta`: `model`,
    `model_sha256`, `seed`, `file`, `sha256`.

    Arguments:
        post: What an engine or a baseline returned.
        path: Where the file shall be.
        overwrite: Whether an existing file may be replaced.

    Raises:
        OutputError: if the file exists, its folder cannot be written, or the posterior holds what FITS and JSON cannot.

    Example:
        >>> bd.write_posterior(post, "out.fits")
    """
    path, content = Path(path), BytesIO()
    hdus = [fits.PrimaryHDU(header=header_of(post)), _spectrum(post), *_images(post, path)]
    if post.class_prob:
        hdus.append(_classes(post))
    if post.features:
        hdus.append(_features(post))
    if post.chains is not None:
        hdus.extend(chain_images(post.chains))
    hdus.append(_meta(post, path))
    fits.HDUList(hdus).writeto(content)
    write_bytes(path, content.getvalue(), overwrite=overwrite)


def read_posterior(path: str | Path) -> Posterior:
    """Read what `write_posterior` wrote: every field with its type, shape and bits.

    Arguments:
        path: The file.

    Returns:
        A posterior with the same arrays, types and facts.

    Raises:
        InputError: if the file is not a sound result file, or of another format version.

    Example:
        >>> bd.write_posterior(post, "out.fits", overwrite=True)
        >>> np.array_equal(bd.read_posterior("out.fits").flux, post.flux)
        True
    """
    path = Path(path)
    with open_fits(path) as (hdus, _):
        return restore_posterior(hdus, path)


def restore_posterior(hdus: fits.HDUList, path: Path) -> Posterior:
    """The posterior in an open result file; errors name the path.

    Raises:
        InputError: if the HDUs are not a result's, or of another format version.
    """
    if "META" not in hdus or not is_table(hdus["META"]) or hdus["META"].columns.names != ["json"]:
        found = ", ".join(hdu.name or "unnamed" for hdu in hdus)[:200]
        raise InputError(f"{path}: expected a result file with an HDU META, found only: {found}")
    document = json.loads(hdus["META"].data["json"][0])
    if document["format"] != FORMAT:
        raise InputError(f"{path}: expected a result file of format {FORMAT}, got {document['format']}")
    arrays = {key: restore_image(hdus, key, *kind) for key, kind in document["arrays"].items()}
    chains = document.get("chains")
    classes = document["classes"]
    prob = hdus["CLASS_PROB"].data["prob"].tolist() if classes else []
    texts = {key: document[key] for key in TEXTS}
    return Posterior(
        **arrays,
        **texts,
        class_prob=dict(zip(classes, prob, strict=True)),
        flags=frozenset(document["flags"]),
        features=tuple(_restore_features(hdus, document.get("features", []))),
        chains=None if chains is None else restore_chains(hdus, chains),
        meta=document["meta"],
    )


def _restore_features(hdus: fits.HDUList, texts: list[dict[str, str]]) -> Iterator[Feature]:
    """The lines of a result; numbers from the table, texts from META, which holds any letter."""
    for row, words in zip(hdus["FEATURES"].data if texts else [], texts, strict=True):
        numbers = {name: float(row[name]) for name in NUMBERS}
        yield Feature(**numbers, **words, terrestrial=bool(row["terrestrial"]))


def header_of(post: Posterior) -> fits.Header:
    """Cards that say what a posterior is of, and what made it."""
    header = fits.Header()
    header["OBJECT"] = _card(post.name, "name of the object")
    header["METHOD"] = _card(post.method, "inference engine or baseline")
    header["FLUXUNIT"] = _card(post.flux_unit, "unit of the flux, as the input had it")
    header["FLAGS"] = _card(",".join(sorted(post.flags)), "quality flags, comma-separated")
    header["CLASS"] = _card(post.best_class or "", "most probable class")
    for card, key, comment in (
        ("MODEL", "model", "model that was used"),
        ("MODELSHA", "model_sha256", "SHA-256 of the model file"),
        ("SEED", "seed", "seed of the random numbers"),
        ("INPUT", "file", "file that was denoised"),
        ("INPUTSHA", "sha256", "SHA-256 of that file"),
    ):
        if (value := post.meta.get(key)) is not None:
            plain = isinstance(value, int) and abs(value) < 2**63
            header[card] = (value, comment) if plain else _card(str(value), comment)
    for package in PACKAGES:
        header[f"V_{package[:5].upper().replace('-', '')}"] = (_version(package), f"version of {package}")
    header["BDFORMAT"] = (FORMAT, "version of this file format")
    return header


def _card(text: str, comment: str) -> tuple[str, str]:
    """A text as a card's value, with its comment if the 80 characters of a card have room for both."""
    value = ascii_text(text)
    written = max(len(value.replace("'", "''")), 8)
    return value, comment if written + len(comment) <= 64 else ""


@cache
def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "not installed"


def _spectrum(post: Posterior) -> fits.BinTableHDU:
    columns = [
        fits.Column("wavelength", "D", unit="Angstrom", array=post.wavelength),
        fits.Column("flux", "D", unit=fits_unit(post.flux_unit) or None, array=post.flux),
        fits.Column("sigma", "D", unit=fits_unit(post.flux_unit) or None, array=post.sigma),
    ]
    return fits.BinTableHDU.from_columns(columns, name="SPECTRUM")


def _images(post: Posterior, path: Path) -> Iterator[fits.ImageHDU]:
    wcs = _wcs(post.wavelength)
    for key in ARRAYS:
        array = getattr(post, key)
        if array is None or array.size == 0:
            continue
        header = fits.Header(wcs if key not in ("wavelength", "latent") else [])
        if key in IN_FLUX_UNIT and (unit := fits_unit(post.flux_unit)):
            header["BUNIT"] = unit
        elif key == "wavelength":
            header["BUNIT"] = "Angstrom"
        try:
            wide = np.atleast_1d(array).astype(WIDER.get(array.dtype.name, array.dtype.name))
            yield fits.ImageHDU(wide, header=header, name=key.upper())
        except (KeyError, TypeError, ValueError):
            raise OutputError(f"{path}: {key}: expected an array of real numbers, got {array.dtype}") from None
        if key == "sigma" and (post.draws is None or len(post.draws)):
            yield _quantiles(post, header)


def _quantiles(post: Posterior, header: fits.Header) -> fits.ImageHDU:
    header = header.copy()
    for number, probability in enumerate(QUANTILES, 1):
        header[f"Q{number}"] = (probability, f"probability of row {number}")
    return fits.ImageHDU(np.stack([post.quantile(q) for q in QUANTILES]), header=header, name="QUANTILES")


def _wcs(wavelength: NDArray) -> list[tuple]:
    """Linear world coordinates, where the grid is uniform."""
    step = (wavelength[-1] - wavelength[0]) / max(wavelength.size - 1, 1)
    if wavelength.size < 2 or not np.allclose(np.diff(wavelength), step, rtol=1e-9, atol=0):
        return []
    return [
        ("CTYPE1", "WAVE", "vacuum wavelength"),
        ("CUNIT1", "Angstrom"),
        ("CRPIX1", 1.0),
        ("CRVAL1", float(wavelength[0])),
        ("CDELT1", float(step)),
    ]


def _classes(post: Posterior) -> fits.BinTableHDU:
    names = [ascii_text(name) for name in post.class_prob]
    width = max(len(name) for name in names) or 1
    columns = [
        fits.Column("class", f"{width}A", array=np.array(names)),
        fits.Column("prob", "D", array=np.array(list(post.class_prob.values()))),
    ]
    return fits.BinTableHDU.from_columns(columns, name="CLASS_PROB")


def _features(post: Posterior) -> fits.BinTableHDU:
    rows = post.features
    columns = [
        fits.Column(
            name, "D", unit=UNITS.get(name.rpartition("_")[2]), array=np.array([getattr(f, name) for f in rows])
        )
        for name in NUMBERS
    ]
    for name in WORDS:
        texts = [ascii_text(getattr(f, name)) for f in rows]
        columns.append(fits.Column(name, f"{max(map(len, texts)) or 1}A", array=np.array(texts)))
    columns.append(fits.Column("terrestrial", "L", array=np.array([f.terrestrial for f in rows])))
    return fits.BinTableHDU.from_columns(columns, name="FEATURES")


def _meta(post: Posterior, path: Path) -> fits.BinTableHDU:
    text = document_of(post, path)
    return fits.BinTableHDU.from_columns([fits.Column("json", f"{len(text)}A", array=np.array([text]))], name="META")


def document_of(post: Posterior, path: Path) -> str:
    """Everything that is not an array, and what the arrays are like, as JSON.

    Raises:
        OutputError: naming the file that it is for, if the posterior's facts are not strings and numbers.
    """
    arrays = {key: getattr(post, key) for key in ARRAYS}
    document = {
        "format": FORMAT,
        **{key: getattr(post, key) for key in TEXTS},
        "flags": sorted(post.flags),
        "classes": list(post.class_prob),
        "features": [{name: getattr(f, name) for name in WORDS} for f in post.features],
        "arrays": {key: (a.dtype.name, a.shape) for key, a in arrays.items() if a is not None},
        "meta": dict(post.meta),
    }
    if post.chains is not None:
        document["chains"] = describe_chains(post.chains)
    try:
        return json.dumps(document, default=_scalar)
    except (TypeError, ValueError) as error:
        raise OutputError(f"{path}: meta: expected strings and numbers, got: {error}") from None


def _scalar(value: object) -> str | int | float | bool:
    if isinstance(value, np.generic):
        return value.item()
    raise TypeError(f"{type(value).__name__}")


def fits_unit(text: str) -> str:
    """The unit in FITS's own spelling, which SDSS's `1E-17 erg/cm^2/s/Ang` is not; empty where it cannot be read."""
    plain = re.sub(r"\bAng\b", "Angstrom", re.sub(r"\b1[eE]([+-]?\d+)", r"10**\1", text))
    try:
        with quiet():
            return units.Unit(plain).to_string("fits")
    except (ValueError, TypeError):
        return ""


def ascii_text(text: str) -> str:
    """What a FITS card can hold of a text; the exact one is in META."""
    return "".join(letter if " " <= letter <= "~" else "?" for letter in text)
