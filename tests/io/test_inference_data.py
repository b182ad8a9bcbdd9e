"""Chains as ArviZ sees them: names, dimensions, files, and checks that can tell a wrong model from a right one."""

from dataclasses import replace

import arviz
import matplotlib as mpl
import numpy as np
import pytest
import xarray
from matplotlib import pyplot
from scipy.stats import kstest

from bayesden.chains import Chains
from bayesden.errors import InputError, OutputError
from bayesden.infer.denoise import denoise
from bayesden.io.inference_data import convergence, diagnose, labeller, loo_pit, to_inference_data, write_netcdf
from tests.twin import BLOCKS, THIN, WAVE, C, D, E, S, twin


@pytest.fixture(scope="module")
def post():
    return twin()


@pytest.fixture(scope="module")
def data(post):
    return to_inference_data(post)


def test_dimensions_and_coordinates_have_names(post, data):
    assert {"posterior", "sample_stats", "log_likelihood", "posterior_predictive", "observed_data"} <= set(
        data.groups()
    )
    assert dict(data.posterior.z.sizes) == {"chain": C, "draw": S, "latent": 2}
    assert data.posterior.calibration.dims == ("chain", "draw", "exposure", "term")
    assert data.posterior.flux.dims == ("chain", "draw", "wavelength")
    np.testing.assert_array_equal(data.posterior.flux.values.reshape(-1, D), post.draws)
    for group in (data.posterior, data.posterior_predictive, data.observed_data):
        np.testing.assert_array_equal(group.wavelength, WAVE)
    assert data.posterior.attrs["name"] == "twin" and data.posterior.attrs["classes"] == "A,G,M"


def test_thinned_groups_say_which_draws_they_are_of(data):
    for group in (data.posterior_predictive, data.log_likelihood):
        np.testing.assert_array_equal(group.draw, np.arange(0, S, THIN))


def test_masked_pixels_are_not_observed_and_their_blocks_have_no_likelihood(post, data):
    masked = post.data_ivar == 0
    np.testing.assert_array_equal(np.isnan(data.observed_data.y), masked)
    assert np.isnan(data.posterior_predictive.y.values[..., masked]).all()
    likelihood = data.log_likelihood
    assert likelihood.sizes["block"] == E * BLOCKS - 1  # one block was masked
    assert (1, WAVE[0]) not in set(zip(likelihood.exposure.values, likelihood.wavelength.values, strict=True))
    np.testing.assert_array_equal(likelihood.wavelength[:BLOCKS], WAVE[::64])
    np.testing.assert_allclose(likelihood.y.sum("block"), post.chains.log_likelihood.sum((2, 3)))


def test_a_file_brings_it_back(post, data, tmp_path):
    path = tmp_path / "out.nc"
    write_netcdf(post, path)
    again = arviz.from_netcdf(path)
    assert set(again.groups()) == set(data.groups())
    for group in data.groups():
        for name in data[group].data_vars:
            np.testing.assert_array_equal(again[group][name].values, data[group][name].values)
    assert again.posterior.attrs["method"] == "ensemble" and [p.name for p in tmp_path.iterdir()] == ["out.nc"]
    with pytest.raises(OutputError, match=r"out\.nc"):
        write_netcdf(post, path)


def test_xarray_alone_opens_a_file_with_its_units(post, tmp_path):
    write_netcdf(post, tmp_path / "out.nc")
    with xarray.open_datatree(tmp_path / "out.nc") as tree:
        chains = tree["posterior"]
        np.testing.assert_array_equal(chains["flux"].values.reshape(-1, D), post.draws)
        units = {name: chains[name].attrs.get("units") for name in ("wavelength", "flux", "velocity_kms", "z")}
        assert units == {"wavelength": "Angstrom", "flux": post.flux_unit, "velocity_kms": "km/s", "z": None}
        assert tree["observed_data"]["y"].attrs["units"] == post.flux_unit
        assert tree["log_likelihood"]["y"].attrs["units"] == "nat"
        window = chains["flux"].sel(wavelength=slice(WAVE[3], WAVE[9]))
        np.testing.assert_array_equal(window.wavelength, WAVE[3:10])


def test_the_summary_knows_every_number(data):
    table = arviz.summary(data, var_names=["z", "log_amplitude"], round_to="none")
    assert list(table.index) == ["z[0]", "z[1]", "log_amplitude"]
    np.testing.assert_allclose(table.loc["z[0]", "mean"], data.posterior.z[..., 0].mean())
    assert (table["r_hat"] < 1.02).all()


