"""Laws of the generators: derivatives, projection, volume, configuration; over both shapes."""

import json
import math

import pytest
import torch

from bayesden.errors import ModelError
from bayesden.model.generator import BasisGenerator, ConvGenerator, Generator, build_generator
from bayesden.train.generator import isometry_loss

SIZE, LATENTS = 64, 3
SHAPES = {
    "basis": lambda: BasisGenerator(SIZE, LATENTS, components=7, hidden=(9, 11)),
    "conv": lambda: ConvGenerator(SIZE, LATENTS, channels=(4, 6)),
}


@pytest.fixture(params=SHAPES)
def generator(request: pytest.FixtureRequest) -> Generator:
    made = SHAPES[request.param]().double()
    if isinstance(made, BasisGenerator):
        made.set_basis(torch.randn(50, SIZE, dtype=torch.float64))
    return made


def latents(*shape: int) -> torch.Tensor:
    return torch.randn(*shape, LATENTS, dtype=torch.float64)


def test_the_jacobian_is_autograds(generator: Generator) -> None:
    z = latents(4)
    value, jacobian = generator.value_and_jacobian(z)
    torch.testing.assert_close(value, generator(z))
    exact = torch.func.vmap(torch.func.jacrev(generator))(z)
    torch.testing.assert_close(jacobian, exact.mT)


def test_the_projected_jacobian_is_autograds_and_differentiable(generator: Generator) -> None:
    z = latents(4).requires_grad_()
    value, jacobian = generator.jacobian_projected(z)
    torch.testing.assert_close(value, generator.decode_projected(z))
    exact = torch.func.vmap(torch.func.jacrev(generator.decode_projected))(z)
    torch.testing.assert_close(jacobian, exact.mT)
    assert torch.autograd.gradcheck(lambda x: generator.log_volume(x), (z,))


def test_extra_batch_dimensions_change_nothing(generator: Generator) -> None:
    z = latents(2, 5)
    flux = generator(z)
    assert flux.shape == (2, 5, SIZE)
    torch.testing.assert_close(flux[1, 3], generator(z[1, 3]))
    assert generator.encode(flux).shape == (2, 5, LATENTS)
    torch.testing.assert_close(generator.encode(flux)[1, 3], generator.encode(flux[1, 3]))
    assert generator.log_volume(z).shape == (2, 5)
    value, jacobian = generator.value_and_jacobian(z)
    assert value.shape == (2, 5, SIZE) and jacobian.shape == (2, 5, LATENTS, SIZE)
    torch.testing.assert_close(jacobian[1, 3], generator.value_and_jacobian(z[1, 3][None])[1][0])


def test_the_projection_keeps_distances_of_decoded_spectra(generator: Generator) -> None:
    a, b = generator(latents(6)), generator(latents(6))
    projected = (generator.project(a) - generator.project(b)).norm(dim=-1)
    torch.testing.assert_close(projected, (a - b).norm(dim=-1))
    torch.testing.assert_close(generator.unproject(generator.project(a)), a)


def test_log_volume_is_the_dense_determinants(generator: Generator) -> None:
    z = latents(5)
    jacobian = torch.func.vmap(torch.func.jacrev(generator))(z)
    metric = jacobian.mT @ jacobian / SIZE
    torch.testing.assert_close(generator.log_volume(z), torch.linalg.slogdet(metric)[1] / 2)


class Linear(Generator):
    """Latents along orthogonal directions of the flux, each `scale` rms flux long."""

    kind = "linear"

    def __init__(self, scale: float) -> None:
        super().__init__(SIZE, LATENTS)
        self.rows = scale * SIZE**0.5 * torch.linalg.qr(torch.randn(SIZE, LATENTS, dtype=torch.float64)).Q.T

    config = {}  # noqa: RUF012

    def project(self, flux: torch.Tensor) -> torch.Tensor:
        return flux

    unproject = project

    def encode_projected(self, projected: torch.Tensor) -> torch.Tensor:
        return projected @ torch.linalg.pinv(self.rows)

    def decode_projected(self, z: torch.Tensor) -> torch.Tensor:
        return z @ self.rows

    def jacobian_projected(self, z: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        return z @ self.rows, self.rows.expand(*z.shape, SIZE)

    value_and_jacobian = jacobian_projected


def test_log_volume_is_zero_for_an_isometry_and_the_logarithm_of_the_stretch_otherwise() -> None:
    z = latents(5)
    torch.testing.assert_close(Linear(1.0).log_volume(z), torch.zeros(5, dtype=torch.float64))
    stretched = torch.full((5,), LATENTS * math.log(2), dtype=torch.float64)
    torch.testing.assert_close(Linear(2.0).log_volume(z), stretched)


def test_the_isometry_loss_is_zero_for_an_isometry_and_not_for_a_stretch() -> None:
    z, delta = latents(20), 0.3
    for scale, expected in ((1.0, 0.0), (1.5, (0.5 * delta) ** 2)):
        linear = Linear(scale)
        loss = isometry_loss(linear, z, linear.decode_projected(z), delta, torch.Generator().manual_seed(0))
        assert loss.item() == pytest.approx(expected, abs=1e-8)


def test_the_basis_is_orthonormal_and_the_leading_components() -> None:
    flux = torch.randn(80, 5) @ torch.diag(torch.tensor([5.0, 4.0, 3.0, 2.0, 1.0])) @ torch.randn(5, SIZE) + 2.0
    generator = BasisGenerator(SIZE, 2, components=5)
    generator.set_basis(flux)
    torch.testing.assert_close(generator.basis @ generator.basis.T, torch.eye(5), atol=1e-5, rtol=0)
    torch.testing.assert_close(generator.unproject(generator.project(flux)), flux, atol=1e-3, rtol=1e-3)


def test_a_configuration_survives_json(generator: Generator) -> None:
    rebuilt = build_generator(json.loads(json.dumps(generator.config))).double()
    assert rebuilt.config == generator.config
    rebuilt.load_state_dict(generator.state_dict(), strict=True)
    torch.testing.assert_close(rebuilt(torch.ones(1, LATENTS).double()), generator(torch.ones(1, LATENTS).double()))


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({"kind": "dense", "size": 64, "latent_dim": 2}, "generator kind: expected one of basis, conv, got 'dense'"),
        ({"size": 64, "latent_dim": 2}, "got None"),
        ({"kind": "basis", "size": 64, "latent_dim": 0}, "latent_dim: expected at least 1, got 0"),
        ({"kind": "conv", "size": 100, "latent_dim": 2}, "expected a size divisible by 64, got 100"),
        ({"kind": "basis", "size": 64, "latent_dim": 2, "components": 96}, "expected at most 64 components, got 96"),
    ],
)
def test_a_shape_that_cannot_be_built_is_refused(config: dict, message: str) -> None:
    with pytest.raises(ModelError, match=message):
        build_generator(config)
