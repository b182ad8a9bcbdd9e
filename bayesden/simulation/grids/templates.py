r"""Spectra of templates, mixed or as they are.

Each template is a weighted sum of a few rows, :math:`f_t = \sum_r w_{tr}\,b_r`: an empirical template is one row; a
theoretical archetype is its coefficients on the basis of its class; a cataclysmic variable is the mean plus the eigenspectra
in amounts from a lattice. A spectrum lies between two templates of one class,

.. math:: f = (1 - s)\,f_t + s\,f_{t'}, \qquad 0 \le s \le 1.

Draws take every class that there is alike, archetypes and empirical templates of a class alike, and mix an empirical
template with one of its nearest neighbours; archetypes are many and are not mixed.
"""

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ...errors import InputError
from ...io.files import Source
from ...model.class_prior import CLASSES
from ...spectrum import Grid
from .interpolation import weighted_sum
from .template_files import TemplateSet, read_templates

__all__ = ["TemplateGrid"]

NEIGHBOURS = 4
AMOUNTS = np.linspace(-2, 2, 9)  # of each eigenspectrum of the cataclysmic variables


@dataclass(frozen=True, eq=False)
class TemplateGrid:
    r"""Templates of K classes as a source of spectra; use `read` to make one from files.

    Arguments:
        name: Short name.
        label: One honest line.
        unit: Unit of the flux.
        loglam: :math:`\log_{10}` of the vacuum wavelength in Å, shape :math:`(N,)`, uniform.
        rows: What templates are sums of, shape :math:`(M, N)`.
        member: Which rows each of the T templates takes, class by class, shape :math:`(T, R)`.
        weight: How much of them, same shape, double precision; zero where a template needs fewer than R.
        neighbour: Which templates each is mixed with in draws, shape :math:`(T, 4)`; itself where there are not so many.
        classes: Index of each class among `CLASSES`, shape :math:`(K,)`, ascending.
        archetypes, empirical: How many templates of each kind a class has, in this order, shape :math:`(K,)`.
        template_names: Shape :math:`(T,)`.
        sources: The files.
    """

    name: str
    label: str
    unit: str
    loglam: Tensor
    rows: Tensor
    member: Tensor
    weight: Tensor
    neighbour: Tensor
    classes: Tensor
    archetypes: Tensor
    empirical: Tensor
    template_names: tuple[str, ...]
    sources: tuple[Source, ...] = ()

    parameters = ("class", "template", "partner", "share")
    uniforms = 4

    @classmethod
    def read(cls, folder: Path, start_A: float, stop_A: float, *, step: float = 5e-5) -> "TemplateGrid":
        r"""Read the template files of a folder; `template_files` has their formats.

        Arguments:
            folder: Where they are.
            start_A, stop_A: Wavelengths to cover, vacuum Å; the grid goes a little further.
            step: Width of a pixel in :math:`\ln\lambda`.

        Raises:
            InputError: if the folder holds no templates, or one that cannot be read.
        """
        if not (0 < start_A < stop_A < np.inf and 0 < step < np.log(stop_A / start_A)):
            raise InputError(
                f"templates: expected wavelengths in steps within them, got {start_A} to {stop_A} by {step}"
            )
        pixels = Grid(np.linspace(start_A, stop_A, 1000))
        found = read_templates(folder, pixels, step / np.log(10))
        if not found.classes:
            raise InputError(f"{folder}: expected templates of the classes {', '.join(CLASSES)}, got none")
        return cls.of(found)

    @classmethod
    def of(cls, found: TemplateSet) -> "TemplateGrid":
        """Take the templates of a set."""
        parts = [_Class.of(found, name) for name in found.classes]
        rows = torch.from_numpy(np.concatenate([p.rows for p in parts])).float()
        width = max(p.weight.shape[1] for p in parts)
        first_row = np.cumsum([0, *(len(p.rows) for p in parts)])
        first = np.cumsum([0, *(len(p.weight) for p in parts)])
        member = [_padded(p.member + start, width) for p, start in zip(parts, first_row[:-1], strict=True)]
        weight = [_padded(p.weight, width) for p in parts]
        neighbour = [p.neighbour + start for p, start in zip(parts, first[:-1], strict=True)]
        archetypes, empirical = ([getattr(p, kind) for p in parts] for kind in ("archetypes", "empirical"))
        return cls(
            "templates",
            _label(sum(archetypes), sum(empirical), found.sources),
            "mean |flux| = 1",
            torch.from_numpy(np.log10(found.wavelength)),
            rows,
            *(torch.from_numpy(np.concatenate(values)) for values in (member, weight, neighbour)),
            *(torch.tensor(x) for x in ([CLASSES.index(c) for c in found.classes], archetypes, empirical)),
            tuple(name for p in parts for name in p.names),
            found.sources,
        )

    @property
    def counts(self) -> Tensor:
        """Templates of each class, shape (K,)."""
        return self.archetypes + self.empirical

    def draw(self, uniform: Tensor) -> Tensor:
        """Parameters from uniform numbers: (B, 4) to (B, 4), double precision."""
        u = uniform.double()
        k = _pick(u[:, 0], torch.tensor(len(self.classes), device=u.device))
        archetypes, empirical = self.archetypes[k], self.empirical[k]
        portion = 0.5 * ((archetypes > 0).double() + (empirical == 0).double())  # of the archetypes: 0, a half or 1
        from_archetypes = u[:, 1] < portion
        own = torch.where(from_archetypes, u[:, 1] / portion.clamp_min(0.5), (u[:, 1] - portion) / (1 - portion))
        index = torch.where(from_archetypes, _pick(own, archetypes), archetypes + _pick(own, empirical))
        offset = self._first[k]
        beside = _pick(u[:, 2], torch.tensor(NEIGHBOURS, device=u.device))
        partner = self.neighbour[offset + index, beside] - offset
        return torch.stack([self.classes[k].double(), index.double(), partner.double(), u[:, 3]], 1)

    @property
    def _first(self) -> Tensor:
        return self.counts.cumsum(0) - self.counts

    def flux(self, parameters: Tensor) -> Tensor:
        r"""Noiseless flux.

        Arguments:
            parameters: Shape :math:`(B, 4)`: class (its index among `CLASSES`), template and partner (their index within
                the class), and the partner's share.

        Returns:
            Shape :math:`(B, N)`, single precision; differentiable in the share, in reverse and forward mode.

        Raises:
            InputError: if there is no such class or template, or a share is not between 0 and 1.
        """
        if parameters.ndim != 2 or parameters.shape[1] != 4:
            expected = f"(B, 4): {', '.join(self.parameters)}"
            raise InputError(f"grid {self.name}: parameters: expected shape {expected}, got {tuple(parameters.shape)}")
        parameters = parameters.double()
        offset = self._first[self._check(parameters.detach())]
        share = parameters[:, 3:]
        which = [offset + parameters[:, column].detach().long() for column in (1, 2)]
        index = torch.cat([self.member[i] for i in which], 1)
        weight = torch.cat([(1 - share) * self.weight[which[0]], share * self.weight[which[1]]], 1)
        use = torch.cat([self.weight[i] != 0 for i in which], 1)
        return weighted_sum(self.rows, index, weight, use)

    def _check(self, parameters: Tensor) -> Tensor:
        """The place of each class among those there are; raises if anything is not there."""
        label, share = parameters[:, 0], parameters[:, 3]
        match = label[:, None] == self.classes
        if not bool(match.any(1).all()):
            have = ", ".join(f"{k} ({CLASSES[k]})" for k in self.classes.tolist())
            raise InputError(f"grid {self.name}: class: expected one of {have}, got {label[~match.any(1)][0].item():g}")
        place = match.int().argmax(1)
        for name, column in (("template", 1), ("partner", 2)):
            x, count = parameters[:, column], self.counts[place]
            bad = ~((x >= 0) & (x < count) & (x == x.round()))
            if bool(bad.any()):
                row = bad.nonzero()[0, 0]
                which = f"class {CLASSES[int(label[row].item())]}: 0 to {count[row].item() - 1}"
                raise InputError(f"grid {self.name}: {name}: expected one of {which}, got {x[row].item():g}")
        bad = ~((share >= 0) & (share <= 1))
        if bool(bad.any()):
            raise InputError(f"grid {self.name}: share: expected 0 to 1, got {share[bad][0].item():g}")
        return place

    def to(self, device: torch.device | str) -> "TemplateGrid":
        """The same grid with its tensors on a device."""
        values = {f.name: getattr(self, f.name) for f in fields(self)}
        return replace(self, **{name: x.to(device) for name, x in values.items() if isinstance(x, Tensor)})


