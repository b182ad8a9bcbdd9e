"""PFS medium resolution: the embedded model keeps to the calculator's tables and to physics."""

import itertools
from pathlib import Path

import numpy as np
import pytest
import torch

from bayesden.errors import InputError
from bayesden.io.etc_table import read_etc
from bayesden.simulation.instruments import pfs_optics as optics
from bayesden.simulation.instruments import sky
from bayesden.simulation.instruments.moonlight import moonlight_brightness
from bayesden.simulation.instruments.pfs_mr import ADJUST, TABLE_1, PfsMr, pfs_mr
from bayesden.simulation.instruments.pfs_response import EmbeddedResponse
from bayesden.simulation.random import Random

from .conftest import TYPICAL, conditions, flat, varied


@pytest.fixture(scope="module")
def embedded() -> PfsMr:
    return pfs_mr()


# --- The embedded model against the tables ---------------------------------------------------------------------------------


def test_embedded_model_keeps_to_the_reference_grid(embedded: PfsMr, reference_grid: Path):
    tables, grid = pfs_mr(reference_grid), read_etc(reference_grid)
    points = itertools.product(grid.seeing_arcsec, grid.zenith_deg, grid.field_deg, grid.moon)
    nodes = conditions(*((s, z, f, *moon) for s, z, f, moon in points))
    assert len(nodes) == 108
    own, floor = (a / b for a, b in zip(embedded.background(nodes), tables.background(nodes), strict=True))
    variance = [a + 20 * b for a, b in (embedded.background(nodes), tables.background(nodes))]
    near = (variance[0] / variance[1] - 1).abs() < 0.2
    assert near.float().mean(1).min() > 0.99  # the bar, 90 % away from telluric edges, held on all pixels
    assert own.median() == pytest.approx(1, abs=0.01) and floor.median() == pytest.approx(1, abs=0.02)
    for magnitude in (19, 20.5, 22.5):
        flux = flat(embedded, magnitude, len(nodes))
        snr = [(flux / model.variance(flux, nodes).sqrt()).median(1).values for model in (embedded, tables)]
        assert (snr[0] / snr[1] - 1).abs().max() < 0.07  # the bar is 0.1


def test_line_spread_function_is_the_references(reference_grid: Path):
    with np.load(reference_grid, allow_pickle=False) as arrays:
        wavelength, profile = arrays["lsf_wavelength_nm"], arrays["lsf_profile"][:, ::10]
        sigma = np.sqrt(arrays["lsf_gauss_sigma_nm"] ** 2 - optics.STEP_NM**2 / 12)
    np.testing.assert_allclose(optics.lsf_sigma(wavelength), sigma, 1e-4)
    index, first = optics.line_profile(0.0)
    np.testing.assert_allclose(first[np.abs(index) <= 16], profile[0], atol=1e-3)


# --- The embedded model by itself ------------------------------------------------------------------------------------------


def test_pixels_and_resolution_are_those_of_table_2(embedded: PfsMr):
    (detector,) = embedded.detectors
    assert detector.name == "mr" and detector.edges.shape == (4097,)
    torch.testing.assert_close(detector.wavelength, embedded.wavelength)
    assert embedded.wavelength[0] == 7100.0
    assert (detector.edges[-1] - detector.edges[0]) == pytest.approx(1750)
    resolution = embedded.wavelength / (2.3548 * detector.sigma)
    assert 5000 < resolution.min() < resolution.max() < 7000


def test_table_1_is_drawn(embedded: PfsMr):
    drawn = embedded.draw(Random(3).uniform("conditions", torch.arange(4000), embedded.uniforms))
    assert drawn.dtype == torch.float64 and embedded.conditions == tuple(TABLE_1)
    low, high = torch.tensor(list(TABLE_1.values()), dtype=torch.float64).T
    share = (drawn - low) / (high - low)
    assert (share > 0).all() and (share < 1).all()
    torch.testing.assert_close(share.mean(0), torch.full((6,), 0.5, dtype=torch.float64), atol=0.02, rtol=0)


def test_line_keeps_its_light_on_the_detector():
    for pixel in (1000.0, 1000.5, 3000.25):
        spread = optics.deposit(optics.WAVELENGTH_NM[:1] + optics.STEP_NM * pixel, np.ones(1))
        assert spread.sum() == pytest.approx(1, abs=6e-3)  # the rest is in the grating's wings
        assert (spread * np.arange(4096)).sum() / spread.sum() == pytest.approx(pixel, abs=1e-2)