def test_leaving_out_prefers_the_right_noise(data):
    right, wrong = arviz.loo(data), arviz.loo(to_inference_data(twin(noise=3.0)))
    assert right.n_data_points == E * BLOCKS - 1
    assert right.elpd_loo > wrong.elpd_loo + 50
    assert (right.pareto_k < 0.7).all()


def test_left_out_pixels_are_uniform_if_the_model_is_right_and_only_then(post):
    pit = loo_pit(post)
    np.testing.assert_array_equal(np.isnan(pit), post.data_ivar == 0)
    seen = pit[np.isfinite(pit)]
    assert kstest(seen, "uniform").pvalue > 0.01
    for noise in (0.5, 2.0):
        wrong = loo_pit(twin(noise=noise))
        assert kstest(wrong[np.isfinite(wrong)], "uniform").pvalue < 1e-6
    shifted = loo_pit(replace(post, data_flux=post.data_flux + 0.1))
    assert kstest(shifted[np.isfinite(shifted)], "uniform").pvalue < 1e-6


def test_what_has_no_chains_is_said_in_one_line(tmp_path):
    point = twin(chains=None, method="map")
    with pytest.raises(InputError, match="twin: expected a posterior with chains, from a method that draws, got 'map'"):
        to_inference_data(point)
    with pytest.raises(InputError, match="twin: expected a posterior with chains"):
        write_netcdf(point, tmp_path / "out.nc")
    bare = replace(twin(), chains=Chains({"z": np.zeros((2, 5, 2))}))
    for lacking in (point, bare):
        with pytest.raises(InputError, match="twin: expected chains with predictions"):
            loo_pit(lacking)
    assert not list(tmp_path.iterdir())
    assert set(to_inference_data(replace(bare, draws=None)).groups()) == {"posterior", "observed_data"}


def test_chains_that_disagree_are_found():
    rng = np.random.default_rng(0)
    values = rng.normal(size=(4, 500, 2))
    values[2, :, 1] += 3
    found = convergence(values)
    assert found.r_hat[0] < 1.01 < 1.3 < found.r_hat[1]
    assert found.ess_bulk[0] > 1000 > 20 > found.ess_bulk[1]
    worst = diagnose(Chains({"z": values, "class_index": np.zeros((4, 500), int)}))
    assert worst[:2] == (found.r_hat.max(), found.ess_bulk.min()) and worst.divergences == 0
    assert diagnose(twin().chains).divergences == twin().chains.stats["diverging"].sum()


@pytest.mark.parametrize("values", [np.zeros((4, 100, 2)), np.zeros((1, 1, 2)), np.arange(6.0).reshape(2, 3, 1)])
def test_what_does_not_move_or_is_too_short_has_no_diagnostics(values):
    found = diagnose(Chains({"z": values}))
    assert np.isnan(found[:3]).all() and found.divergences == 0


def test_blocks_are_where_the_likelihood_put_them(toy_model, draw):
    model = toy_model(130)  # not a multiple of a block's pixels
    observation = draw(model, [1], exposures=2)[0]
    mask = np.zeros((2, 130), bool)
    mask[1, :50] = True
    observation = replace(observation, ivar=np.where(mask, 0.0, observation.ivar), mask=mask)
    post = denoise(observation, model, method="laplace", samples=20, chains=2)
    likelihood = to_inference_data(post).log_likelihood
    np.testing.assert_array_equal(likelihood.exposure, [0, 0, 0, 1, 1])
    np.testing.assert_array_equal(likelihood.wavelength, model.grid.wavelength[[0, 44, 88, 44, 88]])
    np.testing.assert_array_equal(np.isnan(loo_pit(post)), post.data_ivar == 0)


# ArviZ 0.23 calls Matplotlib as it was before 3.11; what it calls goes with 3.13.
@pytest.mark.filterwarnings("ignore:Passing a dict or None as alias_mapping")
def test_arviz_draws_its_own_figures_with_sensible_labels(data):
    mpl.use("Agg")
    axes = arviz.plot_trace(data, var_names=["z", "log_amplitude"], compact=False)
    assert [ax.get_title() for ax in axes[:, 0]] == ["z\n0", "z\n1", "log_amplitude"]
    axes = arviz.plot_pair(data, var_names=["z", "log_amplitude"], divergences=True)
    assert {ax.get_xlabel() for ax in np.ravel(axes) if ax is not None} >= {"z\n0", "z\n1"}
    pyplot.close("all")


def test_plots_of_arviz_have_labels_with_units():
    data = to_inference_data(twin())
    panels = arviz.plot_forest(data, var_names=["log_amplitude"], labeller=labeller(), combined=True)
    pyplot.close("all")
    assert [text.get_text() for text in panels[0].get_yticklabels()] == ["ln amplitude"]