@dataclass(frozen=True, eq=False)
class _Class:
    """The templates of one class: archetypes (for CV: sums of eigenspectra) first, then empirical ones."""

    rows: NDArray
    member: NDArray
    weight: NDArray
    neighbour: NDArray
    archetypes: int
    empirical: int
    names: tuple[str, ...]

    @classmethod
    def of(cls, found: TemplateSet, spectral_class: str) -> "_Class":
        basis, coefficients = _archetypes(found, spectral_class)
        stars = found.of_class(spectral_class)
        own = np.array([t.flux for t in stars]).reshape(len(stars), len(found.wavelength))
        rows = np.concatenate([x for x in (basis, own) if len(x)])
        width = max(len(basis), 1)
        single = _padded(np.ones((len(own), 1)), width)
        member = np.concatenate(
            [
                np.tile(np.arange(width), (len(coefficients), 1)),
                _padded(len(basis) + np.arange(len(own))[:, None], width),
            ]
        )
        n = len(coefficients)
        itself = np.tile(np.arange(n)[:, None], (1, NEIGHBOURS))
        neighbour = np.concatenate([itself, n + _nearest(own)])
        names = (*(f"archetype/{spectral_class}/{i:04d}" for i in range(n)), *(t.name for t in stars))
        weight = np.concatenate([coefficients.reshape(n, width), single])
        return cls(rows, member.astype(np.int64), weight, neighbour.astype(np.int64), n, len(own), names)


