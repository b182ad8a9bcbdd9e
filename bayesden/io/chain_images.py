"""Chains as images of a result file: `CHAIN_` and the name of a parameter, `STAT_` and that of a statistic, and two more."""

from collections.abc import Iterator

import numpy as np
from astropy.io import fits
from numpy.typing import NDArray

from ..chains import Chains

__all__ = ["WIDER", "chain_images", "describe_chains", "restore_chains", "restore_image"]

WIDER = {"float16": "float32", "bool": "uint8"}  # FITS has no such images
LOOSE = ("log_likelihood", "predictive")


def _arrays(chains: Chains) -> dict[str, NDArray]:
    """All arrays by the name of their HDU."""
    named = {f"chain_{name}": values for name, values in chains.parameters.items()}
    named |= {f"stat_{name}": values for name, values in chains.stats.items()}
    return named | {name: values for name in LOOSE if (values := getattr(chains, name)) is not None}


def chain_images(chains: Chains) -> Iterator[fits.ImageHDU]:
    """One image for each array that is not empty."""
    for name, values in _arrays(chains).items():
        if values.size:
            yield fits.ImageHDU(values.astype(WIDER.get(values.dtype.name, values.dtype.name)), name=name.upper())


def describe_chains(chains: Chains) -> dict:
    """What the images do not say: types, shapes and names in their own letters."""
    arrays = {name: (values.dtype.name, values.shape) for name, values in _arrays(chains).items()}
    return {"thin": chains.thin, "independent": chains.independent, "arrays": arrays}


def restore_chains(hdus: fits.HDUList, document: dict) -> Chains:
    """The chains of a result file, from what `describe_chains` said."""
    arrays = {name: restore_image(hdus, name, *kind) for name, kind in document["arrays"].items()}
    parts = {
        prefix: {name.removeprefix(prefix): v for name, v in arrays.items() if name.startswith(prefix)}
        for prefix in ("chain_", "stat_")
    }
    loose = {name: arrays.get(name) for name in LOOSE}
    facts = {"thin": document["thin"], "independent": document["independent"]}
    return Chains(parts["chain_"], parts["stat_"], **loose, **facts)


def restore_image(hdus: fits.HDUList, name: str, dtype: str, shape: list[int]) -> NDArray:
    """An array with its type and shape."""
    if 0 in shape:
        return np.zeros(shape, dtype)
    return np.asarray(hdus[name.upper()].data).astype(dtype).reshape(shape)
