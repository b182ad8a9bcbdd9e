"""The tables of formats.md are those of fresh files: every HDU, card, column, group, key and dataset."""

import json
import re
from dataclasses import fields
from pathlib import Path
from types import SimpleNamespace

import h5py
import numpy as np
import pytest
from astropy.io import fits
from safetensors import safe_open

import bayesden as bd
from bayesden.cli import main
from bayesden.io import write_posteriors
from bayesden.io.sdss import COLUMNS
from bayesden.io.sppixmask import BAD, SPPIXMASK
from bayesden.model.checkpoint import save_model, save_part
from bayesden.posterior import Feature
from bayesden.spectrum import Grid
from bayesden.train.library import Library

PAGE = (Path(__file__).resolve().parents[2] / "docs" / "reference" / "formats.md").read_text(encoding="utf-8")
FEATURE = Feature(6563.0, 1.0, 0.1, 10.0, 1e-9, 300.0, "emission", "Hα")


def table(section: str, first: str) -> list[str]:
    """The names in the first column of a section's table, given the heading of that column; `X_…` are prefixes."""
    text = re.search(rf"^## {re.escape(section)}\n(.*?)(?=^## |\Z)", PAGE, re.MULTILINE | re.DOTALL)[1]
    body = re.search(rf"^\| {first} \|[^\n]*\n\|[-|]+\n((?:\|[^\n]*\n)+)", text, re.MULTILINE)[1]
    return re.findall(r"^\| `([^`]+)`", body, re.MULTILINE)


def covers(names: list[str], found: list[str]) -> None:
    """Every name that was found is in the table, by itself or by a prefix."""
    prefixes = tuple(name.rstrip("…") for name in names if name.endswith("…"))
    assert [name for name in found if name not in names and not (prefixes and name.startswith(prefixes))] == []


def same(names: list[str], found: list[str]) -> None:
    """The table has these and no others."""
    covers(names, found)
    starts = [name.rstrip("…") for name in names]
    assert [name for name in starts if not any(other.startswith(name) for other in found)] == []


@pytest.fixture
def written(workplace: Path, beginning: SimpleNamespace) -> Path:
    """A result with everything that there can be in one."""
    from dataclasses import replace

    path = workplace / "full.fits"
    bd.write_posterior(replace(beginning.post, features=(FEATURE,), flags=frozenset({"FEATURE_NOT_IN_MODEL"})), path)
    return path


def test_result(written: Path) -> None:
    with fits.open(written) as hdus:
        same(table("Result FITS", "HDU"), [hdu.name for hdu in hdus])
        same(
            table("Result FITS", "card"),
            [card for card in hdus[0].header if card not in {"SIMPLE", "BITPIX", "NAXIS", "EXTEND"}],
        )
        same(table("Result FITS", "column"), hdus["FEATURES"].columns.names)
        for name in ("SPECTRUM", "CLASS_PROB", "META"):
            row = re.search(rf"^\| `{name}` \| table .*$", PAGE, re.MULTILINE)[0]
            assert all(f"`{column}`" in row for column in hdus[name].columns.names)
        assert [f"{hdus['QUANTILES'].header[f'Q{k}']:g}" for k in range(1, 6)] == [
            "0.05",
            "0.16",
            "0.5",
            "0.84",
            "0.95",
        ]
    assert table("Result FITS", "column") == [field.name for field in fields(Feature)]


def test_facts_are_there(beginning: SimpleNamespace) -> None:
    text = PAGE[PAGE.index("Useful keys") : PAGE.index("and of chains")]
    keys = set(re.findall(r"`([a-z_]+)`", text)) - {"post.meta"}
    assert keys <= set(beginning.post.meta), keys - set(beginning.post.meta)


def test_table_of_results(workplace: Path, beginning: SimpleNamespace) -> None:
    write_posteriors([beginning.post, beginning.post], workplace / "table.fits")
    with fits.open(workplace / "table.fits") as hdus:
        same(table("Table of results", "HDU"), [hdu.name for hdu in hdus])
        row = re.search(r"^\| `SPECTRA` .*$", PAGE, re.MULTILINE)[0]
        assert all(f"`{column}`" in row for column in hdus["SPECTRA"].columns.names)


