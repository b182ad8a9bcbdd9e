r"""From a star at rest to the pixels: Doppler shift, dust, bins.

A generator that was trained on rest-frame spectra lives on N cells that are uniform in :math:`u = \ln\lambda` and reach
beyond the pixels. The model is shifted, never the data:

.. math:: s_d = 10^{-0.4\,E(B-V)\,A_d} \sum_j W_{dj} \sum_k h_k(r)\, g_{j - n + k}, \qquad
          \frac{1}{\delta}\ln(1 + v/c) = n - r, \quad 0 \le r < 1,

with the cell's width :math:`\delta` in u, the six-point Lagrange filter h for the fraction of a cell, the share
:math:`W_{dj}` of pixel d that cell j covers, and the extinction curve :math:`A_d = A(\lambda_d)/E(B-V)` at the pixel, which
changes by 1e-3 over one.
"""

import math

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from ..errors import ModelError
from ..spectrum import Grid

__all__ = ["LIGHT_KMS", "RestFrame"]

LIGHT_KMS = 299792.458
TAPS = torch.arange(-2, 4)  # of the filter, in cells
BLOCK = 32  # pixels that share a matrix product


MAX_CELLS = 1_000_000  # R = 300,000 from the ultraviolet to the infrared; a header that asks for more is damaged
# of r**p in the polynomial that is 1 at one tap and 0 at the others, by (p, tap)
POWERS = torch.from_numpy(np.linalg.inv(np.vander(TAPS.numpy(), increasing=True).astype(float)))


def lagrange(r: Tensor) -> tuple[Tensor, Tensor]:
    """The six-point interpolation filter at a fraction r of a cell, and its derivative; shapes (*, 6)."""
    order = torch.arange(len(TAPS), device=r.device)
    powers = r.unsqueeze(-1) ** order
    slopes = order[1:] * powers[..., :-1]
    matrix = POWERS.to(r)
    return powers @ matrix, slopes @ matrix[1:]


