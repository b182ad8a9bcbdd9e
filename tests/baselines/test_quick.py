"""`python -m baselines compare --quick`, whole: what CI runs of the comparison."""

import csv
from pathlib import Path

import pytest

from baselines.__main__ import main


def test_the_quick_comparison_shows_that_all_of_it_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("sys.argv", ["baselines", "compare", "--quick", "--out", str(tmp_path)])
    assert main() == 0
    with (tmp_path / "b1.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert len({r["spectral_class"] for r in rows}) == 4 and len(rows) == 2 * 4 * 8  # two conditions, eight methods
    figures = {"examples", "losses", "snr", "low-snr", "gaps", "gap-examples", "gap-losses"}
    assert {p.stem for p in tmp_path.glob("*.png")} == figures
