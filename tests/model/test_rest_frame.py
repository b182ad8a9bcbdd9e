import numpy as np
import pytest
import torch

from bayesden.errors import ModelError
from bayesden.model.rest_frame import LIGHT_KMS, RestFrame, lagrange
from bayesden.spectrum import Grid

GRID = Grid.uniform(6000.0, 7000.0, 256)
FINE = np.linspace(5900.0, 7100.0, 240001)


@pytest.fixture(scope="module")
def frame():
    return RestFrame(GRID, extinction=np.linspace(3.0, 2.0, 256))


def line(wavelength, centre=6563.0, resolution=1500.0):
    return 1 - 0.5 * np.exp(-0.5 * ((wavelength - centre) / (centre / resolution / 2.355)) ** 2)


def seen(velocity_kms):
    """The line's mean over each pixel when it moves."""
    step = GRID.wavelength[1] - GRID.wavelength[0]
    x = GRID.wavelength[:, None] + np.linspace(-0.5, 0.5, 101)[None] * step
    return line(x / (1 + velocity_kms / LIGHT_KMS)).mean(1)


@pytest.mark.parametrize("velocity", [0.0, 17.0, -345.6, 900.0])
def test_a_line_is_where_its_velocity_puts_it(frame, velocity):
    rest = torch.from_numpy(frame.rest(line(FINE)[None], FINE)).float()
    star = frame(rest[None], torch.tensor([velocity]), torch.zeros(1))[0, 0]
    assert np.abs(star.numpy() - seen(velocity)).max() < 4e-3  # of a depth of 0.5


def test_a_constant_stays_constant_and_flux_is_kept(frame):
    ones = torch.ones(1, 1, frame.cells.size)
    assert torch.allclose(frame(ones, torch.tensor([123.0]), torch.zeros(1)), torch.ones(1, 1, 256), atol=1e-5)
    lit = torch.zeros(1, 1, frame.cells.size)
    lit[0, 0, frame.cells.size // 2] = 1.0
    width = np.diff(frame.cells.edges)[frame.cells.size // 2]
    for velocity in (0.0, 50.0):
        total = frame(lit, torch.tensor([velocity]), torch.zeros(1)).sum() * np.diff(GRID.edges)[0]
        assert total.item() == pytest.approx(width * (1 + velocity / LIGHT_KMS), rel=2e-3)


def test_a_shift_by_a_whole_cell_is_a_translation(frame):
    spectra = torch.rand(1, 3, frame.cells.size, dtype=torch.double, generator=torch.Generator().manual_seed(0))
    velocity = torch.tensor([np.expm1(5 * frame.step) * LIGHT_KMS])
    there = frame.shift(spectra, velocity)
    here = frame.shift(torch.roll(spectra, 5, 2), torch.zeros(1, dtype=torch.double))
    assert torch.allclose(there, here, atol=1e-9)


@pytest.mark.parametrize("cells", [-7.5, -3.0, 0.0, 0.5, 4.0, 6.5])
def test_nothing_jumps_as_the_velocity_grows(frame, cells):
    """Not even for a line of one cell, where the filter goes from one cell to the next."""
    rest = torch.zeros(1, 1, frame.cells.size, dtype=torch.double)
    rest[..., frame.cells.size // 2] = 1.0
    below, above = (
        frame.shift(rest, torch.tensor([np.expm1((cells + s) * frame.step) * LIGHT_KMS]))[0, 0] for s in (-1e-6, 1e-6)
    )
    assert float((above - below).abs().max()) < 1e-5


def test_a_shift_and_the_shift_back_are_mirror_images(frame):
    rest = torch.zeros(1, 1, frame.cells.size, dtype=torch.double)
    rest[..., frame.cells.size // 2] = 1.0
    there, back = (frame.shift(rest, torch.tensor([np.expm1(s * frame.step) * LIGHT_KMS]))[0, 0] for s in (0.3, -0.3))
    middle = frame.cells.size // 2 - frame.margin
    reach = torch.arange(-6, 7)
    assert torch.allclose(there[middle + reach], back[middle - reach], atol=1e-9)


def test_the_slope_equals_finite_differences_and_autograd(frame):
    rest = torch.from_numpy(frame.rest(line(FINE)[None], FINE))[None]
    v = torch.tensor([33.3], dtype=torch.double)
    slope = frame.shift(rest, v, slope=True)[0, 1]
    up, down = (frame.shift(rest, v + s)[0, 0] for s in (1e-3, -1e-3))
    assert torch.allclose(slope, (up - down) / 2e-3, atol=1e-8)
    v.requires_grad_()
    weight = torch.rand(slope.shape, dtype=torch.double, generator=torch.Generator().manual_seed(1))
    (frame.shift(rest, v)[0, 0] * weight).sum().backward()
    assert v.grad.item() == pytest.approx((slope * weight).sum().item(), rel=1e-9)


def test_dust_dims_by_its_curve(frame):
    ones = torch.ones(1, 1, frame.cells.size)
    star = frame(ones, torch.zeros(1), torch.tensor([0.4]))[0, 0].double()
    assert np.allclose(star, 10 ** (-0.16 * np.linspace(3.0, 2.0, 256)), rtol=1e-5)


def test_the_filter_is_exact_for_polynomials_of_degree_five():
    r = torch.linspace(-0.5, 0.5, 11, dtype=torch.double)
    value, slope = lagrange(r)
    nodes = torch.arange(-2, 4).double()
    for degree in range(6):
        assert torch.allclose(value @ nodes**degree, r**degree, atol=1e-12)
        expected = degree * r ** (degree - 1) if degree else torch.zeros_like(r)
        assert torch.allclose(slope @ nodes**degree, expected, atol=1e-11)


def test_numbers_out_of_range_are_refused():
    for options in ({"step": 0.0}, {"step": 0.5}, {"reach_kms": -1.0}, {"reach_kms": 1e6}):
        with pytest.raises(ModelError, match="rest frame: expected a step and reach above 0"):
            RestFrame(GRID, **options)
