import numpy as np
import pytest
import torch
from scipy.special import ndtr

from bayesden.errors import InputError
from bayesden.simulation.effects import PixelIntegrator, ab_magnitude, extinction_curve, median_level
from bayesden.simulation.instruments.protocol import Detector

STEP = 1e-5
U = np.arange(np.log(7900.0), np.log(8300.0), STEP)
EDGES = np.linspace(7990.0, 8200.0, 401)
WIDTH = np.diff(EDGES)


@pytest.fixture(scope="module")
def integrate():
    sigma = torch.linspace(0.5, 0.6, 400, dtype=torch.double)
    return PixelIntegrator.of(Detector("d", torch.from_numpy(EDGES), sigma), torch.from_numpy(U / np.log(10)))


def line(wavelength):
    """One cell alight, and the cell's number."""
    flux, cell = torch.zeros(1, len(U)), int(np.searchsorted(U, np.log(wavelength)))
    flux[0, cell] = 1.0
    return flux, cell


def at_rest(integrate, flux, redshift=0.0, ebv=0.0):
    ones = torch.ones(len(flux), dtype=torch.double)
    return integrate(flux, redshift * ones, ebv * ones)


@pytest.mark.parametrize("redshift", [0.0, 1.2345e-4, -3.3333e-3])
@pytest.mark.parametrize("wavelength", [8050.0, 8100.013, 8150.0])
def test_a_line_keeps_its_flux_and_moves_to_where_doppler_says(integrate, wavelength, redshift):
    flux, cell = line(wavelength)
    pixels = at_rest(integrate, flux, redshift)[0].double().numpy()
    inside = np.exp(U[cell]) * (1 + redshift)
    centre = (EDGES[1:] + EDGES[:-1]) / 2
    width = np.exp(U[cell]) * 2 * np.sinh(STEP / 2) * (1 + redshift)
    assert (pixels * WIDTH).sum() == pytest.approx(width, rel=1e-4 if 7995 < inside < 8195 else 2)
    if 7995 < inside < 8195:
        assert (pixels * centre).sum() / pixels.sum() == pytest.approx(inside, rel=1e-7)


def test_a_line_has_the_profile_of_a_gaussian_in_a_box(integrate):
    flux, cell = line(8100.0)
    redshift = 0.37 * STEP  # a fraction of a cell: the polynomial's worst place
    pixels = at_rest(integrate, flux, redshift)[0].double().numpy()
    where = np.exp(U[cell]) * (1 + redshift)
    sigma = np.interp(where, (EDGES[1:] + EDGES[:-1]) / 2, np.linspace(0.5, 0.6, 400))
    exact = np.diff(ndtr((EDGES - where) / sigma)) / WIDTH * np.exp(U[cell]) * STEP
    # A cell is as wide as STEP, which broadens the line by STEP² / 12.
    assert np.abs(pixels - exact).max() < 3e-3 * exact.max()


def test_a_constant_stays_constant(integrate):
    pixels = at_rest(integrate, torch.full((2, len(U)), 3.0), 1e-3)
    assert torch.allclose(pixels, torch.full_like(pixels, 3.0), rtol=2e-4)  # the width changes with wavelength


def test_doppler_shift_and_its_inverse_return_the_spectrum(integrate):
    wavelength, redshift = np.exp(U), 7.77e-4
    spectrum = lambda x: 1 - 0.6 * np.exp(-0.5 * ((x - 8100) / 0.8) ** 2)  # noqa: E731
    moved = torch.from_numpy(spectrum(wavelength * (1 + redshift))).float()[None]
    still = torch.from_numpy(spectrum(wavelength)).float()[None]
    assert torch.allclose(at_rest(integrate, moved, redshift), at_rest(integrate, still), atol=1e-4)


def test_shift_by_whole_cells_is_a_translation(integrate):
    flux, _ = line(8100.0)
    shifted = torch.roll(flux, 7, 1)
    there = at_rest(integrate, flux, np.expm1(7 * STEP))
    assert torch.allclose(there, at_rest(integrate, shifted), atol=1e-6)


def test_gradient_of_the_shift_equals_finite_differences(integrate):
    flux = torch.from_numpy(1 - 0.6 * np.exp(-0.5 * ((np.exp(U) - 8100) / 0.8) ** 2))[None]
    z = torch.tensor([3.21e-4], dtype=torch.double, requires_grad=True)
    weight = torch.randn(400, dtype=torch.double, generator=torch.Generator().manual_seed(0))
    (integrate(flux, z, torch.zeros(1)) * weight).sum().backward()
    up, down = ((at_rest(integrate, flux, 3.21e-4 + s) * weight).sum() for s in (1e-7, -1e-7))
    assert float(z.grad) == pytest.approx(float(up - down) / 2e-7, rel=1e-3)


def test_dust_dims_by_the_curve(integrate):
    pixels = at_rest(integrate, torch.ones(1, len(U)), 0.0, 0.5)[0].numpy()
    expected = 10 ** (-0.4 * 0.5 * extinction_curve((EDGES[1:] + EDGES[:-1]) / 2))
    assert np.allclose(pixels, expected, rtol=3e-4)


def test_extinction_curve_is_that_of_cardelli_at_the_v_band():
    assert extinction_curve(5494.5) == pytest.approx(3.1, rel=1e-2)  # a(x) = 1 and b(x) = 0 at 1.82 / micron


def test_a_flat_spectrum_has_its_ab_magnitude():
    edges = torch.linspace(7000.0, 9000.0, 2001, dtype=torch.double)
    centre = (edges[1:] + edges[:-1]) / 2
    flux = 3.631e-20 * 10 ** (-0.4 * 20.0) * 2.99792458e18 / centre**2 / 1e-17
    assert ab_magnitude(flux[None], edges).item() == pytest.approx(20.0, abs=1e-6)


def test_median_level_is_a_half():
    flux, wavelength = torch.rand(3, 101), torch.linspace(6000, 9000, 101)
    level = (flux * median_level(flux, wavelength))[:, wavelength >= 6500].median(1).values
    assert torch.allclose(level, torch.full((3,), 0.5))
    with pytest.raises(InputError, match="normalisation: expected pixels between 6500"):
        median_level(flux, wavelength / 3)


def test_what_does_not_fit_is_refused(integrate):
    detector = Detector("d", torch.from_numpy(EDGES), torch.full((400,), 0.5, dtype=torch.double))
    with pytest.raises(InputError, match="d: expected a grid that covers"):
        PixelIntegrator.of(detector, torch.from_numpy(U[:1000] / np.log(10)))
    with pytest.raises(InputError, match=r"d: expected a grid with cells of at most 0\.5"):
        PixelIntegrator.of(detector, torch.linspace(3.88, 3.93, 50, dtype=torch.double))
    with pytest.raises(InputError, match="uniform steps"):
        PixelIntegrator.of(detector, torch.linspace(7900, 8300, 40000, dtype=torch.double) ** 2)
    with pytest.raises(InputError, match="redshift: expected"):
        at_rest(integrate, torch.ones(1, len(U)), 0.02)
