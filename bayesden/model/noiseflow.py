r"""The density of an exposure's noise: a local autoregressive flow that is masked without imputation.

The noise :math:`\epsilon = y - s` of one exposure is one-to-one with independent :math:`\xi_d`,

.. math:: \xi_d = (u_d\,\epsilon_d - \mu_d)\, e^{-\alpha_d}, \qquad
          \log p(\epsilon) = \sum_d m_d \left[\log f(\xi_d) - \alpha_d + \log u_d\right],

where :math:`\mu_d, \alpha_d` depend on the :math:`K` preceding pixels only, and
:math:`m_d = 1` where the pixel and those :math:`K` are all observed (equation 15 of Kang et al.). Two kinds:

- `kang2021`: as published. :math:`u_d = 1`, :math:`f` standard normal, ReLU; the first :math:`K` pixels have free
  :math:`\mu_d, \alpha_d`. (The text's :math:`\sigma_d = e^{-\alpha_d}` is a misprint for :math:`e^{\alpha_d}`, and
  of the convolution's :math:`D - K + 1` columns it is the last that no pixel can use.) Its :math:`\alpha` is unbounded
  there, and one cosmic ray outside of the training range then costs thousands of nats; the clamp `alpha_bound` is ours.
- `robust`: on residuals whitened by the pipeline, :math:`u_d = \sigma_d^{-1}`, with Student-t :math:`f`, bounded and
  smooth :math:`\mu` and :math:`\alpha`, squashed predecessors, and, as an option, the pipeline's errors around the pixel,
  :math:`\tanh\log(\sigma_{d \pm k}/\sigma_d)`, as a second channel. It sees ratios of errors only, so its density is
  exactly equivariant under a change of the flux unit. The first :math:`K` pixels share one scale. Further inputs may be
  the channels of `noise_context.py`: the star's signal-to-noise ratio, the correlation by resampling, the sky.

References:
    Kang, He & Zhang (2021), section 3.4, equations 11 to 15.
    Papamakarios, Pavlakou & Murray (2017), Masked Autoregressive Flow, arXiv:1705.07057.
"""

import math
from collections.abc import Iterator, Sequence

import torch
from nflows.distributions.normal import StandardNormal
from nflows.flows.base import Flow
from nflows.transforms.autoregressive import MaskedAffineAutoregressiveTransform
from nflows.transforms.base import CompositeTransform
from scipy.special import ndtr, stdtrit
from torch import Tensor, nn

from ..errors import InputError
from .linearization import Linearization, linearize_block
from .local_autoregressive import LocalAutoregressive
from .local_network import BLOCK, LocalNetwork, counted
from .noise_context import CHANNELS
from .student_t import StudentT
from .views import repeated

__all__ = ["KINDS", "Linearization", "NoiseFlow", "window_maf"]

PROFILES = ("none", "scale", "full")
KINDS = {"robust": 2.0, "kang2021": 7.0}  # each with its default bound on alpha


