r"""The joint density of data, latents, nuisances and class: the one place where it is written.

.. math::
    \log p(y, z, u, f, a, c, C) = \log p(C) + \log p(z \mid C) + \log p(u) + \log p(f) + \log p(a)
    + \sum_e \Big[\log p(c_e) + \sum_d m_{ed} \log p\big(\epsilon_{ed} \mid \epsilon_{e,d-K:d-1}\big)\Big], \qquad
    \epsilon_e = y_e - e^{a + \tilde c_e \cdot B_e}\, (1 + w_e \mathcal D)\, s

(Kang et al. 2021, eqs. 3 to 7 and 15, with the nuisances of `nuisance.py`). The star is

.. math:: s = R_f\big[G(z) + W_C\, u\big], \qquad u \sim \mathcal N(0, I_R),

with the generator G, the low-rank discrepancy :math:`W_C u` of what it misses in a class (`discrepancy.py`), and the map
:math:`R_f` from the rest frame to the pixels at velocity and reddening f (`rest_frame.py`); models of Kang et al. have
neither. As a batched log-density
(`SpectrumModel.log_joint`) and as a Pyro model (`SpectrumModel.pyro_model`); a test holds the two equal.
"""

import math
from collections.abc import Iterable, Sequence
from copy import copy
from dataclasses import dataclass, fields

import pyro
import pyro.distributions as dist
import torch
from pyro.distributions import constraints
from torch import Tensor, nn

from ..errors import ModelError
from ..spectrum import Grid
from .agreement import two_armed
from .class_prior import ClassPrior
from .data import Data
from .generator import Generator
from .latent_prior import LatentPrior
from .noiseflow import NoiseFlow
from .nuisance import Nuisance, PixelShift
from .rest_frame import RestFrame

__all__ = ["Parameters", "SpectrumModel"]


@dataclass(frozen=True, eq=False)
class Parameters:
    r"""A point in the parameter space for each spectrum of a batch.

    Arguments:
        z: Latents, shape :math:`(B, L)`.
        amplitude: Natural logarithm of the amplitude :math:`a`, shape :math:`(B,)`.
        calibration: Coefficients :math:`c`, shape :math:`(B, E, P + 1)`; zero where an exposure has none.
        label: Class index, shape :math:`(B,)`.
        detail: Coefficients :math:`u` of the low-rank discrepancy, shape :math:`(B, R)`; none by default.
        foreground: Standardised velocity and reddening :math:`f`, as far as they are free, shape :math:`(B, F)`; none by
            default.
    """

    z: Tensor
    amplitude: Tensor
    calibration: Tensor
    label: Tensor
    detail: Tensor | None = None
    foreground: Tensor | None = None

    def __post_init__(self) -> None:
        for name in ("detail", "foreground"):
            if getattr(self, name) is None:
                object.__setattr__(self, name, self.z.new_zeros(len(self.z), 0))

    @classmethod
    def join(cls, parts: Sequence["Parameters"]) -> "Parameters":
        """Points of several batches in one."""
        return cls(*(torch.cat([getattr(part, f.name) for part in parts]) for f in fields(cls)))

    def take(self, rows: Tensor | slice) -> "Parameters":
        """The parameters at an index."""
        return Parameters(*(getattr(self, f.name)[rows] for f in fields(self)))


