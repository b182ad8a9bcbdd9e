r"""The spectrum generator :math:`s = G(z)` and its encoder :math:`E`, an autoencoder of clean spectra.

Two shapes share one interface. Both work through a *projection* :math:`\Pi`, a fixed linear map that keeps distances, in
whose image the autoencoder is trained:

- `ConvGenerator`, the convolutional shape of Kang et al. (2021); :math:`\Pi` is the identity.
- `BasisGenerator`, a small network on the library's principal components,
  :math:`G(z) = \bar s + V\,\mathrm{diag}(\varsigma)\,h(z)` with orthonormal :math:`V`. Losses and distances are the same
  in the components as in the flux, so training needs no product with D pixels, and the Jacobian
  :math:`\partial G/\partial z` is explicit: both are two orders of magnitude cheaper.

Flux is in units of mean |flux| = 1; distances between spectra are root-mean-square over pixels.
"""

from abc import ABC, abstractmethod
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn.functional import conv1d, gelu, interpolate

from ..errors import ModelError

__all__ = ["BasisGenerator", "ConvGenerator", "Generator", "build_generator"]


class Generator(nn.Module, ABC):
    """An autoencoder of spectra.

    Arguments:
        size: Pixels :math:`D`.
        latent_dim: Latents :math:`L`.
    """

    kind: str

    def __init__(self, size: int, latent_dim: int) -> None:
        super().__init__()
        if latent_dim < 1:
            raise ModelError(f"latent_dim: expected at least 1, got {latent_dim}")
        self.size, self.latent_dim = size, latent_dim

    @property
    @abstractmethod
    def config(self) -> dict:
        """JSON-able arguments that build this shape again with `build_generator`."""

    @abstractmethod
    def project(self, flux: Tensor) -> Tensor:
        r"""Π: flux :math:`(*, D)` to the space in which the autoencoder is trained, :math:`(*, P)`."""

    @abstractmethod
    def unproject(self, projected: Tensor) -> Tensor:
        r"""The adjoint of Π: :math:`(*, P)` to flux :math:`(*, D)`."""

    @abstractmethod
    def encode_projected(self, projected: Tensor) -> Tensor:
        r"""Projected spectrum :math:`(*, P)` to latents :math:`(*, L)`."""

    @abstractmethod
    def decode_projected(self, z: Tensor) -> Tensor:
        r"""Latents :math:`(*, L)` to projected spectrum :math:`(*, P)`."""

    @abstractmethod
    def jacobian_projected(self, z: Tensor) -> tuple[Tensor, Tensor]:
        r"""Projected spectrum :math:`(*, P)` and its derivative :math:`(*, L, P)`, both differentiable."""

    def encode(self, flux: Tensor) -> Tensor:
        r"""Latents :math:`(*, L)` of clean spectra :math:`(*, D)`."""
        return self.encode_projected(self.project(flux))

    def forward(self, z: Tensor) -> Tensor:
        r"""Spectra :math:`(*, D)` of latents :math:`(*, L)`."""
        return self.unproject(self.decode_projected(z))

    @abstractmethod
    def value_and_jacobian(self, z: Tensor) -> tuple[Tensor, Tensor]:
        r"""Spectra :math:`(*, D)` and Jacobian, transposed, :math:`(*, L, D)`."""

    def log_volume(self, z: Tensor) -> Tensor:
        r"""Log of the volume element of the manifold, :math:`\tfrac12\log\det(J^\top J / D)`, shape :math:`(*,)`.

        :math:`p(s) = p(z)\,e^{-\mathrm{log\,volume}}` on the manifold; zero for a perfect isometry.
        """
        _, jacobian = self.jacobian_projected(z)
        metric = jacobian @ jacobian.transpose(-1, -2) / self.size
        return torch.linalg.slogdet(metric).logabsdet / 2


def _gelu_derivative(x: Tensor) -> Tensor:
    return 0.5 * (1 + torch.erf(x * 0.5**0.5)) + x * torch.exp(-0.5 * x * x) * (2 * torch.pi) ** -0.5


