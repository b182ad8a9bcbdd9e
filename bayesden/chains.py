"""Draws of everything that a sampler explored, chain by chain; what ArviZ and diagnostics work on."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from types import MappingProxyType

import numpy as np
from numpy.typing import NDArray

__all__ = ["LABELS", "Chains"]

LABELS = {  # of parameters and statistics, in figures; the others go by their own names
    "velocity_kms": "velocity  [km/s]",
    "ebv": "E(B−V)  [mag]",
    "log_amplitude": "ln amplitude",
    "lp": "log density",
}


@dataclass(frozen=True, eq=False)
class Chains:
    r"""Draws of one star's parameters, C chains of S draws.

    Arguments:
        parameters: Arrays of shape :math:`(C, S, \dots)`: `z`, `detail`, `log_amplitude`, `tilt`, `calibration`,
            `velocity_kms` (km/s), `ebv` (mag), as far as the model has them, and `class_index`.
        stats: What the sampler says of each draw, shape :math:`(C, S)`: `lp`, the log joint density up to a constant, and
            for chains of a Markov process `acceptance_rate`, `energy`, `diverging`, `step_size`.
        log_likelihood: In nats, of N blocks of ceil(D/N) pixels, shape :math:`(C, S', E, N)`, of every n-th draw; None if it
            was not asked for.
        predictive: Exposures of the same star with new noise, shape :math:`(C, S', E, D)`, in the flux unit.
        thin: That n: every n-th draw has a likelihood and a prediction.
        independent: Whether the draws are independent, so that there is no convergence to speak of.

    Example:
        >>> chains = Chains({"velocity_kms": np.zeros((4, 500)), "z": np.zeros((4, 500, 8))})
        >>> chains.shape
        (4, 500)
    """

    parameters: Mapping[str, NDArray]
    stats: Mapping[str, NDArray] = field(default_factory=dict)
    log_likelihood: NDArray | None = None
    predictive: NDArray | None = None
    thin: int = 1
    independent: bool = False

    def __post_init__(self) -> None:
        for name in ("parameters", "stats"):
            frozen = {key: _frozen(value) for key, value in getattr(self, name).items()}
            object.__setattr__(self, name, MappingProxyType(frozen))
        for name in ("log_likelihood", "predictive"):
            if (value := getattr(self, name)) is not None:
                object.__setattr__(self, name, _frozen(value))

    @property
    def shape(self) -> tuple[int, int]:
        """Chains C and draws S."""
        return next(iter(self.parameters.values())).shape[:2]

    def thinned(self, count: int) -> "Chains":
        """The same with likelihoods and predictions of fewer draws; parameters are kept.

        Arguments:
            count: Of how many draws at most, or one a chain.

        Returns:
            Chains whose `predictive` and `log_likelihood` are :math:`(C, S', ...)`, with C S' at most `count`.

        Example:
            >>> chains = Chains({"z": np.zeros((4, 500, 8))}, log_likelihood=np.zeros((4, 500, 1, 32)))
            >>> less = chains.thinned(100)
            >>> less.log_likelihood.shape, less.shape
            ((4, 25, 1, 32), (4, 500))
        """
        if self.predictive is None and self.log_likelihood is None:
            return self
        known = self.predictive if self.log_likelihood is None else self.log_likelihood
        step = -(-known.shape[1] // max(1, count // known.shape[0]))
        likelihood, predictive = (v if v is None else v[:, ::step] for v in (self.log_likelihood, self.predictive))
        return replace(self, log_likelihood=likelihood, predictive=predictive, thin=self.thin * step)


def _frozen(values: NDArray) -> NDArray:
    array = np.array(values)
    array.setflags(write=False)
    return array
