r"""Banded information about the pixels: :math:`M = g\, B^\top \omega B\, g` of an exposure, as its diagonals."""

from torch import Tensor

__all__ = ["banded_information", "lower", "upper"]


def banded_information(band: Tensor, gain: Tensor, root: Tensor) -> list[Tensor]:
    r"""Diagonals 0..K of :math:`M = g\, B^\top \omega B\, g`, each (B, E, D): entry p couples pixels p and p - j."""
    rows = [band[..., 0] * root * gain]
    for k in range(1, band.shape[-1]):
        row = band[..., k] * root
        row[..., k:] *= gain[..., :-k]
        rows.append(row)
    diagonals = []
    for j in range(len(rows)):
        total = rows[0] * rows[j]
        for k in range(1, len(rows) - j):
            total[..., :-k].addcmul_(rows[k][..., k:], rows[k + j][..., k:])
        diagonals.append(total)
    return diagonals


def lower(diagonals: list[Tensor], x: Tensor) -> Tensor:
    """The banded matrix's lower triangle, with half of its diagonal, times x."""
    out = 0.5 * diagonals[0] * x
    for j, diagonal in enumerate(diagonals[1:], 1):
        out[..., j:].addcmul_(diagonal[..., j:], x[..., :-j])
    return out


def upper(diagonals: list[Tensor], x: Tensor) -> Tensor:
    """The transpose of `lower`, times x."""
    out = 0.5 * diagonals[0] * x
    for j, diagonal in enumerate(diagonals[1:], 1):
        out[..., :-j].addcmul_(diagonal[..., j:], x[..., j:])
    return out
