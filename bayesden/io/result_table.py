r"""Many posteriors in one FITS file, and back without loss: for surveys, where a file each is too many.

| HDU | content |
|---|---|
| `SPECTRA` | table, a row for each of the N spectra: `name`, `class`, `flags`, `velocity_kms`, and `json` with the rest |
| `WAVELENGTH` | image, shape :math:`(D,)`, of all spectra |
| `FLUX`, `SIGMA`, `PRIOR_FRACTION` | images, shape :math:`(N, D)` |
| `RESIDUAL_Z`, `DATA_FLUX`, `DATA_IVAR`, `LATENT`, `DRAWS`, ... | images, the rows of all spectra one below the other |
| `CLASS_PROB` | image, shape :math:`(N, K)`; the cards `CLASS1` ... are the classes |

How many rows of an image are a spectrum's own is what `json` says of its shape. The same posteriors give the same bytes.
"""

import json
from collections.abc import Iterator, Sequence
from io import BytesIO
from math import prod
from pathlib import Path

import numpy as np
from astropy.io import fits
from numpy.typing import NDArray

from ..errors import InputError, OutputError
from ..posterior import Feature, Posterior
from .files import is_table, open_fits, write_bytes
from .results import ARRAYS, FORMAT, NUMBERS, TEXTS, WIDER, WORDS, ascii_text, document_of, restore_posterior

__all__ = ["read_posteriors", "read_results", "write_posteriors"]

SHARED, *STACKED = ARRAYS  # the wavelengths are everyone's
FIELDS = (*NUMBERS, *WORDS, "terrestrial")  # of a Feature


def write_posteriors(posts: Sequence[Posterior], path: str | Path, *, overwrite: bool = False) -> None:
    """Write posteriors on one grid to one FITS file, whole or not at all; `read_posteriors` gives back equal ones.

    Arguments:
        posts: N of them, at least one, of one model.
        path: Where the file shall be.
        overwrite: Whether an existing file may be replaced.

    Raises:
        OutputError: if their grids, latents or classes differ, there are none, or the file cannot be written.

    Example:
        >>> write_posteriors([post, post], "night.fits")
    """
    path, content = Path(path), BytesIO()
    _check(posts, path)
    primary = fits.PrimaryHDU()
    primary.header["BDFORMAT"] = (FORMAT, "version of this file format")
    primary.header["NSPECTRA"] = (len(posts), "number of spectra")
    hdus = [primary, _spectra(posts, path), fits.ImageHDU(posts[0].wavelength, name="WAVELENGTH")]
    fits.HDUList([*hdus, *_images(posts, path), *_classes(posts)]).writeto(content)
    write_bytes(path, content.getvalue(), overwrite=overwrite)


def read_posteriors(path: str | Path) -> list[Posterior]:
    """Read what `write_posteriors` wrote: every field with its type, shape and bits.

    Arguments:
        path: The file.

    Returns:
        The posteriors in the order in which they were written.

    Raises:
        InputError: if the file is not a sound table of results, or of another format version.

    Example:
        >>> write_posteriors([post, post], "night.fits", overwrite=True)
        >>> [other.name for other in read_posteriors("night.fits")]
        ['example-spec', 'example-spec']
    """
    path = Path(path)
    with open_fits(path) as (hdus, _):
        return _restore_table(hdus, path)


def read_results(path: str | Path) -> list[Posterior]:
    """Read all posteriors of a file, be it that of one (`write_posterior`) or a table of many (`write_posteriors`).

    Raises:
        InputError: if it is neither, not sound, or of another format version.
    """
    path = Path(path)
    with open_fits(path) as (hdus, _):
        return _restore_table(hdus, path) if "SPECTRA" in hdus else [restore_posterior(hdus, path)]


