"""Laws of the resampling: conservation, exact variances, and no imputation."""

import numpy as np
import pytest

from bayesden.errors import InputError
from bayesden.io import resample
from bayesden.io.resample import overlap_matrix, resample_arrays, resampling_correlation
from bayesden.spectrum import ARM_BLUE, ARM_RED, Grid, Observation

NATIVE = Grid(10.0 ** np.arange(3.58, 3.97, 1e-4))
GRIDS = {
    "coarser": Grid.uniform(4000, 9000, 700),
    "as fine": Grid.uniform(4000, 9000, 2048),
    "finer": Grid.uniform(4000, 9000, 9000),
    "shifted": Grid(NATIVE.wavelength[10:-10] + 0.3),
    "logarithmic": Grid(10.0 ** np.linspace(3.6, 3.95, 1234)),
}
every_grid = pytest.mark.parametrize("grid", GRIDS.values(), ids=GRIDS)


def observed(rng, exposures=2):
    shape = (exposures, NATIVE.size)
    return rng.normal(10, 3, shape), rng.uniform(0.5, 4, shape), np.zeros(shape, bool)


@every_grid
def test_a_constant_stays_constant(grid):
    flux = np.full((1, NATIVE.size), 7.25)
    out, ivar, mask = resample_arrays(NATIVE, flux, np.ones_like(flux), flux < 0, grid)
    assert not mask.any()
    assert (ivar > 0).all()
    np.testing.assert_allclose(out, 7.25, rtol=1e-13)


@every_grid
def test_the_integral_is_conserved(grid):
    flux, ivar, mask = observed(np.random.default_rng(1))
    out, _, _ = resample_arrays(NATIVE, flux, ivar, mask, grid)
    cumulative = np.concatenate([[0.0], np.cumsum(flux[0] * np.diff(NATIVE.edges))])
    expected = np.diff(np.interp(grid.edges[[0, -1]], NATIVE.edges, cumulative))[0]
    assert np.isclose((out[0] * np.diff(grid.edges)).sum(), expected, rtol=1e-12)


@every_grid
def test_mean_and_variance_are_those_of_an_explicit_matrix(grid):
    """The twin: overlaps of all pairs of bins, dense."""
    flux, ivar, mask = observed(np.random.default_rng(2))
    low = np.maximum(grid.edges[:-1, None], NATIVE.edges[None, :-1])
    high = np.minimum(grid.edges[1:, None], NATIVE.edges[None, 1:])
    weight = np.clip(high - low, 0, None)
    weight /= weight.sum(1, keepdims=True)
    out, out_ivar, _ = resample_arrays(NATIVE, flux, ivar, mask, grid)
    np.testing.assert_allclose(out, flux @ weight.T, rtol=1e-9)
    diagonal = np.einsum("dn,en,dn->ed", weight, 1 / ivar, weight)  # of W diag(1/ivar) W'
    np.testing.assert_allclose(1 / out_ivar, diagonal, rtol=1e-7)


def test_the_propagated_variance_is_the_scatter():
    rng = np.random.default_rng(3)
    grid = Grid.uniform(5000, 5400, 100)
    shape = (2000, NATIVE.size)
    noise = rng.standard_normal(shape) * 0.5
    out, ivar, _ = resample_arrays(NATIVE, noise, np.full(shape, 4.0), np.zeros(shape, bool), grid)
    assert np.allclose((out * np.sqrt(ivar)).std(0), 1.0, atol=0.08)  # 1/sqrt(2 n) = 0.016
    interpolated = np.array([np.interp(grid.wavelength, NATIVE.wavelength, row) for row in noise[:500]])
    assert not np.allclose((interpolated * np.sqrt(ivar[:500])).std(0), 1.0, atol=0.2)  # what this avoids


def test_the_same_grid_gives_the_same_bits():
    flux, ivar, mask = observed(np.random.default_rng(4))
    out, out_ivar, out_mask = resample_arrays(NATIVE, flux, ivar, mask, Grid(NATIVE.wavelength))
    assert (out == flux).all()
    assert (out_ivar == ivar).all()
    assert not out_mask.any()


@every_grid
@pytest.mark.parametrize("value", [1e30, np.nan, np.inf, -np.inf])
def test_bad_values_touch_no_good_pixel_by_a_bit(grid, value):
    rng = np.random.default_rng(5)
    flux, ivar, mask = observed(rng)
    bad = rng.random(flux.shape) < 0.02
    spoilt, zeroed = np.where(bad, value, flux), np.where(bad, 0.0, ivar)
    results = [
        resample_arrays(NATIVE, flux, ivar, mask | bad, grid),
        resample_arrays(NATIVE, spoilt, ivar, mask | bad, grid),
        resample_arrays(NATIVE, spoilt, zeroed, mask, grid),
    ]
    for other in results[1:]:
        for one, two in zip(results[0], other, strict=True):
            assert (one == two).all()
    clean = resample_arrays(NATIVE, flux, ivar, mask, grid)
    good = ~results[0][2]
    assert good.any(1).all()
    np.testing.assert_array_equal(results[0][0][good], clean[0][good])
    np.testing.assert_array_equal(results[0][1][good], clean[1][good])


