"""Student's t with learned degrees of freedom, as the base of a flow."""

import math

import torch
from nflows.distributions.base import Distribution
from torch import Tensor, nn
from torch.nn.functional import softplus

__all__ = ["StudentT"]


class StudentT(Distribution):
    r"""D = `size` independent Student-t variables of unit scale that share one learned :math:`\nu > 2`, `nu` at first."""

    def __init__(self, size: int, nu: float = 6.0) -> None:
        super().__init__()
        self.size = size
        self.raw_nu = nn.Parameter(torch.tensor(math.log(math.expm1(nu - 2.0))))

    @property
    def nu(self) -> Tensor:
        """Degrees of freedom."""
        return 2.0 + softplus(self.raw_nu)

    def log_density(self, xi: Tensor) -> Tensor:
        """Log-density of each variable by itself, in the shape of `xi`."""
        nu = self.nu
        norm = torch.lgamma((nu + 1) / 2) - torch.lgamma(nu / 2) - 0.5 * torch.log(math.pi * nu)
        return norm - 0.5 * (nu + 1) * torch.log1p(xi * xi / nu)

    def draw(self, shape: tuple[int, ...], generator: torch.Generator | None = None) -> Tensor:
        """Draws by the polar method of Bailey (1994), Mathematics of Computation 62, 779."""
        nu = self.nu.detach().double()
        place = nu.device if generator is None else generator.device
        options = {"dtype": torch.float64, "device": place, "generator": generator}
        radius, angle = (torch.rand(shape, **options).to(nu.device) for _ in range(2))
        t = torch.sqrt(nu * torch.expm1(-2.0 / nu * torch.log(1.0 - radius))) * torch.cos(2.0 * math.pi * angle)
        return t.to(self.raw_nu.dtype)

    def _log_prob(self, inputs: Tensor, context: Tensor | None) -> Tensor:
        return self.log_density(inputs).sum(-1)

    def _sample(self, num_samples: int, context: Tensor | None) -> Tensor:
        if context is None:
            return self.draw((num_samples, self.size))
        return self.draw((context.shape[0], num_samples, self.size))
