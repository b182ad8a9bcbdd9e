"""Weights come back as they were saved or not at all; a network denoises any unit, and refuses what it cannot take."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from baselines.methods import networks
from baselines.network_denoiser import NetworkDenoiser
from baselines.networks import build_network
from baselines.preparation import Unit
from baselines.weights import Weights, load_weights, save_weights
from bayesden.errors import InputError, ModelError
from bayesden.spectrum import Grid, Observation

SIZE, SHAPE = 128, {"latent_dim": 4, "channels": (4, 8)}
GRID = Grid.uniform(size=SIZE)


def weights(**changes) -> Weights:
    torch.manual_seed(0)
    network = build_network("conv_dae", SIZE, SHAPE).eval()
    facts = {"seconds": 1.0, "remark": ""}
    return replace(Weights(network, "budget", SHAPE, GRID, "sdss", Unit(), False, facts), **changes)


def observation(unit: float = 1.0, gap: slice = slice(0), **changes) -> Observation:
    rng = np.random.default_rng(0)
    flux, mask = 1 + 0.1 * rng.normal(size=(2, SIZE)), np.zeros((2, SIZE), bool)
    mask[:, gap] = True
    given = {"wavelength": GRID.wavelength, "flux": unit * flux, "ivar": np.full(flux.shape, 100 / unit**2)}
    return Observation(**given | {"mask": mask, "name": "star"} | changes)


def test_weights_come_back_as_they_were(tmp_path: Path):
    saved = weights(training={"seconds": 2.0, "remark": "as told", "epochs": 3})
    save_weights(saved, tmp_path / "w.safetensors")
    found = load_weights(tmp_path / "w.safetensors")
    assert (found.name, found.unit, found.grid, dict(found.training)) == (
        "conv_dae budget", saved.unit, saved.grid, dict(saved.training)
    )  # fmt: skip
    flux = torch.randn(2, SIZE)
    assert torch.equal(found.network(flux), saved.network(flux))
    assert not found.network.training


def test_what_is_no_such_network_is_one_clear_line(tmp_path: Path):
    path = tmp_path / "w.safetensors"
    with pytest.raises(InputError, match="expected a trained network, found nothing"):
        load_weights(path)
    save_weights(weights(), path)
    with pytest.raises(ModelError, match="expected weights of the network unet, got those of conv_dae"):
        load_weights(path, kind="unet")
    with pytest.raises(ModelError, match="expected weights of the instrument pfs-mr, got those of sdss"):
        load_weights(path, instrument="pfs-mr")
    save_weights(weights(shape={"latent_dim": 5, "channels": (4, 8)}), path)
    with pytest.raises(ModelError, match="expected the weights of a conv_dae, got others"):
        load_weights(path)
    save_weights(weights(), path)
    save_file(load_file(path), tmp_path / "bare.safetensors")
    with pytest.raises(ModelError, match="expected the weights of a baseline, format 1, got something else"):
        load_weights(tmp_path / "bare.safetensors")
    path.write_bytes(path.read_bytes()[:1000])
    with pytest.raises(ModelError, match="expected the weights of a baseline, got a damaged file"):
        load_weights(path)


def test_a_network_for_another_bed_and_two_of_a_name_are_refused(tmp_path: Path):
    path = tmp_path / "w.safetensors"
    save_weights(weights(), path)
    assert list(networks([str(path)], GRID)) == ["conv_dae budget"]
    with pytest.raises(
        ModelError, match=r"expected a network for the bed's grid .64 pixels from 4000 A., got one for sdss"
    ):
        networks([str(path)], Grid.uniform(size=64))
    with pytest.raises(InputError, match="expected networks of different kinds, got conv_dae budget twice"):
        networks([str(path)] * 2, GRID)


@pytest.mark.parametrize("unit", [1e-17, 1.0, 1e9])
def test_a_network_denoises_in_any_unit_and_has_no_error_bar(unit):
    denoiser = NetworkDenoiser(weights())
    post = denoiser.denoise(observation(unit))
    np.testing.assert_allclose(post.flux / unit, denoiser.denoise(observation()).flux, rtol=1e-4, atol=1e-5)
    assert np.isnan(post.sigma).all() and np.isnan(post.prior_fraction).all()
    assert post.residual_z.shape == (2, SIZE) and post.method == "conv_dae budget"


def test_many_are_each_alone():
    denoiser = NetworkDenoiser(weights())
    many = denoiser.denoise([observation(), observation(gap=slice(5, 8))])
    np.testing.assert_allclose(many[1].flux, denoiser.denoise(observation(gap=slice(5, 8))).flux, rtol=1e-4, atol=1e-6)
    assert denoiser.denoise([]) == []


def test_masked_pixels_do_not_matter():
    for missing in (False, True):
        denoiser = NetworkDenoiser(weights(missing=missing))
        clean, spoilt = observation(gap=slice(20, 26)), observation()
        flux = np.where(clean.mask, 1e6, spoilt.flux)
        post = denoiser.denoise(observation(gap=slice(20, 26), flux=flux))
        np.testing.assert_array_equal(post.flux, denoiser.denoise(clean).flux)


def test_a_gap_is_refused_by_who_was_not_trained_for_it():
    gap = observation(gap=slice(20, 60))
    with pytest.raises(
        InputError, match=r"^star: expected no gap of more than 16 pixels with conv_dae budget.* got 40$"
    ):
        NetworkDenoiser(weights()).denoise(gap)
    post = NetworkDenoiser(weights(missing=True)).denoise(gap)
    assert np.isfinite(post.flux).all() and post.method == "conv_dae budget missing"


def test_another_grid_is_one_clear_line():
    other = observation(wavelength=Grid.uniform(4100.0, 9000.0, SIZE).wavelength)
    with pytest.raises(
        InputError, match=r"^star: expected the wavelength grid of conv_dae budget .128 pixels, 4000 to 9000"
    ):
        NetworkDenoiser(weights()).denoise(other)
