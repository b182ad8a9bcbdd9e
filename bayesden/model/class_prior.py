r"""The prior of the spectral class, :math:`p(C)`."""

import torch
from torch import Tensor, nn

from ..errors import ModelError

__all__ = ["CLASSES", "ClassPrior"]

CLASSES = ("O", "B", "A", "F", "G", "K", "M", "CV", "Carbon", "WD")


class ClassPrior(nn.Module):
    r"""A categorical prior over spectral classes; uniform by default, as in Kang et al. (2021).

    Arguments:
        classes: The names of the K classes.
        probabilities: Prior probabilities, shape :math:`(K,)`; normalised here.

    Raises:
        ModelError: if there is not one non-negative probability for each class.
    """

    def __init__(self, classes: tuple[str, ...] = CLASSES, probabilities: Tensor | None = None) -> None:
        super().__init__()
        p = torch.ones(len(classes)) if probabilities is None else torch.as_tensor(probabilities, dtype=torch.float32)
        if p.shape != (len(classes),) or not bool((p >= 0).all()) or not bool(p.sum() > 0):
            raise ModelError(f"class prior: expected {len(classes)} non-negative probabilities, got {p.tolist()}")
        self.classes = tuple(classes)
        self.register_buffer("logits", torch.log(p / p.sum()))

    @property
    def log_prob(self) -> Tensor:
        r""":math:`\log p(C)`, shape :math:`(K,)`, normalised in the precision that the model has."""
        return torch.log_softmax(self.logits, 0)

    @property
    def size(self) -> int:
        """The number of classes :math:`K`."""
        return len(self.classes)
