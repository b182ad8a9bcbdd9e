"""Laws of the rectangular grid: SciPy's interpolators, derivatives of every mode, draws, gaps, messages."""

from collections.abc import Callable

import numpy as np
import pytest
import torch
from scipy.interpolate import CubicSpline, RegularGridInterpolator
from torch import Tensor

from bayesden.errors import InputError
from bayesden.simulation.grids.interpolation import second_derivative_operator, weighted_sum
from bayesden.simulation.grids.rectangular import MODES, RectangularGrid
from tests.elsewhere import NAME, elsewhere

AXES = {
    "teff_K": torch.tensor([3500.0, 3750, 4000, 4500, 5000, 6000]),  # not equally spaced
    "logg": torch.tensor([0.0, 1.0, 2.5, 4.0, 5.0]),
    "feh": torch.tensor([-1.0, 0.0, 0.5]),
    "alpha_fe": torch.tensor([0.0, 0.4]),
}
SHAPE = tuple(len(a) for a in AXES.values())
N = 40
forward_mode = pytest.mark.filterwarnings("ignore:.*torch.jit.script:DeprecationWarning")  # torch's own, on first use


def make(**options: object) -> RectangularGrid:
    nodes = torch.rand(*SHAPE, N, generator=torch.Generator().manual_seed(1)) + 0.5
    parts = {"name": "toy", "label": "A toy", "unit": "1", "loglam": 3.85 + 1e-5 * torch.arange(N).double()}
    return RectangularGrid(**(parts | {"axes": AXES, "nodes": nodes} | options))


def uniform(n: int, grid: RectangularGrid, seed: int = 0) -> Tensor:
    return torch.rand(n, grid.uniforms, generator=torch.Generator().manual_seed(seed))


def scipy_spline(grid: RectangularGrid, row: np.ndarray, order: int = 0) -> np.ndarray:
    k = int(row[-1])
    axes = [a.numpy() for a in grid.axes.values()]
    place = tuple(slice(None) if m == k else int(np.argmin(np.abs(axes[m] - row[m]))) for m in range(len(axes)))
    if len(axes[k]) == 2:
        slope = np.diff(grid.nodes[place].double().numpy(), axis=0)[0] / np.diff(axes[k])[0]
        return slope if order else grid.nodes[place][0].double().numpy() + slope * (row[k] - axes[k][0])
    return CubicSpline(axes[k], grid.nodes[place].double().numpy())(row[k], order)


def scipy_multilinear(grid: RectangularGrid) -> RegularGridInterpolator:
    return RegularGridInterpolator([a.numpy() for a in grid.axes.values()], grid.nodes.double().numpy())


def test_a_spline_is_scipys_along_every_axis() -> None:
    grid = make()
    parameters = grid.draw(uniform(64, grid))
    assert set(parameters[:, -1].tolist()) == {0, 1, 2, 3}
    expected = np.array([scipy_spline(grid, row) for row in parameters.numpy()])
    np.testing.assert_allclose(grid.flux(parameters).numpy(), expected, rtol=2e-6, atol=2e-6)


def test_a_multilinear_draw_is_scipys() -> None:
    grid = make(mode="multilinear")
    parameters = grid.draw(uniform(64, grid))
    expected = scipy_multilinear(grid)(parameters[:, :-1].numpy())
    np.testing.assert_allclose(grid.flux(parameters).numpy(), expected, rtol=2e-6)


def test_every_mode_passes_through_the_nodes_and_a_batch_may_mix_them() -> None:
    grid = make()
    row = torch.tensor([[4000.0, 2.5, 0.5, 0.4, 0.0]]).double().repeat(5, 1)
    row[:, -1] = torch.arange(-1, 4)
    torch.testing.assert_close(grid.flux(row), grid.nodes[2, 2, 2, 1].expand(5, -1), rtol=1e-6, atol=1e-6)
    mixed = torch.cat([grid.draw(uniform(8, grid)), make(mode="multilinear").draw(torch.rand(8, 5))])
    apart = torch.cat([grid.flux(part) for part in mixed.split(1)])
    assert torch.equal(grid.flux(mixed), apart)  # bit by bit: a spectrum does not know its batch