def _mlp(sizes: list[int]) -> nn.ModuleList:
    return nn.ModuleList(nn.Linear(a, b) for a, b in pairwise(sizes))


def _run(layers: nn.ModuleList, x: Tensor) -> Tensor:
    for layer in layers[:-1]:
        x = gelu(layer(x))
    return layers[-1](x)


class BasisGenerator(Generator):
    r"""A network on orthonormal spectral components.

    Arguments:
        size: Pixels :math:`D`.
        latent_dim: Latents :math:`L`.
        components: Components :math:`P`.
        hidden: Widths of the decoder's hidden layers; the encoder mirrors them.
    """

    kind = "basis"

    def __init__(self, size: int, latent_dim: int, components: int = 128, hidden: tuple[int, ...] = (256, 512)) -> None:
        super().__init__(size, latent_dim)
        if not 1 <= components <= size:
            raise ModelError(f"basis generator: expected at most {size} components, got {components}")
        self.components, self.hidden = components, tuple(hidden)
        self.register_buffer("mean", torch.zeros(size))
        self.register_buffer("basis", torch.zeros(components, size))
        self.register_buffer("scale", torch.ones(components))
        self.encoder = _mlp([components, *reversed(self.hidden), latent_dim])
        self.decoder = _mlp([latent_dim, *self.hidden, components])

    @property
    def config(self) -> dict:
        """JSON-able arguments that build this shape again."""
        shape = {"components": self.components, "hidden": list(self.hidden)}
        return {"kind": self.kind, "size": self.size, "latent_dim": self.latent_dim, **shape}

    @torch.no_grad()
    def set_basis(self, flux: Tensor) -> None:
        r"""Take mean and principal components from spectra :math:`(N, D)`."""
        mean = flux.double().mean(0)
        centred = flux.double() - mean
        _, vectors = torch.linalg.eigh(centred.T @ centred)
        basis = vectors.flip(1)[:, : self.components].T
        self.mean.copy_(mean)
        self.basis.copy_(basis)
        # a power below 1 lets the network see weak components without letting their noise lead
        self.scale.copy_((centred @ basis.T).std(0).clamp_min(1e-6) ** 0.75)

    def project(self, flux: Tensor) -> Tensor:
        """Coefficients on the components."""
        return (flux - self.mean) @ self.basis.T

    def unproject(self, projected: Tensor) -> Tensor:
        """Mean plus components."""
        return projected @ self.basis + self.mean

    def encode_projected(self, projected: Tensor) -> Tensor:
        """Latents of coefficients."""
        return _run(self.encoder, projected / self.scale)

    def decode_projected(self, z: Tensor) -> Tensor:
        """Coefficients of latents."""
        return _run(self.decoder, z) * self.scale

    def jacobian_projected(self, z: Tensor) -> tuple[Tensor, Tensor]:
        """Coefficients and their derivative, by forward mode."""
        x, tangent = z, torch.eye(self.latent_dim, dtype=z.dtype, device=z.device).expand(*z.shape, self.latent_dim)
        for layer in self.decoder[:-1]:
            pre = layer(x)
            tangent = (tangent @ layer.weight.T) * _gelu_derivative(pre).unsqueeze(-2)
            x = gelu(pre)
        last = self.decoder[-1]
        return last(x) * self.scale, (tangent @ last.weight.T) * self.scale

    def value_and_jacobian(self, z: Tensor) -> tuple[Tensor, Tensor]:
        """Spectra and transposed Jacobian."""
        value, jacobian = self.jacobian_projected(z)
        return self.unproject(value), jacobian @ self.basis


