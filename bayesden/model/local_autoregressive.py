"""The noise flow's transform: between noise and independent residuals, both ways."""

import torch
from nflows.transforms.base import Transform
from torch import Tensor
from torch.nn.functional import linear

from ..errors import InputError
from .local_network import LocalNetwork

__all__ = ["LocalAutoregressive"]


class LocalAutoregressive(Transform):
    r"""From noise :math:`\epsilon` to independent :math:`\xi`, each made of its pixel and the :math:`K` before.

    The context of `forward` and `inverse` is None (`kang2021`), or the inverse variance, :math:`(N, D)`, or that and the
    channels of `noise_context` behind it, :math:`(N, 1 + C, D)` (`robust`).

    Arguments:
        network: Location and log-scale of each pixel.
    """

    def __init__(self, network: LocalNetwork) -> None:
        super().__init__()
        self.network = network

    def _context(self, inputs: Tensor, context: Tensor | None) -> tuple[Tensor, Tensor, Tensor | None]:
        if context is None and self.network.robust:
            raise InputError("noise flow of kind robust: expected the inverse variance as context, got None")
        ivar, further = torch.ones_like(inputs) if context is None else context, None
        if ivar.ndim == 3:
            ivar, further = ivar[:, 0], ivar[:, 1:] if self.network.context else None
        return ivar, ~(ivar > 0), further

    def forward(self, inputs: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        r"""Noise :math:`(N, D)` to independent residuals, and the log-determinant of each row."""
        ivar, bad, further = self._context(inputs, context)
        white, unit = self.network.whiten(inputs, ivar, bad)
        mu, alpha = self.network.conditionals(white, ivar, bad, further)
        return (white - mu) * torch.exp(-alpha), (unit.log() - alpha).sum(-1)

    def inverse(
        self, inputs: Tensor, context: Tensor | None = None, bad: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """Independent residuals to noise, one pixel after the other; zero where `bad`.

        `context` and `bad` may have M rows that N/M runs share: what depends on them costs once.
        """
        ivar, unusable, further = self._context(inputs, context)
        bad = unusable if bad is None else bad | unusable
        net, size, inputs = self.network, inputs.shape[-1], inputs.unflatten(0, (-1, len(ivar)))
        k, static = net.window, net.first.bias.expand(size, len(ivar), -1)
        known = net.error_profile(ivar, bad) + ([] if further is None else list(further.unbind(1)))
        if known:
            weight = net.first.weight[:, k : k + len(known)]
            static = static + torch.einsum("fnd,cf->dnc", torch.stack(known), weight)
        first, second, heads = net.first.weight[:, :k].T, *((x.weight, x.bias) for x in (net.second, net.heads))
        seen = [torch.zeros_like(inputs[..., 0])] * k
        whites, alphas = [], []
        for d in range(size):
            if d < k:
                edge = d % len(net.edge_mu)
                mu, alpha = net.edge_mu[edge], net.edge_alpha[edge].expand_as(seen[0])
            else:
                h = net.activation(static[d] + torch.stack(seen[-k:], -1) @ first)
                raw = linear(net.activation(linear(h, *second)), *heads)
                mu, alpha = (x.view_as(seen[0]) for x in net.bound(raw.flatten(0, 1).T))
            white = torch.where(bad[:, d], 0.0, inputs[..., d] * torch.exp(alpha) + mu)
            seen.append(net.predecessors(white)[0])
            whites.append(white)
            alphas.append(alpha)
        _, unit = net.whiten(ivar, ivar, bad)
        noise, log_scale = torch.stack(whites, -1) / unit, torch.stack(alphas, -1) - unit.log()
        return noise.flatten(0, 1), log_scale.sum(-1).flatten()
