"""Lines that a model lacks: found where they are, not where they are not, and with the p-value that they deserve."""

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy.stats import kstest

from bayesden.infer.denoise import denoise
from bayesden.infer.features import (
    BEST,
    BLUR,
    FEATURE_LEVEL,
    FLUX,
    SHIFT,
    WORST,
    _discrepancy,
    _own_scale,
    bank,
    trials,
)
from bayesden.infer.line_table import identify
from bayesden.infer.stack import pixel_profile
from bayesden.model.joint import SpectrumModel
from bayesden.model.noiseflow import NoiseFlow
from bayesden.model.nuisance import Nuisance
from bayesden.spectrum import Grid, Observation

SIZE = 512


@pytest.fixture(scope="module")
def model(toy_model: Callable) -> SpectrumModel:
    """Three classes whose spectra are smooth on the scale of a line, on pixels of 150 km/s, and white Student-t noise."""
    wave = Grid(np.exp(np.linspace(np.log(5200.0), np.log(5200.0) + SIZE * 5e-4, SIZE)))
    parts = {"noise": NoiseFlow("robust", size=SIZE), "nuisance": Nuisance(calibration_sd=0.002)}
    return toy_model(SIZE, grid=wave, discrepancy=torch.full((3, SIZE), 1e-3), **parts)


def with_line(
    obs: Observation, centre: int, sigmas: float, sd: float = 1.5, exposures: slice = slice(None)
) -> Observation:
    """A line that the noiseless profile shows at so many sigmas, in some exposures."""
    x = np.arange(SIZE)
    profile = np.exp(-0.5 * ((x - centre) / sd) ** 2)
    flux = obs.flux.copy()
    flux[exposures] += sigmas / np.sqrt((profile**2 * obs.ivar.sum(0)).sum()) * profile
    return replace(obs, flux=flux)


@pytest.mark.parametrize("sign", [1, -1])
@pytest.mark.parametrize("exposures", [1, 4])
def test_a_line_is_flagged_with_its_place_kind_and_strength(
    model: SpectrumModel, draw: Callable, exposures: int, sign: int
) -> None:
    clean = draw(model, [0, 1, 2, 0, 1, 2], exposures=exposures, snr=15.0)
    posts = denoise([with_line(o, 200 + 30 * i, sign * 14.0) for i, o in enumerate(clean)], model)
    for i, (post, obs) in enumerate(zip(posts, clean, strict=True)):
        assert "FEATURE_NOT_IN_MODEL" in post.flags and post.features
        line = post.features[0]
        pixel = 5e-4 * model.grid.wavelength[200 + 30 * i]
        assert abs(line.wavelength_A - model.grid.wavelength[200 + 30 * i]) < 2 * pixel
        assert line.kind == ("emission" if sign > 0 else "absorption")
        assert line.p_value < FEATURE_LEVEL and line.significance > 5
        height = 14.0 / np.sqrt((np.exp(-((np.arange(-9, 10) / 1.5) ** 2)) * obs.ivar[0, 0] * exposures).sum())
        level = np.median(np.abs(post.flux[180 + 30 * i : 221 + 30 * i]))
        expected = height * 1.5 * np.sqrt(2 * np.pi) * pixel / level
        assert abs(line.equivalent_width_A - expected) < 5 * line.sigma_A
        assert 0.3 < line.width_kms / (2.3548 * 1.5 * 150.0) < 3


def test_clean_spectra_have_none(model: SpectrumModel, draw: Callable) -> None:
    posts = denoise(draw(model, [0, 1, 2] * 10, exposures=2, snr=15.0, seed=3), model)
    assert sum("FEATURE_NOT_IN_MODEL" in p.flags for p in posts) <= 1


def test_a_cosmic_ray_in_one_of_the_exposures_is_no_line(model: SpectrumModel, draw: Callable) -> None:
    clean = draw(model, [0, 1, 2, 0, 1, 2], exposures=3, snr=15.0, seed=5)
    hit = [with_line(o, 250, 60.0, sd=1.0, exposures=slice(1, 2)) for o in clean]
    assert not any("FEATURE_NOT_IN_MODEL" in p.flags for p in denoise(hit, model))
    control = [with_line(o, 250, 20.0, sd=1.0) for o in clean]  # in all of them
    assert all("FEATURE_NOT_IN_MODEL" in p.flags for p in denoise(control, model))


def test_what_the_model_is_known_to_miss_is_no_line(toy_model: Callable, model: SpectrumModel, draw: Callable) -> None:
    """The same bright lines under a model whose discrepancy is as large as they are."""
    clean = [with_line(o, 300, 10.0) for o in draw(model, [0, 1, 2], exposures=2, snr=60.0)]
    vague = toy_model(SIZE, grid=model.grid, noise=model.noise, discrepancy=torch.full((3, SIZE), 0.1))
    assert all(p.features for p in denoise(clean, model))
    assert not any(p.features for p in denoise(clean, vague))


def test_masked_pixels_and_the_ends_of_the_grid_hold_no_line(model: SpectrumModel, draw: Callable) -> None:
    obs = draw(model, [0], exposures=2, snr=15.0)[0]
    mask = np.zeros(obs.flux.shape, bool)
    mask[:, 240:260] = True
    for spoilt in (replace(with_line(obs, 250, 50.0), mask=mask), with_line(obs, 2, 50.0)):
        assert not denoise(spoilt, model).features


