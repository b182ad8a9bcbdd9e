r"""The network inside the noise flow: location and log-scale of each pixel from the K before it, with its derivatives.

It has no flow in it, so that its closed-form derivatives can be read, and tested, by themselves.
"""

import torch
from torch import Tensor, nn
from torch.nn.utils.parametrize import register_parametrization

__all__ = ["BLOCK", "LocalNetwork", "counted", "shift"]

BLOCK = 65536  # pixels whose hidden layers are made together on a CPU: enough to make calls cheap, few enough for its caches
CONTEXT_GAIN = 3.0  # neighbouring errors differ by tens of percent: brings the second channel to order one


def shift(x: Tensor, k: int) -> Tensor:
    """What stood `k` pixels before (after, if negative); zero beyond the ends."""
    if k == 0:
        return x
    out = torch.zeros_like(x)
    if k > 0:
        out[..., k:] = x[..., :-k]
    else:
        out[..., :k] = x[..., -k:]
    return out


def counted(mask: Tensor, window: int) -> Tensor:
    r"""Which pixels enter the likelihood (equation 15): they and their K predecessors, as far as there are any.

    Of the first K pixels, which have no conditional, each counts if it is observed itself.

    Arguments:
        mask: True where bad, shape :math:`(\dots, D)`.
        window: K.

    Returns:
        Shape :math:`(\dots, D)`, boolean.
    """
    size, bad = mask.shape[-1], mask.clone()
    for j in range(1, window + 1):
        bad[..., window:] |= mask[..., window - j : size - j]
    return ~bad


def _squash(x: Tensor) -> Tensor:
    r"""The smooth :math:`x / \sqrt{1 + x^2}`, within (-1, 1): a sigmoid at a third of the price of tanh."""
    return x * _inverse_root(x)


def _inverse_root(x: Tensor) -> Tensor:
    r""":math:`1 / \sqrt{1 + x^2}` in two passes over memory, which is what holds it up."""
    return torch.addcmul(x.new_ones(()), x, x).rsqrt_()


def _squash_slope(x: Tensor) -> Tensor:
    return _squash_with_slope(x)[1]


def _squash_with_slope(x: Tensor) -> tuple[Tensor, Tensor]:
    """Both of it: the root is most of the work."""
    inverse = _inverse_root(x)
    return x * inverse, inverse * inverse * inverse


class _Masked(nn.Module):
    """Weights of which some are zero for good."""

    def __init__(self, mask: Tensor) -> None:
        super().__init__()
        self.register_buffer("mask", mask, persistent=False)

    def forward(self, weight: Tensor) -> Tensor:
        return weight * self.mask


def _keep_zero(layer: nn.Linear, mask: Tensor) -> None:
    # Not tried out (`unsafe`): arithmetic on the device "meta", where sizes are checked, imports torch's compiler, a second.
    register_parametrization(layer, "weight", _Masked(mask), unsafe=True)