def test_manifest(workplace: Path) -> None:
    parquet = pytest.importorskip("pyarrow.parquet")
    assert main(["denoise", "data/example-spec.fits", "--out", "night"]) == 0
    heads = [table("Manifest of a run", "column")]
    heads.append(
        re.findall(r"^\| `(\w+)`", PAGE[PAGE.index("`timing.parquet`") : PAGE.index("`manifest.jsonl`")], re.M)
    )
    for names, file in zip(heads, ("manifest.parquet", "timing.parquet"), strict=True):
        schema = parquet.read_schema(workplace / "night" / file)
        starts = [re.sub(r"_\w+$", "_…", name) if name in ("prob_O", "version_bayesden") else name for name in names]
        same(starts, schema.names)
        for name, kind in re.findall(r"^\| `(\w+)` \| (string|double|int32|int64) ", PAGE, re.MULTILINE):
            assert name not in schema.names or str(schema.field(name).type) == kind


def test_netcdf(workplace: Path, beginning: SimpleNamespace) -> None:
    xarray = pytest.importorskip("xarray")
    bd.write_netcdf(beginning.post, workplace / "chains.nc")
    with xarray.open_datatree(workplace / "chains.nc") as tree:
        same(table("netCDF of chains", "group"), list(tree.children))
        row = re.search(r"^\| `posterior` .*$", PAGE, re.MULTILINE)[0]
        assert set(tree["posterior"].data_vars) == set(re.findall(r"`(\w+)`", row)) - {"posterior"}


def test_model_file(workplace: Path, beginning: SimpleNamespace) -> None:
    save_model(beginning.model, workplace / "model.safetensors")
    save_part("noise", beginning.model.noise, workplace / "noise.safetensors")
    with safe_open(workplace / "model.safetensors", "pt") as file:
        header, tensors = json.loads(file.metadata()["bayesden"]), set(file.keys())
        assert list(file.metadata()) == ["bayesden"]
    same(table("Model file", "key"), list(header))
    assert {"discrepancy", "spread", "factors", "wavelength"} <= tensors
    with safe_open(workplace / "noise.safetensors", "pt") as file:
        assert set(json.loads(file.metadata()["bayesden"])) == {"format", "content", "noise", "card", "sha256"}


def test_library_file(workplace: Path) -> None:
    grid, n = Grid.uniform(size=8), 3
    names, labels = np.array(["a", "b", "c"]), np.zeros(n, int)
    Library(grid, np.ones((n, 8), np.float32), labels, names, {"ebv": np.zeros(n)}).save(workplace / "library.npz")
    with np.load(workplace / "library.npz", allow_pickle=False) as file:
        same(table("Library file", "array"), file.files)
        row = re.search(r"^\| `head` .*$", PAGE, re.MULTILINE)[0]
        assert all(f"`{key}`" in row for key in json.loads(str(file["head"])))


def test_simulation_file(workplace: Path) -> None:
    assert main(["simulate", "sdss", "-n", "2", "--grid", "generator", "--out", "sim.h5"]) == 0
    with h5py.File(workplace / "sim.h5") as file:
        same(table("Simulation file", "dataset"), list(file))
        assert list(file.attrs) == ["configuration"]


def test_spec_files() -> None:
    assert set(COLUMNS) < set(table("Spec files that are read", "column"))
    bits = re.findall(r"^\| (\d+) \| `(\w+)` \|$", PAGE, re.MULTILINE)
    assert {name: int(bit) for bit, name in bits} == {k: v for k, v in SPPIXMASK.items() if BAD & (1 << v)}


def test_what_is_missing_is_found() -> None:
    with pytest.raises(AssertionError):
        covers(["FLUX", "CHAIN_…"], ["FLUX", "SIGMA"])
    with pytest.raises(AssertionError):
        same(["FLUX", "CHAIN_…"], ["FLUX"])
