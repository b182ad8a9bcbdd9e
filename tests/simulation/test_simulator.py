import numpy as np
import pytest
import torch

from bayesden.errors import InputError
from bayesden.evaluate.efficiency import jacobian
from bayesden.simulation.effects import ab_magnitude
from bayesden.simulation.instruments.pfs_mr import pfs_mr
from bayesden.simulation.instruments.sdss import Sdss
from bayesden.simulation.simulator import TENSORS, Simulation, Simulator
from tests.elsewhere import NAME, elsewhere

from .conftest import line_grid, plain_instrument

WHOLE = {
    "pfs-mr": lambda: Simulator(line_grid(7060.0, 8900.0, 3e-5), pfs_mr(), seed=3),
    "pfs-mr, multilinear": lambda: Simulator(line_grid(7060.0, 8900.0, 3e-5, mode="multilinear"), pfs_mr(), seed=3),
    "sdss": lambda: Simulator(line_grid(3500.0, 10600.0, 5e-5), Sdss(exposures=2), seed=3, normalize=False),
}


def test_a_spectrum_is_the_same_in_every_batch(simulator):
    whole = simulator.observe(torch.arange(40))
    parts = Simulation.gather(simulator.stream(40, batch=7), 40)
    for key in ("clean", "flux", "ivar", "sigma"):
        assert torch.allclose(getattr(parts, key), getattr(whole, key), rtol=1e-5)
    assert np.array_equal(parts.parameters["teff_K"], whole.parameters["teff_K"])
    alone = simulator.observe(torch.tensor([23]))
    assert torch.allclose(alone.flux[0], whole.flux[23], rtol=1e-5)
    assert not torch.allclose(alone.flux[0, 0], alone.flux[0, 1])


@pytest.fixture(scope="module", params=list(WHOLE))
def real(request):
    """A simulator with each of the instruments."""
    return WHOLE[request.param]()


def agree(one, other):
    """The same spectra: to the rounding of single precision, the defects alike."""
    assert torch.equal(one.mask, other.mask)
    torch.testing.assert_close(one.clean, other.clean, rtol=2e-6, atol=1e-8)
    torch.testing.assert_close(one.sigma, other.sigma, rtol=1e-4, atol=0)
    torch.testing.assert_close(one.ivar, other.ivar, rtol=1e-3, atol=0)
    assert float(((one.flux - other.flux) / one.sigma).abs().max()) < 1e-3


def test_no_batch_and_no_chunk_changes_a_spectrum(real):
    index = torch.arange(5, 14)
    whole = real.observe(index)
    agree(whole, Simulation.gather(real.stream(9, batch=2, start=5), 9))
    order = torch.tensor([7, 2, 0, 8, 1, 3, 6, 5, 4])
    shuffled = real.observe(index[order])
    agree(Simulation(whole.wavelength, *(getattr(whole, k)[order] for k in TENSORS), whole.parameters), shuffled)
    assert np.array_equal(shuffled.parameters["redshift"], whole.parameters["redshift"][order])


def test_an_accelerator_makes_the_same_spectra(real):
    here = real.observe(torch.arange(3))
    with elsewhere() as operations:
        there = real.to(NAME).observe(torch.arange(3))
        assert operations and there.flux.device.type == there.wavelength.device.type == NAME
        moved = Simulation(there.wavelength.cpu(), *(getattr(there, k).cpu() for k in TENSORS), there.parameters)
    agree(here, moved)
    for name in here.parameters.dtype.names:
        assert np.allclose(here.parameters[name], moved.parameters[name], rtol=1e-5)


def test_seeds_differ(simulator):
    other = Simulator(simulator.grid, simulator.instrument, seed=4)
    assert not torch.allclose(other.observe(torch.arange(3)).clean, simulator.observe(torch.arange(3)).clean)


def test_parameters_are_uniform_over_their_ranges(simulator):
    table = simulator.observe(torch.arange(500)).parameters
    for name, (low, high) in {**simulator.ranges, "noise": (0.05, 0.1)}.items():
        x = (table[name] - low) / (high - low)
        assert x.min() >= 0 and x.max() <= 1
        assert x.mean() == pytest.approx(0.5, abs=0.06)
    assert (table["index"] == np.arange(500)).all()


def test_magnitude_and_level_are_what_the_table_says(simulator):
    seen = simulator.observe(torch.arange(5))
    assert torch.allclose(seen.clean.median(1).values, torch.full((5,), 0.5))
    physical = seen.clean / torch.from_numpy(seen.parameters["scale"])[:, None]
    magnitude = ab_magnitude(physical, simulator.instrument.detectors[0].edges)[:, 0]
    assert torch.allclose(magnitude, torch.from_numpy(seen.parameters["magnitude"]), atol=1e-3)