@pytest.mark.parametrize("n", [2, 3, 4, 7])
def test_the_spline_is_exact_for_the_polynomials_it_holds(n: int) -> None:
    axis = torch.tensor([0.0, 1, 1.5, 3, 3.2, 4, 6])[:n].double()
    degree = min(n - 1, 3)
    second = degree * (degree - 1) * axis ** max(degree - 2, 0)
    torch.testing.assert_close(second_derivative_operator(axis) @ axis**degree, second.expand(n), rtol=1e-10, atol=1e-9)


@forward_mode
@pytest.mark.parametrize("derivative", ["jvp", "jacfwd", "jacrev", "backward"])
@pytest.mark.parametrize("k", [0, 1, 2, 3])
def test_derivatives_of_a_spline_are_scipys(k: int, derivative: str) -> None:
    grid = make()
    row = torch.tensor([[4000.0, 2.5, 0.0, 0.4, k]]).double()
    row[0, k] = {0: 4321.0, 1: 3.3, 2: 0.2, 3: 0.1}[k]
    expected = np.zeros((N, 5))
    expected[:, k] = scipy_spline(grid, row[0].numpy(), 1)
    np.testing.assert_allclose(jacobian(grid.flux, row, derivative), expected, rtol=1e-5, atol=1e-5)


@forward_mode
@pytest.mark.parametrize("derivative", ["jvp", "jacfwd", "jacrev", "backward"])
def test_derivatives_of_multilinear_are_finite_differences(derivative: str) -> None:
    grid = make()
    row = np.array([4321.0, 3.3, 0.2, 0.1, -1])
    steps = np.array([10, 0.1, 0.05, 0.05])
    exact = scipy_multilinear(grid)
    expected = np.zeros((N, 5))
    for k in range(4):  # of SciPy in double precision; multilinear, so exact for any step within the cell
        up, down = row[:-1].copy(), row[:-1].copy()
        up[k] += steps[k]
        down[k] -= steps[k]
        expected[:, k] = (exact(up)[0] - exact(down)[0]) / (2 * steps[k])
    np.testing.assert_allclose(jacobian(grid.flux, torch.tensor(row[None]), derivative), expected, rtol=1e-5, atol=1e-6)


def jacobian(function: Callable[[Tensor], Tensor], row: Tensor, how: str) -> np.ndarray:
    if how == "jvp":
        columns = [torch.func.jvp(function, (row,), (e[None],))[1][0] for e in torch.eye(5).double()]
        return torch.stack(columns, 1).numpy()
    if how == "backward":
        leaf = row.clone().requires_grad_()
        flux = function(leaf)
        rows = [torch.autograd.grad(flux[0, i], leaf, retain_graph=True)[0][0] for i in range(N)]
        return torch.stack(rows).numpy()
    return getattr(torch.func, how)(function)(row)[0, :, 0].numpy()


def test_weights_that_are_not_used_are_not_read() -> None:
    nodes = torch.tensor([[1.0, 2.0], [torch.nan, torch.nan]])
    index, use = torch.tensor([[0, 1], [1, 0]]), torch.tensor([[True, False], [False, True]])
    weight = torch.tensor([[2.0, 5.0], [5.0, 3.0]], requires_grad=True)
    total = weighted_sum(nodes, index, weight, use)
    assert total.tolist() == [[2, 4], [3, 6]]
    total.sum().backward()
    assert weight.grad.tolist() == [[3, 0], [0, 3]]