class ConvGenerator(Generator):
    r"""The convolutional autoencoder of Kang et al. (2021): strided convolutions down, upsampling convolutions up.

    The paper does not give widths. Here each level changes the length by 4; kernels are 7 pixels wide.

    Arguments:
        size: Pixels :math:`D`; divisible by 4 to the power of the number of channels.
        latent_dim: Latents :math:`L`.
        channels: Channels of each level, from the spectrum inwards.
    """

    kind = "conv"

    def __init__(self, size: int, latent_dim: int = 3, channels: tuple[int, ...] = (16, 32, 64)) -> None:
        super().__init__(size, latent_dim)
        factor = 4 ** len(channels)
        if size % factor:
            raise ModelError(f"conv generator: expected a size divisible by {factor}, got {size}")
        self.channels, self.length = tuple(channels), size // factor
        widths = [1, *channels]
        self.down = nn.ModuleList(nn.Conv1d(a, b, 7, 4, 3) for a, b in pairwise(widths))
        self.inwards = nn.Linear(channels[-1] * self.length, latent_dim)
        self.outwards = nn.Linear(latent_dim, channels[-1] * self.length)
        self.up = nn.ModuleList(nn.Conv1d(b, a, 7, 1, 3) for a, b in zip(widths[-2::-1], widths[:0:-1], strict=True))

    @property
    def config(self) -> dict:
        """JSON-able arguments that build this shape again."""
        return {"kind": self.kind, "size": self.size, "latent_dim": self.latent_dim, "channels": list(self.channels)}

    def project(self, flux: Tensor) -> Tensor:
        """The identity."""
        return flux

    def unproject(self, projected: Tensor) -> Tensor:
        """The identity."""
        return projected

    def encode_projected(self, projected: Tensor) -> Tensor:
        """Latents of spectra."""
        x = projected.reshape(-1, 1, self.size)
        for layer in self.down:
            x = gelu(layer(x))
        return self.inwards(x.flatten(1)).reshape(*projected.shape[:-1], self.latent_dim)

    def decode_projected(self, z: Tensor) -> Tensor:
        """Spectra of latents."""
        x = gelu(self.outwards(z.reshape(-1, self.latent_dim))).reshape(-1, self.channels[-1], self.length)
        for i, layer in enumerate(self.up):
            x = layer(interpolate(x, scale_factor=4, mode="linear", align_corners=False))
            x = gelu(x) if i < len(self.up) - 1 else x
        return x.reshape(*z.shape[:-1], self.size)

    def jacobian_projected(self, z: Tensor) -> tuple[Tensor, Tensor]:
        """Spectra and their derivative, by forward mode."""
        flat = z.reshape(-1, self.latent_dim)
        pre = self.outwards(flat)
        tangent = self.outwards.weight.T * _gelu_derivative(pre).unsqueeze(1)
        x = gelu(pre).reshape(-1, self.channels[-1], self.length)
        tangent = tangent.reshape(-1, self.channels[-1], self.length)
        for i, layer in enumerate(self.up):
            pre = layer(interpolate(x, scale_factor=4, mode="linear", align_corners=False))
            tangent = interpolate(tangent, scale_factor=4, mode="linear", align_corners=False)
            tangent = conv1d(tangent, layer.weight, padding=layer.padding)
            x = pre
            if i < len(self.up) - 1:
                x = gelu(pre)
                tangent = tangent * _gelu_derivative(pre).repeat_interleave(self.latent_dim, 0)
        shape = z.shape[:-1]
        return x.reshape(*shape, self.size), tangent.reshape(*shape, self.latent_dim, self.size)

    def value_and_jacobian(self, z: Tensor) -> tuple[Tensor, Tensor]:
        """Spectra and transposed Jacobian."""
        return self.jacobian_projected(z)


def build_generator(config: dict) -> Generator:
    """Build an untrained generator from its `config`.

    Raises:
        ModelError: if the kind is not known.
    """
    config = {key: tuple(v) if isinstance(v, list) else v for key, v in config.items()}
    kind = config.pop("kind", None)
    kinds = {"basis": BasisGenerator, "conv": ConvGenerator}
    if kind not in kinds:
        raise ModelError(f"generator kind: expected one of {', '.join(kinds)}, got {kind!r}")
    return kinds[kind](**config)
