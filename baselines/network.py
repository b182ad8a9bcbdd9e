"""What the networks share: spectra in, as many out."""

from abc import ABC, abstractmethod
from typing import ClassVar

from torch import Tensor, nn

from .recipe import Recipe

__all__ = ["Network"]


class Network(nn.Module, ABC):
    r"""A denoiser of spectra in its own unit, :math:`(B, D)` to :math:`(B, D)`.

    Class attributes:
        kind: The method's name.
        bounded: Whether the output lies between 0 and 1.
        recipes: How to train it, `paper` and `budget`.

    Arguments:
        size: Pixels :math:`D`.
    """

    kind: ClassVar[str]
    bounded: ClassVar[bool]
    recipes: ClassVar[dict[str, Recipe]]

    def __init__(self, size: int) -> None:
        super().__init__()
        self.size = size

    def centre(self, clean: Tensor) -> None:
        """Take from spectra of the training set, (N, D), what the network starts from; nothing by default."""

    @abstractmethod
    def forward(self, flux: Tensor) -> Tensor:
        """Noisy spectra to spectra without noise, both (B, D)."""
