r"""What the samplers explore: the joint density of each spectrum as a function of a vector, the class summed out.

.. math:: \log p(y, \theta) = \log \sum_{C \in \mathcal C} p(y, \theta, C), \qquad \theta = (z, u, f, a, c)

over the classes :math:`\mathcal C` that are within `NEGLIGIBLE` nats of the likeliest; the responsibilities
:math:`p(C \mid y, \theta)`, averaged over draws of θ, are the classes' probabilities. Calibration terms of exposures that
have none are not in θ.
"""

from collections.abc import Hashable, Iterable, Iterator, Sequence

import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from ..model.data import Data
from ..model.joint import Parameters, SpectrumModel
from .located import Located
from .newton import unflatten

__all__ = ["Target", "alike", "as_parameters"]

PIXELS = 2**17  # of all exposures, evaluated together on a CPU: what its cache holds
PIXELS_GPU = 2**25


class Target:
    """The joint densities of B spectra with the same number of exposures and of parameters.

    On a CPU no two spectra share a block of rows, so that the result of one does not depend on the others.

    Arguments:
        model: The joint density.
        stars: The spectra, with the classes that are possible.
    """

    def __init__(self, model: SpectrumModel, stars: Sequence[Located]) -> None:
        self.model, self.stars = model, list(stars)
        self.data = Data.join([star.data for star in stars])
        self.like, self.free = stars[0].like, stars[0].free
        self.counts = [len(star.labels) for star in stars]
        self.labels = pad_sequence([star.labels for star in stars], batch_first=True, padding_value=-1)  # (B, k)

    @property
    def size(self) -> int:
        """Parameters n."""
        return len(self.free)

    def parameters(self, theta: Tensor, labels: Tensor) -> Parameters:
        """Vectors (R, n) of classes (R,) as parameters."""
        return as_parameters(self.stars[0], theta, labels)

    def log_joint(self, theta: Tensor) -> Tensor:
        r"""Log joint density of vectors (B, S, n) with each class, (B, S, k); minus infinity where there is none."""
        out = theta.new_full((*theta.shape[:2], self.labels.shape[1]), -torch.inf)
        parts = [(rows, self._rows(theta[rows[:, 0], rows[:, 1]], rows)) for rows in self._blocks(*theta.shape[:2])]
        index, joint = (torch.cat(part) for part in zip(*parts, strict=True))
        return out.index_put(index.unbind(1), joint)

    def _blocks(self, b: int, s: int) -> Iterator[Tensor]:
        """Triples (spectrum, vector, class), one in each row, that are evaluated together."""
        device, exposures = self.labels.device, self.data.flux[0].numel()
        spectra = [torch.tensor([i], device=device) for i in range(b)]
        budget = PIXELS
        if device.type != "cpu":
            spectra, budget = [torch.arange(b, device=device)], PIXELS_GPU
        for some in spectra:
            vector = torch.arange(s, device=device)
            grid = torch.cartesian_prod(some, vector, torch.arange(self.labels.shape[1], device=device))
            grid = grid[self.labels[grid[:, 0], grid[:, 2]] >= 0]
            yield from grid.split(max(1, budget // exposures))

    def _rows(self, theta: Tensor, rows: Tensor) -> Tensor:
        """Log joint densities (R,) of vectors (R, n)."""
        spectrum, _, label = rows.unbind(1)
        at = self.parameters(theta, self.labels[spectrum, label])
        first = int(spectrum[0])
        alone = self.data.flux.device.type == "cpu"
        data = self.data.take(slice(first, first + 1)).expand(len(rows)) if alone else self.data.take(spectrum)
        joint = self.model.log_joint(data, at)
        return joint.nan_to_num(nan=-torch.inf, neginf=-torch.inf)  # where the model overflows nothing is possible

    @torch.no_grad()
    def evaluate(self, theta: Tensor) -> tuple[Tensor, Tensor]:
        """Log-density (B, S) and responsibilities of the classes (B, S, k) of vectors (B, S, n)."""
        joint = self.log_joint(theta)
        return torch.logsumexp(joint, -1), torch.softmax(joint, -1)

    def slope(self, theta: Tensor) -> tuple[Tensor, Tensor]:
        """Log-density (B, S) and its gradient (B, S, n) at vectors (B, S, n)."""
        shape = (*theta.shape[:2], self.labels.shape[1])
        joint, gradient = theta.new_full(shape, -torch.inf), theta.new_zeros(*shape, theta.shape[-1])
        for rows in self._blocks(*shape[:2]):
            with torch.enable_grad():
                own = theta[rows[:, 0], rows[:, 1]].detach().requires_grad_()
                value = self._rows(own, rows)
                (slope,) = torch.autograd.grad(value.sum(), own)
            joint[rows.unbind(1)], gradient[rows.unbind(1)] = value.detach(), slope
        share = torch.softmax(joint, -1).unsqueeze(-1)
        return torch.logsumexp(joint, -1), (share * gradient).sum(-2)

    def take(self, rows: Sequence[int]) -> "Target":
        """The target of some of the spectra."""
        return Target(self.model, [self.stars[row] for row in rows])


def as_parameters(star: Located, theta: Tensor, labels: Tensor) -> Parameters:
    """Vectors (R, n) of a star's free parameters, and classes (R,), as parameters; what is not free is 0."""
    none = torch.zeros(len(theta), dtype=torch.long, device=theta.device)
    like = star.like.take(none)
    like = Parameters(like.z, like.amplitude, like.calibration, labels, like.detail, like.foreground)
    whole = theta.new_zeros(len(theta), star.size)
    return unflatten(whole.index_copy(1, star.free, theta), like)


def alike(stars: Sequence[Located], keys: Sequence[Hashable] | None = None) -> Iterable[list[int]]:
    """Indices of stars that have the same parameters, as many exposures and the same key: what one `Target` holds."""
    groups: dict[tuple, list[int]] = {}
    for i, star in enumerate(stars):
        key = (star.data.flux.shape, star.size, tuple(star.free.tolist()), keys and keys[i])
        groups.setdefault(key, []).append(i)
    return groups.values()