class SpectrumModel(nn.Module):
    r"""Class prior, latent prior, generator, nuisances and noise, joined.

    Arguments:
        grid: The pixels.
        class_prior: :math:`p(C)`.
        generator: :math:`G`.
        latent_prior: :math:`p(z \mid C)`.
        noise: :math:`p(\epsilon)`.
        nuisance: Priors of amplitude and calibration.
        discrepancy: Standard deviation of :math:`s - G(E(s))` over held-out spectra, by class, shape :math:`(K, D)`, in the
            unit in which mean \|flux\| is 1.
        spread: Standard deviation of the prior's flux, by class, shape :math:`(K, D)`, same unit.
        frame: From the generator's rest frame to the pixels; by default the generator lives on the pixels.
        factors: :math:`W_C` by class, shape :math:`(K, R, N)`, same unit, on the generator's cells; none by default.
        volume: Whether the prior of a class is one of spectra on the generator's manifold, :math:`p(z \mid C)` over the
            volume element, instead of one of latents. For generators that were trained without isometry.
        card: What is known of the model: data, seeds, scores, licence.

    Example:
        >>> model = bd.load_model()
        >>> model.grid.size, model.classes[:3]
        (2048, ('O', 'B', 'A'))
    """

    def __init__(
        self,
        grid: Grid,
        class_prior: ClassPrior,
        generator: Generator,
        latent_prior: LatentPrior,
        noise: NoiseFlow,
        nuisance: Nuisance,
        discrepancy: Tensor,
        spread: Tensor,
        volume: bool = False,
        card: dict | None = None,
        frame: RestFrame | None = None,
        factors: Tensor | None = None,
    ) -> None:
        super().__init__()
        self.frame = frame
        none = torch.zeros(len(class_prior.classes), 0, generator.size)
        self.register_buffer("factors", none if factors is None else factors, persistent=factors is not None)
        self.grid, self.nuisance, self.volume, self.card = grid, nuisance, volume, dict(card or {})
        self.pixel_shift = PixelShift(grid)
        self.class_prior, self.latent_prior = class_prior, latent_prior
        self.generator, self.noise = generator, noise
        self.register_buffer("discrepancy", discrepancy)
        self.register_buffer("spread", spread)

    @property
    def classes(self) -> tuple[str, ...]:
        """Names of the K classes."""
        return self.class_prior.classes

    @property
    def device(self) -> torch.device:
        """Where the parameters are."""
        return self.spread.device

    @property
    def rank(self) -> int:
        """Columns R of the low-rank discrepancy."""
        return self.factors.shape[1]

    def without(self, names: Iterable[str]) -> "SpectrumModel":
        """The same model, its parts shared, with some nuisances removed: see `Nuisance.without`."""
        model = copy(self)
        model.nuisance = self.nuisance.without(names)
        return model

    def with_noise(self, noise: NoiseFlow) -> "SpectrumModel":
        """The same model, its other parts shared, with the noise of other exposures.

        Arguments:
            noise: On as many pixels, such as `load_part("noise", ...)` reads from a file of `bayesden fit-noise`.

        Raises:
            ModelError: if it has another number of pixels.
        """
        if noise.size != self.grid.size:
            raise ModelError(f"noise: expected {self.grid.size} pixels as the model has, got {noise.size}")
        card = {key: value for key, value in self.card.items() if key not in ("name", "sha256", "calibration")}
        parts = {"class_prior": self.class_prior, "generator": self.generator, "latent_prior": self.latent_prior}
        parts |= {"nuisance": self.nuisance, "frame": self.frame, "factors": self.factors if self.rank else None}
        values = {"discrepancy": self.discrepancy, "spread": self.spread, "volume": self.volume}
        return SpectrumModel(self.grid, noise=noise, card=card, **parts, **values).eval()

    @property
    def foreground(self) -> int:
        """How many of velocity and reddening are free, F."""
        return 0 if self.frame is None else self.nuisance.foreground

    def star(self, at: Parameters) -> Tensor:
        """The star on the pixels, amplitude aside: (B, D)."""
        flux = self.generator(at.z)
        if self.rank:
            flux = flux + torch.einsum("br,brn->bn", at.detail, self.factors[at.label].to(flux.dtype))
        if self.frame is None:
            return flux
        velocity, ebv = self.nuisance.velocity_kms(at.foreground), self.nuisance.ebv(at.foreground)
        return self.frame(flux.unsqueeze(1), velocity, ebv)[:, 0] * self.nuisance.tilt(at.foreground, self.grid.size)

    def star_and_jacobian(self, at: Parameters) -> tuple[Tensor, Tensor]:
        """The star (B, D) and its derivatives by z, u and f, (B, L + R + F, D)."""
        flux, jacobian = self.generator.value_and_jacobian(at.z)
        rows = [jacobian]
        if self.rank:
            factors = self.factors[at.label].to(flux.dtype)
            flux = flux + torch.einsum("br,brn->bn", at.detail, factors)
            rows.append(factors)
        if self.frame is None:
            return flux, torch.cat(rows, 1)
        velocity, ebv = self.nuisance.velocity_kms(at.foreground), self.nuisance.ebv(at.foreground)
        moving = self.nuisance.velocity_sd_kms > 0
        seen = self.frame.shift(torch.cat([flux.unsqueeze(1), *rows], 1), velocity, slope=moving)
        transmission = self.frame.dust(ebv) * self.nuisance.tilt(at.foreground, self.grid.size)
        seen = self.frame.bins(seen).mul_(transmission.unsqueeze(1))
        star, rows = seen[:, 0], seen[:, 1:]
        if moving:
            rows[:, -1] *= self.nuisance.velocity_sd_kms
        return star, torch.cat([rows, star.unsqueeze(1) * self.nuisance.smooth_slopes(self.frame.extinction, star)], 1)

    def centring(self, data: Data) -> Tensor:
        r"""The linear map :math:`c \mapsto \tilde c` over exposures for each term, shape :math:`(B, n, E, E)`."""
        one, known = data.shared, self.nuisance.arm_terms > 0 and data.side is not None
        share = two_armed(one.share, one.ivar, one.side) if known else one.share
        found = self.nuisance.centring(one.share, share)
        return found.expand(len(data), *found.shape[1:])

    def centred(self, data: Data, calibration: Tensor) -> Tensor:
        r"""Centred terms :math:`\tilde c`, shape :math:`(B, E, n)`."""
        return torch.einsum("bnef,bfn->ben", self.centring(data), calibration) if calibration.numel() else calibration

    def gain(self, data: Data, amplitude: Tensor, calibration: Tensor) -> Tensor:
        r"""The factor :math:`e^{a + \tilde c_e \cdot B_e}`, shape :math:`(B, E, D)`; :math:`(B, E, 1)` without terms."""
        return self._gain(data, amplitude, self.centred(data, calibration))

    def _gain(self, data: Data, amplitude: Tensor, centred: Tensor) -> Tensor:
        return (amplitude[:, None, None] + self.nuisance.log_gain(data.side, self.grid.size, centred)).exp()

    def exposed(self, data: Data, at: Parameters, star: Tensor) -> tuple[Tensor, Tensor]:
        """A star (B, D) as each exposure sees it, and that without its gain: (B, E, D), and (B, E, D) or (B, 1, D)."""
        centred = self.centred(data, at.calibration)
        seen, shifts = star.unsqueeze(1), self.nuisance.shifts(centred)
        seen = seen if shifts is None else seen + shifts * self.pixel_shift(star).unsqueeze(1)
        return self._gain(data, at.amplitude, centred) * seen, seen

    def log_prior(self, data: Data, at: Parameters, latent: Tensor | None = None) -> Tensor:
        r"""Log prior of class, latents and nuisances, shape :math:`(B,)`; `latent` is that of z where it is known already."""
        latent = self.latent_prior.log_prob(at.z, at.label) if latent is None else latent
        total = self.class_prior.log_prob[at.label] + latent
        zero = at.amplitude.new_zeros(())  # in its dtype
        total = total + dist.Normal(zero, self.nuisance.amplitude_sd).log_prob(at.amplitude)
        for normal in (at.detail, at.foreground):
            total = total - 0.5 * (normal.square().sum(-1) + normal.shape[-1] * math.log(2 * math.pi))
        if self.volume:
            total = total - self.generator.log_volume(at.z)
        if at.calibration.shape[-1]:
            terms = self._exposure_prior(at.calibration).log_prob(at.calibration).sum(-1)
            total = total + (terms * (data.share > 0)).sum(-1)
        return total

    def _exposure_prior(self, like: Tensor) -> dist.TorchDistribution:
        """Prior of an exposure's terms, (n,)."""
        widths = self.nuisance.widths(like)
        zero, dof = torch.zeros_like(widths), self.nuisance.calibration_dof
        return dist.StudentT(zero + dof, zero, widths) if dof else dist.Normal(zero, widths)

    def log_likelihood(self, data: Data, at: Parameters) -> Tensor:
        r"""Log-density of every pixel, 0 where it does not count, shape :math:`(B, E, D)`."""
        mean, _ = self.exposed(data, at, self.star(at))
        return self.noise.log_prob(data.flux - mean, data.ivar, data.mask, data.context)

    def log_joint(self, data: Data, at: Parameters) -> Tensor:
        r"""Log joint density of data and parameters, in units where each spectrum's scale is 1; shape :math:`(B,)`."""
        likelihood = self.log_likelihood(data, at).double().sum((-2, -1))
        return self.log_prior(data, at).double() + likelihood

    def pyro_model(self, data: Data, label: Tensor | None = None) -> Tensor:
        """The same density as a Pyro model: sites ``C`` (unless `label` is given), ``z``, ``u``, ``f``, ``a``, ``c``, ``y``.

        Returns:
            The flux of the star, shape :math:`(B, D)`, in units of the scale.
        """
        n, exposures = data.share.shape
        zero = data.flux.new_zeros(())
        with pyro.plate("spectra", n):
            prior = dist.Categorical(logits=self.class_prior.log_prob)
            label = pyro.sample("C", prior) if label is None else pyro.sample("C", prior, obs=label)
            z = pyro.sample("z", _Latents(self.latent_prior, label))
            if self.volume:
                pyro.factor("volume", -self.generator.log_volume(z))
            amplitude = pyro.sample("a", dist.Normal(zero, self.nuisance.amplitude_sd))
            calibration = zero.expand(n, exposures, 0)
            if self.nuisance.terms and bool(data.share.any()):
                prior = self._exposure_prior(zero).expand((n, exposures, self.nuisance.terms))
                calibration = pyro.sample("c", prior.mask((data.share > 0).unsqueeze(-1)).to_event(2))
            detail, foreground = zero.expand(n, 0), zero.expand(n, 0)
            if self.rank:
                detail = pyro.sample("u", dist.Normal(zero, 1.0).expand((n, self.rank)).to_event(1))
            if self.foreground:
                foreground = pyro.sample("f", dist.Normal(zero, 1.0).expand((n, self.foreground)).to_event(1))
            at = Parameters(z, amplitude, calibration, label, detail, foreground)
            star = self.star(at)
            mean, _ = self.exposed(data, at, star)
            pyro.sample("y", _Exposures(self.noise, mean, data), obs=data.flux)
        return amplitude.exp().unsqueeze(-1) * star


