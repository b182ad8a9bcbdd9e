"""The held-out density of spectra: closed form for a linear generator, and what it is to tell apart."""

import numpy as np
import pytest
import torch
from torch import Tensor

from bayesden.errors import InputError
from bayesden.evaluate.heldout import CrossFit, Spectra, held_out_evidence, log_evidence, log_volume_constant
from bayesden.model.flow_prior import FlowPrior
from bayesden.model.generator import Generator
from bayesden.model.kernel_prior import KDEPrior
from bayesden.spectrum import Grid
from bayesden.train.discrepancy import fit_discrepancy
from bayesden.train.generator import fit_generator
from bayesden.train.library import Library
from bayesden.train.prior import fit_prior
from bayesden.train.sources import split_of

SIZE, DIM = 64, 3


class LinearGenerator(Generator):
    """s = 1 + z A."""

    kind = "linear"
    config = {}  # noqa: RUF012

    def __init__(self, rows: Tensor) -> None:
        super().__init__(rows.shape[1], rows.shape[0])
        self.register_buffer("rows", rows)

    def project(self, flux: Tensor) -> Tensor:
        return flux

    unproject = project

    def encode_projected(self, projected: Tensor) -> Tensor:
        return (projected - 1) @ torch.linalg.pinv(self.rows)

    def decode_projected(self, z: Tensor) -> Tensor:
        return 1 + z @ self.rows

    def jacobian_projected(self, z: Tensor) -> tuple[Tensor, Tensor]:
        return self.decode_projected(z), self.rows + 0 * z.unsqueeze(-1)

    value_and_jacobian = jacobian_projected


