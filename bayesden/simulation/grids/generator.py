r"""Spectra drawn from a trained model: class, then latents, then the generator (ancestral draws).

.. math:: C \sim p(C), \qquad z \mid C \sim \frac{1}{n_C}\sum_i \mathcal N(z_i, P_i^{-1}), \qquad u \sim \mathcal N(0, I), \qquad
          s = G(z) + W_C\, u

with each kernel picked by a uniform number and its normal numbers from uniform ones by the inverse of their distribution
function. The generator's pixels hold means, :math:`s_i`; between pixel edges the flux is the parabola with that mean and with
edge values :math:`\tfrac{7}{12}(s_i + s_{i+1}) - \tfrac{1}{12}(s_{i-1} + s_{i+2})`, so that integrating over the model's
pixels gives back what the generator said.

References:
    Kang, He & Zhang (2021), section 3.3; the parabolas: Colella & Woodward (1984), J. Comput. Phys. 54, 174, without limiters.
"""

import copy
from dataclasses import dataclass, fields, replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ...errors import InputError
from ...model.generator import Generator
from ...model.joint import SpectrumModel
from ...model.kernel_prior import KernelPrior

__all__ = ["GeneratorGrid"]

TINY = 2.0**-25  # half the step of the uniform numbers: keeps the normal ones finite, below 5.4


