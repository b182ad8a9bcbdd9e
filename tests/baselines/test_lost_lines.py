"""Laws of the injected lines: who copies keeps them, who ignores loses them."""

import csv
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from baselines import compare, lost_lines
from baselines.lost_lines import kept, paper_lines
from bayesden.errors import InputError
from bayesden.train.library import Library


def test_who_copies_keeps_and_who_ignores_loses():
    rng = np.random.default_rng(0)
    line, flux = rng.normal(size=(3, 50)), rng.normal(size=(3, 50))
    np.testing.assert_allclose(kept(flux + line, flux, line), 1.0)
    np.testing.assert_allclose(kept(flux + 0.3 * line, flux, line), 0.3)
    np.testing.assert_allclose(kept(flux, flux, line), 0.0)


def test_the_lines_of_the_paper_are_where_it_has_them():
    wavelength = np.linspace(7100.0, 8850.0, 4096)
    redshift = np.array([0.0, 0.002])
    for name, line in paper_lines(wavelength, np.ones((2, 4096)), redshift).items():
        centre, depth = lost_lines.LINES_A[name]
        assert line.min() == pytest.approx(-depth, rel=0.02) and line.max() <= 0
        np.testing.assert_allclose(wavelength[line.argmin(1)], centre * (1 + redshift), atol=0.5)


def test_without_data_one_clear_line():
    for bed, message in (
        ("B1", "expected --library for test bed B1"),
        ("B3", "expected --simulation with three files"),
    ):
        with pytest.raises(InputError, match=message):
            lost_lines.run(SimpleNamespace(bed=bed, library=None, simulation=None))


def test_the_bed_of_lines_says_that_doing_nothing_keeps_them(library: Library, tmp_path: Path, capsys):
    library.save(tmp_path / "library.npz")
    given = {"library": str(tmp_path / "library.npz"), "noise": None, "split": "test", "per_class": 3, "seed": 0}
    given |= {"bed": "B5", "simulation": None, "model": [], "network": [], "out": str(tmp_path)}
    compare.run(SimpleNamespace(**given))
    with (tmp_path / "lines.csv").open() as file:
        rows = list(csv.DictReader(file))
    kept = {m: [float(r["kept"]) for r in rows if r["method"] == m] for m in ("coadd", "wiener")}
    np.testing.assert_allclose(kept["coadd"], 1.0)
    assert len(kept["wiener"]) == 6 and np.median(kept["wiener"]) < 0.9
    assert (tmp_path / "lines.md").read_text().splitlines()[2].startswith("| coadd | 100 [100, 100] |")
    assert "wrote" in capsys.readouterr().out
