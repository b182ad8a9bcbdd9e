"""A pickle in the clothes of any file that the program reads is refused, and never opened."""

import io
import pickle
from pathlib import Path

import numpy as np
import pytest
import torch

import bayesden as bd
from bayesden.errors import BayesdenError
from bayesden.io.bosz import parse_bosz, read_bosz_spectrum
from bayesden.io.etc_table import read_etc
from bayesden.model.checkpoint import load_part, read_header
from bayesden.simulation.grids.template_files import read_templates
from bayesden.spectrum import Grid
from bayesden.train.library import load_library


class Bomb:
    """Leaves a trace when it is unpickled."""

    exploded = False

    def __reduce__(self) -> tuple:
        return explode, ()


def explode() -> str:
    Bomb.exploded = True
    return "boom"


def arrays() -> bytes:
    """An npz file whose arrays, whatever their names, are pickled objects."""
    content = io.BytesIO()
    bombs = np.empty(3, object)
    bombs[:] = [Bomb(), Bomb(), Bomb()]
    names = (
        "wavelength",
        "flux",
        "label",
        "name",
        "classes",
        "loglam",
        "eigenspectra",
        "seeing_arcsec",
        "basis_A",
        "coeff_A",
    )
    np.savez(content, **dict.fromkeys(names, bombs))
    return content.getvalue()


def module() -> bytes:
    content = io.BytesIO()
    torch.save({"weight": Bomb()}, content)
    return content.getvalue()


def alone() -> bytes:
    content = io.BytesIO()
    np.save(content, np.array([Bomb()], object), allow_pickle=True)
    return content.getvalue()


DISGUISES = {"pickle": lambda: pickle.dumps(Bomb()), "torch": module, "npz": arrays, "npy": alone}
READERS = {
    "spectrum": ("spec-1-2-3.fits", bd.read),
    "result": ("result.fits", bd.read_posterior),
    "model": ("model.safetensors", bd.load_model),
    "header": ("model.safetensors", read_header),
    "part": ("noise.safetensors", lambda path: load_part("noise", path)),
    "library": ("library.npz", load_library),
    "templates": ("pyhammer.npz", lambda path: read_templates(path.parent, Grid.uniform())),
    "exposure-time calculator": ("etc.npz", read_etc),
    "BOSZ": (
        "amm13cp00op00t3500g45v20modrt0b50000rs.fits",
        lambda path: read_bosz_spectrum(parse_bosz(path), 5e3, 6e3),
    ),
}


def test_the_disguises_are_dangerous():
    for name in ("pickle", "torch", "npy", "npz"):
        Bomb.exploded = False
        content = io.BytesIO(DISGUISES[name]())
        if name == "pickle":
            pickle.load(content)
        elif name == "torch":
            torch.load(content, weights_only=False)
        elif name == "npy":
            np.load(content, allow_pickle=True)
        else:
            np.load(content, allow_pickle=True)["flux"]
        assert Bomb.exploded, name


@pytest.mark.parametrize("disguise", DISGUISES)
@pytest.mark.parametrize("reader", READERS)
def test_no_reader_opens_a_pickle(tmp_path: Path, reader, disguise):
    Bomb.exploded = False
    name, read = READERS[reader]
    path = tmp_path / name
    path.write_bytes(DISGUISES[disguise]())
    with pytest.raises(BayesdenError) as caught:
        read(path)
    assert not Bomb.exploded
    assert name in str(caught.value) or str(tmp_path) in str(caught.value)
    assert "\n" not in str(caught.value)