class _Latents(dist.TorchDistribution):
    """The latent prior of given classes, as Pyro sees it."""

    support = constraints.real_vector
    arg_constraints: dict = {}  # noqa: RUF012 -- torch's protocol

    def __init__(self, prior: LatentPrior, label: Tensor) -> None:
        super().__init__(label.shape, (prior.latent_dim,), validate_args=False)
        self.prior, self.label = prior, label

    def log_prob(self, value: Tensor) -> Tensor:
        return self.prior.log_prob(value, self.label)

    def sample(self, sample_shape: torch.Size = torch.Size()) -> Tensor:  # noqa: B008
        label = self.label.expand(*sample_shape, *self.label.shape)
        return self.prior.sample(label.reshape(-1)).reshape(*label.shape, -1)


class _Exposures(dist.TorchDistribution):
    """Exposures with the masked likelihood of NoiseFlow, as Pyro sees them."""

    support = constraints.independent(constraints.real, 2)
    arg_constraints: dict = {}  # noqa: RUF012 -- torch's protocol

    def __init__(self, noise: NoiseFlow, mean: Tensor, data: Data) -> None:
        super().__init__(mean.shape[:-2], mean.shape[-2:], validate_args=False)
        self.noise, self.centre, self.ivar, self.bad, self.context = noise, mean, data.ivar, data.mask, data.context

    def log_prob(self, value: Tensor) -> Tensor:
        return self.noise.log_prob(value - self.centre, self.ivar, self.bad, self.context).sum((-2, -1))

    def sample(self, sample_shape: torch.Size = torch.Size()) -> Tensor:  # noqa: B008
        shape = (*sample_shape, *self.centre.shape)
        return self.centre + self.noise.sample(*(x.expand(shape) for x in (self.ivar, self.bad)), self.context)