def test_draws_are_uniform_within_the_ranges() -> None:
    ranges = {"teff_K": (3600.0, 4600.0), "logg": (0.5, 4.0)}
    spline, linear = make(ranges=ranges), make(ranges=ranges, mode="multilinear")
    rows = spline.draw(uniform(4000, spline))
    for k, (name, (low, high)) in enumerate(spline.ranges.items()):
        along, across = rows[rows[:, -1] == k, k], rows[rows[:, -1] != k, k]
        assert len(along) / 4000 == pytest.approx(0.25, abs=0.03)
        assert low <= along.min() and along.max() <= high
        assert along.mean().item() == pytest.approx((low + high) / 2, abs=0.04 * (high - low))
        inside = [v for v in AXES[name].double().tolist() if low <= v <= high]
        assert sorted(set(across.tolist())) == inside
        counts = np.array([(across == v).sum().item() for v in inside])
        assert counts.min() / len(across) == pytest.approx(1 / len(inside), abs=0.04)
    rows = linear.draw(uniform(4000, linear))
    for k, (low, high) in enumerate(linear.ranges.values()):  # quartiles of a uniform density
        place = ((rows[:, k] - low) / (high - low)).quantile(torch.tensor([0.25, 0.5, 0.75]).double())
        np.testing.assert_allclose(place.numpy(), [0.25, 0.5, 0.75], atol=0.04)


def test_the_default_ranges_are_those_of_pal_and_dobos_as_far_as_the_grid_goes() -> None:
    assert make().ranges == {
        "teff_K": (3500, 5000),
        "logg": (0, 5),
        "feh": (-1, 0.5),
        "alpha_fe": (0, pytest.approx(0.4)),
    }
    hot = make(axes=AXES | {"teff_K": AXES["teff_K"] + 10000})
    assert hot.ranges["teff_K"] == (13500, 16000)


@pytest.mark.parametrize("mode", MODES)
def test_a_draw_depends_on_its_own_numbers_alone(mode: str) -> None:
    grid = make(mode=mode)
    numbers = uniform(32, grid)
    rows = grid.draw(numbers)
    assert rows.dtype == torch.float64 and rows.shape == (32, len(grid.parameters))
    assert torch.equal(grid.draw(numbers[7:9]), rows[7:9])
    ends = grid.draw(torch.tensor([[0.0], [1.0]]).expand(-1, grid.uniforms))
    assert torch.isfinite(grid.flux(ends)).all()


def test_draws_go_round_spectra_that_are_missing() -> None:
    nodes = make().nodes.clone()
    nodes[0, 0, 0, 0, 3] = torch.nan  # one bad pixel is enough
    nodes[4:, :2] = torch.inf
    for mode in MODES:
        grid = make(nodes=nodes, mode=mode)
        rows = grid.draw(uniform(2000, grid))
        assert torch.isfinite(grid.flux(rows)).all()
        assert set(rows[:, -1].tolist()) == ({0, 1, 2, 3} if mode == "spline" else {-1})
        corner = (rows[:, 0] > 4500) & (rows[:, 1] < 2.5)
        assert not (corner & (rows[:, -1] == -1)).any()
    assert len(grid.missing()) == 1 + 2 * 2 * 3 * 2
    assert grid.missing()[0] == "teff_K = 3500, logg = 0, feh = -1, alpha_fe = 0"
    with pytest.raises(
        InputError, match=r"expected spectra on all sides of teff_K = 4600, .*, but the grid lacks some"
    ):
        grid.flux(torch.tensor([[4600.0, 2.0, 0.1, 0.1, -1]]))
    with pytest.raises(InputError, match=r"on all sides of .*, axis = 0, but"):
        grid.flux(torch.tensor([[3600.0, 0.0, -1.0, 0.0, 0]]))
    beside = torch.tensor([[4500.0, 3.0, 0.1, 0.1, -1]])  # needs the far side of the gap with weight zero
    assert torch.isfinite(grid.flux(beside)).all()