def normal(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


@pytest.fixture(scope="module")
def twin() -> tuple[Spectra, LinearGenerator, KDEPrior, Tensor]:
    """Spectra of one Gaussian class with a low-rank discrepancy, and their exact log density."""
    generator = LinearGenerator(0.3 * normal(DIM, SIZE, seed=1))
    factor = 0.4 * normal(DIM, DIM, seed=2) + 0.5 * torch.eye(DIM)
    centre, factors = 0.2 * normal(DIM, seed=3), 0.1 * normal(2, SIZE, seed=4)
    variance = 0.2 + normal(SIZE, seed=5).square()
    prior = KDEPrior([2], DIM).double()  # two kernels in one place are one Gaussian
    prior.whitener[0] = torch.linalg.inv(torch.linalg.cholesky(factor @ factor.T))
    prior.points[:] = prior.whitener[0] @ centre
    rows = generator.rows
    spread = rows.T @ factor @ factor.T @ rows + factors.T @ factors + variance.diag()
    exact = torch.distributions.MultivariateNormal(1 + centre @ rows, spread)
    flux = exact.loc + normal(6, SIZE, seed=6) @ torch.linalg.cholesky(spread).T
    spectra = Spectra(flux, 0, generator.encode(flux) + 1.0, factors, variance)
    return spectra, generator, prior, exact.log_prob(flux)


def test_a_linear_generator_with_a_gaussian_prior_has_the_closed_form(twin: tuple) -> None:
    spectra, generator, prior, exact = twin
    found = log_evidence(spectra, generator, prior, draws=4096)
    torch.testing.assert_close(found.laplace, exact, atol=1e-4, rtol=0)
    torch.testing.assert_close(found.log_prob, exact, atol=0.05, rtol=0)
    assert (found.effective > 0.3).all()
    again, other = (log_evidence(spectra, generator, prior, draws=64, seed=s).log_prob for s in (0, 1))
    assert not torch.equal(again, other) and (again - other).abs().max() < 0.5


def test_a_volume_that_is_constant_changes_nothing(twin: tuple) -> None:
    spectra, generator, prior, exact = twin
    constant = log_volume_constant(generator, prior, 0)
    assert constant == pytest.approx(-float(generator.log_volume(torch.zeros(DIM).double())), abs=1e-9)
    found = log_evidence(spectra, generator, prior, volume=constant, draws=1024)
    torch.testing.assert_close(found.log_prob, exact, atol=0.1, rtol=0)
    bare = log_evidence(spectra, generator, prior, volume=0.0, draws=1024)  # control: its constant left out
    torch.testing.assert_close(bare.log_prob, exact + constant, atol=0.1, rtol=0)
    assert abs(constant) > 1


def test_a_mixture_is_summed_although_the_mode_is_one_of_two(twin: tuple) -> None:
    """Kernels apart: the density is the mean of those of both, the wide proposal finds the second."""
    spectra, generator, one, _ = twin
    other = KDEPrior([2], DIM).double()
    other.whitener[0] = one.whitener[0]
    other.points[:] = one.points[:] + 0.7
    both = KDEPrior([2], DIM).double()
    both.whitener[0] = one.whitener[0]
    both.points[:] = torch.stack([one.points[0], other.points[0]])
    each = [log_evidence(spectra, generator, prior, draws=4096).laplace for prior in (one, other)]
    expected = torch.logsumexp(torch.stack(each), 0) - np.log(2)
    found = log_evidence(spectra, generator, both, draws=4096)
    torch.testing.assert_close(found.log_prob, expected, atol=0.1, rtol=0)


def curves(n: int = 400, seed: int = 0) -> Library:
    """Two classes on curved sheets, two draws of each object."""
    rng = np.random.default_rng(seed)
    label, x = np.arange(n) % 2, np.linspace(0, 1, SIZE)
    u = 0.5 * rng.standard_normal((n, 2)) + label[:, None]
    flux = 1 + 0.4 * np.sin(4 * x + u[:, :1]) + 0.2 * u[:, 1:] * np.cos(9 * x) + 0.01 * rng.standard_normal((n, SIZE))
    flux = (flux / np.abs(flux).mean(1, keepdims=True)).astype(np.float32)
    return Library(
        Grid.uniform(size=SIZE), flux, label, np.array([f"star-{i // 2}" for i in range(n)]), classes=("A", "B")
    )


@pytest.fixture(scope="module")
def trained() -> tuple[Library, Generator, CrossFit]:
    library = curves()
    shape = {"components": 12, "hidden": (16, 16), "epochs": 60, "batch": 40}
    generator = fit_generator(library, latent_dim=2, **shape).generator
    return library, generator, CrossFit.of(library, generator, 1)


def test_a_spectrum_is_scored_with_a_discrepancy_that_has_not_seen_its_object(trained: tuple) -> None:
    library, generator, fit = trained
    assert set(fit.library.name) == {name for name in library.name if split_of(name) == "validation"}
    names = [set(fit.library.name[fit.half == h]) for h in (0, 1)]
    assert not names[0] & names[1] and all(names)
    rest = library.take(~np.isin(library.name, list(names[0])))
    factors, remainder = fit_discrepancy(rest, generator, 1)
    assert torch.equal(fit.factors[0], factors) and torch.equal(fit.remainder[0], remainder)


def test_the_better_prior_has_the_higher_density(trained: tuple) -> None:
    library, generator, fit = trained
    priors = {kind: fit_prior(library, generator, kind=kind) for kind in ("kde", "local-kde")}
    z = torch.cat([priors["kde"].latents(k) for k in range(2)])
    label = torch.arange(2).repeat_interleave(torch.tensor(priors["kde"].counts))
    priors["flow"] = FlowPrior.fit(z, label, 2, epochs=20)
    priors["classes mixed up"] = KDEPrior.fit(z, label.flip(0), 2)
    options = {"snr": 30.0, "per_class": 10}
    score, rows = {}, {}
    for name, prior in priors.items():
        rows[name], found, known = held_out_evidence(fit, generator, prior, **options)
        assert torch.isfinite(found.log_prob).all() and len(known) == len(rows[name])
        assert (found.log_prob - known).mean() < 0  # nobody knows more than the truth
        score[name] = float((found.log_prob - known).mean())
    assert all(np.array_equal(r, rows["kde"]) for r in rows.values())
    control = score.pop("classes mixed up")
    assert min(score.values()) > control + 1, (score, control)
    assert np.ptp(list(score.values())) < 3


def test_a_generator_that_has_too_few_latents_is_found_out(trained: tuple) -> None:
    library, generator, _ = trained
    shape = {"components": 12, "hidden": (16, 16), "epochs": 60, "batch": 40}
    one = fit_generator(library, latent_dim=1, **shape).generator
    scores = []
    for g, cross in ((generator, CrossFit.of(library, generator, 0)), (one, CrossFit.of(library, one, 0))):
        _, found, _ = held_out_evidence(cross, g, fit_prior(library, g), snr=50.0, per_class=10)
        scores.append(float(found.log_prob.mean()))
    assert scores[0] > scores[1] + 5


def test_two_objects_are_needed(trained: tuple) -> None:
    library, generator, _ = trained
    held = [name for name in sorted(set(library.name)) if split_of(name) == "validation"]
    few = library.take(~np.isin(library.name, held[1:]))
    with pytest.raises(InputError, match="expected two validation objects or more, got 1"):
        CrossFit.of(few, generator, 1)