class NoiseFlow(nn.Module):
    r"""Density, samples and linearization of the noise of exposures.

    Arguments:
        kind: `robust`, or `kang2021` for the published model.
        size: Number of pixels :math:`D`.
        window: Number of preceding pixels :math:`K` that a pixel depends on.
        channels: Width :math:`C` of the first layer.
        hidden: Width :math:`C' < C` of the second layer.
        squash: Whitened residuals enter the network as :math:`w / \sqrt{1 + (w/c)^2}`; this is :math:`c` (`robust`).
        mu_bound: Largest :math:`|\mu|`, in units of the pipeline's sigma (`robust`).
        alpha_bound: Largest :math:`|\alpha|`, by default 2 for `robust` and 7 for `kang2021`; 0 for none, as published.
        profile: What the errors around a pixel act on (`robust`), one of `PROFILES`: nothing; alpha alone; or mu too, which
            then reads the noise out of them, but lines of the star as well.
        context: Names of the channels that it is conditioned on: none, or `CHANNELS` of `noise_context.py`, which further ones
            may follow (`robust`).

    Raises:
        InputError: if the kind is not known or a number is out of range.

    Example:
        >>> noise = NoiseFlow("robust", size=64)
        >>> ivar = torch.full((3, 64), 100.0)
        >>> eps = noise.sample(ivar, generator=torch.Generator().manual_seed(0))
        >>> noise.log_prob(eps, ivar, torch.zeros(3, 64, dtype=torch.bool)).shape
        torch.Size([3, 64])
    """

    def __init__(
        self,
        kind: str = "robust",
        size: int = 2048,
        window: int = 3,
        channels: int = 16,
        hidden: int = 8,
        squash: float = 4.0,
        mu_bound: float = 3.0,
        alpha_bound: float | None = None,
        profile: str = "none",
        context: Sequence[str] = (),
    ) -> None:
        super().__init__()
        if kind not in KINDS:
            raise InputError(f"kind: expected one of {', '.join(KINDS)}, got {kind!r}")
        if not 1 <= window < size or not 1 <= hidden <= channels:
            came = f"size {size}, window {window}, channels {channels}, hidden {hidden}"
            raise InputError(f"noise flow: expected 1 <= window < size and 1 <= hidden <= channels, got {came}")
        alpha_bound = KINDS[kind] if alpha_bound is None else alpha_bound
        if not (squash > 0 and mu_bound > 0 and alpha_bound >= 0) or (kind == "robust" and alpha_bound == 0):
            came = f"squash {squash}, mu_bound {mu_bound}, alpha_bound {alpha_bound}"
            raise InputError(f"noise flow: expected positive bounds, got {came}")
        if context and (tuple(context[: len(CHANNELS)]) != CHANNELS or kind != "robust"):
            wanted, came = ", ".join(CHANNELS), f"{', '.join(context)} for {kind}"
            raise InputError(f"noise flow: context: expected none, or {wanted} for robust, got {came}")
        if profile not in PROFILES or (kind != "robust" and profile != "none"):
            wanted = ", ".join(PROFILES)
            raise InputError(f"noise flow: profile: expected one of {wanted} for robust, got {profile!r} for {kind}")
        self.kind, self.size, self.window = kind, size, window
        shape = {"window": window, "channels": channels, "hidden": hidden}
        bounds = {"squash": squash, "mu_bound": mu_bound, "alpha_bound": alpha_bound}
        self.config = {"kind": kind, "size": size, **shape, **bounds}
        self.config |= {"profile": profile, "context": list(context)}
        base = StudentT(size) if kind == "robust" else StandardNormal([size])
        self.flow = Flow(
            LocalAutoregressive(LocalNetwork(kind, **shape, **bounds, profile=profile, context=len(context))), base
        )

    @property
    def network(self) -> LocalNetwork:
        """The network inside the transform inside `flow`."""
        return self.flow._transform.network

    @property
    def nu(self) -> float:
        """Degrees of freedom of the conditionals; infinite for `kang2021`."""
        return self.flow._distribution.nu.item() if self.kind == "robust" else math.inf

    @property
    def fisher_share(self) -> float:
        r"""Fisher information over the mean of the weights of `linearize`, :math:`(\nu + 1)/(\nu + 3)`; 1 for normal noise.

        For :math:`\xi` of Student's t the weights :math:`(\nu + 1)/(\nu + \xi^2)` have the mean 1.
        """
        return 1.0 if math.isinf(self.nu) else (self.nu + 1) / (self.nu + 3)

    def log_density(self, xi: Tensor) -> Tensor:
        """Log-density of independent residuals, in the shape of `xi`."""
        if self.kind == "robust":
            return self.flow._distribution.log_density(xi)
        return -0.5 * xi * xi - 0.5 * math.log(2 * math.pi)

    def counted(self, mask: Tensor) -> Tensor:
        """Which pixels enter the likelihood: see `counted`."""
        return counted(mask, self.window)

    def _prepare(
        self, eps: Tensor, ivar: Tensor, mask: Tensor, context: Tensor | None
    ) -> tuple[torch.Size, tuple[Tensor, Tensor, Tensor, Tensor | None]]:
        """The common shape, and eps, ivar, mask (N, D) and context (N, C, D), as far as the flow has a use for it."""
        eps, ivar, mask = torch.broadcast_tensors(eps, ivar, mask)
        shape, count = eps.shape, self.network.context
        if shape[-1] != self.size:
            raise InputError(f"noise flow: expected {self.size} pixels, got {shape[-1]}")
        if context is None or not count:
            context = None
        elif context.shape[-2:] != (count, self.size):
            came = tuple(context.shape)
            raise InputError(f"noise flow: context: expected shape (..., {count}, {self.size}), got {came}")
        else:
            context = context.expand(*shape[:-1], count, self.size).reshape(-1, count, self.size).to(eps.dtype)
        flat = (-1, self.size)
        ivar = ivar.reshape(flat).to(eps.dtype)
        return shape, (eps.reshape(flat), ivar, mask.reshape(flat) | ~(ivar > 0), context)

    def log_prob(self, eps: Tensor, ivar: Tensor, mask: Tensor, context: Tensor | None = None) -> Tensor:
        r"""Log-density of each pixel given its predecessors, per unit of `eps`.

        Arguments:
            eps: Residuals, shape :math:`(\dots, D)`, in flux units (mean absolute flux 1).
            ivar: Inverse variances, broadcastable to the same shape, in flux units to the power -2.
            mask: True where bad, broadcastable to the same shape. What stands there has no influence.
            context: From `noise_context`, shape :math:`(\dots, C, D)`; None if not known. Only a flow with channels uses it.

        Returns:
            Shape :math:`(\dots, D)`; exactly 0 where a pixel does not count.
        """
        ivar, mask, context = _shared(ivar, mask, context)
        shape = torch.broadcast_shapes(eps.shape, ivar.shape, mask.shape)
        _, (_, ivar, bad, known) = self._prepare(eps[: len(ivar)] if len(shape) == 3 else eps, ivar, mask, context)
        runs = eps.expand(shape).reshape(-1, *ivar.shape)
        parts = []
        for here in self._blocks(ivar):
            context = None if known is None else known[here]
            parts.append(self._log_prob(runs[:, here], ivar[here], bad[here], context))
        return torch.cat(parts, 1).view(shape)

    def _log_prob(self, eps: Tensor, ivar: Tensor, bad: Tensor, context: Tensor | None) -> Tensor:
        """Of R runs (R, M, D) of the same M exposures."""
        white, unit = self.network.whiten(eps, ivar, bad)
        found = self.network.conditionals(white.flatten(0, 1), ivar, bad, context)
        mu, alpha = (x.view_as(white) for x in found)
        log_prob = self.log_density((white - mu) * torch.exp(-alpha)) - alpha + unit.log()
        return torch.where(self.counted(bad), log_prob, 0.0)

    def _blocks(self, ivar: Tensor) -> Iterator[slice]:
        """Exposures of (M, D) that are worked on together."""
        rows = max(1, BLOCK // self.size if ivar.device.type == "cpu" else len(ivar))
        return (slice(i, i + rows) for i in range(0, len(ivar), rows))

    @torch.no_grad()
    def scale(self, eps: Tensor, ivar: Tensor, mask: Tensor, context: Tensor | None = None) -> Tensor:
        r"""Half the width of the central 68.3 % of each pixel's noise given its predecessors.

        It is the standard deviation of a normal density; heavy tails hardly touch it.

        Arguments as in `log_prob`.

        Returns:
            Shape :math:`(\dots, D)`, in flux units; NaN where a pixel does not count.
        """
        shape, (eps, ivar, bad, known) = self._prepare(eps, ivar, mask, context)
        white, unit = self.network.whiten(eps, ivar, bad)
        _, alpha = self.network.conditionals(white, ivar, bad, known)
        spread = -float(stdtrit(float(self.nu), ndtr(-1.0)))
        return torch.where(self.counted(bad), spread * torch.exp(alpha) / unit, torch.nan).view(shape)

    @torch.no_grad()
    def sample(
        self,
        ivar: Tensor,
        mask: Tensor | None = None,
        context: Tensor | None = None,
        *,
        generator: torch.Generator | None = None,
    ) -> Tensor:
        r"""Draw noise, one pixel after the other.

        A masked pixel gets 0, and its successors are drawn as if its residual were 0; those do not count in `log_prob`.

        Arguments:
            ivar: Inverse variances, shape :math:`(\dots, D)`.
            mask: True where bad, same shape; none by default.
            context: As in `log_prob`.
            generator: Source of randomness; on the CPU it draws the same for every device.

        Returns:
            Noise, shape :math:`(\dots, D)`, in flux units.
        """
        mask = torch.zeros_like(ivar, dtype=bool) if mask is None else mask
        shape = torch.broadcast_shapes(ivar.shape, mask.shape)
        ivar, mask, context = _shared(ivar, mask, context)
        _, (like, values, bad, known) = self._prepare(torch.zeros_like(ivar), ivar, mask, context)
        flat = (math.prod(shape[:-1]), shape[-1])
        if self.kind == "robust":
            xi = self.flow._distribution.draw(flat, generator).to(like.dtype)
        else:
            place = like.device if generator is None else generator.device
            xi = torch.randn(flat, dtype=like.dtype, device=place, generator=generator).to(like.device)
        values = values if known is None else torch.cat([values.unsqueeze(1), known], 1)
        return self.flow._transform.inverse(xi, values, bad)[0].view(shape)

    @torch.no_grad()
    def linearize(self, eps: Tensor, ivar: Tensor, mask: Tensor, context: Tensor | None = None) -> Linearization:
        r"""Log-density with its exact score and the band of :math:`\partial\xi/\partial\epsilon`, without autograd.

        Arguments as in `log_prob`.

        Returns:
            The expansion at `eps`.
        """
        shape, (eps, ivar, bad, known) = self._prepare(eps, ivar, mask, context)
        out = [eps.new_empty(eps.shape) for _ in range(4)] + [eps.new_empty(self.window + 1, *eps.shape)]
        for here in self._blocks(ivar):
            values = (eps[here], ivar[here], bad[here], self.counted(bad[here]), None if known is None else known[here])
            block = linearize_block(self.network, self.log_density, self.nu, *values)
            for whole, part in zip(out, block, strict=True):
                whole[..., here, :] = part
        log_prob, score, xi, weight = (x.view(shape) for x in out[:4])
        return Linearization(log_prob, score, xi, weight, out[4].view(-1, *shape).movedim(0, -1))


def _shared(ivar: Tensor, mask: Tensor, context: Tensor | None) -> tuple[Tensor, Tensor, Tensor | None]:
    """One of the rows (B, E, D) where all are views of the same (`Data.expand`)."""
    if ivar.dim() == 3 and repeated(ivar, mask, context):
        return ivar[:1], mask[:1], None if context is None else context[:1]
    return ivar, mask, context


def window_maf(size: int, hidden: int = 16, layers: int = 2) -> Flow:
    r"""A masked autoregressive flow on windows :math:`(N, size)`, with a Student-t base: a yardstick for `NoiseFlow`.

    All its layers keep the pixels' order, so its last factor is the density of a pixel given those before it.

    References:
        Papamakarios, Pavlakou & Murray (2017), arXiv:1705.07057.

    Arguments:
        size: Number of pixels in a window.
        hidden: Width of each layer's network.
        layers: Number of affine layers.
    """
    steps = [MaskedAffineAutoregressiveTransform(size, hidden, num_blocks=1) for _ in range(layers)]
    return Flow(CompositeTransform(steps), StudentT(size))
