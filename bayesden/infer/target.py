r"""What the samplers explore: the joint density of each spectrum as a function of a vector, the class summed out.

.. math:: \log p(y, \theta) = \log \sum_{C \in \mathcal C} p(y, \theta, C), \qquad \theta = (z, u, f, a, c)

over the classes :math:`\mathcal C` that are within `NEGLIGIBLE` nats of the likeliest; the responsibilities
:math:`p(C \mid y, \theta)`, averaged over draws of θ, are the classes' probabilities. Calibration terms of exposures that
have none are not in θ.

At one θ hardly ever does more than one class count, for their latent priors differ by many nats. The likelihood, which is what
costs, is computed with the class of the highest prior, and with others that the best known likelihood would make count.
"""

from collections.abc import Callable, Hashable, Iterable, Iterator, Sequence
from functools import cached_property

import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from ..model.data import Data
from ..model.joint import Parameters, SpectrumModel
from .located import Located
from .newton import unflatten
from .threads import each

__all__ = ["SLACK", "Target", "alike", "as_parameters"]

PIXELS = 2**19  # of all exposures, evaluated together on a CPU: what they have in common costs once
PIXELS_GPU = 2**25
VECTORS = 512  # whose latents' prior is evaluated together: bounds the memory
SLACK = 25.0  # nats: a class may be 15 below another one before it is left out, and fit 10 better than was known


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
        r"""Log joint density of vectors (B, S, n) with each class, (B, S, k); minus infinity where it is negligible."""
        return self._visit(theta, lambda rows: self._rows(theta[rows[:, 0], rows[:, 1]], rows))

    def _visit(self, theta: Tensor, value: Callable[[Tensor], Tensor]) -> Tensor:
        """What `value` gives for triples (spectrum, vector, class), (B, S, k): the likeliest class first, by prior, then others
        that may count beside it.
        """
        nothing = theta.new_full((*theta.shape[:2], self.labels.shape[1]), -torch.inf)
        if nothing.shape[-1] == 1:
            return self._put(nothing, torch.ones_like(nothing, dtype=torch.bool), value)
        prior = self._class_prior(theta)
        first = torch.zeros_like(prior, dtype=torch.bool).scatter_(-1, prior.argmax(-1, keepdim=True), True)
        out = self._put(nothing, first, value)
        best = out.detach().amax(-1, keepdim=True)
        return self._put(out, ~first & (prior + self._ceiling[:, None, None] + SLACK > best), value)

    def _put(self, out: Tensor, wanted: Tensor, value: Callable[[Tensor], Tensor]) -> Tensor:
        parts = each(lambda rows: (rows, value(rows)), self._blocks(wanted))
        if not parts:
            return out
        index, joint = (torch.cat(part) for part in zip(*parts, strict=True))
        return out.index_put(index.unbind(1), joint)

    @torch.no_grad()
    def _class_prior(self, theta: Tensor) -> Tensor:
        """Log prior of class and latents (B, S, k), minus infinity where there is no class."""
        out = theta.new_full((*theta.shape[:2], self.labels.shape[1]), -torch.inf)
        z, prior = theta[..., : self.like.z.shape[1]], self.model.latent_prior
        for b, s in torch.cartesian_prod(torch.arange(len(z)), torch.arange(0, z.shape[1], VECTORS)).tolist():
            some = z[b, s : s + VECTORS].to(self.like.z.dtype)
            for c, label in enumerate(self.labels[b, : self.counts[b]]):
                own = prior.log_prob(some, label.expand(len(some))) + self.model.class_prior.log_prob[label]
                out[b, s : s + VECTORS, c] = own.double()
        return out

    @cached_property
    @torch.no_grad()
    def _ceiling(self) -> Tensor:
        """Highest log joint density at the means that are known, less the prior of class and latents, (B,)."""
        highest = []
        for star in self.stars:
            at = star.likely.at
            prior = self.model.latent_prior.log_prob(at.z, at.label) + self.model.class_prior.log_prob[at.label]
            joint = torch.cat([self.model.log_joint(star.data, at.take(slice(i, i + 1))) for i in range(len(at.label))])
            highest.append((joint - prior.double()).max())
        return torch.stack(highest)

    def _blocks(self, wanted: Tensor) -> Iterator[Tensor]:
        """Triples of `wanted` (B, S, k), one in each row, that are evaluated together."""
        rows, device = torch.nonzero(wanted), self.labels.device
        spectra, budget = [rows], PIXELS_GPU
        if device.type == "cpu":
            spectra, budget = rows.split(wanted.sum((1, 2)).tolist()), PIXELS
        for some in spectra:
            if len(some):
                yield from some.split(max(1, budget // self.data.flux[0].numel()))

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
        gradient = theta.new_zeros(*theta.shape[:2], self.labels.shape[1], theta.shape[-1])

        def value(rows: Tensor) -> Tensor:
            with torch.enable_grad():
                own = theta[rows[:, 0], rows[:, 1]].detach().requires_grad_()
                joint = self._rows(own, rows)
                (gradient[rows.unbind(1)],) = torch.autograd.grad(joint.sum(), own)
            return joint.detach()

        joint = self._visit(theta, value)
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