class RestFrame(nn.Module):
    r"""The map from rest-frame cells to pixels.

    Arguments:
        grid: The pixels.
        step: Width :math:`\delta` of a cell in :math:`\ln\lambda`.
        reach_kms: Largest |velocity| that the cells leave room for.
        extinction: :math:`A(\lambda) / E(B - V)` at the pixels, shape :math:`(D,)`, mag; without it there is no dust.

    Raises:
        ModelError: if a number is out of range.
    """

    def __init__(
        self, grid: Grid, *, step: float = 2.302585e-4, reach_kms: float = 1000.0, extinction: NDArray | None = None
    ) -> None:
        super().__init__()
        if not (0 < step < 0.01 and 0 < reach_kms < 0.1 * LIGHT_KMS):
            raise ModelError(f"rest frame: expected a step and reach above 0, got {step} and {reach_kms}")
        self.grid, self.step, self.reach_kms, self.size = grid, float(step), float(reach_kms), grid.size
        margin = math.ceil(math.log1p(reach_kms / LIGHT_KMS) / step) + len(TAPS)
        low, high = np.log(grid.edges[[0, -1]])
        count = math.ceil((high - low) / step) + 2
        if count + 2 * margin > MAX_CELLS:
            raise ModelError(f"rest frame: expected at most {MAX_CELLS:,} cells, got {count + 2 * margin:,}")
        self.margin = margin
        u = low + step * (np.arange(-margin, count + margin) - 0.5)  # the cells' centres
        self.cells = Grid(np.exp(u))
        self.start, share = _shares(np.exp(u[margin:-margin]), grid)
        self.register_buffer("share", share, persistent=False)
        curve = np.zeros(grid.size) if extinction is None else np.asarray(extinction, float)
        self.register_buffer("extinction", torch.from_numpy(curve).float())

    @property
    def config(self) -> dict:
        """JSON-able arguments that build this again on its grid."""
        return {"step": self.step, "reach_kms": self.reach_kms}

    def shift(self, spectra: Tensor, velocity_kms: Tensor, *, slope: bool = False) -> Tensor:
        """Spectra (B, n, N) at velocities (B,), on the inner cells; with `slope` a last row, the first's derivative by v."""
        cells = torch.log1p(velocity_kms.double() / LIGHT_KMS) / self.step
        whole = cells.detach().ceil()  # so that the fraction is between the filter's middle taps, and nothing jumps
        value, change = lagrange(whole - cells)
        inner = spectra.shape[-1] - 2 * self.margin
        first = self.margin - whole.long() + TAPS[0].item()
        index = first[:, None, None] + torch.arange(inner + len(TAPS) - 1, device=spectra.device)
        index = index.clamp(0, spectra.shape[-1] - 1)  # a search may look beyond the cells
        seen = spectra.gather(2, index.expand(-1, spectra.shape[1], -1))
        out = _filter(seen, value.to(seen.dtype), inner)
        if not slope:
            return out
        rate = -1 / (self.step * (LIGHT_KMS + velocity_kms.double()))  # of whole - cells, by velocity
        moved = _filter(seen[:, :1], (change * rate[:, None]).to(seen.dtype), inner)
        return torch.cat([out, moved], 1)

    def bins(self, spectra: Tensor) -> Tensor:
        """Means over the pixels: (B, n, inner cells) to (B, n, D)."""
        rows = spectra.reshape(-1, spectra.shape[-1])
        blocks = [
            rows.narrow(1, start, share.shape[0]) @ share.to(rows.dtype)
            for start, share in zip(self.start, self.share, strict=True)
        ]
        return torch.cat(blocks, 1)[:, : self.size].reshape(*spectra.shape[:-1], self.size)

    def dust(self, ebv: Tensor) -> Tensor:
        """Transmission of the dust (B, D)."""
        return torch.exp(-0.4 * math.log(10) * ebv.unsqueeze(-1) * self.extinction.to(ebv.dtype))

    def forward(self, spectra: Tensor, velocity_kms: Tensor, ebv: Tensor) -> Tensor:
        """Rest-frame spectra (B, n, N) as seen: (B, n, D)."""
        return self.bins(self.shift(spectra, velocity_kms)) * self.dust(ebv).unsqueeze(1)

    def rest(self, flux: NDArray, wavelength: NDArray) -> NDArray:
        """Means of finely sampled spectra (*, M) over the cells, shape (*, N)."""
        edges = np.concatenate([[wavelength[0]], (wavelength[1:] + wavelength[:-1]) / 2, [wavelength[-1]]])
        running = np.concatenate([np.zeros((*flux.shape[:-1], 1)), np.cumsum(flux * np.diff(edges), -1)], -1)
        target = self.cells.edges
        at = np.apply_along_axis(lambda row: np.interp(target, edges, row), -1, running)
        return np.diff(at, axis=-1) / np.diff(target)


def _filter(seen: Tensor, taps: Tensor, size: int) -> Tensor:
    out = taps[:, 0, None, None] * seen[..., :size]
    for k in range(1, taps.shape[1]):
        out.addcmul_(taps[:, k, None, None], seen[..., k : k + size])  # in place: the rows stay in the cache
    return out


def _shares(cells: NDArray, grid: Grid) -> tuple[tuple[int, ...], Tensor]:
    """For blocks of pixels: the first cell, and the share of each cell in each pixel, (blocks, W, BLOCK).

    The flux summed up to a cell's edge is interpolated by six points, so that lines keep flux and shape within a cell.
    """
    edges = Grid(cells).edges
    place = np.interp(grid.edges, edges, np.arange(len(edges)))
    first = np.clip(np.floor(place).astype(int), 2, len(edges) - 4)
    value, _ = lagrange(torch.from_numpy(place - first))
    upto, weight, blocks = first[:, None] + TAPS.numpy(), value.numpy()[:, :, None], []
    for i in range(0, grid.size, BLOCK):
        rows = slice(i, i + BLOCK + 1)
        inside = np.arange(upto[rows].min(), upto[rows].max())  # below count all edges alike, above none
        running = ((upto[rows, :, None] > inside) * weight[rows]).sum(1) * np.diff(edges)[inside]
        share = np.diff(running, axis=0)
        blocks.append((inside[0], share / share.sum(1, keepdims=True)))
    width = max(share.shape[1] for _, share in blocks)
    start = [min(int(cell), len(cells) - width) for cell, _ in blocks]
    parts = torch.zeros(len(start), width, BLOCK)
    for part, begin, (cell, share) in zip(parts, start, blocks, strict=True):
        part[cell - begin : cell - begin + share.shape[1], : len(share)] = torch.from_numpy(share.T)
    return tuple(start), parts