def scan_of_noise(seed: int, count: int, tail: bool = False) -> tuple[np.ndarray, torch.Tensor]:
    """The largest matched-filter value over position and width of white noise, for each of so many spectra."""
    random = np.random.default_rng(seed)
    noise = random.standard_t(3, (count, 1, 2048)) if tail else random.normal(size=(count, 1, 2048))
    sds, best = bank(torch.linspace(4000.0, 9000.0, 2048, dtype=torch.float64)), np.zeros(count)
    for sd in sds.tolist():
        profile = pixel_profile(sd, torch.zeros(1, dtype=torch.float64))
        z = torch.nn.functional.conv1d(torch.from_numpy(noise), (profile / profile.norm())[None, None])
        best = np.maximum(best, z.abs().amax((1, 2)).numpy())
    return best, sds


def test_the_p_value_is_uniform_where_it_matters() -> None:
    """The Euler characteristic is exact in the tail; heavy tails are the control."""
    best, sds = scan_of_noise(0, 4000)
    p = trials(torch.from_numpy(best), sds, torch.full((len(sds),), 2040.0)).numpy()
    for level in (0.01, 0.03, 0.1):
        assert 0.5 * level < np.mean(p < level) < 1.5 * level
    low = p[p < 0.2] / 0.2
    assert kstest(low, "uniform").statistic < 0.15
    heavy, _ = scan_of_noise(1, 1000, tail=True)
    assert np.mean(trials(torch.from_numpy(heavy), sds, torch.full((len(sds),), 2040.0)).numpy() < 0.01) > 0.1


@pytest.mark.parametrize("gamma", [0.5, 1.0, 3.0])
def test_the_scale_of_a_stars_own_discrepancy_is_found_and_lines_do_not_move_it(gamma: float) -> None:
    random = torch.Generator().manual_seed(0)
    missed, information = 1e-4 * (1 + torch.arange(2, 4002) % 5).double(), torch.full((4000,), 2e4).double()
    square = (1 + gamma**2 * missed * information) * torch.randn(4000, generator=random, dtype=torch.float64).square()
    square[::100] += 400.0
    rows = [x.expand(2, 4000) for x in (square, information, missed, torch.zeros_like(missed))]
    found = _own_scale(*rows, torch.ones(2, 4000, dtype=torch.bool))
    assert found.sqrt().flatten().tolist() == pytest.approx([gamma, gamma], rel=0.1)
    ends = [_own_scale(x * rows[0], *rows[1:], torch.ones(2, 4000, dtype=torch.bool)) for x in (1e-3, 1e3)]
    assert [e[0, 0].sqrt().item() for e in ends] == pytest.approx([BEST, WORST], rel=0.01)


def test_the_bank_reaches_from_unresolved_to_the_widest_lines() -> None:
    wavelength = torch.linspace(4000.0, 9000.0, 2048, dtype=torch.float64)
    sds = bank(wavelength)
    assert sds[0] == 0.65 and 5 < sds[-1] < 8 and len(sds) == 6
    assert len(bank(torch.linspace(4000.0, 9000.0, 32, dtype=torch.float64))) == 1  # pixels wider than the widest line


def test_lines_are_named() -> None:
    assert identify(6564.6, 200.0) == ("Hα", False)
    assert identify(6564.6 * (1 + 600 / 299792.458), 200.0) == ("", False)
    assert identify(6564.6 * (1 + 600 / 299792.458), 200.0, velocity_kms=600.0) == ("Hα", False)
    assert identify(5580.0, 200.0) == ("sky [O I] 5579", True)
    assert identify(7620.0, 200.0) == ("air O2 (A)", True)
    assert identify(7701.0, 200.0) == ("air O2 (A), K I 7701", True)
    assert identify(6013.0, 200.0) == ("", False)


def test_lines_are_the_same_alone_and_beside_a_star_with_more_exposures(model: SpectrumModel, draw: Callable) -> None:
    """Exposures that a spectrum lacks in its batch say nothing of its lines."""
    star = with_line(draw(model, [0], exposures=2, snr=15.0)[0], 250, 12.0)
    other = draw(model, [1], exposures=7, snr=15.0)[0]
    alone, beside = denoise(star, model), denoise([star, other], model)[0]
    assert alone.features
    assert [f.wavelength_A for f in alone.features] == [f.wavelength_A for f in beside.features]
    for one, two in zip(alone.features, beside.features, strict=True):
        assert one.significance == pytest.approx(two.significance, rel=1e-3)


def test_stars_differ_by_a_little_shift_and_blur_of_their_own_lines() -> None:
    """Against the same line moved, and made by a spectrograph whose pixel-wide profile is wider by that share."""
    x, height, width = torch.arange(101, dtype=torch.double) - 50, 0.5, 3.0

    def star(centre: float = 0.0, var: float = width**2) -> torch.Tensor:
        return 1 - height * width / var**0.5 * torch.exp(-0.5 * (x - centre).square() / var)

    expected = (star(SHIFT) - star()).square() + (star(var=width**2 + (1 + BLUR) ** 2 - 1) - star()).square()
    _, differing = _discrepancy(star(), torch.zeros(101), [torch.ones(1, dtype=torch.double)])
    found = differing[0] - (FLUX * star()).square()
    assert expected.max() > 1e-5
    torch.testing.assert_close(found, expected, rtol=0.25, atol=1e-7)
