"""Laws of the comparison: whose spectra it scores, and its score."""

import numpy as np
import pytest

from baselines.compare import compare
from baselines.conditions import CONDITIONS, Condition, Row
from baselines.tables import score
from bayesden.spectrum import Grid, Observation
from bayesden.train.library import Library
from bayesden.train.noise import residuals
from bayesden.train.sources import split_of


def row(method: str, loss: float, **place: object) -> Row:
    return Row(**{"method": method, "snr": 10.0, "exposures": 1, "gap": "none", "width": 0} | place, loss=loss)


def test_the_score_is_the_mean_over_cells_of_log_medians() -> None:
    rows = [row("m", x, spectral_class="A", name="s") for x in (1e-4, 1e-2, 1e-1)]
    rows += [row("m", 1e-4, spectral_class="B", name="s"), row("m", 1e-3, spectral_class="A", name="s", snr=20.0)]
    rows += [row("other", 1.0, spectral_class="A", name="s")]
    assert score(rows) == pytest.approx({"m": -(2 + 4 + 3) / 3, "other": 0.0})


def test_a_choice_is_about_two_ratios_and_three_gaps() -> None:
    assert set(CONDITIONS["choice"]) < set(CONDITIONS["all"])
    assert [str(c) for c in CONDITIONS["choice"]] == ["S/N 10, E = 1", "S/N 20, E = 1"] + [
        f"S/N 15, E = 1, 800 px missing ({where})" for where in ("blue", "middle", "red")
    ]


@pytest.mark.parametrize("split", ["validation", "test"])
def test_the_spectra_are_those_of_the_split(split: str) -> None:
    grid, rng = Grid.uniform(size=64), np.random.default_rng(0)
    names = np.array([f"star-{i}" for i in range(120)])
    library = Library(grid, np.ones((120, 64), np.float32), np.arange(120) % 2, names, classes=("A", "M"))
    flux, ivar = 1 + 0.1 * rng.normal(size=(4, 64)), np.full((4, 64), 100.0)
    noise = residuals(Observation(grid.wavelength, flux, ivar, name="noise"))
    table = {"coadd": lambda observations: np.array([o.coadd() for o in observations]).swapaxes(0, 1)}
    conditions = (Condition(10.0), Condition(20.0))
    rows = compare(library, noise, table, split=split, conditions=conditions, per_class=5, report=lambda line: None)
    assert len(rows) == 2 * 2 * 5 and {split_of(r.name.split()[0]) for r in rows} == {split}
    assert np.mean([r.loss for r in rows if r.snr == 10]) > 3 * np.mean([r.loss for r in rows if r.snr == 20])


def test_the_shares_within_the_intervals_are_those_of_the_error_bars() -> None:
    """Right error bars hold their share; halved ones do not (control)."""
    grid = Grid.uniform(size=256)
    names = np.array([f"star-{i}" for i in range(60)])
    library = Library(grid, np.ones((60, 256), np.float32), np.zeros(60, int), names, classes=("A",))

    def coadd(observations, size=1.0):
        flux, ivar = np.array([o.coadd() for o in observations]).swapaxes(0, 1)
        return flux, size / np.sqrt(ivar)

    table = {"right": coadd, "halved": lambda observations: coadd(observations, 0.5)}
    options = {"split": "train", "conditions": [Condition(10.0)], "per_class": 20, "report": lambda line: None}
    rows = compare(library, None, table, **options)
    for name, expected in (("right", (0.5, 0.9)), ("halved", (0.264, 0.589))):
        found = np.mean([(r.within_50, r.within_90) for r in rows if r.method == name], 0)
        np.testing.assert_allclose(found, expected, atol=0.03)
