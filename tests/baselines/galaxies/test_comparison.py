from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest

from baselines.galaxies.comparison import Condition, Denoised, compare, one_galaxy, run
from baselines.galaxies.figures import write_figures
from baselines.galaxies.rows import Row, read_rows
from baselines.galaxies.tables import rms_table, share_table, window_table, write_tables
from baselines.tidy import write_rows
from bayesden.errors import InputError

CONDITIONS = (Condition("smooth", 5.0, 12, fitted=False),)


def coadd(observations):
    return Denoised(np.array([o.flux[0] for o in observations]))


def slope(observations):
    return Denoised(np.tile(np.linspace(0.9, 1.1, observations[0].flux.shape[1]), (len(observations), 1)))


@pytest.fixture(scope="module")
def rows(bed):
    from baselines.galaxies import comparison

    whole, comparison.PRIOR_DRAWS = comparison.PRIOR_DRAWS, 2000
    try:
        return compare(bed, {"noisy": coadd, "slope": slope}, conditions=CONDITIONS, report=lambda text: None)
    finally:
        comparison.PRIOR_DRAWS = whole


def test_nobody_beats_the_bound(rows):
    mean = {m: np.mean([r.reduction for r in rows if r.method == m]) for m in ("noisy", "slope", "bound")}
    assert mean["noisy"] == 0 and mean["slope"] < mean["bound"] and mean["bound"] > 90


def test_rows_come_back_and_are_not_made_again(rows, bed, tmp_path):
    path = tmp_path / "b4.csv"
    write_rows(Row, rows, path)
    back = read_rows(path)
    assert [r.method for r in back] == [r.method for r in rows]
    np.testing.assert_allclose([r.reduction for r in back], [r.reduction for r in rows], rtol=1e-4)
    assert compare(bed, {"noisy": coadd, "slope": None}, conditions=CONDITIONS, done=back) == back
    path.write_text("method,age\n")
    with pytest.raises(InputError, match="expected a tidy table of test bed B4"):
        read_rows(path)


def test_tables_have_a_row_for_each_method_the_bound_last(rows, tmp_path):
    for lines in (share_table(rows), window_table(rows)):
        assert len(lines) == 5 and "bound" in lines[-1]
    fitted = [replace(r, age=r.true_age + 0.3, metallicity=r.true_metallicity - 0.1) for r in rows]
    lines = rms_table(fitted)
    assert lines[2].startswith("| smooth, S/N 5 | noisy | 12 | 0.300 [0.300, 0.300] | 0.100 [0.100, 0.100] | +0.300")
    write_tables(fitted, tmp_path)
    assert {p.name for p in tmp_path.iterdir()} == {"ages.md", "residuals.md", "lines.md"}


def test_figures_show_one_galaxy_at_each_snr(rows, bed, tmp_path):
    shown = one_galaxy(bed, {"noisy": coadd, "slope": slope})
    assert [each.snr for each in shown] == [5.0, 10.0, 20.0]
    assert all(set(each.denoised) == {"slope"} for each in shown)
    for each in shown[1:]:  # the same galaxy, with less noise
        np.testing.assert_array_equal(each.truth, shown[0].truth)
        assert (each.noisy - each.truth).std() < 0.8 * (shown[0].noisy - shown[0].truth).std()
    write_figures(rows, shown, tmp_path)
    assert {p.name for p in tmp_path.iterdir()} == {"spectra.png", "windows.png", "residuals.png", "ages.png"}


def test_a_library_is_asked_for(tmp_path):
    with pytest.raises(InputError, match="expected --library"):
        run(SimpleNamespace(library=None), tmp_path)
