"""Laws of the injected lines: who copies keeps them, who ignores loses them."""

from types import SimpleNamespace

import numpy as np
import pytest

from baselines import lost_lines
from baselines.lost_lines import kept, paper_lines
from bayesden.errors import InputError


def test_who_copies_keeps_and_who_ignores_loses():
    rng = np.random.default_rng(0)
    line, flux = rng.normal(size=(3, 50)), rng.normal(size=(3, 50))
    np.testing.assert_allclose(kept(flux + line, flux, line), 1.0)
    np.testing.assert_allclose(kept(flux + 0.3 * line, flux, line), 0.3)
    np.testing.assert_allclose(kept(flux, flux, line), 0.0)


def test_the_lines_of_the_paper_are_where_it_has_them():
    wavelength = np.linspace(7100.0, 8850.0, 4096)
    for name, line in paper_lines(wavelength, np.ones((2, 4096))).items():
        centre, depth = lost_lines.LINES_A[name]
        assert line.min() == pytest.approx(-depth, rel=0.02) and line.max() <= 0
        assert wavelength[line[0].argmin()] == pytest.approx(centre, abs=0.5)


def test_without_data_one_clear_line():
    for bed, message in (
        ("B1", "expected --library for test bed B1"),
        ("B3", "expected --simulation with three files"),
    ):
        with pytest.raises(InputError, match=message):
            lost_lines.run(SimpleNamespace(bed=bed, library=None, simulation=None))