def _restore_table(hdus: fits.HDUList, path: Path) -> list[Posterior]:
    if "SPECTRA" not in hdus or not is_table(hdus["SPECTRA"]) or "json" not in hdus["SPECTRA"].columns.names:
        found = ", ".join(hdu.name or "unnamed" for hdu in hdus)[:200]
        raise InputError(f"{path}: expected a table of results with an HDU SPECTRA, found only: {found}")
    documents = [json.loads(text) for text in hdus["SPECTRA"].data["json"]]
    for document in documents:
        if document["format"] != FORMAT:
            raise InputError(f"{path}: expected results of format {FORMAT}, got {document['format']}")
    images = {key: np.asarray(hdus[key.upper()].data) for key in ARRAYS if key.upper() in hdus}
    return list(_restore(documents, images))


def _check(posts: Sequence[Posterior], path: Path) -> None:
    if not posts:
        raise OutputError(f"{path}: expected at least one result, got none")
    first = posts[0]
    for post in posts:
        if not np.array_equal(post.wavelength, first.wavelength) or list(post.class_prob) != list(first.class_prob):
            raise OutputError(f"{path}: expected one grid and one set of classes, got others for {post.name}")


def _spectra(posts: Sequence[Posterior], path: Path) -> fits.BinTableHDU:
    texts = {
        "name": [ascii_text(post.name) for post in posts],
        "class": [ascii_text(post.best_class or "") for post in posts],
        "flags": [",".join(sorted(post.flags)) for post in posts],
        "json": [_document(post, path) for post in posts],
    }
    velocity = np.array([post.meta.get("velocity_kms", np.nan) for post in posts], float)
    columns = [fits.Column(key, f"{max(map(len, v)) or 1}A", array=np.array(v)) for key, v in texts.items()]
    columns.insert(3, fits.Column("velocity_kms", "D", unit="km/s", array=velocity))
    return fits.BinTableHDU.from_columns(columns, name="SPECTRA")


def _document(post: Posterior, path: Path) -> str:
    document = json.loads(document_of(post, path))
    document["class_prob"] = dict(post.class_prob)
    document["features"] = [[getattr(feature, name) for name in FIELDS] for feature in post.features]
    return json.dumps(document)


def _images(posts: Sequence[Posterior], path: Path) -> Iterator[fits.ImageHDU]:
    for key in STACKED:
        arrays = [array for post in posts if (array := getattr(post, key)) is not None and array.size]
        if not arrays:
            continue
        try:
            rows = np.concatenate([array.reshape(-1, array.shape[-1]) for array in arrays])
            wide = rows.astype(WIDER.get(rows.dtype.name, rows.dtype.name))
            yield fits.ImageHDU(wide, name=key.upper())
        except (KeyError, TypeError, ValueError):
            raise OutputError(f"{path}: {key}: expected arrays of real numbers, all of one width") from None


def _classes(posts: Sequence[Posterior]) -> Iterator[fits.ImageHDU]:
    if posts[0].class_prob:
        hdu = fits.ImageHDU(np.array([list(post.class_prob.values()) for post in posts]), name="CLASS_PROB")
        for number, name in enumerate(posts[0].class_prob, 1):
            hdu.header[f"CLASS{number}"] = (ascii_text(name), f"class of column {number}")
        yield hdu


def _restore(documents: Sequence[dict], images: dict[str, NDArray]) -> Iterator[Posterior]:
    """Posteriors in order, each taking its own rows off the images."""
    taken = dict.fromkeys(STACKED, 0)
    for document in documents:
        arrays = {}
        for key, (dtype, shape) in document["arrays"].items():
            if key == SHARED:
                arrays[key] = images[key].astype(dtype)
                continue
            rows = prod(shape[:-1]) if prod(shape) else 0
            own = images[key][taken[key] : taken[key] + rows] if rows else np.zeros(0)
            taken[key] += rows
            arrays[key] = own.astype(dtype).reshape(shape)
        yield Posterior(
            **arrays,
            **{key: document[key] for key in TEXTS},
            class_prob=document["class_prob"],
            flags=frozenset(document["flags"]),
            features=tuple(Feature(**dict(zip(FIELDS, values, strict=True))) for values in document["features"]),
            meta=document["meta"],
        )
