"""Laws of the comparison: whose spectra it scores, and its score."""

from dataclasses import replace

import numpy as np
import pytest

from baselines.compare import compare
from baselines.conditions import CONDITIONS, Condition, Row
from baselines.methods import Method, coadd
from baselines.tables import score
from bayesden.errors import InputError
from bayesden.posterior import Posterior
from bayesden.spectrum import Grid, Observation
from bayesden.train.library import Library
from bayesden.train.noise import residuals
from bayesden.train.sources import split_of

SIZE = 512  # the windows of the lines want two pixels each


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
    grid, rng = Grid.uniform(size=SIZE), np.random.default_rng(0)
    names = np.array([f"star-{i}" for i in range(120)])
    library = Library(grid, np.ones((120, SIZE), np.float32), np.arange(120) % 2, names, classes=("A", "M"))
    flux, ivar = 1 + 0.1 * rng.normal(size=(4, SIZE)), np.full((4, SIZE), 100.0)
    noise = residuals(Observation(grid.wavelength, flux, ivar, name="noise"))
    options = {"split": split, "conditions": (Condition(10.0), Condition(20.0)), "report": lambda line: None}
    rows = compare(library, noise, {"coadd": Method(coadd)}, per_class=5, **options).rows
    assert len(rows) == 2 * 2 * 5 and {split_of(r.name.split()[0]) for r in rows} == {split}
    assert np.mean([r.loss for r in rows if r.snr == 10]) > 3 * np.mean([r.loss for r in rows if r.snr == 20])


def test_the_shares_within_the_intervals_are_those_of_the_error_bars() -> None:
    """Right error bars hold their share, of pixels and of equivalent widths; halved ones do not (control)."""
    grid = Grid.uniform(size=SIZE)
    names = np.array([f"star-{i}" for i in range(60)])
    library = Library(grid, np.ones((60, SIZE), np.float32), np.zeros(60, int), names, classes=("A",))

    def halved(observations: list[Observation]) -> list[Posterior]:
        return [replace(p, sigma=p.sigma / 2) for p in coadd(observations)]

    table = {"right": Method(coadd), "halved": Method(halved)}
    options = {"split": "train", "conditions": [Condition(10.0)], "per_class": 20, "report": lambda line: None}
    found = compare(library, None, table, **options)
    for name, pixels, widths in (("right", (0.5, 0.9), 0.68), ("halved", (0.264, 0.589), 0.38)):
        shares = np.mean([(r.within_50, r.within_90) for r in found.rows if r.method == name], 0)
        np.testing.assert_allclose(shares, pixels, atol=0.03)
        inside = [abs(w.found - w.truth) < w.sigma for w in found.widths if w.method == name]
        assert np.mean(inside) == pytest.approx(widths, abs=0.1)
    assert [r.der_snr for r in found.rows if r.method == "right"] == pytest.approx([10.0] * 20, rel=0.25)


def test_every_class_has_an_example_and_who_cannot_take_a_gap_sits_out() -> None:
    grid, said = Grid.uniform(size=SIZE), []
    names = np.array([f"star-{i}" for i in range(120)])
    library = Library(grid, np.ones((120, SIZE), np.float32), np.arange(120) % 2, names, classes=("A", "M"))

    def refuse(observations: list[Observation]) -> list[Posterior]:
        if any(o.mask.any() for o in observations):
            raise InputError("star: expected no gap")
        return coadd(observations)

    table = {"coadd": Method(coadd), "network": Method(refuse)}
    conditions = (Condition(10.0), Condition(10.0, 1, "red", 100))
    found = compare(library, None, table, conditions=conditions, per_class=2, report=said.append)
    assert [(e.spectral_class, set(e.denoised)) for e in found.examples] == [
        ("A", {"coadd", "network"}), ("M", {"coadd", "network"}), ("A", {"coadd"}), ("M", {"coadd"})
    ]  # fmt: skip
    assert sum("sits out: star: expected no gap" in line for line in said) == 1
