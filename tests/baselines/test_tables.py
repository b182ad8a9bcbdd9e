"""Laws of the tables: intervals that cover, stars that count once, wins that are counted right; the whole command, small."""

import csv
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from baselines import compare
from baselines.conditions import Row
from baselines.methods import Method
from baselines.tables import cost_table, summary, win_table, wins
from bayesden.errors import InputError
from bayesden.train.library import Library


def rows(method: str, losses: list[float], spectral_class: str = "A", snr: float = 10.0) -> list[Row]:
    names = [f"star {i // 2} ({i})" for i in range(len(losses))]
    return [
        Row(method, snr, 1, "none", 0, spectral_class, n, x, seconds=0.1) for n, x in zip(names, losses, strict=True)
    ]


def test_wins_are_counted_by_spectrum_and_class():
    table = rows("ours", [1.0, 1.0, 1.0, 1.0]) + rows("theirs", [2.0, 2.0, 0.5, 2.0])
    table += rows("ours", [3.0], "M", 20.0) + rows("theirs", [1.0], "M", 20.0)
    found = wins(table, "ours")
    shares = {tuple(line[1:3]): line[3:5] for line in found[1:]}
    assert shares["S/N 10, E = 1", "A"] == shares["all", "A"] == [4, 0.75]
    assert shares["S/N 20, E = 1", "M"] == [1, 0.0] and shares["all", "all"] == [5, 0.6]
    lines = win_table([line for line in found if line[2] in ("all", "A", "class")])
    assert lines[0] == "| against | condition | all | A |"
    assert lines[2].startswith("| theirs | S/N 10, E = 1 | 75 [") and lines[2].endswith("| 75 |")


def test_the_summary_has_a_row_for_all_and_for_each_class():
    table = summary(rows("m", [1.0, 2.0, 3.0]) + rows("m", [5.0], "M"))
    assert table[0] == ["condition", "method", "class", "spectra", "median_loss", "low", "high"]
    assert [r[:5] for r in table[1:]] == [
        ["S/N 10, E = 1", "m", name, n, median] for name, n, median in (("all", 4, 2.5), ("A", 3, 2.0), ("M", 1, 5.0))
    ]


def test_the_cost_says_numbers_memory_and_speed():
    methods = {"m": Method(lambda o: o, 2_000_000, 12.0, "half the filters"), "none": Method(lambda o: o)}
    lines = cost_table(rows("m", [1.0]) + rows("none", [1.0]), methods)
    assert lines[2] == "| m | 2,000,000 | 8 | 12 | 10 | half the filters |"
    assert lines[3] == "| none | 0 | 0 | - | 10 |  |"


def arguments(folder: Path, **changes) -> SimpleNamespace:
    given = {"bed": "B1", "library": str(folder / "library.npz"), "noise": None, "split": "test", "per_class": 2}
    given |= {"model": [], "network": [], "simulation": None, "conditions": "plain", "quick": True, "seed": 0}
    return SimpleNamespace(**given | {"out": str(folder / "out"), "csv": None} | changes)


def test_the_command_writes_its_tables(library: Library, tmp_path: Path, monkeypatch, capsys):
    monkeypatch.setitem(compare.CONDITIONS, "quick", compare.CONDITIONS["plain"][:1])
    library.save(tmp_path / "library.npz")
    monkeypatch.setattr(compare, "QUICK_MODELS", ())
    compare.run(arguments(tmp_path))
    with (tmp_path / "out" / "b1.csv").open() as file:
        found = list(csv.DictReader(file))
    methods = ["coadd", "smoothing", "wavelet universal", "wavelet bayes", "empca", "wiener", "mppca"]
    assert [r["method"] for r in found[::2]] == methods and len(found) == 2 * len(methods)
    assert {p.name for p in (tmp_path / "out").iterdir()} == {
        "b1.csv", "b1.md", "coverage.md", "cost.md", "summary.csv", "widths.md", "widths.csv",
        "snr.png", "examples.png", "low-snr.png",
    }  # fmt: skip
    loss = {m: np.median([float(r["loss"]) for r in found if r["method"] == m]) for m in methods}
    assert max(loss["wiener"], loss["mppca"], loss["empca"]) < loss["coadd"]
    assert "mppca: mean log10 of the median loss" in capsys.readouterr().out


def test_without_a_library_or_simulations_one_clear_line(tmp_path: Path):
    with pytest.raises(InputError, match="expected --library or --quick, got neither"):
        compare.run(arguments(tmp_path, library=None, quick=False))
    with pytest.raises(InputError, match="expected --simulation with three files for test bed B3, got none"):
        compare.run(arguments(tmp_path, bed="B3"))