def _archetypes(found: TemplateSet, spectral_class: str) -> tuple[NDArray, NDArray]:
    """Basis (R, P) and coefficients (n, R) of the archetypes of a class, at mean flux 1; empty if there are none."""
    if spectral_class == "CV" and found.eigenspectra is not None:
        basis = np.asarray(found.eigenspectra, dtype=float)
        amounts = np.array(np.meshgrid(*[AMOUNTS] * (len(basis) - 1), indexing="ij")).reshape(len(basis) - 1, -1).T
        coefficients = np.column_stack([np.ones(len(amounts)), amounts])
        coefficients = coefficients[(coefficients @ basis).min(1) > 0]
    elif spectral_class in found.bases:
        basis, coefficients = found.bases[spectral_class]
    else:
        return np.empty((0, len(found.wavelength))), np.empty((0, 1))
    return basis, coefficients / (coefficients @ basis.mean(1))[:, None]


def _nearest(flux: NDArray) -> NDArray:
    """The nearest other rows of each row (n, P), shape (n, 4); the row itself where there are not so many."""
    n = len(flux)
    if n == 0:
        return np.empty((0, NEIGHBOURS), np.int64)
    square = np.square(flux).sum(1)
    distance = square[:, None] + square - 2 * flux @ flux.T
    np.fill_diagonal(distance, np.inf)
    order = np.argsort(distance, 1)[:, : min(NEIGHBOURS, n - 1)]
    itself = np.tile(np.arange(n)[:, None], (1, NEIGHBOURS - order.shape[1]))
    return np.concatenate([order, itself], 1)


def _padded(values: NDArray, width: int) -> NDArray:
    return np.pad(values, ((0, 0), (0, width - values.shape[1])))


def _pick(uniform: Tensor, count: Tensor) -> Tensor:
    return torch.minimum((uniform * count).long(), (count - 1).clamp_min(0))


def _label(archetypes: int, empirical: int, sources: Sequence[Source]) -> str:
    origins = "; ".join(sorted({source.licence for source in sources}))
    kinds = f"{archetypes} archetypes and {empirical} empirical templates at R of about 2000"
    return f"{kinds}, the empirical ones with noise of their own; not for finer lines ({origins})"
