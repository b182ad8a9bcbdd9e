r"""First-order expansion of the noise's log-density in closed form: one pass back through the tiny network by hand."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from .local_network import LocalNetwork, shift

__all__ = ["Linearization", "linearize_block"]


@dataclass(frozen=True)
class Linearization:
    r"""First-order expansion of the noise's log-density.

    Its Gauss-Newton curvature is :math:`\sum_d w_d\, J_{d\cdot}^\top J_{d\cdot}`, with `band` as the rows of :math:`J`.
    All are 0 where a pixel does not count.

    Arguments:
        log_prob: Log-density of each pixel, shape :math:`(\dots, D)`.
        score: :math:`\partial \sum_d \log p_d / \partial \epsilon`, shape :math:`(\dots, D)`.
        xi: Independent residuals, shape :math:`(\dots, D)`.
        weight: Gauss-Newton weight: :math:`(\nu + 1)/(\nu + \xi^2)`, or 1 for normal noise, shape :math:`(\dots, D)`.
        band: :math:`\partial \xi_d / \partial \epsilon_{d-k}` for :math:`k = 0 \dots K`, shape
            :math:`(\dots, D, K + 1)`; a view in which neighbouring pixels are neighbours in memory.
    """

    log_prob: Tensor
    score: Tensor
    xi: Tensor
    weight: Tensor
    band: Tensor


def linearize_block(
    net: LocalNetwork,
    log_density: Callable[[Tensor], Tensor],
    nu: float,
    eps: Tensor,
    ivar: Tensor,
    bad: Tensor,
    counted: Tensor,
    context: Tensor | None = None,
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    r"""The parts of a `Linearization` for rows of pixels.

    Arguments:
        net: Location and log-scale of each pixel.
        log_density: Of independent residuals.
        nu: Its degrees of freedom; infinite if normal.
        eps: Residuals, shape :math:`(N, D)`.
        ivar: Inverse variances, shape :math:`(N, D)`.
        bad: Not observed, shape :math:`(N, D)`.
        counted: In the likelihood, shape :math:`(N, D)`.
        context: What else is known, shape :math:`(N, C, D)`.

    Returns:
        Log-density, score, xi and weight, each :math:`(N, D)`, and the band, :math:`(K + 1, N, D)`.
    """
    k = net.window
    white, unit = net.whiten(eps, ivar, bad)
    seen, slope = net.predecessors(white)
    x = net.inputs(seen, ivar, bad, context)
    raw, *slopes = net.layers_with_slopes(x)
    mu, alpha = net.bound(raw)
    mu, alpha = net.with_edge(mu.view_as(eps), alpha.view_as(eps))

    shrink = torch.exp(-alpha)
    xi = torch.where(counted, (white - mu) * shrink, 0.0)
    weight = (nu + 1) / (nu + xi * xi) if net.robust else torch.ones_like(xi)
    weight = torch.where(counted, weight, 0.0)
    log_prob = torch.where(counted, log_density(xi) - alpha + unit.log(), 0.0)

    # Back through the network, once for xi (rows of the band) and once for -alpha: the two parts of the score.
    inner = counted.to(eps.dtype)
    inner[:, :k] = 0.0
    on_mu, on_alpha = ((inner.flatten() * x) for x in net.bound_slope(raw))
    on_mu = -shrink.flatten() * on_mu
    from_xi = net.pull_back(torch.stack([on_mu, -xi.flatten() * on_alpha]), *slopes)
    from_alpha = net.pull_back(torch.stack([torch.zeros_like(on_mu), on_alpha]), *slopes)
    step = slope * unit
    band = eps.new_empty(k + 1, *eps.shape)
    band[0] = torch.where(counted, shrink * unit, 0.0)
    pull = weight * xi
    score = -pull * band[0]
    for j in range(1, k + 1):
        row = from_xi[k - j].view_as(eps)
        band[j] = row * shift(step, j)
        share = -(pull * row + from_alpha[k - j].view_as(eps))
        score[:, :-j] += share[:, j:] * step[:, :-j]
    return log_prob, score, xi, weight, band
