from dataclasses import replace

import numpy as np
import pytest
import torch

import bayesden as bd
from bayesden.errors import BayesdenError, InputError, OutputError
from bayesden.io import read
from bayesden.model.checkpoint import load_model
from bayesden.simulation.build import build_simulator, simulate
from bayesden.simulation.spec_files import write_spec_files

from .conftest import line_grid

PFS_GRID = {"low": 7000.0, "high": 8960.0, "step": 3e-5}


@pytest.fixture(scope="module")
def sdss():
    return build_simulator("sdss", grid="generator", exposures=2, seed=1)


def test_simulate_gives_what_its_page_says():
    sim = bd.simulate("pfs-mr", n=3, grid=line_grid(**PFS_GRID))
    assert sim.clean.shape == (3, 4096) and sim.flux.shape == sim.ivar.shape == (3, 1, 4096)
    assert sim.wavelength[0] == 7100.0 and len(sim) == 3
    assert torch.allclose(sim.clean.median(1).values, torch.full((3,), 0.5))
    assert {"teff_K", "axis", "redshift", "magnitude", "seeing_arcsec", "snr"} <= set(sim.parameters.dtype.names)


def test_any_part_of_a_run_can_be_made_alone():
    options = {"grid": line_grid(**PFS_GRID), "seed": 5}
    whole, part = simulate("pfs-mr", 6, **options), simulate("pfs-mr", 2, start=3, **options)
    assert torch.allclose(part.flux, whole.flux[3:5], rtol=1e-5, atol=1e-5)


def test_ranges_go_to_the_star_or_to_the_grid():
    sim = simulate("sdss", 20, grid="generator", ranges={"redshift": (0.001, 0.001), "magnitude": (17, 17.5)})
    assert (sim.parameters["redshift"] == 0.001).all() and (sim.parameters["magnitude"] <= 17.5).all()
    with pytest.raises(
        InputError, match="range: expected one of redshift, ebv, magnitude with the grid generator, got teff_K"
    ):
        simulate("sdss", 2, grid="generator", ranges={"teff_K": (4000, 5000)})


def test_conditions_of_pfs_are_drawn_where_asked():
    ranges = {"seeing_arcsec": (0.6, 0.7), "magnitude": (20, 20)}
    sim = simulate("pfs-mr", 8, grid=line_grid(**PFS_GRID), ranges=ranges)
    seeing = sim.parameters["seeing_arcsec"]
    assert ((seeing >= 0.6) & (seeing <= 0.7)).all() and len(set(seeing)) == 8


@pytest.mark.parametrize(
    ("ranges", "mode", "message"),
    [
        ({"teff": (4000, 5000)}, "spline", "range: expected one of teff_K, logg, .*, moon_phase, got teff$"),
        ({"teff_K": (3000, 5000)}, "spline", "teff_K: expected a range within 3500 to 5000, got 3000 to 5000"),
        ({"ebv": (2, 1)}, "spline", "ebv: expected a range from low to high, got 2 to 1"),
        (
            {"logg": (2.2, 2.2)},
            "spline",
            "expected a complete part .*; the spline takes values of the grid for all but one",
        ),
        ({}, "linear", "mode: expected spline or multilinear, got 'linear'"),
    ],
)
def test_what_is_wrong_is_said_before_the_embedded_grid_is_computed(ranges, mode, message, monkeypatch):
    monkeypatch.setattr("bayesden.simulation.build.analytic_grid", lambda *_, **__: pytest.fail("computed"))
    with pytest.raises(InputError, match=message):
        build_simulator("pfs-mr", ranges=ranges, mode=mode)


def test_sdss_flux_is_physical_and_reads_back_from_files(sdss, tmp_path):
    write_spec_files(tmp_path, sdss, 2)
    made = sdss.observe(torch.arange(2))
    for number, path in enumerate(sorted(tmp_path.iterdir())):
        obs = read(path)
        assert obs.flux_unit.lower().startswith("1e-17")
        good = ~obs.mask & ~made.mask[number].numpy()
        assert good.mean() > 0.8
        assert np.allclose(obs.flux[good], made.flux[number].numpy()[good], rtol=1e-4, atol=1e-3)


def test_files_that_exist_are_kept_or_replaced_as_asked(sdss, tmp_path):
    write_spec_files(tmp_path, sdss, 1)
    path = tmp_path / "spec-sim-000000.fits"
    content = path.read_bytes()
    with pytest.raises(OutputError, match="the file exists"):
        write_spec_files(tmp_path, sdss, 2)
    path.write_bytes(content[:-4000])  # cut short
    write_spec_files(tmp_path, sdss, 2, resume=True)
    assert len(path.read_bytes()) == len(content) and len(list(tmp_path.iterdir())) == 2
    kept = path.stat().st_mtime_ns
    write_spec_files(tmp_path, sdss, 2, resume=True)
    assert path.stat().st_mtime_ns == kept
    write_spec_files(tmp_path, sdss, 1, overwrite=True)
    assert path.stat().st_mtime_ns > kept


@pytest.mark.parametrize(
    ("change", "card"), [({"seed": 2}, "SEED = 2"), ({"ranges": {"redshift": (0.0, 0.0)}}, "Z_TRUE = 0")]
)
def test_files_of_another_run_are_not_resumed(sdss, tmp_path, change, card):
    write_spec_files(tmp_path, sdss, 1)
    other = replace(sdss, **change)
    with pytest.raises(InputError, match=rf"spec-sim-000000\.fits: expected a star with {card}.* to resume, got"):
        write_spec_files(tmp_path, other, 2, resume=True)
    assert len(list(tmp_path.iterdir())) == 1


def test_noise_of_a_model_file(tmp_path):
    sim = simulate("sdss", 2, grid="generator", noise=["sdss-10class"], exposures=2)
    assert sim.flux.shape == (2, 2, 2048) and torch.isfinite(sim.flux).all()


def test_a_grid_of_your_own_and_a_model_file_are_taken(tmp_path):
    from bayesden.model.checkpoint import save_model

    save_model(load_model(), tmp_path / "mine.safetensors")
    assert build_simulator("sdss", grid=tmp_path / "mine.safetensors").grid.name == "generator"
    assert build_simulator("pfs-mr", grid=line_grid(**PFS_GRID)).grid.name == "lines"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"instrument": "hires"}, "instrument: expected one of pfs-mr, sdss, got 'hires'"),
        ({"instrument": "pfs-mr", "noise": ["physical"]}, "noise: expected none with pfs-mr"),
        ({"instrument": "sdss", "etc": "x.npz"}, "etc: expected none with sdss"),
        (
            {"instrument": "sdss", "noise": ["a", "b"]},
            "noise: expected physical, one model file, or spec files, got a, b",
        ),
        ({"instrument": "pfs-mr", "etc": "none.npz"}, "none.npz"),
        ({"instrument": "sdss", "grid": "none.safetensors"}, "none.safetensors"),
        ({"instrument": "sdss", "n": 0}, "n: expected at least one star, got 0"),
        ({"instrument": "sdss", "exposures": 0}, "exposure"),
    ],
)
def test_what_cannot_be_built_is_one_line(options, message):
    options = {"grid": "generator", **options}
    with pytest.raises(BayesdenError, match=message) as error:
        simulate(options.pop("instrument"), options.pop("n", 1), **options)
    assert "\n" not in str(error.value)


def test_an_empty_folder_is_no_grid(tmp_path):
    with pytest.raises(InputError, match=str(tmp_path)):
        build_simulator("pfs-mr", grid=tmp_path)
