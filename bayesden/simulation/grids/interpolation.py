r"""Interpolation on a rectangular grid as a weighted sum of nodes.

Every scheme here is linear in the nodes, :math:`f(x) = \sum_j w_j(x)\,f_j`, so a spectrum costs one pass over a few rows
of the grid, and its derivatives are those of the weights. Along one axis with values :math:`a_j`, spacings
:math:`h_j = a_{j+1} - a_j` and :math:`t = (x - a_j)/h_j`:

- linear: :math:`w = (1 - t)\,e_j + t\,e_{j+1}`;
- cubic spline: :math:`w = (1 - t)\,e_j + t\,e_{j+1} + \tfrac{h_j^2}{6}\big[((1-t)^3 - (1-t))\,D_j + (t^3 - t)\,D_{j+1}\big]`,
  where the matrix D takes the nodes to the second derivatives of the spline at the nodes. Its ends are "not a knot": the
  first two and the last two pieces are one cubic each; with three nodes a parabola, with two a straight line.

References:
    De Boor (1978), *A Practical Guide to Splines*, chapter IV.
"""

from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import embedding_bag

__all__ = ["bracket", "second_derivative_operator", "spline_weights", "weighted_sum"]


def second_derivative_operator(axis: Tensor) -> Tensor:
    """The matrix D of the not-a-knot spline: from nodes on an ascending axis (n,) to second derivatives, (n, n)."""
    n, h = len(axis), axis.diff()
    left, right = axis.new_zeros(n, n), axis.new_zeros(n, n)
    if n < 3:
        return right
    for i in range(1, n - 1):
        left[i, i - 1 : i + 2] = torch.stack([h[i - 1], 2 * (h[i - 1] + h[i]), h[i]]) / 6
        right[i, i - 1 : i + 2] = torch.stack([1 / h[i - 1], -1 / h[i - 1] - 1 / h[i], 1 / h[i]])
    if n == 3:
        left[0, 0], left[0, 1], left[2, 2], left[2, 1] = 1, -1, 1, -1
    else:
        left[0, :3] = torch.stack([h[1], -h[0] - h[1], h[0]])
        left[-1, -3:] = torch.stack([h[-1], -h[-1] - h[-2], h[-2]])
    return torch.linalg.solve(left, right)


def bracket(axis: Tensor, x: Tensor) -> tuple[Tensor, Tensor]:
    """The interval of an axis (n,) that holds each x (B,), and the place t in it; 0 and 0 on an axis of one value."""
    if len(axis) == 1:
        return torch.zeros_like(x, dtype=torch.long), torch.zeros_like(x)
    j = (torch.searchsorted(axis, x.detach().contiguous(), right=True) - 1).clamp(0, len(axis) - 2)
    return j, (x - axis[j]) / (axis[j + 1] - axis[j])


def spline_weights(axis: Tensor, operator: Tensor, x: Tensor) -> Tensor:
    """Weights (B, n) of the nodes of an axis (n,) in its cubic spline at x (B,); differentiable."""
    if len(axis) == 1:
        return torch.ones_like(x).unsqueeze(1)
    j, t = bracket(axis, x)
    eye = torch.eye(len(axis), dtype=axis.dtype, device=axis.device)
    t, h = t.unsqueeze(1), (axis[j + 1] - axis[j]).unsqueeze(1)
    s = 1 - t
    bend = (s**3 - s) * operator[j] + (t**3 - t) * operator[j + 1]
    return s * eye[j] + t * eye[j + 1] + h * h / 6 * bend


def weighted_sum(nodes: Tensor, index: Tensor, weight: Tensor, use: Tensor) -> Tensor:
    r"""Sums of rows, :math:`\sum_k w_{bk}\,f_{i_{bk}}`, without a temporary of that many rows.

    Arguments:
        nodes: Rows, shape :math:`(M, N)`; constants.
        index: Which rows, shape :math:`(B, K)`.
        weight: Shape :math:`(B, K)`; differentiable in reverse and forward mode, and under `torch.func.jacfwd`.
        use: Which of the K to take, shape :math:`(B, K)`; the others are not read.

    Returns:
        Shape :math:`(B, N)`, in the dtype of the nodes.
    """
    return _WeightedSum.apply(nodes, index, weight.to(nodes.dtype), use)


class _WeightedSum(torch.autograd.Function):
    """Embedding bags, with the forward-mode rule that torch's own lack."""

    @staticmethod
    def forward(nodes: Tensor, index: Tensor, weight: Tensor, use: Tensor) -> Tensor:
        offsets = torch.cumsum(use.sum(1), 0) - use.sum(1)
        return embedding_bag(index[use], nodes, offsets, mode="sum", per_sample_weights=weight[use])

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        nodes, index, _, use = inputs
        ctx.save_for_backward(nodes, index, use)
        ctx.save_for_forward(nodes, index, use)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[None, None, Tensor, None]:
        nodes, index, use = ctx.saved_tensors
        columns = [_row_products(nodes, index[:, k], use[:, k], gradient) for k in range(index.shape[1])]
        return None, None, torch.stack(columns, 1), None

    @staticmethod
    def jvp(ctx: Any, _nodes: None, _index: None, tangent: Tensor, _use: None) -> Tensor:
        nodes, index, use = ctx.saved_tensors
        return _WeightedSum.apply(nodes, index, tangent, use)

    @staticmethod
    def vmap(info: Any, in_dims: tuple[int | None, ...], *inputs: Tensor) -> tuple[Tensor, int]:
        """Several sets of weights are a longer batch; the nodes are never batched."""
        nodes, *rest = inputs
        size = info.batch_size
        moved = [
            x.expand(size, *x.shape) if d is None else x.movedim(d, 0) for x, d in zip(rest, in_dims[1:], strict=True)
        ]
        total = _WeightedSum.apply(nodes, *(x.reshape(-1, x.shape[-1]) for x in moved))
        return total.reshape(size, -1, nodes.shape[1]), 0


def _row_products(nodes: Tensor, index: Tensor, use: Tensor, gradient: Tensor) -> Tensor:
    """Scalar products of gradients (B, N) with rows of the nodes, 0 where not used."""
    out = gradient.new_zeros(len(index))
    return out.index_put((use.nonzero().flatten(),), (nodes[index[use]] * gradient[use]).sum(1))