def test_fibre_fraction_is_that_of_a_gaussian_where_optics_and_offset_vanish(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(optics, "OFFSET_ARCSEC", 0.0)
    monkeypatch.setattr(optics, "SPOT", np.array([40.0]))
    sharp, wide = np.array([0.05]), np.zeros(1)
    focal = float(optics.FOCAL_LENGTH[0])
    exact = 1 - np.exp(-0.5 * (optics.FIBRE_UM / 40.0) ** 2)  # a Gaussian spot that outweighs seeing and diffraction
    assert optics.fibre_fraction(sharp, wide, np.array([800.0]))[0] == pytest.approx(exact, rel=0.02), focal


def test_polynomials_follow_the_physics_that_they_stand_for(embedded: PfsMr):
    random = np.random.default_rng(5)
    points = random.uniform([0.35, 0, 0], [2.4, 58, 0.67], (30, 3))
    rows = conditions(*((s, z, f, 90, 60, 0.1) for s, z, f in points))
    flux = torch.ones(30, 4096)
    counts = embedded.counts(flux, rows).numpy()
    scale = counts[0] / exact_conversion(*points[0])
    for (seeing, zenith, field), row in zip(points, counts, strict=True):
        np.testing.assert_allclose(row, scale * exact_conversion(seeing, zenith, field), 2e-3)


def exact_conversion(seeing: float, zenith: float, field: float) -> np.ndarray:
    """Conversion up to a spectrum that does not depend on conditions."""
    fibre = optics.fibre_fraction(np.array(seeing), np.array(field), optics.WAVELENGTH_NM)
    return optics.collecting_area(field) * fibre * sky.transmission(zenith)


def test_conditions_act_the_right_way(embedded: PfsMr):
    flux = flat(embedded, 22.5, 3)

    def snr(rows: torch.Tensor) -> list[float]:
        return (flux / embedded.variance(flux, rows).sqrt()).median(1).values.tolist()

    for column, worse in ((0, (0.6, 0.9, 1.4)), (1, (0, 30, 50)), (2, (0, 0.3, 0.65))):
        values = snr(varied(column, *worse))
        assert values == sorted(values, reverse=True) and values[0] > 1.01 * values[2], column
    moon = conditions(*((*TYPICAL[:3], *m) for m in ((90, 60, 0.25), (60, 90, 0.15), (30, 60, 0.25))))
    values = snr(moon)
    assert values == sorted(values, reverse=True) and values[0] > 1.05 * values[2]


def test_absorption_deepens_with_airmass_and_sits_where_the_bands_are():
    low, high = sky.transmission(0.0), sky.transmission(60.0)
    assert (high < low).all()
    assert optics.WAVELENGTH_NM[low.argmin()] == pytest.approx(760.5, abs=0.5)  # O2 A
    head = (optics.WAVELENGTH_NM > 757) & (optics.WAVELENGTH_NM < 759)
    assert low[head].min() > 0.9
    water = (optics.WAVELENGTH_NM > 810) & (optics.WAVELENGTH_NM < 835)
    assert low[water].min() < 0.7


def test_moonlight_needs_a_moon_and_grows_with_it(embedded: PfsMr):
    moon = conditions((89.999, 90, 0.25), (90, 90, 0.25), (30, 90, 0.25), (30, 90, 0.0), (30, 60, 0.25))
    bright = moonlight_brightness(moon).tolist()
    assert bright[1] == 0 < bright[3] < bright[0] < bright[2] < bright[4]


def test_variance_is_differentiable_and_its_slope_is_right(embedded: PfsMr):
    rows = conditions(TYPICAL).requires_grad_()
    flux = flat(embedded, 21).clone().requires_grad_()
    embedded.variance(flux, rows).log().mean().backward()
    assert torch.isfinite(flux.grad).all() and torch.isfinite(rows.grad).all()
    step = torch.zeros(1, 6, dtype=torch.float64)
    for column in range(3):
        step[0, column] = 0.01
        up, down = (
            embedded.variance(flux.detach(), conditions(TYPICAL) + s * step).log().double().mean() for s in (1, -1)
        )
        step.zero_()
        assert rows.grad[0, column].item() == pytest.approx(((up - down) / 0.02).item(), rel=0.02), column


def test_variance_grows_with_the_star_by_its_photons_alone(embedded: PfsMr):
    row = conditions(TYPICAL)
    flux, dark = flat(embedded, 20), torch.zeros(1, 4096)
    conversion = embedded.counts(torch.ones(1, 4096), row)
    extra = (embedded.variance(flux, row) - embedded.variance(dark, row)) * 20 * conversion
    gap = embedded.background(row)[0] < 250  # where the star's photons are not lost in the sky's rounding
    torch.testing.assert_close(extra[gap], flux[gap], rtol=1e-3, atol=0)
    assert torch.equal(embedded.variance(-flux, row), embedded.variance(dark, row))


def test_single_precision_is_enough(embedded: PfsMr):
    rows = conditions(TYPICAL, (1.5, 45, 0.65, 30, 60, 0.25))
    flux = flat(embedded, 22.5, 2)
    exact = embedded.variance(flux.double(), rows)
    assert exact.dtype == torch.float64
    torch.testing.assert_close(embedded.variance(flux, rows).double(), exact, rtol=2e-6, atol=0)


def test_sky_subtraction_does_not_average_out():
    few, many = (pfs_mr(exposure_count=n) for n in (1, 10**7))
    row, flux = conditions(TYPICAL), flat(few, 22)
    _, floor = few.background(row)
    limit = floor / few.counts(torch.ones(1, 4096), row).square()
    torch.testing.assert_close(many.variance(flux, row), limit, rtol=1e-3, atol=0)
    assert (few.variance(flux, row) > 2 * limit).float().mean() > 0.9


def test_batches_and_devices_do_not_change_a_spectrum(embedded: PfsMr):
    index = torch.arange(40)
    rows = embedded.draw(Random(1).uniform("conditions", index, 6))
    flux = flat(embedded, 21, 40)
    whole = embedded.expose([flux], rows, Random(1), index)
    part = embedded.to("cpu").expose([flux[30:33]], rows[30:33], Random(1), index[30:33])
    torch.testing.assert_close(whole.flux[30:33], part.flux)
    torch.testing.assert_close(whole.ivar[30:33], part.ivar)
    assert whole.flux.shape == (40, 1, 4096) and not whole.mask.any()
    assert embedded.variance(flux[:0], rows[:0]).shape == (0, 4096)


def chi(instrument: PfsMr, spectra: int, seed: int = 2) -> torch.Tensor:
    """Noise over its standard deviation, (B, E, D)."""
    index = torch.arange(spectra)
    rows = instrument.draw(Random(seed).uniform("conditions", index, 6))
    clean = flat(instrument, 21.5, spectra)
    seen = instrument.expose([clean], rows, Random(seed), index)
    torch.testing.assert_close(seen.ivar, seen.sigma**-2)
    return ((seen.flux - clean[:, None]) / seen.sigma).double()


def test_noise_has_its_variance_and_neighbours_are_independent(embedded: PfsMr):
    z = chi(embedded, 300)[:, 0]
    n = z.numel()
    assert abs(z.square().mean() - 1) < 4 * (2 / n) ** 0.5
    assert abs(z.mean()) < 4 * n**-0.5
    assert abs((z[:, 1:] * z[:, :-1]).mean()) < 4 * n**-0.5
    assert abs((1.01 * z).square().mean() - 1) > 4 * (2 / n) ** 0.5  # one per cent more would be seen


def test_separate_exposures_share_the_sky_subtraction_and_average_to_the_stack(embedded: PfsMr):
    each = pfs_mr(stacked=False, exposure_count=4)
    stack = pfs_mr(exposure_count=4)
    assert each.exposures == 4 and stack.exposures == 1
    z = chi(each, 120)
    assert abs(z.square().mean() - 1) < 6 * (2 / (120 * 4096)) ** 0.5
    index = torch.arange(120)
    rows = conditions(TYPICAL).expand(120, -1)
    clean = flat(each, 21.5, 120)
    seen = each.expose([clean], rows, Random(7), index)
    mean = (seen.flux.mean(1) - clean).double()
    sigma = stack.variance(clean, rows).sqrt().double()
    chi2 = (mean / sigma).square()
    assert abs(chi2.mean() - 1) < 4 * (2 / chi2.numel()) ** 0.5
    own, floor = each.background(rows[:1])
    expected = (floor / (own + floor + each.counts(clean[:1], rows[:1])))[0]
    bright = expected > 0.3  # on airglow lines the exposures err together
    assert bright.sum() > 50
    z = ((seen.flux - clean[:, None]) / seen.sigma)[:, :, bright]
    assert (z[:, 0] * z[:, 1]).mean() == pytest.approx(expected[bright].mean().item(), abs=0.05)
    z = ((seen.flux - clean[:, None]) / seen.sigma)[:, :, expected < 0.01]
    assert (z[:, 0] * z[:, 1]).mean() == pytest.approx(0, abs=0.02)


def test_bad_conditions_and_options_are_refused(embedded: PfsMr):
    for column, value, name in (
        (0, 5.0, "seeing_arcsec"),
        (1, 80.0, "zenith_angle_deg"),
        (5, float("nan"), "moon_phase"),
    ):
        with pytest.raises(InputError, match=f"{name}: expected .* got .*spectrum 0"):
            embedded.background(varied(column, value))
    with pytest.raises(InputError, match=r"conditions: expected shape \(B, 6\), got \(1, 5\)"):
        embedded.background(conditions(TYPICAL[:5]))
    with pytest.raises(InputError, match="expected at least one of a positive time, got 0"):
        pfs_mr(exposure_count=0)
    with pytest.raises(InputError, match=r"seeing_arcsec: expected a range within 0.3 to 2.5"):
        pfs_mr(ranges={"seeing_arcsec": (0.1, 1.0)})
    with pytest.raises(InputError, match=r"conditions: expected seeing_arcsec, .* got 'wind'"):
        pfs_mr(ranges={"wind": (0, 1)})


def test_embedded_data_stay_small():
    folder = Path(sky.__file__).parent
    assert sum(path.stat().st_size for path in folder.glob("*.txt")) < 50_000
    assert EmbeddedResponse.build().conversion.shape == (15, 4096)
    assert ADJUST == 1.015
