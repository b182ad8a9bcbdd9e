"""Laws of the null test: the fit finds noiseless stars and scatters as its bound says; regressors learn; ratios are ratios."""

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from baselines import null_test
from baselines.bootstrap import scatter
from baselines.figures.label_errors import label_errors
from baselines.label_fit import FREE, LABELS, LabelFit
from baselines.label_regressor import LabelRegressor
from baselines.null_tables import Row, error_tables, ratio_table
from baselines.null_test import labels_of
from bayesden.errors import InputError
from bayesden.evaluate.efficiency import jacobian
from bayesden.simulation.simulator import Simulation, Simulator
from tests.baselines.conftest import star_grid
from tests.simulation.conftest import plain_instrument


@pytest.fixture(scope="module")
def fit() -> LabelFit:
    return LabelFit(Simulator(star_grid(mode="multilinear"), plain_instrument(exposures=1), seed=3, normalize=False))


@pytest.fixture(scope="module")
def stars(fit: LabelFit) -> Simulation:
    return fit.simulator.observe(torch.arange(32))


def test_the_fit_finds_noiseless_stars(fit: LabelFit, stars: Simulation):
    clean = stars.clean.double().numpy()
    found = fit(clean, stars.ivar[:, 0].double().numpy()) - labels_of(stars)
    assert (np.median(np.abs(found), axis=0) < (0.1, 0.002, 0.002, 0.02)).all()


def test_the_fit_scatters_as_the_fisher_matrix_says(fit: LabelFit, stars: Simulation):
    columns = [fit.simulator.parameters.index(name) for name in FREE]
    table = torch.tensor([list(row)[: len(fit.simulator.parameters)] for row in stars.parameters], dtype=torch.double)
    slope = jacobian(fit.simulator.noiseless, table, columns) / stars.sigma[:, 0, :, None]
    expected = torch.linalg.inv(slope.mT @ slope).diagonal(dim1=1, dim2=2).sqrt()[:, [0, 1, 2, 4]].numpy()
    expected[:, 3] *= 299792.458
    found = fit(stars.flux[:, 0].double().numpy(), stars.ivar[:, 0].double().numpy()) - labels_of(stars)
    ratio = np.median(np.abs(found) / expected, axis=0) / 0.6745
    assert (ratio[1:] > 0.5).all() and (ratio < 1.6).all()  # temperature looks like dust here, and ends at the limits


def test_masked_pixels_do_not_matter(fit: LabelFit, stars: Simulation):
    flux, ivar = (x[:2, 0].double().numpy().copy() for x in (stars.flux, stars.ivar))
    ivar[:, 50:70] = 0.0
    plain = fit(flux, ivar)
    flux[:, 50:70] = 1e6
    np.testing.assert_allclose(fit(flux, ivar), plain, rtol=1e-6)


def test_the_regressor_reads_where_a_line_is(tmp_path):
    rng = np.random.default_rng(0)
    place, pixel = rng.uniform(40, 88, (400, 1)), np.arange(128)
    flux = 5.0 * (1 - 0.5 * np.exp(-0.5 * ((pixel - place) / 3) ** 2) + 0.02 * rng.normal(size=(400, 128)))
    regressor = LabelRegressor.fit(flux[:300], place[:300], tmp_path / "line")
    assert np.std(regressor(flux[300:]) - place[300:]) < 0.2 * np.std(place)
    np.testing.assert_allclose(regressor(1e-3 * flux[300:]), regressor(flux[300:]), rtol=1e-4)  # no unit matters


def rows(way: str, source: str, factor: float) -> list[Row]:
    errors = np.random.default_rng(0).normal(size=(40, len(LABELS)))
    return [Row(way, source, i, 3.0 + i, *(factor * e).tolist()) for i, e in enumerate(errors)]


def test_tables_have_scatter_bias_and_ratio_of_the_same_stars(tmp_path):
    found = rows("fit", "noisy", 1.0) + rows("fit", "unet", 3.0)
    lines = error_tables(found, scatter)
    assert len(lines) == 4 * 5 - 1 and lines[0].startswith("| teff_K: way | from | S/N 0 to 5 | S/N 5 to 10 |")
    ratios = ratio_table(found)
    assert ratios[2] == "| fit | noisy | " + " | ".join(["1.00 [1.00, 1.00]"] * 4) + " |"
    assert ratios[3] == "| fit | unet | " + " | ".join(["3.00 [3.00, 3.00]"] * 4) + " |"
    label_errors(found, tmp_path / "null.png")
    assert (tmp_path / "null.png").stat().st_size > 10_000


def test_stars_on_lines_between_the_grids_values_are_refused(stars: Simulation, monkeypatch):
    on_lines = stars.parameters.copy()
    on_lines["axis"] = 0
    monkeypatch.setattr(null_test, "read_simulation", lambda path, stop: replace(stars, parameters=on_lines))
    with pytest.raises(InputError, match=r"^a\.h5: expected stars of `bayesden simulate --mode multilinear`, got some"):
        null_test.run(SimpleNamespace(simulation=["a.h5", "b.h5", "c.h5"], stars=None))