class LocalNetwork(nn.Module):
    r"""Features of a local group of pixels, two layers, two heads :math:`\mu_d, \alpha_d` (Kang et al. 2021, figure 2).

    The first layer is a convolution of kernel :math:`K` over the preceding pixels, written as a matrix product over
    shifted copies. The arguments are those of `NoiseFlow`; `context` is the number of channels.
    """

    def __init__(
        self,
        kind: str,
        window: int,
        channels: int,
        hidden: int,
        squash: float,
        mu_bound: float,
        alpha_bound: float,
        profile: str = "none",
        context: int = 0,
    ) -> None:
        super().__init__()
        self.robust = kind == "robust"
        self.window, self.squash, self.alpha_bound = window, squash, alpha_bound
        self.context = context
        self.profile = self.robust and profile != "none"
        self.register_buffer("bounds", torch.tensor([[mu_bound], [alpha_bound]]), persistent=False)
        self.first = nn.Linear((3 * window if self.profile else window) + context, channels)
        self.second = nn.Linear(channels, hidden)
        self.heads = nn.Linear(hidden, 2)  # mu, alpha
        nn.init.zeros_(self.heads.weight)
        nn.init.zeros_(self.heads.bias)
        if self.profile and profile == "scale":
            self._keep_profile_from_mu()
        edge = 1 if self.robust else window
        self.edge_mu = nn.Parameter(torch.zeros(edge), requires_grad=not self.robust)
        self.edge_alpha = nn.Parameter(torch.zeros(edge))

    def _keep_profile_from_mu(self) -> None:
        """Weights of zero, so that mu is made of half of each layer, which the error profile does not reach."""
        window, (hidden, channels) = self.window, self.second.weight.shape
        for layer, inputs in ((self.first, slice(window, 3 * window)), (self.second, slice(channels // 2, None))):
            mask = torch.ones(layer.weight.shape)
            mask[: len(mask) // 2, inputs] = 0.0
            _keep_zero(layer, mask)
        mask = torch.ones(self.heads.weight.shape)
        mask[0, hidden // 2 :] = 0.0
        _keep_zero(self.heads, mask)

    def whiten(self, eps: Tensor, ivar: Tensor, bad: Tensor) -> tuple[Tensor, Tensor]:
        """Residuals in the unit of the model, zero where bad, and that unit's inverse, one where bad."""
        if not self.robust:
            return torch.where(bad, 0.0, eps), torch.ones_like(eps)
        unit = torch.where(bad, 1.0, ivar).sqrt()
        return torch.where(bad, 0.0, eps * unit), unit

    def predecessors(self, white: Tensor) -> tuple[Tensor, Tensor]:
        """What the network sees of a residual, and its derivative."""
        if not self.robust:
            return white, torch.ones_like(white)
        value, slope = _squash_with_slope(white / self.squash)
        return self.squash * value, slope

    def error_profile(self, ivar: Tensor, bad: Tensor) -> list[Tensor]:
        r"""The second channel, :math:`\tanh\log(\sigma_{d-k}/\sigma_d)`, k = K..1 and -1..-K; 0 where either is bad."""
        if not self.profile:
            return []
        ivar = torch.where(bad, 0.0, ivar)
        before, after = [], []
        for k in range(1, self.window + 1):
            here, there = ivar[..., k:], ivar[..., :-k]
            known = (here > 0) & (there > 0)
            total = torch.where(known, here + there, 1.0)
            ratio = torch.where(known, CONTEXT_GAIN * (here - there) / total, 0.0)
            before.append(nn.functional.pad(ratio, (k, 0)))
            after.append(nn.functional.pad(-ratio, (0, k)))
        return before[::-1] + after

    def inputs(self, seen: Tensor, ivar: Tensor, bad: Tensor, context: Tensor | None = None) -> Tensor:
        """The first layer's inputs, features x pixels: predecessors k = K..1, the error profile, the context if known."""
        known = self._known_inputs(ivar, bad, context)
        return torch.cat([self._seen_inputs(seen), *known])

    def _seen_inputs(self, seen: Tensor) -> Tensor:
        return torch.stack([shift(seen, k) for k in range(self.window, 0, -1)]).flatten(1)

    def _known_inputs(self, ivar: Tensor, bad: Tensor, context: Tensor | None) -> list[Tensor]:
        """Those that do not depend on the residuals: features x pixels, or none."""
        rows = self.error_profile(ivar, bad) + ([] if context is None else list(context.unbind(1)))
        return [torch.stack(rows).flatten(1)] if rows else []

    def activation(self, x: Tensor) -> Tensor:
        """A smooth sigmoid, so that second-order optimisers behave, or the published ReLU."""
        return _squash(x) if self.robust else torch.relu(x)

    def activation_with_slope(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """The same, and its derivative."""
        return _squash_with_slope(x) if self.robust else (torch.relu(x), (x > 0).to(x.dtype))

    def layers(self, x: Tensor) -> Tensor:
        """The raw heads; features x pixels, as `x`, whose last may be left out."""
        return self._later_layers(torch.addmm(self.first.bias[:, None], self.first.weight[:, : len(x)], x))

    def _later_layers(self, a1: Tensor) -> Tensor:
        a2 = torch.addmm(self.second.bias[:, None], self.second.weight, self.activation(a1))
        return torch.addmm(self.heads.bias[:, None], self.heads.weight, self.activation(a2))

    def layers_with_slopes(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """The raw heads, and the slopes of both layers' activations, as `pull_back` takes them."""
        h1, slope1 = self.activation_with_slope(torch.addmm(self.first.bias[:, None], self.first.weight, x))
        h2, slope2 = self.activation_with_slope(torch.addmm(self.second.bias[:, None], self.second.weight, h1))
        return torch.addmm(self.heads.bias[:, None], self.heads.weight, h2), slope1, slope2

    def bound(self, raw: Tensor) -> tuple[Tensor, Tensor]:
        """The heads' outputs, mu and alpha, within their bounds."""
        if self.robust:
            return (self.bounds * _squash(raw / self.bounds)).unbind(-2)
        mu, alpha = raw.unbind(-2)
        return mu, alpha.clamp(-self.alpha_bound, self.alpha_bound) if self.alpha_bound else alpha

    def bound_slope(self, raw: Tensor) -> tuple[Tensor, Tensor]:
        """The derivatives of `bound`."""
        if self.robust:
            return _squash_slope(raw / self.bounds).unbind(-2)
        mu, alpha = raw.unbind(-2)
        free = alpha.abs() <= self.alpha_bound if self.alpha_bound else torch.ones_like(alpha, dtype=bool)
        return torch.ones_like(mu), free.to(raw.dtype)

    def with_edge(self, mu: Tensor, alpha: Tensor) -> tuple[Tensor, Tensor]:
        """The first K pixels' own mu and alpha put in place of the network's."""
        shape = (*mu.shape[:-1], self.window)
        mu = torch.cat([self.edge_mu.expand(shape), mu[..., self.window :]], -1)
        return mu, torch.cat([self.edge_alpha.expand(shape), alpha[..., self.window :]], -1)

    def conditionals(
        self, white: Tensor, ivar: Tensor, bad: Tensor, context: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        r"""Location and log-scale of each pixel given its predecessors.

        Arguments:
            white: Residuals as `whiten` gives them, shape :math:`(N, D)`.
            ivar: Inverse variances, shape :math:`(M, D)`, of M residuals that N/M runs share: it costs once what they share.
            bad: Not observed, shape :math:`(M, D)`.
            context: What else is known, shape :math:`(M, C, D)`.

        Returns:
            mu and alpha, each :math:`(N, D)`, in the unit of `white`.
        """
        shared = self.first.bias[:, None]
        for known in self._known_inputs(ivar, bad, context):
            shared = torch.addmm(shared, self.first.weight[:, self.window : self.window + len(known)], known)
        runs = white.view(-1, *ivar.shape)
        height = max(1, BLOCK // ivar.numel()) if white.device.type == "cpu" else len(runs)
        parts = [self._conditionals(some, shared) for some in runs.split(height)]
        return self.with_edge(*(torch.cat(part).view_as(white) for part in zip(*parts, strict=True)))

    def _conditionals(self, white: Tensor, shared: Tensor) -> tuple[Tensor, Tensor]:
        """The same of runs (R, M, D), edges aside, whose first layers (C, M D) have all but the residuals in common."""
        seen = self.first.weight[:, : self.window] @ self._seen_inputs(self.predecessors(white)[0])
        a1 = (seen.unflatten(1, (len(white), -1)) + shared.unsqueeze(1)).flatten(1)
        mu, alpha = self.bound(self._later_layers(a1))
        return mu.view_as(white), alpha.view_as(white)

    def pull_back(self, on_heads: Tensor, slope1: Tensor, slope2: Tensor) -> Tensor:
        """A cotangent of the raw heads pulled back to the predecessors k = K..1: features x pixels."""
        g = self.second.weight.T @ (slope2 * (self.heads.weight.T @ on_heads))
        return self.first.weight[:, : self.window].T @ (slope1 * g)
