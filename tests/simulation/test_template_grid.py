"""Laws of template grids and of the trained generator as a grid: sums, mixtures, draws, derivatives, messages."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from bayesden.errors import InputError
from bayesden.io.resample import overlap_matrix
from bayesden.model.class_prior import CLASSES
from bayesden.model.flow_prior import FlowPrior
from bayesden.model.joint import SpectrumModel
from bayesden.model.local_kde import LocalKDEPrior
from bayesden.simulation.grids.generator import GeneratorGrid
from bayesden.simulation.grids.template_files import read_templates
from bayesden.simulation.grids.templates import TemplateGrid
from bayesden.spectrum import Grid
from tests.elsewhere import NAME, elsewhere

LOGLAM = np.arange(3.6, 3.9, 2e-4)
START, STOP, STEP = 5000.0, 6000.0, 2e-4
forward_mode = pytest.mark.filterwarnings("ignore:.*torch.jit.script:DeprecationWarning")  # torch's own, on first use


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Six empirical G stars and one Carbon star, four archetypes of A and G, and eigenspectra of CVs."""
    folder = tmp_path_factory.mktemp("templates")
    wavelength = 10**LOGLAM / 6000
    slopes = np.array([-2.0, -1.9, -1.5, -1.0, 0.0, 2.0])
    flux = wavelength ** slopes[:, None]
    names = np.array([f"G{i}" for i in range(6)])
    np.savez(folder / "stars.npz", loglam=LOGLAM, flux=flux, name=names, spectral_class=np.array(["G"] * 6))
    np.savez(folder / "more.npz", loglam=LOGLAM, flux=flux[:1] ** 2, name=np.array(["Carbon"]))
    np.savez(folder / "cv.npz", loglam=LOGLAM, eigenspectra=[9 + wavelength, wavelength, 6 * wavelength**2])
    fine = np.arange(4000.0, 7900.0, 1.0)
    basis = np.array([fine / 6000, (fine / 6000) ** -2])
    rows = np.array([[1.0, 0.0], [2.0, 1.0], [3.0, 5.0], [0.0, 4.0]])
    np.savez(folder / "rows.npz", wavelength_A=fine, basis_A=basis, coeff_A=rows, basis_G=basis, coeff_G=rows)
    return folder


@pytest.fixture(scope="module")
def grid(folder: Path) -> TemplateGrid:
    return TemplateGrid.read(folder, START, STOP, step=STEP)


def rows(*values: tuple[float, ...]) -> Tensor:
    return torch.tensor(values, dtype=torch.float64)


def numbers(n: int, size: int) -> Tensor:
    return torch.rand(n, size, generator=torch.Generator().manual_seed(3))


A, G, CV, CARBON = (CLASSES.index(c) for c in ("A", "G", "CV", "Carbon"))


def test_an_archetype_is_its_coefficients_on_the_basis(folder: Path, grid: TemplateGrid) -> None:
    found = read_templates(folder, Grid(np.linspace(START, STOP, 1000)), STEP / np.log(10))
    basis, coefficients = found.bases["A"]
    expected = coefficients @ basis
    expected /= expected.mean(1, keepdims=True)
    flux = grid.flux(rows(*((A, i, i, 0) for i in range(4))))
    np.testing.assert_allclose(flux.numpy(), expected, rtol=1e-5)
    np.testing.assert_allclose(10 ** grid.loglam.numpy(), found.wavelength)
    assert np.diff(grid.loglam.numpy() * np.log(10)) == pytest.approx(STEP)
    assert grid.loglam[0] < np.log10(START) and grid.loglam[-1] > np.log10(STOP)


def test_an_empirical_template_is_itself_and_a_share_mixes_two(folder: Path, grid: TemplateGrid) -> None:
    found = read_templates(folder, Grid(np.linspace(START, STOP, 1000)), STEP / np.log(10)).of_class("G")
    flux = grid.flux(rows((G, 5, 8, 0), (G, 5, 8, 1), (G, 5, 8, 0.25), (G, 5, 5, 0.3))).numpy()
    np.testing.assert_allclose(flux[0], found[1].flux, rtol=1e-6)  # after the four archetypes
    np.testing.assert_allclose(flux[1], found[4].flux, rtol=1e-6)
    np.testing.assert_allclose(flux[2], 0.75 * flux[0] + 0.25 * flux[1], rtol=1e-6)
    np.testing.assert_allclose(flux[3], flux[0], rtol=1e-6)
    assert grid.template_names[4 + 4 + 1] == "pyhammer/G1"