def test_chi_square_of_the_noise_is_one_and_snr_is_flux_over_sigma(simulator):
    seen = simulator.observe(torch.arange(200))
    z = (seen.flux - seen.clean[:, None]) / seen.sigma
    assert z.square().mean().item() == pytest.approx(1, abs=5 * np.sqrt(2 / z.numel()))
    assert (z[..., 1:] * z[..., :-1]).mean().abs() < 5 / np.sqrt(z.numel())
    snr = (seen.clean[:, None] / seen.sigma).flatten(1).median(1).values
    assert np.allclose(seen.parameters["snr"], snr, rtol=1e-4)


def test_the_shift_of_a_line_is_the_redshift():
    still = {"redshift": (0.0, 0.0), "ebv": (0.0, 0.0)}
    moving = still | {"redshift": (0.002, 0.002)}
    seen = [Simulator(line_grid(), plain_instrument(3000), ranges=r).observe(torch.arange(1)) for r in (still, moving)]
    wavelength = seen[0].wavelength.numpy()
    near = [(wavelength > 8500 * (1 + z)) & (wavelength < 8500.8 * (1 + z)) for z in (0, 0.002)]
    centres = [wavelength[n][s.clean[0].numpy()[n].argmin()] for s, n in zip(seen, near, strict=True)]
    assert centres[1] / centres[0] - 1 == pytest.approx(0.002, abs=1e-4)


@pytest.mark.parametrize(("column", "step"), [(0, 5.0), (1, 0.01), (3, 3e-5), (4, 0.01), (5, 0.01)])
def test_noiseless_is_differentiable_in_every_parameter(column, step):
    simulator = Simulator(line_grid(mode="multilinear"), plain_instrument())
    theta = simulator.draw(torch.arange(1))
    theta[0, 0] = 4300.0  # away from a node, where the multilinear derivative jumps
    slope = jacobian(simulator.noiseless, theta, [column])[0, :, 0]
    moved = theta.repeat(2, 1)
    moved[0, column] += step
    moved[1, column] -= step
    up, down = simulator.noiseless(moved).double()
    assert torch.allclose(slope, (up - down) / (2 * step), atol=1e-2 * float(slope.abs().max()))


def test_reverse_mode_equals_forward_mode():
    simulator = Simulator(line_grid(mode="multilinear"), plain_instrument())
    theta = simulator.draw(torch.arange(2))
    columns = [0, 1, 3, 4, 5]  # but not the grid's axis
    slope = jacobian(simulator.noiseless, theta, columns)
    weight = torch.randn(300, generator=torch.Generator().manual_seed(1))
    theta.requires_grad_()
    (simulator.noiseless(theta) * weight).sum().backward()
    forward = torch.einsum("bdp,d->bp", slope, weight.double())
    assert torch.allclose(theta.grad[:, columns], forward, rtol=1e-3, atol=1e-4 * float(forward.abs().max()))


def test_what_the_spline_holds_on_the_grid_is_not_taken_for_known(simulator):
    theta = simulator.draw(torch.arange(20))
    held = theta[theta[:, 2] == 0][:1]  # along temperature
    assert jacobian(simulator.noiseless, held, [0, 3, 4, 5]).shape == (1, 300, 4)
    with pytest.raises(InputError, match="depends on column 1, got a derivative of 0"):
        jacobian(simulator.noiseless, held, [0, 1])


def test_stream_is_endless_and_starts_where_it_is_told(simulator):
    stream = simulator.stream(batch=3, start=10)
    first, second = next(stream), next(stream)
    assert first.parameters["index"].tolist() == [10, 11, 12]
    assert second.parameters["index"].tolist() == [13, 14, 15]


@pytest.mark.parametrize(
    ("ranges", "message"),
    [
        ({"mass": (0, 1)}, "range: expected one of redshift, ebv, magnitude, got 'mass'"),
        ({"ebv": (0.2, 0.1)}, "ebv: expected a range from low to high, got 0.2 to 0.1"),
        ({"magnitude": (float("nan"), 20)}, "magnitude: expected a range"),
        ({"redshift": (-0.3, 0.3)}, "redshift: expected a range within"),
    ],
)
def test_ranges_that_cannot_be_used_are_refused(ranges, message):
    with pytest.raises(InputError, match=message):
        Simulator(line_grid(), plain_instrument(), ranges=ranges)