def test_a_pixel_is_masked_exactly_where_a_bad_one_touches_it():
    grid = Grid.uniform(4000, 9000, 2048)
    flux, ivar, mask = observed(np.random.default_rng(6), exposures=1)
    mask[0, 1500] = True
    low, high = NATIVE.edges[[1500, 1501]]
    touched = (grid.edges[1:] > low) & (grid.edges[:-1] < high)
    _, _, out = resample_arrays(NATIVE, flux, ivar, mask, grid)
    np.testing.assert_array_equal(out[0], touched)
    assert 1 <= touched.sum() <= 3


def test_what_the_data_do_not_cover_is_masked():
    grid = Grid.uniform(3000, 12000, 1000)
    flux, ivar, mask = observed(np.random.default_rng(7), exposures=1)
    out, out_ivar, out_mask = resample_arrays(NATIVE, flux, ivar, mask, grid)
    covered = (grid.edges[:-1] >= NATIVE.edges[0]) & (grid.edges[1:] <= NATIVE.edges[-1])
    np.testing.assert_array_equal(~out_mask[0], covered)
    assert (out[out_mask] == 0).all()
    assert (out_ivar[out_mask] == 0).all()
    away = Grid.uniform(100, 200, 10)
    assert overlap_matrix(NATIVE, away).nnz == 0
    assert resample_arrays(NATIVE, flux, ivar, mask, away)[2].all()


def test_a_users_arrays_keep_their_provenance():
    arm = np.where(NATIVE.wavelength < 6000, ARM_BLUE, ARM_RED)[None]
    obs = Observation(NATIVE.wavelength, np.ones((1, NATIVE.size)), np.ones((1, NATIVE.size)), arm=arm, name="mine")
    out = resample(obs, Grid.uniform())
    far = np.abs(out.wavelength - 6000) > 5
    assert out.name == "mine"
    np.testing.assert_array_equal(out.arm[0][far], np.where(out.wavelength < 6000, ARM_BLUE, ARM_RED)[far])
    assert out.arm[0].max() == (ARM_BLUE | ARM_RED)
    assert (resample(out, out.grid).flux == out.flux).all()
    with pytest.raises(InputError, match="mine: expected wavelengths within"):
        resample(obs, Grid.uniform(100, 200, 20))


@every_grid
def test_correlation_is_that_of_an_explicit_covariance(grid):
    """The twin: the whole covariance matrix, dense."""
    flux, ivar, mask = observed(np.random.default_rng(5))
    mask[1, 2000:2003] = True
    _, out_ivar, out_mask = resample_arrays(NATIVE, flux, ivar, mask, grid)
    found = resampling_correlation(NATIVE, ivar, mask, grid, out_ivar)
    share = overlap_matrix(NATIVE, grid).toarray()[:800]
    for e in range(2):
        covariance = (share / ivar[e]) @ share.T
        sigma = np.sqrt(np.diag(covariance))
        neighbour = np.diag(covariance / np.outer(sigma, sigma), -1)
        known = ~out_mask[e, 1 : len(share)] & ~out_mask[e, : len(share) - 1]
        np.testing.assert_allclose(found[e, 1 : len(share)][known], neighbour[known], atol=1e-6)
        assert (found[e, 1 : len(share)][~known] == 0).all()
    assert (found[:, 0] == 0).all()


def test_correlation_is_that_of_resampled_white_noise():
    rng, grid = np.random.default_rng(6), Grid.uniform(4000, 9000, 2048)
    noise = rng.normal(size=(3000, NATIVE.size))
    out, ivar, _ = resample_arrays(NATIVE, noise, np.ones_like(noise), np.zeros(noise.shape, bool), grid)
    white = out * np.sqrt(ivar)
    expected = resampling_correlation(
        NATIVE, np.ones((1, NATIVE.size)), np.zeros((1, NATIVE.size), bool), grid, ivar[:1]
    )
    error = (white[:, 1:] * white[:, :-1]).mean(0) - expected[0, 1:]
    assert np.abs(error).max() < 0.1 and np.std(error) < 0.02
    assert expected[0, 1:100].mean() < expected[0, -100:].mean()  # native pixels are uniform in log wavelength
    assert expected.max() < 1 / 2


def test_resampling_an_observation_carries_sky_and_correlation_on():
    shape = (2, NATIVE.size)
    sky = np.broadcast_to(NATIVE.wavelength / 1000, shape)
    obs = Observation(NATIVE.wavelength, np.ones(shape), np.ones(shape), sky=sky)
    assert obs.correlation is None
    new = resample(obs, GRIDS["as fine"])
    np.testing.assert_allclose(new.sky, np.broadcast_to(new.wavelength / 1000, new.sky.shape), rtol=1e-4)
    assert (new.correlation[:, 1:] > 0).mean() > 0.9
    one = new.select([1])
    assert one.sky.shape == one.correlation.shape == (1, 2048)
    assert (resample(obs, NATIVE).correlation == 0).all()
    with pytest.raises(InputError, match="sky: expected the shape of flux"):
        Observation(NATIVE.wavelength, np.ones(shape), np.ones(shape), sky=sky[:, 1:])