@forward_mode
def test_the_derivative_in_the_share_is_the_difference(grid: TemplateGrid) -> None:
    row = rows((G, 5, 8, 0.25))
    expected = (grid.flux(rows((G, 5, 8, 1))) - grid.flux(rows((G, 5, 8, 0))))[0]
    _, tangent = torch.func.jvp(grid.flux, (row,), (rows((0, 0, 0, 1)),))
    torch.testing.assert_close(tangent[0], expected, rtol=1e-5, atol=1e-6)
    leaf, ramp = row.clone().requires_grad_(), torch.linspace(0, 1, len(expected))
    (grid.flux(leaf) * ramp).sum().backward()
    assert leaf.grad[0, 3].item() == pytest.approx((expected * ramp).sum().item(), rel=1e-4)


def test_eigenspectra_give_a_lattice_of_positive_spectra(grid: TemplateGrid) -> None:
    n = int(grid.counts[grid.classes.tolist().index(CV)])
    flux = grid.flux(rows(*((CV, i, i, 0) for i in range(n))))
    assert 40 < n < 81 and flux.min() > 0  # of 9 x 9, those that are
    np.testing.assert_allclose(flux.mean(1).numpy(), 1, rtol=1e-5)


def test_draws_take_classes_and_kinds_alike_and_mix_neighbours(grid: TemplateGrid) -> None:
    drawn = grid.draw(numbers(8000, grid.uniforms))
    assert drawn.dtype == torch.float64 and torch.isfinite(grid.flux(drawn[:500])).all()
    for k in grid.classes.tolist():
        assert (drawn[:, 0] == k).double().mean().item() == pytest.approx(1 / 4, abs=0.02)
    g = drawn[drawn[:, 0] == G]
    archetypes = g[:, 1] < 4
    assert archetypes.double().mean().item() == pytest.approx(0.5, abs=0.04)
    assert torch.equal(g[archetypes, 1], g[archetypes, 2])
    assert set(g[:, 1].tolist()) == set(range(10))
    assert not (g[~archetypes, 1] == g[~archetypes, 2]).any()
    bluest = g[g[:, 1] == 4]
    assert set(bluest[:, 2].tolist()) == {5, 6, 7, 8}  # and not the reddest
    assert g[:, 3].mean().item() == pytest.approx(0.5, abs=0.03)
    carbon = drawn[drawn[:, 0] == CARBON]
    assert (carbon[:, 1:3] == 0).all()  # alone in its class
    assert torch.equal(grid.draw(numbers(8000, 4)[70:72]), drawn[70:72])


def test_a_label_names_the_licences(grid: TemplateGrid) -> None:
    assert "8 archetypes" not in grid.label and "empirical templates at R of about 2000" in grid.label
    assert all(text in grid.label for text in ("MIT", "redrock-templates, BSD-3-Clause", "Kesseli"))
    assert len(grid.sources) == 4 and "\n" not in grid.label


BAD = {
    "class": ((0, 0, 0, 0), r"class: expected one of 2 \(A\), 4 \(G\), 7 \(CV\), 8 \(Carbon\), got 0"),
    "template": ((G, 10, 0, 0), "template: expected one of class G: 0 to 9, got 10"),
    "partner": ((A, 0, 0.5, 0), "partner: expected one of class A: 0 to 3, got 0.5"),
    "share": ((A, 0, 0, 1.1), "share: expected 0 to 1, got 1.1"),
    "not a number": ((A, torch.nan, 0, 0), "template: expected one of class A: 0 to 3, got nan"),
    "columns": ((A, 0, 0), r"parameters: expected shape \(B, 4\): class, template, partner, share, got \(1, 3\)"),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_parameters_are_named(grid: TemplateGrid, case: str) -> None:
    row, message = BAD[case]
    with pytest.raises(InputError, match=message):
        grid.flux(rows(row))


def test_bad_folders_are_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"expected spec-\*.fits or template .npz files, found neither"):
        TemplateGrid.read(tmp_path, START, STOP)
    with pytest.raises(InputError, match=r"templates: expected wavelengths in steps within them, got 6000.0 to 5000.0"):
        TemplateGrid.read(tmp_path, STOP, START)
    np.savez(tmp_path / "a.npz", loglam=LOGLAM, flux=np.ones((1, len(LOGLAM))), name=np.array(["quasar"]))
    with pytest.raises(InputError, match=r"expected templates of the classes O, B, .*, got none"):
        TemplateGrid.read(tmp_path, START, STOP)
    (tmp_path / "b.npz").write_bytes(b"PK\x03\x04 cut short")
    with pytest.raises(InputError, match=r"b.npz: expected a template file, got one that cannot be read"):
        TemplateGrid.read(tmp_path, START, STOP)


def test_the_reference_templates_make_a_grid_of_all_classes(reference_data: Path) -> None:
    grid = TemplateGrid.read(reference_data / "templates", 5500.0, 6800.0, step=2e-4)
    assert len(grid.classes) == len(CLASSES) and len(grid.template_names) > 10000
    flux = grid.flux(grid.draw(numbers(200, 4)))
    assert torch.isfinite(flux).all() and (flux > -0.1).all()


