r"""How much better a denoiser could be: the Cramér–Rao bound on the noiseless flux.

If a star has p unknown parameters :math:`\theta` and independent noise :math:`\sigma_d`, the Fisher matrix is
:math:`F = J^T \operatorname{diag}(\sigma^{-2}) J` with :math:`J = \partial s / \partial\theta` the Jacobian of the noiseless
simulator, and no unbiased estimate of the flux has a smaller squared error than

.. math:: \operatorname{E}(\hat s_d - s_d)^2 \ge (J F^{-1} J^T)_{dd} = \sigma_d^2\, (U U^T)_{dd},

with U an orthonormal basis of the columns of :math:`\operatorname{diag}(1/\sigma) J`. For white noise its mean over D
pixels is :math:`\sigma^2 \operatorname{rank}(J) / D`. *Efficiency* is the bound over what was achieved; a prior that knows
which stars there are can exceed 1.

References:
    Rao (1945), Bull. Calcutta Math. Soc. 37, 81; Cramér (1946), Mathematical Methods of Statistics, section 32.3.
"""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor
from torch.autograd import forward_ad

from ..errors import InputError

__all__ = ["cramer_rao_bound", "efficiency", "jacobian", "oracle_fit"]

RANK_TOLERANCE = 1e-6  # smallest singular value that counts, in units of the largest: the flux is single precision


def jacobian(noiseless: Callable[[Tensor], Tensor], parameters: Tensor, columns: Sequence[int]) -> Tensor:
    r"""Derivatives of noiseless spectra by forward-mode differentiation, all columns in one pass.

    Arguments:
        noiseless: Parameters :math:`(B, P)` to flux :math:`(B, D)`, such as `Simulator.noiseless`.
        parameters: Where, shape :math:`(B, P)`.
        columns: Which p parameters are unknown.

    Returns:
        Shape :math:`(B, D, p)`, double precision, unit of the flux per unit of the parameter.

    Raises:
        InputError: if the spectrum does not depend on one of them, such as what a rectangular grid in spline mode holds on
            its values: fixing it unasked would make the bound too low.
    """
    batch, count = len(parameters), len(columns)
    tangent = torch.zeros(count, parameters.shape[1], dtype=parameters.dtype, device=parameters.device)
    tangent[torch.arange(count), list(columns)] = 1.0
    with forward_ad.dual_level():
        dual = forward_ad.make_dual(parameters.repeat_interleave(count, 0), tangent.repeat(batch, 1))
        slope = forward_ad.unpack_dual(noiseless(dual)).tangent
    if slope is None:
        raise InputError("noiseless: expected a spectrum that depends on the parameters, got a constant")
    slope = slope.detach().double().view(batch, count, -1)
    still = (slope == 0).all(2)
    if bool(still.any()):
        row, k = still.nonzero()[0].tolist()
        raise InputError(
            f"parameters: expected a spectrum that depends on column {columns[k]}, got a derivative of 0 (spectrum {row}; "
            "the spline mode of a grid holds all parameters but one on its values, multilinear frees them)"
        )
    return slope.transpose(1, 2)


def cramer_rao_bound(slope: Tensor, sigma: Tensor, prior_sigma: Tensor | None = None) -> Tensor:
    r"""Smallest possible squared error of the flux in each pixel.

    Arguments:
        slope: Jacobian, shape :math:`(B, D, p)`.
        sigma: Standard deviation of the noise, shape :math:`(B, D)`; infinite where a pixel is masked.
        prior_sigma: Standard deviation of a Gaussian prior of each parameter, shape :math:`(p,)`, for the Bayesian bound
            (van Trees 1968); none by default.

    Returns:
        Shape :math:`(B, D)`, the unit of `sigma` squared.

    Raises:
        InputError: if a standard deviation is not positive.
    """
    if not bool((sigma > 0).all()):
        raise InputError("sigma: expected positive standard deviations, got others")
    scale = slope.norm(dim=1, keepdim=True).clamp_min(torch.finfo(slope.dtype).tiny)  # parameters' units differ widely
    whitened = slope / scale / sigma[:, :, None]
    left, value, right = torch.linalg.svd(whitened, full_matrices=False)
    counts = (value > RANK_TOLERANCE * value[:, :1]).to(value)
    if prior_sigma is None:
        basis = left * counts[:, None]
        bound = basis.square().sum(2)
        inside = (slope / scale) @ (right.mT * torch.nan_to_num(counts / value, posinf=0.0)[:, None])
        return torch.where(sigma.isfinite(), sigma.square() * bound, inside.square().sum(2))
    weight = (1 / (prior_sigma * scale[:, 0])).square()
    fisher = whitened.mT @ whitened + torch.diag_embed(weight)
    root = torch.linalg.cholesky(torch.linalg.inv(fisher))
    return ((slope / scale) @ root).square().sum(2)


def efficiency(bound: Tensor, squared_error: Tensor) -> Tensor:
    """Bound over achieved, from means over spectra and pixels: 1 is the limit of an unbiased estimate."""
    return bound.mean() / squared_error.mean()


def oracle_fit(
    noiseless: Callable[[Tensor], Tensor],
    flux: Tensor,
    sigma: Tensor,
    start: Tensor,
    columns: Sequence[int],
    *,
    limits: Sequence[tuple[float, float]] | None = None,
    steps: int = 8,
) -> Tensor:
    """Maximum-likelihood parameters with the true simulator, by Gauss–Newton: what the bound is about.

    Arguments:
        noiseless: As in `jacobian`.
        flux: Noisy spectra, shape :math:`(B, D)`.
        sigma: Standard deviation of their noise, same shape.
        start: First parameters, shape :math:`(B, P)`.
        columns: Which of them are fitted.
        limits: Lowest and highest value of each of these, as of a grid; a step ends there. An estimate at a limit is
            biased, and may be better than the bound, which knows of no limits.
        steps: Gauss–Newton steps; each is halved, for a spectrum whose misfit it would raise, up to four times.

    Returns:
        Shape :math:`(B, P)`.

    Raises:
        InputError: as `jacobian`; and from `noiseless`, where a step without limits leaves its grid.
    """
    columns = list(columns)
    low, high = torch.tensor(limits or [(-torch.inf, torch.inf)] * len(columns)).to(start).T
    theta, misfit = start.clone(), _misfit(noiseless, flux, sigma, start)
    for _ in range(steps):
        slope = jacobian(noiseless, theta, columns) / sigma[:, :, None].double()
        rest = (flux - noiseless(theta)).double() / sigma.double()
        scale = slope.norm(dim=1, keepdim=True)
        step = torch.linalg.lstsq(slope / scale, rest[:, :, None]).solution[:, :, 0] / scale[:, 0]
        for _ in range(5):
            trial = theta.clone()
            trial[:, columns] = (theta[:, columns] + step).clamp(low, high)
            try_misfit = _misfit(noiseless, flux, sigma, trial)
            better = try_misfit < misfit
            theta = torch.where(better[:, None], trial, theta)
            misfit = torch.where(better, try_misfit, misfit)
            step = torch.where(better[:, None], torch.zeros_like(step), step / 2)
    return theta


def _misfit(noiseless: Callable[[Tensor], Tensor], flux: Tensor, sigma: Tensor, theta: Tensor) -> Tensor:
    return ((flux - noiseless(theta)) / sigma).double().square().sum(1)
