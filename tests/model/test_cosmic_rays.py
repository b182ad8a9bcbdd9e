"""Cosmic rays in one of several exposures are found, and hardly anything else is."""

import numpy as np
import pytest
import torch

from bayesden.model.cosmic_rays import cosmic_rays, without_cosmic_rays
from bayesden.model.data import Data
from bayesden.spectrum import Observation

SIZE = 2048
WAVELENGTH = np.linspace(4000, 9000, SIZE)


def exposures(seed: int, n: int, *, snr: float = 30.0, tails: bool = False) -> tuple[np.ndarray, np.ndarray]:
    """Flux and ivar of a star with lines, exposures of 5 % different calibration; Gaussian or Student-t(5) noise."""
    rng = np.random.default_rng(seed)
    star = 1 + 0.5 * np.sin(WAVELENGTH / 700)
    for centre, depth in zip(rng.uniform(4000, 9000, 40), rng.uniform(0.1, 0.8, 40), strict=True):
        star = star * (1 - depth * np.exp(-0.5 * ((WAVELENGTH - centre) / 3) ** 2))
    x = np.linspace(-1, 1, SIZE)
    tilt, wave, phase = rng.normal(size=(3, n, 1))
    gain = np.exp(0.05 * (rng.normal(size=(n, 1)) + tilt * x + wave * np.sin(6 * x + phase)))
    z = rng.standard_t(5, size=(n, SIZE)) if tails else rng.normal(size=(n, SIZE))
    return gain * star + z / snr, np.full((n, SIZE), snr**2)


def observe(flux: np.ndarray, ivar: np.ndarray) -> Observation:
    return Observation(wavelength=WAVELENGTH, flux=flux, ivar=ivar)


@pytest.mark.parametrize("tails", [False, True], ids=["gaussian", "student"])
@pytest.mark.parametrize("snr", [3.0, 30.0, 100.0])
def test_what_is_not_hit_is_not_found(snr: float, tails: bool) -> None:
    found = [cosmic_rays(observe(*exposures(seed, 2 + seed % 4, snr=snr, tails=tails))) for seed in range(16)]
    assert sum(hit.sum() for hit in found) < 1e-4 * sum(hit.size for hit in found)


@pytest.mark.parametrize(
    ("sigma", "least", "most"), [(5, 0.0, 0.05), (30, 0.95, 1.0), (100, 0.99, 1.0), (1000, 0.99, 1.0)]
)
@pytest.mark.parametrize("n", [2, 3, 4, 5])
def test_injected_hits_are_recovered_from_limit_upwards(n: int, sigma: float, least: float, most: float) -> None:
    found, others = [], 0
    for seed in range(4):
        flux, ivar = exposures(seed, n)
        rng = np.random.default_rng(seed)
        pixel, exposure = np.arange(30, 2000, 60) + rng.integers(0, 20, 33), rng.integers(0, n, 33)
        flux[exposure, pixel] += sigma / 30
        hit = cosmic_rays(observe(flux, ivar))
        found.append(hit[exposure, pixel].mean())
        others += hit.sum() - hit[exposure, pixel].sum()
    assert least <= np.mean(found) <= most
    assert others <= 2


def test_all_exposures_hit_at_once_stay_finite_and_keep_one() -> None:
    flux, ivar = exposures(0, 4)
    flux[:, 700] += np.array([20.0, 30.0, 50.0, 90.0])
    flux[:, 900] = 1e30
    obs = without_cosmic_rays(observe(flux, ivar))
    data = Data.stack([observe(flux, ivar)])
    assert (~obs.mask).sum(0).min() >= 2
    assert all(x.isfinite().all() for x in vars(data).values() if x is not None)


def test_one_exposure_and_exposures_that_disagree_altogether_are_left_alone() -> None:
    flux, ivar = exposures(0, 1)
    flux[0, 100] += 50
    lone = observe(flux, ivar)
    assert without_cosmic_rays(lone) is lone
    two = np.concatenate([exposures(0, 1)[0], np.random.default_rng(1).uniform(0, 5, (1, SIZE))])
    assert not cosmic_rays(observe(two, np.full(two.shape, 900.0))).any()
    dropped = np.concatenate([exposures(0, 2)[0], 0 * flux])
    assert not cosmic_rays(observe(dropped, np.full(dropped.shape, 900.0))).any()


def test_of_two_it_is_the_one_that_stands_out_from_its_neighbours() -> None:
    flux, ivar = exposures(3, 2)
    flux[0, 500] += 3
    flux[1, 800] -= 3  # a dead pixel: the other exposure is the brighter one, and good
    hit = cosmic_rays(observe(flux, ivar))
    assert hit[0, 500] and not hit[1, 500]
    assert not hit[0, 800]


def test_the_flux_unit_and_masked_values_do_not_matter() -> None:
    flux, ivar = exposures(2, 3)
    flux[1, 300:303] += 5
    hit = cosmic_rays(observe(flux, ivar))
    assert hit[1, 300:303].all()
    assert np.array_equal(hit, cosmic_rays(observe(1e-17 * flux, ivar * 1e34)))
    mask = np.zeros(flux.shape, bool)
    mask[2, 1000:1010] = True
    spoilt = np.where(mask, 1e6, flux)
    found = [cosmic_rays(Observation(wavelength=WAVELENGTH, flux=f, ivar=ivar, mask=mask)) for f in (flux, spoilt)]
    assert np.array_equal(*found) and not found[0][mask].any()


def test_the_model_sees_hits_as_masked() -> None:
    flux, ivar = exposures(4, 3)
    flux[2, 1500] += 10
    data = Data.stack([observe(flux, ivar)])
    assert data.mask.sum() == 1 and bool(data.mask[0, 2, 1500])
    assert torch.equal(data.ivar == 0, data.mask)