@pytest.fixture(scope="module", params=["kde", "local"])
def model(request: pytest.FixtureRequest, toy_model: Callable[..., SpectrumModel]) -> SpectrumModel:
    if request.param == "kde":
        return toy_model()
    latents = torch.randn(120, 2, generator=torch.Generator().manual_seed(0))
    return toy_model(latent_prior=LocalKDEPrior.fit(latents, torch.arange(120) % 3, 3))


def test_ancestral_draws_have_the_priors_moments(model: SpectrumModel) -> None:
    grid = GeneratorGrid.of(model)
    drawn = grid.draw(numbers(30000, grid.uniforms))
    assert grid.parameters == ("class", "z1", "z2") and grid.uniforms == 4
    for k in range(3):
        z = drawn[drawn[:, 0] == k, 1:]
        assert len(z) / 30000 == pytest.approx(1 / 3, abs=0.01)
        covariance, centre = model.latent_prior.covariance(k), model.latent_prior.latents(k).double().mean(0)
        off = torch.linalg.solve_triangular(torch.linalg.cholesky(covariance), (z - centre).T, upper=False)
        np.testing.assert_allclose(off.mean(1).numpy(), 0, atol=0.04)  # four standard errors
        np.testing.assert_allclose(torch.cov(off).numpy(), np.eye(2), atol=0.06)
    assert torch.equal(grid.draw(numbers(30000, 4)[5:7]), drawn[5:7])
    assert torch.isfinite(grid.draw(torch.tensor([[0.0] * 4, [1.0] * 4]))).all()


def test_integrating_over_the_models_pixels_gives_back_the_generator(model: SpectrumModel) -> None:
    grid = GeneratorGrid.of(model, step=2e-5)
    z = model.latent_prior.latents(0)[:5]
    fine = grid.flux(torch.cat([torch.zeros(5, 1), z], 1).double())
    back = (overlap_matrix(Grid(10 ** grid.loglam.numpy()), model.grid) @ fine.double().numpy().T).T
    expected = model.generator(z).numpy()
    np.testing.assert_allclose(back[:, 1:-1], expected[:, 1:-1], rtol=2e-4)
    inner = np.interp(model.grid.wavelength, 10 ** grid.loglam.numpy(), fine[0].numpy())
    assert np.abs(inner - expected[0]).max() < 0.02  # smooth spectra: the value at the centre is nearly the mean


@forward_mode
def test_derivatives_in_the_latents_are_the_generators(model: SpectrumModel) -> None:
    grid = GeneratorGrid.of(model)
    row = grid.draw(numbers(1, 4))
    jacobian = torch.func.jacfwd(grid.flux)(row)[0, :, 0]
    assert (jacobian[:, 0] == 0).all()  # the class is a label
    step = torch.eye(3, dtype=torch.float64)[1:] * 1e-2
    expected = (grid.flux(row + step) - grid.flux(row - step)) / 2e-2
    torch.testing.assert_close(jacobian[:, 1:].T, expected, rtol=1e-2, atol=1e-3)
    torch.testing.assert_close(torch.func.jacrev(grid.flux)(row)[0, :, 0].float(), jacobian, rtol=1e-4, atol=1e-5)


def test_bad_latents_and_steps_are_named(model: SpectrumModel) -> None:
    grid = GeneratorGrid.of(model)
    for row, message in {
        (3.0, 0.0, 0.0): "class: expected 0 to 2, A, G, M, got 3",
        (0.5, 0.0, 0.0): "class: expected 0 to 2, A, G, M, got 0.5",
        (0.0, torch.nan, 0.0): r"expected finite latents, got \[nan, 0.0\]",
        (0.0, 0.0): r"parameters: expected shape \(B, 3\): class, z1, z2, got \(1, 2\)",
    }.items():
        with pytest.raises(InputError, match=message):
            grid.flux(rows(row))
    with pytest.raises(InputError, match=r"step: expected at most the model's pixels, 0.0\d+, got 0.1"):
        GeneratorGrid.of(model, step=0.1)


def test_latents_without_kernels_are_refused(toy_model: Callable[..., SpectrumModel]) -> None:
    with pytest.raises(InputError, match="expected latents with a density of kernels, got flow"):
        GeneratorGrid.of(toy_model(latent_prior=FlowPrior([2, 2, 2], 2)))


@pytest.mark.parametrize("kind", ["templates", "generator"])
def test_another_device_gives_the_same(kind: str, grid: TemplateGrid, toy_model: Callable[..., SpectrumModel]) -> None:
    one = grid if kind == "templates" else GeneratorGrid.of(toy_model())
    uniform = numbers(8, one.uniforms)
    here = one.draw(uniform)
    with elsewhere() as operations:
        other = one.to(NAME)
        drawn = other.draw(uniform.to(NAME))
        flux = other.flux(drawn)
        assert operations and flux.device.type == NAME
        drawn, flux = drawn.cpu(), flux.cpu()
    torch.testing.assert_close(drawn, here)
    torch.testing.assert_close(flux, one.flux(here))