def test_a_subset_gives_the_same_spectra_from_fewer() -> None:
    grid = make()
    part = grid.subset({"teff_K": (3800.0, 4400.0), "logg": (2.5, 2.5)})
    assert part.axes["teff_K"].tolist() == [3750, 4000, 4500] and part.axes["logg"].tolist() == [2.5]
    assert part.ranges["teff_K"] == (3800, 4400) and part.shape == (3, 1, 3, 2)
    rows = torch.tensor([[4123.0, 2.5, 0.3, 0.3, -1], [4000.0, 2.5, 0.3, 0.4, 2]])
    assert torch.equal(part.flux(rows), grid.flux(rows))
    drawn = part.draw(uniform(100, part))
    assert set(drawn[:, -1].tolist()) == {0, 2, 3} and (drawn[:, 1] == 2.5).all()  # nothing runs along one value


@pytest.mark.parametrize("mode", MODES)
def test_another_device_gives_the_same(mode: str) -> None:
    grid = make(mode=mode)
    numbers = uniform(8, grid)
    here = grid.draw(numbers)
    with elsewhere() as operations:
        other = grid.to(NAME)
        drawn = other.draw(numbers.to(NAME))
        flux = other.flux(drawn)
        assert operations and flux.device.type == NAME
        drawn, flux = drawn.cpu(), flux.cpu()
    torch.testing.assert_close(drawn, here)
    torch.testing.assert_close(flux, grid.flux(here))


BAD = {
    "below": ([[3499.0, 1, 0, 0, -1]], "teff_K: expected 3500 to 6000, got 3499"),
    "above": ([[3500.0, 5.1, 0, 0, -1]], "logg: expected 0 to 5, got 5.1"),
    "not a number": ([[torch.nan, 1, 0, 0, -1]], "teff_K: expected 3500 to 6000, got nan"),
    "off the values": ([[3600.0, 1.5, 0, 0, 0]], "logg: expected a value of the grid, got 1.5 with axis = 0"),
    "unknown axis": ([[3600.0, 1, 0, 0, 4]], "axis: expected -1 or 0 to 3, got 4"),
    "no axis": ([[3600.0, 1, 0, 0]], r"parameters: expected shape \(B, 5\): teff_K, .*, axis, got \(1, 4\)"),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_parameters_are_named(case: str) -> None:
    rows, message = BAD[case]
    with pytest.raises(InputError, match=message):
        make().flux(torch.tensor(rows))


BAD_GRIDS = {
    "shape": ({"nodes": torch.zeros(2, 3)}, r"nodes: expected shape \(6, 5, 3, 2, 40\), got \(2, 3\)"),
    "descending": ({"axes": AXES | {"feh": torch.tensor([1.0, 0, -1])}}, "feh: expected ascending values, got"),
    "wavelengths": (
        {"loglam": torch.arange(N).double() ** 2},
        "loglam: expected at least 2 values, ascending in equal",
    ),
    "mode": ({"mode": "cubic"}, "mode: expected spline or multilinear, got 'cubic'"),
    "unknown range": ({"ranges": {"carbon": (0, 1)}}, "range: expected one of teff_K, .*, got 'carbon'"),
    "range outside": (
        {"ranges": {"teff_K": (3000, 4000)}},
        "teff_K: expected a range within 3500 to 6000, got 3000 to",
    ),
    "range reversed": (
        {"ranges": {"teff_K": (4000, 3600)}},
        "teff_K: expected a range within 3500 to 6000, got 4000 to",
    ),
    "between values": (
        {"ranges": {"teff_K": (3510, 3520), "logg": (0.1, 0.2)}},
        "expected a complete part within the ranges teff_K 3510 to 3520, logg .*, got none",
    ),
    "nothing there": ({"nodes": torch.full((*SHAPE, N), torch.nan)}, "expected a complete part .*, got none"),
}


@pytest.mark.parametrize("case", BAD_GRIDS)
def test_bad_grids_are_named(case: str) -> None:
    options, message = BAD_GRIDS[case]
    with pytest.raises(InputError, match=message):
        make(**options)
