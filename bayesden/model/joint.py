r"""The joint density of data, latents, nuisances and class: the one place where it is written.

.. math::
    \log p(y, z, u, f, a, c, C) = \log p(C) + \log p(z \mid C) + \log p(u) + \log p(f) + \log p(a)
    + \sum_e \Big[\log p(c_e) + \sum_d m_{ed} \log p\big(\epsilon_{ed} \mid \epsilon_{e,d-K:d-1}\big)\Big], \qquad
    \epsilon_e = y_e - e^{a + \tilde c_e \cdot T}\, s

(Kang et al. 2021, eqs. 3 to 7 and 15, with the nuisances of `nuisance.py`). The star is

.. math:: s = R_f\big[G(z) + W_C\, u\big], \qquad u \sim \mathcal N(0, I_R),

with the generator G, the low-rank discrepancy :math:`W_C u` of what it misses in a class (`discrepancy.py`), and the map
:math:`R_f` from the rest frame to the pixels at velocity and reddening f (`rest_frame.py`); models of Kang et al. have
neither. As a batched log-density
(`SpectrumModel.log_joint`) and as a Pyro model (`SpectrumModel.pyro_model`); a test holds the two equal.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, fields

import numpy as np
import pyro
import pyro.distributions as dist
import torch
from pyro.distributions import constraints
from torch import Tensor, nn

from ..errors import InputError
from ..spectrum import Grid, Observation
from .class_prior import ClassPrior
from .cosmic_rays import without_cosmic_rays
from .generator import Generator
from .latent_prior import LatentPrior
from .noise_context import CHANNELS, noise_context
from .noiseflow import NoiseFlow
from .nuisance import Nuisance, chebyshev
from .rest_frame import RestFrame

__all__ = ["Data", "Parameters", "SpectrumModel"]


@dataclass(frozen=True, eq=False)
class Data:
    r"""A batch of observations as tensors, each spectrum divided by a scale of its own.

    Arguments:
        flux, ivar: Shape :math:`(B, E, D)`, in units of `scale`; exposures that a spectrum lacks are masked.
        mask: True where bad, shape :math:`(B, E, D)`.
        share: Share of each exposure in the star's information, shape :math:`(B, E)`; zero for spectra with one exposure
            and for exposures that a spectrum lacks: those have no calibration terms.
        scale: The flux that counts as 1, shape :math:`(B,)`, in each observation's unit; about mean |flux|.
        context: What else is known of the noise (`noise_context.py`), shape :math:`(B, E, C, D)`; None if nothing.
    """

    flux: Tensor
    ivar: Tensor
    mask: Tensor
    share: Tensor
    scale: Tensor
    context: Tensor | None = None

    @classmethod
    def stack(cls, observations: Sequence[Observation], device: str | torch.device = "cpu") -> "Data":
        """Put observations on one grid into tensors; pixels that a cosmic ray has hit are masked (`cosmic_rays.py`).

        Raises:
            InputError: if their grids differ.
        """
        first = observations[0]
        for obs in observations:
            if not np.array_equal(obs.wavelength, first.wavelength):
                raise InputError(f"{obs.name}: expected the wavelength grid of {first.name}, got another")
        observations = [without_cosmic_rays(obs) for obs in observations]
        shape = (len(observations), max(obs.n_exposures for obs in observations), first.wavelength.size)
        context = np.zeros((*shape[:2], len(CHANNELS), shape[2]), np.float32)
        flux, ivar, share = np.zeros(shape, np.float32), np.zeros(shape, np.float32), np.zeros(shape[:2], np.float32)
        scale = np.array([_scale(obs) for obs in observations])
        for b, obs in enumerate(observations):
            # beyond is an outlier whatever its value; its square must still be a float32
            flux[b, : obs.n_exposures] = np.clip(obs.flux / scale[b], -1e6, 1e6)
            ivar[b, : obs.n_exposures] = np.minimum(obs.ivar * scale[b] ** 2, 1e12)
            context[b, : obs.n_exposures] = noise_context(obs)
            information = np.sqrt(obs.ivar).sum(1)  # the square root, so that no single exposure rules
            share[b, : obs.n_exposures] = information / information.sum() if (information > 0).sum() > 1 else 0.0
        tensors = [torch.from_numpy(a).to(device) for a in (flux, ivar, ivar <= 0, share, scale, context)]
        return cls(*tensors)

    def take(self, rows: Tensor | slice) -> "Data":
        """The spectra at an index, with repetition where it repeats."""
        return Data(*(None if (x := getattr(self, f.name)) is None else x[rows] for f in fields(self)))

    def __len__(self) -> int:
        return len(self.flux)

    def centring(self) -> Tensor:
        r"""The linear map :math:`c \mapsto \tilde c` over exposures, shape :math:`(B, E, E)`."""
        free = self.share > 0
        return torch.diag_embed(free.to(self.flux.dtype)) - free.unsqueeze(-1) * self.share.unsqueeze(-2)

    def coadd(self) -> "Data":
        """The inverse-variance mean over exposures, as a batch with E = 1."""
        ivar = self.ivar.sum(1, keepdim=True)
        flux = (self.flux * self.ivar).sum(1, keepdim=True) / ivar.clamp_min(1e-30)
        return Data(flux, ivar, ivar <= 0, torch.zeros_like(self.share[:, :1]), self.scale)


def _scale(obs: Observation) -> float:
    """A rough mean |flux|: the mean of medians over up to 32 blocks of good pixels, so that no single outlier moves it."""
    flux, ivar = obs.coadd()
    good = ivar > 0
    blocks = [np.median(block) for block in np.array_split(flux[good], np.clip(good.sum() // 16, 1, 32))]
    noise = 1 / np.sqrt(ivar[good].sum())  # of the weighted mean: a floor for spectra that are all noise
    return float(max(abs(np.mean(blocks)), 0.1 * np.mean(np.abs(blocks)), noise, np.finfo(np.float32).tiny))


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
        discrepancy: Standard deviation of :math:`s - G(E(s))` over held-out spectra, by class, shape :math:`(K, D)`.
        spread: Standard deviation of the prior's flux, by class, shape :math:`(K, D)`.
        frame: From the generator's rest frame to the pixels; by default the generator lives on the pixels.
        factors: :math:`W_C` by class, shape :math:`(K, R, N)`, on the generator's cells; none by default.
        volume: Whether the prior of a class is one of spectra on the generator's manifold, :math:`p(z \mid C)` over the
            volume element, instead of one of latents. For generators that were trained without isometry.
        card: What is known of the model: data, seeds, scores, licence.
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
        if self.rank:
            factors = self.factors[at.label].to(flux.dtype)
            flux = flux + torch.einsum("br,brn->bn", at.detail, factors)
            jacobian = torch.cat([jacobian, factors], 1)
        if self.frame is None:
            return flux, jacobian
        velocity, ebv = self.nuisance.velocity_kms(at.foreground), self.nuisance.ebv(at.foreground)
        moving = self.nuisance.velocity_sd_kms > 0
        rows = self.frame.bins(self.frame.shift(torch.cat([flux.unsqueeze(1), jacobian], 1), velocity, slope=moving))
        seen = self.frame.dust(ebv) * self.nuisance.tilt(at.foreground, self.grid.size)
        rows = rows * seen.unsqueeze(1)
        star, rows = rows[:, 0], rows[:, 1:]
        if moving:
            rows[:, -1] *= self.nuisance.velocity_sd_kms
        return star, torch.cat([rows, star.unsqueeze(1) * self._smooth_slopes(star)], 1)

    def _smooth_slopes(self, like: Tensor) -> Tensor:
        """Derivatives of the logarithm of the star by reddening and shared calibration terms: (F', D)."""
        rows = []
        if self.nuisance.ebv_sd > 0:
            rows.append(-0.4 * math.log(10) * self.nuisance.ebv_sd * self.frame.extinction.to(like.dtype)[None])
        if self.nuisance.tilts:
            rows.append(self.nuisance.tilt_sd * chebyshev(self.grid.size, self.nuisance.tilts, like)[1:])
        return torch.cat(rows) if rows else like.new_zeros(0, self.grid.size)

    def gain(self, data: Data, amplitude: Tensor, calibration: Tensor) -> Tensor:
        r"""The factor :math:`e^{a + \tilde c_e \cdot T}`, shape :math:`(B, E, D)`; :math:`(B, E, 1)` without terms."""
        exponent = amplitude[:, None, None].expand(*data.share.shape, 1)
        if calibration.shape[-1]:
            polynomials = self.nuisance.polynomials(self.grid.size, calibration)
            exponent = exponent + (data.centring() @ calibration) @ polynomials
        return exponent.exp()

    def log_prior(self, data: Data, at: Parameters) -> Tensor:
        r"""Log prior of class, latents and nuisances, shape :math:`(B,)`."""
        total = self.class_prior.log_prob[at.label] + self.latent_prior.log_prob(at.z, at.label)
        zero = at.amplitude.new_zeros(())  # in its dtype
        total = total + dist.Normal(zero, self.nuisance.amplitude_sd).log_prob(at.amplitude)
        total = total - 0.5 * (_square(at.detail) + _square(at.foreground))
        if self.volume:
            total = total - self.generator.log_volume(at.z)
        if at.calibration.shape[-1]:
            terms = dist.Normal(zero, self.nuisance.calibration_sd).log_prob(at.calibration).sum(-1)
            total = total + (terms * (data.share > 0)).sum(-1)
        return total

    def log_likelihood(self, data: Data, at: Parameters) -> Tensor:
        r"""Log-density of every pixel, 0 where it does not count, shape :math:`(B, E, D)`."""
        mean = self.gain(data, at.amplitude, at.calibration) * self.star(at).unsqueeze(1)
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
                normal = dist.Normal(zero, self.nuisance.calibration_sd)
                shape = (n, exposures, self.nuisance.terms)
                calibration = pyro.sample("c", normal.expand(shape).mask((data.share > 0).unsqueeze(-1)).to_event(2))
            detail, foreground = zero.expand(n, 0), zero.expand(n, 0)
            if self.rank:
                detail = pyro.sample("u", dist.Normal(zero, 1.0).expand((n, self.rank)).to_event(1))
            if self.foreground:
                foreground = pyro.sample("f", dist.Normal(zero, 1.0).expand((n, self.foreground)).to_event(1))
            star = self.star(Parameters(z, amplitude, calibration, label, detail, foreground))
            mean = self.gain(data, amplitude, calibration) * star.unsqueeze(1)
            pyro.sample("y", _Exposures(self.noise, mean, data), obs=data.flux)
        return amplitude.exp().unsqueeze(-1) * star


def _square(normal: Tensor) -> Tensor:
    r""":math:`|x|^2 + n \log 2\pi` of standard normal parameters (B, n): minus twice their log-density, (B,)."""
    return normal.square().sum(-1) + normal.shape[-1] * math.log(2 * math.pi)


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