@dataclass(frozen=True, eq=False)
class GeneratorGrid:
    r"""A trained model as a source of spectra; use `of` to make one.

    Arguments:
        name: Short name.
        label: One honest line.
        unit: Unit of the flux.
        loglam: :math:`\log_{10}` of the vacuum wavelength in Å, shape :math:`(N,)`, uniform.
        parameters: `class` (its index among the model's), `z1` to `zL`, and `u1` to `uR` where the model has a low-rank part.
        classes: Names of the model's K classes.
        generator: :math:`G`.
        factors: The low-rank parts :math:`W_C`, shape :math:`(K, R, N')`.
        portion: Cumulative probability of the classes, shape :math:`(K,)`.
        counts: Kernels of each class, shape :math:`(K,)`.
        centre: Where the kernels are, class by class, shape :math:`(n, L)`, double precision.
        factor: Their covariances' factors, shape :math:`(n, L, L)`, double precision.
        pixel: Which model pixels each wavelength is made from, shape :math:`(5, N)`.
        weight: And how much of each, same shape.
    """

    name: str
    label: str
    unit: str
    loglam: Tensor
    parameters: tuple[str, ...]
    classes: tuple[str, ...]
    generator: Generator
    factors: Tensor
    portion: Tensor
    counts: Tensor
    centre: Tensor
    factor: Tensor
    pixel: Tensor
    weight: Tensor

    @classmethod
    @torch.no_grad()
    def of(
        cls, model: SpectrumModel, *, step: float = 1e-4, span: tuple[float, float] | None = None
    ) -> "GeneratorGrid":
        r"""Take the parts of a model; it is not changed.

        Arguments:
            model: A trained model.
            step: Width of a pixel in :math:`\ln\lambda`.
            span: Wavelengths to cover, vacuum Å, the model's own by default; beyond its pixels the flux is held constant.

        Raises:
            InputError: if the step is not positive, or wider than the model's pixels, or the latents' density is a flow.
        """
        cells = model.grid if model.frame is None else model.frame.cells
        pixels, edges = cells.wavelength, cells.edges
        if not 0 < step <= np.log(pixels[1:] / pixels[:-1]).max():
            most = np.log(pixels[1:] / pixels[:-1]).max()
            raise InputError(f"generator grid: step: expected at most the model's pixels, {most:.3g}, got {step:g}")
        low, high = edges[[0, -1]] if span is None else span
        loglam = np.arange(np.log10(low), np.log10(high), step / np.log(10))
        pixel, weight = _parabolas(np.interp(10**loglam, edges, np.arange(len(edges))), cells.size)
        if not isinstance(model.latent_prior, KernelPrior):
            raise InputError(
                f"generator grid: expected latents with a density of kernels, got {model.latent_prior.kind}"
            )
        kernels = [model.latent_prior.kernels(k) for k in range(len(model.classes))]
        centre, roots = (torch.cat(parts).double() for parts in zip(*kernels, strict=True))
        dim = model.latent_prior.latent_dim
        name = model.card.get("name", "a trained model")
        seen = "as they are seen" if model.frame is None else "at rest"
        label = f"Ancestral draws of {name}, stars {seen} on {cells.size} pixels, {pixels[0]:.0f} to {pixels[-1]:.0f} Angstrom"
        return cls(
            "generator",
            f"{label}: as good as its training, no finer than its pixels",
            "mean |flux| = 1",
            torch.from_numpy(loglam),
            ("class", *(f"z{i + 1}" for i in range(dim)), *(f"u{i + 1}" for i in range(model.rank))),
            model.classes,
            copy.deepcopy(model.generator).eval().requires_grad_(False),
            model.factors.clone(),
            model.class_prior.log_prob.double().exp().cumsum(0),
            torch.tensor(model.latent_prior.counts),
            centre,
            torch.linalg.inv(roots),
            torch.from_numpy(pixel),
            torch.from_numpy(weight).float(),
        ).to(model.device)

    @property
    def uniforms(self) -> int:
        """One number for the class, one for the kernel, one for each latent and each coefficient."""
        return len(self.parameters) + 1

    def draw(self, uniform: Tensor) -> Tensor:
        """Parameters from uniform numbers: (B, L + R + 2) to (B, L + R + 1), double precision."""
        u = uniform.double()
        label = torch.searchsorted(self.portion, u[:, 0].contiguous()).clamp_max(len(self.portion) - 1)
        count = self.counts[label]
        kernel = torch.minimum((u[:, 1] * count).long(), count - 1) + (self.counts.cumsum(0) - self.counts)[label]
        normal = torch.special.ndtri(u[:, 2:].clamp(TINY, 1 - TINY))
        dim = self.centre.shape[1]
        z = self.centre[kernel] + (self.factor[kernel] @ normal[:, :dim, None]).squeeze(-1)
        return torch.cat([label.double().unsqueeze(1), z, normal[:, dim:]], 1)

    def flux(self, parameters: Tensor) -> Tensor:
        r"""Noiseless flux.

        Arguments:
            parameters: Shape :math:`(B, L + R + 1)`: class, latents, coefficients. The class says which density the latents
                came from and which low-rank part is added.

        Returns:
            Shape :math:`(B, N)`, single precision; differentiable in the latents, in reverse and forward mode.

        Raises:
            InputError: if there is no such class, or a latent is not finite.
        """
        if parameters.ndim != 2 or parameters.shape[1] != len(self.parameters):
            expected = f"(B, {len(self.parameters)}): {', '.join(self.parameters)}"
            raise InputError(f"grid {self.name}: parameters: expected shape {expected}, got {tuple(parameters.shape)}")
        dim = self.centre.shape[1]
        label, z, detail = parameters[:, 0].detach(), parameters[:, 1 : dim + 1], parameters[:, dim + 1 :]
        bad = ~((label >= 0) & (label < len(self.classes)) & (label == label.round()))
        if bool(bad.any()):
            have = f"0 to {len(self.classes) - 1}, {', '.join(self.classes)}"
            raise InputError(f"grid {self.name}: class: expected {have}, got {label[bad][0].item():g}")
        bad = ~torch.isfinite(z.detach()).all(1)
        if bool(bad.any()):
            raise InputError(f"grid {self.name}: expected finite latents, got {z.detach()[bad][0].tolist()}")
        means = self.generator(z.to(self.weight.dtype))
        if detail.shape[1]:
            means = means + torch.einsum("br,brn->bn", detail.to(means.dtype), self.factors[label.long()])
        flux = means.index_select(1, self.pixel[0]) * self.weight[0]
        for pixel, weight in zip(self.pixel[1:], self.weight[1:], strict=True):
            flux = torch.addcmul(flux, means.index_select(1, pixel), weight)
        return flux

    def to(self, device: torch.device | str) -> "GeneratorGrid":
        """The same grid with its tensors on a device."""
        values = {f.name: getattr(self, f.name) for f in fields(self)}
        moved = {name: x.to(device) for name, x in values.items() if isinstance(x, Tensor)}
        return replace(self, generator=copy.deepcopy(self.generator).to(device), **moved)


def _parabolas(place: NDArray, size: int) -> tuple[NDArray, NDArray]:
    """Pixels and weights, each (5, N), that give the parabolas' values at places in units of pixel edges (N,)."""
    i = np.clip(place.astype(np.int64), 0, size - 1)
    x = place - i
    bulge = x * (1 - x)
    left, right = 1 - x - 3 * bulge, x - 3 * bulge
    edge = np.array([-1, 7, 7, -1])[:, None] / 12
    weight = np.zeros((5, len(place)))
    weight[:4] += left * edge
    weight[1:] += right * edge
    weight[2] += 6 * bulge
    return np.clip(i + np.arange(-2, 3)[:, None], 0, size - 1), weight
